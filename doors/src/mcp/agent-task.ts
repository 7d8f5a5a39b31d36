// A tool with the name of an agent with task methods. A call runs a task of the agent, waits for its end, and passes its questions to the
// user of the client. For a client that polls, it becomes a task of the Tasks extension.
import type { Client, Task } from '@fame-fabric/client';
import { FabricError, isFabricError, newId, type TaskStatus } from '@fame-fabric/shared';
import { encodeAgentTask, encodeJobState } from './ids.ts';
import type { ProgressReporter } from './progress.ts';
import { errorResult, resultOf } from './results.ts';
import type {
  CallToolResult,
  CreateTaskResult,
  InputRequiredResult,
  PendingInputs,
  ToolReply,
} from './sdk.ts';
import type { TaskView } from './task-view.ts';

/** The argument that names a task which asked for input. */
export const TASK_ID = 'task_id';
const POLL_INTERVAL_MS = 1_000;

export interface TaskCaller {
  readonly client: Client;
  readonly signal: AbortSignal;
  readonly progress: ProgressReporter | undefined;
  readonly canElicit: boolean;
  readonly canPoll: boolean;
  /** Id of a new task. @default a new id */
  readonly callId: string | undefined;
  /** The task that asked for input, with the responses of the client. */
  readonly asked?:
    | { readonly taskId: string; readonly responses: Readonly<Record<string, unknown>> }
    | undefined;
}

type Payload = string | Record<string, unknown>;

/** Starts a task or answers its question. Errors of the agent are results; nothing is thrown but the reason of an abort. */
export async function callAgentTask(
  address: string,
  args: Record<string, unknown>,
  caller: TaskCaller,
): Promise<ToolReply> {
  const { client, signal, asked, canPoll } = caller;
  const tasks = client.task(address);
  const { [TASK_ID]: given, ...input } = args;
  const id = asked?.taskId ?? (typeof given === 'string' ? given : undefined) ?? caller.callId ?? newId();
  try {
    const task = asked
      ? await answered(client, address, id, asked.responses)
      : await started(client, address, id, payloadOf(input), signal);
    if (canPoll && viewOf(task).status === 'working') return createdTask(address, task);
    const { status } =
      task.status.state === 'working' || task.status.state === 'submitted'
        ? await followed(client, address, id, caller)
        : task;
    if (status.state !== 'input-required') return resultOfTask(id, await tasks.get(id));
    return caller.canElicit ? questionOf(address, id, status) : waitingResult(id, status);
  } catch (error) {
    if (!signal.aborted) return errorResult(error, { 'fame/task_id': id });
    await tasks.cancel(id).catch(() => {}); // the client has cancelled the call and ignores the outcome
    throw error;
  }
}

async function started(
  client: Client,
  address: string,
  id: string,
  payload: Payload,
  signal: AbortSignal,
): Promise<Task> {
  try {
    return await client.task(address).start(payload, { id, signal });
  } catch (error) {
    // A repeated call joins its task.
    if (!isFabricError(error, 'TASK_EXISTS')) throw error;
    return client.task(address).get(id);
  }
}

/** Passes the answer of the person on, if the task still waits for it. */
export async function answered(
  client: Client,
  address: string,
  id: string,
  responses: Readonly<Record<string, unknown>>,
): Promise<Task> {
  const tasks = client.task(address);
  const task = await tasks.get(id);
  if (task.status.state !== 'input-required') return task;
  const { action, content } = (responses[keyOf(task.status)] ?? {}) as {
    action?: unknown;
    content?: Record<string, unknown> | null;
  };
  if (action === 'decline') return tasks.cancel(id);
  if (action !== 'accept' || !content) return task;
  return tasks.start(typeof content.answer === 'string' ? content.answer : content, { id });
}

