// The operations of A2A for one request, over the tasks of one agent. The transports of the SDK call it, in versions 1.0 and 0.3.
import type { Logger } from '@fame-fabric/shared';
import { a2aError } from './errors.ts';
import {
  checkedHistoryLength,
  checkedMessage,
  checkedQuery,
  checkedTaskId,
  checkPush,
} from './request-checks.ts';
import {
  type A2ARequestHandler,
  type AgentCard,
  type CancelTaskRequest,
  type DeleteTaskPushNotificationConfigRequest,
  type GetTaskPushNotificationConfigRequest,
  type GetTaskRequest,
  type ListTaskPushNotificationConfigsRequest,
  type ListTaskPushNotificationConfigsResponse,
  type ListTasksRequest,
  type ListTasksResponse,
  type Message,
  PushNotificationNotSupportedError,
  type SendMessageRequest,
  type StreamResponse,
  type SubscribeToTaskRequest,
  type Task,
  TaskNotFoundError,
  type TaskPushNotificationConfig,
  TaskState,
  UnsupportedOperationError,
} from './sdk.ts';
import type { FollowedTask, PushConfigs, TaskSource } from './task-source.ts';

const TERMINAL: ReadonlySet<TaskState | undefined> = new Set([
  TaskState.TASK_STATE_COMPLETED,
  TaskState.TASK_STATE_FAILED,
  TaskState.TASK_STATE_CANCELED,
  TaskState.TASK_STATE_REJECTED,
]);
const INTERRUPTED: ReadonlySet<TaskState | undefined> = new Set([
  TaskState.TASK_STATE_INPUT_REQUIRED,
  TaskState.TASK_STATE_AUTH_REQUIRED,
]);

export interface RequestHandlerDeps {
  readonly source: TaskSource;
  readonly card: AgentCard;
  /** Returns the card for a caller with a credential. Undefined if the agent has one card for all callers. */
  readonly extendedCard: () => Promise<AgentCard | undefined>;
  /** Called with each task of an answer before it is sent, once for a stream. */
  readonly onTask: (task: Task) => void;
  readonly log: Logger;
}

export class RequestHandler implements A2ARequestHandler {
  readonly #deps: RequestHandlerDeps;
  readonly #source: TaskSource;

  constructor(deps: RequestHandlerDeps) {
    this.#deps = deps;
    this.#source = deps.source;
  }

  async getAgentCard(): Promise<AgentCard> {
    return this.#deps.card;
  }

  async getAuthenticatedExtendedAgentCard(): Promise<AgentCard> {
    const extendedCard = await this.#deps.extendedCard();
    if (!extendedCard) throw new UnsupportedOperationError('The agent has no extended card.');
    return extendedCard;
  }

