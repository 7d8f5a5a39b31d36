// The connection of a store: connects, reads the events of the conversation from the last one on, and sends turns. Each of the three is
// repeated until it succeeds, another attempt would fail too, or the session stops.
import { type Client, type Conversation, isUndecided } from '@fame-fabric/client';
import { type Clock, FabricError, isFabricError } from '@fame-fabric/shared';
import { Backoff, onAbort, pause, untilAborted } from '@fame-fabric/shared/internal';
import type { Messages } from './messages.ts';

export interface SessionDeps {
  readonly connect: () => Promise<Client>;
  /** True if the client belongs to the caller, who closes it. */
  readonly isShared: boolean;
  readonly newConversation: (client: Client) => Conversation;
  readonly messages: Messages;
  readonly clock: Clock;
  /** Called after each change of the messages. */
  readonly onChange: () => void;
  readonly onStatus: (status: 'ready' | 'away' | 'failed', error?: unknown) => void;
}

/** A turn may wait for an approval, so its call lasts long. The agent has a time limit of its own. */
const TURN_TIMEOUT_MS = 86_400_000;
const RETRY = { minMs: 200, maxMs: 5_000 } as const;
const PAGE_EVENTS = 500;

/** The work of a store from its first listener to its last. */
export class Session {
  readonly #deps: SessionDeps;
  readonly #stopped = new AbortController();
  readonly #connected = Promise.withResolvers<{ client: Client; conversation: Conversation }>();
  /** Aborts when this page has started the conversation, which ends the pause before the next read. */
  readonly #started = new AbortController();
  #hasRead = false;

  constructor(deps: SessionDeps) {
    this.#deps = deps;
  }

