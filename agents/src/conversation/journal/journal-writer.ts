// Appends to the journal of one conversation and publishes what it appends in the conversation's feed.
//
// Invariants:
// I1 The events of the feed are those of the journal, in its order.
// I2 An event that is not text is durable before it is shown.
// I3 Text is shown at once, and written before the next other entry, in the same append. So its row, and with it the cursor of each
//    of its characters, is known when it is shown.
import { type Clock, FabricError, type Timer } from '@fame-fabric/shared';
import { charBoundary } from '@fame-fabric/shared/internal';
import { cursorAt, cursorOf, MAX_ACQUISITION_ROWS, MAX_ROW_CHARS } from '../../store/cursor.ts';
import type {
  ConversationStore,
  EventBody,
  Fence,
  JournalEvent,
  NewEvent,
  RetryRequest,
  StoredState,
} from '../../store/store.ts';
import { NO_OBSERVER, type TurnObserver } from '../../telemetry/turn-observer.ts';
import { isSameSource, type TextPiece } from '../../turn/turn-text.ts';
import { Feed } from './feed.ts';
import type { Bodies, Entry } from './journal.ts';

/** Longest time between the display of text and its write, in ms. */
const TEXT_MS = 1_000;
/** All conversations write at multiples of this time, in ms, so that many of them share a commit. */
const TEXT_GRID_MS = 100;
/** Unwritten characters that cause a write at once. */
const TEXT_CHARS = 8_192;
/** Characters in writes that are not durable yet, beyond which the model has to wait. */
const MAX_UNDURABLE_CHARS = 32_768;
/** Rows after which the conversation should be acquired anew. The rest is for turns that still run or wait. */
const SPENT_ROWS = 200_000;

/** A text that was shown and is not written yet. */
interface TextRow {
  readonly seq: number;
  cursor: number;
  readonly at: number;
  readonly kind: 'text';
  readonly turnId: string;
  readonly body: { -readonly [K in keyof Bodies['text']]: Bodies['text'][K] };
  readonly source: TextPiece['source'];
}

export interface JournalWriterOptions {
  id: string;
  fence: Fence;
  /** Last seq at the acquisition. */
  lastSeq: number;
  leaseMs: number;
  clock: Clock;
  /** @default none */
  observer?: TurnObserver | undefined;
}

/** Appends to one conversation. Sequence numbers are assigned at once; the store confirms or refuses them later. */
export class JournalWriter {
  readonly feed = new Feed();
  readonly #store: ConversationStore;
  readonly #options: JournalWriterOptions;
  readonly #acquisition: { readonly fence: number; readonly firstSeq: number };
  #lastSeq: number;
  #failure: unknown;
  #unwritten: TextRow[] = [];
  #unwrittenChars = 0;
  /** Characters that were handed to the store and are not durable yet. */
  #undurableChars = 0;
  #textTimer: Timer | undefined;
  /** Settles after the latest append. */
  #appended: Promise<void> = Promise.resolve();

  constructor(store: ConversationStore, options: JournalWriterOptions) {
    this.#store = store;
    this.#options = options;
    this.#lastSeq = options.lastSeq;
    this.#acquisition = { fence: options.fence.epoch, firstSeq: options.lastSeq + 1 };
  }

  /** Epoch of the acquisition that this journal writes under. */
  get epoch(): number {
    return this.#options.fence.epoch;
  }

  /** Failure of an append. After it the conversation has to be loaded again. */
  get failure(): unknown {
    return this.#failure;
  }

  /** True if the acquisition has few rows left, so that an idle conversation should be loaded again. */
  get isSpent(): boolean {
    return this.#lastSeq - this.#options.lastSeq > SPENT_ROWS;
  }

