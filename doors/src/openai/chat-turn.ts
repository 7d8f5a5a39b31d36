// The turn of a Chat Completions request: the conversation that it belongs to, started or forked if necessary, and its events.
import type { Conversation, ModelOptions, TurnEvent, TurnOptions } from '@fame-fabric/client';
import { type Clock, FabricError, isFabricError, newId } from '@fame-fabric/shared';
import { pause } from '@fame-fabric/shared/internal';
import type { AgentCard } from '../fabric/agent-card.ts';
import type { Visitor } from '../fabric/door-fabric.ts';
import type { ConversationKey } from '../shared/conversation-key.ts';
import { firstTurn } from '../shared/first-turn.ts';
import { newTurnId, type Retry, readTurnId } from '../shared/retry-key.ts';
import { startMessages } from './chat-messages.ts';
import type { ChatRequest } from './chat-request.ts';
import { findPlace, keyConflict, type Place } from './find-place.ts';
import { joined } from './history-match.ts';
import type { JournalTurns } from './journal-turns.ts';
import { settledPast } from './settled-past.ts';

export interface TurnRequest {
  readonly visitor: Visitor;
  readonly agent: AgentCard;
  readonly chat: ChatRequest;
  readonly journal: JournalTurns;
  readonly clock: Clock;
  readonly retry: Retry;
  /** Undefined for a conversation that lasts for one request. */
  readonly key: ConversationKey | undefined;
  /** True if the answer to an earlier request with this key did not arrive. */
  readonly isLost: (retryKey: string) => boolean;
}

const START_TIMEOUT_MS = 30_000;
/** The largest window that an agent gives: a client that sends its history expects the model to receive it. */
const MAX_HISTORY_TURNS = 200;
const EPHEMERAL = 'once-';
/** Number of checks of a turn that is being cancelled, and the time between them, in ms. */
const MAX_LOOKS = 8;
const LOOK_MS = 250;

export class ChatTurn {
  readonly #request: TurnRequest;
  readonly #conversation: Conversation;
  readonly #place: Place;
  readonly #options: ModelOptions | undefined;
  readonly #isEphemeral: boolean;
  #turnId: string;
  #isDone = false;

  private constructor(request: TurnRequest, place: Place, turnId: string, isEphemeral: boolean) {
    const { visitor, agent } = request;
    this.#request = request;
    this.#place = place;
    this.#turnId = turnId;
    this.#isEphemeral = isEphemeral;
    this.#options = optionsFor(request);
    this.#conversation = visitor.client.conversation(agent.address, { id: place.id, isResumed: true });
  }

  /** Finds the place of a request, and forks the conversation, or starts one that lasts for one request. @throws the errors of `findPlace` and of the agent */
  static async open(request: TurnRequest): Promise<ChatTurn> {
    const { visitor, agent, chat, journal, retry, key, isLost } = request;
    const { client, principal } = visitor;
    const { address } = agent;
    const hasHistory = chat.messages.before.length > 0;
    const random = newId();
    const isKept = key !== undefined && hasJournal(agent);
    const place: Place = isKept
      ? await findPlace({
          read: (id) => journal.read({ client, principal, address, id }),
          key,
          sent: chat.messages,
          retry,
          isLost,
        })
      : { type: 'start', id: EPHEMERAL + random, text: joined(chat.messages.texts) };
    if (place.type === 'start' && !isKept) await start(request, place.id, true);
    if (place.type === 'fork') await fork(request, place);
    const turnId = place.type === 'join' ? place.turnId : newTurnId(retry, hasHistory, random);
    return new ChatTurn(request, place, turnId, !isKept);
  }

  /** Id of the turn that the request runs or has joined. */
  get turnId(): string {
    return this.#turnId;
  }

