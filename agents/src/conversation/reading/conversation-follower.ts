// A reader of a whole conversation: first the recorded events from the store, then live ones from the feed of this process, which
// include text that is not written yet. While this process has not loaded the conversation, the reader polls the store, because another
// process may write to it. While the loaded conversation has no turn, the reader checks every 8 s whether another process has acquired
// it. Each event is compared with the reader's cursor, so a change between store and feed leaves no gap and no repeat.
import { type Clock, FabricError } from '@fame-fabric/shared';
import { ChangeSignal, onAbort } from '@fame-fabric/shared/internal';
import { eventAfter, fenceOf } from '../../store/cursor.ts';
import {
  type ConversationStore,
  type EventBody,
  isEndedState,
  type JournalEvent,
  type Peek,
  type StoredState,
} from '../../store/store.ts';
import type { Conversation } from '../loaded-conversation.ts';
import { type LoadedConversations, unknownConversation } from '../loaded-conversations.ts';
import { endedEvent, isoTime, type RecordedEvent, recordedEvent } from './recorded-event.ts';

export interface FollowerDeps {
  readonly store: ConversationStore;
  readonly agent: string;
  readonly conversations: LoadedConversations;
  readonly clock: Clock;
  /** Aborts when the agent begins to stop. */
  readonly stopping: AbortSignal;
  /** True if other replicas write conversations of the agent. The pause between two polls does not grow then. */
  readonly isShared: boolean;
}

/** Limits of one read of the store. Thousands of readers may each hold a page for a slow caller. */
const PAGE = { limit: 100, maxChars: 65_536 } as const;
/** Unread characters of live events at which a reader is too slow. */
const MAX_UNREAD_CHARS = 1_048_576;
/** First and longest pause between two polls of the store, in ms. */
const POLL_MS = 1_000;
const MAX_POLL_MS = 8_000;

export interface EventPage {
  events: RecordedEvent[];
  /** The `after` of the next page. */
  next: number;
}

/**
 * Reads the events after a cursor, at most `limit`, and at most `maxBytes` as JSON. An empty page is the end for now.
 * @throws {CONVERSATION_UNKNOWN}
 */
export async function readPage(
  deps: Pick<FollowerDeps, 'store' | 'agent'>,
  id: string,
  { after, limit, maxBytes }: { after: number; limit: number; maxBytes: number },
): Promise<EventPage> {
  const { store } = deps;
  const { state, epoch } = await peekAt(deps, id);
  const page: EventPage = { events: [], next: after };
  if (fenceOf(after) > epoch) {
    const restart = await restartOf(store, id);
    page.next = restart.cursor;
    page.events.push(...restart.events);
  }
  let bytes = 0;
  for (;;) {
    const rows = await store.read(id, { afterCursor: page.next, ...PAGE });
    for (const row of rows) {
      const event = recordedEvent(row);
      if (event) {
        bytes += Buffer.byteLength(JSON.stringify(event));
        if (page.events.length > 0 && (bytes > maxBytes || page.events.length >= limit)) return page;
        page.events.push(event);
      }
      page.next = row.cursor;
    }
    if (rows.length > 0) continue;
    const end = page.events.length < limit ? await endByTurn(store, id, state, page.next) : undefined;
    if (end) {
      page.events.push(end);
      page.next = end.seq;
    }
    return page;
  }
}

export class ConversationFollower {
  readonly #deps: FollowerDeps;
  readonly #id: string;
  readonly #signal: AbortSignal;
  readonly #change = new ChangeSignal();
  #cursor: number;
  #unread: JournalEvent[] = [];
  #unreadChars = 0;
  /** True while a check for an acquisition by another process is in flight. */
  #isChecking = false;
  #feed: 'none' | 'open' | 'closed' = 'none';
  #isWakeScheduled = false;
  #hasEnded = false;

  constructor(deps: FollowerDeps, id: string, after: number, signal: AbortSignal) {
    this.#deps = deps;
    this.#id = id;
    this.#cursor = after;
    this.#signal = signal;
  }

