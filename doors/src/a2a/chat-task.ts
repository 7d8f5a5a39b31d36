// The turn of a chat agent as an A2A task: the task of a report, and the updates of the events that follow it.
import type { ConversationEvent, PendingApproval, TurnReport, TurnState } from '@fame-fabric/client';
import { agentMessage, dataPart, textPart, userMessage } from './parts.ts';
import {
  type Artifact,
  type Message,
  type Part,
  type StreamResponse,
  type Task,
  TaskState,
  type TaskStatus,
} from './sdk.ts';

/** The only artifact of a chat task. */
const ANSWER = 'answer';
/** Key in the metadata of an update: the cursor of its event in the conversation, which is also the `id` of the SSE event. */
export const CURSOR = 'cursor';
/** Label of a turn with the id of its A2A message. */
export const MESSAGE_ID = 'a2a_message_id';

const STATES: Readonly<Record<TurnState, TaskState>> = {
  open: TaskState.TASK_STATE_WORKING,
  'input-required': TaskState.TASK_STATE_INPUT_REQUIRED,
  completed: TaskState.TASK_STATE_COMPLETED,
  failed: TaskState.TASK_STATE_FAILED,
  cancelled: TaskState.TASK_STATE_CANCELED,
};

export interface TaskIds {
  readonly taskId: string;
  readonly contextId: string;
}

/** A question to a person. `call_id` is the id for its answer. */
type Approval = Pick<PendingApproval, 'call_id' | 'kind' | 'name' | 'args'>;

/** Builds the task of a turn. `history` contains its messages, oldest first. */
export function taskOf(ids: TaskIds, report: TurnReport, history: Message[]): Task {
  const { state, text, turn_id, finish, model, error, approvals = [] } = report;
  const timestamp = report.ended_at ?? approvals.at(-1)?.asked_at ?? report.accepted_at;
  const message =
    state === 'failed' && error
      ? [textPart(error.message)]
      : approvals.length > 0
        ? questionParts(approvals)
        : [];
  return {
    id: ids.taskId,
    contextId: ids.contextId,
    status: statusOf(ids, { state: STATES[state], timestamp, parts: message, id: `${turn_id}-${state}` }),
    artifacts: text === '' ? [] : [answer(text)],
    history,
    metadata: { turnId: turn_id, ...(finish ? { finish } : {}), ...(model ? { model } : {}) },
  };
}

interface StatusOptions {
  state: TaskState;
  timestamp: string;
  /** Parts of its message. @default no message */
  parts?: Part[];
  /** Id of its message. */
  id: string;
}

const statusOf = (ids: TaskIds, { state, timestamp, parts = [], id }: StatusOptions): TaskStatus => ({
  state,
  timestamp: new Date(timestamp).toISOString(),
  message: parts.length > 0 ? agentMessage({ ...ids, messageId: id }, parts) : undefined,
});

const answer = (text: string): Artifact => ({
  artifactId: ANSWER,
  name: ANSWER,
  description: '',
  parts: [textPart(text)],
  metadata: undefined,
  extensions: [],
});

/** Returns the questions as text, and as data for programs. */
function questionParts(approvals: readonly Approval[]): Part[] {
  const lines = approvals.map(({ kind, name, args }) =>
    kind === 'budget'
      ? `The budget is used up: ${JSON.stringify(args ?? {})}. Continue?`
      : `Approve the call ${name}(${JSON.stringify(args ?? {})})?`,
  );
  const data = approvals.map(({ call_id, kind, name, args }) => ({
    callId: call_id,
    kind,
    name,
    ...(args ? { args } : {}),
  }));
  return [textPart(`${lines.join('\n')}\nAnswer yes or no.`), dataPart({ approvals: data })];
}

/** Returns the messages of a task, oldest first: the user's own, the questions of the agent and the answers. */
export function historyOf(ids: TaskIds, turnId: string, events: readonly ConversationEvent[]): Message[] {
  const messages: Message[] = [];
  for (const event of events) {
    if (!('turn_id' in event) || event.turn_id !== turnId) continue;
    const messageId = `${turnId}-${event.seq}`;
    if (event.type === 'turn') {
      const given = event.options?.metadata?.[MESSAGE_ID] ?? messageId;
      messages.push(userMessage({ ...ids, messageId: given }, [textPart(event.user_message)]));
    } else if (event.type === 'approval')
      messages.push(agentMessage({ ...ids, messageId }, questionParts([approvalOf(event)])));
    else if (event.type === 'approval_answer')
      messages.push(userMessage({ ...ids, messageId }, [textPart(answerText(event))]));
  }
  return messages;
}

