// A pool of buffers for partially received frames. Large blocks of memory that are allocated and dropped several hundred
// times a second make V8 mark its whole heap to find the dead ones.

/** Smaller buffers come from Node's own pool. */
const MIN_POOLED_BYTES = 8_192;
/** Spare buffers of one size, which is a power of two. */
const MAX_SPARES = 4;

const spares = new Map<number, Buffer[]>();

/** A buffer of at least `bytes` bytes. */
export function acquireBuffer(bytes: number): Buffer {
  if (bytes < MIN_POOLED_BYTES) return Buffer.allocUnsafe(bytes);
  const size = 2 ** Math.ceil(Math.log2(bytes));
  return spares.get(size)?.pop() ?? Buffer.allocUnsafeSlow(size);
}

/** Returns a buffer to the pool; the caller must not use it any more. */
export function releaseBuffer(buffer: Buffer): void {
  const { length } = buffer;
  // Only buffers of this pool are a power of two and alone in their memory.
  if (length < MIN_POOLED_BYTES || length !== buffer.buffer.byteLength) return;
  const buffers = spares.get(length);
  if (buffers === undefined) spares.set(length, [buffer]);
  else if (buffers.length < MAX_SPARES) buffers.push(buffer);
}
