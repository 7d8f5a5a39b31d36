// Runs one turn for a tool call. The call reports progress while the reply streams, and ends with the reply, with a question to a person, or
// as a task. The turn runs at the agent: another call with its turn id joins it.
import {
  type Client,
  type Conversation,
  type Conversations,
  type DoneEvent,
  isUndecided,
  type PendingApproval,
  type TurnOptions,
  type TurnReport,
} from '@fame-fabric/client';
import { type Clock, FabricError, isFabricError } from '@fame-fabric/shared';
import { pause } from '@fame-fabric/shared/internal';
import type { AgentCard } from '../fabric/agent-card.ts';
import { firstTurn, refusesUnknown } from '../shared/first-turn.ts';
import { answerOf, formsOf } from './approvals.ts';
import { encodeTask, encodeTurnState, type TurnIds } from './ids.ts';
import type { ProgressReporter } from './progress.ts';
import { errorResult } from './results.ts';
import type { CreateTaskResult, ToolReply } from './sdk.ts';
import { taskOf } from './task-view.ts';
import { doneResult, metaOf, waitingResult } from './turn-result.ts';

/** A turn to start or to join. */
export interface TurnRequest extends TurnIds {
  readonly message: string;
  /** True if the conversation may have to be started. */
  readonly isFirst: boolean;
  /** The agent of the turn. */
  readonly card: AgentCard;
  readonly options?: Pick<TurnOptions, 'options' | 'toolResults' | 'retryKey' | 'retryCount'> | undefined;
}

/** The client's side of one call. */
export interface TurnCaller {
  readonly client: Client;
  readonly clock: Clock;
  /** Aborts when the client cancels the call. */
  readonly signal: AbortSignal;
  readonly progress: ProgressReporter | undefined;
  /** True if the client shows forms. */
  readonly canElicit: boolean;
  /** True if the client polls tasks. */
  readonly canPoll: boolean;
  /** Responses to forms, by the id of the tool call that needs approval. */
  readonly responses?: Readonly<Record<string, unknown>> | undefined;
  /** Returns the name of the tool that answers approvals. */
  answerTool(): Promise<string>;
}

/** Time after which the call of a client that polls becomes a task, in ms. Shorter turns return their result directly. */
const TASK_AFTER_MS = 500;

type TurnEnd =
  | { kind: 'done'; done: DoneEvent }
  | { kind: 'waiting'; approvals: readonly PendingApproval[] }
  | { kind: 'task'; report: TurnReport };

/** Runs or joins a turn. Errors of the turn are results; nothing is thrown but the reason of an abort. */
export async function callTurn(request: TurnRequest, caller: TurnCaller): Promise<ToolReply> {
  const conversation = caller.client.conversation(request.address, {
    id: request.conversationId,
    isResumed: true,
  });
  const conversations = caller.client.conversations(request.address);
  try {
    if (caller.responses) await answerForms(conversation, caller.responses);
    const end = await endOf(request, caller, conversation, conversations);
    if (end.kind === 'done') return doneResult(request, end.done);
    if (end.kind === 'task') return createdTask(request, end.report, caller.canElicit);
    return caller.canElicit
      ? {
          resultType: 'input_required',
          inputRequests: formsOf(end.approvals),
          requestState: encodeTurnState(request),
        }
      : waitingResult(request, end.approvals, await caller.answerTool());
  } catch (error) {
    if (caller.signal.aborted) throw error;
    return errorResult(error, metaOf(request), hintOf(error, request));
  }
}

