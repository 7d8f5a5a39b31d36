// A call outlives the process that accepted it. The agent is killed in the middle of a turn; the next process on the same data
// directory finishes the turn and answers the caller, which only waits.
import { gate } from '@fame-fabric/agents/testing';
import { afterAll, expect, test } from 'vitest';
import { startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';
import { CHAT, converse, openClient, startAgent, startModel, stopStack } from '../kit/stack.ts';

afterAll(stopStack);

test('a caller of a killed agent is answered by the process that follows it', async () => {
  const sentinel = await startOurSentinel({ env: { FAME_RESUME_WINDOW_MS: '20000' } });
  const held = gate();
  let requests = 0;
  const model = await startModel({
    respond: () => {
      requests += 1;
      return requests === 1 ? ['The first ', held] : 'The whole answer';
    },
  });
  const dataDir = temporaryDirectory();
  const agent = await startAgent(sentinel.url, { model, dataDir });
  const client = await openClient(sentinel.url);
  const { id } = await converse(client);
  const call = client.call(CHAT, 'run_turn', { args: [id, 'hello'] }, { timeoutMs: 30_000 });
  await held.reached;
  agent.child.kill('SIGKILL');
  await startAgent(sentinel.url, { model, dataDir });
  expect(await call).toBe('The whole answer');
  expect(await client.call(CHAT, 'get_history', { args: [id] })).toEqual([
    { role: 'user', content: 'hello' },
    { role: 'assistant', content: 'The whole answer' },
  ]);
  expect(requests).toBe(2);
});
