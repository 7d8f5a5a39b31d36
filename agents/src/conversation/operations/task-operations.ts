// The task methods of an agent that has conversations: a conversation is a task, which completes when the conversation ends.
import {
  FabricError,
  isFabricError,
  isFinalState,
  type Task,
  type TaskSendParams,
  type TaskStatusUpdateEvent,
} from '@fame-fabric/shared';
import { type Operation, type OperationContext, operation } from '../../agent/operation.ts';
import { taskQueryParams, taskSendParams } from '../../agent/tasks/task-methods.ts';
import { MAX_ANSWER_BYTES, newestThatFit } from '../../turn/newest-that-fit.ts';
import type { ConversationHost } from '../host.ts';
import { owner, taskOf, visibleMessages } from './task-view.ts';
import { reached } from './turn-calls.ts';

/** Starts the conversation of a task, and resolves with the task. */
export type SendTask = (params: TaskSendParams, context: OperationContext) => Promise<Task>;

/** A task as its caller names it. */
interface TaskRef {
  readonly id: string;
  readonly owner?: string | undefined;
}

const taskParams = taskQueryParams.extend({ owner });

/** Builds the task methods on the conversations of `host`. */
export function taskOperations(host: ConversationHost, sendTask: SendTask): Record<string, Operation> {
  const immediate = true;
  const journals = true;
  const mayTakeLong = true;

  /** Returns the id in the store of a task's conversation. @throws {CONVERSATION_UNKNOWN} also for those of others */
  const find = ({ id, owner }: TaskRef, context: OperationContext): Promise<string> =>
    reached(host, { conversation_id: id, owner }, context);

  async function* subscribe(
    params: TaskRef,
    context: OperationContext,
  ): AsyncGenerator<TaskStatusUpdateEvent, void> {
    const { id } = params;
    const { signal } = context;
    const stored = await find(params, context);
    const first = taskOf(await host.reads.get(stored));
    if (!isFinalState(first.status.state)) {
      yield { id, status: first.status, final: false, metadata: null };
      if (!(await host.whenEnded(stored, signal))) return;
    }
    yield { id, status: taskOf(await host.reads.get(stored)).status, final: true, metadata: null };
  }

  return {
    'tasks/send': operation({
      immediate,
      journals,
      mayTakeLong,
      params: taskSendParams,
      run: (params, context) => sendTask(params as TaskSendParams, context),
    }),
    'tasks/sendSubscribe': operation({
      immediate,
      journals,
      params: taskSendParams,
      async *run(params, context) {
        try {
          await sendTask(params as TaskSendParams, context);
        } catch (error) {
          // Clients subscribe after tasks/send to the conversation that it started.
          if (!isFabricError(error, 'CONVERSATION_EXISTS')) throw error;
        }
        yield* subscribe({ id: params.id }, context);
      },
    }),
    'tasks/resubscribe': operation({
      immediate,
      params: taskParams,
      async *run(params, context) {
        yield* asTask(subscribe(params, context));
      },
    }),
    'tasks/sendUnsubscribe': operation({ immediate, params: taskQueryParams, run: () => null }),
    'tasks/get': operation({
      immediate,
      params: taskParams,
      async run({ historyLength, ...params }, context) {
        try {
          const id = await find(params, context);
          const view = await host.reads.get(id);
          const history = visibleMessages(
            newestThatFit(await host.reads.messages(id), MAX_ANSWER_BYTES),
            historyLength ?? 0,
          );
          return taskOf(view, { history });
        } catch (error) {
          throw asTaskError(error);
        }
      },
    }),
    'tasks/cancel': operation({
      immediate,
      journals,
      mayTakeLong,
      params: taskParams,
      async run(params, context) {
        try {
          const id = await find(params, context);
          const { state } = await host.reads.get(id);
          if (isFinalState(state))
            throw new FabricError('TASK_NOT_CANCELABLE', `The task is ${state} already.`);
          await host.end(id, 'canceled');
          return taskOf(await host.reads.get(id));
        } catch (error) {
          throw asTaskError(error);
        }
      },
    }),
  };
}

const asTaskError = (error: unknown): unknown =>
  isFabricError(error, 'CONVERSATION_UNKNOWN')
    ? new FabricError('TASK_UNKNOWN', 'There is no task with that id.')
    : error;

async function* asTask<T>(events: AsyncGenerator<T, void>): AsyncGenerator<T, void> {
  try {
    yield* events;
  } catch (error) {
    throw asTaskError(error);
  }
}