  /**
   * Adds text of a turn. It is shown at once, unless an earlier entry is not durable yet. Returns a promise only if the store is so
   * far behind that the model must wait.
   * @throws the failure of an earlier append
   */
  addText(turnId: string, { text, offset, source }: TextPiece): Promise<void> | undefined {
    if (this.#failure !== undefined) throw this.#failure;
    for (let from = 0; from < text.length; ) {
      const last = this.#unwritten.at(-1);
      const row = last?.turnId === turnId && isSameSource(last.source, source) ? last : undefined;
      let to = row ? charBoundary(text, from + MAX_ROW_CHARS - row.body.text.length) : from;
      if (row && to > from) {
        this.#extendRow(row, text.slice(from, to));
      } else {
        to = charBoundary(text, from + MAX_ROW_CHARS);
        this.#addRow(turnId, { text: text.slice(from, to), offset: offset + from, source });
      }
      from = to;
    }
    this.#unwrittenChars += text.length;
    if (this.#unwrittenChars >= TEXT_CHARS) return this.#writeText();
    if (!this.#textTimer) {
      const { clock } = this.#options;
      const delayMs = TEXT_MS - (clock.monotonic() % TEXT_GRID_MS);
      this.#textTimer = clock.after(delayMs, () => void this.#writeText());
    }
    return undefined;
  }

  /**
   * Adds entries, behind the unwritten text, and resolves with their events once they are durable and shown. Appends keep the order
   * they were made in.
   * @throws {STORE_CONFLICT | STORE_UNAVAILABLE | STORE_FULL} and from then on always
   */
  async append(
    entries: readonly Entry[],
    more: {
      totals?: EventBody | undefined;
      state?: StoredState | undefined;
      retry?: RetryRequest | undefined;
      release?: boolean;
      isDormant?: boolean;
    } = {},
  ): Promise<readonly JournalEvent[]> {
    if (this.#failure !== undefined) throw this.#failure;
    const { id, fence, leaseMs, clock, observer = NO_OBSERVER } = this.#options;
    const startedAt = clock.monotonic();
    const after = this.#lastSeq;
    const rows = this.#takeText();
    const at = clock.now();
    const events = entries.map((entry, i): JournalEvent => {
      const event = { at, ...entry, seq: after + rows.length + i + 1 } as unknown as JournalEvent;
      return { ...event, cursor: cursorOf(this.#acquisition, event) };
    });
    const count = rows.length + events.length;
    this.#lastSeq += count;
    for (const event of events) this.feed.add(event);
    const chars = rows.reduce((sum, { body }) => sum + body.text.length, 0);
    this.#undurableChars += chars;
    try {
      this.#assertRowsLeft();
      const earlier = this.#appended;
      const appended = this.#store.append({
        conversationId: id,
        fence,
        after,
        events: [...rows, ...events].map(newEventOf),
        leaseMs: more.release ? 0 : leaseMs,
        ...(more.totals ? { totals: more.totals } : {}),
        ...(more.state ? { state: more.state } : {}),
        ...(more.retry ? { retry: more.retry } : {}),
        ...(more.isDormant ? { isDormant: true } : {}),
      });
      // Drop the value, because it would retain those of all earlier appends.
      this.#appended = Promise.allSettled([earlier, appended]).then(() => undefined);
      await appended;
      // The store may answer a later append before an earlier one.
      await earlier;
      if (this.#failure !== undefined) throw this.#failure;
    } catch (error) {
      observer.journalWritten(clock.monotonic() - startedAt, count, chars, error);
      this.#fail(error);
      throw error;
    }
    observer.journalWritten(clock.monotonic() - startedAt, count, chars);
    this.#undurableChars -= chars;
    this.feed.durable(count);
    return events;
  }

  /** Ends the feed. Call it when the conversation leaves the memory of this process. */
  close(): void {
    this.#textTimer?.stop();
    this.#textTimer = undefined;
    this.feed.close();
  }

  /** The row after all others that have a number. */
  get #nextSeq(): number {
    return this.#lastSeq + this.#unwritten.length + 1;
  }

  #addRow(turnId: string, { text, offset, source }: TextPiece): void {
    const seq = this.#nextSeq;
    const { from } = source;
    const place = source.from === 'tool' ? { step: source.step, index: source.index } : {};
    const row: TextRow = {
      seq,
      cursor: cursorAt(this.#acquisition, seq, text.length),
      at: this.#options.clock.now(),
      kind: 'text',
      turnId,
      body: { text, offset, from, ...place },
      source,
    };
    this.#unwritten.push(row);
    this.feed.add(row as unknown as JournalEvent);
  }

  #extendRow(row: TextRow, piece: string): void {
    const { body, seq } = row;
    const offset = body.offset + body.text.length;
    body.text += piece;
    row.cursor = cursorAt(this.#acquisition, seq, body.text.length);
    this.feed.extended({ ...row, body: { ...body, text: piece, offset } } as unknown as JournalEvent);
  }

  #takeText(): TextRow[] {
    const rows = this.#unwritten;
    this.#unwritten = [];
    this.#unwrittenChars = 0;
    this.#textTimer?.stop();
    this.#textTimer = undefined;
    return rows;
  }

  #writeText(): Promise<void> | undefined {
    const written = this.append([]).then(() => undefined);
    // A failure stops the journal, and with it the next text or entry. A caller may await this promise late or not at all.
    written.catch(() => undefined);
    return this.#undurableChars > MAX_UNDURABLE_CHARS ? written : undefined;
  }

  #assertRowsLeft(): void {
    if (this.#lastSeq - this.#options.lastSeq < MAX_ACQUISITION_ROWS) return;
    throw new FabricError('STORE_CONFLICT', 'The conversation has to be acquired again.');
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#takeText();
    this.close();
  }
}

const newEventOf = ({ kind, at, turnId, body }: TextRow | JournalEvent): NewEvent => ({
  kind,
  at,
  ...(turnId === undefined ? {} : { turnId }),
  body: body as EventBody,
});
