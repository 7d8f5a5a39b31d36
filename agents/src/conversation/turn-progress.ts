// Progress of a running turn: the reasoning of the model, and the waits before a request to the model server is repeated. Only callers
// that ask for it receive it, between the recorded events of the turn. It is not recorded, so it has no cursor: a caller that joins
// later, or continues after a crash, receives the progress from then on.
// Nothing waits for a slow reader. Its unread reasoning is limited, and reasoning beyond the limit is dropped for that reader.
import { ChangeSignal, cutText, onAbort } from '@fame-fabric/shared/internal';
import type { ModelWait, WaitReason } from '../model/model.ts';
import type { ModelProgress } from '../turn/journaled-model.ts';
import type { ConversationEvent } from './conversation.ts';

/** The values of `include`. */
export const PROGRESS_KINDS = ['reasoning', 'waiting'] as const;
export type ProgressKind = (typeof PROGRESS_KINDS)[number];

/** An event of `run_turn_stream` for callers that name its type in `include`. */
export type ProgressEvent =
  | { type: 'reasoning'; turn_id: string; text: string }
  | {
      type: 'waiting';
      turn_id: string;
      reason: WaitReason;
      /** Duration of the wait, in ms. */
      retry_in_ms: number;
      /** Number of the next attempt, from 2, and the maximum number of attempts. */
      attempt: number;
      attempts: number;
      /** The server's own reason in one line. */
      message?: string;
    };

/** Longest unread reasoning of one reader, in UTF-16 code units. Further reasoning is dropped. */
const MAX_UNREAD_CHARS = 16_384;
/** Maximum number of unread events of one reader. */
const MAX_UNREAD_EVENTS = 16;

export interface FollowProgress {
  readonly include: readonly ProgressKind[];
  /** Cursor of the last event that the caller has. */
  readonly after: number;
  readonly signal?: AbortSignal | undefined;
}

export class TurnProgress implements ModelProgress {
  /** Cursor of the last event of the turn. Progress is delivered after that event. */
  position = 0;
  readonly #turnId: string;
  readonly #readers = new Set<ProgressReader>();
  #isOver = false;

  constructor(turnId: string) {
    this.#turnId = turnId;
  }

  /** Drops the progress from now on: an attempt that is being aborted must not report after the last event of the turn. */
  end(): void {
    this.#isOver = true;
  }

  reasoning(text: string): void {
    if (this.#isOver) return;
    for (const reader of this.#readers) reader.addReasoning(this.#turnId, text, this.position);
  }

  waiting({ reason, waitMs, attempt, attempts, message }: ModelWait): void {
    if (this.#isOver || this.#readers.size === 0) return;
    const event: ProgressEvent = {
      type: 'waiting',
      turn_id: this.#turnId,
      reason,
      retry_in_ms: waitMs,
      attempt,
      attempts,
      ...(message === undefined ? {} : { message }),
    };
    for (const reader of this.#readers) reader.addWaiting(event, this.position);
  }

  /**
   * Yields the events of the turn, and the progress from now on. `follow` starts to follow the events after the cursor `after`; its
   * signal aborts when the caller leaves.
   */
  async *between(
    follow: (signal: AbortSignal) => AsyncGenerator<ConversationEvent, void>,
    { include, after, signal }: FollowProgress,
  ): AsyncGenerator<ConversationEvent | ProgressEvent, void> {
    const change = new ChangeSignal();
    const reader = new ProgressReader(include, () => change.notify());
    const leaving = new AbortController();
    const stopListening = onAbort(signal, () => leaving.abort());
    const events = follow(leaving.signal);
    let arrived: Promise<IteratorResult<ConversationEvent, void>> | undefined;
    let hasArrived = false;
    const pull = (): void => {
      const settled = (): void => {
        hasArrived = true;
        change.notify();
      };
      hasArrived = false;
      arrived = events.next();
      arrived.then(settled, settled);
    };
    let cursor = after;
    this.#readers.add(reader);
    try {
      pull();
      for (;;) {
        const progress = reader.take(cursor);
        if (progress) yield progress;
        else if (hasArrived) {
          const { done, value } = await arrived!;
          if (done) return;
          cursor = value.seq;
          pull();
          yield value;
        } else await change.next();
      }
    } finally {
      this.#readers.delete(reader);
      stopListening();
      leaving.abort();
      await events.return();
    }
  }
}

/** The unread progress of one caller. */
class ProgressReader {
  readonly #include: ReadonlySet<ProgressKind>;
  readonly #onChange: () => void;
  /** Each is delivered after the event of the turn with the cursor `after`. */
  readonly #unread: { event: ProgressEvent; readonly after: number }[] = [];
  #unreadChars = 0;
  #isChangeScheduled = false;

  constructor(include: readonly ProgressKind[], onChange: () => void) {
    this.#include = new Set(include);
    this.#onChange = onChange;
  }

  /** Pieces that arrive in one turn of the event loop become one event. */
  addReasoning(turn_id: string, given: string, after: number): void {
    if (!this.#include.has('reasoning')) return;
    const piece = cutText(given, MAX_UNREAD_CHARS - this.#unreadChars, '');
    if (piece === '') return;
    const last = this.#unread.at(-1);
    if (last?.event.type === 'reasoning' && last.after === after) {
      last.event = { ...last.event, text: last.event.text + piece };
    } else if (this.#unread.length < MAX_UNREAD_EVENTS) {
      this.#unread.push({ event: { type: 'reasoning', turn_id, text: piece }, after });
    } else return;
    this.#unreadChars += piece.length;
    if (this.#isChangeScheduled) return;
    this.#isChangeScheduled = true;
    setImmediate(() => {
      this.#isChangeScheduled = false;
      this.#onChange();
    });
  }

  /** A wait replaces the unread one before it. */
  addWaiting(event: ProgressEvent, after: number): void {
    if (!this.#include.has('waiting')) return;
    if (this.#unread.at(-1)?.event.type === 'waiting') this.#unread.pop();
    else if (this.#unread.length >= MAX_UNREAD_EVENTS) return;
    this.#unread.push({ event, after });
    this.#onChange();
  }

  /** Removes and returns the next progress for a caller that has the events up to `cursor`. */
  take(cursor: number): ProgressEvent | undefined {
    const first = this.#unread[0];
    if (!first || first.after > cursor) return undefined;
    this.#unread.shift();
    if (first.event.type === 'reasoning') this.#unreadChars -= first.event.text.length;
    return first.event;
  }
}
