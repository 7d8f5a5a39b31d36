// The tasks of an agent with the task methods of the fabric, ours and those of naylence.
import { isDeepStrictEqual } from 'node:util';
import type { Message, Task } from '@a2a-js/sdk';
import { RequestMalformedError, UnsupportedOperationError } from '@a2a-js/sdk/errors';
import {
  type AgentTasks,
  type Message as FameMessage,
  type Task as FameTask,
  isFabricError,
  isFinalState,
} from '@fame-fabric/shared';
import { taskNotFound } from './errors.ts';
import { directMessage, idsOf, taskOf, taskUpdates } from './fame-task.ts';
import { messageKey } from './message-key.ts';
import { fameMessageOf } from './parts.ts';
import type { FollowedTask, TaskPage, TaskQuery, TaskSource, TaskSourceDeps } from './task-source.ts';

export class FameTasks implements TaskSource {
  readonly push = undefined;
  readonly #deps: TaskSourceDeps;
  readonly #tasks: AgentTasks;

  constructor(deps: TaskSourceDeps) {
    this.#deps = deps;
    this.#tasks = deps.client.task(deps.agent.address);
  }

  async send(message: Message): Promise<FollowedTask> {
    const given = fameMessageOf(message);
    return this.#followed(
      message.taskId === '' ? await this.#start(message, given) : await this.#continue(message, given),
    );
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

  async list(_query: TaskQuery): Promise<TaskPage> {
    throw new UnsupportedOperationError('The agent has no list of its tasks.');
  }

  async #start(message: Message, given: FameMessage): Promise<FameTask> {
    const { principal, agent, signal } = this.#deps;
    const id = `a2a-${messageKey({ principal, agent: agent.address }, message)}`;
    const sessionId = message.contextId === '' ? id : message.contextId;
    try {
      return await this.#tasks.start(given, { id, sessionId, signal });
    } catch (error) {
      // The message was sent twice.
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

// A message comes back from the agent as JSON.
const plain = (message: FameMessage): unknown => JSON.parse(JSON.stringify(message));
