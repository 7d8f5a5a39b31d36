// The tasks of a chat agent. Each task is a turn of the conversation that its context names. A message starts a turn, or answers the
// questions of a turn that waits for a person.
import type { ConversationEvent, Conversations, TurnOptions, TurnReport } from '@fame-fabric/client';
import { isFabricError } from '@fame-fabric/shared';
import { pause } from '@fame-fabric/shared/internal';
import type { AgentCard as FabricCard } from '../fabric/agent-card.ts';
import { firstTurn } from '../shared/first-turn.ts';
import { type MessageAnswer, readAnswer } from './approval-answer.ts';
import { historyOf, MESSAGE_ID, type TaskIds, taskOf, turnUpdates } from './chat-task.ts';
import { listTurns } from './chat-task-list.ts';
import { taskNotFound } from './errors.ts';
import { messageKey } from './message-key.ts';
import { textOf } from './parts.ts';
import {
  type Message,
  RequestMalformedError,
  type Task,
  TaskNotCancelableError,
  UnsupportedOperationError,
} from './sdk.ts';
import { type TurnRef, taskIdOf, turnRefOf } from './task-id.ts';
import type { FollowedTask, TaskPage, TaskQuery, TaskSource, TaskSourceDeps } from './task-source.ts';

/** First and longest pause between two checks for an accepted turn, in ms. */
const ACCEPT_POLL_MS = 5;
const MAX_ACCEPT_POLL_MS = 250;
const CONTROL_TIMEOUT_MS = 10_000;
/** Events that are read for the history of a task: its message and, as a rule, its questions and answers. */
const HISTORY_EVENTS = 100;
const MAX_PAGE_EVENTS = 500;

/** The message of a new turn. */
interface SentText {
  readonly text: string;
  readonly messageId: string;
}

export class ChatTasks implements TaskSource {
  readonly push = undefined;
  readonly #deps: TaskSourceDeps;
  readonly #conversations: Conversations;

  constructor(deps: TaskSourceDeps) {
    this.#deps = deps;
    this.#conversations = deps.client.conversations(deps.agent.address);
  }

  async send(message: Message): Promise<FollowedTask> {
    if (message.taskId !== '') return this.#continue(message);
    const text = textOf(message.parts);
    const { principal, agent } = this.#deps;
    // Without reports, the turn would run but its task could not be read.
    if (!agent.operations.some(({ name }) => name === 'get_turn'))
      throw new UnsupportedOperationError(
        'The agent cannot report its turns. Agents of Fame Fabric 0.2 and later can.',
      );
    const key = `a2a-${messageKey({ principal, agent: agent.address }, message)}`;
    const ref = { conversation: message.contextId === '' ? key : message.contextId, turn: key };
    return this.#followed(ref, await this.#start(ref, { text, messageId: message.messageId }));
  }

  async get(id: string): Promise<Task> {
    return this.#task(...(await this.#find(id)));
  }

  outcome(id: string): Promise<Task> {
    return this.get(id);
  }

  async follow(id: string): Promise<FollowedTask> {
    return this.#followed(...(await this.#find(id)));
  }

  async cancel(id: string): Promise<Task> {
    const [ref, { state }] = await this.#find(id);
    if (isOpen(state)) {
      const params = { conversation_id: ref.conversation, turn_id: ref.turn };
      const options = { timeoutMs: CONTROL_TIMEOUT_MS, resend: true };
      await this.#deps.client.call(this.#deps.agent.address, 'cancel_turn', params, options);
      const report = await this.#report(ref);
      if (report.state === 'cancelled') return this.#task(ref, report);
    }
    throw new TaskNotCancelableError({
      message: 'The task has ended.',
      metadata: { taskId: id.slice(0, 64) },
    });
  }

  list(query: TaskQuery): Promise<TaskPage> {
    return listTurns(this.#conversations, query, (ref, report) => this.#task(ref, report));
  }

  /** Sends the answer of a person to a task that waits for one. */
  async #continue({ taskId, contextId, parts }: Message): Promise<FollowedTask> {
    const answer = readAnswer(parts);
    const [ref, report] = await this.#find(taskId);
    if (contextId !== '' && contextId !== ref.conversation)
      throw new RequestMalformedError('message.contextId: the task belongs to another context');
    const { state, approvals = [] } = report;
    if (state !== 'input-required') {
      if (answer && (await this.#isLastAnswer(ref, report, answer))) return this.#followed(ref, report);
      throw new UnsupportedOperationError(
        `The task is ${state}, so it takes no message. Send a message without taskId to start another task in the context.`,
      );
    }
    if (!answer)
      throw new RequestMalformedError(
        'message.parts: the task waits for an answer: a text that begins with yes or no, or the data {"approve": true}',
      );
    const open = approvals.filter(({ call_id }) => (answer.callId ?? call_id) === call_id);
    if (open.length === 0) throw new RequestMalformedError('message.parts: callId names no open question');
    for (const { call_id } of open)
      await this.#conversations.answerApproval(ref.conversation, call_id, {
        approve: answer.approve,
        note: answer.note,
      });
    return this.#followed(ref, await this.#report(ref));
  }

