// Buffers for the beginnings of frames whose rest has not come yet, used again and again. Large blocks of memory that are
// made and dropped several hundred times a second make V8 mark its whole heap to find the dead ones.

/** Smaller ones come out of Node's own pool. */
const SMALLEST = 8_192;
/** Spare buffers of one size, which is a power of two. */
const MOST = 4;

const spare = new Map<number, Buffer[]>();

/** A buffer of at least so many bytes. */
export function takeHeldBuffer(bytes: number): Buffer {
  if (bytes < SMALLEST) return Buffer.allocUnsafe(bytes);
  const size = 2 ** Math.ceil(Math.log2(bytes));
  return spare.get(size)?.pop() ?? Buffer.allocUnsafeSlow(size);
}

/** Nobody looks at this buffer any more. */
export function giveBackHeldBuffer(buffer: Buffer): void {
  const { length } = buffer;
  // Only what was made here is a power of two, and alone in its memory.
  if (length < SMALLEST || length !== buffer.buffer.byteLength) return;
  const buffers = spare.get(length);
  if (buffers === undefined) spare.set(length, [buffer]);
  else if (buffers.length < MOST) buffers.push(buffer);
}
