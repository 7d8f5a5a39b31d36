// `fame describe` and `fame chat` at agents with and without conversations, as processes.
import { AgentWorker, defineAgent, operation } from '@fame-fabric/agents';
import { FabricError, Link, silentLog } from '@fame-fabric/shared';
import { sidOf, wsDial } from '@fame-fabric/shared/node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { z } from 'zod';
import { runFame, startOurAgent } from '../kit/commands.ts';
import { startOurSentinel } from '../kit/sentinel.ts';

let url: string;
let worker: AgentWorker;

/** An agent whose `describe` answers as that of version 0.1 or of naylence. */
function agentThat(name: string, operations: Record<string, () => unknown>) {
  const all = Object.entries({ ...operations, add: () => 1 });
  return defineAgent({
    address: `${name}@fame.fabric`,
    operations: Object.fromEntries(
      all.map(([method, run]) => [method, operation({ params: z.looseObject({}), run })]),
    ),
  });
}

beforeAll(async () => {
  ({ url } = await startOurSentinel());
  await startOurAgent({ url }, 'math', 'chat', 'refine', 'team');
  const fail = (code: 'METHOD_NOT_FOUND' | 'INTERNAL', message: string) => () => {
    throw new FabricError(code, message);
  };
  const old = agentThat('old', {
    describe: fail('METHOD_NOT_FOUND', 'There is no operation "describe". There are: add'),
  });
  const peer = agentThat('peer', { describe: fail('INTERNAL', 'Unknown RPC method: describe') });
  const faulty = agentThat('faulty', { describe: fail('INTERNAL', 'No disk') });
  const oldChat = agentThat('old-chat', {
    describe: () => ({ model: 'gpt' }),
    'tasks/send': () => ({}),
    run_turn_stream: () => ({ type: 'done', text: 'Hello to you' }),
    end_conversation: () => null,
  });
  const link = new Link({ url, dial: wsDial, sidOf });
  worker = new AgentWorker([old, peer, oldChat, faulty], { link, log: silentLog });
  await worker.start();
});
afterAll(() => worker.drain(0));

test('D9: describe prints the operations of an agent, and as JSON their schemas', async () => {
  const { code, stdout } = await runFame({ url }, ['describe', 'math@fame.fabric']);
  expect(code).toBe(0);
  expect(stdout).toContain('add(x: number, y: number)\n    The sum of two numbers.\n');
  expect(stdout).toContain('fib_stream(n: integer)  [stream]\n');
  const json = await runFame({ url }, ['describe', 'math@fame.fabric', '--json']);
  expect(JSON.parse(json.stdout).operations[0]).toMatchObject({
    name: 'add',
    params: { properties: { x: { type: 'number' } }, required: ['x', 'y'] },
    streams: false,
  });
});

test.each(['chat', 'refine', 'team'])('D9: %s@fame.fabric describes its turns', async (name) => {
  const { code, stdout } = await runFame({ url }, ['describe', `${name}@fame.fabric`]);
  expect(code).toBe(0);
  expect(stdout).toContain('run_turn(conversation_id: string');
});

test('D9: the command that describe prints works', async () => {
  const { stdout } = await runFame({ url }, ['describe', 'math@fame.fabric']);
  const [, name, json] = /^For example: npx fame-fabric call math@fame.fabric (\w+) '(.*)'$/m.exec(stdout)!;
  expect(await runFame({ url }, ['call', 'math@fame.fabric', name!, json!])).toMatchObject({
    code: 0,
    stdout: '2\n',
  });
});

test('D9: describe of a missing agent fails, and of a word that is no address is wrong usage', async () => {
  expect((await runFame({ url }, ['describe', 'missing@fame.fabric'])).output).toContain('(NO_ROUTE)');
  expect(await runFame({ url }, ['describe', 'math'])).toMatchObject({ code: 2 });
  expect(await runFame({ url }, ['describe'])).toMatchObject({ code: 2 });
});

test.each(['old', 'peer', 'old-chat'])(
  'D9: describe of %s@fame.fabric, which lists no operations',
  async (name) => {
    const { code, stdout, output } = await runFame({ url }, ['describe', `${name}@fame.fabric`]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(output).toMatch(
      new RegExp(`^${name}@fame.fabric does not list its operations: .* Its card names describe, `),
    );
  },
);

test('D9: an error of the agent itself is reported as it is', async () => {
  const { code, output } = await runFame({ url }, ['describe', 'faulty@fame.fabric']);
  expect({ code, output }).toMatchObject({ code: 1, output: expect.stringContaining('No disk') });
});

test('R22: chat at an agent that lists no operations sends the message', async () => {
  const { code, stdout } = await runFame({ url }, ['chat', 'old-chat@fame.fabric', '-m', 'Hello']);
  expect({ code, stdout }).toEqual({ code: 0, stdout: 'Hello to you\n' });
});

test.each([[['-m', 'Hello']], [['--lines']], [[]]])(
  'R22: chat %j at math@fame.fabric is refused',
  async (flags) => {
    const { code, output } = await runFame({ url }, ['chat', 'math@fame.fabric', ...flags], 'Hello\n');
    expect(code).toBe(1);
    expect(output).toBe(
      '! math@fame.fabric holds no conversations; it has add, multiply, fib_stream, count. `npx fame-fabric describe math@fame.fabric` shows them\n',
    );
  },
);
