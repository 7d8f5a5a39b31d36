// Reads the fields that a router needs directly from the bytes of an envelope: the top-level fields up to `frame.type`. It
// accepts only the plain shape that nodes send: compact JSON, plain ASCII texts in the header, a Data frame, and after the frame
// only `ts`, `sec` and `meta`. For any other message, valid or not, it returns false and the caller uses the codec. The payload,
// `meta` and `sec` are scanned, not parsed: they must be valid JSON within the depth limit, and must not override the header.
import { isUtf8 } from 'node:buffer';
import { TRACEPARENT, TRACEPARENT_CHARS } from '../../telemetry/tracing.ts';
import { TIMEOUT_META } from '../deadline.ts';
import { LIMITS } from '../limits.ts';
import { MALFORMED, Scan } from './json-scan.ts';
import { type Bytes, textAt } from './text-cache.ts';

/** The header of one Data envelope. Reused for every message. */
export class Header {
  #id = '';
  #bytes: Bytes | undefined;
  #idAt = 0;
  #idEnd = 0;
  to = '';
  replyTo = '';
  corrId = '';
  flowId = '';
  sid = '';
  rtype = 0;
  /** Remaining hops; -1 if the envelope has no ttl. */
  ttl = -1;
  /** Remaining time of the call in ms, from the metadata; 0 if it has none. */
  timeoutMs = 0;
  /** Offset of the trace context in the metadata, a text without escapes; 0 if it has none. */
  traceparentAt = 0;
  /** Offset of the `{` of the frame. */
  frameAt = 0;

  /** Decoded on first use, because most messages are forwarded without it. */
  get id(): string {
    if (this.#bytes !== undefined) {
      this.#id = this.#bytes.latin1Slice(this.#idAt, this.#idEnd);
      this.#bytes = undefined;
    }
    return this.#id;
  }

  set id(id: string) {
    this.#id = id;
    this.#bytes = undefined;
  }

  /** Sets the position of the id in the message. */
  locateId(bytes: Bytes, from: number, to: number): void {
    this.#bytes = bytes;
    this.#idAt = from;
    this.#idEnd = to;
  }
}

const QUOTE = 34;
const ZERO = 48;
const COMMA = 44;
const OPEN = 123;
const CLOSE = 125;

// Bits of the fields seen so far, to detect duplicates.
const ID = 1;
const TO = 2;
const REPLY_TO = 4;
const CORR_ID = 8;
const FLOW_ID = 16;
const RTYPE = 32;
const TTL = 64;
const META = 128;
const SID = 256;
const TRACKED = 511;
/** A number field that routers do not use. String fields that they do not use have no bit. */
const OTHER_NUMBER = 512;
const SEC = 1_024;
const FRAME = 2_048;

const scan = new Scan();

// The keys of the plain shape by frequency, each with its bit. Values that routers do not use must have the right type as well.
// A key is compared in words of four bytes, closing quote and colon included.
const KEYS = (
  [
    ['version', 0],
    ['id', ID],
    ['sid', SID],
    ['traceId', 0],
    ['corrId', CORR_ID],
    ['to', TO],
    ['replyTo', REPLY_TO],
    ['rtype', RTYPE],
    ['flowId', FLOW_ID],
    ['seqId', OTHER_NUMBER],
    ['flowFlags', OTHER_NUMBER],
    ['ttl', TTL],
    ['meta', META],
    ['sec', SEC],
    ['frame', FRAME],
    ['ts', 0],
  ] as const
).map(([name, field]) => {
  const spelled = Buffer.from(`${name}":`);
  const { length } = spelled;
  // Three words cover up to twelve bytes; in a short key they overlap.
  const middleAt = Math.min(4, length - 4);
  return {
    field,
    length,
    middleAt,
    first: spelled.readInt32LE(0),
    middle: spelled.readInt32LE(middleAt),
    last: spelled.readInt32LE(length - 4),
  };
});
/** The key that followed each key in the last message. Nodes write their keys in a fixed order, so this guess is mostly right. */
const next = new Uint8Array(KEYS.length + 1);

