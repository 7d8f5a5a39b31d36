// Conversations between our nodes and those of the peer, each in its own process: clients of both, our chat agent with its
// offline model and the peer's, on both sentinels. A turn is only answered correctly if the earlier turns arrived.
import { EXIT } from '@fame-fabric/shared/internal';
import { beforeAll, describe, expect, test } from 'vitest';
import { runFame, startOurAgent } from '../kit/commands.ts';
import { PeerClient, startPeerAgent, startPeerSentinel } from '../kit/naylence.ts';
import { startOurSentinel } from '../kit/sentinel.ts';

const OURS = 'chat@fame.fabric';
const THEIRS = 'peer-chat@fame.fabric';

const SENTINELS = [
  ['our sentinel', startOurSentinel],
  ['the sentinel of the peer', startPeerSentinel],
] as const;

describe.each(SENTINELS)('through %s', (_name, start) => {
  let sentinel: { url: string };
  let client: PeerClient;

  beforeAll(async () => {
    sentinel = await start();
    [client] = await Promise.all([
      PeerClient.start(sentinel),
      startOurAgent(sentinel),
      startPeerAgent('chat', { ...sentinel, address: THEIRS }),
    ]);
  }, 120_000);

  test('a client of the peer has three turns with our agent that build on each other', async () => {
    const say = (text: string): Promise<string> => client.call<string>(OURS, 'run_turn', 'c1', text);
    const payload = { system_prompt: 'Be brief.', max_history_length: 5 };
    expect(await client.do('startTask', { address: OURS, id: 'c1', payload })).toBe('working');
    await say('My name is Ada.');
    expect(await say('What is 6 times 7?')).toContain('42');
    expect(await say('What is my name?')).toContain('Ada');
    expect(await client.call(OURS, 'end_conversation', 'c1')).toBeNull();
    const after = await client.ask('call', {
      address: OURS,
      method: 'run_turn',
      args: ['c1', 'Still there?'],
    });
    expect(after).toMatchObject({ ok: false, error: expect.stringContaining('conversation') });
  });

  test('a client of the peer that opens with an empty message gets a greeting, as its chat example does', async () => {
    await client.do('startTask', { address: OURS, id: 'c2', payload: { system_prompt: 'Be kind.' } });
    expect(await client.call<string>(OURS, 'run_turn', 'c2', '')).toMatch(/\w/);
    await client.call(OURS, 'end_conversation', 'c2');
  });

  test('a client of the peer reads a turn of our agent as a stream', async () => {
    await client.do('startTask', { address: OURS, id: 'c3', payload: {} });
    const stream = { address: OURS, method: 'run_turn_stream', args: ['c3', 'What is 2 plus 3?'] };
    const events = await client.do<{ type: string; text: string }[]>('stream', stream);
    const text = events.filter((event) => event.type === 'text').map((event) => event.text);
    expect(text.join('')).toContain('5');
    expect(events.at(-1)).toMatchObject({ type: 'done', text: text.join('') });
  });

  test('our client has a conversation with our agent', async () => {
    const { code, stdout } = await runFame(
      sentinel,
      ['chat', '--lines'],
      'My name is Grace.\nWhat is my name?\nexit\n',
    );
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringContaining('Grace') });
  });

  test('our client calls an agent of the peer', async () => {
    const params = { id: 'f1', message: { role: 'user', parts: [{ type: 'data', data: {} }] } };
    const call = (method: string, args: unknown) =>
      runFame(sentinel, ['call', THEIRS, method, JSON.stringify(args), '--json']);
    expect((await call('tasks/send', params)).code).toBe(0);
    await call('run_turn', { args: ['f1', 'one'] });
    const { stdout } = await call('run_turn', { args: ['f1', 'two'] });
    expect(JSON.parse(stdout)).toBe('turn 2: you said one, then two');
  });

  test('our client gets NO_ROUTE for an address that is not served', async () => {
    const began = Date.now();
    const { code, output } = await runFame(sentinel, ['call', 'unserved@fame.fabric', 'any']);
    expect(code).toBe(EXIT.unreachable);
    expect(output).toContain('NO_ROUTE');
    expect(Date.now() - began).toBeLessThan(5_000);
  });
});