async function endOf(
  request: TurnRequest,
  caller: TurnCaller,
  conversation: Conversation,
  conversations: Conversations,
): Promise<TurnEnd> {
  const leave = new AbortController();
  const onCancel = (): void => leave.abort(caller.signal.reason);
  caller.signal.addEventListener('abort', onCancel, { once: true });
  try {
    caller.signal.throwIfAborted();
    const reading = readTurn(request, caller, conversation, conversations, leave.signal);
    if (!caller.canPoll) return await reading;
    const end = await Promise.race([reading, taskAfter(request, caller, conversations, leave.signal)]);
    if (end.kind === 'task') reading.catch(() => {}); // it ends with the abort below
    return end;
  } catch (error) {
    // The client has cancelled the call and ignores the outcome.
    if (caller.signal.aborted) await conversation.cancel(request.turnId).catch(() => {});
    throw error;
  } finally {
    caller.signal.removeEventListener('abort', onCancel);
    leave.abort(new FabricError('CALL_CANCELLED', 'The call of the tool has ended'));
  }
}

async function readTurn(
  { message, turnId, options, isFirst, card }: TurnRequest,
  { client, progress }: TurnCaller,
  conversation: Conversation,
  conversations: Conversations,
  signal: AbortSignal,
): Promise<TurnEnd> {
  let done: DoneEvent = { type: 'done', text: '' };
  const turn: TurnOptions = { ...options, turnId, signal, onLeave: 'continue' };
  const fresh = client.conversation(card.address, { id: conversation.id });
  if (isFirst && !refusesUnknown(card)) await unlessExists(fresh.start());
  const events = isFirst
    ? firstTurn(
        () => conversation.stream(message, turn),
        () => fresh.start(),
      )
    : conversation.stream(message, turn);
  for await (const event of events) {
    if (event.type === 'done') done = event;
    else if (event.type === 'text') progress?.text(event.text);
    else if (event.type === 'tool_call') progress?.note(`Calls ${event.name ?? 'a tool'}`);
    else if (event.type === 'restart') progress?.note('The reply starts again.');
    else if (event.type === 'approval') {
      // A joined turn repeats approvals that were answered before.
      const { approvals = [] } = await conversations.turn(conversation.id, turnId);
      if (approvals.length > 0) return { kind: 'waiting', approvals };
    }
  }
  return { kind: 'done', done };
}

/** An earlier call with the same key may have started it. */
async function unlessExists(starting: Promise<void>): Promise<void> {
  try {
    await starting;
  } catch (error) {
    if (!isFabricError(error, 'CONVERSATION_EXISTS')) throw error;
  }
}

/** Resolves when the call should become a task: the turn is in the journal and not short. Never resolves for agents without reports. */
async function taskAfter(
  { conversationId, turnId }: TurnRequest,
  { clock }: TurnCaller,
  conversations: Conversations,
  signal: AbortSignal,
): Promise<TurnEnd> {
  for (;;) {
    await pause(clock, TASK_AFTER_MS, signal);
    try {
      return { kind: 'task', report: await conversations.turn(conversationId, turnId) };
    } catch (error) {
      if (isFabricError(error, 'METHOD_NOT_FOUND')) return new Promise(() => {});
    }
  }
}

/** Forwards the answers of the person. An answer has no effect if its question was answered before or does not exist. */
export async function answerForms(
  conversation: Pick<Conversation, 'answerApproval'>,
  responses: Readonly<Record<string, unknown>>,
): Promise<void> {
  for (const [callId, response] of Object.entries(responses)) {
    const answer = answerOf(response);
    if (!answer) continue;
    try {
      await conversation.answerApproval(callId, answer);
    } catch (error) {
      if (!isFabricError(error, 'APPROVAL_UNKNOWN') && !isFabricError(error, 'APPROVAL_ANSWERED'))
        throw error;
    }
  }
}

const createdTask = (ids: TurnIds, report: TurnReport, canElicit: boolean): CreateTaskResult => {
  const {
    inputRequests: _,
    result: __,
    ...task
  } = taskOf(encodeTask({ ...ids, createdAt: report.accepted_at }), ids, report, canElicit);
  return { resultType: 'task', ...task };
};

const hintOf = (error: unknown, { turnId, conversationId }: TurnRequest): string | undefined =>
  isUndecided(error)
    ? `The turn may still run: call this tool again with conversation_id ${conversationId} and turn_id ${turnId}.`
    : undefined;
