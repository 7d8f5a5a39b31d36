// Cost of a turn beyond its model: the engine over a bare loop, the journal over no journal, many conversations at once,
// and the waking of a short and a long conversation. `node bench/turn-bench.ts` prints it; nothing leaves the process.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  type ChatModel,
  type ConversationStore,
  MemoryStore,
  type ModelChunk,
  SqliteStore,
} from '@fame-fabric/agents';
import { ChatTurns, ConversationHost, UnrecordedActions } from '@fame-fabric/agents/internal';

export interface TurnFigures {
  /** Microseconds of a turn of 200 chunks: a bare loop over them, and the whole engine. */
  bareUs: number;
  engineUs: number;
  /** Milliseconds of a turn, one after the other, by store. */
  turnMs: Record<'memory' | 'sqlite', { p50: number; p99: number }>;
  /** Turns a second with 64 conversations at once, by store. */
  turnsPerSecond: Record<'memory' | 'sqlite', number>;
  /** Milliseconds to wake a conversation, by its number of turns. */
  wakeMs: Record<'10' | '10000', { p50: number; p99: number }>;
}

const CHUNKS = 200;
const modelOf = (count: number): ChatModel => {
  const chunks = Array.from(
    { length: count },
    (_, i): ModelChunk => ({
      choices: [{ index: 0, delta: { content: `word ${i} ` }, finish_reason: null }],
    }),
  );
  const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
  return {
    name: 'bench',
    async *stream() {
      yield* chunks;
      yield { choices: [{ index: 0, delta: {}, finish_reason: 'stop' }], usage };
    },
  };
};
const options = { systemPrompt: 'Be brief.', maxHistoryLength: 10, turnPolicy: 'queue' as const };
const AGENT = 'bench@fame.fabric';

async function bare(model: ChatModel): Promise<string> {
  let text = '';
  for await (const chunk of model.stream({ messages: [] })) text += chunk.choices[0]?.delta.content ?? '';
  return text;
}

async function engine(turns: ChatTurns): Promise<string> {
  const actions = new UnrecordedActions(() => {});
  const messages = [{ role: 'user', content: 'hello' }] as const;
  const { signal } = new AbortController();
  const common = { conversationId: 'c', turnId: 't', userMessage: 'hello', state: undefined, payload: {} };
  const { ask, makeCall } = actions;
  const say: UnrecordedActions['say'] = (text, source) => actions.say(text, source);
  await turns.run({ ...common, messages, signal, ask, makeCall, say, text: '' });
  return actions.text;
}

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1]!;
function percentiles(times: number[]): { p50: number; p99: number } {
  times.sort((a, b) => a - b);
  return { p50: times[times.length >> 1]!, p99: times[Math.floor(times.length * 0.99)]! };
}

/** Microseconds of a call of each, alternating so that both see the same machine. */
async function pair(a: () => Promise<unknown>, b: () => Promise<unknown>): Promise<[number, number]> {
  const rounds: [number[], number[]] = [[], []];
  for (let round = 0; round < 8; round++) {
    for (const [i, fn] of [a, b].entries()) {
      const from = performance.now();
      for (let n = 0; n < 1_000; n++) await fn();
      // The first round warms up.
      if (round > 0) rounds[i]!.push(performance.now() - from);
    }
  }
  return [median(rounds[0]), median(rounds[1])];
}

async function measureStore(
  store: ConversationStore,
): Promise<{ turnMs: TurnFigures['turnMs']['memory']; rate: number }> {
  const runner = new ChatTurns({ model: modelOf(CHUNKS) });
  const host = new ConversationHost({ runner, store, agent: AGENT });
  const say = async (conversationId: string, turnId: string): Promise<void> => {
    const turn = await host.turn({ conversationId, userMessage: 'hello', turnId });
    await turn.outcome;
  };
  await host.start({ id: 'one', callId: 's', options });
  for (let i = 0; i < 300; i++) await say('one', `warm-${i}`);
  const times: number[] = [];
  for (let i = 0; i < 1_500; i++) {
    const from = performance.now();
    await say('one', `t-${i}`);
    times.push(performance.now() - from);
  }
  const ids = Array.from({ length: 64 }, (_, i) => `many-${i}`);
  for (const id of ids) await host.start({ id, callId: id, options });
  const from = performance.now();
  await Promise.all(
    ids.map(async (id) => {
      for (let i = 0; i < 40; i++) await say(id, `t-${i}`);
    }),
  );
  const rate = (ids.length * 40 * 1_000) / (performance.now() - from);
  await host.close();
  return { turnMs: percentiles(times), rate };
}

async function measureWaking(store: ConversationStore): Promise<TurnFigures['wakeMs']> {
  const host = new ConversationHost({ runner: new ChatTurns({ model: modelOf(4) }), store, agent: AGENT });
  for (const turns of [10, 10_000]) {
    await host.start({ id: `wake-${turns}`, callId: `${turns}`, options });
    for (let i = 0; i < turns; i++) {
      const turn = await host.turn({
        conversationId: `wake-${turns}`,
        userMessage: `hello ${i}`,
        turnId: `${i}`,
      });
      await turn.outcome;
    }
  }
  await host.close();
  const times: Record<'10' | '10000', number[]> = { 10: [], 10000: [] };
  for (let i = 0; i < 400; i++) {
    for (const turns of ['10', '10000'] as const) {
      const from = performance.now();
      await store.acquire(`wake-${turns}`, 1_000);
      times[turns].push(performance.now() - from);
    }
  }
  return { 10: percentiles(times[10]), 10000: percentiles(times[10000]) };
}

/** About half a minute. */
export async function measureTurns(): Promise<TurnFigures> {
  const model = modelOf(CHUNKS);
  const turns = new ChatTurns({ model });
  const [bareMs, engineMs] = await pair(
    () => bare(model),
    () => engine(turns),
  );
  const directory = mkdtempSync(join(tmpdir(), 'fame-bench-'));
  try {
    const memory = await measureStore(new MemoryStore());
    const store = await SqliteStore.open({ path: join(directory, 'journal.db') });
    const sqlite = await measureStore(store);
    const wakeMs = await measureWaking(store);
    await store.close();
    return {
      bareUs: bareMs,
      engineUs: engineMs,
      turnMs: { memory: memory.turnMs, sqlite: sqlite.turnMs },
      turnsPerSecond: { memory: memory.rate, sqlite: sqlite.rate },
      wakeMs,
    };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { bareUs, engineUs, turnMs, turnsPerSecond, wakeMs } = await measureTurns();
  const ms = ({ p50, p99 }: { p50: number; p99: number }): string =>
    `p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`;
  const over = engineUs - bareUs;
  console.log(`engine: ${over.toFixed(0)} us over a bare loop of ${bareUs.toFixed(0)} us, ${CHUNKS} chunks`);
  for (const store of ['memory', 'sqlite'] as const) {
    console.log(
      `${store}: ${ms(turnMs[store])} a turn; 64 at once: ${turnsPerSecond[store].toFixed(0)} turns/s`,
    );
  }
  console.log(`waking after 10 turns: ${ms(wakeMs[10])}; after 10,000 turns: ${ms(wakeMs[10000])}`);
}
