// Agents with neither conversations nor tasks: a message calls one operation, and the answer is a message. There are no tasks.
import type { AgentOperation } from '../fabric/agent-card.ts';
import { taskNotFound } from './errors.ts';
import { messageKey } from './message-key.ts';
import { agentMessage, dataPart, textOf, textPart } from './parts.ts';
import { type Message, RequestMalformedError, type Task } from './sdk.ts';
import type { TaskPage, TaskSource, TaskSourceDeps } from './task-source.ts';

/** Maximum items of a streaming operation in an answer. The call ends after them. */
const MAX_ITEMS = 1_000;

export class OperationCalls implements TaskSource {
  readonly push = undefined;
  readonly #deps: TaskSourceDeps;

  constructor(deps: TaskSourceDeps) {
    this.#deps = deps;
  }

  async send(message: Message): Promise<{ message: Message }> {
    if (message.taskId !== '') throw taskNotFound(message.taskId);
    const { principal, agent } = this.#deps;
    const { operation, params } = this.#callIn(message);
    const id = `a2a-${messageKey({ principal, agent: agent.address }, message)}`;
    const result = await this.#call(operation, params, id);
    const contextId = message.contextId === '' ? id : message.contextId;
    const part = typeof result === 'string' ? textPart(result) : dataPart(result);
    return { message: agentMessage({ messageId: `${id}-answer`, contextId, taskId: '' }, [part]) };
  }

  async get(id: string): Promise<never> {
    throw taskNotFound(id);
  }

  outcome(id: string): Promise<Task> {
    return this.get(id);
  }

  follow(id: string): Promise<never> {
    return this.get(id);
  }

  cancel(id: string): Promise<Task> {
    return this.get(id);
  }

  async list(): Promise<TaskPage> {
    return { tasks: [], nextPageToken: '', totalSize: 0 };
  }

  /** Reads `{ operation, params? }` in a data part. */
  #callIn({ parts }: Message): { operation: AgentOperation; params: unknown } {
    textOf(parts); // refuses files
    const { operations } = this.#deps.agent;
    for (const { content } of parts) {
      if (content?.$case !== 'data') continue;
      const { operation: name, params = {} } = Object(content.value) as {
        operation?: unknown;
        params?: unknown;
      };
      const operation = operations.find((one) => one.name === name);
      if (operation) return { operation, params };
    }
    const names = operations.slice(0, 20).map(({ name }) => name);
    throw new RequestMalformedError(
      `message.parts: the agent takes the data {"operation": ..., "params": ...} with one of the operations ${names.join(', ')}`,
    );
  }

  async #call({ name, isStreaming }: AgentOperation, params: unknown, id: string): Promise<unknown> {
    const { client, agent, signal } = this.#deps;
    // A durable operation runs once for each id.
    const options = { signal, id };
    if (!isStreaming) return client.call(agent.address, name, params, options);
    const items: unknown[] = [];
    for await (const item of client.stream(agent.address, name, params, options)) {
      items.push(item);
      if (items.length === MAX_ITEMS) break;
    }
    return { items };
  }
}
