// Reads of an envelope just what a router needs, straight from the bytes: the top-level fields up to `frame.type`. It
// takes only the plain shape that real nodes send (compact JSON, plain ASCII header, `frame` after the fields, a Data
// frame) and answers `false` for everything else, however valid; the caller then goes through the codec. What it skips is
// the payload, so a key there that would change the header for a lenient reader also sends the message to the codec.
// Measured at 256 B: about 0.5 us against 2 us for JSON.parse, and the gap grows with the payload.

/** The header of one Data envelope; one object is filled again and again, so copy what must outlive the call. */
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
const COMMA = 44;
const COLON = 58;
const OPEN = 123;
const CLOSE = 125;

const FRAME_DATA = Buffer.from('{"type":"Data"');

// A lenient reader lets the last of two equal keys win, accepts snake_case keys, and decodes escapes in keys. Any of these
// behind the frame could say another replyTo or another frame than the one that was checked.
const SUSPECTS = ['"replyTo', '"reply_t', '"frame":', '\\u00'].map((text) => Buffer.from(text));

// Bits of the fields seen, to refuse a second one of the same name.
const ID = 1;
const TO = 2;
const REPLY_TO = 4;
const CORR_ID = 8;
const FLOW_ID = 16;
const RTYPE = 32;

const fieldOf = (bytes: Bytes, at: number, length: number): number => {
  const first = bytes[at];
  switch (length) {
    case 2: // id, to, ts
      if (first === 105 && bytes[at + 1] === 100) return ID;
      if (first === 116 && bytes[at + 1] === 111) return TO;
      return first === 116 && bytes[at + 1] === 115 ? 0 : -1;
    case 3: // sid; ttl, sec and aft go through the codec
      return first === 115 && bytes[at + 1] === 105 && bytes[at + 2] === 100 ? 0 : -1;
    case 5: // rtype, seqId (frame is taken before)
      if (first === 114) return bytes.latin1Slice(at, at + 5) === 'rtype' ? RTYPE : -1;
      return bytes.latin1Slice(at, at + 5) === 'seqId' ? 0 : -1;
    case 6: // corrId, flowId
      if (first === 99) return bytes.latin1Slice(at, at + 6) === 'corrId' ? CORR_ID : -1;
      return bytes.latin1Slice(at, at + 6) === 'flowId' ? FLOW_ID : -1;
    case 7: // replyTo, traceId, version
      if (first === 114) return bytes.latin1Slice(at, at + 7) === 'replyTo' ? REPLY_TO : -1;
      if (first === 116) return bytes.latin1Slice(at, at + 7) === 'traceId' ? 0 : -1;
      return bytes.latin1Slice(at, at + 7) === 'version' ? 0 : -1;
    case 9:
      return bytes.latin1Slice(at, at + 9) === 'flowFlags' ? 0 : -1;
    default:
      return -1;
  }
};

/** Node's direct form of `toString('latin1', start, end)`: a third faster, and not in its types. */
type Bytes = Buffer & { latin1Slice(start: number, end: number): string };

/** Fills `header` from `bytes`. `false`: not the plain shape; ask the codec. */
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
  let seen = 0;
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
      if (bytes.latin1Slice(keyAt, keyAt + 5) !== 'frame') return false;
      header.frameAt = at;
      return isPlainData(bytes, at);
    }
    const field = fieldOf(bytes, keyAt, keyLength);
    if (field < 0 || (seen & field) !== 0) return false;
    seen |= field;
    if (bytes[at] === QUOTE) {
      const valueAt = ++at;
      let byte = bytes[at]!;
      while (byte !== QUOTE) {
        // Escapes, control characters, everything beyond ASCII, and the end of the buffer (undefined).
        if (!(byte >= 32 && byte < 127) || byte === 92) return false;
        byte = bytes[++at]!;
      }
      if (at - valueAt > 256) return false;
      if (field !== 0) {
        const text = bytes.latin1Slice(valueAt, at);
        if (field === TO) header.to = text;
        else if (field === REPLY_TO) header.replyTo = text;
        else if (field === CORR_ID) header.corrId = text;
        else if (field === FLOW_ID) header.flowId = text;
        else if (field === ID) header.id = text;
        else return false;
      }
      at++;
    } else {
      let number = 0;
      const valueAt = at;
      let byte = bytes[at]!;
      while (byte >= 48 && byte <= 57) {
        number = number * 10 + byte - 48;
        byte = bytes[++at]!;
      }
      if (at === valueAt || at - valueAt > 15) return false;
      if (field === RTYPE) header.rtype = number;
      else if (field !== 0) return false;
    }
    if (bytes[at] !== COMMA) return false;
    at++;
  }
}

function isPlainData(bytes: Buffer, at: number): boolean {
  for (let i = 0; i < FRAME_DATA.length; i++) if (bytes[at + i] !== FRAME_DATA[i]) return false;
  const next = bytes[at + FRAME_DATA.length];
  if (next !== COMMA && next !== CLOSE) return false;
  for (const suspect of SUSPECTS) if (bytes.indexOf(suspect, at) !== -1) return false;
  return true;
}
