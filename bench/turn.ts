// Cost of the turn loop around a model server: CPU time of a turn without tools and with an answer of 200 chunks, compared with
// a bare loop over the stream of the `openai` package for the same bytes. The bytes come from memory, one event per read, so
// the figures contain no network. Run: node bench/turn.ts [--json]
import { openaiModel } from '@fame-fabric/agents';
import { ChatTurns, UnrecordedActions } from '@fame-fabric/agents/internal';
import { OpenAI } from 'openai';
import { median } from './median.ts';

const CHUNKS = 200;
const TURNS = 200;
const ROUNDS = 9;

export interface TurnOverhead {
  chunks: number;
  /** Median CPU time per turn, in microseconds: the loop over the package, our model alone, and the whole turn. */
  bareUs: number;
  modelUs: number;
  engineUs: number;
  /** The whole turn minus the bare loop, median of the pairs. */
  overUs: number;
}

const words = Array.from({ length: CHUNKS }, (_, i) => `word ${i} `);
const event = (body: object): Uint8Array =>
  new TextEncoder().encode(
    `data: ${JSON.stringify({ id: 'chatcmpl-1', object: 'chat.completion.chunk', created: 1, model: 'bench', ...body })}\n\n`,
  );
const chunk = (delta: object, finish_reason: string | null = null): object => ({
  choices: [{ index: 0, delta, logprobs: null, finish_reason }],
});
const EVENTS: readonly Uint8Array[] = [
  event(chunk({ role: 'assistant', content: '' })),
  ...words.map((content) => event(chunk({ content }))),
  event(chunk({}, 'stop')),
  event({ choices: [], usage: { prompt_tokens: 10, completion_tokens: CHUNKS, total_tokens: CHUNKS + 10 } }),
  new TextEncoder().encode('data: [DONE]\n\n'),
];

/** A model server in memory. */
const fetchEvents = async (): Promise<Response> => {
  let at = 0;
  const body = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        const next = EVENTS[at++];
        if (next) controller.enqueue(next);
        else controller.close();
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
};

const MESSAGES = [
  { role: 'system' as const, content: 'Be brief.' },
  { role: 'user' as const, content: 'hello' },
];
const client = new OpenAI({ apiKey: 'none', baseURL: 'http://bench.invalid/v1', fetch: fetchEvents });
const model = openaiModel({
  model: 'bench',
  apiKey: 'none',
  baseURL: 'http://bench.invalid/v1',
  fetch: fetchEvents,
});
const turns = new ChatTurns({ model });

async function bare(): Promise<string> {
  let text = '';
  const stream = await client.chat.completions.create({
    model: 'bench',
    messages: MESSAGES,
    stream: true,
    stream_options: { include_usage: true },
  });
  for await (const { choices } of stream) text += choices[0]?.delta.content ?? '';
  return text;
}

async function modelAlone(): Promise<string> {
  let text = '';
  for await (const { choices } of model.stream({ messages: MESSAGES }))
    text += choices[0]?.delta.content ?? '';
  return text;
}

async function engine(): Promise<string> {
  const actions = new UnrecordedActions(() => {});
  const messages = [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'hello' },
  ] as const;
  const { signal } = new AbortController();
  const common = {
    conversationId: 'c',
    turnId: 't',
    userMessage: 'hello',
    state: undefined,
    options: {},
    payload: {},
    acceptedAt: 0,
  };
  const { ask, makeCall, link } = actions;
  const emitText: UnrecordedActions['emitText'] = (text, source) => actions.emitText(text, source);
  await turns.run({ ...common, messages, signal, ask, makeCall, link, emitText, assertLive() {}, text: '' });
  return actions.text;
}

/** Measures the mean CPU time of a run, in microseconds, including the threads of the garbage collector. */
async function cost(run: () => Promise<string>): Promise<number> {
  const before = process.cpuUsage();
  for (let n = 0; n < TURNS; n++)
    if ((await run()) !== words.join('')) throw new Error('The answer is incomplete');
  const { user, system } = process.cpuUsage(before);
  return (user + system) / TURNS;
}

/** Takes about 15 seconds. */
export async function measureTurn(): Promise<TurnOverhead> {
  const rounds: Record<'bare' | 'model' | 'engine', number[]> = { bare: [], model: [], engine: [] };
  const contestants = [
    ['bare', bare],
    ['model', modelAlone],
    ['engine', engine],
  ] as const;
  for (let round = -2; round < ROUNDS; round++) {
    for (let k = 0; k < contestants.length; k++) {
      const [name, run] = contestants[(k + round + 2) % contestants.length]!;
      const us = await cost(run);
      // The first rounds warm up.
      if (round >= 0) rounds[name].push(us);
    }
  }
  return {
    chunks: CHUNKS,
    bareUs: median(rounds.bare),
    modelUs: median(rounds.model),
    engineUs: median(rounds.engine),
    overUs: median(rounds.engine.map((us, i) => us - rounds.bare[i]!)),
  };
}

if (import.meta.main) {
  const figures = await measureTurn();
  const us = (n: number): string => n.toFixed(0);
  if (process.argv.includes('--json')) console.log(JSON.stringify({ node: process.version, ...figures }));
  else {
    const { bareUs, modelUs, engineUs, overUs } = figures;
    console.log(
      `CPU of a turn of ${CHUNKS} chunks, medians of ${ROUNDS} alternations, node ${process.version}`,
    );
    console.log(
      `openai loop ${us(bareUs)} us | our model ${us(modelUs)} us | engine ${us(engineUs)} us: ${us(overUs)} us beyond`,
    );
  }
}
