// Types of the tasks that a client or an agent gives to other agents.
import type { Message, PushNotificationConfig, Task, TaskEvent } from '../protocol/tasks.ts';
import type { CallOptions, CallTarget } from './link-types.ts';

/** The part of a link or a client that tasks use. */
export interface TaskRequests {
  call(target: CallTarget, method: string, params?: unknown, options?: CallOptions): Promise<unknown>;
  stream(target: CallTarget, method: string, params?: unknown, options?: CallOptions): AsyncIterable<unknown>;
  /** True if no further call can succeed, because the client is closed or its work was cancelled. @default false */
  readonly isOver?: boolean | undefined;
  /** Requests that outlive the cancellation of the work. @default these */
  detached?(): TaskRequests;
}

/** The input of a task: a text, data, a message of several parts, or null for an empty object. */
export type TaskPayload = string | Readonly<Record<string, unknown>> | Message | null;

/** The result of a task: the first text or data of its final message. Null if there is none. */
export type TaskResult = string | Record<string, unknown> | null;

export interface TaskRequestOptions {
  /** Time limit for the answer of the agent, in ms. @default 30_000 */
  timeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** The parts of a task besides its input. */
export interface TaskFields {
  /** The id of the task. Also the id of a task that asked for input and is answered with this message. @default a new id */
  id?: string | undefined;
  /** Groups tasks. @default the id of the task */
  sessionId?: string | undefined;
  /** Destination of the agent's notifications about the task. @default none */
  pushNotification?: PushNotificationConfig | undefined;
  /** Kinds of output that the caller accepts, such as `text`. @default any */
  acceptedOutputModes?: readonly string[] | undefined;
  metadata?: Readonly<Record<string, unknown>> | undefined;
}

export interface StartTaskOptions extends TaskFields, TaskRequestOptions {
  /** Number of messages of the history in the answer. @default all that the agent keeps */
  historyLength?: number | undefined;
}

export interface SubscribeOptions {
  /** Time limit for the next event, in ms. @default none */
  timeoutMs?: number | undefined;
  /** Time for which a lost connection or agent may be away, in ms. @default 30_000 */
  reconnectMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

export interface RunTaskOptions extends TaskFields {
  /** Time limit for the whole task, in ms. Above 24 days there is none. @default none */
  timeoutMs?: number | undefined;
  /** Cancels the task, at the agent too. */
  signal?: AbortSignal | undefined;
  /** Called with each event of the task. */
  onEvent?: ((event: TaskEvent) => void) | undefined;
}

export interface RunManyOptions extends Omit<RunTaskOptions, 'id' | 'onEvent'> {
  /** Number of tasks that run at once, from 1 to 1,000. @default 16 */
  concurrency?: number | undefined;
}

/** The outcome of one of many tasks. `error` is what `run` threw: a FabricError, or the reason of the signal. */
export type TaskOutcome<T = unknown> =
  | { readonly address: string; readonly ok: true; readonly result: T }
  | { readonly address: string; readonly ok: false; readonly error: unknown };

/** The tasks of the agent at one address. Agents of this software and of naylence serve them. */
export interface AgentTasks {
  readonly address: string;
  /**
   * Starts a task and resolves to it, in its first state. With the id of a task that asks for input, answers it.
   * @throws {TASK_EXISTS | OPERATION_UNSUPPORTED | QUOTA_EXCEEDED | PARAMS_INVALID} of the agent, or an error of `call`
   */
  start(payload?: TaskPayload, options?: StartTaskOptions): Promise<Task>;
  /**
   * Starts a task, waits for its end and resolves to its result: the first text or data of its final message, or null. `T` is the type
   * that the caller expects; it is not checked. An abort or the time limit cancels the task at the agent.
   * @throws {TASK_FAILED} if the task failed, was canceled or asked for input; `details` has `taskId` and `state`
   * @throws {CALL_TIMEOUT} after `timeoutMs`; the reason of `signal`; an error of `start` or `subscribe`
   */
  run<T = TaskResult>(payload?: TaskPayload, options?: RunTaskOptions): Promise<T>;
  /**
   * Iterates over the events of a task, which starts with its current state and ends with its final one. An agent of this software first
   * sends the artifacts that it keeps, at most 100. After a lost connection the subscription continues, without the artifacts that it
   * had. Leaving the loop ends the subscription and not the task. An agent of naylence gives each event to one of its subscribers.
   * @throws {TASK_UNKNOWN} if there is no such task; an error of `call`
   */
  subscribe(id: string, options?: SubscribeOptions): AsyncIterable<TaskEvent>;
  /**
   * Resolves to the task, with the last `historyLength` messages. @default all that the agent keeps
   * @throws {TASK_UNKNOWN}, INTERNAL for an unknown task of an agent of naylence, or an error of `call`
   */
  get(id: string, options?: TaskRequestOptions & { historyLength?: number | undefined }): Promise<Task>;
  /**
   * Cancels a task and resolves to it, in the state `canceled`.
   * @throws {TASK_UNKNOWN | TASK_NOT_CANCELABLE}, or an error of `call`
   */
  cancel(id: string, options?: TaskRequestOptions): Promise<Task>;
  /**
   * Sets the destination of the agent's notifications about a task: a Fame address, which receives plain messages, or an https URL.
   * @throws {TASK_UNKNOWN | PARAMS_INVALID | OUTBOUND_FORBIDDEN | OPERATION_UNSUPPORTED}, or an error of `call`
   */
  setPush(id: string, config: PushNotificationConfig, options?: TaskRequestOptions): Promise<void>;
  /** Resolves to the destination that was set. @throws {PARAMS_INVALID} if none was set; the errors of `setPush` */
  getPush(id: string, options?: TaskRequestOptions): Promise<PushNotificationConfig>;
}

/** Tasks of other agents, as a client and the link of an agent have them. */
export interface TaskMethods {
  /** Returns the tasks of the agent at `address`. Sends nothing. */
  task(address: string): AgentTasks;
  /**
   * Runs one task with the same input at each address, and resolves to the outcomes in the order of the addresses. Never rejects for a
   * failed task. After an abort, the tasks that run are cancelled and the others are not started; their outcomes are the abort reason.
   * @throws {PARAMS_INVALID} if `concurrency` is out of bounds
   */
  broadcast<T = TaskResult>(
    addresses: Iterable<string>,
    payload?: TaskPayload,
    options?: RunManyOptions,
  ): Promise<TaskOutcome<T>[]>;
  /** Like `broadcast`, with an input for each address: `runMany([['a@fame.fabric', 'one'], ['b@fame.fabric', 'two']])`. */
  runMany<T = TaskResult>(
    tasks: Iterable<readonly [address: string, payload: TaskPayload]>,
    options?: RunManyOptions,
  ): Promise<TaskOutcome<T>[]>;
}