  /**
   * Yields events until the conversation ends or the signal aborts.
   * @throws {CONVERSATION_UNKNOWN} @throws {READER_TOO_SLOW} while too many live events wait for the reader
   * @throws {NODE_GONE} when the agent begins to stop: a reader may stay for days, and must not delay the stop
   */
  async *events(): AsyncGenerator<RecordedEvent, void> {
    const { store, stopping, isShared } = this.#deps;
    const maxPollMs = isShared ? POLL_MS : MAX_POLL_MS;
    const wake = (): void => this.#change.notify();
    const stopListening = [onAbort(this.#signal, wake), onAbort(stopping, wake)];
    try {
      const { epoch } = await peekAt(this.#deps, this.#id);
      if (fenceOf(this.#cursor) > epoch) {
        const restart = await restartOf(store, this.#id);
        this.#cursor = restart.cursor;
        yield* restart.events;
      }
      let pollMs = POLL_MS / 2;
      for (;;) {
        const before = this.#cursor;
        yield* this.#recorded();
        yield* this.#live();
        if (this.#isOver) return;
        stopping.throwIfAborted();
        const record = await store.record(this.#id);
        if (!record) throw unknownConversation();
        // The end may have been written after the last read.
        yield* this.#recorded();
        if (this.#isOver) return;
        if (isEndedState(record.state)) {
          const end = await endByTurn(store, this.#id, record.state, this.#cursor);
          if (end) yield end;
          return;
        }
        pollMs = this.#cursor === before ? Math.min(2 * pollMs, maxPollMs) : POLL_MS;
        await this.#untilLoaded(pollMs);
      }
    } finally {
      for (const stop of stopListening) stop();
    }
  }

  get #isOver(): boolean {
    return this.#hasEnded || this.#signal.aborted;
  }

  /** The conversation, if this process has loaded it and can write it. */
  get #loaded(): Conversation | undefined {
    const loaded = this.#deps.conversations.get(this.#id);
    return loaded?.journal.failure === undefined ? loaded : undefined;
  }

  /** Yields the events in the store after the cursor. */
  async *#recorded(): AsyncGenerator<RecordedEvent, void> {
    while (!this.#isOver) {
      const rows = await this.#deps.store.read(this.#id, { afterCursor: this.#cursor, ...PAGE });
      if (rows.length === 0) return;
      yield* this.#views(rows);
    }
  }

  /** Yields the events of the feed, until it closes. Yields nothing if this process does not have the conversation. */
  async *#live(): AsyncGenerator<RecordedEvent, void> {
    const loaded = this.#loaded;
    if (!loaded) return;
    this.#feed = 'open';
    const checks = this.#deps.clock.every(MAX_POLL_MS, () => void this.#dropIfOutdated(loaded));
    const unsubscribe = loaded.journal.feed.subscribe({
      event: (event) => this.#receive(event),
      closed: () => {
        this.#feed = 'closed';
        this.#change.notify();
      },
    });
    try {
      // Events that became durable before the subscription are in the store.
      yield* this.#recorded();
      for (;;) {
        if (this.#unreadChars > MAX_UNREAD_CHARS) throw tooSlow();
        const unread = this.#unread;
        this.#unread = [];
        this.#unreadChars = 0;
        yield* this.#views(unread);
        if (this.#unread.length > 0) continue;
        if (this.#isOver || this.#feed !== 'open' || this.#deps.stopping.aborted) return;
        await this.#change.next();
      }
    } finally {
      checks.stop();
      unsubscribe();
      this.#unread = [];
      this.#unreadChars = 0;
      this.#feed = 'none';
    }
  }

  /** Drops the conversation if it is idle here and another process has acquired it. Lease renewals detect this for busy ones. */
  async #dropIfOutdated(loaded: Conversation): Promise<void> {
    const { conversations, store } = this.#deps;
    if (loaded.open.length > 0 || this.#isChecking) return;
    this.#isChecking = true;
    try {
      const peek = await store.peek(this.#id);
      const isCurrent = peek?.epoch === loaded.journal.epoch;
      if (!isCurrent && loaded.open.length === 0) conversations.drop(loaded);
    } catch {
      // The store is unavailable. The next check tries again.
    } finally {
      this.#isChecking = false;
    }
  }

  #receive(event: JournalEvent): void {
    // The reader ends at its next event.
    if (this.#unreadChars > MAX_UNREAD_CHARS) return;
    const { text } = event.body;
    const isText = event.kind === 'text' && typeof text === 'string';
    this.#unreadChars += isText ? text.length : charsOf(event.body);
    const last = this.#unread.at(-1);
    if (isText && last?.kind === 'text' && last.seq === event.seq) {
      this.#unread[this.#unread.length - 1] = {
        ...event,
        body: { ...last.body, text: last.body.text + text },
      };
    } else {
      this.#unread.push(event);
    }
    // Pieces of text that arrive together become one event.
    if (isText) this.#wakeSoon();
    else this.#change.notify();
  }

  *#views(events: readonly JournalEvent[]): Generator<RecordedEvent, void> {
    for (const event of events) {
      const rest = eventAfter(event, this.#cursor);
      if (!rest) continue;
      this.#cursor = event.cursor;
      const view = recordedEvent(rest);
      if (event.kind === 'conversation_ended') this.#hasEnded = true;
      if (view) yield view;
      if (this.#isOver) return;
    }
  }

  /** Waits until this process loads the conversation, but at most for `ms`. */
  async #untilLoaded(ms: number): Promise<void> {
    const { conversations, clock, stopping } = this.#deps;
    const wake = (): void => this.#change.notify();
    const stopWatching = conversations.onLoad(this.#id, wake);
    const timer = clock.after(ms, wake);
    try {
      if (!this.#loaded && !this.#isOver && !stopping.aborted) await this.#change.next();
    } finally {
      timer.stop();
      stopWatching();
    }
  }

  #wakeSoon(): void {
    if (this.#isWakeScheduled || !this.#change.isAwaited) return;
    this.#isWakeScheduled = true;
    setImmediate(() => {
      this.#isWakeScheduled = false;
      this.#change.notify();
    });
  }
}

const bodyChars = new WeakMap<EventBody, number>();

/** Length of a body as JSON. Followers share the bodies, so it is computed once for all of them. */
function charsOf(body: EventBody): number {
  let chars = bodyChars.get(body);
  if (chars === undefined) {
    chars = JSON.stringify(body).length;
    bodyChars.set(body, chars);
  }
  return chars;
}

/** Returns the end of a conversation that its last turn ended, if `cursor` is that of the last event of the turn. */
async function endByTurn(
  store: ConversationStore,
  id: string,
  state: StoredState,
  cursor: number,
): Promise<RecordedEvent | undefined> {
  if (!isEndedState(state)) return undefined;
  const last = await lastEventOf(store, id);
  if (last?.cursor !== cursor || last.kind === 'conversation_ended') return undefined;
  return endedEvent(cursor + 1, last.at, state);
}

async function lastEventOf(store: ConversationStore, id: string): Promise<JournalEvent | undefined> {
  const lastSeq = (await store.peek(id))?.lastSeq ?? 0;
  const [last] = await store.read(id, { after: lastSeq - 1, limit: 1 });
  return last;
}

async function peekAt({ store, agent }: Pick<FollowerDeps, 'store' | 'agent'>, id: string): Promise<Peek> {
  const peek = await store.peek(id);
  if (peek?.agent !== agent) throw unknownConversation();
  return peek;
}

/**
 * Returns the position and the first events of a reader whose cursor is of an acquisition that the store never had, such as one from
 * before the store was restored from a backup. The reader starts the latest turn over.
 */
async function restartOf(
  store: ConversationStore,
  id: string,
): Promise<{ cursor: number; events: RecordedEvent[] }> {
  const last = await lastEventOf(store, id);
  if (!last) throw unknownConversation();
  const { turnId } = last;
  if (turnId === undefined) return { cursor: last.cursor, events: [] };
  const accepted = (await store.peek(id, turnId))?.turn?.acceptedSeq ?? last.seq;
  const [before] = await store.read(id, { after: accepted - 2, limit: 1 });
  const cursor = before?.cursor ?? 0;
  const restart = { type: 'restart' as const, seq: cursor, turn_id: turnId, keep: 0, at: isoTime(last.at) };
  return { cursor, events: [restart] };
}

const tooSlow = (): FabricError =>
  new FabricError(
    'READER_TOO_SLOW',
    `More than ${MAX_UNREAD_CHARS} characters of events wait for the reader. Read on from the last seq.`,
  );
