// The tasks of one agent: their states, subscribers and push notifications. Every subscriber has its own queue and receives every
// event. Ended tasks are kept for a limited time for late readers. Everything that callers can make grow has a limit.
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
import { cutText, onAbort } from '@fame-fabric/shared/internal';
import { type IdentifiedCaller, identifiedCaller } from '../identified-caller.ts';
import type { ContextLink, OperationContext, Outbound } from '../operation.ts';
import { ScopedLink } from '../scoped-link.ts';
import { statusNotification } from './a2a-notification.ts';
import type { Notifier } from './push.ts';
import { Subscriber } from './task-subscriber.ts';
import type { TaskHandle, TaskHandler } from './task-types.ts';
import { artifactOf, messageOf, resultMessage } from './task-values.ts';

const MAX_RUNNING = 256;
const MAX_FINISHED = 100;
const KEEP_FINISHED_MS = 300_000;
const MAX_SUBSCRIBERS = 64;
/** Maximum messages and artifacts that a task keeps for `tasks/get`. Subscribers receive all of them. */
const MAX_KEPT = 100;
/** Maximum tasks in a list. */
const MAX_LISTED = 500;
/** Maximum push configurations of a task. */
const MAX_PUSH = 8;

/** A task in a list. */
export interface ListedTask {
  id: string;
  sessionId: string;
  state: TaskState;
  /** Time of the state, ISO 8601. */
  timestamp: string;
}

interface TaskTableDeps {
  link: Outbound;
  notifier: Notifier;
  clock: Clock;
  log: Logger;
}

interface Entry {
  /** Id of the principal that started it. */
  readonly principal: string;
  readonly task: Task & { artifacts: Artifact[]; history: Message[] };
  readonly params: TaskSendParams;
  /** Link for the calls of the task. They continue the hop count of the call that started it. */
  readonly link: ContextLink;
  readonly controller: AbortController;
  readonly subscribers: Set<Subscriber>;
  /** By id; a configuration without an id has the key ''. */
  readonly push: Map<string, PushNotificationConfig>;
  nextIndex: number;
  /** Resolves the pending `ask`. */
  onInput: ((message: Message) => void) | undefined;
  /** Monotonic, in ms. */
  endedAt: number | undefined;
}

export class TaskTable {
  readonly #handler: TaskHandler;
  readonly #deps: TaskTableDeps;
  /** By owner and id. */
  readonly #entries = new Map<string, Entry>();
  readonly #creating = new Map<string, Promise<Entry>>();
  /** Ended tasks, oldest first. */
  readonly #ended = new Set<Entry>();
  /** Tasks whose code runs, including cancelled ones that ignore their signal. */
  #running = 0;
  #isClosed = false;
  #onIdle: (() => void)[] = [];

  constructor(handler: TaskHandler, deps: TaskTableDeps) {
    this.#handler = handler;
    this.#deps = deps;
  }

  /** Starts a task, or passes the message to a task that asked for input. @throws {TASK_EXISTS | QUOTA_EXCEEDED | PARAMS_INVALID} */
  async send(params: TaskSendParams, context: OperationContext): Promise<Task> {
    const caller = await identifiedCaller(context);
    const known = this.#find(params.id, caller);
    if (known?.onInput) {
      keep(known.task.history, params.message);
      known.onInput(params.message);
      return viewOf(known, params.historyLength);
    }
    const entry = await this.#create(params, caller, context);
    this.#run(entry);
    return viewOf(entry, params.historyLength);
  }

  /** Subscribes to a task, and starts it if it does not exist. The first event is its current state. */
  async *sendSubscribe(params: TaskSendParams, context: OperationContext): AsyncGenerator<TaskEvent> {
    const caller = await identifiedCaller(context);
    // A task that `accept` is checking counts as existing. If it is refused, this request is checked on its own.
    const creating = this.#creating.get(keyOf(caller.principal, params.id));
    const known = creating ? await creating.catch(() => undefined) : this.#find(params.id, caller);
    if (known) {
      yield* this.#subscribe(known, context);
      return;
    }
    const entry = await this.#create(params, caller, context);
    yield* this.#subscribe(entry, context, () => this.#run(entry));
  }

