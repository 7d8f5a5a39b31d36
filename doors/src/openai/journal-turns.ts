// The turns of a conversation, read from the agent's journal to find the place of a new message.
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

/** A question with its turns: its own turn, and the turns that brought results of calls. */
export interface Question extends KnownQuestion {
  answer: string | undefined;
  /** Empty for a question from the messages that the conversation started with. */
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
/** Maximum number of turns that are kept in memory. */
const MAX_KEPT_TURNS = 50_000;

export interface JournalRequest {
  readonly client: Client;
  /** Distinguishes callers. */
  readonly principal: string;
  readonly address: string;
  /** Id of the conversation. */
  readonly id: string;
}

/** Cached turns of one journal. */
interface Read {
  turns: TurnsReader;
  /** The last event that is not text. The next read begins with it, to check that the journal is still the same. */
  last: Pick<ConversationEvent, 'seq' | 'at'> | undefined;
  /** Resolves when the journal is not being read. */
  idle: Promise<unknown>;
}

/** Reads journals. Caches the turns of the latest ones, so that a long conversation is not read again for each message. */
export class JournalTurns {
  /** By caller and conversation; the least recently used one first. */
  readonly #reads = new Map<string, Read>();
  readonly #maxTurns: number;

  constructor(maxTurns = MAX_KEPT_TURNS) {
    this.#maxTurns = maxTurns;
  }

  /** Reads the turns of a conversation; undefined if the caller has none with that id. */
  async read(request: JournalRequest): Promise<ConversationTurns | undefined> {
    const { principal, address, id } = request;
    const key = JSON.stringify([principal, address, id]);
    const read = this.#reads.get(key) ?? {
      turns: new TurnsReader(id),
      last: undefined,
      idle: Promise.resolve(),
    };
    this.#reads.delete(key);
    this.#reads.set(key, read);
    const reading = read.idle.then(() => readOn(read, request));
    read.idle = reading.catch(() => {});
    try {
      await reading;
      return read.turns.result();
    } catch (error) {
      if (this.#reads.get(key) === read) this.#reads.delete(key);
      if (isFabricError(error, 'CONVERSATION_UNKNOWN')) return undefined;
      throw error;
    } finally {
      this.#evict();
    }
  }

  #evict(): void {
    let turns = 0;
    for (const { turns: kept } of this.#reads.values()) turns += kept.count + 1;
    for (const [key, { turns: kept }] of this.#reads) {
      if (turns <= this.#maxTurns) return;
      this.#reads.delete(key);
      turns -= kept.count + 1;
    }
  }
}

/** Reads the events since the last read. */
async function readOn(read: Read, { client, address, id }: JournalRequest): Promise<void> {
  const conversations = client.conversations(address);
  let after = read.last ? Math.max(0, read.last.seq - 1) : 0;
  for (let known = read.last; ; known = undefined) {
    const page = await conversations.readEvents(id, { after, limit: PAGE });
    let { events } = page;
    if (known) {
      const [first] = events;
      if (first?.seq !== known.seq || first.at !== known.at) {
        // The conversation was removed, and its id was used again.
        read.turns = new TurnsReader(id);
        read.last = undefined;
        after = 0;
        continue;
      }
      events = events.slice(1);
    }
    for (const event of events) {
      read.turns.add(event);
      if (event.type !== 'text') read.last = event;
    }
    if (page.events.length === 0 || page.next <= after) return;
    after = page.next;
  }
}

class TurnsReader {
  readonly #id: string;
  readonly #lead: JournalTurn[] = [];
  readonly #questions: Question[] = [];
  readonly #turns = new Map<string, { turn: JournalTurn; question: Question | undefined }>();
  #forkedFrom: ForkOrigin | undefined;
  #hasSentHistory = false;

  constructor(id: string) {
    this.#id = id;
  }

  add(event: ConversationEvent): void {
    switch (event.type) {
      case 'started':
        this.#forkedFrom = event.forked_from;
        // A fork continues the questions of its origin, which the caller has already matched.
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

  /** Number of turns and questions. */
  get count(): number {
    return this.#turns.size + this.#questions.length;
  }

  /** A copy, because later events change the turns. */
  result(): ConversationTurns {
    const copies = (turns: readonly JournalTurn[]) => turns.map((turn) => ({ ...turn }));
    const questions = this.#questions.map((one) => ({ ...one, turns: copies(one.turns) }));
    const lead = copies(this.#lead);
    return {
      id: this.#id,
      forkedFrom: this.#forkedFrom,
      lead,
      questions,
      last: questions.findLast(({ turns }) => turns.length > 0)?.turns.at(-1) ?? lead.at(-1),
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
