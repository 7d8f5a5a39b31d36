// The turns of a conversation, as far as they matter for the place of a new message. Read from the agent's journal.
import type { Client, ConversationEvent, ForkOrigin, ModelMessage } from '@fame-fabric/client';
import { isFabricError } from '@fame-fabric/shared';
import { readTurnId, type TurnName } from '../shared/retry-key.ts';
import { comparable, type KnownQuestion } from './history-match.ts';

export interface JournalTurn {
  readonly id: string;
  /** The parts of an id that this door made. */
  readonly name: TurnName | undefined;
  isOpen: boolean;
  /** Ids of the calls that the turn handed to its caller. */
  calls: readonly string[];
}

/** A question, and the turns that it led to: its own one, and those that brought results of calls. */
export interface Question extends KnownQuestion {
  answer: string | undefined;
  /** Empty for a question of the messages that the conversation started with. */
  readonly turns: JournalTurn[];
}

export interface ConversationTurns {
  readonly id: string;
  readonly forkedFrom: ForkOrigin | undefined;
  /** The turns before the first question: those that brought results of calls of the origin. */
  readonly lead: readonly JournalTurn[];
  readonly questions: readonly Question[];
  /** The last turn. */
  readonly last: JournalTurn | undefined;
  /** True if a request of this conversation brought a history. */
  readonly hasSentHistory: boolean;
}

/** Events in one page. */
const PAGE = 500;

/** Reads the turns of a conversation; undefined if the caller has none with that id. */
export async function readTurns(
  client: Client,
  address: string,
  id: string,
): Promise<ConversationTurns | undefined> {
  const conversations = client.conversations(address);
  const turns = new TurnsReader(id);
  let after = 0;
  for (;;) {
    try {
      const { events, next } = await conversations.readEvents(id, { after, limit: PAGE });
      for (const event of events) turns.add(event);
      if (events.length === 0 || next <= after) return turns.result();
      after = next;
    } catch (error) {
      if (isFabricError(error, 'CONVERSATION_UNKNOWN')) return undefined;
      throw error;
    }
  }
}

class TurnsReader {
  readonly #id: string;
  readonly #lead: JournalTurn[] = [];
  readonly #questions: Question[] = [];
  readonly #turns = new Map<string, { turn: JournalTurn; question: Question | undefined }>();
  #forkedFrom: ForkOrigin | undefined;
  #last: JournalTurn | undefined;
  #hasSentHistory = false;

  constructor(id: string) {
    this.#id = id;
  }

  add(event: ConversationEvent): void {
    switch (event.type) {
      case 'started':
        this.#forkedFrom = event.forked_from;
        // A fork continues the questions of its origin, which the caller has matched already.
        if (!event.forked_from) this.#addMessages(event.messages ?? []);
        return;
      case 'turn':
        this.#addTurn(event.turn_id, event.user_message);
        return;
      case 'done':
        this.#end(
          event.turn_id,
          event.text,
          event.tool_calls?.map(({ id }) => id),
        );
        return;
      case 'error':
        this.#end(event.turn_id, event.text ?? '');
        return;
    }
  }

  result(): ConversationTurns {
    return {
      id: this.#id,
      forkedFrom: this.#forkedFrom,
      lead: this.#lead,
      questions: this.#questions,
      last: this.#last,
      hasSentHistory: this.#hasSentHistory,
    };
  }

  #addMessages(messages: readonly ModelMessage[]): void {
    if (messages.length > 0) this.#hasSentHistory = true;
    for (const message of messages) {
      if (message.role === 'user') {
        this.#questions.push({ text: comparable(message.content), answer: undefined, turns: [] });
      } else if (message.role === 'assistant' && message.content) {
        const question = this.#questions.at(-1);
        if (question) question.answer = comparable(message.content);
      }
    }
  }

  #addTurn(id: string, text: string): void {
    const name = readTurnId(id);
    const turn: JournalTurn = { id, name, isOpen: true, calls: [] };
    let question = this.#questions.at(-1);
    if (text.trim() !== '') {
      question = { text: comparable(text), answer: undefined, turns: [] };
      this.#questions.push(question);
    }
    (question?.turns ?? this.#lead).push(turn);
    this.#turns.set(id, { turn, question });
    this.#last = turn;
    this.#hasSentHistory ||= name?.hasHistory === true;
  }

  #end(id: string, text: string, calls: readonly string[] = []): void {
    const found = this.#turns.get(id);
    if (!found) return;
    found.turn.isOpen = false;
    found.turn.calls = calls;
    if (text !== '' && found.question) found.question.answer = comparable(text);
  }
}