// The same in typed arrays, which take less time to read than objects.
const FIRST = Int32Array.from(KEYS, ({ first }) => first);
const MIDDLE = Int32Array.from(KEYS, ({ middle }) => middle);
const LAST = Int32Array.from(KEYS, ({ last }) => last);
const MIDDLE_AT = Uint8Array.from(KEYS, ({ middleAt }) => middleAt);
const LENGTH = Uint8Array.from(KEYS, ({ length }) => length);
const FIELD = Uint16Array.from(KEYS, ({ field }) => field);

const isKeyAt = (at: number, end: number, k: number): boolean => {
  const last = at + LENGTH[k]! - 4;
  return (
    scan.wordAt(at) === FIRST[k] &&
    last + 4 < end &&
    scan.wordAt(at + MIDDLE_AT[k]!) === MIDDLE[k] &&
    scan.wordAt(last) === LAST[k]
  );
};

/** Returns the index of the key at `at`, which follows the key `before`, or -1 for an unknown key. */
function keyAt(at: number, end: number, before: number): number {
  const guess = next[before]!;
  if (isKeyAt(at, end, guess)) return guess;
  for (let k = 0; k < KEYS.length; k++) {
    if (isKeyAt(at, end, k)) {
      next[before] = k;
      return k;
    }
  }
  return -1;
}

const TYPE = [...Buffer.from('type')];
const PAYLOAD = [...Buffer.from('payload')];
/** Digest of the payload, in signed envelopes. */
const DIGEST = [...Buffer.from('pd')];
const TIMEOUT = [...Buffer.from(TIMEOUT_META)];
const TRACE = [...Buffer.from(TRACEPARENT)];
const LATE_META = [...Buffer.from(',"meta":')];
const LATE_SEC = [...Buffer.from(',"sec":')];
const FRAME_DATA = [...Buffer.from('{"type":"Data"')];
const TIMESTAMP = [...Buffer.from(',"ts":"')];

const isAt = (bytes: Bytes, at: number, letters: readonly number[]): boolean => {
  for (let i = 0; i < letters.length; i++) if (bytes[at + i] !== letters[i]) return false;
  return true;
};

/**
 * Fills `header` from the bytes of a message. Returns false if it does not have the plain shape; use the codec then. If
 * `frameAt` is set nevertheless, the fields before the frame were read and only the frame is unusual.
 */
