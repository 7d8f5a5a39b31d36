// Frames between a pair of sentinels: a header of 14 bytes, and for data any number of envelopes, each with its length. The
// envelopes keep their original bytes.

/** Kinds of frames. */
export const PAIR = Object.freeze({
  /** Opens or confirms the link of the sender. The body is JSON. */
  hello: 1,
  /** Envelopes. */
  data: 2,
  /** States the last data frame of the sender, each second and when many bytes were received. */
  beat: 3,
  /** Ends the link of the sender. */
  bye: 4,
});

export const HEADER_BYTES = 14;
/** Bytes before each envelope. */
export const LENGTH_BYTES = 4;
/** Flag: the sender is shutting down. */
const DRAINING = 1;

/** Header of a frame. Numbers wrap at 2^32. */
export interface PairHeader {
  readonly kind: number;
  /** Number of the link that the sender opened. */
  readonly link: number;
  /** Number of this data frame, or of the last one before this frame. The first one is 1. */
  readonly seq: number;
  /** Sum of the sizes of all data frames that the sender has received from the other side. */
  readonly receivedBytes: number;
  readonly isDraining: boolean;
}

/** Writes the header at the start of `target`. */
export function writeHeader(
  target: Buffer,
  { kind, link, seq, receivedBytes, isDraining }: PairHeader,
): void {
  target[0] = kind;
  target.writeUInt32BE(link, 1);
  target.writeUInt32BE(seq, 5);
  target.writeUInt32BE(receivedBytes, 9);
  target[13] = isDraining ? DRAINING : 0;
}

/** Reads a header. Returns `undefined` if the frame is too short or of an unknown kind. */
export function readPairHeader(frame: Buffer): PairHeader | undefined {
  const kind = frame[0];
  if (frame.length < HEADER_BYTES || kind === undefined || kind < PAIR.hello || kind > PAIR.bye)
    return undefined;
  return {
    kind,
    link: frame.readUInt32BE(1),
    seq: frame.readUInt32BE(5),
    receivedBytes: frame.readUInt32BE(9),
    isDraining: (frame[13]! & DRAINING) !== 0,
  };
}

/** Calls `receive` with each envelope of a data frame. Returns `false` if the lengths do not fit the frame. */
export function readEnvelopes(frame: Buffer, receive: (envelope: Buffer) => void): boolean {
  let at = HEADER_BYTES;
  while (at < frame.length) {
    if (at + LENGTH_BYTES > frame.length) return false;
    const end = at + LENGTH_BYTES + frame.readUInt32BE(at);
    if (end > frame.length) return false;
    receive(frame.subarray(at + LENGTH_BYTES, end));
    at = end;
  }
  return true;
}