const answerText = ({ approve, note }: { approve: boolean; note?: string }): string =>
  [approve ? 'yes' : 'no', note].filter(Boolean).join(', ');

const approvalOf = ({
  id,
  kind,
  name,
  args,
}: Extract<ConversationEvent, { type: 'approval' }>): Approval => ({
  call_id: id,
  kind,
  name,
  ...(args ? { args } : {}),
});

/** The state of a turn for a reader that has its report: the text that the reader received, and the open questions. */
export interface TurnView {
  readonly turnId: string;
  /** Text of the answer so far. */
  readonly text: string;
  readonly approvals: readonly Approval[];
}

/**
 * Converts the events of a turn that follow its report. Ends after the event that ends the turn. A `restart` replaces the artifact with
 * the text that is still valid.
 */
export async function* turnUpdates(
  ids: TaskIds,
  view: TurnView,
  events: AsyncIterable<ConversationEvent>,
): AsyncGenerator<StreamResponse, void> {
  let { text } = view;
  const approvals = new Map(view.approvals.map((approval) => [approval.call_id, approval]));
  const update = new Updates(ids, view.turnId);
  for await (const event of events) {
    if (!('turn_id' in event) || event.turn_id !== view.turnId) continue;
    update.at(event);
    switch (event.type) {
      case 'text':
        yield update.text(event.text, { append: text !== '' });
        text += event.text;
        break;
      case 'restart':
        if (text.length === event.keep) break;
        text = text.slice(0, event.keep);
        yield update.text(text, { append: false });
        break;
      case 'approval':
        approvals.set(event.id, approvalOf(event));
        yield update.status(TaskState.TASK_STATE_INPUT_REQUIRED, questionParts([...approvals.values()]));
        break;
      case 'approval_answer':
        approvals.delete(event.id);
        if (approvals.size === 0) yield update.status(TaskState.TASK_STATE_WORKING);
        break;
      case 'done': {
        // A long text is cut in the last event, and complete in the events before it.
        const whole = 'is_cut' in event ? text : event.text;
        const isContinued = text !== '' && whole.startsWith(text);
        const rest = isContinued ? whole.slice(text.length) : whole;
        if (whole !== '') yield update.text(rest, { append: isContinued, isLast: true });
        yield update.status(TaskState.TASK_STATE_COMPLETED);
        return;
      }
      case 'error': {
        const isCanceled = event.code === 'TURN_CANCELLED';
        yield isCanceled
          ? update.status(TaskState.TASK_STATE_CANCELED)
          : update.status(TaskState.TASK_STATE_FAILED, [textPart(event.message)]);
        return;
      }
    }
  }
}

/** Builds the updates at the position of one event. */
class Updates {
  readonly #ids: TaskIds;
  readonly #turnId: string;
  #seq = 0;
  #at = '';

  constructor(ids: TaskIds, turnId: string) {
    this.#ids = ids;
    this.#turnId = turnId;
  }

  at({ seq, at }: { seq: number; at: string }): void {
    this.#seq = seq;
    this.#at = at;
  }

  text(text: string, { append, isLast = false }: { append: boolean; isLast?: boolean }): StreamResponse {
    const value = {
      ...this.#ids,
      artifact: answer(text),
      append,
      lastChunk: isLast,
      metadata: this.#metadata,
    };
    return { payload: { $case: 'artifactUpdate', value } };
  }

  status(state: TaskState, parts?: Part[]): StreamResponse {
    const id = `${this.#turnId}-${this.#seq}`;
    const status = statusOf(this.#ids, { state, timestamp: this.#at, id, ...(parts ? { parts } : {}) });
    return { payload: { $case: 'statusUpdate', value: { ...this.#ids, status, metadata: this.#metadata } } };
  }

  get #metadata(): Record<string, unknown> {
    return { [CURSOR]: this.#seq };
  }
}
