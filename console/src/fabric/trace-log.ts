// The entries of the trace that the page keeps: the newest 100,000, and those of them that match the filter. Both lists are
// extended by the new entries only, so that a batch costs the same at any length.

/** Metadata of one envelope at the sentinel, as `/fame/v1/trace` delivers it. */
export interface TraceEntry {
  /** Wall time of the sentinel, in ms since the epoch. */
  t: number;
  dir: 'forward' | 'refuse' | 'drop' | 'control';
  /** Frame type. */
  type: string;
  /** Path of the sender. */
  from: string;
  /** Destination address; empty for frames between neighbors. */
  to: string;
  /** Path of the receiver. */
  via?: string;
  corrId?: string;
  id?: string;
  bytes: number;
  code?: string;
  /** Path of the sentinel that recorded the entry. Absent for the sentinel of the page. */
  sentinel?: string;
}

/** The sentinel left out `missed` entries because they came too fast. */
export interface MissedEntries {
  t: number;
  missed: number;
}

export interface TraceRow extends TraceEntry {
  /** Position in the trace of this page; grows by one. */
  readonly seq: number;
}

/** Empty texts match all rows. */
export interface TraceFilter {
  /** Part of the destination address. */
  address: string;
  /** Exact frame type. */
  type: string;
  /** Exact error code, or `*` for any. */
  code: string;
  /** Part of the path of the sender or the receiver. */
  node: string;
  /** Part of a call id. */
  call: string;
  /** Ids of the calls to select; undefined selects all. */
  calls: ReadonlySet<string> | undefined;
}

export const NO_FILTER: TraceFilter = {
  address: '',
  type: '',
  code: '',
  node: '',
  call: '',
  calls: undefined,
};

export const MAX_ROWS = 100_000;
/** Rows above the maximum that are kept until the next cut, so that a batch does not move the whole list. */
const SLACK = 10_000;

export class TraceLog {
  #rows: TraceRow[] = [];
  #matching: TraceRow[] = [];
  #filter: TraceFilter = NO_FILTER;
  #nextSeq = 0;
  #removed = 0;
  readonly #types = new Set<string>();
  readonly #codes = new Set<string>();

  get rows(): readonly TraceRow[] {
    return this.#rows;
  }

  /** The rows that match the filter. */
  get matching(): readonly TraceRow[] {
    return this.#matching;
  }

  get filter(): TraceFilter {
    return this.#filter;
  }

  /** Frame types seen so far, sorted. */
  get types(): string[] {
    return [...this.#types].sort();
  }

  /** Error codes seen so far, sorted. */
  get codes(): string[] {
    return [...this.#codes].sort();
  }

  /** Matching rows that were removed at the start so far, because newer ones came. */
  get removed(): number {
    return this.#removed;
  }

  push(entries: readonly TraceEntry[]): void {
    for (const entry of entries) {
      const row: TraceRow = { seq: this.#nextSeq++, ...entry };
      this.#rows.push(row);
      this.#types.add(row.type);
      if (row.code !== undefined) this.#codes.add(row.code);
      if (matches(row, this.#filter)) this.#matching.push(row);
    }
    if (this.#rows.length <= MAX_ROWS + SLACK) return;
    this.#rows = this.#rows.slice(-MAX_ROWS);
    const first = this.#rows[0]!.seq;
    const kept = this.#matching.findIndex(({ seq }) => seq >= first);
    const removed = kept < 0 ? this.#matching.length : kept;
    this.#matching = this.#matching.slice(removed);
    this.#removed += removed;
  }

  setFilter(filter: TraceFilter): void {
    this.#filter = filter;
    this.#matching = this.#rows.filter((row) => matches(row, filter));
  }

  clear(): void {
    this.#rows = [];
    this.#matching = [];
  }

  /** All rows of one call, oldest first. */
  story(corrId: string): TraceRow[] {
    return this.#rows.filter((row) => callOf(row) === corrId);
  }
}

/** The id of the call that an envelope belongs to. A request has it as its own id. */
export const callOf = ({ corrId, id }: TraceEntry): string | undefined => corrId ?? id;

const contains = (text: string | undefined, part: string): boolean =>
  part === '' || (text?.toLowerCase().includes(part.toLowerCase()) ?? false);

const matches = (row: TraceEntry, { address, type, code, node, call, calls }: TraceFilter): boolean =>
  (type === '' || row.type === type) &&
  (code === '' || (code === '*' ? row.code !== undefined : row.code === code)) &&
  contains(row.to, address) &&
  (contains(row.from, node) || contains(row.via, node)) &&
  contains(callOf(row), call) &&
  (calls === undefined || calls.has(callOf(row) ?? ''));
