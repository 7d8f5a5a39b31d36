// Signals that interrupt a verb.
import { FabricError } from '@fame-fabric/shared';
import { onAbort } from '@fame-fabric/shared/internal';

/** The reason of a verb that was interrupted; exit code 130. */
export const interrupted = (): FabricError => new FabricError('CALL_CANCELLED', 'Interrupted');

/** Aborts `signal` at the first SIGINT or SIGTERM. The verb ends by itself, with exit code 130. */
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
