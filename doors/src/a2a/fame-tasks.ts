// The tasks of an agent with the task methods of the fabric, ours and those of naylence.
import { isDeepStrictEqual } from 'node:util';
import {
  type AgentTasks,
  type Message as FameMessage,
  type TaskState as FameState,
  type Task as FameTask,
  isFabricError,
  isFinalState,
  type PushNotificationConfig,
} from '@fame-fabric/shared';
import { taskNotFound } from './errors.ts';
import { FamePush, famePushOf } from './fame-push.ts';
import { a2aState, directMessage, idsOf, taskOf, taskUpdates } from './fame-task.ts';
import { messageKey } from './message-key.ts';
import { pageOf, readPageToken } from './page-token.ts';
import { fameMessageOf } from './parts.ts';
import {
  type Message,
  RequestMalformedError,
  type Task,
  type TaskPushNotificationConfig,
  UnsupportedOperationError,
} from './sdk.ts';
import type {
  FollowedTask,
  PushConfigs,
  TaskPage,
  TaskQuery,
  TaskSource,
  TaskSourceDeps,
} from './task-source.ts';

/** A task in the answer to `tasks/list`. */
interface ListedTask {
  id: string;
  state: FameState;
  /** ISO 8601. */
  timestamp: string;
}

export class FameTasks implements TaskSource {
  readonly push: PushConfigs | undefined;
  readonly #deps: TaskSourceDeps;
  readonly #tasks: AgentTasks;

  constructor(deps: TaskSourceDeps) {
    this.#deps = deps;
    this.#tasks = deps.client.task(deps.agent.address);
    if (deps.agent.raw.a2aPush === true) this.push = new FamePush(deps);
  }

  async send(message: Message, push?: TaskPushNotificationConfig): Promise<FollowedTask> {
    const given = fameMessageOf(message);
    const config = push && famePushOf(push);
    if (message.taskId === '') return this.#followed(await this.#start(message, given, config));
    if (config) await this.#tasks.setPush(message.taskId, config);
    return this.#followed(await this.#continue(message, given));
  }

  async outcome(id: string): Promise<Task | Message> {
    const task = await this.#find(id);
    return directMessage(task) ?? taskOf(task);
  }

  async get(id: string): Promise<Task> {
    return taskOf(await this.#find(id));
  }

  async follow(id: string): Promise<FollowedTask> {
    return this.#followed(await this.#find(id));
  }

  async cancel(id: string): Promise<Task> {
    const { signal } = this.#deps;
    return taskOf(await this.#tasks.cancel(id, { signal }));
  }

  /** @throws METHOD_NOT_FOUND for naylence agents, which cannot list tasks */
  async list({ contextId, state, changedSince, pageToken, pageSize }: TaskQuery): Promise<TaskPage> {
    const { client, agent, signal } = this.#deps;
    const from = readPageToken(pageToken);
    const params = contextId === '' ? {} : { sessionId: contextId };
    const answer = await client.call<{ tasks: ListedTask[] }>(agent.address, 'tasks/list', params, {
      signal,
    });
    const listed = answer.tasks
      .map((task) => ({ id: task.id, at: Date.parse(task.timestamp), state: a2aState(task.state) }))
      .filter((task) => state === undefined || task.state === state)
      .filter((task) => changedSince === undefined || task.at >= changedSince);
    const { page, nextPageToken } = pageOf(listed, from, pageSize);
    const tasks = await Promise.all(page.map(({ id }) => this.get(id)));
    return { tasks, nextPageToken, totalSize: listed.length };
  }

  async #start(
    message: Message,
    given: FameMessage,
    pushNotification: PushNotificationConfig | undefined,
  ): Promise<FameTask> {
    const { principal, agent, signal } = this.#deps;
    const id = `a2a-${messageKey({ principal, agent: agent.address }, message)}`;
    const sessionId = message.contextId === '' ? id : message.contextId;
    try {
      return await this.#tasks.start(given, { id, sessionId, pushNotification, signal });
    } catch (error) {
      // The message was sent before.
      if (!isFabricError(error, 'TASK_EXISTS')) throw error;
      return this.#find(id);
    }
  }

  async #continue({ taskId, contextId }: Message, given: FameMessage): Promise<FameTask> {
    const task = await this.#find(taskId);
    if (contextId !== '' && contextId !== idsOf(task).contextId)
      throw new RequestMalformedError('message.contextId: the task belongs to another context');
    if (task.history?.some((message) => isDeepStrictEqual(plain(message), plain(given)))) return task;
    const { state } = task.status;
    if (isFinalState(state))
      throw new UnsupportedOperationError(`The task is ${state}, so it takes no message.`);
    if (state !== 'input-required')
      throw new UnsupportedOperationError(`The task is ${state}. It takes a message when it asks for input.`);
    const { signal } = this.#deps;
    const sessionId = task.sessionId ?? taskId;
    return this.#tasks.start(given, { id: taskId, sessionId, signal });
  }

  async #find(id: string): Promise<FameTask> {
    const { signal } = this.#deps;
    try {
      return await this.#tasks.get(id, { signal });
    } catch (error) {
      if (isFabricError(error, 'TASK_UNKNOWN') || isFabricError(error, 'PARAMS_INVALID'))
        throw taskNotFound(id);
      throw error;
    }
  }

  #followed(task: FameTask): FollowedTask {
    const { signal } = this.#deps;
    return {
      task: taskOf(task),
      updates: () => taskUpdates(task, this.#tasks.subscribe(task.id, { signal })),
    };
  }
}

// The agent returns the message as JSON.
const plain = (message: FameMessage): unknown => JSON.parse(JSON.stringify(message));
