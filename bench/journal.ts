// Cost of the journal: accepted turns per second when many conversations share commits, the same with PostgreSQL, the time that the
// journal adds to one turn, the time to load a short and a long conversation, and memory over many turns. Run: npm run bench-journal
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ChatModel, type ConversationStore, MemoryStore, SqliteStore } from '@fame-fabric/agents';
import {
  ConversationHost,
  noUsage,
  openDatabaseStore,
  Sweeper,
  type TurnRunner,
} from '@fame-fabric/agents/internal';
import { median, percentile } from './median.ts';

const GOALS = {
  acceptedPerSecond: 3_000,
  addedP50Ms: 1,
  addedP99Ms: 5,
  loadFactor: 2,
  // Ratios to the time with SQLite.
  postgresFactor: 3,
  postgresPerSecond: 1_000,
};
const POSTGRES_ROUNDS = 5;
const SOAK_TURNS = 10_000;

/** Answers at once, so that the figures contain no model time. */
const runner: TurnRunner = {
  modelName: 'instant',
  async run({ ask, emitText, messages, userMessage }) {
    const text = `re: ${userMessage}`;
    const model: ChatModel = {
      name: 'instant',
      async *stream() {
        yield { choices: [{ delta: { content: text }, finish_reason: 'stop' }], usage: noUsage() };
      },
    };
    await ask(model, { messages }, { onText: (more) => emitText(more, { from: 'model' }) });
    return { usage: noUsage(), model: 'instant' };
  },
};

const directory = mkdtempSync(join(tmpdir(), 'fame-bench-journal-'));
const open = (name: string, maxBytes = 0): Promise<SqliteStore> =>
  SqliteStore.open({ path: join(directory, name, 'journal.db'), maxBytes });
const hostOn = (store: ConversationStore): ConversationHost =>
  new ConversationHost({ runner, store, agent: 'bench@fame.fabric' });
const start = (host: ConversationHost, id: string) =>
  host.start({
    id,
    callId: id,
    options: { systemPrompt: 'Be short.', maxHistoryLength: 10, turnPolicy: 'queue' },
  });
const runTurn = async (host: ConversationHost, id: string, n: number): Promise<void> => {
  const turn = await host.turn({ conversationId: id, userMessage: `message ${n}`, turnId: `t${n}` });
  await turn.outcome;
};

/** Measures the rate at which turns of many conversations are accepted, that is, on disk. None of them is answered. */
async function acceptedPerSecond(store: ConversationStore): Promise<number> {
  const never = new Promise<never>(() => {});
  const waiting: TurnRunner = {
    modelName: 'waiting',
    run: () => never,
  };
  const host = new ConversationHost({ runner: waiting, store, agent: 'bench@fame.fabric' });
  const conversations = Array.from({ length: 256 }, (_, n) => `c${n}`);
  await Promise.all(conversations.map((id) => start(host, id)));
  const ask = (conversationId: string, n: number) =>
    host.turn({ conversationId, userMessage: `message ${n}`, turnId: `t${n}` });
  await Promise.all(conversations.map((id) => ask(id, 0)));
  const turnsEach = 15;
  const beganAt = performance.now();
  await Promise.all(
    conversations.map(async (id) => {
      for (let n = 1; n <= turnsEach; n++) await ask(id, n);
    }),
  );
  const perSecond = (conversations.length * turnsEach * 1_000) / (performance.now() - beganAt);
  await host.close();
  await store.close();
  return perSecond;
}

/** The server of the tests. Its file belongs to another project of TypeScript. */
interface PostgresKit {
  noPostgres(): string | undefined;
  readonly PostgresServer: { start(): Promise<{ readonly url: string; close(): Promise<void> }> };
}

/** Compares PostgreSQL over a local socket with SQLite, in rounds of both. Returns `undefined` if PostgreSQL is not installed. */
async function besidePostgres(): Promise<
  { perSecond: number; factor: number; oneFactor: number } | undefined
> {
  const kit: PostgresKit = await import(new URL('../test/kit/postgres.ts', import.meta.url).href);
  if (kit.noPostgres() !== undefined) return undefined;
  const server = await kit.PostgresServer.start();
  try {
    const rates: number[] = [];
    const factors: number[] = [];
    const oneFactors: number[] = [];
    for (let round = 0; round < POSTGRES_ROUNDS; round++) {
      const one = await Promise.all([
        open(`one-${round}`),
        openDatabaseStore(server.url, { schema: `one_${round}` }),
      ]);
      const [sqliteMs, postgresMs] = [await oneTurnMs(one[0]), await oneTurnMs(one[1])];
      oneFactors.push(postgresMs / sqliteMs);
      const sqlite = await acceptedPerSecond(await open(`beside-${round}`));
      const postgres = await acceptedPerSecond(
        await openDatabaseStore(server.url, { schema: `beside_${round}` }),
      );
      rates.push(postgres);
      factors.push(sqlite / postgres);
    }
    return { perSecond: median(rates), factor: median(factors), oneFactor: median(oneFactors) };
  } finally {
    await server.close();
  }
}

/** Median time of one turn at a time, in ms. */
async function oneTurnMs(store: ConversationStore): Promise<number> {
  const host = hostOn(store);
  await start(host, 'c');
  const times: number[] = [];
  for (let n = 0; n < 200; n++) {
    const at = performance.now();
    await runTurn(host, 'c', n);
    times.push(performance.now() - at);
  }
  await host.close();
  await store.close();
  return percentile(times.slice(50), 0.5);
}

