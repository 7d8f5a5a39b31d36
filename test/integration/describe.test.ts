// `fame describe` and `fame chat` at agents with and without conversations, as processes.
import { beforeAll, expect, test } from 'vitest';
import { runFame, startOurAgent } from '../kit/commands.ts';
import { startOurSentinel } from '../kit/sentinel.ts';

let url: string;
beforeAll(async () => {
  ({ url } = await startOurSentinel());
  await startOurAgent({ url }, 'math', 'chat', 'refine', 'team');
});

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
  expect((await runFame({ url }, ['describe', 'nobody@fame.fabric'])).output).toContain('(NO_ROUTE)');
  expect(await runFame({ url }, ['describe', 'math'])).toMatchObject({ code: 2 });
  expect(await runFame({ url }, ['describe'])).toMatchObject({ code: 2 });
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