  /** Waits until the task has ended or asks for input, unless the client wants to return at once. */
  async sendMessage({ message, configuration }: SendMessageRequest): Promise<Message | Task> {
    return this.#guarded(async () => {
      const checked = checkedMessage(message);
      const historyLength = checkedHistoryLength(configuration?.historyLength);
      const push = this.#checkedPush(configuration?.taskPushNotificationConfig);
      const followed = await this.#source.send(checked, push);
      if ('message' in followed) return followed.message;
      const { id } = followed.task;
      if (configuration?.returnImmediately) return this.#shown(followed.task, historyLength);
      await settled(followed);
      const outcome = await this.#source.outcome(id);
      return 'messageId' in outcome ? outcome : this.#shown(outcome, historyLength);
    });
  }

  /** Streams the task and its updates until it has ended or asks for input. */
  async *sendMessageStream({
    message,
    configuration,
  }: SendMessageRequest): AsyncGenerator<StreamResponse, void, undefined> {
    const followed = await this.#guarded(() => {
      const checked = checkedMessage(message);
      checkedHistoryLength(configuration?.historyLength);
      return this.#source.send(checked, this.#checkedPush(configuration?.taskPushNotificationConfig));
    });
    if ('message' in followed) {
      yield { payload: { $case: 'message', value: followed.message } };
      return;
    }
    yield this.#first(followed, configuration?.historyLength);
    if (isSettled(followed.task.status?.state)) return;
    for await (const update of this.#updates(followed)) {
      yield update;
      if (isSettled(stateIn(update))) return;
    }
  }

  async getTask({ id, historyLength }: GetTaskRequest): Promise<Task> {
    return this.#guarded(async () => {
      const length = checkedHistoryLength(historyLength);
      return this.#shown(await this.#source.get(checkedTaskId(id, 'id')), length);
    });
  }

  async listTasks(request: ListTasksRequest): Promise<ListTasksResponse> {
    return this.#guarded(async () => {
      const query = checkedQuery(request);
      const historyLength = checkedHistoryLength(request.historyLength);
      const { tasks, nextPageToken, totalSize } = await this.#source.list(query);
      return {
        tasks: tasks.map((task) => ({
          ...withHistory(task, historyLength),
          artifacts: request.includeArtifacts ? task.artifacts : [],
        })),
        nextPageToken,
        pageSize: query.pageSize,
        totalSize,
      };
    });
  }

  async cancelTask({ id }: CancelTaskRequest): Promise<Task> {
    return this.#guarded(async () =>
      this.#shown(await this.#source.cancel(checkedTaskId(id, 'id')), undefined),
    );
  }

  /** Streams a task that has not ended: its current state, and its updates until it ends. */
  async *resubscribe({ id }: SubscribeToTaskRequest): AsyncGenerator<StreamResponse, void, undefined> {
    const followed = await this.#guarded(() => this.#source.follow(checkedTaskId(id, 'id')));
    if (TERMINAL.has(followed.task.status?.state))
      throw new UnsupportedOperationError('The task has ended, so it has no updates. GetTask returns it.');
    yield this.#first(followed, undefined);
    yield* this.#updates(followed);
  }

  async createTaskPushNotificationConfig(
    config: TaskPushNotificationConfig,
  ): Promise<TaskPushNotificationConfig> {
    return this.#guarded(() => {
      const push = this.#push();
      checkPush(config);
      return push.create({ ...config, taskId: checkedTaskId(config.taskId, 'taskId') });
    });
  }

  async getTaskPushNotificationConfig({
    taskId,
    id,
  }: GetTaskPushNotificationConfigRequest): Promise<TaskPushNotificationConfig> {
    return this.#guarded(async () => {
      const configs = await this.#push().list(checkedTaskId(taskId, 'taskId'));
      const config = configs.find((one) => one.id === id);
      if (!config)
        throw new TaskNotFoundError('The task has no push notification configuration with this id.');
      return config;
    });
  }

  async listTaskPushNotificationConfigs({
    taskId,
  }: ListTaskPushNotificationConfigsRequest): Promise<ListTaskPushNotificationConfigsResponse> {
    return this.#guarded(async () => ({
      configs: await this.#push().list(checkedTaskId(taskId, 'taskId')),
      nextPageToken: '',
    }));
  }

  async deleteTaskPushNotificationConfig({
    taskId,
    id,
  }: DeleteTaskPushNotificationConfigRequest): Promise<void> {
    await this.#guarded(() => this.#push().delete(checkedTaskId(taskId, 'taskId'), id));
  }

  #push(): PushConfigs {
    if (!this.#source.push) throw new PushNotificationNotSupportedError();
    return this.#source.push;
  }

  #checkedPush(config: TaskPushNotificationConfig | undefined): TaskPushNotificationConfig | undefined {
    if (!config) return undefined;
    this.#push();
    checkPush(config);
    return config;
  }

  #first({ task }: FollowedTask, historyLength: number | undefined): StreamResponse {
    return { payload: { $case: 'task', value: this.#shown(task, historyLength) } };
  }

  #shown(task: Task, historyLength: number | undefined): Task {
    this.#deps.onTask(task);
    return withHistory(task, historyLength);
  }

  async *#updates(followed: FollowedTask): AsyncGenerator<StreamResponse, void, undefined> {
    try {
      yield* followed.updates();
    } catch (error) {
      throw a2aError(error, this.#deps.log);
    }
  }

  async #guarded<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw a2aError(error, this.#deps.log);
    }
  }
}

const isSettled = (state: TaskState | undefined): boolean => TERMINAL.has(state) || INTERRUPTED.has(state);

const stateIn = ({ payload }: StreamResponse): TaskState | undefined =>
  payload?.$case === 'statusUpdate' ? payload.value.status?.state : undefined;

/** Waits until a task has ended or asks for input. */
async function settled({ task, updates }: FollowedTask): Promise<void> {
  if (isSettled(task.status?.state)) return;
  for await (const update of updates()) if (isSettled(stateIn(update))) return;
}

const withHistory = (task: Task, historyLength: number | undefined): Task =>
  historyLength === undefined
    ? task
    : { ...task, history: historyLength === 0 ? [] : task.history.slice(-historyLength) };