  get conversationId(): string {
    const name = readTurnId(this.#turnId);
    return this.#isEphemeral && name ? EPHEMERAL + name.random : this.#place.id;
  }

  /**
   * Yields the events of the turn. `signal` ends the reading, and cancels the turn if no other call follows it.
   * @throws {TURN_CONFLICT} if the request has the `Idempotency-Key` of another one; and the errors of the agent
   */
  async *events(signal: AbortSignal): AsyncGenerator<TurnEvent, void> {
    const { agent, chat, retry, isLost } = this.#request;
    const { results } = chat.messages;
    const count = isLost(retry.key) ? Math.max(1, retry.count) : retry.count;
    const isJoin = this.#place.type === 'join';
    const options: TurnOptions = {
      turnId: this.#turnId,
      options: this.#options,
      toolResults: results.length > 0 ? results : undefined,
      ...(isJoin || !hasJournal(agent) ? {} : { retryKey: retry.key, retryCount: count }),
      signal,
      onLeave: 'release',
    };
    const stream = () => this.#conversation.stream(this.#place.text, options);
    const isFirst = this.#place.type === 'start' && !this.#isEphemeral;
    const events = isFirst ? firstTurn(stream, () => start(this.#request, this.#place.id, false)) : stream();
    const isRepeated = (isJoin || count > 0) && hasJournal(agent);
    const known = isRepeated ? settledPast(events, (turnId) => this.#recorded(turnId)) : events;
    for await (const event of known) {
      this.#checkJoined((event as { turn_id?: unknown }).turn_id);
      this.#isDone ||= event.type === 'done';
      yield event;
    }
  }

  /** Cursor of the last event of the turn in the journal; 0 if the agent does not report turns. */
  async #recorded(turnId: string): Promise<number> {
    this.#checkJoined(turnId);
    const { visitor, agent } = this.#request;
    try {
      const { seq } = await visitor.client.conversations(agent.address).turn(this.conversationId, turnId);
      return seq ?? 0;
    } catch (error) {
      if (!isFabricError(error, 'METHOD_NOT_FOUND')) throw error;
      return 0;
    }
  }

  #checkJoined(turnId: unknown): void {
    if (typeof turnId !== 'string' || turnId === this.#turnId) return;
    const body = readTurnId(turnId)?.body;
    if (body !== undefined && body !== this.#request.retry.body) throw keyConflict();
    this.#turnId = turnId;
  }

  /** Cancels the turn. Resolves when it has ended. */
  cancel(): Promise<void> {
    return this.#conversation.cancel(this.#turnId);
  }

  /**
   * Ends a conversation that lasts for one request, and that of a turn that the request has joined. A turn that still runs is followed by
   * another request, which ends its conversation.
   */
  async end(): Promise<void> {
    if (!this.#isEphemeral) return;
    const { visitor, agent } = this.#request;
    if (await this.#hasEnded()) {
      await visitor.client.conversation(agent.address, { id: this.conversationId, isResumed: true }).end();
    }
    if (this.#place.id !== this.conversationId) await this.#conversation.end();
  }

  /** Waits briefly for the end of a turn that is being cancelled. */
  async #hasEnded(): Promise<boolean> {
    if (this.#isDone || !hasJournal(this.#request.agent)) return true;
    const { visitor, agent, clock } = this.#request;
    const conversations = visitor.client.conversations(agent.address);
    try {
      for (let looks = 0; looks < MAX_LOOKS; looks++) {
        const { state } = await conversations.turn(this.conversationId, this.#turnId);
        if (state !== 'open' && state !== 'input-required') return true;
        await pause(clock, LOOK_MS);
      }
    } catch (error) {
      if (!isFabricError(error, 'TURN_UNKNOWN')) throw error;
      return true; // the agent did not accept the turn
    }
    return false;
  }
}

async function start({ visitor, agent, chat }: TurnRequest, id: string, isEphemeral: boolean): Promise<void> {
  const { messages } = chat;
  const history = startMessages(messages);
  if (!hasJournal(agent)) {
    if (history.length > 0) {
      throw new FabricError(
        'OPERATION_UNSUPPORTED',
        `The agent ${agent.address} cannot start a conversation with earlier messages. Send one message of the user.`,
        { details: { param: 'messages' } },
      );
    }
    await visitor.client.conversation(agent.address, { id, systemPrompt: messages.systemPrompt }).start();
    return;
  }
  const params = {
    id,
    system_prompt: messages.systemPrompt,
    ...(history.length > 0 ? { messages: history } : {}),
    ...(isEphemeral ? { ephemeral: true, max_history_length: MAX_HISTORY_TURNS } : {}),
    turn_policy: 'reject',
  };
  const options = { timeoutMs: START_TIMEOUT_MS, resend: true };
  await unlessExists(visitor.client.call(agent.address, 'start_task', params, options));
}

async function fork(
  { visitor, agent }: TurnRequest,
  { id, from }: Extract<Place, { type: 'fork' }>,
): Promise<void> {
  const conversations = visitor.client.conversations(agent.address);
  await unlessExists(conversations.fork(from.conversation_id, { at: from.turn_id, id }));
}

/** Another request for the same place may start the conversation at the same time. */
async function unlessExists(starting: Promise<unknown>): Promise<void> {
  try {
    await starting;
  } catch (error) {
    if (!isFabricError(error, 'CONVERSATION_EXISTS')) throw error;
  }
}

const takenBy = ({ raw }: AgentCard): readonly unknown[] => (Array.isArray(raw.options) ? raw.options : []);

/** True if the agent takes retry keys and starts with messages, and its journal can be read. */
const hasJournal = ({ raw, operations }: AgentCard): boolean =>
  Array.isArray(raw.options) && operations.some(({ name }) => name === 'read_events');

/** The system prompt of a client may change, so it is an option of the turn if the agent supports that. */
function optionsFor({ agent, chat }: TurnRequest): ModelOptions | undefined {
  const { systemPrompt } = chat.messages;
  if (systemPrompt === undefined || !takenBy(agent).includes('instructions')) return chat.options;
  return { ...chat.options, instructions: systemPrompt };
}
