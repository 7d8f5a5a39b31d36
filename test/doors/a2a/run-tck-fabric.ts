// A fabric for the A2A TCK: a sentinel with the A2A door and the agent `tck@fame.fabric`, until SIGTERM or SIGINT. Prints its URL. Push
// notifications may go to the receiver of the TCK on this machine.
// Usage: node --conditions=fame-source test/doors/a2a/run-tck-fabric.ts [port]
import { AgentWorker, createSafeFetch } from '@fame-fabric/agents';
import { openDoors } from '@fame-fabric/doors';
import { doorOfPath } from '@fame-fabric/doors/config';
import { Link, silentLog } from '@fame-fabric/shared';
import { wsDial } from '@fame-fabric/shared/node';
import { startEmbedded } from '../../kit/embedded-sentinel.ts';
import { tckAgent } from './tck-agent.ts';

const NAMES = ['a2a'] as const;
const port = Number(process.argv[2] ?? 0);
const sentinel = await startEmbedded({
  port,
  doors: {
    claims: (path) => doorOfPath(path, NAMES) !== undefined,
    open: async (host) => openDoors(host, NAMES, { chatAddress: tckAgent.address }),
  },
});
const safeFetch = createSafeFetch({
  allowHttp: true,
  allowAddresses: ['127.0.0.1'],
  ports: Array.from({ length: 65_535 }, (_, index) => index + 1),
});
const link = new Link({ url: sentinel.url, dial: wsDial });
const worker = new AgentWorker([tckAgent], { link, log: silentLog, safeFetch });
await worker.start();
console.log(`http://127.0.0.1:${sentinel.port}`);

const stop = async (): Promise<void> => {
  await worker.drain(0);
  await sentinel.close();
  process.exit(0);
};
process.once('SIGTERM', () => void stop());
process.once('SIGINT', () => void stop());
