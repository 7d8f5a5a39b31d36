// A client: a node that calls others and serves no address. Its Link attaches, reconnects and matches replies; this class adds
// agents and conversations.
import {
  type CallOptions,
  type CallTarget,
  Link,
  type LinkOptions,
  type LinkState,
} from '@fame-fabric/shared';
import { Conversation, type ConversationOptions } from './conversation.ts';
import { Conversations, type ConversationsOptions } from './conversations.ts';

export interface ClientOptions extends LinkOptions {
  /** Cancels the attempt to connect. */
  signal?: AbortSignal | undefined;
}

/** A caller's handle for the agent at one address. */
export interface Agent {
  readonly address: string;
  /** `agent.call('add', { x: 1, y: 2 })`. @throws {NO_ROUTE | METHOD_NOT_FOUND | PARAMS_INVALID | CALL_TIMEOUT | ...} */
  call(method: string, params?: unknown, options?: CallOptions): Promise<unknown>;
  /** Yields the items of a streaming operation. Leaving the loop cancels it. */
  stream(method: string, params?: unknown, options?: CallOptions): AsyncIterable<unknown>;
}

/** A connected client. Close it with `close()` or `await using`. */
export class Client {
  readonly #link: Link;

  /** Use `connect` instead, which also attaches. */
  constructor(link: Link) {
    this.#link = link;
  }

  get state(): LinkState {
    return this.#link.state;
  }

  /** The physical path that the sentinel assigned. A reconnect may change it. */
  get path(): string | undefined {
    return this.#link.path;
  }

  /** Calls `listener` with every new state. Returns a function that removes the listener. */
  onState(listener: (state: LinkState) => void): () => void {
    return this.#link.onState(listener);
  }

  /** Calls `method` of the agent at `target`. @throws {NO_ROUTE | METHOD_NOT_FOUND | CALL_TIMEOUT | ...} */
  call(target: CallTarget, method: string, params?: unknown, options?: CallOptions): Promise<unknown> {
    return this.#link.call(target, method, params, options);
  }

  /** Calls a streaming operation. Leaving the loop cancels it. */
  stream(
    target: CallTarget,
    method: string,
    params?: unknown,
    options?: CallOptions,
  ): AsyncIterable<unknown> {
    return this.#link.stream(target, method, params, options);
  }

  /** Returns a handle for the agent at `address`. Sends nothing. */
  agent(address: string): Agent {
    return {
      address,
      call: (method, params, options) => this.call(address, method, params, options),
      stream: (method, params, options) => this.stream(address, method, params, options),
    };
  }

  /** Creates a conversation with the chat agent at `address`. It starts with its first turn, or with `start()`. */
  conversation(address: string, options?: ConversationOptions): Conversation {
    return new Conversation(this, address, options);
  }

  /** Returns a handle for all conversations of the chat agent at `address`. Sends nothing. */
  conversations(address: string, options?: ConversationsOptions): Conversations {
    return new Conversations(this, address, options);
  }

  /** Closes the connection. Open calls fail with LINK_CLOSED. */
  close(): Promise<void> {
    return this.#link.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Attaches to a sentinel and returns the client.
 * @throws {LINK_TIMEOUT} if it cannot be reached within `connectTimeoutMs`; {LINK_REFUSED} if it refuses the node
 */
export async function connectWith({ signal, ...options }: ClientOptions): Promise<Client> {
  const link = new Link(options);
  try {
    await link.connect({ signal });
  } catch (error) {
    await link.close();
    throw error;
  }
  return new Client(link);
}
