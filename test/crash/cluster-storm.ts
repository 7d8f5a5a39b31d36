// K2 to K4: the processes of a cluster are killed and paused, and their connections are interrupted, at random moments while turns of many
// conversations run. Then JetStream loses its data, and all sentinels and agents restart in order.
import { seeded } from '@fame-fabric/agents/testing';
import { CHAT } from '../kit/stack.ts';
import { ClusterFabric, MEMBERS, SINGLE } from './cluster-fabric.ts';
import { PostgresJournal } from './postgres/postgres-journal.ts';
import { StormTurns, type TurnCounts } from './storm-turns.ts';

export interface ClusterStormOptions {
  /** Kills of a sentinel or an agent. */
  kills: number;
  /** Mean time between two of these kills, in ms. */
  meanLifeMs: number;
  natsKills: number;
  databaseStops: number;
  /** Pauses of a sentinel, an agent, nats-server or PostgreSQL, one after the other. */
  pauses: number;
  /** Longest pause of a process, in ms. The shortest is 1 s. */
  longestPauseMs: number;
  /** Interruptions of one connection, one after the other. */
  partitions: number;
  longestPartitionMs: number;
  conversations: number;
  seed?: number;
  onProgress?: (line: string) => void;
}

export interface ClusterStormReport extends TurnCounts {
  /** Disruptions of each kind: kills, stops, pauses and interruptions. */
  disruptions: Record<string, number>;
  /** Time from the last failure until each conversation had completed a turn, in ms. */
  recoveredMs: number;
  /** Time from the loss of the data of JetStream until the same, and until all owners of addresses were written again, in ms. */
  wipedMs: number;
  /** Turns that were sent again while all members restarted in order. */
  restartRepeats: number;
  /** Exit codes of these restarts, except 0. */
  restartExits: string[];
  /** Exits of agents that started while PostgreSQL was not available. */
  startsWithoutStore: number;
  /** Errors in the logs of the members, with their counts. */
  errors: Record<string, number>;
  faults: string[];
  seconds: number;
}

/** Time for which users send a turn again, in ms: longer than the longest pause. */
const REPEATS_FOR_MS = 180_000;
/** Time limit for the recovery of all conversations, in ms. */
const RECOVERY_LIMIT_MS = 120_000;
const SHORTEST_PAUSE_MS = 1_000;
const SHORTEST_PARTITION_MS = 500;
/** Records of JetStream while everything runs: the lease of each sentinel, and the own address of each agent. */
const LIVE_RECORDS = 2 * MEMBERS + 1;
/** Every eighth conversation is with the agent that has one process. */
const SINGLE_EVERY = 8;
/** Mean time between two interruptions, and between two pauses, in ms. */
const GAP_MS = 1_000;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

class ClusterStorm {
  readonly #options: ClusterStormOptions;
  readonly #random: () => number;
  readonly #fabric: ClusterFabric;
  readonly #disruptions = new Map<string, number>();
  /** True while nats-server or PostgreSQL is paused, killed or being started. */
  readonly #isBusy = { nats: false, database: false };

  constructor(options: ClusterStormOptions, random: () => number, fabric: ClusterFabric) {
    this.#options = options;
    this.#random = random;
    this.#fabric = fabric;
  }

  get disruptions(): Record<string, number> {
    return Object.fromEntries([...this.#disruptions].sort());
  }

  /** Runs all disruptions; resolves when everything runs again. */
  async run(): Promise<void> {
    const { kills, natsKills, databaseStops, pauses, partitions } = this.#options;
    await Promise.all([
      this.#spread(kills, () => this.#killMember()),
      this.#spread(natsKills, () => this.#killNats()),
      this.#spread(databaseStops, () => this.#stopDatabase()),
      this.#repeat(pauses, () => this.#pauseOne()),
      this.#repeat(partitions, () => this.#interrupt()),
    ]);
  }

  /** Calls `disrupt` at random moments of the storm, `count` times. A call that has to wait delays the next ones. */
  async #spread(count: number, disrupt: () => Promise<void>): Promise<void> {
    const { kills, meanLifeMs } = this.#options;
    const beganAt = performance.now();
    const moments = Array.from({ length: count }, () => this.#random() * kills * meanLifeMs);
    for (const moment of moments.sort((a, b) => a - b)) {
      await sleep(Math.max(0, beganAt + moment - performance.now()));
      await disrupt();
    }
  }

  async #repeat(count: number, disrupt: () => Promise<void>): Promise<void> {
    for (let n = 0; n < count; n++) {
      await sleep(this.#random() * 2 * GAP_MS);
      await disrupt();
    }
  }

  #count(kind: string): void {
    this.#disruptions.set(kind, (this.#disruptions.get(kind) ?? 0) + 1);
  }

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#random() * from.length)]!;
  }

