// The link of one call, turn or tool call. Calls made through it carry the remaining hops, the remaining time and the trace id of
// that work, and end when it is cancelled. So a circle of agents that call each other ends, and no agent works longer than its
// caller waits.
import {
  type AcknowledgedSendOptions,
  type AgentHandle,
  type AgentTasks,
  type CallOptions,
  type CallTarget,
  FabricError,
  type RunManyOptions,
  type Send,
  type SendOptions,
  type TaskMethods,
  type TaskOutcome,
  type TaskPayload,
  type TaskResult,
} from '@fame-fabric/shared';
import { type Behalf, behalfMeta } from '@fame-fabric/shared/internal';
import { agentHandle, CALL_TIMEOUT_MS, taskMethods } from '@fame-fabric/shared/link';
import type { ContextLink, Outbound } from './operation.ts';

/** Hops of a call that has no parent call, or whose parent call does not count its hops. */
const FIRST_TTL = 8;

/** The work that calls are made for. Read at each call. */
export interface LinkScope {
  /** Remaining hops of the received message. @default it counts none */
  readonly ttl?: number | undefined;
  readonly traceId?: string | undefined;
  /** The call that calls with `onBehalf` are made for. @default none, they are refused */
  readonly behalf?: Behalf | undefined;
  /** Cancels the calls when it aborts. @default never */
  readonly signal?: AbortSignal | undefined;
  /** Remaining time, in ms. @default no limit */
  leftMs?(): number;
}

export class ScopedLink implements ContextLink {
  readonly #link: Outbound;
  readonly #scope: LinkScope;

  constructor(link: Outbound, scope: LinkScope = {}) {
    this.#link = link;
    this.#scope = scope;
  }

  call(target: CallTarget, method: string, params?: unknown, options: CallOptions = {}): Promise<unknown> {
    const timeoutMs = options.timeoutMs ?? CALL_TIMEOUT_MS;
    return this.#link.call(target, method, params, this.#optionsOf(options, timeoutMs));
  }

  stream(
    target: CallTarget,
    method: string,
    params?: unknown,
    options: CallOptions = {},
  ): AsyncIterable<unknown> {
    return this.#link.stream(target, method, params, this.#optionsOf(options, Number.POSITIVE_INFINITY));
  }

  agent<A = unknown>(address: string): AgentHandle<A> {
    return agentHandle<A>(this, address);
  }

  readonly send: Send = ((to, payload, options: SendOptions | AcknowledgedSendOptions = {}) => {
    const ttl = this.#ttlOf(options);
    if (!options.ack) return this.#link.send(to, payload, { ...options, ttl });
    const { signal } = this.#scope;
    return this.#link.send(to, payload, {
      ...options,
      ttl,
      timeoutMs: Math.min(options.timeoutMs ?? CALL_TIMEOUT_MS, this.#leftMs),
      ...(signal ? { signal: bothSignals(signal, options.signal) } : {}),
    });
  }) as Send;

  task(address: string): AgentTasks {
    return this.#tasks.task(address);
  }

  broadcast<T = TaskResult>(
    addresses: Iterable<string>,
    payload?: TaskPayload,
    options?: RunManyOptions,
  ): Promise<TaskOutcome<T>[]> {
    return this.#tasks.broadcast<T>(addresses, payload, options);
  }

  runMany<T = TaskResult>(
    tasks: Iterable<readonly [address: string, payload: TaskPayload]>,
    options?: RunManyOptions,
  ): Promise<TaskOutcome<T>[]> {
    return this.#tasks.runMany<T>(tasks, options);
  }

  get #tasks(): TaskMethods {
    return taskMethods(this);
  }

  /** True if the work was cancelled. */
  get isOver(): boolean {
    return this.#scope.signal?.aborted ?? false;
  }

  /** The same hops and trace id without the time limit and the cancellation, for work that outlives its call. */
  detached(): ScopedLink {
    const { ttl, traceId } = this.#scope;
    return new ScopedLink(this.#link, { ttl, traceId });
  }

  get #leftMs(): number {
    return Math.max(1, this.#scope.leftMs?.() ?? Number.POSITIVE_INFINITY);
  }

  #behalfMeta(): Record<string, string> {
    const { behalf } = this.#scope;
    if (behalf) return behalfMeta(behalf);
    throw new FabricError(
      'PARAMS_INVALID',
      'onBehalf: The link serves no open call with a caller. Use `context.link` of an operation, and not that of a turn or a task.',
    );
  }

  get #ttl(): number {
    const { ttl } = this.#scope;
    return ttl === undefined ? FIRST_TTL : Math.max(0, ttl - 1);
  }

  /** The scope of a tool is inside that of its turn, so the smaller number counts. */
  #ttlOf({ ttl }: { ttl?: number | undefined }): number {
    return Math.min(this.#ttl, ttl ?? this.#ttl);
  }

  #optionsOf(options: CallOptions, timeoutMs: number): CallOptions {
    const { traceId, signal } = this.#scope;
    const { onBehalf, ...rest } = options;
    const meta = onBehalf ? { ...options.meta, ...this.#behalfMeta() } : options.meta;
    const deadlineMs = Math.min(this.#leftMs, timeoutMs, options.deadlineMs ?? Number.POSITIVE_INFINITY);
    return {
      ...rest,
      ...(meta ? { meta } : {}),
      ttl: this.#ttlOf(options),
      ...(traceId === undefined ? {} : { traceId: options.traceId ?? traceId }),
      ...(signal ? { signal: bothSignals(signal, options.signal) } : {}),
      ...(Number.isFinite(deadlineMs) ? { deadlineMs } : {}),
    };
  }
}

const bothSignals = (scope: AbortSignal, own: AbortSignal | undefined): AbortSignal =>
  own && own !== scope ? AbortSignal.any([scope, own]) : scope;

/** A link that refuses every use with the error of `fault`, for work that has no link. */
export function refusingLink(fault: () => Error): ContextLink {
  const refuse = (): never => {
    throw fault();
  };
  const link: Outbound = { call: async () => refuse(), stream: refuse, send: refuse };
  return { ...link, ...taskMethods(link), agent: (address) => agentHandle(link, address) };
}

/** The link of tools and functions that run outside an agent. Each use fails with LINK_MISSING. */
export const noLink: ContextLink = Object.freeze(
  refusingLink(
    () =>
      new FabricError(
        'LINK_MISSING',
        'This function calls another agent and runs without a link. Serve its agent, or pass `link` to the run; `testFabric` of @fame-fabric/agents/testing has one for tests.',
      ),
  ),
);
