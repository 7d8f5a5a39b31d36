// The interruption of a verb by a signal.
import { FabricError } from '@fame-fabric/shared';
import { EXIT, onAbort } from '@fame-fabric/shared/internal';

/** Creates the error of an interrupted verb; exit code 130. */
export const interrupted = (): FabricError => new FabricError('CALL_CANCELLED', 'Interrupted');

/**
 * Returns a signal that aborts at the first SIGINT or SIGTERM. The verb must end by itself, with `exitCode`: 130 after SIGINT, 143
 * after SIGTERM.
 */
export function onInterrupt(): { signal: AbortSignal; readonly exitCode: number; release(): void } {
  const controller = new AbortController();
  let exitCode: number = EXIT.interrupted;
  const abort = (name: NodeJS.Signals): void => {
    if (name === 'SIGTERM') exitCode = EXIT.terminated;
    controller.abort(interrupted());
  };
  process.once('SIGINT', abort);
  process.once('SIGTERM', abort);
  return {
    signal: controller.signal,
    get exitCode() {
      return exitCode;
    },
    release() {
      process.removeListener('SIGINT', abort);
      process.removeListener('SIGTERM', abort);
    },
  };
}

/** Resolves when `signal` aborts. */
export const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => void onAbort(signal, resolve));
