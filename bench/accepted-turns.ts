// Turns that a store accepts, with SQLite and with PostgreSQL.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ChatModel, type ConversationStore, SqliteStore } from '@fame-fabric/agents';
import { ConversationHost, noUsage, openDatabaseStore, type TurnRunner } from '@fame-fabric/agents/internal';
import { startPostgres } from './kit.ts';
import { median } from './median.ts';

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

export const hostOn = (store: ConversationStore): ConversationHost =>
  new ConversationHost({ runner, store, agent: 'bench@fame.fabric' });
export const start = async (host: ConversationHost, id: string): Promise<void> => {
  const options = { systemPrompt: 'Be short.', maxHistoryLength: 10, turnPolicy: 'queue' } as const;
  await host.start({ id, callId: id, options });
};
export const runTurn = async (host: ConversationHost, id: string, n: number): Promise<void> => {
  const turn = await host.turn({ conversationId: id, userMessage: `message ${n}`, turnId: `t${n}` });
  await turn.outcome;
};

/** Measures the rate at which turns of many conversations are accepted, that is, on disk. None of them is answered. */
export async function acceptedPerSecond(store: ConversationStore): Promise<number> {
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

export interface BesidePostgres {
  /** Turns accepted each second with PostgreSQL, and the ratio of the time that one takes to that with SQLite. */
  readonly perSecond: number;
  readonly factor: number;
  /** One turn at a time: its time until it is accepted, and until it is complete. In ms with PostgreSQL, and the ratio to SQLite. */
  readonly acceptMs: number;
  readonly acceptFactor: number;
  readonly turnMs: number;
  readonly turnFactor: number;
}

/** Compares PostgreSQL over a local socket with SQLite, in rounds of both. Returns `undefined` if PostgreSQL is not installed. */
export async function besidePostgres(rounds: number): Promise<BesidePostgres | undefined> {
  const server = await startPostgres();
  if (server === undefined) return undefined;
  const directory = mkdtempSync(join(tmpdir(), 'fame-bench-turns-'));
  const open = (name: string) =>
    Promise.all([
      SqliteStore.open({ path: join(directory, `${name}.db`), maxBytes: 0 }),
      openDatabaseStore(server.url, { schema: name }),
    ]);
  const all: Record<keyof BesidePostgres, number[]> = {
    perSecond: [],
    factor: [],
    acceptMs: [],
    acceptFactor: [],
    turnMs: [],
    turnFactor: [],
  };
  try {
    for (let round = 0; round < rounds; round++) {
      const ones = await open(`one_${round}`);
      const [sqlite, postgres] = [await oneTurnMs(ones[0]), await oneTurnMs(ones[1])];
      all.acceptMs.push(postgres.accept);
      all.acceptFactor.push(postgres.accept / sqlite.accept);
      all.turnMs.push(postgres.turn);
      all.turnFactor.push(postgres.turn / sqlite.turn);
      const many = await open(`many_${round}`);
      const [sqliteRate, postgresRate] = [await acceptedPerSecond(many[0]), await acceptedPerSecond(many[1])];
      all.perSecond.push(postgresRate);
      all.factor.push(sqliteRate / postgresRate);
    }
  } finally {
    await server.close();
    rmSync(directory, { recursive: true });
  }
  return Object.fromEntries(
    Object.entries(all).map(([name, values]) => [name, median(values)]),
  ) as unknown as BesidePostgres;
}

/** Median times of one turn at a time, in ms: until it is accepted, and until it is complete. */
async function oneTurnMs(store: ConversationStore): Promise<{ accept: number; turn: number }> {
  const host = hostOn(store);
  await start(host, 'c');
  const [accepts, turns]: [number[], number[]] = [[], []];
  for (let n = 0; n < 250; n++) {
    const at = performance.now();
    const turn = await host.turn({ conversationId: 'c', userMessage: `message ${n}`, turnId: `t${n}` });
    accepts.push(performance.now() - at);
    await turn.outcome;
    turns.push(performance.now() - at);
  }
  await host.close();
  await store.close();
  return { accept: median(accepts.slice(50)), turn: median(turns.slice(50)) };
}
