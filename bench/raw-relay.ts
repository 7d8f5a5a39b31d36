// Cost of forwarding bytes in Node itself: a TCP relay that reads nothing, frames nothing and routes nothing, under the same
// load as the cells of the benchmark. A router can only cost less if it bypasses Node's streams, so these figures are close to
// a lower bound.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Server } from 'node:net';
import { fileURLToPath } from 'node:url';
import { cpuUs } from './contestants.ts';
import { median } from './median.ts';
import { relayTo } from './relays/tcp.ts';

const here = fileURLToPath(import.meta.url);
const CONNECTIONS = 16;
const WINDOWS = 5;
const WINDOW_MS = 300;
/** Size of the frame and the envelope around a payload. */
const OVERHEAD_BYTES = 330;

/** Measures the CPU time per forwarded message, in us, for each payload size in bytes. */
export async function measureRawRelay(sizes: readonly number[]): Promise<{ size: number; us: number }[]> {
  const figures: { size: number; us: number }[] = [];
  for (const size of sizes) {
    const bytes = size + OVERHEAD_BYTES;
    const [echo, echoPort] = await startRole('echo', bytes);
    const [relay, relayPort] = await startRole('relay', echoPort);
    const clients = fork(here, ['clients', String(relayPort), String(bytes)]);
    const trips = async (): Promise<number> => {
      clients.send('trips');
      const [count] = (await once(clients, 'message')) as [number];
      return count;
    };
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const costs: number[] = [];
    for (let n = 0; n < WINDOWS; n++) {
      const before = await trips();
      const cpu = cpuUs(relay.pid!);
      await new Promise((resolve) => setTimeout(resolve, WINDOW_MS));
      costs.push((cpuUs(relay.pid!) - cpu) / (2 * ((await trips()) - before)));
    }
    figures.push({ size, us: median(costs) });
    for (const child of [clients, relay, echo]) child.kill('SIGKILL');
  }
  return figures;
}

async function startRole(role: 'echo' | 'relay', argument: number): Promise<[ChildProcess, number]> {
  const child = fork(here, [role, String(argument)]);
  const [port] = (await once(child, 'message')) as [number];
  return [child, port];
}

// The code of the forked processes. A socket error means that the other end was stopped after the measurement.
const ignore = (): void => {};

/** Calls `onWhole` for every `size` bytes that a socket delivers. */
function counter(size: number, onWhole: () => void): (chunk: Buffer) => void {
  let received = 0;
  return (chunk) => {
    received += chunk.length;
    for (; received >= size; received -= size) onWhole();
  };
}

function listen(server: Server): void {
  server.listen(0, '127.0.0.1', () => process.send?.((server.address() as { port: number }).port));
}

function runRole(role: string | undefined, port: number, size: number): void {
  if (role === 'relay') {
    listen(relayTo(port));
  } else if (role === 'echo') {
    const message = Buffer.alloc(port, 'x');
    listen(
      createServer({ noDelay: true }, (socket) => {
        socket
          .on(
            'data',
            counter(message.length, () => socket.write(message)),
          )
          .on('error', ignore);
      }),
    );
  } else if (role === 'clients') {
    let trips = 0;
    const message = Buffer.alloc(size, 'x');
    for (let n = 0; n < CONNECTIONS; n++) {
      const socket = connect({ port, host: '127.0.0.1', noDelay: true });
      const again = (): void => {
        trips++;
        socket.write(message);
      };
      socket.on('data', counter(size, again)).on('error', ignore);
      socket.write(message);
    }
    process.on('message', () => process.send?.(trips));
  }
}

if (process.argv[1] === here) {
  process.on('disconnect', () => process.exit(0));
  runRole(process.argv[2], Number(process.argv[3]), Number(process.argv[4]));
}
