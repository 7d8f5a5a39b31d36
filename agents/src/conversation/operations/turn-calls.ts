// Calls that run or follow a turn: the acceptance on behalf of a caller, and the cancellation when the caller leaves.
import { FabricError, isFabricError } from '@fame-fabric/shared';
import { isCancelledByCaller } from '../../agent/cancelled-by-caller.ts';
import { identifiedCaller } from '../../agent/identified-caller.ts';
import type { OperationContext } from '../../agent/operation.ts';
import type { ConversationHost } from '../host.ts';
import type { LiveTurn } from '../live-turn.ts';
import type { Answer } from '../requests.ts';
import type { TurnParams } from './turn-params.ts';

/** Accepts the turn of a call, or joins it, and acknowledges the request when the turn is in the journal. */
export async function acceptTurn(
  host: ConversationHost,
  params: TurnParams & Pick<Named, 'owner'>,
  context: OperationContext,
  { answer, after }: { answer?: Answer; after?: number | undefined } = {},
): Promise<LiveTurn> {
  const { callId, replyTo, isStream, traceId, ttl } = context;
  const { retry_key: key, retry_count: count } = params;
  const caller = await identifiedCaller(context);
  const { principal, limits } = caller;
  const turn = await host.turn({
    conversationId: await host.reach(caller, params.conversation_id, params.owner),
    principal,
    limits,
    userMessage: params.user_message,
    turnId: params.turn_id ?? callId,
    after,
    options: params.options,
    toolResults: params.tool_results,
    retry: key === undefined ? undefined : { principal, key, count },
    traceId,
    ttl,
    answerTo: { replyTo, callId, isStream, ...(answer ? { answer } : {}) },
  });
  context.acknowledge?.();
  return turn;
}

/** The conversation of a call, by its public id. */
export interface Named {
  conversation_id: string;
  owner?: string | undefined;
}

/** Returns the id in the store of the conversation that a call names. @throws {CONVERSATION_UNKNOWN} also for those of others */
export const reached = async (
  host: ConversationHost,
  { conversation_id, owner }: Named,
  context: Pick<OperationContext, 'caller'>,
): Promise<string> => host.reach(await identifiedCaller(context), conversation_id, owner);

/**
 * Counts the call among the followers of a turn until `stop`. A caller that cancels its call cancels the turn, unless another caller
 * follows it. A lost connection does not, because the caller may return for its answer. The end of this agent does not either: the
 * next process finishes the turn.
 */
export function onLeave(host: ConversationHost, turn: LiveTurn, signal: AbortSignal): { stop(): void } {
  turn.listeners += 1;
  let isListening = true;
  const stop = (): void => {
    if (isListening) turn.listeners -= 1;
    isListening = false;
    signal.removeEventListener('abort', left);
  };
  const left = (): void => {
    // A person may take longer to approve than a call may last.
    const hasTimedOut = isFabricError(signal.reason, 'CALL_TIMEOUT');
    const isCancelled = isCancelledByCaller(signal.reason) && !(hasTimedOut && turn.approvals.size > 0);
    stop();
    if (isCancelled && turn.listeners === 0)
      host.cancelTurn(turn.conversationId, turn.id).catch(() => undefined);
  };
  if (signal.aborted) left();
  else signal.addEventListener('abort', left, { once: true });
  return { stop };
}

/**
 * Waits for the outcome of a turn on behalf of a call.
 * @throws {STORE_CONFLICT} at a replica, if another one continues the turn
 */
export async function outcomeFor(host: ConversationHost, turn: LiveTurn, signal: AbortSignal) {
  const leaving = onLeave(host, turn, signal);
  try {
    const outcome = await turn.outcome;
    if (continuesElsewhere(host, turn)) throw movedTurn();
    return outcome;
  } finally {
    leaving.stop();
  }
}

/**
 * Checks an event of a turn before it is sent to a caller.
 * @throws {STORE_CONFLICT} at a replica, instead of the last event of a turn that another one continues
 */
export function checkNotMoved(
  host: ConversationHost,
  turn: LiveTurn,
  { type }: { readonly type: string },
): void {
  if (type === 'error' && continuesElsewhere(host, turn)) throw movedTurn();
}

/** A turn that a stopping replica releases continues elsewhere too, but this replica passes no more calls. */
const continuesElsewhere = ({ placement }: ConversationHost, turn: LiveTurn): boolean =>
  placement !== undefined && turn.isReleased && MOVES.has(codeOf(turn));

const codeOf = ({ outcomeHere }: LiveTurn): string =>
  outcomeHere === undefined || outcomeHere.state === 'completed' ? '' : outcomeHere.error.code;

/** Codes of turns that another process continues. A turn that the store did not take has the code of the store's error. */
const MOVES: ReadonlySet<string> = new Set(['STORE_CONFLICT', 'NODE_GONE']);

const movedTurn = (): FabricError =>
  new FabricError('STORE_CONFLICT', 'Another process continues the turn. Ask again with the same turn id.');

/** Form of the call ids of links. */
const LINK_CALL_ID = /^[0-9A-Za-z]{16}$/;

/**
 * True if a link of version 0.1.0 sends its call again after an earlier process died. It skips as many items as it has received, but
 * the items of this process are others. Its client then continues from its cursor with a new call.
 */
export const isRepeatedByLink = (
  turn: LiveTurn,
  { turn_id }: TurnParams,
  { callId }: OperationContext,
): boolean =>
  turn.streamCallId === callId && turn_id !== undefined && turn_id !== callId && LINK_CALL_ID.test(callId);

/** Error for a call that `isRepeatedByLink`. */
export const streamLost = (): FabricError =>
  new FabricError(
    'NODE_GONE',
    'The agent was restarted during the stream. Ask again with the last `seq` as `after`.',
  );
