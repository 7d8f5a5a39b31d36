// The port below a link. Implemented in `ws-transport.ts`, `web-transport.ts` and `memory-transport.ts`.

/** One open, ordered connection that carries whole messages. */
export interface Transport {
  /** Sends one message. Returns false, and sends nothing, if the transport is closed. */
  send(bytes: Uint8Array): boolean;
  /** Closes the connection with a WebSocket close code. */
  close(code?: number, reason?: string): void;
  /** Closes the connection at once, without a closing handshake. */
  terminate(): void;
  /** Number of bytes that were passed to `send` and not written yet. */
  readonly bufferedBytes: number;
  /** Called when all buffered bytes have been written. Not every transport supports it. */
  onDrain?: (() => void) | undefined;
  /** Called with every message. Must be set before the first one can arrive. */
  onMessage: ((bytes: Uint8Array) => void) | undefined;
  /** Called exactly once, whichever side closed. */
  onClose: ((code: number, reason: string) => void) | undefined;
}

/** Where a link gets its token, which may change. */
export interface TokenSource {
  /** Called for each attempt to attach. */
  read(): string | undefined | Promise<string | undefined>;
  /** Returns a fresh token for an attached connection, before the one in use expires. @default tokens are not renewed */
  readonly renew?: (() => Promise<string>) | undefined;
  /** Called when the sentinel refused the token. Returns true if `read` returns another one now, or none: for one more attempt. */
  onRefused?(): boolean;
}

const TOKEN = /^[\x21-\x7e]+$/;

/** True if a header can carry the token: it is printable ASCII without blanks. */
export const isToken = (text: string): boolean => TOKEN.test(text);

/** Opens a transport to `url`. Rejects with LINK_TIMEOUT (unreachable) or LINK_REFUSED (the server refused). */
export type Dial = (url: string, options: DialOptions) => Promise<Transport>;

export interface DialOptions {
  timeoutMs: number;
  /** Bearer token of the upgrade request: a header, or the subprotocols `bearer, TOKEN` in a browser. */
  token?: string | undefined;
  /** Aborts the attempt. */
  signal?: AbortSignal | undefined;
}
