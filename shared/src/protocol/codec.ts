// Encodes and decodes envelopes. Decoding checks size, depth, UTF-8, JSON, header fields and frame fields, in this order, so
// that input is bounded before it is parsed. A sentinel does not decode the envelopes that it only forwards: see
// `router/header.ts`.
import { FabricError } from '../errors/error.ts';
import type { Envelope, Frame } from './envelope.ts';
import { checkFrame } from './frames.ts';
import { LIMITS } from './limits.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

// For short texts, Buffer is three times as fast as TextEncoder. Browsers have no Buffer.
const NodeBuffer: typeof Buffer | undefined = globalThis.Buffer;

const toBytes: (text: string) => Uint8Array = NodeBuffer
  ? (text) => NodeBuffer.from(text, 'utf8')
  : (text) => encoder.encode(text);

/** Encodes an envelope. @throws {MESSAGE_TOO_LARGE} above 262,144 bytes @throws {PROTO_MALFORMED} when it is not JSON */
export function encode(envelope: Envelope): Uint8Array {
  let text: string;
  try {
    text = JSON.stringify(envelope);
  } catch (cause) {
    throw new FabricError(
      'PROTO_MALFORMED',
      `The payload cannot be serialized as JSON: ${(cause as Error).message}`,
      { cause },
    );
  }
  const bytes = toBytes(text);
  if (bytes.byteLength > LIMITS.maxEnvelopeBytes) throw tooLarge(bytes.byteLength);
  return bytes;
}

/** Creates the error for an envelope of `size` bytes. */
const tooLarge = (size: number): FabricError =>
  new FabricError(
    'MESSAGE_TOO_LARGE',
    `The envelope has ${size} bytes; the limit is ${LIMITS.maxEnvelopeBytes}`,
    { details: { size, limit: LIMITS.maxEnvelopeBytes } },
  );

/** Decodes one message. @throws {MESSAGE_TOO_LARGE | PROTO_TOO_DEEP | PROTO_MALFORMED | PROTO_UNKNOWN_FRAME} */
export function decode(message: Uint8Array | string): Envelope {
  const bytes = typeof message === 'string' ? toBytes(message) : message;
  if (bytes.byteLength > LIMITS.maxEnvelopeBytes) throw tooLarge(bytes.byteLength);
  if (depthExceeds(bytes, LIMITS.maxDepth)) {
    throw new FabricError('PROTO_TOO_DEEP', `The message is nested deeper than ${LIMITS.maxDepth} levels`);
  }
  return checkEnvelope(parse(bytes));
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(decoder.decode(bytes));
  } catch (cause) {
    // The parser's own message quotes the input, and message bodies must not reach logs or other nodes.
    throw new FabricError('PROTO_MALFORMED', 'The message is not valid UTF-8 JSON', { cause });
  }
}

const QUOTE = 34;
const BACKSLASH = 92;

/** True if brackets outside of strings nest deeper than `limit`. Scans the bytes without parsing them. */
export function depthExceeds(bytes: Uint8Array, limit: number): boolean {
  const end = bytes.byteLength;
  let depth = 0;
  for (let i = 0; i < end; i++) {
    const byte = bytes[i]!;
    if (byte === QUOTE) {
      i++;
      while (i < end && bytes[i] !== QUOTE) i += bytes[i] === BACKSLASH ? 2 : 1;
    } else if (byte === 123 || byte === 91) {
      if (++depth > limit) return true;
    } else if (byte === 125 || byte === 93) {
      depth--;
    }
  }
  return false;
}

const STRING_FIELDS = [
  'id',
  'sid',
  'traceId',
  'to',
  'replyTo',
  'corrId',
  'flowId',
  'ts',
  'version',
  'priority',
] as const;
const INTEGER_FIELDS = ['rtype', 'seqId', 'flowFlags', 'ttl'] as const;

const malformed = (message: string): FabricError => new FabricError('PROTO_MALFORMED', message);

/** Validates a parsed envelope: field types, id lengths, and the frame. @throws {PROTO_MALFORMED | PROTO_UNKNOWN_FRAME} */
export function checkEnvelope(value: unknown): Envelope {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw malformed('An envelope must be a JSON object');
  }
  const envelope = value as Record<string, unknown>;
  for (const field of STRING_FIELDS) {
    const text = envelope[field];
    if (text === undefined) continue;
    if (text === null) delete envelope[field];
    else if (typeof text !== 'string') throw malformed(`${field} must be a string`);
    else if (text.length > LIMITS.maxIdBytes) {
      throw malformed(`${field} is longer than ${LIMITS.maxIdBytes} bytes`);
    }
  }
  for (const field of INTEGER_FIELDS) {
    const number = envelope[field];
    if (number === undefined) continue;
    if (number === null) delete envelope[field];
    else if (!Number.isSafeInteger(number) || (number as number) < 0) {
      throw malformed(`${field} must be a non-negative whole number`);
    }
  }
  if (envelope.capabilities === null) delete envelope.capabilities;
  else if (envelope.capabilities !== undefined) checkCapabilities(envelope.capabilities);
  envelope.frame = checkFrame(envelope.frame);
  // Every Fame node accepts a missing id. Code that needs one checks for it.
  envelope.id ??= '';
  return envelope as unknown as Envelope<Frame>;
}

function checkCapabilities(value: unknown): void {
  const fits =
    Array.isArray(value) &&
    value.length <= LIMITS.maxCapabilities &&
    value.every((name) => typeof name === 'string' && name.length > 0 && name.length <= LIMITS.maxIdBytes);
  if (!fits) throw malformed(`capabilities must be a list of at most ${LIMITS.maxCapabilities} names`);
}