  /** Subscribes to an existing task. @throws {TASK_UNKNOWN} */
  async *resubscribe(id: string, context: OperationContext): AsyncGenerator<TaskEvent> {
    yield* this.#subscribe(this.#get(id, await identifiedCaller(context)), context);
  }

  /** Ends the subscriptions of one caller to a task. Other subscriptions and the task continue. */
  unsubscribe(id: string, replyTo: string): void {
    // A mailbox belongs to one caller, so its subscriptions need no other check.
    for (const { task, subscribers } of this.#entries.values()) {
      if (task.id !== id) continue;
      for (const subscriber of subscribers) if (subscriber.replyTo === replyTo) subscriber.end();
    }
  }

  /** @throws {TASK_UNKNOWN} */
  get(id: string, caller: IdentifiedCaller, historyLength?: number | null): Task {
    return viewOf(this.#get(id, caller), historyLength);
  }

  /** @throws {TASK_UNKNOWN | TASK_NOT_CANCELABLE} */
  cancel(id: string, caller: IdentifiedCaller): Task {
    const entry = this.#get(id, caller);
    const { state } = entry.task.status;
    if (isFinalState(state)) {
      throw new FabricError('TASK_NOT_CANCELABLE', `Task ${id} has already ended: ${state}`);
    }
    this.#setState(entry, 'canceled');
    entry.controller.abort(new FabricError('CALL_CANCELLED', 'The task was canceled'));
    return viewOf(entry);
  }

  /** Returns the tasks of the caller, the latest state first, at most 500. */
  list({ principal }: IdentifiedCaller, sessionId: string | undefined): ListedTask[] {
    this.#dropExpired();
    const listed: ListedTask[] = [];
    for (const { principal: owner, task } of this.#entries.values()) {
      const session = task.sessionId ?? task.id;
      if (owner !== principal || (sessionId !== undefined && session !== sessionId)) continue;
      const { state, timestamp } = task.status;
      listed.push({ id: task.id, sessionId: session, state, timestamp });
    }
    return listed
      .sort((a, b) => (a.timestamp < b.timestamp ? 1 : a.timestamp > b.timestamp ? -1 : 0))
      .slice(0, MAX_LISTED);
  }

  /** @throws {TASK_UNKNOWN | PARAMS_INVALID | AUTH_FORBIDDEN | OUTBOUND_FORBIDDEN | QUOTA_EXCEEDED} */
  async setPush(id: string, config: PushNotificationConfig, context: OperationContext): Promise<void> {
    const { push } = this.#get(id, await identifiedCaller(context));
    await this.#deps.notifier.check(config, context);
    const name = config.id ?? '';
    if (!push.has(name) && push.size >= MAX_PUSH)
      throw new FabricError('QUOTA_EXCEEDED', `Task ${id} has ${MAX_PUSH} push notifications, the maximum`);
    push.set(name, config);
  }

  /** Returns all push configurations of a task. Only its owner gets their secrets. @throws {TASK_UNKNOWN} */
  listPush(id: string, caller: IdentifiedCaller): PushNotificationConfig[] {
    const entry = this.#get(id, caller);
    return [...entry.push.values()].map((config) => shownPush(config, entry, caller));
  }

  /** Removes a push configuration. Has no effect for an unknown id. @throws {TASK_UNKNOWN} */
  deletePush(id: string, configId: string, caller: IdentifiedCaller): void {
    this.#get(id, caller).push.delete(configId);
  }

  /**
   * Returns the push configuration of a task. Its `token` and `credentials` are secrets of the owner, so only the owner gets them.
   * @throws {TASK_UNKNOWN} @throws {PARAMS_INVALID} if none was set
   */
  getPush(id: string, caller: IdentifiedCaller): PushNotificationConfig {
    const entry = this.#get(id, caller);
    const config = entry.push.get('');
    if (!config) throw new FabricError('PARAMS_INVALID', `Task ${id} has no push notification`);
    return shownPush(config, entry, caller);
  }

  /** Resolves when no task runs and all notifications are delivered. */
  async idle(): Promise<void> {
    if (this.#running > 0) await new Promise<void>((resolve) => this.#onIdle.push(resolve));
    await this.#deps.notifier.idle();
  }

  /** Fails running tasks and ends their subscriptions. */
  close(): void {
    this.#isClosed = true;
    for (const entry of this.#entries.values()) {
      if (isFinalState(entry.task.status.state)) continue;
      this.#setState(entry, 'failed', textMessage('agent', 'The agent was stopped'));
      entry.controller.abort(new FabricError('NODE_GONE', 'The agent was stopped'));
    }
    this.#deps.notifier.close();
  }

  async #create(params: TaskSendParams, caller: IdentifiedCaller, context: OperationContext): Promise<Entry> {
    const { id } = params;
    const key = keyOf(caller.principal, id);
    if (this.#find(id, caller) || this.#creating.has(key)) {
      throw new FabricError('TASK_EXISTS', `Task ${id} already exists`);
    }
    const creating = this.#accept(params, caller, context);
    this.#creating.set(key, creating);
    try {
      return await creating;
    } finally {
      this.#creating.delete(key);
    }
  }

  async #accept(
    params: TaskSendParams,
    { principal }: IdentifiedCaller,
    context: OperationContext,
  ): Promise<Entry> {
    const { id } = params;
    if (params.pushNotification) await this.#deps.notifier.check(params.pushNotification, context);
    await this.#handler.accept?.(params, context);
    if (this.#isClosed) throw new FabricError('NODE_GONE', 'The agent was stopped');
    const maxRunning = this.#handler.maxRunning ?? MAX_RUNNING;
    if (this.#running >= maxRunning)
      throw new FabricError(
        'QUOTA_EXCEEDED',
        `The agent has reached its limit of ${maxRunning} running tasks; send the task again later`,
      );
    const entry: Entry = {
      principal,
      task: {
        id,
        sessionId: params.sessionId ?? id,
        status: { state: 'working', timestamp: this.#timestamp() },
        artifacts: [],
        history: [params.message],
        ...(params.metadata ? { metadata: params.metadata } : {}),
      },
      params,
      // A task outlives the call that started it, and that call's deadline.
      link: context.link instanceof ScopedLink ? context.link.detached() : context.link,
      controller: new AbortController(),
      subscribers: new Set(),
      push: new Map(
        params.pushNotification ? [[params.pushNotification.id ?? '', params.pushNotification]] : [],
      ),
      nextIndex: 0,
      onInput: undefined,
      endedAt: undefined,
    };
    this.#entries.set(keyOf(principal, id), entry);
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
    return `The task failed; see the agent's log for ${logId}`;
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
      link: entry.link,
      progress: (value) => {
        if (isOver()) return;
        const artifact = artifactOf(value, entry.nextIndex);
        entry.nextIndex = artifact.index + 1;
        keep(task.artifacts, artifact);
        this.#publish(entry, { id: task.id, artifact });
      },
      status: (state, message) => {
        if (isFinalState(state))
          throw new TypeError(`The state "${state}" is final; end the task by returning or throwing`);
        this.#setState(entry, state, message === undefined ? undefined : messageOf(message));
      },
      ask: (question) => {
        if (entry.onInput)
          throw new TypeError('The task is already waiting for input; await the earlier ask() first');
        const { promise, resolve, reject } = Promise.withResolvers<Message>();
        const stopListening = onAbort(controller.signal, () => reject(controller.signal.reason));
        if (!controller.signal.aborted) {
          entry.onInput = (message) => {
            this.#setState(entry, 'working');
            resolve(message);
          };
          this.#setState(entry, 'input-required', messageOf(question));
        }
        return promise.finally(() => {
          entry.onInput = undefined;
          stopListening();
        });
      },
      notify: (payload) => this.#notify(entry, payload),
    };
  }

  /** Changes the state of a task. A final state never changes. */
  #setState(entry: Entry, state: TaskState, message?: Message): void {
    const { task } = entry;
    if (isFinalState(task.status.state)) return;
    if (state !== 'input-required') entry.onInput = undefined;
    task.status = { state, ...(message ? { message } : {}), timestamp: this.#timestamp() };
    if (message) keep(task.history, message);
    const final = isFinalState(state);
    if (final || state === 'input-required') this.#notify(entry, { status: task.status, final });
    for (const config of entry.push.values())
      if (config.format === 'a2a') this.#deps.notifier.notifyA2A(config, task.id, statusNotification(task));
    this.#publish(entry, { id: task.id, status: task.status, final });
    if (final) this.#retire(entry);
  }

  #publish(entry: Entry, event: TaskEvent): void {
    for (const subscriber of entry.subscribers) subscriber.publish(event);
  }

  #notify(entry: Entry, payload: Record<string, unknown>): void {
    for (const config of entry.push.values())
      if (config.format !== 'a2a') this.#deps.notifier.notify(config, entry.task.id, payload);
  }

