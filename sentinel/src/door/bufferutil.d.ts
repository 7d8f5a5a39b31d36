// The part of `bufferutil` that we use; the package has no types of its own.
declare module 'bufferutil' {
  const bufferutil: { unmask(bytes: Buffer, mask: Buffer): void };
  export default bufferutil;
}
