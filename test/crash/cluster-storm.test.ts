// K2, short form: three sentinels over NATS, three replicas over PostgreSQL, and clients at every sentinel. One process at a time is
// killed and started again: a sentinel, a replica, nats-server or PostgreSQL. No turn is lost or doubled, and no journal has a gap.
import { openDatabaseStore } from '@fame-fabric/agents/internal';
import { pieces, seeded } from '@fame-fabric/agents/testing';
import type { Client } from '@fame-fabric/client';
import { isFabricError, newId } from '@fame-fabric/shared';
import { afterAll, describe, expect, test } from 'vitest';
import { clusterEnv, NATS_SERVER, type NatsServer, startNats } from '../kit/nats.ts';
import { noPostgres, PostgresServer } from '../kit/postgres.ts';
import type { Proc } from '../kit/processes.ts';
import { type OurSentinel, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';
import { CHAT, lastUserText, openClient, pause, spawnAgent, startModel, stopStack } from '../kit/stack.ts';

const MEMBERS = 3;
const CONVERSATIONS = 18;
const KILLS = 16;
/** Longest time between two kills, in ms. */
const LONGEST_LIFE_MS = 1_500;

interface SentTurn {
  conversation: string;
  turnId: string;
  text: string;
}

class Cluster {
  model!: Awaited<ReturnType<typeof startModel>>;
  nats!: NatsServer;
  database!: PostgresServer;
  readonly sentinels: OurSentinel[] = [];
  readonly replicas: Proc[] = [];
  readonly clients: Client[] = [];

  async start(): Promise<void> {
    this.model = await startModel({
      respond: (request) => pieces(answerTo(lastUserText(request)), 6).flatMap((piece) => [piece, pause(30)]),
    });
    [this.nats, this.database] = await Promise.all([
      startNats({ hasJetStream: true }),
      PostgresServer.start(),
    ]);
    for (let n = 0; n < MEMBERS; n++) {
      this.sentinels[n] = await startOurSentinel({ env: clusterEnv(this.nats, `s${n}`) });
    }
    for (let n = 0; n < MEMBERS; n++) this.#spawnReplica(n);
    await Promise.all(this.replicas.map((proc) => proc.waitFor(/ is served through /)));
    for (const { url } of this.sentinels) this.clients.push(await openClient(url, { backoffMaxMs: 500 }));
  }

  /** Each has its own sentinel first, and the others after that. */
  #spawnReplica(n: number): void {
    const urls = [...this.sentinels.slice(n), ...this.sentinels.slice(0, n)].map(({ url }) => url);
    this.replicas[n] = spawnAgent(urls.join(','), {
      model: this.model,
      dataDir: temporaryDirectory(),
      env: { FAME_CHAT_ADDRESS: 'chat@*.fame.fabric', FAME_STORE_URL: this.database.url },
    });
  }

  /** Kills one process, and starts it again. */
  async strike(victim: number, random: () => number): Promise<string> {
    const n = Math.floor(random() * MEMBERS);
    if (victim % 4 === 0) {
      const { port, dataDir, proc } = this.sentinels[n]!;
      await proc.kill();
      this.sentinels[n] = await startOurSentinel({ port, dataDir, env: clusterEnv(this.nats, `s${n}`) });
      return `sentinel ${n}`;
    }
    if (victim % 4 === 1) {
      await this.replicas[n]!.kill();
      this.#spawnReplica(n);
      return `replica ${n}`;
    }
    const server = victim % 4 === 2 ? this.nats : this.database;
    if (server === this.nats) {
      await this.nats.kill();
      await this.nats.start();
      return 'nats-server';
    }
    await this.database.stopNow();
    await this.database.resume();
    return 'PostgreSQL';
  }
}

const answerTo = (text: string): string => `An answer to ${text}: ${'and so on, '.repeat(4)}done.`;

