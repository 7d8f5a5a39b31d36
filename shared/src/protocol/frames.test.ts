import { describe, expect, it } from 'vitest';
import { FabricError } from '../errors/error.ts';
import { checkFrame, isFrameType } from './frames.ts';

const codeOf = (frame: unknown): string => {
  try {
    checkFrame(frame);
  } catch (error) {
    expect(error).toBeInstanceOf(FabricError);
    return (error as FabricError).code;
  }
  return 'none';
};

// The required fields of each frame.
const REQUIRED_FIELDS: Record<string, Record<string, unknown>> = {
  NodeAttach: { originType: 'downstream', systemId: 's', instanceId: 'i' },
  NodeAttachAck: { ok: true },
  AddressBind: { address: 'a@b' },
  AddressBindAck: { ok: false },
  AddressUnbind: { address: 'a@b' },
  AddressUnbindAck: { ok: true },
  CapabilityAdvertise: { capabilities: ['x'], address: 'a@b' },
  CapabilityAdvertiseAck: { ok: true },
  CapabilityWithdraw: { capabilities: [], address: 'a@b' },
  CapabilityWithdrawAck: { ok: true },
  NodeHeartbeat: {},
  NodeHeartbeatAck: { ok: true },
  Data: {},
  DeliveryAck: { ok: false },
  CreditUpdate: { flowId: 'f', credits: 32 },
  CallCancel: { corrId: 'c' },
  SecureOpen: {},
  SecureAccept: {},
  SecureClose: {},
  KeyRequest: {},
  KeyAnnounce: {},
};

describe.each(Object.entries(REQUIRED_FIELDS))('%s', (type, fields) => {
  it('is a frame type and accepts its required fields alone', () => {
    expect(isFrameType(type)).toBe(true);
    expect(codeOf({ type, ...fields })).toBe('none');
  });

  it('is refused if a required field is missing or has another type', () => {
    for (const field of Object.keys(fields)) {
      expect(codeOf({ type, ...fields, [field]: undefined })).toBe('PROTO_MALFORMED');
      expect(codeOf({ type, ...fields, [field]: { no: 'such' } })).toBe('PROTO_MALFORMED');
    }
  });

  it('keeps unknown fields', () => {
    expect(checkFrame({ type, ...fields, later: 1 })).toMatchObject({ later: 1 });
  });
});

// Optional fields that readers compare: a null must not reach them.
const OPTIONAL_FIELDS: Record<string, readonly string[]> = {
  NodeAttach: ['assignedPath', 'capabilities', 'acceptedLogicals', 'resumeToken', 'authorization'],
  NodeAttachAck: ['code', 'reason', 'refId', 'targetSystemId', 'assignedPath', 'software', 'resumeToken'],
  AddressBind: ['physicalPath'],
  DeliveryAck: ['code', 'reason', 'refId'],
  CallCancel: ['reason'],
  Data: ['codec'],
};

describe('a frame', () => {
  it.each(Object.entries(OPTIONAL_FIELDS))(
    '%s has no field for an optional one that is null',
    (type, fields) => {
      const nulls = Object.fromEntries(fields.map((field) => [field, null]));
      const required = REQUIRED_FIELDS[type]!;
      expect(checkFrame({ type, ...required, ...nulls })).toEqual({ type, ...required });
    },
  );

  it('of data keeps a payload that is null', () => {
    expect(checkFrame({ type: 'Data', payload: null })).toEqual({ type: 'Data', payload: null });
  });

  it('of an unknown type is refused as such', () => {
    for (const type of ['', 'data', 'toString', '__proto__', 'constructor', 1, null, undefined, {}]) {
      expect(isFrameType(type)).toBe(false);
      expect(codeOf({ type })).toBe('PROTO_UNKNOWN_FRAME');
    }
  });

  it('that is not an object is refused', () => {
    for (const frame of [null, undefined, 1, 'Data', []]) expect(codeOf(frame)).toBe('PROTO_MALFORMED');
  });

  it('has limits for numbers and lists', () => {
    const bad: Record<string, unknown>[] = [
      { type: 'CreditUpdate', flowId: 'f', credits: 0 },
      { type: 'CreditUpdate', flowId: 'f', credits: 1.5 },
      { type: 'CreditUpdate', flowId: 'f', credits: 1_000_001 },
      { type: 'CreditUpdate', flowId: '', credits: 1 },
      { type: 'CapabilityAdvertise', address: 'a@b', capabilities: Array(33).fill('x') },
      { type: 'CapabilityAdvertise', address: 'a@b', capabilities: [''] },
      { type: 'AddressBind', address: 'x'.repeat(257) },
      { type: 'NodeAttachAck', ok: true, software: 7 },
      { type: 'NodeAttachAck', ok: true, expiresInMs: -1 },
      { type: 'NodeAttach', ...REQUIRED_FIELDS.NodeAttach, authorization: 'x'.repeat(8_193) },
    ];
    for (const frame of bad) expect(codeOf(frame)).toBe('PROTO_MALFORMED');
  });

  it('may carry a long reason', () => {
    expect(codeOf({ type: 'DeliveryAck', ok: false, reason: 'x'.repeat(20_000) })).toBe('none');
  });

  it('NodeAttach may come in snake_case', () => {
    const frame = {
      type: 'NodeAttach',
      origin_type: 'downstream',
      system_id: 's',
      instance_id: 'i',
      accepted_logicals: ['*'],
    };
    expect(checkFrame(frame)).toMatchObject({
      originType: 'downstream',
      systemId: 's',
      instanceId: 'i',
      acceptedLogicals: ['*'],
    });
  });
});