  /** Connects, and reads until the conversation ends. Never rejects. */
  async run(): Promise<void> {
    const { connect, isShared, newConversation, onStatus } = this.#deps;
    const { signal } = this.#stopped;
    try {
      // A client of the caller has connected or failed for good.
      const client = isShared
        ? await untilAborted(connect(), signal)
        : await this.#repeat(() => this.#connect());
      const stopListening = client.onState((state) => {
        if (state === 'reconnecting') onStatus('away');
        if (state === 'attached' && this.#hasRead) onStatus('ready');
      });
      onAbort(signal, () => {
        stopListening();
        // Turns continue at the agent.
        if (!isShared) void client.close();
      });
      const conversation = newConversation(client);
      this.#connected.resolve({ client, conversation });
      await this.#repeat(() => this.#read(client, conversation), client);
    } catch (error) {
      if (!signal.aborted) onStatus('failed', error);
    }
  }

  /** Stops at once. Turns that the agent has accepted continue there. */
  stop(): void {
    this.#stopped.abort(new FabricError('LINK_CLOSED', 'The conversation is no longer shown'));
  }

  /** Waits for the connection. @throws the reason of `signal`, or LINK_CLOSED when the session stops */
  async conversation(signal?: AbortSignal): Promise<Conversation> {
    return (await untilAborted(this.#connected.promise, this.#signalWith(signal))).conversation;
  }

  /**
   * Sends a turn until the agent has accepted it. Its events report the rest.
   * @throws the error with which the agent refused it; the reason of `cancelled`; LINK_CLOSED when the session stops
   */
  async sendTurn(turnId: string, text: string, cancelled: AbortSignal): Promise<void> {
    const { messages, clock } = this.#deps;
    const signal = this.#signalWith(cancelled);
    const { client, conversation } = await untilAborted(this.#connected.promise, signal);
    const backoff = new Backoff(RETRY);
    for (;;) {
      try {
        if (messages.hasEnded) throw new FabricError('CONVERSATION_UNKNOWN', 'This conversation has ended');
        if (messages.cursor === 0) await untilAborted(startUnlessKnown(conversation), signal);
        this.#started.abort();
        const params = { conversation_id: conversation.id, user_message: text, turn_id: turnId };
        // A call that is cancelled cancels its turn, so only `cancelled` ends it.
        const options = { timeoutMs: TURN_TIMEOUT_MS, resend: true, signal: cancelled } as const;
        const turn = client.call(conversation.address, 'run_turn', params, options);
        await untilAborted(turn, this.#stopped.signal);
        return;
      } catch (error) {
        signal.throwIfAborted();
        if (messages.isAccepted(turnId)) return;
        if (!isTemporary(error, client)) throw error;
        await pause(clock, backoff.nextDelayMs(), signal);
      }
    }
  }

  #signalWith(signal: AbortSignal | undefined): AbortSignal {
    return signal ? AbortSignal.any([this.#stopped.signal, signal]) : this.#stopped.signal;
  }

  /** Repeats an attempt until it succeeds. @throws its error if another attempt would fail too */
  async #repeat<T>(attempt: () => Promise<T>, client?: Client): Promise<T> {
    const { clock, messages, onStatus } = this.#deps;
    const { signal } = this.#stopped;
    const backoff = new Backoff(RETRY);
    for (;;) {
      const { cursor } = messages;
      try {
        return await attempt();
      } catch (error) {
        signal.throwIfAborted();
        if (isFabricError(error, 'CONVERSATION_UNKNOWN') && cursor === 0 && client) {
          // The first message starts it, from this page or from another one.
          this.#isRead();
        } else if (!isTemporary(error, client)) throw error;
        else if (!isInterruption(error)) onStatus('away', error);
        if (messages.cursor !== cursor) backoff.reset();
        const isNew = cursor === 0 && !this.#started.signal.aborted;
        const early = isNew ? this.#signalWith(this.#started.signal) : signal;
        await pause(clock, backoff.nextDelayMs(), early).catch(() => signal.throwIfAborted());
      }
    }
  }

  async #connect(): Promise<Client> {
    const { signal } = this.#stopped;
    const connecting = this.#deps.connect();
    try {
      return await untilAborted(connecting, signal);
    } catch (error) {
      // Close a client that connects after the stop.
      if (signal.aborted) connecting.then((client) => client.close()).catch(() => {});
      throw error;
    }
  }

  /** Reads events until the conversation ends. A page of the past changes the view once. */
  async #read(client: Client, { address, id }: Conversation): Promise<void> {
    const { messages, clock, onChange } = this.#deps;
    const { signal } = this.#stopped;
    const all = client.conversations(address, { reconnectTimeoutMs: 0, clock });
    const isNew = messages.cursor === 0;
    for (;;) {
      const limit = isNew ? PAGE_EVENTS : 1;
      const { events } = await untilAborted(all.readEvents(id, { after: messages.cursor, limit }), signal);
      // Without news the page only shows that the agent answers. The stream below sends its event again, cut at the cursor.
      if (!isNew || events.length === 0) break;
      for (const event of events) messages.apply(event);
      onChange();
    }
    this.#isRead();
    if (messages.hasEnded) return;
    for await (const event of all.follow(id, { after: messages.cursor, signal })) {
      messages.apply(event);
      onChange();
    }
    // As an error, so that the next attempt waits: an agent may end each stream at once.
    if (!messages.hasEnded) throw new FabricError('LINK_CLOSED', 'The agent ended the stream of events');
  }

  #isRead(): void {
    this.#hasRead = true;
    this.#deps.onStatus('ready');
  }
}

/** True if the same attempt may succeed later. */
const isTemporary = (error: unknown, client: Client | undefined): boolean =>
  client?.state !== 'closed' &&
  isFabricError(error) &&
  (isUndecided(error) || error.retryable || error.code === 'CALL_TIMEOUT');

/** True if the agent is there, and only the stream has to be requested again. */
const isInterruption = (error: unknown): boolean =>
  isFabricError(error, 'LINK_CLOSED') || isFabricError(error, 'READER_TOO_SLOW');

async function startUnlessKnown(conversation: Conversation): Promise<void> {
  try {
    await conversation.start();
  } catch (error) {
    if (!isFabricError(error, 'CONVERSATION_EXISTS')) throw error; // another page has started it
  }
}
