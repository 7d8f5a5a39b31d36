// A10: the most frequent faults as a user sees them: one message with the cause and the fix, the right exit code, no stack, and
// a conversation that continues once the fault is over.
import { createServer } from 'node:net';
import { type FakeOpenAI, httpError, stall } from '@fame-fabric/agents/testing';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { type Finished, runFame } from '../kit/commands.ts';
import { fameArgs, freePort, type Proc, startNode } from '../kit/processes.ts';
import { type OurSentinel, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';
import { spawnAgent, startAgent, startModel, stopStack } from '../kit/stack.ts';

/** The turn before the fault must begin within this time, also on a busy machine. */
const MODEL_TIMEOUT_MS = 2_000;

let sentinel: OurSentinel;

beforeAll(async () => {
  sentinel = await startOurSentinel();
});
afterAll(stopStack);

/** Starts `fame chat` on a pipe. */
function startChat(url: string): Proc {
  const env = { FAME_DIRECT_ADMISSION_URL: url, FAME_DATA_DIR: temporaryDirectory() };
  return startNode(fameArgs('chat', '--lines'), { name: 'fame chat', env });
}

/** The one line that reports a failed turn. */
function failedTurnLine(output: string): string {
  const lines = output.split('\n').filter((line) => line.startsWith('! '));
  expect(lines).toHaveLength(1);
  return lines[0]!;
}

const hasStack = (output: string): boolean => /^\s+at .+[:(]\d+/m.test(output) || output.includes('"stack"');

describe('A10: faults of the model server', () => {
  interface Case {
    name: string;
    env?: Record<string, string>;
    /** Puts the model server into the state that fails. */
    fail: (model: FakeOpenAI) => unknown;
    /** Ends that state. */
    recover?: (model: FakeOpenAI) => unknown;
    message: RegExp;
  }
  const cases: Case[] = [
    {
      name: 'a wrong key',
      fail: (model) => model.push(httpError(401, { message: 'Incorrect API key', code: 'invalid_api_key' })),
      message:
        /refused the key \(status 401: Incorrect API key\): set OPENAI_API_KEY to a valid key\. \(MODEL_AUTH\)$/,
    },
    {
      name: 'a model that the server does not know',
      env: { MODEL_NAME: 'gpt-nonesuch' },
      fail: (model) => model.push(httpError(404, { message: 'No such model', code: 'model_not_found' })),
      message:
        /does not know the model "gpt-nonesuch" \(status 404: No such model\): set MODEL_NAME .*\(MODEL_NOT_FOUND\)$/,
    },
    {
      name: 'a server that is down',
      fail: (model) => model.close(),
      recover: (model) => model.listen(Number(new URL(urlOf.get(model)!).port)),
      message: /cannot be reached \(connection refused\): check OPENAI_BASE_URL .*\(MODEL_UNAVAILABLE\)$/,
    },
    {
      name: 'a server that does not answer',
      env: { FAME_MODEL_TIMEOUT_MS: String(MODEL_TIMEOUT_MS) },
      fail: (model) => model.push([stall()]),
      message: /FAME_MODEL_TIMEOUT_MS.*\(MODEL_TIMEOUT\)$/,
    },
    {
      name: 'a server that stops in the middle of an answer',
      env: { FAME_MODEL_TIMEOUT_MS: String(MODEL_TIMEOUT_MS) },
      fail: (model) => model.push(['half an answ', stall()]),
      message: /FAME_MODEL_TIMEOUT_MS.*\(MODEL_TIMEOUT\)$/,
    },
    {
      name: 'an exhausted quota',
      fail: (model) => model.push(httpError(429, { message: 'Quota', code: 'insufficient_quota' })),
      message: /quota .*check the plan and billing of the account\. \(MODEL_RATE_LIMITED\)$/,
    },
  ];
  const urlOf = new WeakMap<FakeOpenAI, string>();

  test.each(cases)(
    '$name: one message with the fix; the next turn is answered',
    async ({ env, fail, recover, message }) => {
      const model = await startModel();
      urlOf.set(model, model.url);
      const agent = await startAgent(sentinel.url, { model, ...(env ? { env } : {}) });
      // After a failure too: the next test needs the address.
      onTestFinished(async () => void (await agent.kill()));
      const chat = startChat(sentinel.url);
      chat.write('first');
      await chat.waitFor(/^A> re: first$/m);
      await fail(model);
      chat.write('second');
      await chat.waitFor(/^! /m);
      await recover?.(model);
      chat.write('third');
      await chat.waitFor(/^A> re: third$/m);
      chat.write('exit');
      expect(await chat.exited).toEqual({ code: 1, signal: null }); // a turn failed, and no terminal was attached

      const line = failedTurnLine(chat.output);
      expect(line).toMatch(message);
      expect(line.length).toBeLessThan(300);
      expect(hasStack(chat.output)).toBe(false);
      // The next model call does not contain the failed turn.
      const last = model.requests.at(-1)!.body.messages.filter(({ role }) => role !== 'system');
      expect(last.map(({ content }) => content)).toEqual(['first', 're: first', 'third']);
      model.assertValid();
      expect((await agent.stop()).code).toBe(0);
      expect(hasStack(agent.output)).toBe(false);
    },
  );
});

describe('A10: a missing agent or sentinel', () => {
  const nowhere = async () => ({
    url: `ws://127.0.0.1:${await freePort()}/fame/v1/attach/ws/downstream`,
    env: { FAME_CONNECT_TIMEOUT_MS: '500' },
  });
  const expectOneMessage = ({ code, output }: Finished, exit: number, message: RegExp): void => {
    expect(output).toMatch(message);
    expect(hasStack(output)).toBe(false);
    expect(code).toBe(exit);
  };

  test.each([
    ['chat', ['chat', '--lines'], 'hello\n'],
    ['call', ['call', 'chat@fame.fabric', 'describe'], ''],
    ['ps', ['ps'], ''],
  ])('no sentinel: `fame %s` prints how to start one, and exits with 69', async (_, args, input) => {
    const options = await nowhere();
    const done = await runFame(options, args, input);
    expect(done.stdout).toBe('');
    expectOneMessage(done, 69, /127\.0\.0\.1:\d+.*make start/s);
  });

  test('no agent: `fame chat` reports that the address is not served, and exits with 69', async () => {
    const done = await runFame({ url: sentinel.url }, ['chat', '--lines'], 'hello\n');
    expectOneMessage(done, 69, /No node serves chat@fame\.fabric.*\(NO_ROUTE\)/);
  });
});

test('A10: a port that is taken: the sentinel reports it with a fix, and exits with 1', async () => {
  const stranger = createServer();
  const port = await new Promise<number>((resolve) => {
    stranger.listen(0, '127.0.0.1', () => resolve((stranger.address() as { port: number }).port));
  });
  try {
    const proc = startNode(fameArgs('sentinel'), {
      env: { FAME_LISTENER_PORT: String(port), FAME_DATA_DIR: temporaryDirectory() },
    });
    expect(await proc.exited).toEqual({ code: 1, signal: null });
    expect(proc.output).toMatch(new RegExp(`port ${port}.*(?:taken|in use).*FAME_LISTENER_PORT`, 'is'));
    expect(hasStack(proc.output)).toBe(false);
  } finally {
    stranger.close();
  }
});

describe('A10: a configuration with three faults at once', () => {
  test.each([
    [
      'sentinel',
      { FAME_LISTENER_PORT: 'eighty', FAME_DRAIN_MS: '-1', FAME_LOG_LEVEL: 'loud' },
      [/FAME_LISTENER_PORT is "eighty"/, /FAME_DRAIN_MS is "-1"/, /FAME_LOG_LEVEL is "loud"/],
    ],
    [
      'agent',
      { OPENAI_BASE_URL: 'example.com', FAME_MODEL_TIMEOUT_MS: 'soon', FAME_LOG_LEVEL: 'loud' },
      [/OPENAI_BASE_URL is "example\.com"/, /FAME_MODEL_TIMEOUT_MS is "soon"/, /FAME_LOG_LEVEL is "loud"/],
    ],
    [
      'chat',
      { FAME_DIRECT_ADMISSION_URL: 'http://x', FAME_TURN_TIMEOUT_MS: '0', FAME_CHAT_ADDRESS: 'no-address' },
      [/FAME_DIRECT_ADMISSION_URL/, /FAME_TURN_TIMEOUT_MS/, /FAME_CHAT_ADDRESS/],
    ],
  ] as const)('fame %s names all three and exits with 2', async (verb, env, faults) => {
    const proc = startNode(fameArgs(verb), { env: { FAME_DATA_DIR: temporaryDirectory(), ...env } });
    proc.child.stdin?.end();
    expect(await proc.exited).toEqual({ code: 2, signal: null });
    for (const fault of faults) expect(proc.output).toMatch(fault);
    expect(hasStack(proc.output)).toBe(false);
    // One message: a line for the subject, and one for each fault.
    expect(proc.output.trim().split('\n')).toHaveLength(4);
  });
});

test('A10: a data directory that is a file: the agent reports it with a fix', async () => {
  const agent = spawnAgent(sentinel.url, {
    dataDir: fameArgs('agent').find((arg) => arg.endsWith('fame.js'))!,
  });
  expect((await agent.exited).code).toBe(1);
  expect(agent.output).toMatch(/fame\.js.*FAME_DATA_DIR/s);
  expect(hasStack(agent.output)).toBe(false);
});
