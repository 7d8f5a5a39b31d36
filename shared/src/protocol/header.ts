// Reads of an envelope just what a router needs, straight from the bytes: the top-level fields up to `frame.type`. It
// takes only the plain shape that real nodes send (compact JSON, plain ASCII header, `frame` last but for `ts`, a Data
// frame) and answers `false` for everything else, however valid; the caller then goes through the codec. The payload is
// walked over, not parsed: that it is sound, within the depth limit, and cannot overrule the header is all it must show.
import { isUtf8 } from 'node:buffer';
import { endOfText, skipObject } from './json-scan.ts';
import { LIMITS } from './limits.ts';

/** Node's direct form of `toString('latin1', start, end)`: a third faster, and not in its types. */
type Bytes = Buffer & { latin1Slice(start: number, end: number): string };

/**
 * The header of one Data envelope; one object is filled again and again. Its texts are parts of one text of the whole header,
 * which costs one call into native code instead of five; who keeps one of them keeps the few hundred bytes around it.
 */
export class Header {
  id = '';
  to = '';
  replyTo = '';
  corrId = '';
  flowId = '';
  rtype = 0;
  /** Offset of the `{` of the frame. */
  frameAt = 0;
}

const QUOTE = 34;
const ZERO = 48;
const COMMA = 44;
const COLON = 58;
const OPEN = 123;
const CLOSE = 125;

// Bits of the fields seen, to refuse a second one of the same name.
const ID = 1;
const TO = 2;
const REPLY_TO = 4;
const CORR_ID = 8;
const FLOW_ID = 16;
const RTYPE = 32;
const TRACKED = 63;
/** A number that a router has no use for. Texts of that kind have no bit. */
const OTHER_NUMBER = 64;

// Keys by their length; each with the bit to remember it by; what a router has no use for must have its kind all the same.
const KEYS: readonly (readonly { readonly letters: readonly number[]; readonly field: number }[])[] = (() => {
  const keys: { letters: number[]; field: number }[][] = Array.from({ length: 10 }, () => []);
  const known = {
    id: ID,
    to: TO,
    ts: 0,
    sid: 0,
    rtype: RTYPE,
    seqId: OTHER_NUMBER,
    corrId: CORR_ID,
    flowId: FLOW_ID,
    replyTo: REPLY_TO,
    traceId: 0,
    version: 0,
    flowFlags: OTHER_NUMBER,
  };
  for (const [name, field] of Object.entries(known))
    keys[name.length]!.push({ letters: [...Buffer.from(name)], field });
  return keys;
})();

/** 1 for what may not stand in a text of the plain shape: quote, backslash, control characters, all beyond ASCII. */
const ENDS_PLAIN = new Uint8Array(256).fill(1, 0, 32).fill(1, 127);
ENDS_PLAIN[QUOTE] = 1;
ENDS_PLAIN[92] = 1;

const FRAME = [...Buffer.from('frame')];
const TYPE = [...Buffer.from('type')];
const PAYLOAD = [...Buffer.from('payload')];
const FRAME_DATA = [...Buffer.from('{"type":"Data"')];
const TIMESTAMP = [...Buffer.from(',"ts":"')];

const isAt = (bytes: Bytes, at: number, letters: readonly number[]): boolean => {
  for (let i = 0; i < letters.length; i++) if (bytes[at + i] !== letters[i]) return false;
  return true;
};

const fieldOf = (bytes: Bytes, at: number, length: number): number => {
  for (const key of KEYS[length]!) if (isAt(bytes, at, key.letters)) return key.field;
  return -1;
};

/**
 * Fills `header` from `bytes`. `false`: not the plain shape; ask the codec. When `frameAt` is set all the same, the fields
 * before the frame were read and the frame is what is unusual.
 */
