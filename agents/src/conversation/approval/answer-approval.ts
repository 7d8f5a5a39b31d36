// Records the answer of a person to a question of a turn. The turn continues by itself when the answer is durable.
import { FabricError } from '@fame-fabric/shared';
import { ANONYMOUS } from '@fame-fabric/shared/internal';
import type { ConversationRecord } from '../../store/store.ts';
import type { ApprovalAnswer } from '../../turn/approval.ts';
import type { LiveTurn } from '../live-turn.ts';
import type { Conversation, Totals } from '../loaded-conversation.ts';
import { type Approval, extendedUnit } from './approvals.ts';

export interface AnswerRequest extends ApprovalAnswer {
  readonly conversationId: string;
  /** Id of the question: `id` of the `approval` event. */
  readonly callId: string;
  /** Id of the principal that answers. */
  readonly principal: string;
}

/**
 * An approval runs a tool that its author does not want to run without one. So a share with every caller, and the id of a conversation
 * of version 0.1.0, do not include approvals. @throws {AUTH_FORBIDDEN}
 */
export function checkMayAnswer({ principal }: AnswerRequest, { principal: owner }: ConversationRecord): void {
  if (principal !== ANONYMOUS.id || principal === owner) return;
  throw new FabricError(
    'AUTH_FORBIDDEN',
    'The conversation belongs to a principal. A caller without a credential may not answer for it: attach with the local key, or with another credential.',
  );
}

/** Resolves when the answer is durable. @throws {APPROVAL_ANSWERED | APPROVAL_UNKNOWN} and errors of the store */
export async function recordAnswer(
  { journal, totals }: Conversation,
  turn: LiveTurn,
  request: AnswerRequest,
): Promise<void> {
  const { callId: id, approve, note, principal } = request;
  const { approvals } = turn;
  const { pending } = approvals;
  const question = pending.find(({ request: { id: asked } }) => asked === id);
  if (!question || turn.signal.aborted || turn.outcomeHere) {
    await checkRecordedAnswer(turn, request);
    return;
  }
  const answer = note === undefined ? { approve } : { approve, note };
  const written = journal.append(
    [{ kind: 'approval_answered', turnId: turn.id, body: { call_id: id, ...answer, principal } }],
    {
      ...(pending.length === 1 ? { state: 'working' } : {}),
      ...(approve && extend(totals, question) ? { totals: { ...totals } } : {}),
    },
  );
  approvals.answer(id, answer, written);
  await written;
}

/** Extends the limit of the conversation that the question is about. Returns false if it is about something else. */
function extend(totals: Totals, { request }: Approval): boolean {
  const unit = extendedUnit(request, 'conversation');
  if (!unit) return false;
  totals.extensions = { ...totals.extensions, [unit]: (totals.extensions?.[unit] ?? 0) + 1 };
  return true;
}

/**
 * Resolves when the answer that was given first is durable.
 * @throws {APPROVAL_ANSWERED} if it is another one @throws {APPROVAL_UNKNOWN} if there is none, and the turn no longer needs one
 */
export async function checkRecordedAnswer(
  { approvals }: LiveTurn,
  { callId, approve, note }: AnswerRequest,
): Promise<void> {
  const answered = approvals.get(callId)?.answered;
  if (!answered) throw unknownApproval();
  const { answer: first, written } = answered;
  if (first.approve !== approve || first.note !== note) {
    const done = first.approve ? 'approved' : 'refused';
    throw new FabricError('APPROVAL_ANSWERED', `The call was ${done} already.`);
  }
  await written;
}

export const unknownApproval = (): FabricError =>
  new FabricError('APPROVAL_UNKNOWN', 'The conversation has no call with that id that needs an answer.');
