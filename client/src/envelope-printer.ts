// Prints envelopes for debugging: `make run-verbose`, `/trace on`. Each envelope is a line, or a block with its time, direction,
// label, and metadata as JSON. A payload is reduced to its method and size, and fields outside of the protocol to their size, so that
// neither user text nor secrets reach a terminal or a log. Known fields are cut. Only the mode `full` prints whole envelopes.
import { type DataFrame, type Envelope, systemClock } from '@fame-fabric/shared';
import {
  createStyle,
  cutText,
  escapeLine,
  printableJson,
  type Style,
  shownHeader,
  shownValue,
} from '@fame-fabric/shared/internal';

export interface EnvelopePrinterOptions {
  /** Receives one line or one block of lines for each envelope. */
  write: (block: string) => void;
  /** `line` prints a line without metadata, `full` prints whole envelopes, including user text. @default 'metadata' */
  mode?: 'line' | 'metadata' | 'full' | undefined;
  /** @default no colours */
  style?: Style | undefined;
  /** Wall time in ms since the epoch. @default that of the machine */
  now?: (() => number) | undefined;
}

const MAX_LABEL_CHARS = 160;

export type EnvelopeTrace = (direction: 'sent' | 'received', envelope: Envelope) => void;

/** Creates a function for the `trace` option of a link or client. */
export function createEnvelopePrinter(options: EnvelopePrinterOptions): EnvelopeTrace {
  const { write, mode = 'metadata', style = createStyle(false), now = systemClock.now } = options;
  return (direction, envelope) => {
    const at = new Date(now()).toISOString();
    if (mode === 'line') {
      const arrow = direction === 'sent' ? '→' : '←';
      write(`${style.dim(at.slice(11, 23))} ${arrow} ${lineOf(envelope)}\n`);
      return;
    }
    const time = style.dim(at);
    const prefix = direction === 'sent' ? 'Sent envelope →' : 'Received envelope ←';
    const label = style.blue(`${prefix} ${cutText(escapeLine(labelOf(envelope)), MAX_LABEL_CHARS)}`);
    const body = mode === 'full' ? envelope : envelopeMetadata(envelope);
    write(`\n${time} - ${label}\n${printableJson(body, 2)}\n`);
  };
}

function lineOf(envelope: Envelope): string {
  const corr = envelope.corrId === undefined ? '' : ` corr=${envelope.corrId}`;
  return cutText(escapeLine(`${labelOf(envelope)}${corr} ${sizeOf(envelope)} B`), MAX_LABEL_CHARS);
}

function labelOf({ frame, to }: Envelope): string {
  const target = to === undefined ? '' : ` to ${to}`;
  if (frame.type !== 'Data') return `${frame.type}${target}`;
  const { method, result, error } = fieldsOf(frame.payload);
  if (typeof method === 'string') return `Data request ${method}${target}`;
  // Replies go to mailboxes, whose random names are omitted.
  if (error !== undefined) return 'Data error reply';
  if (result !== undefined) return 'Data reply';
  return `Data${target}`;
}

const fieldsOf = (value: unknown): Record<string, unknown> =>
  typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};

const sizeOf = (value: unknown): number => {
  const json = JSON.stringify(value);
  return json === undefined ? 0 : new TextEncoder().encode(json).length;
};

// Frame fields that contain only ids, addresses, codes and counts. Other fields are reduced to their size.
const FRAME_FIELDS = (
  'type originType systemId instanceId assignedPath capabilities acceptedLogicals ok code reason refId targetSystemId ' +
  'targetPhysicalPath routingEpoch software resumed address physicalPath flowId credits corrId codec'
).split(' ');

/** Returns an envelope without its content: header, frame fields, and the method and sizes of a payload. */
function envelopeMetadata(envelope: Envelope): Record<string, unknown> {
  const { frame, ...header } = envelope;
  const shown = shownHeader(envelope);
  return {
    ...shown,
    ...otherFields(header, shown),
    frame: frame.type === 'Data' ? dataMetadata(frame) : frameMetadata(frame),
  };
}

function frameMetadata(frame: object): Record<string, unknown> {
  const fields = frame as Record<string, unknown>;
  const shown: Record<string, unknown> = {};
  for (const field of FRAME_FIELDS) {
    const value = shownValue(fields[field]);
    if (value !== undefined) shown[field] = value;
  }
  return { ...shown, ...otherFields(fields, shown) };
}

// Other nodes choose the names of other fields too, so the names are not shown.
function otherFields(fields: object, shown: Record<string, unknown>): { otherFields?: string } {
  const others = Object.entries(fields).filter(
    ([name, value]) => value !== undefined && !Object.hasOwn(shown, name),
  );
  return others.length === 0 ? {} : { otherFields: hidden(Object.fromEntries(others)) };
}

const hidden = (value: unknown): string => `<${sizeOf(value)} bytes>`;

function dataMetadata(frame: DataFrame): Record<string, unknown> {
  const payload = fieldsOf(frame.payload);
  const shown: Record<string, unknown> = {};
  if (payload.jsonrpc === '2.0') {
    shown.jsonrpc = '2.0';
    const id = shownValue(payload.id);
    if ('id' in payload) shown.id = id === undefined ? hidden(payload.id) : id;
    if (typeof payload.method === 'string') shown.method = shownValue(payload.method);
    if (payload.params !== undefined) shown.params = hidden(payload.params);
    if (payload.result !== undefined) shown.result = payload.result === null ? null : hidden(payload.result);
    if (payload.error !== undefined) {
      const error = fieldsOf(payload.error);
      const data = fieldsOf(error.data);
      shown.error = {
        code: typeof error.code === 'number' ? error.code : hidden(error.code),
        ...(typeof data.code === 'string' ? { name: shownValue(data.code) } : {}),
        message: hidden(error.message),
      };
    }
  }
  return {
    type: frame.type,
    ...(frame.codec === undefined ? {} : { codec: shownValue(frame.codec) }),
    payload: payload.jsonrpc === '2.0' ? shown : hidden(frame.payload),
  };
}
