// The runs of an agent's durable requests in this process, from the queue to the answer. `durable-requests.ts` accepts them, and
// states the invariants I2 to I4.
import {
  type Clock,
  FabricError,
  isFabricError,
  LIMITS,
  type Logger,
  rpcError,
  type Timer,
} from '@fame-fabric/shared';
import { cutText, LONGEST_TIMER_MS, onAbort } from '@fame-fabric/shared/internal';
import type { AgentStore, RequestEnd, StoredRequest } from '../../store/agent-store.ts';
import { isCancelledByCaller } from '../cancelled-by-caller.ts';
import type { Outbound } from '../operation.ts';
import { Scheduler } from '../scheduler.ts';
import type { StateKeys } from '../state/state-keys.ts';
import { answerLate } from './answers.ts';
import {
  type AnswerTo,
  LiveRequest,
  type Outcome,
  type OutcomeListener,
  type Prepared,
  type RequestStop,
} from './live-request.ts';

/** Runs of one request. */
const MAX_ATTEMPTS = 3;
/** Delays before the second and the third run. */
const RETRY_DELAYS_MS = [1_000, 5_000];
/** Delay before a write is repeated that the store refused. */
const STORE_RETRY_MS = 1_000;

export interface RunsDeps {
  readonly agent: string;
  readonly store: AgentStore;
  readonly keys: StateKeys;
  readonly link: Outbound;
  readonly log: Logger;
  readonly clock: Clock;
  /** Limit of running requests. */
  readonly maxConcurrent: number;
}

export class RequestRuns {
  readonly #deps: RunsDeps;
  readonly #scheduler: Scheduler;
  readonly #live = new Map<string, LiveRequest>();
  /** Deadlines by request. */
  readonly #timers = new Map<LiveRequest, Timer>();
  readonly #stopping = new AbortController();
  #isClosed = false;

  constructor(deps: RunsDeps) {
    this.#deps = deps;
    const { maxConcurrent } = deps;
    // Accepted requests are never dropped. `DurableRequests` limits their number.
    this.#scheduler = new Scheduler({ maxConcurrent, maxWaiting: Number.MAX_SAFE_INTEGER });
  }

  /** Number of open requests in this process. */
  get size(): number {
    return this.#live.size;
  }

