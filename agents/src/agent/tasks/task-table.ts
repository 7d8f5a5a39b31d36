// The tasks of one agent: what each has come to, who listens, and where its notifications go. Every subscriber has a
// line of its own and so gets every event. Ended tasks stay for a while so that late readers find their outcome; both
// the number and the time are bounded, as is whatever else a stranger could make grow.
import {
  type Artifact,
  type Clock,
  FabricError,
  isFabricError,
  isFinalState,
  type Logger,
  type Message,
  newId,
  type PushNotificationConfig,
  type Task,
  type TaskEvent,
  type TaskSendParams,
  type TaskState,
  textMessage,
} from '@fame-fabric/shared';
import type { OperationContext, Outbound } from '../operation.ts';
import type { Notifier } from './push.ts';
import { Subscriber } from './task-subscriber.ts';
import type { TaskHandle, TaskHandler } from './task-types.ts';

const MAX_RUNNING = 256;
const MAX_FINISHED = 100;
const KEEP_FINISHED_MS = 300_000;
const MAX_SUBSCRIBERS = 64;
/** Messages and artifacts that a task keeps for `tasks/get`; its subscribers get all of them. */
const MAX_KEPT = 100;

export interface TaskTableDeps {
  link: Outbound;
  notifier: Notifier;
  clock: Clock;
  log: Logger;
}

interface Entry {
  readonly task: Task & { artifacts: Artifact[]; history: Message[] };
  readonly params: TaskSendParams;
  readonly controller: AbortController;
  readonly subscribers: Set<Subscriber>;
  push: PushNotificationConfig | undefined;
  nextIndex: number;
  /** Waits for the answer to `ask`. */
  onInput: ((message: Message) => void) | undefined;
  endedAt: number | undefined;
}

export class TaskTable {
  readonly #handler: TaskHandler;
  readonly #deps: TaskTableDeps;
  readonly #entries = new Map<string, Entry>();
  readonly #creating = new Map<string, Promise<Entry>>();
  // Entries in the order they ended: the oldest leaves first.
  readonly #ended = new Set<Entry>();
  // Counts code that still runs, also after a cancel that it does not heed.
  #running = 0;
  #isClosed = false;
  #onIdle: (() => void)[] = [];

  constructor(handler: TaskHandler, deps: TaskTableDeps) {
    this.#handler = handler;
    this.#deps = deps;
  }

  /** Starts a task, or answers one that asked. @throws {TASK_EXISTS | QUOTA_EXCEEDED | PARAMS_INVALID} */
  async send(params: TaskSendParams, context: OperationContext): Promise<Task> {
    const known = this.#find(params.id);
    if (known?.onInput) {
      keep(known.task.history, params.message);
      known.onInput(params.message);
      return shown(known, params.historyLength);
    }
    const entry = await this.#create(params, context);
    this.#run(entry);
    return shown(entry, params.historyLength);
  }

  /** Listens to a task, which is started if there is none with that id. The first event is its current state. */
  async *sendSubscribe(params: TaskSendParams, context: OperationContext): AsyncGenerator<TaskEvent> {
    // One that `accept` is looking at right now is as good as there; if it is refused, this request is looked at itself.
    const creating = this.#creating.get(params.id);
    const known = creating ? await creating.catch(() => undefined) : this.#find(params.id);
    if (known) {
      yield* this.#listen(known, context);
      return;
    }
    const entry = await this.#create(params, context);
    yield* this.#listen(entry, context, () => this.#run(entry));
  }

  /** Listens to a task that exists. @throws {TASK_UNKNOWN} */
  async *resubscribe(id: string, context: OperationContext): AsyncGenerator<TaskEvent> {
    yield* this.#listen(this.#get(id), context);
  }

  /** Ends the subscriptions that one caller has on a task. Others, and the task, go on. */
  unsubscribe(id: string, replyTo: string): void {
    for (const subscriber of this.#find(id)?.subscribers ?? []) {
      if (subscriber.replyTo === replyTo) subscriber.end();
    }
  }