/** Runs turns one after the other, in memory and in a file. The difference is the cost of the journal. */
async function addedMs(round: number): Promise<{ p50: number; p99: number }> {
  const store = await open(`added-${round}`);
  const memory = new MemoryStore();
  const hosts = { file: hostOn(store), memory: hostOn(memory) };
  const times = { file: [] as number[], memory: [] as number[] };
  for (const host of Object.values(hosts)) await start(host, 'c');
  for (let n = 0; n < 1_200; n++) {
    for (const kind of ['file', 'memory'] as const) {
      const at = performance.now();
      await runTurn(hosts[kind], 'c', n);
      if (n >= 200) times[kind].push(performance.now() - at);
    }
  }
  await Promise.all(Object.values(hosts).map((host) => host.close()));
  await store.close();
  const gap = (p: number): number => percentile(times.file, p) - percentile(times.memory, p);
  return { p50: gap(0.5), p99: gap(0.99) };
}

/** Measures the median time to load a conversation of `turns` turns, in ms. */
async function loadMs(turns: number): Promise<number> {
  const store = await open(`load-${turns}`);
  const host = hostOn(store);
  await start(host, 'c');
  for (let n = 0; n < turns; n++) await runTurn(host, 'c', n);
  await host.close();
  const times: number[] = [];
  for (let n = 0; n < 300; n++) {
    const at = performance.now();
    await store.acquire('c', 1_000);
    times.push(performance.now() - at);
  }
  await store.close();
  return percentile(times.slice(50), 0.5);
}

/** Measures memory after a fifth of many turns and at their end, and the size of a store with a limit. */
async function soak(): Promise<{ earlyMb: number; lateMb: number; maxBytes: number; bytes: number }> {
  const maxBytes = 4_194_304;
  const store = await open('soak', maxBytes);
  const host = hostOn(store);
  const sweeper = new Sweeper(store, { maxBytes });
  const mb = (): number => {
    globalThis.gc?.();
    return process.memoryUsage().rss / 1_048_576;
  };
  let earlyMb = 0;
  for (let n = 0; n < SOAK_TURNS; n++) {
    const id = `c${Math.floor(n / 50)}`;
    if (n % 50 === 0) await start(host, id);
    await runTurn(host, id, n);
    if (n % 50 === 49) await host.end(id);
    if (n % 100 === 99) await sweeper.sweep();
    if (n === SOAK_TURNS / 5) earlyMb = mb();
  }
  const lateMb = mb();
  await host.close();
  await store.close();
  return { earlyMb, lateMb, maxBytes, bytes: statSync(join(directory, 'soak', 'journal.db')).size };
}

let missed = 0;
const printFigure = (label: string, value: string, goal: string, isMet: boolean): void => {
  if (!isMet) missed++;
  process.stdout.write(`${isMet ? 'ok    ' : 'MISSED'} ${label}: ${value} (${goal})\n`);
};
try {
  const perSecond = await acceptedPerSecond(await open('accept'));
  printFigure(
    'turns accepted, 256 conversations at once',
    `${Math.round(perSecond)}/s`,
    '>= 3,000/s',
    perSecond >= GOALS.acceptedPerSecond,
  );
  const postgres = await besidePostgres();
  if (postgres) {
    printFigure(
      'turns accepted with PostgreSQL, 256 conversations at once',
      `${Math.round(postgres.perSecond)}/s, ${postgres.factor.toFixed(1)} times the time with SQLite`,
      '>= 1,000/s and <= 3 times',
      postgres.perSecond >= GOALS.postgresPerSecond && postgres.factor <= GOALS.postgresFactor,
    );
    printFigure(
      'one turn at a time with PostgreSQL',
      `${postgres.oneFactor.toFixed(1)} times the time with SQLite`,
      '<= 3 times',
      postgres.oneFactor <= GOALS.postgresFactor,
    );
  } else process.stdout.write('PostgreSQL is not installed: not measured\n');
  // The best of three, because other load on the machine only slows down the disk.
  const rounds = [await addedMs(1), await addedMs(2), await addedMs(3)];
  const p50 = Math.min(...rounds.map((one) => one.p50));
  const p99 = Math.min(...rounds.map((one) => one.p99));
  printFigure('added by the journal, p50', `${p50.toFixed(2)} ms`, '<= 1 ms', p50 <= GOALS.addedP50Ms);
  printFigure('added by the journal, p99', `${p99.toFixed(2)} ms`, '<= 5 ms', p99 <= GOALS.addedP99Ms);
  const [short, long] = [await loadMs(10), await loadMs(SOAK_TURNS)];
  printFigure(
    'loading 10 and 10,000 turns',
    `${short.toFixed(2)} and ${long.toFixed(2)} ms`,
    '<= 2 times',
    long <= short * GOALS.loadFactor,
  );
  const { earlyMb, lateMb, maxBytes, bytes } = await soak();
  printFigure(
    'memory after 2,000 and 10,000 turns',
    `${earlyMb.toFixed(0)} and ${lateMb.toFixed(0)} MB`,
    '<= 1.15 times',
    lateMb <= earlyMb * 1.15,
  );
  printFigure('a store of 4 MiB', `${bytes} bytes`, `<= ${maxBytes}`, bytes <= maxBytes);
} finally {
  rmSync(directory, { recursive: true });
}
process.exit(missed === 0 ? 0 : 1);