async function followed(
  client: Client,
  address: string,
  id: string,
  { signal, progress }: TaskCaller,
): Promise<{ status: TaskStatus }> {
  for await (const event of client.task(address).subscribe(id, { signal })) {
    if ('artifact' in event) progress?.note(textOf(event.artifact.parts));
    else if (event.final || event.status.state === 'input-required') return event;
  }
  throw new FabricError('TASK_FAILED', 'The task ended without a final state');
}

/** A lone `message` is the text; other arguments are data. */
const payloadOf = (input: Record<string, unknown>): Payload =>
  typeof input.message === 'string' && Object.keys(input).length === 1 ? input.message : input;

type Parts = NonNullable<TaskStatus['message']>['parts'];

const textOf = (parts: Parts): string =>
  parts
    .map((part) => (part.type === 'text' ? part.text : part.type === 'data' ? JSON.stringify(part.data) : ''))
    .filter((text) => text !== '')
    .join('\n');

/** The result of an ended task: its final message, otherwise its artifacts. */
function resultOfTask(id: string, { status, artifacts }: Task): CallToolResult {
  const parts = status.message?.parts ?? (artifacts ?? []).flatMap((artifact) => artifact.parts);
  const text = textOf(parts);
  if (status.state !== 'completed') {
    const how = status.state === 'canceled' ? 'was cancelled' : 'failed';
    return errorResult(new FabricError('TASK_FAILED', text || `The task ${how}`), { 'fame/task_id': id });
  }
  const [only] = parts;
  return parts.length === 1 && only?.type === 'data' ? resultOf(only.data) : resultOf(text);
}

/** Key of a question: the time at which the task asked it. */
const keyOf = ({ timestamp }: TaskStatus): string => `input-${timestamp.replace(/\D/g, '')}`;

const formOf = (status: TaskStatus): PendingInputs => ({
  [keyOf(status)]: {
    method: 'elicitation/create',
    params: {
      mode: 'form',
      message: textOf(status.message?.parts ?? []) || 'The task asks for input.',
      requestedSchema: { type: 'object', properties: { answer: { type: 'string' } }, required: ['answer'] },
    },
  },
});

const questionOf = (address: string, taskId: string, status: TaskStatus): InputRequiredResult => ({
  resultType: 'input_required',
  inputRequests: formOf(status),
  requestState: encodeJobState({ address, taskId }),
});

function waitingResult(taskId: string, status: TaskStatus): CallToolResult {
  const question = textOf(status.message?.parts ?? []);
  const text = `The task asks: ${question}\nCall this tool again with ${TASK_ID} ${taskId} and the answer as message.`;
  return {
    content: [{ type: 'text', text }],
    structuredContent: { task_id: taskId, state: 'input-required', question },
  };
}

function createdTask(address: string, task: Task): CreateTaskResult {
  const createdAt = task.status.timestamp;
  const {
    result: _,
    inputRequests: __,
    ...view
  } = taskView(encodeAgentTask({ address, taskId: task.id, createdAt }), createdAt, task, false);
  return { resultType: 'task', ...view };
}

const viewOf = (task: Task): TaskView => taskView('', task.status.timestamp, task, false);

/** Builds the view of an agent's task for a client that polls. */
export function taskView(taskId: string, createdAt: string, task: Task, canElicit: boolean): TaskView {
  const { status } = task;
  const view = {
    taskId,
    createdAt,
    lastUpdatedAt: status.timestamp,
    ttlMs: null,
    pollIntervalMs: POLL_INTERVAL_MS,
  };
  switch (status.state) {
    case 'completed':
    case 'failed':
      return { ...view, status: 'completed', result: resultOfTask(task.id, task) };
    case 'canceled':
      return { ...view, status: 'cancelled', statusMessage: 'The task was cancelled.' };
    case 'input-required':
      return canElicit
        ? { ...view, status: 'input_required', inputRequests: formOf(status) }
        : { ...view, status: 'working', statusMessage: 'Waits for input.' };
    default:
      return { ...view, status: 'working' };
  }
}