  /** @throws {TASK_UNKNOWN} */
  get(id: string, historyLength?: number | null): Task {
    return shown(this.#get(id), historyLength);
  }

  /** @throws {TASK_UNKNOWN | TASK_NOT_CANCELABLE} */
  cancel(id: string): Task {
    const entry = this.#get(id);
    const { state } = entry.task.status;
    if (isFinalState(state)) {
      throw new FabricError('TASK_NOT_CANCELABLE', `Task ${id} has already ended: ${state}`);
    }
    this.#setState(entry, 'canceled');
    entry.controller.abort(new FabricError('CALL_CANCELLED', 'The task was canceled'));
    return shown(entry);
  }

  /** @throws {TASK_UNKNOWN | PARAMS_INVALID} */
  setPush(id: string, config: PushNotificationConfig): void {
    const entry = this.#get(id);
    this.#deps.notifier.check(config);
    entry.push = config;
  }

  /** @throws {TASK_UNKNOWN | PARAMS_INVALID} when none was set */
  getPush(id: string): PushNotificationConfig {
    const { push } = this.#get(id);
    if (!push) throw new FabricError('PARAMS_INVALID', `Task ${id} has no push notification`);
    return push;
  }

  /** Resolves when no task runs and the notifications of those that ended have been delivered. */
  async idle(): Promise<void> {
    if (this.#running > 0) await new Promise<void>((resolve) => this.#onIdle.push(resolve));
    await this.#deps.notifier.idle();
  }

  /** Fails what still runs and tells its subscribers. */
  close(): void {
    this.#isClosed = true;
    for (const entry of this.#entries.values()) {
      if (isFinalState(entry.task.status.state)) continue;
      this.#setState(entry, 'failed', textMessage('agent', 'The agent was stopped'));
      entry.controller.abort(new FabricError('NODE_GONE', 'The agent was stopped'));
    }
  }

  async #create(params: TaskSendParams, context: OperationContext): Promise<Entry> {
    const { id } = params;
    if (this.#find(id) || this.#creating.has(id)) {
      throw new FabricError('TASK_EXISTS', `Task ${id} exists already`);
    }
    const creating = this.#accept(params, context);
    this.#creating.set(id, creating);
    try {
      return await creating;
    } finally {
      this.#creating.delete(id);
    }
  }

  async #accept(params: TaskSendParams, context: OperationContext): Promise<Entry> {
    const { id } = params;
    if (params.pushNotification) this.#deps.notifier.check(params.pushNotification);
    await this.#handler.accept?.(params, context);
    if (this.#isClosed) throw new FabricError('NODE_GONE', 'The agent was stopped');
    const most = this.#handler.maxRunning ?? MAX_RUNNING;
    if (this.#running >= most) throw new FabricError('QUOTA_EXCEEDED', `${most} tasks are running already`);
    const entry: Entry = {
      task: {
        id,
        sessionId: params.sessionId ?? id,
        status: { state: 'working', timestamp: this.#timestamp() },
        artifacts: [],
        history: [params.message],
        ...(params.metadata ? { metadata: params.metadata } : {}),
      },
      params,
      controller: new AbortController(),
      subscribers: new Set(),
      push: params.pushNotification ?? undefined,
      nextIndex: 0,
      onInput: undefined,
      endedAt: undefined,
    };
    this.#entries.set(id, entry);
    return entry;
  }

  #run(entry: Entry): void {
    this.#running++;
    const work = async (): Promise<void> => {
      try {
        const result = await this.#handler.start(entry.params, this.#handleOf(entry));
        this.#setState(entry, 'completed', resultMessage(result));
      } catch (error) {
        this.#setState(entry, 'failed', textMessage('agent', this.#faultOf(entry, error)));
      } finally {
        this.#running--;
        if (this.#running === 0) for (const resolve of this.#onIdle.splice(0)) resolve();
      }
    };
    void work();
  }

  #faultOf(entry: Entry, error: unknown): string {
    if (isFabricError(error)) return error.message;
    if (entry.controller.signal.aborted) return 'The task was canceled';
    const logId = newId();
    this.#deps.log.error('task failed', { logId, taskId: entry.task.id, error });
    return `The task failed; its log names it ${logId}`;
  }

  #handleOf(entry: Entry): TaskHandle {
    const { task, params, controller } = entry;
    const isOver = (): boolean => isFinalState(task.status.state);
    return {
      id: task.id,
      sessionId: task.sessionId ?? task.id,
      params,
      signal: controller.signal,
      log: this.#deps.log.with({ taskId: task.id }),
      link: this.#deps.link,
      progress: (made) => {
        if (isOver()) return;
        const artifact = artifactOf(made, entry.nextIndex);
        entry.nextIndex = artifact.index + 1;
        keep(task.artifacts, artifact);
        this.#publish(entry, { id: task.id, artifact });
      },
      status: (state, message) => {
        if (isFinalState(state)) throw new TypeError(`A task ends by returning or throwing, not by ${state}`);
        this.#setState(entry, state, message === undefined ? undefined : messageOf(message));
      },
      ask: (question) => {
        if (entry.onInput) throw new TypeError('The task is asking already');
        const { promise, resolve, reject } = Promise.withResolvers<Message>();
        const onAbort = (): void => reject(controller.signal.reason);
        controller.signal.addEventListener('abort', onAbort, { once: true });
        if (controller.signal.aborted) onAbort();
        else {
          entry.onInput = (message) => {
            this.#setState(entry, 'working');
            resolve(message);
          };
          this.#setState(entry, 'input-required', messageOf(question));
        }
        return promise.finally(() => {
          entry.onInput = undefined;
          controller.signal.removeEventListener('abort', onAbort);
        });
      },
      notify: (payload) => this.#notify(entry, payload),
    };
  }

  /** Moves a task on; one that has ended stays as it ended. */
  #setState(entry: Entry, state: TaskState, message?: Message): void {
    const { task } = entry;
    if (isFinalState(task.status.state)) return;
    if (state !== 'input-required') entry.onInput = undefined;
    task.status = { state, ...(message ? { message } : {}), timestamp: this.#timestamp() };
    if (message) keep(task.history, message);
    const final = isFinalState(state);
    if (final || state === 'input-required') this.#notify(entry, { status: task.status, final });
    this.#publish(entry, { id: task.id, status: task.status, final });
    if (final) this.#retire(entry);
  }

  #publish(entry: Entry, event: TaskEvent): void {
    for (const subscriber of entry.subscribers) subscriber.publish(event);
  }

