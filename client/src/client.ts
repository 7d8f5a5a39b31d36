// A client: a node that calls others and serves no address. Its Link attaches, reconnects and matches replies; this class adds
// agents and conversations.
import {
  type AgentHandle,
  type AgentTasks,
  type CallOptions,
  type CallTarget,
  Link,
  type LinkOptions,
  type LinkState,
  type Principal,
  type RunManyOptions,
  type Send,
  type TaskMethods,
  type TaskOutcome,
  type TaskPayload,
  type TaskResult,
} from '@fame-fabric/shared';
import { agentHandle, taskMethods } from '@fame-fabric/shared/link';
import { Conversation, type ConversationOptions } from './conversation.ts';
import { Conversations, type ConversationsOptions } from './conversations.ts';

export interface ClientOptions extends LinkOptions {
  /** Cancels the attempt to connect. */
  signal?: AbortSignal | undefined;
}

/** A caller's handle for the agent at one address. `Agent<typeof shopAgent>` has a method for each of its operations. */
export type Agent<A = unknown> = AgentHandle<A>;

/** A connected client. Close it with `close()` or `await using`. */
export class Client implements TaskMethods {
  readonly #link: Link;
  /** Sends a message that is not a call: `send(to, payload)` once, `send(to, payload, { ack: true })` at least once. */
  readonly send: Send;
  readonly #tasks: TaskMethods;

  /** Use `connect` instead, which also attaches. */
  constructor(link: Link) {
    this.#link = link;
    this.send = link.send;
    this.#tasks = taskMethods({
      call: (...request) => link.call(...request),
      stream: (...request) => link.stream(...request),
      get isOver() {
        return link.state === 'closed' || link.state === 'draining';
      },
    });
  }

  get state(): LinkState {
    return this.#link.state;
  }

  /** The physical path that the sentinel assigned. A reconnect may change it. */
  get path(): string | undefined {
    return this.#link.path;
  }

  /** The principal of this client, from its sentinel. Undefined at sentinels of other software. */
  get principal(): Principal | undefined {
    return this.#link.principal;
  }

  /** Calls `listener` with every new state. Returns a function that removes the listener. */
  onState(listener: (state: LinkState) => void): () => void {
    return this.#link.onState(listener);
  }

  /**
   * Calls `method` of the agent at `target`. `T` is the type that the caller expects; it is not checked.
   * @throws {NO_ROUTE | METHOD_NOT_FOUND | CALL_TIMEOUT | ...}
   */
  call<T = unknown>(target: CallTarget, method: string, params?: unknown, options?: CallOptions): Promise<T> {
    return this.#link.call(target, method, params, options) as Promise<T>;
  }

  /** Calls a streaming operation. `T` is the expected type of its items. Leaving the loop cancels it. */
  stream<T = unknown>(
    target: CallTarget,
    method: string,
    params?: unknown,
    options?: CallOptions,
  ): AsyncIterable<T> {
    return this.#link.stream(target, method, params, options) as AsyncIterable<T>;
  }

  /**
   * Returns a handle for the agent at `address`. Sends nothing. With the type of a declared agent, `agent<typeof shopAgent>(address)`,
   * the handle has a method for each of its operations.
   */
  agent<A = unknown>(address: string): Agent<A> {
    return agentHandle<A>(this, address);
  }

  /** Returns the tasks of the agent at `address`: start, run, subscribe, cancel, get. Sends nothing. */
  task(address: string): AgentTasks {
    return this.#tasks.task(address);
  }

  /**
   * Runs one task with the same input at each address. Resolves to the outcomes in the order of the addresses, and does not reject for
   * a failed task. Runs `concurrency` (16) tasks at once. @throws {PARAMS_INVALID} if `concurrency` is out of bounds
   */
  broadcast<T = TaskResult>(
    addresses: Iterable<string>,
    payload?: TaskPayload,
    options?: RunManyOptions,
  ): Promise<TaskOutcome<T>[]> {
    return this.#tasks.broadcast<T>(addresses, payload, options);
  }

  /** Like `broadcast`, with an input for each address: `runMany([['a@fame.fabric', 'one'], ['b@fame.fabric', 'two']])`. */
  runMany<T = TaskResult>(
    tasks: Iterable<readonly [address: string, payload: TaskPayload]>,
    options?: RunManyOptions,
  ): Promise<TaskOutcome<T>[]> {
    return this.#tasks.runMany<T>(tasks, options);
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
 * @throws {LINK_TIMEOUT} if it cannot be reached within `connectTimeoutMs`; {LINK_REFUSED} if it refuses the node;
 *   {AUTH_MISSING | AUTH_INVALID | AUTH_FORBIDDEN} if that is because of its key
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
