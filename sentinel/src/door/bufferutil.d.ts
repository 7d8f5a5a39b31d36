// `bufferutil` has no types of its own; this is the part of it that we use.
declare module 'bufferutil' {
  const bufferutil: { unmask(bytes: Buffer, mask: Buffer): void };
  export default bufferutil;
}