  /** A time between two limits, short ones more often. */
  #time(shortest: number, longest: number): number {
    return shortest * (longest / shortest) ** this.#random();
  }

  async #killMember(): Promise<void> {
    const { sentinels, agents } = this.#fabric;
    const isSentinel = this.#random() < 0.5;
    this.#count(isSentinel ? 'kills of a sentinel' : 'kills of an agent');
    await this.#pick(isSentinel ? sentinels : agents).kill();
  }

  async #killNats(): Promise<void> {
    await this.#claimServer('nats', async () => {
      this.#count('kills of nats-server');
      await this.#fabric.nats.kill();
      await this.#fabric.nats.start();
    });
  }

  async #stopDatabase(): Promise<void> {
    await this.#claimServer('database', async () => {
      this.#count('immediate stops of PostgreSQL');
      await this.#fabric.database.stopNow();
      await this.#fabric.database.resume();
    });
  }

  // Waits until no other disruption uses the server: a stopped server that is paused would not end.
  async #claimServer(server: 'nats' | 'database', disrupt: () => Promise<void>): Promise<void> {
    while (this.#isBusy[server]) await sleep(50);
    this.#isBusy[server] = true;
    try {
      await disrupt();
    } finally {
      this.#isBusy[server] = false;
    }
  }

  async #pauseOne(): Promise<void> {
    const { sentinels, agents, nats, database } = this.#fabric;
    const ms = this.#time(SHORTEST_PAUSE_MS, this.#options.longestPauseMs);
    const kind = this.#pick(['a sentinel', 'an agent', 'nats-server', 'PostgreSQL'] as const);
    if (kind === 'a sentinel' || kind === 'an agent') {
      this.#count(`pauses of ${kind}`);
      const resume = this.#pick(kind === 'a sentinel' ? sentinels : agents).pause();
      await sleep(ms);
      resume();
      return;
    }
    await this.#claimServer(kind === 'nats-server' ? 'nats' : 'database', async () => {
      this.#count(`pauses of ${kind}`);
      if (kind === 'nats-server') nats.freeze(true);
      else database.signal('SIGSTOP');
      await sleep(ms);
      if (kind === 'nats-server') nats.freeze(false);
      else database.signal('SIGCONT');
    });
  }

  /** Stops all bytes of a connection in one or both directions. Afterwards they arrive late, or the connection is reset. */
  async #interrupt(): Promise<void> {
    const [name, proxy] = this.#pick([...this.#fabric.proxies]);
    this.#count(`partitions between ${name.replaceAll(/ \d/g, '')}`);
    const directions = this.#pick([['up', 'down'], ['up', 'down'], ['up'], ['down']] as const);
    for (const direction of directions) proxy.hold(direction);
    await sleep(this.#time(SHORTEST_PARTITION_MS, this.#options.longestPartitionMs));
    if (this.#random() < 0.5) proxy.cut();
    for (const direction of directions) proxy.release(direction);
  }
}

export async function runClusterStorm(options: ClusterStormOptions): Promise<ClusterStormReport> {
  const { conversations, seed = 1, onProgress = () => {} } = options;
  const random = seeded(seed);
  const beganAt = performance.now();
  const turns = new StormTurns({ random, repeatsForMs: REPEATS_FOR_MS });
  const fabric = await ClusterFabric.start(turns);
  const storm = new ClusterStorm(options, random, fabric);
  const completed = Array.from({ length: conversations }, () => 0);
  const running = completed.map((_, n) =>
    turns.run(
      fabric.clients[n % MEMBERS]!,
      () => {
        completed[n]!++;
      },
      n % SINGLE_EVERY === 0 ? SINGLE : CHAT,
    ),
  );
  /** Waits for a condition; returns the time in ms. After the time limit `otherwise` is a fault. */
  const until = async (otherwise: string, holds: () => boolean | Promise<boolean>): Promise<number> => {
    const began = performance.now();
    while (!(await holds())) {
      if (performance.now() - began > RECOVERY_LIMIT_MS) {
        turns.faults.push(`${otherwise} within ${RECOVERY_LIMIT_MS} ms`);
        break;
      }
      await sleep(50);
    }
    return Math.round(performance.now() - began);
  };
  /** Waits until each conversation has completed a turn that began after this call; returns the time in ms. */
  const recovery = (): Promise<number> => {
    const before = [...completed];
    return until('a conversation completed no turn', () =>
      completed.every((count, n) => count >= before[n]! + 2),
    );
  };
  const reporting = setInterval(() => {
    const seconds = Math.round((performance.now() - beganAt) / 1000);
    onProgress(
      `${seconds} s: ${turns.count} turns, ${turns.repeats} sent again, ${turns.faults.length} faults, ${JSON.stringify(storm.disruptions)}`,
    );
  }, 15_000);

  await recovery();
  onProgress('the storm begins');
  await storm.run();
  const recoveredMs = await recovery();
  onProgress(`after the storm: ${recoveredMs} ms; JetStream loses its data`);
  const wipedAt = performance.now();
  await fabric.nats.kill();
  fabric.nats.wipe();
  await fabric.nats.start();
  await recovery();
  await until(
    'the sentinels did not write the owners of addresses again',
    async () => (await fabric.nats.storedMessages()) >= LIVE_RECORDS,
  );
  const wipedMs = Math.round(performance.now() - wipedAt);
  const repeatsBefore = turns.repeats;
  const restartExits: string[] = [];
  for (const member of fabric.members) {
    onProgress(`restart of ${member.name}`);
    const exit = await member.restart();
    if (exit !== 0) restartExits.push(`${member.name}: ${exit}`);
  }
  await recovery();
  const restartRepeats = turns.repeats - repeatsBefore;
  turns.end();
  await Promise.all(running);
  clearInterval(reporting);
  const journal = new PostgresJournal(fabric.database.url);
  const counts = turns.check(journal, fabric.model);
  journal.close();
  const { members } = fabric;
  for (const { ownExits } of members) turns.faults.push(...ownExits);
  await fabric.stop();
  return {
    ...counts,
    disruptions: storm.disruptions,
    recoveredMs,
    wipedMs,
    restartRepeats,
    restartExits,
    startsWithoutStore: members.reduce((sum, one) => sum + one.startsWithoutStore, 0),
    errors: Object.fromEntries(
      members.flatMap(({ name, errors }) => [...errors].map(([text, count]) => [`${name}: ${text}`, count])),
    ),
    faults: turns.faults,
    seconds: Math.round((performance.now() - beganAt) / 1000),
  };
}
