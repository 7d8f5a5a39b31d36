// The story of one call: its envelopes in order, as lanes and steps of a sequence diagram.
import type { TraceRow } from '../../fabric/trace-log.ts';

/** Id of the lane of the sentinel of the page, which no path equals. The other sentinels of its cluster have their path. */
export const SENTINEL = '';

export interface StoryStep {
  /** Lanes, by their index. An envelope that is refused, or goes on to another sentinel, ends at the sentinel. */
  from: number;
  to: number;
  /** Lane of the sentinel that recorded the step. */
  at: number;
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
  /** Paths in the order of their appearance. A sentinel comes before the first receiver that it forwards to. */
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

/** Paths of the sentinels of a cluster: that of the page, and the others. */
export interface SentinelPaths {
  own: string | undefined;
  others: readonly string[];
}

/** Builds the story of the rows of one call. Undefined without rows. */
export function buildStory(
  unordered: readonly TraceRow[],
  { own, others }: SentinelPaths = { own: undefined, others: [] },
): Story | undefined {
  // Rows of other sentinels arrive later than those of the sentinel of the page.
  const rows = unordered.some(({ sentinel }) => sentinel !== undefined)
    ? [...unordered].sort((a, b) => a.t - b.t || a.seq - b.seq)
    : unordered;
  const [first] = rows;
  if (first === undefined) return undefined;
  const lanes: string[] = [];
  const laneOf = (path: string): number => {
    const id = path === own ? SENTINEL : path;
    const known = lanes.indexOf(id);
    return known >= 0 ? known : lanes.push(id) - 1;
  };
  const isSentinel = (path: string): boolean => path === own || others.includes(path);
  const steps: StoryStep[] = [];
  for (const row of rows) {
    const from = laneOf(row.from);
    const lane = laneOf(row.sentinel ?? SENTINEL);
    // The next sentinel records its own step.
    const isLast = row.dir === 'forward' && row.via !== undefined && !isSentinel(row.via);
    const to = isLast ? laneOf(row.via!) : lane;
    const at = row.t - first.t;
    const same = steps
      .slice(-MERGE_WINDOW)
      .find(
        (step) =>
          step.from === from &&
          step.to === to &&
          step.at === lane &&
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
      at: lane,
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
