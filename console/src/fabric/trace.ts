// The trace of the sentinel. The page keeps it while it is open, and extends it while a screen shows it or sends messages.
import { signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { followLines } from './lines.ts';
import { mayWatch } from './session.ts';
import { sharedSource } from './shared-source.ts';
import { type MissedEntries, type TraceEntry, type TraceFilter, TraceLog } from './trace-log.ts';

/** The rows of the page. Read them after `traceVersion`, which grows with every change. */
export const traceLog = new TraceLog();
export const traceVersion = signal(0);

export interface TraceStatus {
  isOpen: boolean;
  isPaused: boolean;
  /** Entries that came while the trace was paused. They are not kept. */
  whilePaused: number;
  /** Entries that the sentinel left out because they came too fast. */
  missed: number;
  error: unknown;
}
export const traceStatus = signal<TraceStatus>({
  isOpen: false,
  isPaused: false,
  whilePaused: 0,
  missed: 0,
  error: undefined,
});

/** Does not subscribe an effect that calls it. */
const changed = (): void => {
  traceVersion.value = traceVersion.peek() + 1;
};
const update = (change: Partial<TraceStatus>): void => {
  traceStatus.value = { ...traceStatus.peek(), ...change };
};

type Line = TraceEntry | MissedEntries;

/** Takes the lines of one network read. */
function takeLines(lines: readonly Line[]): void {
  const entries = lines.filter((line): line is TraceEntry => !('missed' in line));
  const missed = lines.reduce((sum, line) => sum + ('missed' in line ? line.missed : 0), 0);
  if (missed > 0) update({ missed: traceStatus.value.missed + missed });
  if (entries.length === 0) return;
  if (traceStatus.value.isPaused) {
    update({ whilePaused: traceStatus.value.whilePaused + entries.length });
    return;
  }
  traceLog.push(entries);
  changed();
}

export const pauseTrace = (): void => update({ isPaused: true, whilePaused: 0 });
export const resumeTrace = (): void => update({ isPaused: false, whilePaused: 0 });

export function clearTrace(): void {
  traceLog.clear();
  changed();
  update({ missed: 0, whilePaused: 0 });
}

export function filterTrace(change: Partial<TraceFilter>): void {
  traceLog.setFilter({ ...traceLog.filter, ...change });
  changed();
}

/** The stream of the sentinel. Needs the permission Watch. */
const traceSource = sharedSource(() => {
  const stop = followLines<Line>('/fame/v1/trace', {
    onLines: takeLines,
    onState: (error, isOpen) => update({ error, isOpen }),
  });
  return () => {
    stop();
    update({ isOpen: false });
  };
});

/**
 * Extends the trace while the component is mounted, if the principal may watch. A screen that sends messages uses it too, so that the
 * screen Trace has these messages when it opens.
 */
export function useTrace(): void {
  const isAllowed = mayWatch.value;
  useEffect(() => (isAllowed ? traceSource.use() : undefined), [isAllowed]);
}
