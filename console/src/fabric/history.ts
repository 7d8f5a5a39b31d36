// The last 15 minutes of the sentinel, from its memory.
import { signal } from '@preact/signals';
import { requestJson } from './api.ts';
import { sharedSource } from './shared-source.ts';

/** One interval of the sentinel. Counts are those of the interval. */
export interface HistorySample {
  /** End of the interval, in ms since the epoch. */
  t: number;
  messages: number;
  bytes: number;
  /** Null if no message was measured. */
  hopMs: { p50: number; p99: number } | null;
  openCalls: number;
  queueBytes: number;
  /** Refusals by code. */
  refusals: Readonly<Record<string, number>>;
  attached: number;
  /** Null in the first interval. */
  loopDelayMs: { p50: number; p99: number } | null;
}

export interface HistoryView {
  intervalMs: number;
  /** Oldest first. */
  samples: readonly HistorySample[];
}

const REPEAT_MS = 5_000;

/** The history; undefined until it is loaded. It keeps its last value after an error. */
export const historyView = signal<HistoryView | undefined>(undefined);
export const historyError = signal<unknown>(undefined);

async function loadHistory(): Promise<void> {
  try {
    historyView.value = await requestJson<HistoryView>('/fame/v1/history');
    historyError.value = undefined;
  } catch (error) {
    historyError.value = error;
  }
}

/** Loads the history every 5 s. Needs the permission Watch. Use it with `useSource(historySource)`. */
export const historySource = sharedSource(() => {
  void loadHistory();
  const timer = setInterval(() => void loadHistory(), REPEAT_MS);
  return () => clearInterval(timer);
});
