// The port to the message bus between the sentinels of a cluster: at-most-once publish and subscribe by subject, in the order of each
// publisher, without an echo of own messages. `nats-bus.ts` implements it, and `testing/memory-bus.ts` for unit tests.

export interface BusMessage {
  readonly subject: string;
  /** Valid until the receiver returns. */
  readonly payload: Uint8Array;
  /** Subject for an answer; empty if none is expected. */
  readonly reply: string;
  /** True if the bus reports that the subject of a request has no subscribers. */
  readonly hasNoResponders: boolean;
}

export interface BusSubscription {
  unsubscribe(): void;
}

export interface Bus {
  /** True while messages can be sent. Messages that are published while it is false are lost. */
  readonly isConnected: boolean;
  /** Reason why the bus is not connected, for logs and people. */
  readonly reason: string | undefined;
  /** Called with each change of `isConnected`. */
  onChange: (() => void) | undefined;
  /**
   * Publishes a message. With `reply`, the answers arrive there, or a message without responders. The bus may keep a reference to the
   * payload, so the caller must not change it.
   */
  publish(subject: string, payload: Uint8Array, reply?: string): void;
  /** Subscribes to a subject, which may have wildcards. The subscription outlives lost connections. */
  subscribe(subject: string, onMessage: (message: BusMessage) => void): BusSubscription;
  /** Sends the published messages, and closes the connection. */
  close(): Promise<void>;
}
