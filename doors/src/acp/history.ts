// Converts the history of a conversation to updates of a session, for `session/load`. Text that a restart withdrew is left out.
import type { ApprovalEvent, ConversationEvent, Conversations } from '@fame-fabric/client';
import type { SessionUpdate } from './sdk.ts';
import { agentText, TurnUpdates } from './turn-updates.ts';

/** Maximum events of one request. */
const PAGE = 500;
/** Maximum updates of a history; the oldest are left out. */
const MAX_UPDATES = 20_000;

/** A turn that had not ended when its conversation was read. */
export interface OpenTurn {
  readonly turnId: string;
  /** Continues its updates. */
  readonly updates: TurnUpdates;
  /** Questions without an answer. */
  readonly approvals: readonly ApprovalEvent[];
}

export interface ConversationHistory {
  readonly updates: readonly SessionUpdate[];
  /** Cursor of the last event. */
  readonly after: number;
  readonly openTurn: OpenTurn | undefined;
}

/** Reads a conversation. @throws {CONVERSATION_UNKNOWN | ...} */
export async function readHistory(
  conversations: Pick<Conversations, 'readEvents'>,
  id: string,
): Promise<ConversationHistory> {
  const history = new History();
  let after = 0;
  for (;;) {
    const { events, next } = await conversations.readEvents(id, { after, limit: PAGE });
    for (const event of events) history.add(event);
    if (events.length === 0 || next <= after) return history.finish(after);
    after = next;
  }
}

class History {
  #updates: SessionUpdate[] = [];
  #turnId: string | undefined;
  /** Events of the turn that has not ended, without withdrawn text. */
  #events: ConversationEvent[] = [];
  readonly #approvals = new Map<string, ApprovalEvent>();

  add(event: ConversationEvent): void {
    if (event.type === 'started') {
      for (const [at, message] of (event.messages ?? []).entries()) {
        const { role, content } = message;
        if (role === 'user') this.#push(userText(content));
        else if (role === 'assistant' && content) this.#push(agentText(content, `started:${at}`));
      }
    } else if (event.type === 'turn') {
      this.#flush();
      this.#turnId = event.turn_id;
      if (event.user_message !== '') this.#push(userText(event.user_message));
    } else if (event.type === 'restart') this.#withdraw(event.keep);
    else if (event.type === 'done' || event.type === 'error') {
      this.#events.push(event);
      this.#flush();
    } else if (event.type !== 'ended') {
      if (event.type === 'approval') this.#approvals.set(event.id, event);
      if (event.type === 'approval_answer') this.#approvals.delete(event.id);
      this.#events.push(event);
    }
  }

  finish(after: number): ConversationHistory {
    const turnId = this.#turnId;
    const approvals = [...this.#approvals.values()];
    const updates = this.#flush();
    const openTurn = turnId === undefined || !updates ? undefined : { turnId, updates, approvals };
    return { updates: this.#updates, after, openTurn };
  }

  /** Leaves out all but the first `keep` characters of the text of the turn. */
  #withdraw(keep: number): void {
    let left = keep;
    this.#events = this.#events.flatMap((event): ConversationEvent[] => {
      if (event.type !== 'text') return [event];
      const text = event.text.slice(0, left);
      left -= text.length;
      return text === '' ? [] : [{ ...event, text }];
    });
  }

  /** Adds the events of the turn. Returns its `TurnUpdates`, for the events that follow. */
  #flush(): TurnUpdates | undefined {
    if (this.#turnId === undefined) return undefined;
    const updates = new TurnUpdates(this.#turnId);
    for (const event of this.#events) {
      for (const update of updates.of(event)) this.#push(update);
      if (event.type === 'error') this.#push(updates.note(endNote(event)));
    }
    this.#turnId = undefined;
    this.#events = [];
    this.#approvals.clear();
    return updates;
  }

  #push(update: SessionUpdate): void {
    this.#updates.push(update);
    if (this.#updates.length > 2 * MAX_UPDATES) this.#updates = this.#updates.slice(-MAX_UPDATES);
  }
}

const userText = (text: string): SessionUpdate => ({
  sessionUpdate: 'user_message_chunk',
  content: { type: 'text', text },
});

/** Describes the end of a turn that has no whole answer. */
export const endNote = ({ code, message }: { readonly code: string; readonly message: string }): string =>
  code === 'TURN_CANCELLED' ? '*(stopped)*' : `*(The turn failed: ${message} (${code}))*`;
