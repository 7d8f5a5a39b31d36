// What an agent that runs background tasks writes against. `task-table.ts` keeps the tasks, `task-methods.ts` puts them
// on the wire.
import type { Artifact, Message, Part, TaskSendParams, TaskState } from '@fame-fabric/shared';
import type { OperationContext, Outbound } from '../operation.ts';

/** A running task, as its own code sees it. Calls after the end of the task do nothing. */
export interface TaskHandle {
  readonly id: string;
  readonly sessionId: string;
  readonly params: TaskSendParams;
  /** Aborts on `tasks/cancel` and when the agent closes. */
  readonly signal: AbortSignal;
  readonly log: OperationContext['log'];
  readonly link: Outbound;
  /** Publishes an artifact: text, data, or a whole one. `index` counts up unless given. */
  progress(artifact: string | Record<string, unknown> | (Partial<Artifact> & { parts: Part[] })): void;
  /** Publishes a state that is not final; to end a task return, throw, or let it be cancelled. */
  status(state: Exclude<TaskState, 'completed' | 'canceled' | 'failed'>, message?: string | Message): void;
  /** Puts the task into `input-required` and waits for the next `tasks/send` with its id. */
  ask(question: string | Message): Promise<Message>;
  /** Pushes `{task_id, ...payload}` to where the client asked for notifications, if it did. */
  notify(payload: Record<string, unknown>): void;
}

/** Declares that an agent runs tasks. */
export interface TaskHandler {
  /** Looks at a request before the task exists; throwing refuses it. */
  accept?(params: TaskSendParams, context: OperationContext): void | Promise<void>;
  /**
   * Runs the task. What it returns becomes the final message: a text, a data object, a Message, or nothing. A thrown
   * FabricError fails the task with its message, any other error with a log id.
   */
  start(params: TaskSendParams, task: TaskHandle): unknown;
  /** Most tasks that run at once. @default 256 */
  maxRunning?: number;
  /** Finished tasks that are kept for `tasks/get`, and how long, in ms. @default 100 and 300_000 */
  maxFinished?: number;
  keepFinishedMs?: number;
}
