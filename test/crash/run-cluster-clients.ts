// `npm run cluster-clients [-- --clients 10000]`: K5. Clients are spread over two sentinels of a cluster, and one sentinel is killed. Reports the
// time until all clients are attached again, and how long the processor cores were busy until then.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { clusterEnv, startNats } from '../kit/nats.ts';
import { type Proc, startNode, stopAll } from '../kit/processes.ts';
import { metric, type OurSentinel, startOurSentinel } from '../kit/sentinel.ts';

process.env.FAME_TEST_FROM = 'dist';
const BACK_WITHIN_S = 60;
/** A core is busy in a second in which more than this share of it was used. */
const BUSY = 0.8;
const BUSY_FOR_AT_MOST_S = 10;
const PROGRAMS = 4;
const CLIENTS = fileURLToPath(new URL('./clients-program.ts', import.meta.url));

const { values } = parseArgs({ options: { clients: { type: 'string', default: '10000' } } });
const count = Number(values.clients);
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const secondsSince = (time: number): number => Math.round((performance.now() - time) / 100) / 10;

/** Used and total time of each core, in ticks. */
function cores(): { used: number; total: number }[] {
  const lines = readFileSync('/proc/stat', 'utf8').split('\n');
  return lines
    .filter((line) => /^cpu\d/.test(line))
    .map((line) => {
      const ticks = line.split(/\s+/).slice(1, 9).map(Number);
      const total = ticks.reduce((sum, part) => sum + part, 0);
      return { used: total - ticks[3]! - ticks[4]!, total };
    });
}

interface Use {
  /** Longest time for which it was busy, in seconds. */
  busyS: number;
  /** Largest share of a core in one second. */
  peak: number;
  /** Processor time in seconds. */
  sumS: number;
}

/** The use of each core, and the use of a core by each process, in samples of one second. */
class Usage {
  readonly #procs: ReadonlyMap<string, Proc>;
  readonly #runs = new Map<string, number>();
  readonly #uses = new Map<string, Use>();
  readonly #timer: NodeJS.Timeout;
  #cores = cores();
  #cpuMs: Map<string, number>;
  #at = performance.now();

  constructor(procs: ReadonlyMap<string, Proc>) {
    this.#procs = procs;
    this.#cpuMs = this.#used();
    this.#timer = setInterval(() => this.#sample(), 1_000);
  }

  #used(): Map<string, number> {
    return new Map([...this.#procs].map(([name, proc]) => [name, proc.cpuMs()]));
  }

  #sample(): void {
    const now = performance.now();
    const [after, cpuMs] = [cores(), this.#used()];
    const seconds = (now - this.#at) / 1_000;
    for (const [n, { used, total }] of after.entries()) {
      const before = this.#cores[n]!;
      this.#add(`core ${n}`, (used - before.used) / Math.max(1, total - before.total), seconds);
    }
    for (const [name, ms] of cpuMs)
      this.#add(name, (ms - this.#cpuMs.get(name)!) / (now - this.#at), seconds);
    [this.#cores, this.#cpuMs, this.#at] = [after, cpuMs, now];
  }

  #add(name: string, share: number, seconds: number): void {
    const run = share > BUSY ? (this.#runs.get(name) ?? 0) + seconds : 0;
    this.#runs.set(name, run);
    const { busyS, peak, sumS } = this.#uses.get(name) ?? { busyS: 0, peak: 0, sumS: 0 };
    this.#uses.set(name, {
      busyS: Math.max(busyS, run),
      peak: Math.max(peak, share),
      sumS: sumS + share * seconds,
    });
  }

  stop(): Map<string, Use> {
    clearInterval(this.#timer);
    return this.#uses;
  }
}

const nats = await startNats({ hasJetStream: true });
const sentinels: OurSentinel[] = [];
for (const id of ['one', 'two'])
  sentinels.push(await startOurSentinel({ env: { ...clusterEnv(nats, id), FAME_LOG_LEVEL: 'error' } }));
const [one, two] = sentinels as [OurSentinel, OurSentinel];

const attached = Array.from({ length: PROGRAMS }, () => 0);
const programs = attached.map((_, n) => {
  const urls = n % 2 === 0 ? [one.url, two.url] : [two.url, one.url];
  const proc = startNode([CLIENTS, String(count / PROGRAMS), ...urls], { name: `clients ${n}` });
  proc.onLine((line) => {
    attached[n] = (JSON.parse(line) as { attached: number }).attached;
  });
  return proc;
});
const total = (): number => attached.reduce((sum, own) => sum + own, 0);

async function until(holds: () => boolean, limitS: number): Promise<number> {
  const beganAt = performance.now();
  while (!holds()) {
    const dead = programs.find(({ alive }) => !alive);
    if (dead) throw dead.failure('ended');
    if (secondsSince(beganAt) > limitS) throw new Error(`${total()} clients are attached after ${limitS} s`);
    await sleep(50);
  }
  return secondsSince(beganAt);
}

const attachedAfter = await until(() => total() === count, 300);
process.stdout.write(`${count} clients attached in ${attachedAfter} s\n`);
const procs = new Map([['sentinel', one.proc], ...programs.map((proc) => [proc.name, proc] as const)]);
const usage = new Usage(procs);
const killedAt = performance.now();
const curve: string[] = [];
const drawing = setInterval(() => curve.push(`${secondsSince(killedAt)} s: ${total()}`), 1_000);
await two.proc.kill();
await until(() => total() <= count * 0.75, BACK_WITHIN_S);
await until(() => total() === count, BACK_WITHIN_S);
const backAfter = secondsSince(killedAt);
clearInterval(drawing);
await sleep(2_000);
const uses = usage.stop();
const sessions = await metric(one, 'fame_sessions');
await stopAll();
process.stdout.write(`${curve.join('\n')}\n`);
process.stdout.write(`all back after ${backAfter} s; the sentinel has ${sessions} sessions\n`);
for (const [name, { busyS, peak, sumS }] of uses) {
  const above = `more than ${BUSY * 100} % for at most ${busyS.toFixed(1)} s`;
  process.stdout.write(`${name}: ${above}, peak ${(peak * 100).toFixed(0)} %, ${sumS.toFixed(1)} s in all\n`);
}
// Other programs of the machine may keep its cores busy. Each process here runs on one core at a time.
const own = [...uses].filter(([name]) => procs.has(name));
const isMet =
  backAfter <= BACK_WITHIN_S &&
  own.every(([, { busyS }]) => busyS <= BUSY_FOR_AT_MOST_S) &&
  sessions >= count;
process.exit(isMet ? 0 : 1);
