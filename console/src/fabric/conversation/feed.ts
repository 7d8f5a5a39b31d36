// One conversation as the page shows it: reads its events from the last one on, and sends turns. The turns come from the events only,
// so every page on the conversation shows the same. An agent without `read_events` is used through the events of each turn; then only
// this page has the turns.
import { type Client, type Conversation, type ConversationEvent, isUndecided } from '@fame-fabric/client';
import { FabricError, isFabricError, newId } from '@fame-fabric/shared';
import { effect, signal } from '@preact/signals';
import { client, pause } from '../connection.ts';
import { type Start, type Turn, Turns } from './turns.ts';

/**
 * - `connecting`: nothing was read yet.
 * - `new`: the agent does not have the conversation. The first message starts it.
 * - `ready`: the events are current.
 * - `away`: the sentinel or the agent does not answer. The feed tries again until it does.
 * - `ended`: the conversation takes no more messages.
 * - `failed`: another attempt would fail too.
 */
export type FeedStatus = 'connecting' | 'new' | 'ready' | 'away' | 'ended' | 'failed';

/** A message of this page that the agent has not accepted yet. */
export interface PendingMessage {
  readonly turnId: string;
  readonly text: string;
  /** Why the agent refused it. */
  readonly error?: unknown;
}

export interface FeedView {
  readonly status: FeedStatus;
  /** Why the status is `away` or `failed`. */
  readonly error?: unknown;
  readonly start: Start | undefined;
  readonly turns: readonly Turn[];
  /** Number of old turns that the page does not keep. */
  readonly leftOut: number;
  readonly pending: readonly PendingMessage[];
  /** Why the last action failed. */
  readonly actionError?: unknown;
  /** True if the agent keeps no events, so that a reload forgets the turns. */
  readonly isOnlyHere: boolean;
}

/** A turn may wait for an approval, so its call lasts long. The agent has a time limit of its own. */
const TURN_TIMEOUT_MS = 86_400_000;
const PAGE_EVENTS = 500;
/** Shortest time between two changes of the view, in ms: a stream may have hundreds of events per second. */
const FRAME_MS = 33;
const FIRST_RETRY_MS = 250;
const MAX_RETRY_MS = 5_000;

export class ConversationFeed {
  readonly address: string;
  readonly id: string;
  readonly view = signal<FeedView>(NOTHING);
  /** System prompt of a conversation that this page starts. Empty: that of the agent. */
  systemPrompt = '';
  readonly #stopped = new AbortController();
  #turns = new Turns();
  readonly #pending = new Map<string, PendingMessage>();
  readonly #sending = new Map<string, AbortController>();
  /** Aborts when this page has started the conversation, which ends the pause before the next read. */
  #started = new AbortController();
  #status: FeedStatus = 'connecting';
  #error: unknown;
  #actionError: unknown;
  #isOnlyHere = false;
  #frame: ReturnType<typeof setTimeout> | undefined;
  #run: AbortController | undefined;
  readonly #stopWatching: () => void;

