// An agent: an address, its operations, its tasks. `defineAgent` only declares; `serve` binds the declaration to a link
// and answers calls until closed. A call's way stands here from top to bottom: find the operation, read the parameters,
// wait for a turn, run, answer. Whatever goes wrong in it ends that call and nothing else.

import {
  type AgentCard,
  type Clock,
  type Envelope,
  FabricError,
  type IncomingCall,
  isFabricError,
  type Logger,
  newId,
  parseAddress,
  type Service,
  silentLog,
  systemClock,
} from '@fame-fabric/shared';
import { closestMatch } from '@fame-fabric/shared/internal';
import { createSafeFetch } from '../net/safe-fetch.ts';
import type { Agent, AgentContext, AgentLink, AgentOptions, ServeOptions, Serving } from './agent-types.ts';
import { CallScope } from './call-scope.ts';
import type { Operation } from './operation.ts';
import { Scheduler } from './scheduler.ts';
import { Notifier } from './tasks/push.ts';
import { taskMethods } from './tasks/task-methods.ts';
import { TaskTable } from './tasks/task-table.ts';

const MAX_CONCURRENT = 64;
const MAX_WAITING = 1024;
/** Operations that an error lists. */
const MOST_NAMES = 20;

/** Declares an agent. @throws {ADDRESS_INVALID} when its address does not follow the grammar */
export function defineAgent(options: AgentOptions): Agent {
  const { participant } = parseAddress(options.address);
  const card = cardOf(options, options.name ?? participant);
  const agent: Agent = {
    address: options.address,
    name: card.name,
    description: options.description,
    capabilities: options.capabilities ?? [],
    card,
    async serve(link, serveOptions = {}) {
      const served = new ServedAgent(agent, options, link, serveOptions);
      await served.open();
      return served;
    },
  };
  return agent;
}

function cardOf(options: AgentOptions, name: string): AgentCard {
  const operations = Object.entries(options.operations ?? {});
  const hasTasks = options.tasks !== undefined;
  return {
    name,
    ...(options.description ? { description: options.description } : {}),
    url: options.address,
    version: options.version ?? '1.0.0',
    capabilities: {
      streaming: hasTasks || operations.some(([, operation]) => operation.streams),
      pushNotifications: hasTasks,
      stateTransitionHistory: false,
    },
    defaultInputModes: ['text'],
    defaultOutputModes: ['text'],
    skills: operations
      .filter(([id]) => !id.includes('/'))
      .map(([id, { description, streams }]) => ({
        id,
        name: id,
        ...(description ? { description } : {}),
        ...(streams ? { tags: ['stream'] } : {}),
      })),
    ...options.card,
  };
}

class ServedAgent implements Serving, Service {
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
  #state: 'opening' | 'open' | 'draining' | 'closed' = 'opening';
  #immediate = 0;
  #onImmediateIdle: (() => void)[] = [];
  #unbound: Promise<void> | undefined;
  #closed: Promise<void> | undefined;

