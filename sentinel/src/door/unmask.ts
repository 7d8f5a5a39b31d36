// Removes the mask of a client's frame (RFC 6455, 5.3). Long messages go through `bufferutil`, the native addon that `ws` uses
// too, where it is installed. Short ones, and all without it, are unmasked in a loop.

type NativeUnmask = (bytes: Buffer, mask: Buffer) => void;

/** Up to this size the loop is faster than a call into native code. */
const LOOP_UP_TO = 48;

// An optional dependency: the loop replaces it where it is absent or has no build for the platform.
const native: NativeUnmask | undefined = await import('bufferutil').then(
  (module) => module.default.unmask,
  () => undefined,
);

const mask = Buffer.alloc(4);

/** Unmasks `bytes` in place with the four bytes of `source` at `maskAt`. */
export function unmask(bytes: Buffer, source: Buffer, maskAt: number): void {
  const a = source[maskAt]!;
  const b = source[maskAt + 1]!;
  const c = source[maskAt + 2]!;
  const d = source[maskAt + 3]!;
  if (native !== undefined && bytes.length > LOOP_UP_TO) {
    mask[0] = a;
    mask[1] = b;
    mask[2] = c;
    mask[3] = d;
    native(bytes, mask);
    return;
  }
  const end = bytes.length;
  const whole = end - (end % 4);
  let i = 0;
  while (i < whole) {
    bytes[i]! ^= a;
    bytes[i + 1]! ^= b;
    bytes[i + 2]! ^= c;
    bytes[i + 3]! ^= d;
    i += 4;
  }
  if (i < end) bytes[i]! ^= a;
  if (i + 1 < end) bytes[i + 1]! ^= b;
  if (i + 2 < end) bytes[i + 2]! ^= c;
}
