// The trace tap: delivers metadata of envelopes, never their payloads, to its listeners. Without a listener the path checks
// one boolean. Entries are delivered in batches. A busy sentinel delivers a bounded number a second, so that a reader costs its router
// little, and counts the others as missed.

import type { Clock, Timer } from '@fame-fabric/shared';

export interface TraceEntry {
  /** Wall time in ms since the epoch. */
  t: number;
  dir: 'forward' | 'refuse' | 'drop' | 'control';
  /** Frame type. */
  type: string;
  /** Path of the sender. */
  from: string;
  /** Destination address; empty for link-local frames without one. */
  to: string;
  /** Path of the receiver. */
  via?: string | undefined;
  corrId?: string | undefined;
  id?: string | undefined;
  bytes: number;
  code?: string | undefined;
  /** Path of the sentinel that recorded the entry, if that is another one of the cluster. */
  sentinel?: string | undefined;
}

/** Entries of a burst. */
const MAX_BATCH_ENTRIES = 1_024;
/** Entries in each ms of a longer load: 4,096 a second, more than a person reads. 20,000 took 8 % of the CPU time of the router. */
const ENTRIES_PER_MS = 4.096;
const BATCH_MS = 50;

export type TraceListener = (entries: readonly TraceEntry[], missed: number) => void;

export class TraceTap {
  readonly #clock: Clock;
  readonly #listeners = new Set<TraceListener>();
  #isActive = false;
  #batch: TraceEntry[] = [];
  #missed = 0;
  /** Entries that the current batch may have. */
  #room = MAX_BATCH_ENTRIES;
  /** Monotonic time of the last flush, in ms. */
  #flushedAt = 0;
  #timer: Timer | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** True while there is a listener; check it before building an entry. */
  get isActive(): boolean {
    return this.#isActive;
  }

  /** Adds a listener; returns a function that removes it. */
  listen(listener: TraceListener): () => void {
    this.#listeners.add(listener);
    this.#isActive = true;
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      this.#isActive = false;
      this.#batch = [];
      this.#missed = 0;
      this.#timer?.stop();
      this.#timer = undefined;
    };
  }

  /** Returns `false`, and counts a missed entry, if there is no room for another one. Call it before building an entry. */
  admit(): boolean {
    if (this.#timer === undefined) this.#begin();
    if (this.#batch.length < this.#room) return true;
    this.#missed++;
    return false;
  }

  /** Stamps an entry and delivers it with the next batch. */
  add(entry: Omit<TraceEntry, 't'>): void {
    if (this.admit()) this.#batch.push({ t: this.#clock.now(), ...entry });
  }

  #begin(): void {
    const elapsedMs = this.#clock.monotonic() - this.#flushedAt;
    this.#room = Math.min(MAX_BATCH_ENTRIES, Math.floor(this.#room + elapsedMs * ENTRIES_PER_MS));
    this.#timer = this.#clock.after(BATCH_MS, () => this.#flush());
  }

  #flush(): void {
    this.#timer = undefined;
    const entries = this.#batch;
    const missed = this.#missed;
    this.#room = Math.min(MAX_BATCH_ENTRIES, this.#room - entries.length + BATCH_MS * ENTRIES_PER_MS);
    this.#flushedAt = this.#clock.monotonic();
    this.#batch = [];
    this.#missed = 0;
    for (const listener of this.#listeners) listener(entries, missed);
  }
}
