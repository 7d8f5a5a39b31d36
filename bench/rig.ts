// A router with the processes of its load, and the comparison of two routers.
import { type Contestant, cpuUs, Driver, pin, type StartCommand, start } from './contestants.ts';
import type { WindowResult } from './driver.ts';

export interface Cell {
  readonly size: number;
  readonly open: number;
  readonly connections: number;
  readonly stream?: boolean;
  /** True if the agent sends one chunk of each stream in a turn of its event loop. @default up to 16 */
  readonly drips?: boolean;
  /** Length of the texts in the payload. @default that of a paragraph */
  readonly textBytes?: number;
  /** True if messages have a sid, a ttl, metadata, a signature and a digest. @default false */
  readonly hasAllFields?: boolean;
  /** Percentage of the requests that belong to a sampled trace. @default none has a trace context */
  readonly sampledPercent?: number | undefined;
}
/** A contestant with the drivers of its load. */
export interface Rig {
  readonly contestant: Contestant;
  readonly agent: Driver;
  readonly clients: Driver;
}
export interface Row {
  us: number;
  rate: number;
  p50us: number;
}

export const ADDRESS = 'echo@fame.fabric';
export async function startRig(command: StartCommand): Promise<Rig> {
  const contestant = await start(command);
  const agent = new Driver();
  const { token, url } = contestant;
  await agent.request({ cmd: 'agent', url, address: ADDRESS, id: 'agent', token });
  return { contestant, agent, clients: new Driver() };
}
export const stopRig = ({ contestant, agent, clients }: Rig): void => {
  contestant.stop();
  agent.stop();
  clients.stop();
};

/** Measures one window of one contestant, `leadMs` after its load began: CPU per forwarded message, rate and latency. */
export async function measure(
  { contestant, clients, agent }: Rig,
  cell: Cell,
  windowMs: number,
  leadMs = 60,
): Promise<Row> {
  await clients.request({
    cmd: 'clients',
    url: contestant.url,
    token: contestant.token,
    address: ADDRESS,
    stream: false,
    ...cell,
  });
  await clients.request({ cmd: 'window', ms: leadMs });
  const before = cpuUs(contestant.pid);
  const { trips, ms, p50us } = await clients.request<WindowResult>({ cmd: 'window', ms: windowMs });
  const cpu = cpuUs(contestant.pid) - before;
  await clients.request({ cmd: 'closeLoad' });
  if (cell.stream) await agent.request({ cmd: 'endStreams' });
  const messages = cell.stream ? trips : 2 * trips;
  return { us: cpu / Math.max(1, messages), rate: (trips / ms) * 1000, p50us };
}

/** Warms up: every contestant forwards the same number of messages before the measurement, so that its code is compiled. */
export async function warmUp(rigs: readonly Rig[], messages: number): Promise<void> {
  for (const cell of [
    { size: 256, open: 16, connections: 16 },
    { size: 4_096, open: 16, connections: 16 },
  ]) {
    for (const { contestant, clients } of rigs) {
      await clients.request({
        cmd: 'clients',
        url: contestant.url,
        token: contestant.token,
        address: ADDRESS,
        stream: false,
        ...cell,
      });
      await clients.request({
        cmd: 'count',
        messages: contestant.name === 'naylence' ? 1_000 : messages,
      });
      await clients.request({ cmd: 'closeLoad' });
    }
  }
}

/**
 * Compares the CPU time per message of two routers, which run at the same time and take turns. Each of the `sets` starts new processes,
 * because two processes of the same program differ. `prepare` is called for each router before its load. Returns the ratio of the
 * second router to the first in each round.
 */
export async function compareRouters(
  first: StartCommand,
  second: StartCommand,
  options: {
    sets: number;
    rounds: number;
    warmMessages: number;
    /** Percentage of the requests that belong to a sampled trace. @default none has a trace context */
    sampledPercent?: number | undefined;
    prepare?: ((router: Contestant, nth: number) => Promise<void>) | undefined;
  },
): Promise<number[]> {
  const { sampledPercent } = options;
  const cell: Cell = { size: 256, open: 16, connections: 16, sampledPercent };
  const ratios: number[] = [];
  for (let set = 0; set < options.sets; set++) {
    const rigs = [await startRig(first), await startRig(second)] as const;
    try {
      for (const { contestant, agent, clients } of rigs) {
        pin(contestant.pid, 0);
        for (const driver of [agent, clients]) pin(driver.pid, 1);
      }
      for (const [nth, { contestant }] of rigs.entries()) await options.prepare?.(contestant, nth);
      await warmUp(rigs, options.warmMessages);
      for (let round = 0; round < options.rounds; round++) {
        const us = new Map<Rig, number>();
        for (const rig of round % 2 === 0 ? rigs : rigs.toReversed()) {
          us.set(rig, (await measure(rig, cell, 100, 40)).us);
        }
        ratios.push(us.get(rigs[1])! / us.get(rigs[0])!);
      }
    } finally {
      for (const rig of rigs) stopRig(rig);
    }
  }
  return ratios;
}
