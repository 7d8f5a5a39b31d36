// The live trace across sentinels. A sentinel with readers asks the others each second for their entries; they stop when it has not asked for
// three seconds. Without readers nothing is sent. Entries of other sentinels reach readers only, and are never passed on.
import type { Clock } from '@fame-fabric/shared';
import type { TraceEntry, TraceListener, TraceTap } from '../http/trace.ts';
import type { Identity } from '../identity.ts';
import type { Bus } from './bus.ts';
import type { Subjects } from './subjects.ts';

/** Time after a request for which entries are sent, in ms. */
const WATCHED_MS = 3_000;
/** Maximum number of entries in one message of the bus. An entry has at most 2 KB. */
const MAX_ENTRIES = 256;
/** Maximum number of sentinels to which one sentinel sends entries. */
const MAX_WATCHERS = 16;

export interface MemberTracesDeps {
  bus: Bus;
  clock: Clock;
  subjects: Subjects;
  identity: Identity;
  trace: TraceTap;
}

interface Batch {
  /** Path of the sentinel that sends it. */
  readonly sentinel: string;
  readonly entries: readonly TraceEntry[];
  readonly missed: number;
}

export class MemberTraces {
  readonly #deps: MemberTracesDeps;
  /** Readers at this sentinel. */
  readonly #listeners = new Set<TraceListener>();
  /** Sentinels with readers, each with the monotonic end of its request, in ms. */
  readonly #watchers = new Map<string, number>();
  #stop: (() => void) | undefined;

  constructor(deps: MemberTracesDeps) {
    this.#deps = deps;
    const { bus, identity, subjects } = deps;
    bus.subscribe(subjects.watchers, ({ payload }) => this.#watched(Buffer.from(payload).toString('utf8')));
    bus.subscribe(subjects.traceFor(identity.id), ({ payload }) => this.#received(payload));
  }

  /** Adds a reader of the entries of all other sentinels; returns a function that removes it. */
  listen(listener: TraceListener): () => void {
    this.#listeners.add(listener);
    this.#request();
    return () => void this.#listeners.delete(listener);
  }

  /** Repeats the request of a sentinel with readers, and ends those of others. Call it each second. */
  beat(): void {
    this.#request();
    const now = this.#deps.clock.monotonic();
    for (const [id, until] of this.#watchers) if (until <= now) this.#watchers.delete(id);
    if (this.#watchers.size === 0) this.close();
  }

  /** Stops sending entries. */
  close(): void {
    this.#stop?.();
    this.#stop = undefined;
  }

  #request(): void {
    const { bus, identity, subjects } = this.#deps;
    if (this.#listeners.size > 0) bus.publish(subjects.watchers, Buffer.from(identity.id));
  }

  #watched(id: string): void {
    const { clock, trace } = this.#deps;
    if (this.#watchers.size >= MAX_WATCHERS && !this.#watchers.has(id)) return;
    this.#watchers.set(id, clock.monotonic() + WATCHED_MS);
    this.#stop ??= trace.listen((entries, missed) => this.#send(entries, missed));
  }

  #send(entries: readonly TraceEntry[], missed: number): void {
    const { bus, identity, subjects } = this.#deps;
    for (let at = 0; at === 0 || at < entries.length; at += MAX_ENTRIES) {
      const batch: Batch = {
        sentinel: identity.path,
        entries: entries.slice(at, at + MAX_ENTRIES),
        missed: at === 0 ? missed : 0,
      };
      const payload = Buffer.from(JSON.stringify(batch));
      for (const id of this.#watchers.keys()) bus.publish(subjects.traceFor(id), payload);
    }
  }

  #received(payload: Uint8Array): void {
    const batch = readBatch(payload);
    if (batch === undefined) return;
    const { missed, sentinel } = batch;
    const entries = batch.entries.map((entry) => ({ ...entry, sentinel }));
    for (const listener of this.#listeners) listener(entries, missed);
  }
}

function readBatch(payload: Uint8Array): Batch | undefined {
  try {
    const batch = JSON.parse(Buffer.from(payload).toString('utf8')) as Partial<Batch>;
    const { entries, missed, sentinel } = batch;
    const isBatch = Array.isArray(entries) && typeof missed === 'number' && typeof sentinel === 'string';
    return isBatch ? { entries, missed, sentinel } : undefined;
  } catch {
    // Not a batch of this protocol.
    return undefined;
  }
}
