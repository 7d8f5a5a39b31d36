// The events that a client received of one conversation, and their comparison with a journal. The journal must have every event
// except text that was still being streamed or that a restart took back, and its texts must be those of the client.
import type { TurnEvent } from '@fame-fabric/client';
import type { JournalRow } from './journal-view.ts';

/** Maximum characters of one row of text. */
const ROW = 2 ** 14;

/** A turn that a client has sent. */
export interface SentTurn {
  readonly turnId: string;
  readonly text: string;
}

/** A turn that a client follows, with the events that have arrived. */
export interface FollowedTurn extends SentTurn {
  readonly events: readonly TurnEvent[];
  /** Cursor of the last event. */
  readonly after: number;
}

export class Received {
  #events: TurnEvent[] = [];
  /** Index of the first event of each turn. */
  #starts: number[] = [];
  #turn: SentTurn | undefined;

  /** A snapshot. */
  copy(): Received {
    const copy = new Received();
    copy.#events = [...this.#events];
    copy.#starts = [...this.#starts];
    copy.#turn = this.#turn;
    return copy;
  }

  begin(turn: SentTurn): void {
    this.#turn = turn;
    this.#starts.push(this.#events.length);
  }

  /** Returns a fault if the cursor of the event is not above all earlier ones. */
  add(event: TurnEvent): string | undefined {
    const last = this.#events.at(-1)?.seq ?? 0;
    this.#events.push(event);
    const { seq = 0, type } = event;
    return seq > last ? undefined : `the cursor of a ${type} went from ${last} to ${seq}`;
  }

  get count(): number {
    return this.#events.length;
  }

  /** The running turn, if the client has received an event of it. */
  get running(): FollowedTurn | undefined {
    const events = this.#events.slice(this.#starts.at(-1) ?? 0);
    const last = events.at(-1);
    if (!this.#turn || !last || last.type === 'done') return undefined;
    return { ...this.#turn, events, after: last.seq ?? 0 };
  }

  /** Compares with the rows of the conversation in a journal. */
  faults(rows: readonly JournalRow[]): string[] {
    const faults: string[] = [];
    const byCursor = new Map(rows.map((row) => [row.cursor, row]));
    const byStart = new Map(
      rows.flatMap((row) =>
        row.kind === 'text' ? [[row.cursor - rowText(row).length, rowText(row)] as const] : [],
      ),
    );
    const lastDurable = this.#events.findLastIndex(({ type }) => type !== 'text');
    const kept = keptLengths(this.#events, new Set(this.#starts));
    for (const [index, event] of this.#events.entries()) {
      const { type, seq = 0 } = event;
      if (type !== 'text') {
        if (!byCursor.has(seq))
          faults.push(`a client received ${type} at ${seq}, which is not in the journal`);
        continue;
      }
      const start = Math.floor((seq - 1) / ROW) * ROW;
      const row = byStart.get(start);
      const isStreamed = index > lastDurable;
      if (kept[index] === 0 || (row === undefined && isStreamed)) continue;
      const from = seq - start - event.text.length;
      const stored = row?.slice(from, from + kept[index]!);
      if (stored !== event.text.slice(0, kept[index]))
        faults.push(`a client received ${JSON.stringify(event)}, the journal has ${stored}`);
    }
    return faults;
  }
}

/**
 * For each event, the characters of its text that no later `restart` took back. A restart takes back text that was lost with the
 * process that streamed it.
 */
function keptLengths(events: readonly TurnEvent[], starts: ReadonlySet<number>): number[] {
  const kept = events.map((event) => (event.type === 'text' ? event.text.length : 0));
  /** Indexes of the texts of the turn. */
  let texts: number[] = [];
  for (const [index, event] of events.entries()) {
    if (starts.has(index)) texts = [];
    if (event.type === 'text') texts.push(index);
    if (event.type !== 'restart') continue;
    let left = event.keep;
    for (const text of texts) {
      kept[text] = Math.min(kept[text]!, left);
      left -= kept[text]!;
    }
  }
  return kept;
}

const rowText = ({ body }: JournalRow): string => String(body.text);
