// The port to a session's connection: the `Transport` of shared, with additions for the sentinel. The sockets of `door/` and
// the connections of `uplink/` implement it.
import type { Transport } from '@fame-fabric/shared';

/**
 * Connection of one node. `send` has copied or written the bytes when it returns; they belong to the caller again. The bytes that
 * `onMessage` receives are a `Buffer`, valid until it returns.
 */
export interface NodeTransport extends Transport {
  /** Address of the other end, for logs. */
  readonly remote: string;
  /** Pings the other end; resolves `false` when no pong arrived within `timeoutMs`. */
  ping(timeoutMs: number): Promise<boolean>;
  /** Called at each ping with the size of its payload in bytes. If it returns `false`, the ping is not answered. */
  onPing?: ((size: number) => boolean) | undefined;
  /** Called at each pong with the size of its payload in bytes, whether it was requested or not. */
  onPong?: ((size: number) => void) | undefined;
  /** Stops reading until `resume`. Absent if the other end speaks for many nodes. */
  pause?(): void;
  resume?(): void;
  /** Reads only a few messages in each iteration of the event loop from now on. */
  readInSlices?(): void;
  /** Raises the size limits from those of an unattached connection to those of an attached node. */
  raiseLimits?(): void;
}