export function readHeader(buffer: Buffer, header: Header): boolean {
  const bytes = buffer as Bytes;
  const end = bytes.length;
  if (end < 32 || bytes[0] !== OPEN || bytes[end - 1] !== CLOSE) return false;
  scan.reset(bytes);
  header.id = '';
  header.to = '';
  header.replyTo = '';
  header.corrId = '';
  header.flowId = '';
  header.sid = '';
  header.rtype = 0;
  header.ttl = -1;
  header.timeoutMs = 0;
  header.traceparentAt = 0;
  header.frameAt = 0;
  let seen = 0;
  let idAt = 0;
  let idEnd = 0;
  let toAt = 0;
  let toEnd = 0;
  let replyToAt = 0;
  let replyToEnd = 0;
  let corrIdAt = 0;
  let corrIdEnd = 0;
  let flowIdAt = 0;
  let flowIdEnd = 0;
  let sidAt = 0;
  let sidEnd = 0;
  let at = 1;
  let key = KEYS.length;
  for (;;) {
    if (bytes[at] !== QUOTE || at + 5 > end) return false;
    key = keyAt(++at, end, key);
    if (key < 0) return false;
    const field = FIELD[key]!;
    at += LENGTH[key]!;
    if (field === FRAME) {
      header.locateId(bytes, idAt, idEnd);
      header.to = textAt(scan, toAt, toEnd);
      header.replyTo = textAt(scan, replyToAt, replyToEnd);
      header.corrId = textAt(scan, corrIdAt, corrIdEnd);
      header.flowId = textAt(scan, flowIdAt, flowIdEnd);
      header.sid = textAt(scan, sidAt, sidEnd);
      header.frameAt = at;
      return isPlainData(bytes, at, (seen & META) !== 0, header);
    }
    if ((seen & field & TRACKED) !== 0) return false;
    seen |= field;
    if (bytes[at] === QUOTE) {
      const valueAt = ++at;
      const valueLimit = Math.min(end, valueAt + 257);
      at = scan.endOfPlain(at, valueLimit);
      if (at === valueLimit || bytes[at] !== QUOTE) return false;
      if (field === ID) {
        idAt = valueAt;
        idEnd = at;
      } else if (field === TO) {
        toAt = valueAt;
        toEnd = at;
      } else if (field === REPLY_TO) {
        replyToAt = valueAt;
        replyToEnd = at;
      } else if (field === CORR_ID) {
        corrIdAt = valueAt;
        corrIdEnd = at;
      } else if (field === FLOW_ID) {
        flowIdAt = valueAt;
        flowIdEnd = at;
      } else if (field === SID) {
        sidAt = valueAt;
        sidEnd = at;
      } else if (field !== 0) return false;
      at++;
    } else if (field === META) {
      at = endOfMeta(bytes, at, header);
      if (at < 0) return false;
    } else if (field === SEC) {
      at = endOfObject(bytes, at);
      if (at < 0) return false;
    } else {
      let number = 0;
      const valueAt = at;
      let byte = bytes[at]!;
      while (byte >= 48 && byte <= 57) {
        number = number * 10 + byte - 48;
        byte = bytes[++at]!;
      }
      const digits = at - valueAt;
      if (digits === 0 || digits > 15 || (digits > 1 && bytes[valueAt] === ZERO)) return false;
      if (field === RTYPE) header.rtype = number;
      else if (field === TTL) header.ttl = number;
      else if (field !== OTHER_NUMBER) return false;
    }
    if (bytes[at] !== COMMA) return false;
    at++;
  }
}

/** Returns the end of the object that begins at `at`, or MALFORMED if there is none. */
const endOfObject = (
  bytes: Bytes,
  at: number,
  onKey?: (bytes: Buffer, from: number, to: number) => boolean,
): number => (bytes[at] === OPEN ? scan.skipObject(at, LIMITS.maxDepth - 1, onKey) : MALFORMED);

/** Position of the value of the last timeout in the metadata; 0 if it has none. */
let timeoutAt = 0;
/** The same for the last trace context. */
let traceAt = 0;

function endOfMeta(bytes: Bytes, at: number, header: Header): number {
  timeoutAt = 0;
  traceAt = 0;
  const end = endOfObject(bytes, at, findMeta);
  // The value of a trace context has a fixed length, and its quotes prove that it has no escapes.
  if (traceAt !== 0 && bytes[traceAt] === QUOTE && bytes[traceAt + TRACEPARENT_CHARS + 1] === QUOTE)
    header.traceparentAt = traceAt + 1;
  if (end < 0 || timeoutAt === 0) return end;
  let number = 0;
  let digitAt = timeoutAt;
  for (let byte = bytes[digitAt]!; byte >= 48 && byte <= 57; byte = bytes[++digitAt]!) {
    number = number * 10 + byte - 48;
  }
  const digits = digitAt - timeoutAt;
  const isPlain = digits > 0 && digits <= 15 && (bytes[digitAt] === COMMA || bytes[digitAt] === CLOSE);
  header.timeoutMs = number;
  return isPlain ? end : MALFORMED;
}

function findMeta(bytes: Buffer, from: number, to: number): boolean {
  // Behind the key are its quote and a colon.
  if (to - from === TIMEOUT.length && isAt(bytes as Bytes, from, TIMEOUT)) timeoutAt = to + 2;
  else if (to - from === TRACE.length && isAt(bytes as Bytes, from, TRACE)) traceAt = to + 2;
  return true;
}

