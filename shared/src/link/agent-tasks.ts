// Tasks of other agents: start, run, follow, cancel, and run many at once. The requests are the A2A task methods, which agents of this
// software and of naylence serve.
import { onAbort } from '../async/abort.ts';
import { type Clock, LONGEST_TIMER_MS, systemClock } from '../async/clock.ts';
import { FabricError } from '../errors/error.ts';
import { newId } from '../ids.ts';
import {
  firstText,
  isFinalState,
  type Message,
  type PushNotificationConfig,
  type Task,
  type TaskEvent,
  type TaskStatus,
  textMessage,
} from '../protocol/tasks.ts';
import { timeText } from '../text/time-text.ts';
import { checkMs, checkTarget } from './target.ts';
import { TaskSubscription } from './task-subscription.ts';
import type {
  AgentTasks,
  RunManyOptions,
  RunTaskOptions,
  StartTaskOptions,
  SubscribeOptions,
  TaskMethods,
  TaskOutcome,
  TaskPayload,
  TaskRequestOptions,
  TaskRequests,
  TaskResult,
} from './task-types.ts';

const CONCURRENCY = 16;
const MAX_CONCURRENCY = 1_000;

/** Makes the task methods of a client or of a link. */
export function taskMethods(requests: TaskRequests, clock: Clock = systemClock): TaskMethods {
  const task = (address: string): AgentTasks => new TasksOf(requests, address, clock);
  const runMany = <T>(
    tasks: Iterable<readonly [string, TaskPayload]>,
    options?: RunManyOptions,
  ): Promise<TaskOutcome<T>[]> => runTasks(task, tasks, options);
  return {
    task,
    runMany,
    broadcast: (addresses, payload = null, options) =>
      runMany(
        Array.from(addresses, (address) => [address, payload] as const),
        options,
      ),
  };
}

async function runTasks<T>(
  task: (address: string) => AgentTasks,
  tasks: Iterable<readonly [string, TaskPayload]>,
  { concurrency = CONCURRENCY, ...options }: RunManyOptions = {},
): Promise<TaskOutcome<T>[]> {
  if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > MAX_CONCURRENCY) {
    const text = `concurrency is ${concurrency}; expected a whole number from 1 to ${MAX_CONCURRENCY}`;
    throw new FabricError('PARAMS_INVALID', text);
  }
  const list = [...tasks];
  const outcomes: TaskOutcome<T>[] = new Array(list.length);
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < list.length) {
      const at = next++;
      const [address, payload] = list[at]!;
      try {
        const result = await task(address).run<T>(payload, options);
        outcomes[at] = { address, ok: true, result };
      } catch (error) {
        outcomes[at] = { address, ok: false, error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, list.length) }, work));
  return outcomes;
}

class TasksOf implements AgentTasks {
  readonly address: string;
  readonly #requests: TaskRequests;
  readonly #clock: Clock;

  constructor(requests: TaskRequests, address: string, clock: Clock) {
    checkTarget(address);
    this.address = address;
    this.#requests = requests;
    this.#clock = clock;
  }

  async start(payload: TaskPayload = null, options: StartTaskOptions = {}): Promise<Task> {
    const { id = newId(), sessionId = id, timeoutMs, signal, ...fields } = options;
    const params = { id, sessionId, message: messageOf(payload), ...fields };
    return this.#readTask(await this.#call('tasks/send', params, { timeoutMs, signal }), id);
  }

  async run<T = TaskResult>(payload: TaskPayload = null, options: RunTaskOptions = {}): Promise<T> {
    const { id = newId(), onEvent, timeoutMs, signal, ...fields } = options;
    checkMs('timeoutMs', timeoutMs);
    signal?.throwIfAborted();
    const limit = new AbortController();
    const stopListening = onAbort(signal, () => limit.abort(signal?.reason));
    const timer =
      timeoutMs === undefined || timeoutMs > LONGEST_TIMER_MS
        ? undefined
        : this.#clock.after(timeoutMs, () => limit.abort(this.#timeoutError(id, timeoutMs)));
    try {
      const started = await this.start(payload, { ...fields, id, signal: limit.signal });
      const status = await this.#followed(started, onEvent, limit.signal);
      return this.#resultOf(id, status) as T;
    } catch (error) {
      if (limit.signal.aborted || this.#requests.isOver) this.#cancelAborted(id);
      throw error;
    } finally {
      timer?.stop();
      stopListening();
    }
  }

  async #followed(
    { id, status }: Task,
    onEvent: RunTaskOptions['onEvent'],
    signal: AbortSignal,
  ): Promise<TaskStatus> {
    if (isOver(status)) return status;
    for await (const event of this.subscribe(id, { signal })) {
      onEvent?.(event);
      if ('status' in event && isOver(event.status)) return event.status;
    }
    return status;
  }

