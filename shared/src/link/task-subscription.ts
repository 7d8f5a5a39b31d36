// The events of one task, across lost connections. Agents of this software continue a subscription with `tasks/resubscribe`. Agents of
// naylence do not have that method: `tasks/sendSubscribe` with the id of the task subscribes to it, and `tasks/sendUnsubscribe` must
// follow, because their queue of events outlives the subscription.
import { pause } from '../async/abort.ts';
import { Backoff } from '../async/backoff.ts';
import type { Clock } from '../async/clock.ts';
import { FabricError, isFabricError } from '../errors/error.ts';
import { type Artifact, isFinalState, type Task, type TaskEvent } from '../protocol/tasks.ts';
import type { SubscribeOptions, TaskRequests } from './task-types.ts';

const RECONNECT_MS = 30_000;
const RETRY_DELAYS = Object.freeze({ minMs: 100, maxMs: 1_000 });
/** Errors after which a subscription that has received events continues. */
const PASSING: ReadonlySet<string> = new Set([
  'CALL_TIMEOUT',
  'LINK_CLOSED',
  'NODE_BUSY',
  'NODE_GONE',
  'NO_ROUTE',
  'QUOTA_EXCEEDED',
  'READER_TOO_SLOW',
]);

export interface SubscriptionDeps {
  requests: TaskRequests;
  clock: Clock;
  address: string;
  id: string;
  /** Reads the task from the agent. */
  get: (signal: AbortSignal | undefined) => Promise<Task>;
}

export class TaskSubscription {
  readonly #deps: SubscriptionDeps;
  readonly #options: SubscribeOptions;
  readonly #backoff = new Backoff(RETRY_DELAYS);
  /** True if the agent has no `tasks/resubscribe`. */
  #isForeign = false;
  #hasEvents = false;
  /** Highest index of the received artifacts. */
  #lastIndex = -1;
  /** Time of the first failure since the last event. Monotonic, in ms. */
  #awaySince: number | undefined;

  constructor(deps: SubscriptionDeps, options: SubscribeOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  async *events(): AsyncGenerator<TaskEvent, void> {
    try {
      for (;;) {
        try {
          for await (const event of this.#attempt()) {
            yield event;
            if (isFinal(event)) return;
          }
          throw this.#endedEarly();
        } catch (error) {
          await this.#mayContinue(error);
        }
      }
    } finally {
      if (this.#isForeign) this.#unsubscribe();
    }
  }

  async *#attempt(): AsyncGenerator<TaskEvent, void> {
    // Compares as JSON, because the pieces of one artifact have the same index.
    const filled: string[] = [];
    let isFirst = true;
    for await (const item of this.#stream()) {
      const event = readEvent(item);
      if (!event) continue;
      this.#received(event);
      if (isFirst && !this.#isForeign) {
        isFirst = false;
        const kept = await this.#keptArtifacts();
        if (!isFinal(event)) yield event;
        for (const artifact of kept) {
          filled.push(JSON.stringify(artifact));
          this.#lastIndex = artifact.index;
          yield { id: this.#deps.id, artifact };
        }
        if (isFinal(event)) yield event;
      } else if (!('artifact' in event) || !removeFirst(filled, JSON.stringify(event.artifact))) yield event;
    }
    // An agent of naylence ends the subscription to an unknown task without an event.
    if (this.#isForeign && !this.#hasEvents) {
      const { address, id } = this.#deps;
      throw new FabricError('TASK_UNKNOWN', `${address} has no task ${id}`);
    }
  }

  async *#stream(): AsyncGenerator<unknown, void> {
    const { requests, address, id } = this.#deps;
    const { signal, timeoutMs = Number.POSITIVE_INFINITY } = this.#options;
    if (!this.#isForeign) {
      try {
        yield* requests.stream(address, 'tasks/resubscribe', { id }, { signal, timeoutMs });
        return;
      } catch (error) {
        const isMissing =
          isFabricError(error, 'METHOD_NOT_FOUND') || isFabricError(error, 'OPERATION_UNSUPPORTED');
        if (!isMissing || this.#hasEvents) throw error;
        this.#isForeign = true;
      }
    }
    const message = { role: 'user', parts: [{ type: 'data', data: {} }] };
    yield* requests.stream(address, 'tasks/sendSubscribe', { id, message }, { signal, timeoutMs });
  }

  #received(event: TaskEvent): void {
    this.#hasEvents = true;
    this.#awaySince = undefined;
    this.#backoff.reset();
    if ('artifact' in event) this.#lastIndex = Math.max(this.#lastIndex, event.artifact.index);
  }

  // The artifacts that were published before the subscription, or while the connection was lost.
  async #keptArtifacts(): Promise<Artifact[]> {
    const after = this.#lastIndex;
    try {
      const { artifacts } = await this.#deps.get(this.#options.signal);
      return (artifacts ?? []).filter(({ index }) => index > after);
    } catch (error) {
      if (this.#options.signal?.aborted) throw error;
      return []; // an agent may serve events and no `tasks/get`
    }
  }

  // An agent ends a subscription before the task if it stops, or at the request of another subscriber at the same mailbox.
  #endedEarly(): FabricError {
    const { address, id } = this.#deps;
    return new FabricError('NODE_GONE', `${address} ended the subscription to task ${id} before the task`);
  }

  async #mayContinue(error: unknown): Promise<void> {
    const { clock, requests } = this.#deps;
    const { reconnectMs = RECONNECT_MS, signal, timeoutMs } = this.#options;
    if (!isFabricError(error) || signal?.aborted || requests.isOver) throw error;
    if (error.code === 'CALL_TIMEOUT' && timeoutMs !== undefined) throw error;
    const isPassing = PASSING.has(error.code) && (this.#hasEvents || error.code === 'LINK_CLOSED');
    const now = clock.monotonic();
    this.#awaySince ??= now;
    if (!isPassing || now - this.#awaySince >= reconnectMs) throw error;
    await pause(clock, this.#backoff.nextDelayMs(), signal);
    if (requests.isOver) throw error;
  }

  #unsubscribe(): void {
    const { requests, address, id } = this.#deps;
    const outlasting = requests.detached?.() ?? requests;
    // Not every agent serves it, and the subscription is over in any case.
    outlasting.call(address, 'tasks/sendUnsubscribe', { id }, { timeoutMs: 5_000 }).catch(() => {});
  }
}

const isFinal = (event: TaskEvent): boolean =>
  'status' in event && (event.final || isFinalState(event.status.state));

/** Returns the event, or undefined for a value of another form. */
function readEvent(value: unknown): TaskEvent | undefined {
  const { status, artifact } = Object(value) as { status?: unknown; artifact?: unknown };
  if (typeof (status as { state?: unknown } | undefined)?.state === 'string') return value as TaskEvent;
  const { index, parts } = Object(artifact) as Partial<Artifact>;
  if (!Array.isArray(parts)) return undefined;
  return typeof index === 'number'
    ? (value as TaskEvent)
    : ({ ...Object(value), artifact: { ...Object(artifact), index: 0 } } as TaskEvent);
}

/** Removes the first occurrence of an item. Returns false if there is none. */
function removeFirst(items: string[], item: string): boolean {
  const at = items.indexOf(item);
  if (at >= 0) items.splice(at, 1);
  return at >= 0;
}