export function readHeader(buffer: Buffer, header: Header): boolean {
  const bytes = buffer as Bytes;
  const end = bytes.length;
  if (end < 32 || bytes[0] !== OPEN || bytes[end - 1] !== CLOSE) return false;
  header.id = '';
  header.to = '';
  header.replyTo = '';
  header.corrId = '';
  header.flowId = '';
  header.rtype = 0;
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
  let at = 1;
  for (;;) {
    if (bytes[at] !== QUOTE) return false;
    const keyAt = ++at;
    // The keys of the plain shape have at most 9 letters.
    const keyLimit = Math.min(end, keyAt + 10);
    while (at < keyLimit && bytes[at] !== QUOTE) at++;
    if (at === keyLimit || bytes[at + 1] !== COLON) return false;
    const keyLength = at - keyAt;
    at += 2;
    if (keyLength === 5 && bytes[keyAt] === 102) {
      if (!isAt(bytes, keyAt, FRAME)) return false;
      const text = bytes.latin1Slice(0, at);
      header.id = text.substring(idAt, idEnd);
      header.to = text.substring(toAt, toEnd);
      header.replyTo = text.substring(replyToAt, replyToEnd);
      header.corrId = text.substring(corrIdAt, corrIdEnd);
      header.flowId = text.substring(flowIdAt, flowIdEnd);
      header.frameAt = at;
      return isPlainData(bytes, at);
    }
    const field = fieldOf(bytes, keyAt, keyLength);
    if (field < 0 || (seen & field & TRACKED) !== 0) return false;
    seen |= field;
    if (bytes[at] === QUOTE) {
      const valueAt = ++at;
      const valueLimit = Math.min(end, valueAt + 257);
      while (at < valueLimit && ENDS_PLAIN[bytes[at]!] === 0) at++;
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
      } else if (field !== 0) return false;
      at++;
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
      else if (field !== OTHER_NUMBER) return false;
    }
    if (bytes[at] !== COMMA) return false;
    at++;
  }
}

// The frame says Data once, nothing behind it could overrule the header that was read, and the whole is sound JSON within
// the depth limit. JSON.parse lets the last of two equal keys win, so only `ts` may follow the frame.
function isPlainData(bytes: Bytes, at: number): boolean {
  if (!isAt(bytes, at, FRAME_DATA)) return false;
  const after = skipObject(bytes, at, LIMITS.maxDepth - 1, isKeyOfPlainData);
  if (after < 0) return false;
  if (!isUtf8(bytes)) return false;
  const last = bytes.length - 1;
  if (after === last) return true;
  if (!isAt(bytes, after, TIMESTAMP)) return false;
  const valueAt = after + TIMESTAMP.length;
  return last - valueAt < 64 && endOfText(bytes, valueAt) === last - 1;
}

// A plain Data frame has its `type`, which is its first key as checked before, and its payload. Whatever else it says, a
// second type above all, is for the codec, which knows what the other keys must look like.
function isKeyOfPlainData(bytes: Buffer, from: number, to: number): boolean {
  if (to - from === PAYLOAD.length) return isAt(bytes as Bytes, from, PAYLOAD);
  return to - from === TYPE.length && isAt(bytes as Bytes, from, TYPE) && bytes[from - 2] === OPEN;
}

const CREDIT_UPDATE = [...Buffer.from('{"type":"CreditUpdate","flowId":"')];
const CREDITS = [...Buffer.from('","credits":')];

/** What a CreditUpdate says; one object is filled again and again. */
export class Credit {
  flowId = '';
  credits = 0;
}

/**
 * Fills `credit` from the frame at `frameAt`, which `readHeader` found and did not take. `false`: not a plain CreditUpdate;
 * ask the codec. Every 24th message brings one, and the codec costs ten times as much.
 */
export function readCredit(buffer: Buffer, frameAt: number, credit: Credit): boolean {
  const bytes = buffer as Bytes;
  if (!isAt(bytes, frameAt, CREDIT_UPDATE)) return false;
  const flowAt = frameAt + CREDIT_UPDATE.length;
  const flowEnd = endOfText(bytes, flowAt);
  if (flowEnd <= flowAt || flowEnd - flowAt > LIMITS.maxIdBytes || !isAt(bytes, flowEnd, CREDITS))
    return false;
  const flowId = bytes.latin1Slice(flowAt, flowEnd);
  for (let i = 0; i < flowId.length; i++) {
    const code = flowId.charCodeAt(i);
    if (code > 126 || code === 92) return false;
  }
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
    if (last - valueAt >= 64 || endOfText(bytes, valueAt) !== last - 1) return false;
  }
  credit.flowId = flowId;
  credit.credits = credits;
  return true;
}
