// A conversation survives `make stop` and `make start`: it is started with the command, left, and resumed after both processes
// were stopped and started. A turn that waits for an approval survives them too.
import { connect } from '@fame-fabric/client/node';
import { afterAll, expect, test } from 'vitest';
import { fameArgs, freePort, startNode } from '../kit/processes.ts';
import { admissionUrl, temporaryDirectory } from '../kit/sentinel.ts';
import { CHAT } from '../kit/stack.ts';

const dataDir = temporaryDirectory();
let port = 0;

async function fame(args: readonly string[], input = '') {
  const proc = startNode(fameArgs(...args), {
    name: `fame ${args.join(' ')}`,
    env: { FAME_LISTENER_PORT: String(port), FAME_DATA_DIR: dataDir, FAME_APPROVE_TOOLS: 'calculator' },
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

test('a conversation is resumed after make stop and make start', async () => {
  port = await freePort();
  expect((await fame(['local', 'start', '--mode', 'local'])).code).toBe(0);
  const first = await fame(['chat', '--lines'], 'My name is Ada.\n/leave\n');
  expect(first.code).toBe(0);
  const id = /npx fame-fabric chat --resume (\S+)/.exec(first.all)?.[1] ?? '';
  expect(id).not.toBe('');
  expect((await fame(['local', 'stop'])).code).toBe(0);

  // The store can be read while no process runs.
  const listed = JSON.parse((await fame(['conversations', 'ls', '--json'])).out);
  expect(JSON.stringify(listed)).toContain(id);

  expect((await fame(['local', 'start', '--mode', 'local'])).code).toBe(0);
  const second = await fame(['chat', '--resume', '--lines'], 'What is my name?\n/end\n');
  expect(second.code).toBe(0);
  expect(second.all).toContain('Q> My name is Ada.');
  expect(second.out).toContain('Ada');

  // `/end` has ended it, so there is no conversation to resume.
  const third = await fame(['chat', '--resume']);
  expect(third.code).toBe(1);
  expect(third.all).toContain('There is no conversation to resume');
});

test('a turn that waits for an approval survives make stop, and its tool runs when it is approved', async () => {
  const question = ['What is 6 times 7?', { turnId: 'sum' }] as const;
  let client = await connect({ url: admissionUrl(port) });
  let conversation = client.conversation(CHAT, { id: 'waiting' });
  let id = '';
  for await (const event of conversation.stream(...question)) {
    if (event.type !== 'approval') continue;
    id = event.id;
    // Closing the client is a lost connection: it does not cancel the turn.
    await client.close();
    break;
  }
  for (let n = 0; n < 3; n++) {
    expect((await fame(['local', 'stop'])).code).toBe(0);
    const [listed] = JSON.parse((await fame(['conversations', 'ls', '--json'])).out);
    expect(listed).toMatchObject({ id: 'waiting', state: 'input-required' });
    expect((await fame(['local', 'start', '--mode', 'local'])).code).toBe(0);
  }
  client = await connect({ url: admissionUrl(port) });
  conversation = client.conversation(CHAT, { id: 'waiting', isResumed: true });
  await conversation.answerApproval(id, { approve: true });
  expect(await conversation.ask(...question)).toBe('6 * 7 = 42.');
  await client.close();
});
