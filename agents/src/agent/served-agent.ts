// An agent on a link, and THE PATH of a call: find the operation, read the parameters, schedule, run, answer. An error ends the
// call that it belongs to and nothing else. `agent.ts` declares agents, and `answer.ts` sends results.
import {
  type Clock,
  type Envelope,
  FabricError,
  type IncomingCall,
  isFabricError,
  type Logger,
  newId,
  RTYPE,
  type Service,
  silentLog,
  systemClock,
} from '@fame-fabric/shared';
import { closestMatch, cutText, isRpcRequest } from '@fame-fabric/shared/internal';
import { createSafeFetch } from '../net/safe-fetch.ts';
import type { AgentStore } from '../store/agent-store.ts';
import { MemoryStore } from '../store/memory-store.ts';
import type { Agent, AgentContext, AgentLink, AgentOptions, ServeOptions, Serving } from './agent-types.ts';
import { answer } from './answer.ts';
import { CallScope } from './call-scope.ts';
import { describeMethod } from './describe.ts';
import { DurableRequests } from './durable/durable-requests.ts';
import type { Prepared, Run } from './durable/live-request.ts';
import { CallerUnknown } from './identified-caller.ts';
import { ImmediateCalls } from './immediate-calls.ts';
import type { Delivery, Operation } from './operation.ts';
import { Scheduler } from './scheduler.ts';
import { ScopedLink } from './scoped-link.ts';
import { type AgentState, StoredState } from './state/agent-state.ts';
import { StateKeys } from './state/state-keys.ts';
import { Notifier } from './tasks/push.ts';
import { taskMethods } from './tasks/task-methods.ts';
import { TaskTable } from './tasks/task-table.ts';

const MAX_CONCURRENT = 64;
const MAX_WAITING = 1_024;
/** Maximum operations that an error lists. */
const MAX_LISTED = 20;

