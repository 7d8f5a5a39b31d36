// `npm run bench-cluster [-- --quick]`: the costs of a cluster, goal K6. Ratios are those of one run.
//
// - CPU time of a message of 256 B at one sentinel without a cluster, at one sentinel of a cluster, between two sentinels, and with every second
//   call to the other sentinel. In a cluster it includes nats-server. The cells take turns, and each set starts new processes.
// - Accepted turns with PostgreSQL beside SQLite.
//
// The sentinels and nats-server share one core, and the nodes have the other one, as in the comparison with other routers. With
// `--unpinned` the system chooses the cores.
import { parseArgs } from 'node:util';
import { besidePostgres } from './accepted-turns.ts';
import { type Contestant, cpuUs, Driver, OURS, pin, rssKb, start } from './contestants.ts';
import type { WindowResult } from './driver.ts';
import { type NatsServer, startNats } from './kit.ts';
import { median } from './median.ts';

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    /** `messages` or `turns`. @default both */
    only: { type: 'string' },
    unpinned: { type: 'boolean', default: false },
  },
});
const SETS = flags.quick ? 1 : 3;
const ROUNDS = flags.quick ? 3 : 6;
const WINDOW_MS = flags.quick ? 300 : 500;
const WARM_MESSAGES = flags.quick ? 60_000 : 200_000;
const SIZE = 256;

const GOALS = { acrossFactor: 2.5, halfLocalFactor: 1.8, postgresFactor: 3, postgresPerSecond: 1_000 };

const HERE = 'echo-one@fame.fabric';
const THERE = 'echo-two@fame.fabric';

/** Route of the calls in one cell. */
type Way = 'alone' | 'local' | 'across' | 'half';
const WAYS: readonly Way[] = ['alone', 'local', 'across', 'half'];

interface Row {
  /** CPU time of each server process for each message, in us: the sentinel of the callers, the other one, nats-server. */
  readonly us: readonly number[];
  readonly perSecond: number;
  readonly p50us: number;
}

/** The processes of one set: a sentinel alone, two in a cluster, NATS, and the nodes of both. */
class Rig {
  readonly #alone: Contestant;
  readonly #one: Contestant;
  readonly #two: Contestant;
  readonly #nats: NatsServer;
  readonly #agents = new Driver();
  readonly #clients = new Driver();

  static async start(): Promise<Rig> {
    const nats = await startNats();
    const member = (id: string) => ({
      ...OURS,
      name: id,
      env: { ...OURS.env, FAME_NODE_ID: id, FAME_CLUSTER: 'bench', FAME_CLUSTER_NATS: nats.url },
    });
    const rig = new Rig(nats, await start(OURS), await start(member('one')), await start(member('two')));
    try {
      await rig.#serve();
    } catch (error) {
      await rig.stop();
      throw error;
    }
    return rig;
  }

  private constructor(nats: NatsServer, alone: Contestant, one: Contestant, two: Contestant) {
    this.#nats = nats;
    this.#alone = alone;
    this.#one = one;
    this.#two = two;
  }

