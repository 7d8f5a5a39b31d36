// Validation of frames: the fields of each frame type. Unknown fields are kept, so that newer nodes can add some.
import { FabricError } from '../errors/error.ts';
import { cutText } from '../text/cut-text.ts';
import type { Frame, FrameType } from './envelope.ts';
import { LIMITS } from './limits.ts';

type Check = (value: unknown) => boolean;

const text: Check = (v) => typeof v === 'string' && v.length > 0 && v.length <= LIMITS.maxIdBytes;
const optionalText: Check = (v) =>
  v === undefined || v === null || (typeof v === 'string' && v.length <= 1024);
const optionalToken: Check = (v) =>
  v === undefined || v === null || (typeof v === 'string' && v.length <= LIMITS.maxTokenChars);
const bool: Check = (v) => typeof v === 'boolean';
const any: Check = () => true;
const names: Check = (v) => Array.isArray(v) && v.length <= LIMITS.maxCapabilities && v.every(text);
const optionalNames: Check = (v) => v === undefined || v === null || names(v);

const optionalList: Check = (v) => v === undefined || v === null || Array.isArray(v);
const optionalCount: Check = (v) =>
  v === undefined || v === null || (Number.isSafeInteger(v) && (v as number) > 0);
const credits: Check = (v) => Number.isSafeInteger(v) && (v as number) > 0 && (v as number) <= 1_000_000;

// A reason is text for people. Only the size limit of the envelope bounds it.
const reason: Check = (v) => v === undefined || v === null || typeof v === 'string';
const ack = { ok: bool, refId: optionalText, code: optionalText, reason };
const capability = { capabilities: names, address: text };

const FRAMES: Record<FrameType, Record<string, Check>> = {
  NodeAttach: {
    originType: text,
    systemId: text,
    instanceId: text,
    assignedPath: optionalText,
    capabilities: optionalNames,
    acceptedLogicals: optionalNames,
    keys: optionalList,
    resumeToken: optionalText,
    authorization: optionalToken,
  },
  NodeAttachAck: {
    ...ack,
    targetSystemId: optionalText,
    targetPhysicalPath: optionalText,
    assignedPath: optionalText,
    routingEpoch: optionalText,
    keys: optionalList,
    software: optionalText,
    resumeToken: optionalText,
    creditBytes: optionalCount,
    maxOpenCalls: optionalCount,
    expiresInMs: optionalCount,
  },
  AddressBind: { address: text, physicalPath: optionalText },
  AddressBindAck: ack,
  AddressUnbind: { address: text },
  AddressUnbindAck: ack,
  CapabilityAdvertise: capability,
  CapabilityAdvertiseAck: ack,
  CapabilityWithdraw: capability,
  CapabilityWithdrawAck: ack,
  NodeHeartbeat: { address: optionalText, systemId: optionalText },
  NodeHeartbeatAck: { ...ack, routingEpoch: optionalText },
  Data: { payload: any, codec: optionalText, pd: optionalText },
  DeliveryAck: { ...ack, retryAfterMs: optionalCount },
  CreditUpdate: { flowId: text, credits },
  CallCancel: { corrId: text, reason },
  WhoIs: {
    address: text,
    corrId: text,
    serves: optionalText,
    onBehalf: optionalText,
    ahead: optionalCount,
  },
  WhoIsAck: { ...ack, address: optionalText, ofCall: optionalText },
  SecureOpen: {},
  SecureAccept: {},
  SecureClose: {},
  KeyRequest: { kid: optionalText, address: optionalText, physicalPath: optionalText },
  KeyAnnounce: {
    physicalPath: optionalText,
    keys: optionalList,
    created: optionalText,
    address: optionalText,
  },
};

// Some nodes send NodeAttach with snake_case keys. All other frames are camelCase on the wire.
const SNAKE_CASE_KEYS = Object.entries({
  origin_type: 'originType',
  system_id: 'systemId',
  instance_id: 'instanceId',
  assigned_path: 'assignedPath',
  accepted_logicals: 'acceptedLogicals',
});

export const isFrameType = (type: unknown): type is FrameType =>
  typeof type === 'string' && Object.hasOwn(FRAMES, type);

/** Every frame type of the protocol. */
export const FRAME_TYPES: readonly string[] = Object.freeze(Object.keys(FRAMES));

/** Validates a frame by its type. @throws {PROTO_MALFORMED | PROTO_UNKNOWN_FRAME} */
export function checkFrame(value: unknown): Frame {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new FabricError('PROTO_MALFORMED', 'frame must be an object');
  }
  const frame = value as Record<string, unknown>;
  const { type } = frame;
  if (!isFrameType(type)) {
    const quoted = typeof type === 'string' ? `"${cutText(type, 40)}"` : 'missing';
    throw new FabricError(
      'PROTO_UNKNOWN_FRAME',
      `frame.type is ${quoted}, which is not a frame type of this protocol`,
    );
  }
  if (type === 'NodeAttach') {
    for (const [from, to] of SNAKE_CASE_KEYS) {
      if (frame[to] === undefined && frame[from] !== undefined) frame[to] = frame[from];
    }
  }
  const checks = FRAMES[type];
  for (const field in checks) {
    if (!checks[field]!(frame[field])) {
      throw new FabricError('PROTO_MALFORMED', `${type}.${field} is missing or has the wrong type`);
    }
    // A null reads as absent, as in the header; a payload may be null.
    if (frame[field] === null && checks[field] !== any) delete frame[field];
  }
  return frame as unknown as Frame;
}