describe.skipIf(!NATS_SERVER.isUsable || noPostgres() !== undefined)('a cluster', () => {
  const cluster = new Cluster();
  afterAll(async () => {
    await stopStack();
    await cluster.database?.close();
  });

  test(`K2: ${KILLS} kills of any process lose no turn and double none`, {
    timeout: 180_000,
    retry: 0,
  }, async () => {
    await cluster.start();
    const random = seeded(1);
    const turns: SentTurn[] = [];
    const faults: string[] = [];
    let isOver = false;

    /** Asks again, with the same turn id, while a part of the cluster is not available. */
    const ask = async (client: Client, { conversation, turnId, text }: SentTurn): Promise<string> => {
      const until = performance.now() + 60_000;
      for (;;) {
        try {
          return await client.conversation(CHAT, { id: conversation, isResumed: true }).ask(text, { turnId });
        } catch (error) {
          const isAway =
            isFabricError(error) &&
            (error.retryable || error.code === 'NO_ROUTE') &&
            performance.now() < until;
          if (!isAway) return `error ${String(error)}`;
          await new Promise((resolve) => setTimeout(resolve, 200));
        }
      }
    };
    const begin = async (client: Client, id: string): Promise<void> => {
      while (!isOver) {
        try {
          await client.conversation(CHAT, { id }).start();
          return;
        } catch (error) {
          if (!isFabricError(error)) throw error;
          await new Promise((resolve) => setTimeout(resolve, 200));
        }
      }
    };
    const talk = async (client: Client): Promise<void> => {
      const conversation = newId();
      await begin(client, conversation);
      for (let n = 0; !isOver; n++) {
        const turn = { conversation, turnId: newId(), text: `message ${n} of ${conversation}` };
        turns.push(turn);
        const answer = await ask(client, turn);
        if (answer !== answerTo(turn.text)) faults.push(`turn ${turn.turnId} of ${conversation}: ${answer}`);
      }
    };
    const talking = Array.from({ length: CONVERSATIONS }, (_, n) => talk(cluster.clients[n % MEMBERS]!));
    for (let kill = 0; kill < KILLS; kill++) {
      await new Promise((resolve) => setTimeout(resolve, 300 + random() * LONGEST_LIFE_MS));
      await cluster.strike(kill, random);
    }
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    isOver = true;
    await Promise.all(talking);

    const store = await openDatabaseStore(cluster.database.url);
    let mostCalls = 0;
    for (const [id, sent] of Map.groupBy(turns, ({ conversation }) => conversation)) {
      const events: { seq: number; kind: string; turnId?: string | undefined }[] = [];
      for (let after = 0; ; after = events.at(-1)!.seq) {
        const page = await store.read(id, { after, limit: 500 });
        events.push(...page);
        if (page.length < 500) break;
      }
      if (!events.every(({ seq }, n) => seq === n + 1)) faults.push(`${id} has gaps`);
      const accepted = events.filter(({ kind }) => kind === 'turn_accepted').map(({ turnId }) => turnId);
      if (accepted.join() !== sent.map(({ turnId }) => turnId).join())
        faults.push(`${id} has ${accepted.length} turns, not the ${sent.length} in their order`);
      for (const { turnId } of sent) {
        const own = events.filter((event) => event.turnId === turnId).map(({ kind }) => kind);
        const ends = own.filter((kind) => /^turn_(completed|failed|cancelled)$/.test(kind));
        if (ends.join() !== 'turn_completed')
          faults.push(`turn ${turnId} ended with ${ends.join() || 'nothing'}`);
        mostCalls = Math.max(mostCalls, own.filter((kind) => kind === 'model_called').length);
      }
    }
    await store.close();
    console.info(`K2: ${KILLS} kills, ${turns.length} turns, at most ${mostCalls} model calls a turn`);
    expect(faults).toEqual([]);
    expect(turns.length).toBeGreaterThan(CONVERSATIONS);
    expect(mostCalls).toBeLessThanOrEqual(4);
  });
});