  constructor(agent: Agent, options: AgentOptions, link: AgentLink, serve: ServeOptions) {
    this.agent = agent;
    this.#options = options;
    this.#link = link;
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
        log: this.#log,
      });
      this.#tasks = new TaskTable(options.tasks, { link, notifier, clock: this.#clock, log: this.#log });
    }
    this.#operations = new Map(
      Object.entries({ ...taskMethods(agent.card, this.#tasks), ...options.operations }),
    );
    this.#context = {
      address: options.address,
      link,
      log: this.#log,
      clock: this.#clock,
      signal: this.#closing.signal,
    };
  }

  async open(): Promise<void> {
    await this.#options.onStart?.(this.#context);
    this.#state = 'open';
    try {
      await this.#link.bind(this.agent.address, this, { capabilities: this.agent.capabilities });
    } catch (error) {
      this.#unbound = Promise.resolve(); // it belongs to another
      await this.close();
      throw error;
    }
  }

  /** Never throws: a fault of any kind becomes the answer to this call. */
  onCall(call: IncomingCall): void {
    try {
      this.#accept(call);
    } catch (error) {
      this.#fail(call, error);
    }
  }

  #accept(call: IncomingCall): void {
    if (this.#state !== 'open') {
      throw new FabricError('LINK_DRAINING', `${this.agent.address} is stopping and takes no new calls`);
    }
    const operation = this.#operations.get(call.method);
    if (!operation) throw unknownMethod(call.method, this.#operations.keys());
    const args = operation.read(call.params);
    const key = operation.keyOf(args);
    const scope = new CallScope(call, this.#link, this.#log);
    this.#calls.set(call, scope);
    if (operation.immediate) {
      this.#immediate++;
      void this.#run(call, operation, args, scope).then(() => this.#immediateEnded());
      return;
    }
    const taken = this.#scheduler.submit({
      key,
      scope,
      run: () => this.#run(call, operation, args, scope),
      abandon: () => {
        this.#forget(call, scope);
        this.#fail(call, scope.signal.reason, scope);
      },
    });
    if (!taken) {
      this.#forget(call, scope);
      throw new FabricError(
        'NODE_BUSY',
        `${this.agent.address} has too many calls waiting; call again later`,
      );
    }
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
    scope.dispose();
  }

  #fail(call: IncomingCall, error: unknown, scope?: CallScope): void {
    const ids = { method: call.method.slice(0, 64), callId: call.id };
    try {
      if (isFabricError(error)) call.fail(error);
      else if (scope?.isAborted) {
        call.fail(new FabricError('CALL_CANCELLED', 'The call was given up'));
        this.#log.debug('operation ended after its call was given up', { ...ids, error });
      } else {
        const logId = newId();
        call.fail(error, logId);
        this.#log.error('operation failed', { logId, ...ids, error });
      }
    } catch (cause) {
      // An error may be anything, also an object that throws when it is looked at.
      this.#log.error('the error of a call could not be sent or logged', { ...ids, reason: typeof cause });
    }
  }

  /** Messages wait in the same line as calls, so a flood of them is bounded too. */
  onMessage(payload: unknown, envelope: Envelope): Promise<unknown> | undefined {
    const { onMessage } = this.#options;
    if (!onMessage || this.#state !== 'open') return undefined;
    return new Promise((resolve) => {
      const run = async (): Promise<void> => {
        try {
          resolve(await onMessage.call(this.#options, payload, envelope, this.#context));
        } catch (error) {
          this.#log.error('a message failed', { messageId: envelope.id, error });
          resolve(undefined);
        }
      };
      const job = { scope: this.#context, run, abandon: () => resolve(undefined) };
      if (!this.#scheduler.submit(job)) {
        this.#log.warn('a message was dropped: too many wait', { messageId: envelope.id });
        resolve(undefined);
      }
    });
  }

  async drain(timeoutMs: number): Promise<void> {
    if (this.#state === 'open') this.#state = 'draining';
    // First of all the address is free again: for the other members of a pool, and for the one that comes after us.
    const unbound = this.#unbind();
    const late = Promise.withResolvers<void>();
    const timer = this.#clock.after(timeoutMs, late.resolve, { keepAlive: true });
    const idle = Promise.all([this.#scheduler.idle(), this.#tasks?.idle(), this.#immediateIdle()]);
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
    this.#state = 'closed';
    const stopping = new FabricError('NODE_GONE', `${this.agent.address} was stopped`);
    this.#closing.abort(stopping);
    this.#tasks?.close();
    for (const [call, scope] of [...this.#calls]) {
      scope.abort(stopping);
      this.#fail(call, stopping);
    }
    await this.#unbind();
    await this.#options.onStop?.();
  }

  #unbind(): Promise<void> {
    this.#unbound ??= this.#link.unbind(this.agent.address).catch((error: unknown) => {
      this.#log.debug('the address was not released; it goes with the link', { error });
    });
    return this.#unbound;
  }

  #immediateEnded(): void {
    if (--this.#immediate > 0) return;
    const waiters = this.#onImmediateIdle;
    this.#onImmediateIdle = [];
    for (const resolve of waiters) resolve();
  }

  #immediateIdle(): Promise<void> {
    if (this.#immediate === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onImmediateIdle.push(resolve));
  }
}

function unknownMethod(method: string, names: Iterable<string>): FabricError {
  const known = [...names];
  const near = closestMatch(method, known);
  const own = known.filter((name) => !/[/.]/.test(name)); // without those that every agent has
  const more = own.length > MOST_NAMES ? ', ...' : '';
  const all = own.length > 0 ? `. There are: ${own.slice(0, MOST_NAMES).join(', ')}${more}` : '';
  const hint = near ? `; did you mean ${near}?` : all;
  return new FabricError('METHOD_NOT_FOUND', `There is no operation "${method.slice(0, 64)}"${hint}`);
}

const isAsyncIterable = (value: unknown): value is AsyncIterable<unknown> =>
  typeof value === 'object' && value !== null && Symbol.asyncIterator in value;

/** Sends what an operation made of a call: one result, or items, in the mode the caller asked for. */
async function answer(call: IncomingCall, made: unknown, scope: CallScope): Promise<void> {
  const result = await made;
  if (isAsyncIterable(result)) {
    await answerItems(call, result[Symbol.asyncIterator](), scope.signal);
  } else if (!call.isStream) {
    call.reply(result ?? null);
  } else {
    if (result !== undefined && result !== null) await call.push(result);
    call.end();
  }
}

async function answerItems(
  call: IncomingCall,
  items: AsyncIterator<unknown>,
  signal: AbortSignal,
): Promise<void> {
  // `return` is queued behind the `next` that is pending, so a generator ends at its next yield; one that listens to the
  // signal ends at once.
  let left: Promise<unknown> | undefined;
  const leave = (): void => {
    if (left) return;
    left = (async () => items.return?.())();
    left.catch(() => {}); // awaited below, where a fault of the cleanup is told
  };
  signal.addEventListener('abort', leave, { once: true });
  if (signal.aborted) leave();
  try {
    for (;;) {
      const { done, value } = await items.next();
      if (signal.aborted) throw new FabricError('CALL_CANCELLED', 'The call was given up');
      if (done) {
        if (call.isStream) call.end();
        else call.reply(null);
        return;
      }
      if (value === undefined || value === null) {
        throw new Error('An item of a stream was null, which means the end of the stream to the caller');
      }
      if (!call.isStream) {
        call.reply(value);
        return;
      }
      await call.push(value);
    }
  } finally {
    signal.removeEventListener('abort', leave);
    leave();
    await left;
  }
}