export class ServedAgent implements Serving, Service {
  readonly agent: Agent;
  readonly #options: AgentOptions;
  readonly #link: AgentLink;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #operations: ReadonlyMap<string, Operation>;
  readonly #scheduler: Scheduler;
  readonly #tasks: TaskTable | undefined;
  readonly #calls = new Map<IncomingCall, CallScope>();
  readonly #closing = new AbortController();
  readonly #context: AgentContext;
  readonly #serve: ServeOptions;
  #storedState: AgentState | undefined;
  #durable: DurableRequests | undefined;
  #phase: 'opening' | 'open' | 'draining' | 'closed' = 'opening';
  readonly #immediate: ImmediateCalls;
  #unbound: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  constructor(agent: Agent, options: AgentOptions, link: AgentLink, serve: ServeOptions) {
    this.agent = agent;
    this.#options = options;
    this.#link = link;
    this.#serve = serve;
    this.#log = (serve.log ?? silentLog).with({ agent: options.address });
    this.#clock = serve.clock ?? systemClock;
    this.#scheduler = new Scheduler({
      maxConcurrent: options.maxConcurrent ?? serve.maxConcurrent ?? MAX_CONCURRENT,
      maxWaiting: options.maxWaiting ?? MAX_WAITING,
    });
    if (options.tasks) {
      const notifier = new Notifier({
        link,
        safeFetch: serve.safeFetch ?? createSafeFetch(),
        pushAddresses: options.tasks.pushAddresses,
        clock: this.#clock,
        log: this.#log,
      });
      this.#tasks = new TaskTable(options.tasks, { link, notifier, clock: this.#clock, log: this.#log });
    }
    this.#operations = new Map(
      Object.entries({
        ...taskMethods(agent.card, this.#tasks),
        describe: describeMethod(options),
        ...options.operations,
      }),
    );
    this.#immediate = new ImmediateCalls(this.#operations.values(), options.immediateLimits);
    this.#context = this.#contextOf(new ScopedLink(link), this.#closing.signal);
  }

  #contextOf(link: ScopedLink, signal: AbortSignal, delivery?: Delivery): AgentContext {
    const state = this.#state;
    return {
      address: this.#options.address,
      link,
      log: this.#log,
      clock: this.#clock,
      signal,
      get state() {
        return state();
      },
      delivery,
    };
  }

  /** @throws {CONFIG_INVALID} if the agent does not declare its state */
  readonly #state = (): AgentState => {
    if (this.#storedState) return this.#storedState;
    throw new FabricError(
      'CONFIG_INVALID',
      `${this.#options.address} uses its state and does not declare it. Add \`state: true\` to its declaration.`,
    );
  };

  async open(): Promise<void> {
    if (needsStore(this.#options)) await this.#openStore();
    await this.#options.onStart?.(this.#context);
    this.#phase = 'open';
    try {
      if (this.#durable) await this.#durable.open();
      await this.#link.bind(this.agent.address, this, { capabilities: this.agent.capabilities });
    } catch (error) {
      // Do not release the address: it is not bound, and may belong to another node.
      this.#unbound = Promise.resolve();
      await this.close();
      throw error;
    }
  }

  /** @throws {STORE_UNAVAILABLE | STATE_KEY_MISSING} */
  async #openStore(): Promise<void> {
    const options = this.#options;
    const { openStore, stateKeys: keys = new StateKeys() } = this.#serve;
    const store: AgentStore = options.store ?? (await openStore?.()) ?? memoryStoreOf(this.agent);
    const agent = options.address;
    keys.assertKnown(agent, await store.keyIds(agent));
    if (options.state)
      this.#storedState = new StoredState(store, agent, keys, options.state === true ? {} : options.state);
    if (!hasDurable(options)) return;
    this.#durable = new DurableRequests({
      agent,
      store,
      keys,
      link: this.#link,
      log: this.#log,
      clock: this.#clock,
      maxConcurrent: options.maxConcurrent ?? this.#serve.maxConcurrent ?? MAX_CONCURRENT,
      maxWaiting: options.maxWaiting ?? MAX_WAITING,
      prepare: (method, params) => this.#prepare(method, params),
    });
  }

  /** Never throws: every error becomes the answer to this call. */
  onCall(call: IncomingCall): void {
    try {
      this.#accept(call);
    } catch (error) {
      call.acknowledge?.();
      if (isFabricError(error)) call.refuse(error);
      else this.#fail(call, error);
    }
  }

  #accept(call: IncomingCall): void {
    if (this.#phase !== 'open') {
      throw new FabricError('LINK_DRAINING', `${this.agent.address} is stopping and accepts no new calls`);
    }
    const operation = this.#operations.get(call.method);
    if (!operation) {
      throw unknownMethod(
        call.method,
        [...this.#operations.keys()],
        Object.keys(this.#options.operations ?? {}),
      );
    }
    const args = operation.read(call.params);
    const key = operation.keyOf(args);
    if (operation.durable && this.#durable) {
      void this.#durable.onCall(call, this.#preparedCall(call.method, operation, args));
      return;
    }
    const scope = new CallScope(call, this.#scopeDeps);
    this.#calls.set(call, scope);
    const job = {
      key,
      scope,
      run: () => this.#run(call, operation, args, scope),
      abandon: () => {
        this.#forget(call, scope);
        this.#fail(call, scope.signal.reason, scope);
      },
    };
    try {
      if (operation.immediate) this.#immediate.submit(call, operation, job);
      else if (!this.#scheduler.submit(job)) {
        throw new FabricError(
          'NODE_BUSY',
          `${this.agent.address} has too many waiting calls; call again later`,
        );
      }
    } catch (error) {
      this.#forget(call, scope);
      throw error;
    }
  }

  get #scopeDeps() {
    return { link: this.#link, log: this.#log, clock: this.#clock, state: this.#state };
  }

  /** True for requests and messages that are journaled before they are acknowledged. */
  isDurable(payload: unknown): boolean {
    if (!isRpcRequest(payload)) return this.#options.durableMessages === true;
    const operation = this.#operations.get(payload.method);
    return operation !== undefined && (operation.durable || operation.journals);
  }

  /** @throws {METHOD_NOT_FOUND | PARAMS_INVALID} if this version of the agent cannot run a stored request */
  #prepare(method: string, params: unknown): Prepared {
    if (method === '') {
      const { payload, header } = params as { payload: unknown; header: Omit<Envelope, 'frame'> };
      return this.#preparedMessage(payload, { ...header, frame: { type: 'Data', payload } });
    }
    const operation = this.#operations.get(method);
    if (!operation) throw unknownMethod(method, [...this.#operations.keys()], []);
    return this.#preparedCall(method, operation, operation.read(params));
  }

  #preparedCall(method: string, operation: Operation, args: unknown): Prepared {
    return {
      key: operation.keyOf(args),
      run: async ({ id, attempt, answerTo, timeoutMs, signal }: Run) => {
        const { replyTo, traceId, ttl, meta, caller } = answerTo;
        const call = {
          id: answerTo.corrId,
          method,
          address: this.agent.address,
          replyTo,
          isStream: false,
          traceId,
          ttl,
          meta: meta && { ...meta },
          signal,
          caller: Promise.resolve(caller),
          // The call of the request may have ended, and only open calls have a caller that can be asked about.
          callerServes: async () => false,
        };
        const scope = new CallScope(call, { ...this.#scopeDeps, delivery: { id, attempt }, timeoutMs });
        try {
          return await operation.run(args, scope);
        } finally {
          scope.dispose();
        }
      },
    };
  }

  #preparedMessage(payload: unknown, envelope: Envelope): Prepared {
    const { onMessage } = this.#options;
    return {
      key: undefined,
      run: ({ id, attempt, signal }: Run) => {
        const { ttl, traceId } = envelope;
        const link = new ScopedLink(this.#link, { ttl, traceId, signal });
        const context = this.#contextOf(link, signal, { id, attempt });
        return onMessage?.call(this.#options, payload, envelope, context);
      },
    };
  }

  async #run(call: IncomingCall, operation: Operation, args: unknown, scope: CallScope): Promise<void> {
    try {
      await answer(call, operation.run(args, scope), scope);
    } catch (error) {
      this.#fail(call, error, scope);
    } finally {
      this.#forget(call, scope);
    }
  }

  #forget(call: IncomingCall, scope: CallScope): void {
    this.#calls.delete(call);
    // An answered request need not be repeated.
    call.acknowledge?.();
    scope.dispose();
  }

  #fail(call: IncomingCall, error: unknown, scope?: CallScope): void {
    const ids = { method: cutText(call.method, 64), callId: call.id };
    try {
      if (error instanceof CallerUnknown) call.refuse(error);
      else if (isFabricError(error)) call.fail(error);
      else if (scope?.isAborted) {
        call.fail(new FabricError('CALL_CANCELLED', 'The call was cancelled'));
        this.#log.debug('operation failed after its call was cancelled', { ...ids, error });
      } else {
        const logId = newId();
        call.fail(error, logId);
        this.#log.error('operation failed', { logId, ...ids, error });
      }
    } catch (cause) {
      // A thrown value may be anything, even an object whose properties throw.
      this.#log.error('cannot send or log the error of a call', { ...ids, reason: typeof cause });
    }
  }

  /**
   * Queues the message with the calls, so the limits apply to messages too. Throws if the message is refused and its sender waits
   * for an answer or an acknowledgement. Rejects only if the sender waits for an answer: the link then answers with the error.
   */
  onMessage(payload: unknown, envelope: Envelope, acknowledge?: () => void): Promise<unknown> | undefined {
    const { onMessage } = this.#options;
    const { address } = this.agent;
    const { id: messageId, rtype = 0, ttl } = envelope;
    const isAwaited = (rtype & (RTYPE.reply | RTYPE.stream)) !== 0;
    const isWatched = isAwaited || (rtype & RTYPE.ack) !== 0;
    if (!onMessage) {
      if (!isWatched || isAwaited) return undefined;
      throw new FabricError('OPERATION_UNSUPPORTED', `${address} handles calls only, and no other messages`);
    }
    if (this.#phase !== 'open') {
      if (!isWatched) return undefined;
      throw new FabricError('LINK_DRAINING', `${address} is stopping and accepts no new messages`);
    }
    if (this.#options.durableMessages && this.#durable) {
      return this.#onDurableMessage(this.#durable, payload, envelope, { isAwaited, acknowledge });
    }
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const drop = (error: unknown): void => (isAwaited ? reject(error) : resolve(undefined));
    const context =
      ttl === undefined
        ? this.#context
        : this.#contextOf(new ScopedLink(this.#link, { ttl }), this.#closing.signal);
    const run = async (): Promise<void> => {
      try {
        resolve(await onMessage.call(this.#options, payload, envelope, context));
      } catch (error) {
        if (!isAwaited) this.#log.error('message handler failed', { messageId, error });
        drop(error);
      }
    };
    const job = { scope: this.#context, run, abandon: () => drop(this.#closing.signal.reason) };
    if (this.#scheduler.submit(job)) return promise;
    if (isWatched) {
      throw new FabricError('NODE_BUSY', `${address} has too many waiting messages; send again later`);
    }
    this.#log.warn('message dropped: the queue is full', { messageId });
    return undefined;
  }

  /** Rejects only if the sender waits for an answer, or for an acknowledgement that it has not received. */
  async #onDurableMessage(
    durable: DurableRequests,
    payload: unknown,
    envelope: Envelope,
    { isAwaited, acknowledge }: { isAwaited: boolean; acknowledge: (() => void) | undefined },
  ): Promise<unknown> {
    let isAccepted = false;
    const accept = (): void => {
      isAccepted = true;
      acknowledge?.();
    };
    try {
      return await durable.onMessage(payload, envelope, this.#preparedMessage(payload, envelope), accept);
    } catch (error) {
      if (isAwaited || (acknowledge && !isAccepted)) throw error;
      this.#log.warn('durable message failed', { messageId: envelope.id, error });
      return undefined;
    }
  }

  async drain(timeoutMs: number): Promise<void> {
    if (this.#phase === 'open') this.#phase = 'draining';
    this.#options.onDrain?.();
    // Release the address first: the other members of a pool, or a successor, take over the new calls.
    const unbound = this.#unbind();
    const late = Promise.withResolvers<void>();
    const timer = this.#clock.after(timeoutMs, late.resolve, { keepAlive: true });
    const idle = Promise.all([
      this.#scheduler.idle(),
      this.#tasks?.idle(),
      this.#immediate.idle(),
      this.#durable?.drain(),
    ]);
    await Promise.race([idle, late.promise]);
    timer.stop();
    await unbound;
    await this.close();
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#phase = 'closed';
    const stopping = new FabricError('NODE_GONE', `${this.agent.address} was stopped`);
    this.#closing.abort(stopping);
    this.#tasks?.close();
    for (const [call, scope] of [...this.#calls]) {
      scope.abort(stopping);
      this.#fail(call, stopping);
    }
    if (this.#durable) await this.#durable.close();
    await this.#unbind();
    await this.#options.onStop?.();
  }

  #unbind(): Promise<void> {
    this.#unbound ??= this.#link.unbind(this.agent.address).catch((error: unknown) => {
      this.#log.debug('cannot release the address; its binding ends with the link', { error });
    });
    return this.#unbound;
  }
}

const hasDurable = ({ operations, durableMessages }: AgentOptions): boolean =>
  durableMessages === true || Object.values(operations ?? {}).some(({ durable }) => durable);

/** True if the agent keeps state or durable requests. */
export const needsStore = (options: AgentOptions): boolean => Boolean(options.state) || hasDurable(options);

/** In-memory stores of agents that were given none. An agent that is served again finds its data. */
const memoryStores = new WeakMap<Agent, MemoryStore>();

function memoryStoreOf(agent: Agent): MemoryStore {
  const store = memoryStores.get(agent) ?? new MemoryStore();
  memoryStores.set(agent, store);
  return store;
}

/** `known` has all operations, `declared` those that the agent declares itself. */
function unknownMethod(method: string, known: readonly string[], declared: readonly string[]): FabricError {
  const near = closestMatch(method, known);
  const own = declared.filter((name) => !name.includes('/'));
  const more = own.length > MAX_LISTED ? ', ...' : '';
  const all = own.length > 0 ? `. There are: ${own.slice(0, MAX_LISTED).join(', ')}${more}` : '';
  const hint = near ? `; did you mean ${near}?` : all;
  return new FabricError('METHOD_NOT_FOUND', `There is no operation "${cutText(method, 64)}"${hint}`);
}
