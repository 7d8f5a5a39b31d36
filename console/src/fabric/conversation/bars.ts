// The bars of a turn on its timeline: the wait in the inbox, each model call, each tool and the journal. Positions are in ms since the
// acceptance of the turn.
import { isOver, type ModelCall, type Restart, type ToolRun, type Turn, toolsOf } from './turns.ts';

interface Segment {
  readonly from: number;
  readonly to: number;
  /** `wait` is the part of a model call before its first token. */
  readonly kind: 'inbox' | 'wait' | 'model' | 'tool' | 'journal';
}

export interface Bar {
  readonly key: string;
  readonly kind: 'inbox' | 'model' | 'tool' | 'journal';
  readonly label: string;
  readonly segments: readonly Segment[];
  /** Duration in ms. */
  readonly ms: number;
  /** True while it goes on. */
  readonly isOpen: boolean;
  readonly isFailed: boolean;
  readonly call?: ModelCall | undefined;
  readonly run?: ToolRun | undefined;
}

export interface Timeline {
  readonly bars: readonly Bar[];
  /** Restarts of the agent, by their position. */
  readonly restarts: readonly { readonly at: number; readonly restart: Restart }[];
  /** Length of the timeline in ms, at least 1. */
  readonly totalMs: number;
}

/** Builds the timeline of a turn. `now` is the end of bars that are still open, in ms since the epoch. */
export function timelineOf(turn: Turn, now: number): Timeline {
  const { acceptedAt } = turn;
  const end = turn.endedAt ?? Math.max(now, acceptedAt);
  const tools = toolsOf(turn);
  const totalMs = Math.max(1, turn.durationMs ?? 0, end - acceptedAt);
  const place = (at: number): number => Math.min(Math.max(0, at - acceptedAt), totalMs);
  const bars = [
    ...inboxBar(turn, totalMs),
    ...turn.calls.map((call, index) => callBar(call, index, end, place)),
    ...tools.map((run, index) => toolBar(run, index, end, place)),
    ...journalBar(turn, place),
  ];
  const restarts = turn.parts.flatMap((part) =>
    part.type === 'restart' ? [{ at: place(part.restart.at), restart: part.restart }] : [],
  );
  return { bars: bars.toSorted((a, b) => order(a) - order(b)), restarts, totalMs };
}

/** Model calls and tools in the order of their starts, between the inbox and the journal. */
const order = ({ kind, segments }: Bar): number => {
  if (kind === 'inbox') return -1;
  return kind === 'journal' ? Number.POSITIVE_INFINITY : (segments[0]?.from ?? 0);
};

function inboxBar(turn: Turn, totalMs: number): Bar[] {
  const hasStarted = turn.calls.length > 0 || turn.parts.length > 0 || isOver(turn);
  if (turn.waitedMs === undefined && hasStarted) return [];
  const ms = Math.min(turn.waitedMs ?? totalMs, totalMs);
  return [
    {
      key: 'inbox',
      kind: 'inbox',
      label: 'Inbox',
      segments: [{ from: 0, to: ms, kind: 'inbox' }],
      ms,
      isOpen: turn.waitedMs === undefined,
      isFailed: false,
    },
  ];
}

type Place = (at: number) => number;

function callBar(call: ModelCall, index: number, end: number, place: Place): Bar {
  const from = place(call.startedAt + (call.journalMs ?? 0));
  const to = Math.max(from, place(call.endedAt ?? end));
  const split = Math.min(to, from + (call.firstTokenMs ?? to - from));
  return {
    key: `model-${index}`,
    kind: 'model',
    label: call.agent ? `${call.agent}: ${call.model}` : call.model,
    segments: [
      { from, to: split, kind: 'wait' },
      { from: split, to, kind: 'model' },
    ],
    ms: to - from,
    isOpen: call.endedAt === undefined,
    isFailed: call.isLost,
    call,
  };
}

function toolBar(run: ToolRun, index: number, end: number, place: Place): Bar {
  const from = place(run.startedAt);
  const to = Math.max(from, place(run.endedAt ?? end));
  return {
    key: `tool-${index}`,
    kind: 'tool',
    label: run.name,
    segments: [{ from, to, kind: 'tool' }],
    ms: to - from,
    isOpen: run.endedAt === undefined,
    isFailed: run.state === 'failed',
    run,
  };
}

/** The writes before model calls have a place; the others are in the total only. */
function journalBar({ calls, journalMs }: Turn, place: Place): Bar[] {
  const segments = calls.flatMap(({ startedAt, journalMs: ms }): Segment[] =>
    ms === undefined ? [] : [{ from: place(startedAt), to: place(startedAt + ms), kind: 'journal' }],
  );
  if (journalMs === undefined && segments.length === 0) return [];
  const ms = journalMs ?? segments.reduce((sum, { from, to }) => sum + to - from, 0);
  return [
    { key: 'journal', kind: 'journal', label: 'Journal', segments, ms, isOpen: false, isFailed: false },
  ];
}
