// The port to a session's connection: what the sentinel needs of a WebSocket, a memory transport or an uplink.

export interface Wire {
  /**
   * Sends one message, whose bytes are the caller's again when this returns. Nothing happens when the wire is closed; it has
   * said so.
   */
  send(bytes: Uint8Array): void;
  close(code: number, reason: string): void;
  terminate(): void;
  /** Bytes that were sent and have not left this process yet. */
  readonly bufferedBytes: number;
  /** Asks the other end for a sign of life; resolves `false` when none came within `timeoutMs`. */
  ping(timeoutMs: number): Promise<boolean>;
  /** Address of the other end, for logs. */
  readonly remote: string;
}