  subscribe(id: string, options: SubscribeOptions = {}): AsyncIterable<TaskEvent> {
    checkMs('timeoutMs', options.timeoutMs);
    const { address } = this;
    const get = (signal: AbortSignal | undefined): Promise<Task> => this.get(id, { signal });
    const deps = { requests: this.#requests, clock: this.#clock, address, id, get };
    return {
      [Symbol.asyncIterator]: () => new TaskSubscription(deps, options).events(),
    };
  }

  async get(
    id: string,
    { historyLength, ...options }: TaskRequestOptions & { historyLength?: number | undefined } = {},
  ): Promise<Task> {
    const params = historyLength === undefined ? { id } : { id, historyLength };
    return this.#readTask(await this.#call('tasks/get', params, options), id);
  }

  async cancel(id: string, options?: TaskRequestOptions): Promise<Task> {
    return this.#readTask(await this.#call('tasks/cancel', { id }, options), id);
  }

  async setPush(
    id: string,
    pushNotificationConfig: PushNotificationConfig,
    options?: TaskRequestOptions,
  ): Promise<void> {
    await this.#call('tasks/pushNotification/set', { id, pushNotificationConfig }, options);
  }

  async getPush(id: string, options?: TaskRequestOptions): Promise<PushNotificationConfig> {
    const answer = await this.#call('tasks/pushNotification/get', { id }, options);
    const { pushNotificationConfig } = Object(answer) as { pushNotificationConfig?: PushNotificationConfig };
    if (typeof pushNotificationConfig?.url === 'string') return pushNotificationConfig;
    throw new FabricError('PARAMS_INVALID', `Task ${id} has no push notification`);
  }

  #call(method: string, params: object, options: TaskRequestOptions = {}): Promise<unknown> {
    return this.#requests.call(this.address, method, params, options);
  }

  #readTask(answer: unknown, id: string): Task {
    const { status } = Object(answer) as Partial<Task>;
    if (typeof status?.state === 'string') return answer as Task;
    if (answer === null) throw new FabricError('TASK_UNKNOWN', `${this.address} has no task ${id}`);
    throw new FabricError('PROTO_MALFORMED', `${this.address} answered without a task`);
  }

  #resultOf(taskId: string, { message, state }: TaskStatus): TaskResult {
    if (state === 'completed') {
      for (const part of message?.parts ?? []) {
        if (part.type === 'text') return part.text;
        if (part.type === 'data') return part.data;
      }
      return null;
    }
    const text = firstText(message);
    const what = state === 'input-required' ? 'asks for input' : `ended as ${state}`;
    throw new FabricError(
      'TASK_FAILED',
      `Task ${taskId} of ${this.address} ${what}${text ? `: ${text}` : ''}`,
      { details: { taskId, state } },
    );
  }

  // The signal of this run, or that of its link, has aborted, so the request must not use it.
  #cancelAborted(id: string): void {
    const requests = this.#requests.detached?.() ?? this.#requests;
    // Fails if the task has ended meanwhile, or was never started.
    requests.call(this.address, 'tasks/cancel', { id }).catch(() => {});
  }

  #timeoutError(taskId: string, timeoutMs: number): FabricError {
    return new FabricError(
      'CALL_TIMEOUT',
      `Task ${taskId} of ${this.address} did not end within ${timeText(timeoutMs)}`,
      { details: { taskId, timeoutMs } },
    );
  }
}

const isOver = ({ state }: TaskStatus): boolean => isFinalState(state) || state === 'input-required';

function messageOf(payload: TaskPayload): Message {
  if (typeof payload === 'string') return textMessage('user', payload);
  if (isMessage(payload)) return payload;
  return { role: 'user', parts: [{ type: 'data', data: payload ?? {} }] };
}

const isMessage = (payload: TaskPayload): payload is Message => {
  const { role, parts } = Object(payload) as Partial<Message>;
  return (role === 'user' || role === 'agent') && Array.isArray(parts);
};
