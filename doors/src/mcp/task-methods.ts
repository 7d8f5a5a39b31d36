// The methods of the Tasks extension (io.modelcontextprotocol/tasks, SEP-2663): get, update and cancel. The door stores no tasks: the id
// of a task names its turn, and the agent that runs the turn reports its state.
import { type Client, isUndecided, type TurnReport } from '@fame-fabric/client';
import { isFabricError } from '@fame-fabric/shared';
import { answered, taskView } from './agent-task.ts';
import { type AgentTaskIds, decodeAgentTask, decodeTask, type TaskIds, type TurnIds } from './ids.ts';
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
  'TASK_UNKNOWN',
  'AUTH_FORBIDDEN',
  'METHOD_NOT_FOUND',
  'PARAMS_INVALID',
  'ADDRESS_INVALID',
]);

/** A task by its id: the turn of a chat agent, or the task of an agent with task methods. */
interface PolledTask {
  get(canElicit: boolean): Promise<TaskView>;
  /** Forwards responses of the client. Responses to other requests have no effect. */
  answer(responses: Readonly<Record<string, unknown>>): Promise<unknown>;
  cancel(): Promise<unknown>;
}

export function addTaskMethods(server: TaskServer): void {
  const add = (method: string, run: (task: PolledTask, context: ServerContext) => Promise<object>): void => {
    server.setRequestHandler(method, { params: TASK_PARAMS }, async ({ taskId }, context) => {
      if (!canPoll(capabilitiesOf(server, context))) throw tasksMissing();
      const { client } = visitorOf(context);
      const turn = decodeTask(taskId);
      const job = decodeAgentTask(taskId);
      if (!turn && !job) throw unknownTask();
      return {
        ...(await run(turn ? polledTurn(client, taskId, turn) : polledJob(client, taskId, job!), context)),
      };
    });
  };
  add('tasks/get', (task, context) => task.get(canElicit(capabilitiesOf(server, context))));
  add('tasks/update', async (task, { mcpReq }) => {
    await task.answer(mcpReq.inputResponses ?? {}); // the library takes the responses out of the parameters
    return {};
  });
  add('tasks/cancel', async (task) => {
    await task.cancel();
    return {};
  });
}

function polledTurn(client: Client, taskId: string, task: TaskIds): PolledTask {
  const conversation = client.conversation(task.address, { id: task.conversationId, isResumed: true });
  return {
    get: (elicits) => viewOf(taskId, task, client, elicits),
    async answer(responses) {
      await reportOf(client, task);
      await answerForms(conversation, responses);
    },
    async cancel() {
      await reportOf(client, task);
      await conversation.cancel(task.turnId);
    },
  };
}

function polledJob(
  client: Client,
  id: string,
  { address, taskId, createdAt }: AgentTaskIds & { createdAt: string },
): PolledTask {
  const tasks = client.task(address);
  return {
    get: async (elicits) => {
      try {
        return taskView(id, createdAt, await known(tasks.get(taskId)), elicits);
      } catch (error) {
        if (!isUndecided(error)) throw error;
        return awayTask(id, { createdAt });
      }
    },
    answer: (responses) => known(answered(client, address, taskId, responses)),
    cancel: () =>
      known(tasks.cancel(taskId)).catch((error: unknown) => {
        if (!isFabricError(error, 'TASK_NOT_CANCELABLE')) throw error; // it has ended
      }),
  };
}

/** @throws {ProtocolError} if the task does not exist for this caller */
async function known<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    throw isFabricError(error) && UNKNOWN.has(error.code) ? unknownTask() : error;
  }
}

/** The current task. A turn whose agent is temporarily unavailable has the state working. */
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

const reportOf = (client: Client, { address, conversationId, turnId }: TurnIds): Promise<TurnReport> =>
  known(client.conversations(address).turn(conversationId, turnId));

/** Reads the whole text of a reply that is too long for a report. */
async function textOf(client: Client, { address, conversationId, turnId }: TurnIds): Promise<string> {
  const conversation = client.conversation(address, { id: conversationId, isResumed: true });
  return (await conversation.runTurn('', { turnId, onLeave: 'continue' })).text;
}

const unknownTask = (): ProtocolError =>
  new ProtocolError(ProtocolErrorCode.InvalidParams, 'Task not found', { code: 'TASK_UNKNOWN' });

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
