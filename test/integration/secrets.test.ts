// A9, P21: every envelope of a turn can be traced at both ends and in the sentinel, without any text of the conversation and any
// secret. The tests plant unique words and search them in all output of the processes.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { httpError } from '@fame-fabric/agents/testing';
import { localKeyFile } from '@fame-fabric/shared/node';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { MAKE_FAILED, make } from '../kit/make.ts';
import { freePort } from '../kit/processes.ts';
import { fetchWithKey, type OurSentinel, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';
import { CHAT, lastUserText, startAgent, startModel, stopStack } from '../kit/stack.ts';

const PLANTED = {
  apiKey: 'sk-canary1key0123456789',
  urlPassword: 'canary2password',
  bearer: `fk_local_canary3bearer${'0'.repeat(30)}`,
  query: 'canary4query0123456789',
  systemPrompt: 'canary5system',
  userText: 'canary6user',
  answerText: 'canary7answer',
  failingText: 'canary8failing',
};
const SECRETS = [PLANTED.apiKey, PLANTED.urlPassword, PLANTED.bearer, PLANTED.query];

/** Names of the planted words that occur in `text`. */
const foundIn = (text: string, words: readonly string[] = Object.values(PLANTED)): string[] =>
  words.filter((word) => text.includes(word));

const LABELS = [
  'Sent envelope → NodeAttach',
  'Received envelope ← NodeAttachAck',
  `Sent envelope → Data request tasks/send to ${CHAT}`,
  `Sent envelope → Data request run_turn_stream to ${CHAT}`,
  'Received envelope ← Data reply',
  `Sent envelope → Data request end_conversation to ${CHAT}`,
];

interface TraceEntry {
  type: string;
  id: string;
  from: string;
  to: string;
}

/** Reads the sentinel's live trace until `stop`. */
async function readTrace(sentinel: OurSentinel): Promise<{ text: () => string; stop: () => void }> {
  const stop = new AbortController();
  const answer = await fetchWithKey(sentinel, '/fame/v1/trace', { signal: stop.signal });
  const chunks: Uint8Array[] = [];
  const reading = (async () => {
    for await (const chunk of answer.body!) chunks.push(chunk);
  })();
  reading.catch(() => {}); // `stop` aborts it
  return { text: () => Buffer.concat(chunks).toString(), stop: () => stop.abort() };
}

/** A data directory whose local key is the planted one. */
function plantedDataDir(): string {
  const dataDir = temporaryDirectory();
  writeFileSync(localKeyFile(dataDir), `${PLANTED.bearer}\n`, { mode: 0o600 });
  return dataDir;
}

const dataBetweenEnds = (trace: string): TraceEntry[] =>
  trace
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line) as TraceEntry)
    .filter(({ type, to }) => type === 'Data' && (to === CHAT || to.startsWith('__rpc__')));

const filesUnder = (directory: string): string[] =>
  readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));

afterEach(stopStack);
afterAll(stopStack);