  async #serve(): Promise<void> {
    if (!flags.unpinned) this.#pin();
    await this.#agents.request({ cmd: 'agent', url: this.#alone.url, address: HERE, id: 'agent' });
    await this.#agents.request({ cmd: 'agent', url: this.#one.url, address: HERE, id: 'agent' });
    await this.#agents.request({ cmd: 'agent', url: this.#two.url, address: THERE, id: 'agent' });
    for (const way of WAYS) {
      for (const open of [16, 128]) {
        await this.#begin(way, open);
        await this.#clients.request({ cmd: 'count', messages: WARM_MESSAGES / 2 });
        await this.#clients.request({ cmd: 'closeLoad' });
      }
    }
  }

  #pin(): void {
    for (const pid of [this.#alone.pid, ...this.#memberPids]) pin(pid, 0);
    for (const { pid } of [this.#agents, this.#clients]) pin(pid, 1);
  }

  get #memberPids(): readonly number[] {
    return [this.#one.pid, this.#two.pid, this.#nats.pid];
  }

  /** Resident memory of a sentinel of the cluster and of nats-server, in MB. */
  get memoryMb(): readonly number[] {
    return [this.#one.pid, this.#nats.pid].map((pid) => rssKb(pid) / 1_024);
  }

  async #begin(way: Way, open: number): Promise<void> {
    const { url } = way === 'alone' ? this.#alone : this.#one;
    const address = way === 'across' ? THERE : HERE;
    const otherAddress = way === 'half' ? THERE : address;
    const load = { size: SIZE, open, connections: 16, stream: false } as const;
    await this.#clients.request({ cmd: 'clients', url, address, otherAddress, ...load });
  }

  async measure(way: Way, open: number): Promise<Row> {
    await this.#begin(way, open);
    await this.#clients.request({ cmd: 'window', ms: 100 });
    const pids = way === 'alone' ? [this.#alone.pid] : this.#memberPids;
    const before = pids.map(cpuUs);
    const { trips, ms, p50us } = await this.#clients.request<WindowResult>({ cmd: 'window', ms: WINDOW_MS });
    const us = pids.map((pid, nth) => (cpuUs(pid) - before[nth]!) / Math.max(1, 2 * trips));
    await this.#clients.request({ cmd: 'closeLoad' });
    return { us, perSecond: (2_000 * trips) / ms, p50us };
  }

  async stop(): Promise<void> {
    for (const process of [this.#alone, this.#one, this.#two, this.#agents, this.#clients]) process.stop();
    await this.#nats.kill();
  }
}

let missed = 0;
function printFigure(label: string, value: string, goal: string, isMet: boolean): void {
  if (!isMet) missed++;
  console.log(`${isMet ? 'ok    ' : 'MISSED'} ${label}: ${value} (${goal})`);
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** Prints the figures of one number of open calls. Rows with the same index belong to one round. */
function printMessages(open: number, rows: Readonly<Record<Way, readonly Row[]>>): void {
  for (const way of WAYS) {
    const mid = (of: (row: Row) => number): number => median(rows[way].map(of));
    const parts = rows[way][0]!.us.map((_, nth) => mid(({ us }) => us[nth]!).toFixed(1)).join(' + ');
    console.log(
      `       ${way.padEnd(6)} ${parts} us, ${mid((row) => row.perSecond).toFixed(0)} messages/s, call ${(mid((row) => row.p50us) / 1_000).toFixed(2)} ms`,
    );
  }
  const ratio = (of: (row: Row) => number, to: (row: Row) => number, ways: readonly [Way, Way]): number =>
    median(rows[ways[0]].map((row, round) => of(row) / to(rows[ways[1]][round]!)));
  const sentinels = ({ us }: Row): number => sum(us.slice(0, 2));
  const all = ({ us }: Row): number => sum(us);
  const across = ratio(sentinels, sentinels, ['across', 'local']);
  const half = ratio(all, all, ['half', 'alone']);
  printFigure(
    `${open} calls open, a message across NATS to a local one, both sentinels`,
    across.toFixed(2),
    `<= ${GOALS.acrossFactor}`,
    across <= GOALS.acrossFactor,
  );
  printFigure(
    `${open} calls open, half of the messages local, sentinels and NATS to one sentinel`,
    half.toFixed(2),
    `<= ${GOALS.halfLocalFactor}`,
    half <= GOALS.halfLocalFactor,
  );
}

async function measureMessages(): Promise<void> {
  const rows = new Map<number, Record<Way, Row[]>>(
    [16, 128].map((open) => [open, { alone: [], local: [], across: [], half: [] }]),
  );
  let memory: readonly number[] = [];
  for (let set = 0; set < SETS; set++) {
    const rig = await Rig.start();
    try {
      for (let round = 0; round < ROUNDS; round++) {
        for (const [open, of] of rows) {
          for (const way of round % 2 === 0 ? WAYS : WAYS.toReversed()) {
            of[way].push(await rig.measure(way, open));
          }
        }
      }
      memory = rig.memoryMb;
    } finally {
      await rig.stop();
    }
  }
  console.log(`CPU time of a message of ${SIZE} B: sentinel of the callers + other sentinel + nats-server`);
  for (const [open, of] of rows) printMessages(open, of);
  console.log(
    `       memory of a sentinel and of nats-server: ${memory.map((mb) => `${mb.toFixed(0)} MB`).join(', ')}`,
  );
}

async function measureTurns(): Promise<void> {
  const figures = await besidePostgres(flags.quick ? 3 : 7);
  if (figures === undefined) {
    console.log('PostgreSQL is not installed: not measured');
    return;
  }
  const { perSecond, factor, acceptMs, acceptFactor, turnMs, turnFactor } = figures;
  const goal = `<= ${GOALS.postgresFactor} times`;
  printFigure(
    'turns accepted with PostgreSQL, 256 conversations at once',
    `${Math.round(perSecond)}/s, ${factor.toFixed(2)} times the time with SQLite`,
    `>= ${GOALS.postgresPerSecond}/s and ${goal}`,
    perSecond >= GOALS.postgresPerSecond && factor <= GOALS.postgresFactor,
  );
  printFigure(
    'one turn at a time with PostgreSQL, until it is accepted',
    `${acceptMs.toFixed(2)} ms, ${acceptFactor.toFixed(2)} times the time with SQLite`,
    goal,
    acceptFactor <= GOALS.postgresFactor,
  );
  console.log(
    `       until it is complete: ${turnMs.toFixed(2)} ms, ${turnFactor.toFixed(2)} times the time with SQLite`,
  );
}

if (flags.only !== 'turns') await measureMessages();
if (flags.only !== 'messages') await measureTurns();
process.exit(missed === 0 ? 0 : 1);
