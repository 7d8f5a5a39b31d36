// One buffer for what all sockets read. Node gives every read a block of 64 KB of its own, which costs an allocation, a
// copy, an object in the heap and its collection; a router is done with what it read when the callback returns, and needs
// just one block for all of its connections.
//
// Node has this for sockets that a program opens itself (`onread` of `net.Socket`), and not for those that a server accepts.
// The two fields it goes by are found by their values on a socket made for that. In a Node that does it otherwise,
// `readInto` does nothing, and the socket is read by its `data` events as ever: slower, and no less correct.
import { Socket } from 'node:net';

/** Larger than a frame of 64 KB, so that most large messages are read by one call. */
const READ_BYTES = 131_072;

/** What every read fills, from its beginning. */
const readBuffer = Buffer.allocUnsafeSlow(READ_BYTES);

type Handle = { useUserBuffer?: (buffer: Buffer) => void };
type Inside = Record<symbol, unknown> & { _handle?: Handle };

const fields = ((): { buffer: symbol; callback: symbol } | undefined => {
  const callback = (): boolean => true;
  const probe = new Socket({ onread: { buffer: readBuffer, callback } }) as unknown as Inside;
  const keyOf = (value: unknown): symbol | undefined =>
    Object.getOwnPropertySymbols(probe).find((key) => probe[key] === value);
  const keys = { buffer: keyOf(readBuffer), callback: keyOf(callback) };
  (probe as unknown as Socket).destroy();
  return keys.buffer && keys.callback ? { buffer: keys.buffer, callback: keys.callback } : undefined;
})();

/**
 * Has an open socket read into the shared buffer from now on. `onRead` gets what came, until it returns: the next read, of
 * any socket, overwrites it. `false`: this Node has no such thing, and nothing was changed.
 */
export function readInto(socket: Socket, onRead: (bytes: Buffer) => void): boolean {
  const inside = socket as unknown as Inside;
  const handle = inside._handle;
  if (fields === undefined || typeof handle?.useUserBuffer !== 'function') return false;
  inside[fields.buffer] = readBuffer;
  inside[fields.callback] = (count: number): void => onRead(readBuffer.subarray(0, count));
  handle.useUserBuffer(readBuffer);
  return true;
}
