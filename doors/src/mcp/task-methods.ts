// The methods of the Tasks extension (io.modelcontextprotocol/tasks, SEP-2663): get, update and cancel. The door keeps no tasks: the id
// of a task names its turn, and the agent that runs the turn answers for it.
import { type Client, isUndecided, type TurnReport } from '@fame-fabric/client';
import { isFabricError } from '@fame-fabric/shared';
import { decodeTask, type TaskIds, type TurnIds } from './ids.ts';
import { visitorOf } from './request-context.ts';
import {
  canElicit,
  canPoll,
  capabilitiesOf,
  ProtocolError,
  ProtocolErrorCode,
  type ServerContext,
  type StandardSchemaV1,
  type TaskServer,
  tasksMissing,
} from './sdk.ts';
import { awayTask, type TaskView, taskOf } from './task-view.ts';
import { answerForms } from './turn-call.ts';

interface TaskParams {
  taskId: string;
}

const UNKNOWN: ReadonlySet<string> = new Set([
  'CONVERSATION_UNKNOWN',
  'TURN_UNKNOWN',
  'AUTH_FORBIDDEN',
  'METHOD_NOT_FOUND',
  'PARAMS_INVALID',
  'ADDRESS_INVALID',
]);

export function addTaskMethods(server: TaskServer): void {
  const add = (
    method: string,
    run: (task: TaskIds, params: TaskParams, context: ServerContext) => Promise<object>,
  ): void => {
    server.setRequestHandler(method, { params: TASK_PARAMS }, async (params, context) => {
      if (!canPoll(capabilitiesOf(server, context))) throw tasksMissing();
      const task = decodeTask(params.taskId);
      if (!task) throw unknownTask();
      return { ...(await run(task, params, context)) };
    });
  };
  add('tasks/get', async (task, { taskId }, context) => {
    const client = visitorOf(context).client;
    return viewOf(taskId, task, client, canElicit(capabilitiesOf(server, context)));
  });
  add('tasks/update', async (task, _, context) => {
    const { client } = visitorOf(context);
    await reportOf(client, task);
    const conversation = client.conversation(task.address, { id: task.conversationId, isResumed: true });
    // The library takes the responses out of the parameters.
    await answerForms(conversation, context.mcpReq.inputResponses ?? {});
    return {};
  });
  add('tasks/cancel', async (task, _, context) => {
    const { client } = visitorOf(context);
    await reportOf(client, task);
    await client.conversation(task.address, { id: task.conversationId, isResumed: true }).cancel(task.turnId);
    return {};
  });
}

/** The task now. A turn whose agent is away for a while is still working. */
async function viewOf(taskId: string, task: TaskIds, client: Client, elicits: boolean): Promise<TaskView> {
  try {
    const report = await reportOf(client, task);
    return taskOf(
      taskId,
      task,
      report.is_cut ? { ...report, text: await textOf(client, task) } : report,
      elicits,
    );
  } catch (error) {
    if (!isUndecided(error)) throw error;
    return awayTask(taskId, task);
  }
}

/** @throws {ProtocolError} if the turn does not exist for this caller */
async function reportOf(client: Client, { address, conversationId, turnId }: TurnIds): Promise<TurnReport> {
  try {
    return await client.conversations(address).turn(conversationId, turnId);
  } catch (error) {
    throw isFabricError(error) && UNKNOWN.has(error.code) ? unknownTask() : error;
  }
}

/** The whole text of a reply that is too long for a report. */
async function textOf(client: Client, { address, conversationId, turnId }: TurnIds): Promise<string> {
  const conversation = client.conversation(address, { id: conversationId, isResumed: true });
  return (await conversation.runTurn('', { turnId, onLeave: 'continue' })).text;
}

const unknownTask = (): ProtocolError => new ProtocolError(ProtocolErrorCode.InvalidParams, 'Task not found');

const TASK_PARAMS: StandardSchemaV1<TaskParams, TaskParams> = {
  '~standard': {
    version: 1,
    vendor: 'fame-fabric',
    validate(value) {
      const { taskId } = value as { taskId?: unknown };
      return typeof taskId === 'string'
        ? { value: { taskId } }
        : { issues: [{ message: 'a text is required', path: ['taskId'] }] };
    },
  },
};
