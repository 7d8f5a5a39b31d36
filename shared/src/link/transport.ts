// The port under a link: one open, ordered, message-framed connection. WebSocket, browser WebSocket and memory implement it.

export interface Transport {
  /** Sends one message. `false` when the transport is closed and the message did not leave. */
  send(bytes: Uint8Array): boolean;
  /** Closes it. `code` is a WebSocket close code. */
  close(code?: number, reason?: string): void;
  /** Ends it at once, without a closing handshake. */
  terminate(): void;
  /** Bytes that `send` took and that have not left yet. */
  readonly bufferedBytes: number;
  /** Told when all that `send` took has left, after some of it had to wait; by transports that can tell. */
  onDrain?: (() => void) | undefined;
  /** Set once, before the first message can arrive. */
  onMessage: ((bytes: Uint8Array) => void) | undefined;
  /** Called exactly once, whichever side closed. */
  onClose: ((code: number, reason: string) => void) | undefined;
}

/** Opens a transport to `url`; rejects with LINK_TIMEOUT (cannot reach) or LINK_REFUSED (the server said no). */
export type Dial = (url: string, options: DialOptions) => Promise<Transport>;

export interface DialOptions {
  timeoutMs: number;
  /** Bearer token, offered as WebSocket subprotocol. */
  token?: string | undefined;
  /** Gives the attempt up. */
  signal?: AbortSignal | undefined;
}
