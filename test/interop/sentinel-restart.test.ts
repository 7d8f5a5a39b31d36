// A restart of our sentinel under unmodified peer nodes. They notice a lost connection only when they send or when their
// heartbeat is due (15 s), which is what makes this test long.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PeerClient, startPeerAgent } from '../kit/naylence.ts';
import { stopAll } from '../kit/processes.ts';
import { type OurSentinel, startOurSentinel } from '../kit/sentinel.ts';

let sentinel: OurSentinel;
let client: PeerClient;
beforeAll(async () => {
  sentinel = await startOurSentinel();
  await startPeerAgent('math', { url: sentinel.url });
  client = await PeerClient.start({ url: sentinel.url });
}, 60_000);
afterAll(stopAll);

test('Q31: after the sentinel was killed and started again, agent and client find each other', async () => {
  expect(await client.call('math@fame.fabric', 'add', 1, 2)).toBe(3);
  await sentinel.proc.kill();
  sentinel = await startOurSentinel(sentinel);
  const answered = async (): Promise<unknown> => {
    const answer = await client.ask(
      'call',
      { address: 'math@fame.fabric', method: 'add', args: [4, 5] },
      40_000,
    );
    return answer.result;
  };
  await expect.poll(answered, { timeout: 40_000, interval: 250 }).toBe(9);
}, 60_000);
