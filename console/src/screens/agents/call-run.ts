// One call of an operation at a time, with its result or the items of its stream.
import { useEffect, useState } from 'preact/hooks';
import { client } from '../../fabric/connection.ts';
import { wireParams } from './call-code.ts';

interface Item {
  /** From 1. */
  readonly number: number;
  /** From the start of the call, in ms. */
  readonly afterMs: number;
  readonly value: unknown;
}

export type Run =
  | { readonly state: 'idle' }
  | {
      readonly state: 'running' | 'done' | 'cancelled' | 'failed';
      readonly isStream: boolean;
      /** The last items of a stream, or the result of a call. */
      readonly items: readonly Item[];
      /** Number of all items. */
      readonly count: number;
      readonly ms: number;
      readonly error?: unknown;
    };

/** Items that are kept. A stream may have any number of them. */
const MAX_ITEMS = 500;
/** Shortest pause between two renderings of a stream, in ms. */
const RENDER_MS = 80;
const TIMEOUT_MS = 600_000;

export interface Caller {
  readonly run: Run;
  start(params: unknown, isStream: boolean): void;
  cancel(): void;
}

/** Calls an operation of an agent. The call is cancelled when the screen leaves the operation. */
export function useCall(address: string, operation: string): Caller {
  const [run, setRun] = useState<Run>({ state: 'idle' });
  const [controller, setController] = useState<AbortController>();
  useEffect(() => () => controller?.abort(), [controller]);

  const start = async (params: unknown, isStream: boolean): Promise<void> => {
    const connected = client.value;
    if (connected === undefined) {
      const error = new Error('The page is not attached to the sentinel. Wait until it is, and call again.');
      setRun({ state: 'failed', isStream, items: [], count: 0, ms: 0, error });
      return;
    }
    const own = new AbortController();
    setController(own);
    const startedAt = performance.now();
    let items: Item[] = [];
    let count = 0;
    let shownAt = 0;
    const show = (state: 'running' | 'done' | 'cancelled' | 'failed', error?: unknown): void => {
      const now = performance.now();
      if (state === 'running' && count > 1 && now - shownAt < RENDER_MS) return;
      shownAt = now;
      setRun({
        state,
        isStream,
        items: [...items],
        count,
        ms: now - startedAt,
        ...(error === undefined ? {} : { error }),
      });
    };
    const add = (value: unknown): void => {
      count++;
      items.push({ number: count, afterMs: performance.now() - startedAt, value });
      if (items.length > MAX_ITEMS) items = items.slice(-MAX_ITEMS);
    };
    show('running');
    const options = { signal: own.signal, timeoutMs: TIMEOUT_MS };
    const sent = wireParams(params);
    try {
      if (isStream) {
        for await (const item of connected.stream(address, operation, sent, options)) {
          add(item);
          show('running');
        }
      } else add(await connected.call(address, operation, sent, options));
      show('done');
    } catch (error) {
      if (own.signal.aborted) show('cancelled');
      else show('failed', error);
    }
  };
  return {
    run,
    start: (params, isStream) => void start(params, isStream),
    cancel: () => controller?.abort(),
  };
}