  /** Queues a request, unless it is in this process already. */
  queue(request: StoredRequest, prepare: () => Prepared): LiveRequest {
    const { id, deadlineAt } = request;
    const existing = this.#live.get(id);
    if (existing) return existing;
    const live = new LiveRequest(id, request.attempt, prepare());
    this.#live.set(id, live);
    if (deadlineAt > 0) this.#setDeadline(live, deadlineAt);
    this.#scheduler.submit({
      key: live.prepared.key,
      scope: live,
      run: () => this.#run(live).catch((error: unknown) => this.#lose(live, error)),
      // It was cancelled, and `#cancel` records it.
      abandon: () => undefined,
    });
    return live;
  }

  /** Answers a call when its request has an outcome. The request ends if the last of its callers cancels. */
  listen(live: LiveRequest, listener: OutcomeListener, signal: AbortSignal): void {
    if (live.outcome) {
      listener.onOutcome(live.outcome);
      return;
    }
    live.listeners.add(listener);
    const left = (): void => {
      live.listeners.delete(listener);
      if (!isCancelledByCaller(signal.reason) || live.listeners.size > 0) return;
      void this.#cancel(live, cancelled());
    };
    onAbort(signal, left);
  }

  /** Reads the outcome of a request that has ended. */
  outcomeOf({ id, outcome }: StoredRequest): Outcome {
    const { agent, keys } = this.#deps;
    return JSON.parse(keys.open(outcome, { agent, kind: 'outcome', key: id })) as Outcome;
  }

  /** Starts no more runs. */
  stop(): void {
    this.#stopping.abort();
    for (const timer of this.#timers.values()) timer.stop();
  }

  /** Resolves when nothing runs. */
  idle(): Promise<void> {
    return this.#scheduler.idle();
  }

  /** Interrupts the requests that run, and leaves all of them to the next process. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.stop();
    const { store, agent, log } = this.#deps;
    const stopped = new FabricError('NODE_GONE', `${agent} was stopped`);
    const left = [...this.#live.values()];
    for (const live of left) {
      live.controller.abort(stopped);
      for (const listener of live.listeners) listener.onLost(stopped);
    }
    try {
      await Promise.all(
        left
          .filter(({ outcome }) => !outcome)
          .map(({ id, attempt, isRunning }) => store.releaseRequest(agent, id, attempt, isRunning)),
      );
    } catch (error) {
      // The store releases the requests of a process that has ended.
      log.warn('cannot release the open requests of a stopped agent', { error });
    }
  }

  #setDeadline(live: LiveRequest, deadlineAt: number): void {
    const { clock } = this.#deps;
    const left = Math.max(0, Math.min(deadlineAt - clock.now(), LONGEST_TIMER_MS));
    const timer = clock.after(left, () => void this.#cancel(live, timedOut()));
    this.#timers.set(live, timer);
  }

  /** Ends a request from outside. If it is between two steps, its run records the end. */
  async #cancel(live: LiveRequest, stop: RequestStop): Promise<void> {
    if (live.outcome || live.stop || this.#isClosed) return;
    const { state, error } = stop;
    live.stop = stop;
    live.controller.abort(error);
    await this.#end(live, state, errorOutcome(error));
  }

  async #run(live: LiveRequest): Promise<void> {
    const { store, agent, clock, log } = this.#deps;
    const { signal: stopping } = this.#stopping;
    while (!stopping.aborted && !live.outcome) {
      const started = await this.#persist(() => store.startRequest(agent, live.id, MAX_ATTEMPTS));
      if (started === 'stopped') return;
      if (!started) {
        await this.#settleFromStore(live);
        return;
      }
      const { request, isSpent } = started;
      live.attempt = request.attempt;
      // The timer of a deadline that has passed fires after the start.
      if (request.deadlineAt > 0 && request.deadlineAt <= clock.now()) live.stop ??= timedOut();
      if (live.stop) {
        await this.#end(live, live.stop.state, errorOutcome(live.stop.error));
        return;
      }
      if (isSpent) {
        await this.#giveUp(live, `${MAX_ATTEMPTS} crashes or restarts interrupted it`);
        return;
      }
      const outcome = await this.#attempt(live, request);
      if (this.#isClosed && !outcome) return;
      if (outcome) {
        await this.#end(live, 'error' in outcome ? 'failed' : 'completed', outcome);
        return;
      }
      if (live.outcome || live.stop) continue;
      if (live.attempt >= MAX_ATTEMPTS) {
        await this.#giveUp(live, `it failed ${MAX_ATTEMPTS} times`);
        return;
      }
      log.warn('a durable request failed and is run again', { requestId: live.id, attempt: live.attempt });
      await this.#pause(RETRY_DELAYS_MS[live.attempt - 1]!, live.signal);
    }
  }

  /** Runs the function once. Returns its outcome, or `undefined` if it is run again. */
  async #attempt(live: LiveRequest, request: StoredRequest): Promise<Outcome | undefined> {
    const { clock, log } = this.#deps;
    const { id, method, deadlineAt, attempt } = request;
    live.isRunning = true;
    try {
      const returned: unknown = await live.prepared.run({
        id,
        attempt,
        answerTo: JSON.parse(request.answerTo) as AnswerTo,
        timeoutMs: deadlineAt > 0 ? Math.max(0, deadlineAt - clock.now()) : undefined,
        signal: live.signal,
      });
      return { result: resultOf(returned) };
    } catch (error) {
      if (this.#isClosed || live.stop) return undefined;
      if (isFabricError(error) && !error.retryable) return errorOutcome(error);
      log.error('durable request failed', { requestId: id, method: cutText(method, 64), attempt, error });
      return undefined;
    } finally {
      live.isRunning = false;
    }
  }

  #giveUp(live: LiveRequest, reason: string): Promise<void> {
    this.#deps.log.error('a durable request was given up; `requests retry` runs it again', {
      requestId: live.id,
      reason,
    });
    const error = new FabricError('REQUEST_DEAD', `The request was given up: ${reason}`);
    return this.#end(live, 'dead', errorOutcome(error));
  }

  /** Records an outcome, unless there is one, and answers the callers. */
  async #end(live: LiveRequest, state: RequestEnd['state'], outcome: Outcome): Promise<void> {
    const { store, agent, keys } = this.#deps;
    const { id } = live;
    const place = { agent, kind: 'outcome', key: id } as const;
    const sealed = keys.seal(JSON.stringify(outcome), place);
    const isRecorded = await this.#persist(() =>
      store.endRequest({ agent, id, attempt: live.attempt, state, outcome: sealed }),
    );
    if (isRecorded === 'stopped') return;
    if (isRecorded) {
      const isAwaited = live.listeners.size > 0;
      // If the store cannot be read, the caller gets the outcome when it sends the request again.
      const request = isAwaited ? undefined : await store.getRequest(agent, id).catch(() => undefined);
      this.#settle(live, outcome, request?.answerTo);
    } else if (!live.outcome && !live.stop) await this.#settleFromStore(live);
  }

  /** Answers with the outcome that the store has, or leaves the request to the process that has taken it over. */
  async #settleFromStore(live: LiveRequest): Promise<void> {
    const { store, agent } = this.#deps;
    const request = await this.#persist(() => store.getRequest(agent, live.id));
    if (request === 'stopped' || live.outcome) return;
    if (request && request.state !== 'open') {
      this.#settle(live, this.outcomeOf(request), undefined);
      return;
    }
    this.#forget(live);
    const lost = new FabricError('NODE_BUSY', 'Another process of this agent runs the request');
    for (const listener of live.listeners) listener.onLost(lost);
  }

  /** Leaves a request that the store cannot read to the next process. */
  #lose(live: LiveRequest, error: unknown): void {
    this.#forget(live);
    this.#deps.log.error('a durable request cannot be run', { requestId: live.id, error });
    const lost = new FabricError(
      'STORE_UNAVAILABLE',
      'The request cannot be run; the log of the agent has the reason',
    );
    for (const listener of live.listeners) listener.onLost(lost);
  }

  #settle(live: LiveRequest, outcome: Outcome, answerTo: string | undefined): void {
    live.outcome = outcome;
    this.#forget(live);
    if (live.listeners.size === 0 && answerTo !== undefined)
      answerLate(this.#deps, JSON.parse(answerTo) as AnswerTo, outcome);
    for (const listener of live.listeners) listener.onOutcome(outcome);
    live.listeners.clear();
  }

  #forget(live: LiveRequest): void {
    this.#timers.get(live)?.stop();
    this.#timers.delete(live);
    this.#live.delete(live.id);
  }

  /** Repeats a write until the store takes it. Resolves to `stopped` if the agent stops first. */
  async #persist<T>(write: () => Promise<T>): Promise<T | 'stopped'> {
    const { log } = this.#deps;
    for (let failures = 0; ; failures++) {
      try {
        return await write();
      } catch (error) {
        if (this.#stopping.signal.aborted) return 'stopped';
        if (failures === 0) log.error('cannot record a durable request; trying again', { error });
        await this.#pause(STORE_RETRY_MS);
      }
    }
  }

  /** Waits, at most until the agent stops or `signal` aborts. */
  #pause(ms: number, signal?: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    return new Promise((resolve) => {
      const stops: (() => void)[] = [];
      const done = (): void => {
        for (const stop of stops) stop();
        resolve();
      };
      const timer = clock.after(ms, done);
      stops.push(() => timer.stop(), onAbort(this.#stopping.signal, done));
      if (signal) stops.push(onAbort(signal, done));
    });
  }
}

const cancelled = (): RequestStop => ({
  state: 'cancelled',
  error: new FabricError('CALL_CANCELLED', 'The caller cancelled the request'),
});
const timedOut = (): RequestStop => ({
  state: 'failed',
  error: new FabricError('CALL_TIMEOUT', 'The time limit of the request has passed'),
});

const errorOutcome = (error: FabricError): Outcome => ({ error: rpcError('', error).error! });

/** Checks that a result can be stored and sent. @throws {MESSAGE_TOO_LARGE | INTERNAL} */
function resultOf(returned: unknown): unknown {
  if (typeof returned === 'object' && returned !== null && Symbol.asyncIterator in returned)
    throw new FabricError('INTERNAL', 'A durable operation returns one result, and not a stream');
  let text: string;
  try {
    text = JSON.stringify(returned ?? null) ?? 'null';
  } catch (cause) {
    throw new FabricError('INTERNAL', 'The result of the operation cannot be serialized as JSON', { cause });
  }
  if (Buffer.byteLength(text) <= LIMITS.maxEnvelopeBytes) return JSON.parse(text);
  throw new FabricError('MESSAGE_TOO_LARGE', 'The result of the operation is larger than an envelope');
}
