// A conversation survives `make stop` and `make start`: it is started with the command, left, and resumed after both processes
// were stopped and started.
import { afterAll, expect, test } from 'vitest';
import { fameArgs, freePort, startNode } from '../kit/processes.ts';
import { temporaryDirectory } from '../kit/sentinel.ts';
import '../kit/stack.ts';

const dataDir = temporaryDirectory();
let port = 0;

async function fame(args: readonly string[], input = '') {
  const proc = startNode(fameArgs(...args), {
    name: `fame ${args.join(' ')}`,
    env: { FAME_LISTENER_PORT: String(port), FAME_DATA_DIR: dataDir },
  });
  let out = '';
  proc.child.stdout?.on('data', (text: string) => {
    out += text;
  });
  proc.child.stdin?.end(input);
  const { code } = await proc.exited;
  return { code, out, all: proc.output };
}

afterAll(() => fame(['local', 'stop']));

test('a conversation is resumed after make stop and make start', { timeout: 60_000 }, async () => {
  port = await freePort();
  expect((await fame(['local', 'start', '--mode', 'local'])).code).toBe(0);
  const first = await fame(['chat'], 'My name is Ada.\n/leave\n');
  expect(first.code).toBe(0);
  const id = /fame chat --resume (\S+)/.exec(first.all)?.[1] ?? '';
  expect(id).not.toBe('');
  expect((await fame(['local', 'stop'])).code).toBe(0);

  // The store can be read while no process runs.
  const listed = JSON.parse((await fame(['conversations', 'ls', '--json'])).out);
  expect(JSON.stringify(listed)).toContain(id);

  expect((await fame(['local', 'start', '--mode', 'local'])).code).toBe(0);
  const second = await fame(['chat', '--resume'], 'What is my name?\nexit\n');
  expect(second.code).toBe(0);
  expect(second.all).toContain('Q> My name is Ada.');
  expect(second.out).toContain('Ada');

  // `exit` has ended it, so there is no conversation to resume.
  const third = await fame(['chat', '--resume']);
  expect(third.code).toBe(1);
  expect(third.all).toContain('There is no conversation to resume');
});