  /** True if a repeated message has the last answer that the task received. */
  async #isLastAnswer(ref: TurnRef, report: TurnReport, { approve, note }: MessageAnswer): Promise<boolean> {
    const events = await this.#eventsOf(ref, report);
    const last = events.findLast(({ type }) => type === 'approval_answer');
    return last?.type === 'approval_answer' && last.approve === approve && last.note === note;
  }

  /**
   * Starts or joins a turn. Returns its report once the agent has accepted it. The turn then continues without this caller. A
   * conversation that does not exist is started: a client may choose the id of a context.
   * @throws the error of a turn that was not accepted
   */
  async #start(ref: TurnRef, { text, messageId }: SentText): Promise<TurnReport> {
    const { client, agent, clock, signal } = this.#deps;
    const leave = new AbortController();
    const conversation = client.conversation(agent.address, { id: ref.conversation, isResumed: true });
    const options: TurnOptions = {
      turnId: ref.turn,
      options: takesMetadata(agent) ? { metadata: { [MESSAGE_ID]: messageId } } : undefined,
      onLeave: 'continue',
      signal: AbortSignal.any([signal, leave.signal]),
    };
    const turn = firstTurn(
      () => conversation.stream(text, options),
      () => client.conversation(agent.address, { id: ref.conversation }).start(),
    );
    let failure: { error: unknown } | undefined;
    const first = turn.next().catch((error: unknown) => {
      failure = { error };
    });
    try {
      for (let ms = ACCEPT_POLL_MS; ; ms = Math.min(2 * ms, MAX_ACCEPT_POLL_MS)) {
        await Promise.race([first, pause(clock, ms)]);
        const report = await this.#lookUp(ref);
        if (report) return report;
        if (failure) throw failure.error;
      }
    } finally {
      leave.abort();
      void turn.return();
    }
  }

  async #find(id: string): Promise<[TurnRef, TurnReport]> {
    const ref = turnRefOf(this.#deps.agent.address, id);
    const report = ref && (await this.#lookUp(ref));
    if (!report) throw taskNotFound(id);
    return [ref, report];
  }

  async #report(ref: TurnRef): Promise<TurnReport> {
    const report = await this.#lookUp(ref);
    if (!report) throw taskNotFound(taskIdOf(this.#deps.agent.address, ref));
    return report;
  }

  /** Returns the report of a turn with its whole text. Undefined if the turn does not exist or belongs to another caller. */
  async #lookUp(ref: TurnRef): Promise<TurnReport | undefined> {
    try {
      const report = await this.#conversations.turn(ref.conversation, ref.turn);
      return report.is_cut ? { ...report, text: await this.#wholeText(ref, report) } : report;
    } catch (error) {
      if (isFabricError(error, 'CONVERSATION_UNKNOWN') || isFabricError(error, 'TURN_UNKNOWN'))
        return undefined;
      throw error;
    }
  }

  /** Reads the whole text of a turn whose text does not fit in a report. */
  async #wholeText(ref: TurnRef, report: TurnReport): Promise<string> {
    let text = '';
    for (let after = startOf(report); ; ) {
      const page = await this.#conversations.readEvents(ref.conversation, { after, limit: MAX_PAGE_EVENTS });
      for (const event of page.events) {
        if (!('turn_id' in event) || event.turn_id !== ref.turn) continue;
        if (event.type === 'text') text += event.text;
        else if (event.type === 'restart') text = text.slice(0, event.keep);
      }
      if (page.events.length === 0 || page.next >= (report.seq ?? 0)) return text;
      after = page.next;
    }
  }

  async #eventsOf(ref: TurnRef, report: TurnReport): Promise<ConversationEvent[]> {
    const page = { after: startOf(report), limit: HISTORY_EVENTS };
    return (await this.#conversations.readEvents(ref.conversation, page)).events;
  }

  async #task(ref: TurnRef, report: TurnReport): Promise<Task> {
    const ids = this.#idsOf(ref);
    return taskOf(ids, report, historyOf(ids, ref.turn, await this.#eventsOf(ref, report)));
  }

  async #followed(ref: TurnRef, report: TurnReport): Promise<FollowedTask> {
    const { text, seq = 0, approvals = [] } = report;
    const view = { turnId: ref.turn, text, approvals };
    const { signal } = this.#deps;
    const events = () =>
      this.#conversations.follow(ref.conversation, { after: seq, hasAnswered: true, signal });
    return {
      task: await this.#task(ref, report),
      updates: () => turnUpdates(this.#idsOf(ref), view, events()),
    };
  }

  #idsOf(ref: TurnRef): TaskIds {
    return { taskId: taskIdOf(this.#deps.agent.address, ref), contextId: ref.conversation };
  }
}

/** True if the turns of the agent take labels, which they do since 0.2. */
const takesMetadata = ({ raw: { options } }: FabricCard): boolean =>
  Array.isArray(options) && options.includes('metadata');

const isOpen = (state: TurnReport['state']): boolean => state === 'open' || state === 'input-required';

/** The cursor before the first event of a turn. */
const startOf = ({ accepted_seq = 1 }: TurnReport): number => accepted_seq - 1;