  #notify(entry: Entry, payload: Record<string, unknown>): void {
    if (entry.push) this.#deps.notifier.notify(entry.push, { task_id: entry.task.id, ...payload });
  }

  async *#listen(entry: Entry, context: OperationContext, start?: () => void): AsyncGenerator<TaskEvent> {
    if (entry.subscribers.size >= MAX_SUBSCRIBERS) {
      throw new FabricError(
        'QUOTA_EXCEEDED',
        `Task ${entry.task.id} has ${MAX_SUBSCRIBERS} subscribers already`,
      );
    }
    const { id, status } = entry.task;
    const subscriber = new Subscriber(context.replyTo);
    subscriber.publish({ id, status, final: isFinalState(status.state) });
    entry.subscribers.add(subscriber);
    start?.();
    try {
      yield* subscriber.events(context.signal);
    } finally {
      entry.subscribers.delete(subscriber);
    }
  }

  #get(id: string): Entry {
    const entry = this.#find(id);
    if (!entry) throw new FabricError('TASK_UNKNOWN', `There is no task ${id.slice(0, 64)}`);
    return entry;
  }

  // Ended tasks leave when somebody looks, so no timer is needed and nothing outlives the agent.
  #find(id: string): Entry | undefined {
    const oldest = this.#deps.clock.now() - (this.#handler.keepFinishedMs ?? KEEP_FINISHED_MS);
    for (const ended of this.#ended) {
      if (ended.endedAt! > oldest) break;
      this.#drop(ended);
    }
    return this.#entries.get(id);
  }

  #retire(entry: Entry): void {
    entry.endedAt = this.#deps.clock.now();
    this.#ended.add(entry);
    const [first] = this.#ended;
    if (this.#ended.size > (this.#handler.maxFinished ?? MAX_FINISHED)) this.#drop(first!);
  }

  #drop(entry: Entry): void {
    this.#ended.delete(entry);
    this.#entries.delete(entry.task.id);
  }

  #timestamp(): string {
    return new Date(this.#deps.clock.now()).toISOString();
  }
}

/** A copy for the wire, with the last `historyLength` messages. @default all that are kept */
function shown({ task }: Entry, historyLength?: number | null): Task {
  const history =
    historyLength === undefined || historyLength === null
      ? [...task.history]
      : task.history.slice(Math.max(0, task.history.length - historyLength));
  return { ...task, artifacts: [...task.artifacts], history };
}

function keep<T>(list: T[], item: T): void {
  list.push(item);
  if (list.length > MAX_KEPT) list.shift();
}

const messageOf = (message: string | Message): Message =>
  typeof message === 'string' ? textMessage('agent', message) : message;

const isMessage = (value: object): value is Message =>
  'role' in value && 'parts' in value && Array.isArray(value.parts);

function resultMessage(result: unknown): Message | undefined {
  if (result === undefined || result === null) return undefined;
  if (typeof result === 'string') return textMessage('agent', result);
  if (typeof result === 'object' && isMessage(result)) return result;
  const data =
    typeof result === 'object' && !Array.isArray(result) ? (result as Record<string, unknown>) : { result };
  return { role: 'agent', parts: [{ type: 'data', data }] };
}

function artifactOf(made: Parameters<TaskHandle['progress']>[0], index: number): Artifact {
  if (typeof made === 'string') return { parts: [{ type: 'text', text: made }], index };
  if ('parts' in made && Array.isArray(made.parts)) return { index, ...made } as Artifact;
  return { parts: [{ type: 'data', data: made as Record<string, unknown> }], index };
}