// True if the frame is a Data frame with one type, the message is valid JSON within the depth limit, and no later key
// overrides the header. In JSON.parse the last of two equal keys wins, so only fields that are not in the header may follow.
function isPlainData(bytes: Bytes, frameAt: number, hasMeta: boolean, header: Header): boolean {
  if (!isAt(bytes, frameAt, FRAME_DATA)) return false;
  let at = scan.skipObject(frameAt, LIMITS.maxDepth - 1, isKeyOfPlainData);
  if (at < 0) return false;
  if (!isUtf8(bytes)) return false;
  const last = bytes.length - 1;
  let isMetaSeen = hasMeta;
  while (at !== last) {
    if (isAt(bytes, at, TIMESTAMP)) {
      const valueAt = at + TIMESTAMP.length;
      at = scan.endOfString(valueAt) + 1;
      if (at === 0 || at - valueAt > 64) return false;
    } else if (isAt(bytes, at, LATE_SEC)) {
      at = endOfObject(bytes, at + LATE_SEC.length);
      if (at < 0) return false;
    } else if (!isMetaSeen && isAt(bytes, at, LATE_META)) {
      isMetaSeen = true;
      at = endOfMeta(bytes, at + LATE_META.length, header);
      if (at < 0) return false;
    } else return false;
  }
  return true;
}

// A plain Data frame has a `type`, its first key, a payload, and perhaps the digest of it. Any other key, in particular a second
// type, is left to the codec, which validates all fields.
function isKeyOfPlainData(bytes: Buffer, from: number, to: number): boolean {
  const length = to - from;
  if (length === PAYLOAD.length) return isAt(bytes as Bytes, from, PAYLOAD);
  if (length === DIGEST.length) return isAt(bytes as Bytes, from, DIGEST);
  return length === TYPE.length && isAt(bytes as Bytes, from, TYPE) && bytes[from - 2] === OPEN;
}

const CREDIT_UPDATE = [...Buffer.from('{"type":"CreditUpdate","flowId":"')];
const CREDITS = [...Buffer.from('","credits":')];

/** The content of one CreditUpdate. Reused for every message. */
export class Credit {
  flowId = '';
  credits = 0;
}

/**
 * Fills `credit` from the frame at `frameAt`, an offset set by `readHeader`. Returns false if it is not a plain CreditUpdate;
 * use the codec then. Every 24th message is a CreditUpdate, and the codec takes ten times as long.
 */
export function readCredit(buffer: Buffer, frameAt: number, credit: Credit): boolean {
  const bytes = buffer as Bytes;
  if (!isAt(bytes, frameAt, CREDIT_UPDATE)) return false;
  scan.reset(bytes);
  const flowAt = frameAt + CREDIT_UPDATE.length;
  const flowEnd = scan.endOfPlain(flowAt, Math.min(bytes.length, flowAt + LIMITS.maxIdBytes + 1));
  if (flowEnd === flowAt || !isAt(bytes, flowEnd, CREDITS)) return false;
  let at = flowEnd + CREDITS.length;
  let credits = 0;
  const digitsAt = at;
  for (let byte = bytes[at]!; byte >= 48 && byte <= 57; byte = bytes[++at]!)
    credits = credits * 10 + byte - 48;
  if (at === digitsAt || at - digitsAt > 6 || credits === 0 || bytes[digitsAt] === 48 || bytes[at] !== CLOSE)
    return false;
  at++;
  const last = bytes.length - 1;
  if (at !== last) {
    if (!isAt(bytes, at, TIMESTAMP)) return false;
    const valueAt = at + TIMESTAMP.length;
    if (last - valueAt >= 64 || scan.endOfPlain(valueAt, last) !== last - 1 || bytes[last - 1] !== QUOTE)
      return false;
  }
  // `readHeader` only scanned the metadata before the frame.
  if (!isUtf8(bytes)) return false;
  credit.flowId = textAt(scan, flowAt, flowEnd);
  credit.credits = credits;
  return true;
}
