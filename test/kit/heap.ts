// The heap of this process after garbage collection, for tests of leaks.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Bytes of living objects. */
export async function livingBytes(): Promise<number> {
  // Several rounds with turns of the event loop between them: finalizers and closed sockets free more objects.
  for (let round = 0; round < 4; round++) {
    collect();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return process.memoryUsage().heapUsed;
}

/** TCP connections that this process has open, each end counted. */
export const openSockets = (): number =>
  process.getActiveResourcesInfo().filter((kind) => kind === 'TCPSocketWrap').length;