  async *#subscribe(entry: Entry, context: OperationContext, start?: () => void): AsyncGenerator<TaskEvent> {
    if (entry.subscribers.size >= MAX_SUBSCRIBERS) {
      throw new FabricError(
        'QUOTA_EXCEEDED',
        `Task ${entry.task.id} has reached its limit of ${MAX_SUBSCRIBERS} subscribers; try again later`,
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

  #get(id: string, caller: IdentifiedCaller): Entry {
    const entry = this.#find(id, caller);
    if (!entry) throw new FabricError('TASK_UNKNOWN', `There is no task ${cutText(id, 64)}`);
    return entry;
  }

  // Tasks of other owners do not exist for a caller. Drops expired tasks on look-up, so that no timer can outlive the agent.
  #find(id: string, { principal, mayUseAny }: IdentifiedCaller): Entry | undefined {
    this.#dropExpired();
    const own = this.#entries.get(keyOf(principal, id));
    if (own || !mayUseAny) return own;
    return this.#entries.values().find(({ task }) => task.id === id);
  }

  #dropExpired(): void {
    const oldest = this.#deps.clock.monotonic() - (this.#handler.keepFinishedMs ?? KEEP_FINISHED_MS);
    for (const ended of this.#ended) {
      if (ended.endedAt! > oldest) break;
      this.#drop(ended);
    }
  }

  #retire(entry: Entry): void {
    entry.endedAt = this.#deps.clock.monotonic();
    this.#ended.add(entry);
    const [first] = this.#ended;
    if (this.#ended.size > (this.#handler.maxFinished ?? MAX_FINISHED)) this.#drop(first!);
  }

  #drop(entry: Entry): void {
    this.#ended.delete(entry);
    this.#entries.delete(keyOf(entry.principal, entry.task.id));
  }

  #timestamp(): string {
    return new Date(this.#deps.clock.now()).toISOString();
  }
}

/** A push configuration as a caller sees it. Its `token` and `credentials` are secrets of the owner of the task. */
const shownPush = (
  config: PushNotificationConfig,
  { principal }: Pick<Entry, 'principal'>,
  caller: IdentifiedCaller,
): PushNotificationConfig =>
  principal === caller.principal ? config : { url: config.url, ...(config.id ? { id: config.id } : {}) };

const keyOf = (principal: string, id: string): string => JSON.stringify([principal, id]);

/** Copies a task for the wire, with the last `historyLength` messages. @default all kept messages */
function viewOf({ task }: Entry, historyLength?: number | null): Task {
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
