// Random conversations with a model server that sends hostile answers and checks every request as the strictest servers do. After
// the last hostile answer the conversation must work, and no text that a person saw may be lost.
import { type Clock, systemClock } from '@fame-fabric/shared';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { openaiModel } from '../model/openai/openai-model.ts';
import { MemoryStore } from '../store/memory-store.ts';
import { seeded } from '../testing/rechunk.ts';
import { checkTranscript } from '../testing/transcript-validator.ts';
import { tool } from '../tools/tool.ts';
import { ToolSet } from '../tools/tool-set.ts';
import { ChatTurns } from '../turn/chat-turns.ts';
import { LEFT_OUT_NOTICE } from '../turn/journaled-model.ts';
import { ConversationHost } from './host.ts';
import type { LiveTurn } from './live-turn.ts';

/** Number of sequences in each of the two tests. */
const SEQUENCES = 1_000;
const MAX_TURNS = 20;
/** Number of sequences that run at once, because turns wait for timers. */
const AT_ONCE = 20;

type Random = () => number;
interface Answer {
  status?: number;
  headers?: Record<string, string>;
  body: string;
}

const pick = <T>(random: Random, list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
const event = (data: unknown): string =>
  `data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`;
const chunk = (delta: unknown, finish: unknown = null): unknown => ({
  choices: [{ index: 0, delta, finish_reason: finish }],
});
const stream = (...events: unknown[]): Answer => ({ body: events.map(event).join('') });
const say = (text: string, finish: unknown = 'stop'): Answer =>
  stream(chunk({ role: 'assistant', content: text }), chunk({}, finish), '[DONE]');
const refuse = (status: number, body: unknown): Answer => ({
  status,
  headers: { 'content-type': 'application/json', 'x-should-retry': 'false' },
  body: typeof body === 'string' ? body : JSON.stringify(body),
});

const NAMES = [
  'look',
  'add',
  'functions.look',
  '',
  null,
  'look<|channel|>commentary',
  'no such tool',
  'x'.repeat(100),
  'Blick😀',
  '\ud83d',
  '__proto__',
  'default_api:look',
];
const ARGUMENTS = [
  '{"at":"here"}',
  '{"at":"here",}',
  '{"at":',
  '',
  'null',
  '[1]',
  '"{\\"at\\":\\"here\\"}"',
  '{}',
  '{"at":"cut \\ud83d"}',
  '{"at":"cut \ud83d"}',
  `${'['.repeat(200)}${']'.repeat(200)}`,
  '{"at":"a"}{"at":"b"}',
  '{"__proto__":{"at":1}}',
  '{"to_user":"I look.","at":"here"}',
  null,
  { at: 'here' },
];
const IDS = ['call_0', '0', '', null, undefined, 'y'.repeat(200), 'functions.look:0', '\udc00'];
const FINISHES = ['stop', 'tool_calls', 'length', 'content_filter', 'error', '', 'null', null, 'odd', 7];
const TEXTS = [
  'Hello.',
  '',
  ' \n',
  'cut \ud83d',
  '<think>Hm',
  '<think>Hm</think>Yes.',
  null,
  '\u0000',
  '</think>',
];
const EXTRAS = [
  {},
  { reasoning_content: 'Let me see.' },
  { provider: {} },
  { content: [{ type: 'text', text: 'Part.' }] },
];

function calls(random: Random): Answer {
  const count = random() < 0.02 ? 130 : 1 + Math.floor(random() * 3);
  const deltas = Array.from({ length: count }, (_, i) => ({
    index: pick(random, [i, 0, undefined]),
    id: pick(random, IDS),
    ...pick(random, [{}, { extra_content: { google: { thought_signature: 'c2ln' } } }]),
    function: { name: pick(random, NAMES), arguments: pick(random, ARGUMENTS) },
  }));
  return stream(
    chunk({ role: 'assistant', content: pick(random, TEXTS), ...pick(random, EXTRAS) }),
    ...deltas.map((delta) => chunk({ tool_calls: [delta] })),
    chunk({}, pick(random, FINISHES)),
    ...pick<unknown[]>(random, [[], ['[DONE]'], [chunk({ content: 'Late.' }), '[DONE]']]),
  );
}

function text(random: Random): Answer {
  const delta = {
    role: pick(random, ['assistant', '', null]),
    content: pick(random, TEXTS),
    ...pick(random, EXTRAS),
  };
  return stream(
    chunk(delta),
    ...pick<unknown[]>(random, [[], [''], [chunk({ content: 'More.' })], [{ choices: null }], ['not json']]),
    ...pick<unknown[]>(random, [
      [chunk({}, pick(random, FINISHES))],
      [],
      [{ error: { message: 'died', code: 502 } }],
    ]),
    ...pick<unknown[]>(random, [[], ['[DONE]']]),
  );
}

const REFUSALS: readonly Answer[] = [
  refuse(400, { error: { message: 'Invalid request.' } }),
  refuse(400, { error: 'Template error: conversation roles must alternate' }),
  refuse(400, [{ error: { code: 400, message: 'Function calling is not enabled for models/m' } }]),
  refuse(400, { error: { message: 'System role not supported' } }),
  refuse(400, { error: { message: 'Failed to call a function.', code: 'tool_use_failed' } }),
  refuse(400, { object: 'error', message: 'max_tokens must be less than or equal to `1000`' }),
  refuse(422, { detail: [{ loc: ['body', 'stream_options'], msg: 'Extra inputs are not permitted' }] }),
  refuse(402, { error: { message: 'Insufficient Balance' } }),
  refuse(403, '<html><title>Forbidden</title></html>'),
  refuse(404, 'Not Found'),
  refuse(500, ''),
  refuse(503, { error: { message: 'Loading model' } }),
  refuse(301, 'moved'),
  { status: 200, headers: { 'content-type': 'text/html' }, body: '<!doctype html><title>Welcome</title>' },
  { status: 200, body: '' },
  { status: 200, body: 'error: {"code":400,"message":"the request exceeds the available context size"}\n\n' },
  {
    status: 200,
    headers: { 'content-type': 'application/json' },
    body: '{"choices":[{"message":{"content":"Whole."}}]}',
  },
];

function hostile(random: Random): Answer {
  const kind = random();
  return kind < 0.5 ? calls(random) : kind < 0.8 ? text(random) : pick(random, REFUSALS);
}

/** A server in memory. It sends the answers of `script`, then plain ones, and refuses requests as a strict server does. */
class StrictServer {
  script: Answer[] = [];
  /** The server refuses every request that contains this text. */
  poison: string | undefined;
  faults: string[] = [];
  last = '';

  readonly fetch: typeof globalThis.fetch = async (_url, init) => {
    this.last = String(init?.body);
    const [fault] = checkTranscript(JSON.parse(this.last), { wire: true });
    if (fault) this.faults.push(`${fault.message} ${this.last}`);
    const isPoisoned = this.poison !== undefined && this.last.includes(this.poison);
    const answer =
      fault || isPoisoned ? refuse(400, { error: { message: 'no' } }) : (this.script.shift() ?? say('fine'));
    const { status = 200, headers = { 'content-type': 'text/event-stream' }, body } = answer;
    return new Response(body, { status, headers });
  };
}

const tools = new ToolSet([
  tool({
    name: 'look',
    description: 'Looks.',
    parameters: z.object({ at: z.string() }),
    execute: ({ at }) => `saw ${at}`,
  }),
  tool({ name: 'add', description: 'Adds.', parameters: z.object({}), execute: () => '' }),
]);
const TIMEOUT_MS = 60_000;
/** Wait of the client for the usage after an answer. */
const TRAILER_MS = 2_000;
/** A clock without waits between attempts. */
const clock: Clock = {
  now: () => systemClock.now(),
  monotonic: () => systemClock.monotonic(),
  every: (ms, run) => systemClock.every(ms, run),
  after: (ms, run) => systemClock.after(ms < TIMEOUT_MS && ms !== TRAILER_MS ? 0 : ms, run),
};

/** Returns the text of a turn that a person sees at its end. */
async function shownOf(turn: LiveTurn): Promise<string> {
  let shown = '';
  for await (const one of turn.follow()) {
    if (one.type === 'text') shown += one.text;
    if (one.type === 'restart') shown = shown.slice(0, one.keep);
  }
  return shown;
}

async function converse(seed: number, isPoisoned: boolean): Promise<void> {
  const random = seeded(seed);
  const server = new StrictServer();
  const model = openaiModel({
    model: 'm',
    baseURL: 'http://m/v1',
    fetch: server.fetch,
    timeoutMs: TIMEOUT_MS,
    clock,
    random: () => 0,
  });
  const host = new ConversationHost({
    runner: new ChatTurns({ model, tools }),
    store: new MemoryStore(),
    agent: 'a@b',
  });
  const shown = new Map<string, string>();
  const say = async (id: string) => {
    const turn = await host.turn({ conversationId: 'c', turnId: id, userMessage: id });
    const [seen, outcome] = await Promise.all([shownOf(turn), turn.outcome]);
    shown.set(id, seen);
    const at = `seed ${seed}, ${id}: ${JSON.stringify(outcome)}`;
    expect(seen, at).toBe(outcome.text);
    expect(server.faults, at).toEqual([]);
    return { outcome, at };
  };
  try {
    const options = { systemPrompt: 'Be brief.', maxHistoryLength: 30, turnPolicy: 'queue' as const };
    await host.start({ id: 'c', callId: 's', options });
    const count = 1 + Math.floor(random() * MAX_TURNS);
    for (let n = 0; n < count; n += 1) {
      const length = Math.floor(random() * 4);
      server.script = Array.from({ length }, () => hostile(random));
      await say(`turn-${n}`);
      if (isPoisoned && random() < 0.3) server.poison = `turn-${Math.floor(random() * (n + 1))}`;
    }
    server.script = [];
    // A refused history may cost one turn: the next one asks without it.
    if (isPoisoned) await say('first-plain');
    const { outcome, at } = await say('last-plain');
    expect(outcome.state, at).toBe('completed');
    expect(outcome.text.replace(`\n\n${LEFT_OUT_NOTICE}`, ''), at).toBe('fine');
    const isReduced = [...shown.values()].some((seen) => seen.includes(LEFT_OUT_NOTICE));
    for (const [id, seen] of shown) {
      const again = await host.turn({ conversationId: 'c', turnId: id, userMessage: id });
      const { state, text: kept } = await again.outcome;
      expect(kept, `seed ${seed}, ${id}`).toBe(seen);
      // The model receives every turn that completed, unless the notice told the person that turns are left out.
      if (!isReduced && state === 'completed') expect(server.last, at).toContain(id);
    }
  } finally {
    await host.close();
  }
}

test.each([
  ['a strict server', false],
  ['a strict server that refuses an earlier message', true],
])(
  '%s: after any hostile answers the conversation works, and no text is lost',
  async (_, isPoisoned) => {
    const first = isPoisoned ? SEQUENCES : 0;
    for (let seed = first; seed < first + SEQUENCES; seed += AT_ONCE) {
      await Promise.all(Array.from({ length: AT_ONCE }, (_, i) => converse(seed + i, isPoisoned)));
    }
  },
  120_000,
);
