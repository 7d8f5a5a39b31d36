// One read buffer for all sockets. Node gives every read a block of 64 KB of its own, which costs an allocation, a copy, an
// object in the heap and its collection. A router is done with the bytes when the callback returns, so one block serves all
// of its connections.
//
// Node offers this for sockets that a program opens (`onread` of `net.Socket`), not for those that a server accepts. The
// two fields that implement it are found by their values on a probe. If a version of Node lacks them, `readInto` does nothing,
// and the socket is read by its `data` events: slower, and equally correct.
import { Socket } from 'node:net';

/** Largest read. Larger than a frame of 64 KB, so that most large messages need one read. */
export const READ_BYTES = 131_072;

/** Every read fills it from its beginning. */
const readBuffer = Buffer.allocUnsafeSlow(READ_BYTES);

type Handle = { useUserBuffer?: (buffer: Buffer) => void };
type Internals = Record<symbol, unknown> & { _handle?: Handle };

const fields = ((): { buffer: symbol; callback: symbol } | undefined => {
  const callback = (): boolean => true;
  const probe = new Socket({ onread: { buffer: readBuffer, callback } }) as unknown as Internals;
  const keyOf = (value: unknown): symbol | undefined =>
    Object.getOwnPropertySymbols(probe).find((key) => probe[key] === value);
  const keys = { buffer: keyOf(readBuffer), callback: keyOf(callback) };
  (probe as unknown as Socket).destroy();
  return keys.buffer && keys.callback ? { buffer: keys.buffer, callback: keys.callback } : undefined;
})();

/**
 * Makes an open socket read into the shared buffer. `onRead` receives bytes that are valid until it returns: the next read,
 * of any socket, overwrites them. If it returns `false`, the socket is not read until `socket.resume()`. Returns `false`, without any
 * effect, if this version of Node does not support it.
 */
export function readInto(socket: Socket, onRead: (bytes: Buffer) => boolean): boolean {
  const internals = socket as unknown as Internals;
  const handle = internals._handle;
  if (fields === undefined || typeof handle?.useUserBuffer !== 'function') return false;
  internals[fields.buffer] = readBuffer;
  internals[fields.callback] = (count: number): boolean => onRead(readBuffer.subarray(0, count));
  handle.useUserBuffer(readBuffer);
  return true;
}
