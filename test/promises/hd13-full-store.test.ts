// HD13 at the wire: a program without the key fills the store of an agent. Every call is answered, and only its own conversations go.
import { afterAll, expect, test } from 'vitest';
import { runFame, startOurAgent } from '../kit/commands.ts';
import { localKey, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';
import { CHAT, openClient, stopStack } from '../kit/stack.ts';

afterAll(stopStack);

test('HD13: a stranger that fills the store neither removes an open conversation of the owner nor blocks new turns', async () => {
  const { url, dataDir: keyDir } = await startOurSentinel();
  const env = { FAME_DATA_DIR: temporaryDirectory(), FAME_STORE_MAX_BYTES: '2097152' };
  const agent = await startOurAgent({ url, env });
  const owner = await openClient(url, { token: localKey(keyDir) });
  const stranger = await openClient(url);
  const start = (client: typeof owner, id: string, system_prompt: string) =>
    client.call(CHAT, 'start_task', { id, payload: { system_prompt } });
  const say = (client: typeof owner, id: string, text: string) =>
    client.call(CHAT, 'run_turn', { conversation_id: id, user_message: text });

  await start(owner, 'mine', 'Be kind.');
  await say(owner, 'mine', 'Hello');
  for (let from = 0; from < 160; from += 8) {
    const ids = Array.from({ length: 8 }, (_, i) => `theirs-${from + i}`);
    await Promise.all(ids.map((id) => start(stranger, id, 'x'.repeat(40_000))));
  }
  await agent.waitFor(/"movedIdle":\d+.*made room|made room.*"movedIdle":\d+/);
  await say(owner, 'mine', 'Are you there?');
  const history = (await owner.call(CHAT, 'get_history', { conversation_id: 'mine' })) as {
    content: string;
  }[];
  expect(history.map(({ content }) => content)).toEqual([
    'Hello',
    expect.any(String),
    'Are you there?',
    expect.any(String),
  ]);
  // The youngest of the stranger is there, and the oldest is unknown.
  await say(stranger, 'theirs-159', 'Hello');
  await expect(say(stranger, 'theirs-0', 'Hello')).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });

  const listed = async (...flags: string[]) => {
    const { stdout } = await runFame({ url, env }, ['conversations', 'ls', '--json', ...flags]);
    return JSON.parse(stdout) as { id: string; principal: string }[];
  };
  const live = await listed();
  expect(live.find(({ id }) => id === 'mine')).toMatchObject({ principal: 'local' });
  expect(live.filter(({ principal }) => principal === 'anonymous').length).toBe(live.length - 1);
  const trash = await listed('--trash');
  // A full store deletes its trash first, so the trash may be empty.
  expect(trash.filter(({ principal }) => principal !== 'anonymous')).toEqual([]);
});
