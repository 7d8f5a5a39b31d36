// Writes to an accepted socket below its stream. `socket.write` creates a request and a callback for each write and updates the
// state of the stream, which costs as much as routing a message. The system accepts nearly every write of a router at once, so one
// request serves all of them. Only a write that the system does not accept completely keeps its request.
//
// Node does not export the class of these requests. It is taken from a write to a probe, as in `read-buffer.ts`. If a version of
// Node differs, `writableHandle` returns undefined, and the caller writes to the stream.
import { Socket } from 'node:net';

interface WriteRequest {
  /** Keeps the bytes until the system has accepted them. */
  buffer?: Uint8Array;
  /** Receives 0, or a negative error number. */
  oncomplete?: (status: number) => void;
  /** Negative unless a write uses the request. */
  getAsyncId(): number;
}

/** The part of the handle of a TCP socket that writes. */
export interface WritableHandle {
  /** Returns 0, or a negative error number. */
  writeBuffer(request: object, bytes: Uint8Array): number;
  /** Bytes that the system has not accepted. */
  readonly writeQueueSize: number;
}

const Request = ((): (new () => WriteRequest) | undefined => {
  let request: object | undefined;
  const handle = {
    writeBuffer: (made: object): number => {
      request = made;
      return 0;
    },
    close: (): void => {},
  };
  try {
    const probe = new Socket({ handle, readable: false } as object);
    probe.write(Buffer.of(0));
    probe.destroy();
  } catch {
    return undefined;
  }
  const { name } = request?.constructor ?? {};
  const isKnown = name === 'WriteWrap' && 'getAsyncId' in request!;
  return isKnown ? (request!.constructor as new () => WriteRequest) : undefined;
})();

/** The request of the next write. */
let request = Request && new Request();

/** Returns the handle of an open TCP socket; `undefined` for another socket, or if this version of Node does not support it. */
export function writableHandle(socket: Socket): WritableHandle | undefined {
  const handle = (socket as { _handle?: Partial<WritableHandle> })._handle;
  const isTcp = handle?.constructor.name === 'TCP';
  const isUsable = typeof handle?.writeBuffer === 'function' && typeof handle.writeQueueSize === 'number';
  return Request !== undefined && isTcp && isUsable ? (handle as WritableHandle) : undefined;
}

/** Receives the end of a write that the system did not accept at once. */
export interface WriteOwner {
  /** @param status 0, or a negative error number if the connection is broken */
  onWritten(status: number): void;
}

/**
 * Writes `bytes` to a handle that has no unfinished write. Returns the count of bytes that the system has not accepted yet: 0 almost
 * always. Otherwise `bytes` must not change until `onWritten` is called. A broken connection is reported before this returns.
 */
export function writeDirectly(handle: WritableHandle, bytes: Uint8Array, owner: WriteOwner): number {
  const status = handle.writeBuffer(request!, bytes);
  if (status !== 0) {
    owner.onWritten(status);
    return 0;
  }
  if (request!.getAsyncId() < 0) return 0;
  // After an incomplete write, Node tries the rest once more. If the system accepts it then, no bytes are left, but the request stays in
  // use until the next iteration of the event loop. Node aborts the process if another write uses the request before that.
  const used = request!;
  request = new Request!();
  const pending = handle.writeQueueSize;
  if (pending > 0) {
    used.buffer = bytes;
    used.oncomplete = (end) => owner.onWritten(end);
  }
  return pending;
}
