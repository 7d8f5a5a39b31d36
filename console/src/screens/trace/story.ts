// The story of one call: its envelopes in order, as lanes and steps of a sequence diagram.
import type { TraceRow } from '../../fabric/trace-log.ts';

/** Id of the lane of the sentinel, which no path equals. */
export const SENTINEL = '';

export interface StoryStep {
  /** Lanes, by their index. A refused envelope ends at the sentinel. */
  from: number;
  to: number;
  dir: TraceRow['dir'];
  type: string;
  /** Destination address; empty for frames between neighbors. */
  address: string;
  code?: string;
  /** Envelopes in this step: a stream has many of the same kind. */
  count: number;
  bytes: number;
  /** Time of the first and of the last envelope, in ms since the start of the story. */
  startMs: number;
  endMs: number;
}

export interface Story {
  /** Paths in the order of their appearance, with the sentinel as the second lane. */
  lanes: string[];
  steps: StoryStep[];
  /** Wall time of the first envelope, in ms since the epoch. */
  t: number;
  durationMs: number;
  messages: number;
  bytes: number;
}

/** Kinds of steps that alternate in a stream: items, credit and acknowledgements. */
const MERGE_WINDOW = 3;

/** Builds the story of the rows of one call, oldest first. Undefined without rows. */
export function buildStory(rows: readonly TraceRow[]): Story | undefined {
  const [first] = rows;
  if (first === undefined) return undefined;
  const lanes = [first.from, SENTINEL];
  const laneOf = (path: string): number => {
    const known = lanes.indexOf(path);
    return known >= 0 ? known : lanes.push(path) - 1;
  };
  const steps: StoryStep[] = [];
  for (const row of rows) {
    const from = laneOf(row.from);
    const to = laneOf(row.dir === 'forward' && row.via !== undefined ? row.via : SENTINEL);
    const at = row.t - first.t;
    const same = steps
      .slice(-MERGE_WINDOW)
      .find(
        (step) =>
          step.from === from &&
          step.to === to &&
          step.dir === row.dir &&
          step.type === row.type &&
          step.address === row.to &&
          step.code === row.code,
      );
    if (same) {
      same.count++;
      same.bytes += row.bytes;
      same.endMs = at;
      continue;
    }
    steps.push({
      from,
      to,
      dir: row.dir,
      type: row.type,
      address: row.to,
      ...(row.code !== undefined && { code: row.code }),
      count: 1,
      bytes: row.bytes,
      startMs: at,
      endMs: at,
    });
  }
  return {
    lanes,
    steps,
    t: first.t,
    durationMs: rows.at(-1)!.t - first.t,
    messages: rows.length,
    bytes: rows.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}