describe.each(['trace', 'debug', 'info', 'warn', 'error'])('A9: at log level %s', (level) => {
  test('make run-verbose, the agent and the sentinel print envelopes without their payloads', async () => {
    const model = await startModel({
      respond: (request) =>
        lastUserText(request).includes(PLANTED.failingText)
          ? // As real servers do, it repeats the key and the message in its refusal.
            httpError(400, { message: `Bad key ${PLANTED.apiKey} for "${lastUserText(request)}"` })
          : `I say ${PLANTED.answerText}.`,
    });
    const env = { FAME_LOG_LEVEL: level, FAME_SHOW_ENVELOPES: 'true', FAME_ADMISSION_TOKEN: PLANTED.bearer };
    const sentinel = await startOurSentinel({ env, dataDir: plantedDataDir() });
    const url = `${sentinel.url}?token=${PLANTED.query}`;
    const agentData = temporaryDirectory();
    const agent = await startAgent(url, {
      dataDir: agentData,
      env: { ...env, OPENAI_API_KEY: PLANTED.apiKey, OPENAI_BASE_URL: model.url },
    });
    const trace = await readTrace(sentinel);

    const clientData = temporaryDirectory();
    const chat = await make(
      'run-verbose',
      {
        ...env,
        FAME_DIRECT_ADMISSION_URL: url,
        FAME_DATA_DIR: clientData,
        FAME_SYSTEM_PROMPT: `You are ${PLANTED.systemPrompt}.`,
        FAME_SHOW_ENVELOPES: '', // the make target sets it
        ARGS: '--lines',
      },
      `Hello ${PLANTED.userText}\nNow ${PLANTED.failingText}\nexit\n`,
    );
    // The conversation happened: the model received everything, the answer is on stdout.
    expect(model.requests[0]!.headers.authorization).toBe(`Bearer ${PLANTED.apiKey}`);
    expect(foundIn(JSON.stringify(model.requests[0]!.body))).toEqual([
      PLANTED.systemPrompt,
      PLANTED.userText,
    ]);
    expect(chat).toMatchObject({ code: MAKE_FAILED, out: `A> I say ${PLANTED.answerText}.\n` });
    expect(chat.err).toContain('MODEL_REFUSED');

    // All three traces contain every envelope between client and agent, by its id.
    const entries = await eventually(() => {
      const passed = dataBetweenEnds(trace.text());
      expect(passed.length).toBeGreaterThanOrEqual(12); // start, describe, two turns, end, and their replies
      return passed;
    });
    const shownByAgent = level === 'warn' || level === 'error' ? [] : entries;
    const missing = (text: string, shown: readonly string[]) => shown.filter((one) => !text.includes(one));
    expect(
      missing(
        chat.err,
        entries.map(({ id }) => `"id": "${id}"`),
      ),
    ).toEqual([]);
    expect(
      missing(
        agent.output,
        shownByAgent.map(({ id }) => `"id":"${id}"`),
      ),
    ).toEqual([]);
    expect(missing(chat.err, LABELS)).toEqual([]);

    // No output contains a planted word.
    const pages = await Promise.all(
      ['/metrics', '/fame/v1/nodes', '/healthz', '/readyz'].map(async (path) =>
        (await fetchWithKey(sentinel, path)).text(),
      ),
    );
    await Promise.all([agent.stop(), sentinel.proc.stop()]);
    const shown = {
      client: chat.err,
      agent: agent.output,
      sentinel: sentinel.proc.output,
      trace: trace.text(),
      pages: pages.join('\n'),
    };
    trace.stop();
    for (const [where, text] of Object.entries(shown))
      expect({ where, found: foundIn(text) }).toEqual({ where, found: [] });
    // The disk holds the conversation, in the agent's store, and no secrets.
    for (const directory of [agentData, clientData, sentinel.dataDir]) {
      for (const file of filesUnder(directory).filter((path) => path !== localKeyFile(sentinel.dataDir))) {
        const text = readFileSync(file, 'latin1');
        expect({ file, found: foundIn(text, SECRETS) }).toEqual({ file, found: [] });
      }
    }
  });
});

test('A9: a model server that cannot be reached is named without the password of its URL', async () => {
  const sentinel = await startOurSentinel();
  const agent = await startAgent(sentinel.url, {
    env: {
      FAME_LOG_LEVEL: 'trace',
      OPENAI_API_KEY: PLANTED.apiKey,
      OPENAI_BASE_URL: `http://me:${PLANTED.urlPassword}@127.0.0.1:${await freePort()}/v1`,
    },
  });
  const env = { FAME_DIRECT_ADMISSION_URL: sentinel.url, FAME_DATA_DIR: temporaryDirectory() };
  const chat = await make('run', env, `Hello ${PLANTED.userText}\n`);
  expect(chat).toMatchObject({ code: MAKE_FAILED, out: '' });
  expect(chat.err).toMatch(/127\.0\.0\.1:\d+.*MODEL_UNAVAILABLE/);
  await agent.stop();
  expect(foundIn(chat.err + agent.output)).toEqual([]);
});

test('A9: with FAME_SHOW_ENVELOPES=full the client prints the conversation, and still no secret', async () => {
  const model = await startModel({ respond: () => `I say ${PLANTED.answerText}.` });
  const sentinel = await startOurSentinel({ dataDir: plantedDataDir() });
  const env = { FAME_SHOW_ENVELOPES: 'full', FAME_ADMISSION_TOKEN: PLANTED.bearer };
  const url = `${sentinel.url}?token=${PLANTED.query}`;
  const key = { OPENAI_API_KEY: PLANTED.apiKey, OPENAI_BASE_URL: model.url };
  const agent = await startAgent(url, { env: { ...env, ...key } });
  const chat = await make(
    'run-verbose',
    { ...env, FAME_DIRECT_ADMISSION_URL: url, FAME_DATA_DIR: temporaryDirectory() },
    `Hello ${PLANTED.userText}\n`,
  );
  expect(chat.code).toBe(0);
  expect(foundIn(chat.err)).toEqual([PLANTED.userText, PLANTED.answerText]);
  await agent.stop();
  expect(foundIn(agent.output)).toEqual([]); // agents never log payloads
});
