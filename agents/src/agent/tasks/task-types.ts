// Types for authors of agents with background tasks. `task-table.ts` keeps the tasks, and `task-methods.ts` serves them.
import type { Artifact, Message, Part, TaskSendParams, TaskState } from '@fame-fabric/shared';
import type { ContextLink, OperationContext } from '../operation.ts';

/** Interface of a running task for its own code. Calls after the end of the task have no effect. */
export interface TaskHandle {
  readonly id: string;
  readonly sessionId: string;
  readonly params: TaskSendParams;
  /** Aborts on `tasks/cancel` and when the agent closes. */
  readonly signal: AbortSignal;
  readonly log: OperationContext['log'];
  readonly link: ContextLink;
  /** Publishes an artifact: text, data, or a whole artifact. `index` counts up unless given. */
  progress(artifact: string | Record<string, unknown> | (Partial<Artifact> & { parts: Part[] })): void;
  /** Publishes a state that is not final. A task ends by returning, by throwing or by cancellation. */
  status(state: Exclude<TaskState, 'completed' | 'canceled' | 'failed'>, message?: string | Message): void;
  /** Puts the task into `input-required` and waits for the next `tasks/send` with its id. */
  ask(question: string | Message): Promise<Message>;
  /** Pushes `{task_id, ...payload}` to the client's push notification URL, if it set one. */
  notify(payload: Record<string, unknown>): void;
}

/** Runs the tasks of an agent. */
export interface TaskHandler {
  /** Checks a request before the task exists. Throwing refuses it. */
  accept?(params: TaskSendParams, context: OperationContext): void | Promise<void>;
  /**
   * Runs the task. The result becomes the final message: a text, a data object, a Message, or nothing. A thrown FabricError
   * fails the task with its message, any other error with a log id.
   */
  start(params: TaskSendParams, task: TaskHandle): unknown;
  /**
   * Addresses that push notifications of every caller may go to. Others must be served by a node of the caller's
   * principal, or be below its path.
   * @default none
   */
  pushAddresses?: readonly string[] | undefined;
  /** Limit of running tasks. @default 256 */
  maxRunning?: number | undefined;
  /** Limit of finished tasks that are kept for `tasks/get`. @default 100 */
  maxFinished?: number | undefined;
  /** Time that a finished task is kept, in ms. @default 300_000 */
  keepFinishedMs?: number | undefined;
}
