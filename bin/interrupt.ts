// The interruption of a verb by a signal.
import { FabricError } from '@fame-fabric/shared';
import { onAbort } from '@fame-fabric/shared/internal';

/** Creates the error of an interrupted verb; exit code 130. */
export const interrupted = (): FabricError => new FabricError('CALL_CANCELLED', 'Interrupted');

/** Returns a signal that aborts at the first SIGINT or SIGTERM. The verb must end by itself, with exit code 130. */
export function onInterrupt(): { signal: AbortSignal; release(): void } {
  const controller = new AbortController();
  const abort = (): void => controller.abort(interrupted());
  process.once('SIGINT', abort);
  process.once('SIGTERM', abort);
  return {
    signal: controller.signal,
    release() {
      process.removeListener('SIGINT', abort);
      process.removeListener('SIGTERM', abort);
    },
  };
}

/** Resolves when `signal` aborts. */
export const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => void onAbort(signal, resolve));
