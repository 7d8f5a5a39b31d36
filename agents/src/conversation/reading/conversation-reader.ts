// Reads the conversations of an agent from its store: records, histories, events, reports and prompts. It acquires none of them.
// Its ids are those of the store; reports have the public id.
import { type Clock, FabricError } from '@fame-fabric/shared';
import type { ModelMessage } from '../../model/model.ts';
import type {
  ConversationRecord,
  ConversationStore,
  FindOptions,
  FoundPage,
  JournalEvent,
  Peek,
  TurnRecord,
} from '../../store/store.ts';
import type { TurnRunner } from '../../turn/turn.ts';
import { historyOf, type Totals } from '../loaded-conversation.ts';
import { type LoadedConversations, unknownConversation, unknownTurn } from '../loaded-conversations.ts';
import { ConversationFollower, type EventPage, readPage } from './conversation-follower.ts';
import { type PromptReport, promptOf } from './prompt-replay.ts';
import type { RecordedEvent } from './recorded-event.ts';
import { type TurnReport, turnReport } from './turn-report.ts';

/** View of a conversation for its callers. */
export interface ConversationView
  extends Pick<ConversationRecord, 'id' | 'publicId' | 'state' | 'changedAt' | 'turns'> {
  readonly totals: Totals;
}

export interface ReaderDeps {
  readonly store: ConversationStore;
  /** Address of the agent. Conversations of others are unknown. */
  readonly agent: string;
  readonly runner: TurnRunner;
  readonly conversations: LoadedConversations;
  readonly clock: Clock;
  readonly maxWindowTokens: number | undefined;
  /** Aborts when the agent begins to stop. */
  readonly stopping: AbortSignal;
  /** True if other replicas write conversations of the agent. */
  readonly isShared: boolean;
  /** @throws {NODE_GONE} after the agent has stopped */
  checkOpen(): void;
}

export class ConversationReader {
  readonly #deps: ReaderDeps;

  constructor(deps: ReaderDeps) {
    this.#deps = deps;
  }

  /** Returns the state of a conversation and of one of its turns. @throws {CONVERSATION_UNKNOWN} */
  async peek(id: string, turnId?: string): Promise<Peek> {
    const { store, agent, checkOpen } = this.#deps;
    checkOpen();
    mustBeText(id, turnId ?? '');
    const peek = await store.peek(id, turnId);
    if (peek?.agent !== agent) throw unknownConversation();
    return peek;
  }

  /** Returns a conversation, also one that has ended. @throws {CONVERSATION_UNKNOWN} */
  async get(id: string): Promise<ConversationView> {
    return viewOf(await this.record(id));
  }

  /** Returns the record of a conversation. @throws {CONVERSATION_UNKNOWN} */
  async record(id: string): Promise<ConversationRecord> {
    const { store, agent, checkOpen } = this.#deps;
    checkOpen();
    mustBeText(id);
    const record = await store.record(id);
    if (record?.agent !== agent) throw unknownConversation();
    return record;
  }

  /** Finds conversations of the agent, latest change first, without ephemeral ones. */
  async find(options: Omit<FindOptions, 'agent'>): Promise<FoundPage> {
    const { store, agent, checkOpen } = this.#deps;
    checkOpen();
    return store.find({ ...options, agent });
  }

  /** The history as the model sees it, oldest first, without the system message. @throws {CONVERSATION_UNKNOWN} */
  async messages(id: string): Promise<ModelMessage[]> {
    await this.peek(id);
    const started = await this.#started(id);
    return historyOf(started, await this.#deps.store.history(id)).messages;
  }

  /** Returns a page of events. @throws {CONVERSATION_UNKNOWN} */
  async events(id: string, page: { after: number; limit: number; maxBytes: number }): Promise<EventPage> {
    this.#deps.checkOpen();
    mustBeText(id);
    return readPage(this.#deps, id, page);
  }

  /** Yields the events after a cursor, past and future. @throws {CONVERSATION_UNKNOWN | READER_TOO_SLOW | NODE_GONE} */
  follow(id: string, after: number, signal: AbortSignal): AsyncGenerator<RecordedEvent, void> {
    this.#deps.checkOpen();
    mustBeText(id);
    return new ConversationFollower(this.#deps, id, after, signal).events();
  }

  /** Returns the report of a turn. @throws {CONVERSATION_UNKNOWN | TURN_UNKNOWN} */
  async report(id: string, turnId: string): Promise<TurnReport> {
    const { turn, publicId } = await this.peek(id, turnId);
    if (!turn) throw unknownTurn();
    return turnReport(publicId, await this.eventsOf(id, turn));
  }

  /**
   * Rebuilds the messages that a model received in one step of a turn.
   * @throws {CONVERSATION_UNKNOWN | TURN_UNKNOWN} @throws {PARAMS_INVALID} with the number of steps if there is no such step
   */
  async prompt(id: string, turnId: string, step: number, signal: AbortSignal): Promise<PromptReport> {
    const { store, runner, maxWindowTokens } = this.#deps;
    const { turn, publicId } = await this.peek(id, turnId);
    if (!turn) throw unknownTurn();
    const [started, events] = await Promise.all([this.#started(id), this.eventsOf(id, turn)]);
    const until = events.find(({ kind }) => kind === 'model_called')?.seq ?? 0;
    const history = await store.history(id, { until });
    const options = { runner, maxWindowTokens, signal };
    return promptOf({ conversationId: publicId, started, history, events }, step, options);
  }

  /** Returns all events of a turn. @throws {CONVERSATION_UNKNOWN} */
  async eventsOf(
    id: string,
    { turnId, acceptedSeq, endedSeq }: TurnRecord,
  ): Promise<readonly JournalEvent[]> {
    const events: JournalEvent[] = [];
    // An open turn ends, if at all, with the conversation.
    const until = endedSeq || undefined;
    for (let after = acceptedSeq - 1; ; after = events.at(-1)!.seq) {
      const page = await this.#deps.store.read(id, { turnId, after, until, limit: 500 });
      events.push(...page);
      if (page.length < 500) break;
    }
    if (events.length === 0) throw unknownConversation();
    return events;
  }

  async #started(id: string): Promise<JournalEvent> {
    const [started] = await this.#deps.store.read(id, { limit: 1 });
    if (!started) throw unknownConversation();
    return started;
  }
}

/** @throws {PARAMS_INVALID} for a lone surrogate: it becomes another character in a UTF-8 store, which would change the id */
export function mustBeText(...ids: string[]): void {
  if (ids.every((id) => id.isWellFormed())) return;
  throw new FabricError('PARAMS_INVALID', 'An id of a conversation or a turn is not well-formed text.');
}

export const viewOf = (record: ConversationRecord): ConversationView => ({
  id: record.id,
  publicId: record.publicId,
  state: record.state,
  changedAt: record.changedAt,
  turns: record.turns,
  totals: record.totals as unknown as Totals,
});
