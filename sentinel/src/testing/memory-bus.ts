// A message bus in memory for unit tests. It delivers in microtasks, in order, and can lose messages and connections as NATS does.
import type { Bus, BusMessage, BusSubscription } from '../cluster/bus.ts';

interface Subscribed {
  readonly bus: MemoryBus;
  readonly pattern: readonly string[];
  readonly onMessage: (message: BusMessage) => void;
}

const EMPTY = new Uint8Array(0);

/** The server that the buses of a test connect to. */
export class MemoryBusServer {
  readonly #subscribed = new Set<Subscribed>();
  /** Messages that the server loses. @default none */
  loses: (message: { subject: string; payload: Uint8Array }) => boolean = () => false;
  /** Subjects of all messages, in the order in which they were published. */
  readonly published: string[] = [];

  connect(): MemoryBus {
    return new MemoryBus(this);
  }

  add(subscribed: Subscribed): void {
    this.#subscribed.add(subscribed);
  }

  remove(subscribed: Subscribed): void {
    this.#subscribed.delete(subscribed);
  }

  publish(from: MemoryBus, subject: string, payload: Uint8Array, reply: string): void {
    this.published.push(subject);
    if (this.loses({ subject, payload })) return;
    const tokens = subject.split('.');
    const receivers = [...this.#subscribed].filter(
      ({ bus, pattern }) => bus !== from && bus.isConnected && matches(pattern, tokens),
    );
    // A server sends the bytes at the time of the call.
    const copy = Buffer.from(payload);
    for (const { bus, onMessage } of receivers) {
      queueMicrotask(() => {
        if (bus.isConnected) onMessage({ subject, payload: copy, reply, hasNoResponders: false });
      });
    }
    if (receivers.length > 0 || reply === '') return;
    const replyTokens = reply.split('.');
    for (const { bus, pattern, onMessage } of this.#subscribed) {
      if (bus !== from || !matches(pattern, replyTokens)) continue;
      queueMicrotask(() => {
        if (bus.isConnected) onMessage({ subject: reply, payload: EMPTY, reply: '', hasNoResponders: true });
      });
    }
  }
}

export class MemoryBus implements Bus {
  onChange: (() => void) | undefined;
  readonly #server: MemoryBusServer;
  readonly #subscribed = new Set<Subscribed>();
  #isConnected = true;

  constructor(server: MemoryBusServer) {
    this.#server = server;
  }

  get isConnected(): boolean {
    return this.#isConnected;
  }

  get reason(): string | undefined {
    return this.#isConnected ? undefined : 'the test cut the connection';
  }

  /** Cuts the connection, or restores it. */
  connect(isConnected: boolean): void {
    this.#isConnected = isConnected;
    this.onChange?.();
  }

  publish(subject: string, payload: Uint8Array, reply = ''): void {
    if (this.#isConnected) this.#server.publish(this, subject, payload, reply);
  }

  subscribe(subject: string, onMessage: (message: BusMessage) => void): BusSubscription {
    const subscribed = { bus: this, pattern: subject.split('.'), onMessage };
    this.#subscribed.add(subscribed);
    this.#server.add(subscribed);
    return {
      unsubscribe: () => {
        this.#subscribed.delete(subscribed);
        this.#server.remove(subscribed);
      },
    };
  }

  async close(): Promise<void> {
    this.#isConnected = false;
    for (const subscribed of this.#subscribed) this.#server.remove(subscribed);
  }
}

function matches(pattern: readonly string[], tokens: readonly string[]): boolean {
  for (const [at, token] of pattern.entries()) {
    if (token === '>') return tokens.length > at;
    if (tokens[at] === undefined || (token !== '*' && token !== tokens[at])) return false;
  }
  return pattern.length === tokens.length;
}