  constructor(address: string, id: string) {
    this.address = address;
    this.id = id;
    this.#stopWatching = effect(() => {
      const connected = client.value;
      this.#run?.abort();
      if (connected === undefined) return;
      const run = new AbortController();
      this.#run = run;
      void this.#follow(connected, run.signal);
    });
  }

  /** Stops reading. Turns continue at the agent. */
  stop(): void {
    this.#stopWatching();
    this.#run?.abort();
    this.#stopped.abort();
    clearTimeout(this.#frame);
  }

  /** Starts over after the status `failed`. */
  retry(): void {
    const connected = client.value;
    if (connected === undefined) return;
    this.#run?.abort();
    this.#run = new AbortController();
    this.#setStatus('connecting');
    void this.#follow(connected, this.#run.signal);
  }

  /** Sends a message. It is shown at once, and reaches the agent as soon as there is a connection. */
  send(text: string): void {
    const turnId = newId();
    this.#pending.set(turnId, { turnId, text });
    this.#actionError = undefined;
    this.#publish();
    const cancel = new AbortController();
    this.#sending.set(turnId, cancel);
    void this.#send(turnId, text, cancel.signal)
      .catch((error: unknown) => {
        if (this.#turns.has(turnId) || this.#stopped.signal.aborted) return;
        this.#pending.set(turnId, { turnId, text, error });
        this.#publish();
      })
      .finally(() => this.#sending.delete(turnId));
  }

  /** Removes a message that the agent refused. Returns its text. */
  discard(turnId: string): string | undefined {
    const message = this.#pending.get(turnId);
    this.#pending.delete(turnId);
    this.#publish();
    return message?.text;
  }

  /** Cancels a turn, or the way of a message to the agent. */
  cancel(turnId: string): void {
    if (this.#turns.has(turnId) && !this.#isOnlyHere)
      void this.#act((conversation) => conversation.cancel(turnId));
    else this.#sending.get(turnId)?.abort();
  }

  /** Answers an approval. */
  answer(callId: string, approve: boolean): Promise<void> {
    return this.#act((conversation) => conversation.answerApproval(callId, { approve }));
  }

  /** Starts a conversation that continues this one after the turn `at`. Returns its id. */
  async fork(at: string): Promise<string> {
    return (await this.#client.conversations(this.address).fork(this.id, { at })).id;
  }

  get #client(): Client {
    const connected = client.value;
    if (connected === undefined)
      throw new FabricError('LINK_CLOSED', 'The page is not connected to the sentinel.');
    return connected;
  }

  async #act(action: (conversation: Conversation) => Promise<void>): Promise<void> {
    try {
      await action(this.#client.conversation(this.address, { id: this.id, isResumed: true }));
      this.#actionError = undefined;
    } catch (error) {
      this.#actionError = error;
    }
    this.#publish();
  }

  /** Reads until the conversation ends, the run is aborted, or another attempt would fail too. */
  async #follow(connected: Client, run: AbortSignal): Promise<void> {
    let delayMs = FIRST_RETRY_MS;
    while (!run.aborted) {
      const { cursor } = this.#turns;
      try {
        await this.#read(connected, run);
        return;
      } catch (error) {
        if (run.aborted) return;
        if (isFabricError(error, 'METHOD_NOT_FOUND')) {
          this.#isOnlyHere = true;
          this.#setStatus(this.#turns.cursor > 0 ? 'ready' : 'new');
          return;
        }
        if (isFabricError(error, 'CONVERSATION_UNKNOWN') && this.#turns.cursor === 0) this.#setStatus('new');
        else if (!isTemporary(error, connected)) {
          this.#setStatus('failed', error);
          return;
        } else if (!isInterruption(error)) this.#setStatus('away', error);
        delayMs = this.#turns.cursor === cursor ? Math.min(2 * delayMs, MAX_RETRY_MS) : FIRST_RETRY_MS;
      }
      await pause(delayMs, AbortSignal.any([run, this.#started.signal]));
      if (this.#started.signal.aborted) this.#started = new AbortController();
    }
  }

  /** Reads the past in pages, so that it changes the view once, and then the live events. */
  async #read(connected: Client, run: AbortSignal): Promise<void> {
    const all = connected.conversations(this.address, { reconnectTimeoutMs: 0 });
    for (;;) {
      const { events } = await all.readEvents(this.id, { after: this.#turns.cursor, limit: PAGE_EVENTS });
      if (run.aborted) return;
      for (const event of events) this.#apply(event);
      if (events.length === 0) break;
    }
    this.#setStatus('ready');
    if (this.#turns.endedState !== undefined) return;
    for await (const event of all.follow(this.id, {
      after: this.#turns.cursor,
      signal: run,
      onAway: () => this.#setStatus('away'),
    })) {
      if (run.aborted) return;
      this.#apply(event);
      if (this.#status === 'away') this.#status = 'ready';
      this.#publishSoon();
    }
    this.#publish();
    // As an error, so that the next attempt waits: an agent may end each stream at once.
    if (this.#turns.endedState === undefined)
      throw new FabricError('LINK_CLOSED', 'The agent ended the stream of events.');
  }

  #apply(event: ConversationEvent): void {
    this.#turns.apply(event);
    if (event.type === 'turn') this.#pending.delete(event.turn_id);
  }

  async #send(turnId: string, text: string, cancelled: AbortSignal): Promise<void> {
    let delayMs = FIRST_RETRY_MS;
    for (;;) {
      cancelled.throwIfAborted();
      const connected = client.value;
      try {
        if (connected !== undefined && this.#status !== 'connecting')
          return await this.#sendOnce(connected, turnId, text, cancelled);
      } catch (error) {
        cancelled.throwIfAborted();
        if (this.#turns.has(turnId)) return;
        if (!isTemporary(error, connected)) throw error;
      }
      await pause(delayMs, AbortSignal.any([cancelled, this.#stopped.signal]));
      if (this.#stopped.signal.aborted) return;
      delayMs = Math.min(2 * delayMs, MAX_RETRY_MS);
    }
  }

  async #sendOnce(connected: Client, turnId: string, text: string, signal: AbortSignal): Promise<void> {
    const isKnown = this.#turns.cursor > 0;
    const conversation = connected.conversation(this.address, {
      id: this.id,
      isResumed: isKnown,
      systemPrompt: this.systemPrompt === '' ? undefined : this.systemPrompt,
    });
    if (!isKnown) await startUnlessKnown(conversation);
    if (this.#isOnlyHere) return this.#stream(conversation, turnId, text, signal);
    this.#started.abort();
    const params = { conversation_id: this.id, user_message: text, turn_id: turnId };
    // A call that is cancelled cancels its turn, so only the person ends it.
    await connected.call(this.address, 'run_turn', params, {
      timeoutMs: TURN_TIMEOUT_MS,
      resend: true,
      signal,
    });
  }

  /** Runs a turn at an agent that keeps no events. */
  async #stream(
    conversation: Conversation,
    turnId: string,
    text: string,
    signal: AbortSignal,
  ): Promise<void> {
    const apply = (event: object): void => {
      const seq = this.#turns.cursor + 1;
      this.#apply({ ...event, seq, at: new Date().toISOString(), turn_id: turnId } as ConversationEvent);
      this.#setStatus('ready');
    };
    apply({ type: 'turn', user_message: text });
    try {
      for await (const event of conversation.stream(text, { turnId, signal })) apply(event);
    } catch (error) {
      const code = signal.aborted ? 'TURN_CANCELLED' : isFabricError(error) ? error.code : 'INTERNAL';
      apply({ type: 'error', code, message: error instanceof Error ? error.message : String(error) });
    }
  }

  #setStatus(status: FeedStatus, error?: unknown): void {
    this.#status = status;
    this.#error = error;
    this.#publish();
  }

  #publishSoon(): void {
    this.#frame ??= setTimeout(() => this.#publish(), FRAME_MS);
  }

  #publish(): void {
    clearTimeout(this.#frame);
    this.#frame = undefined;
    const { start, all: turns, leftOut, endedState } = this.#turns;
    this.view.value = {
      status: endedState === undefined ? this.#status : 'ended',
      error: this.#error,
      start,
      turns,
      leftOut,
      pending: [...this.#pending.values()],
      actionError: this.#actionError,
      isOnlyHere: this.#isOnlyHere,
    };
  }
}

const NOTHING: FeedView = {
  status: 'connecting',
  start: undefined,
  turns: [],
  leftOut: 0,
  pending: [],
  isOnlyHere: false,
};

/** True if the same attempt may succeed later. */
const isTemporary = (error: unknown, connected: Client | undefined): boolean =>
  connected === undefined ||
  connected.state === 'closed' || // another client follows
  (isFabricError(error) && (isUndecided(error) || error.retryable || error.code === 'CALL_TIMEOUT'));

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
