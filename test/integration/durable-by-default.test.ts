// A2: agents of users without a store keep their conversations in FAME_DATA_DIR, also when their process is killed.
import { join } from 'node:path';
import type { Link } from '@fame-fabric/shared';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { closeLinks, connectLink } from '../kit/our-node.ts';
import { fameArgs, type Proc, startNode } from '../kit/processes.ts';
import { type OurSentinel, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';

const SHOP = 'shop@fame.fabric';
const ORDERS = 'orders@fame.fabric';
let sentinel: OurSentinel;
let client: Link;

beforeAll(async () => {
  sentinel = await startOurSentinel();
  client = await connectLink(sentinel.url);
});
afterAll(closeLinks);

/** Starts a program of the guides in `dataDir`. */
async function start(example: string, address: string, dataDir: string): Promise<Proc> {
  const proc = startNode([...fameArgs().slice(0, -1), `agents/examples/${example}`], {
    name: example,
    env: {
      FAME_DIRECT_ADMISSION_URL: sentinel.url,
      FAME_DATA_DIR: dataDir,
      // With the key, the next process gets the address of a killed one at once.
      FAME_ADMISSION_TOKEN_FILE: join(sentinel.dataDir, 'token'),
    },
  });
  await proc.waitFor(new RegExp(`${address} is served`));
  return proc;
}
const say = (address: string, text: string): Promise<unknown> =>
  client.call(address, 'run_turn', { args: ['c1', text] });

test('a conversation continues after kill -9, and the log has the path of the store', async () => {
  const dataDir = temporaryDirectory();
  const first = await start('conversation-agent.ts', SHOP, dataDir);
  expect(first.output).toContain('conversation store opened');
  expect(first.output).toContain(join(dataDir, 'conversations', 'journal.db'));
  await client.call(SHOP, 'start_task', { id: 'c1' });
  await say(SHOP, 'My name is Ada.');
  await first.kill();
  const second = await start('conversation-agent.ts', SHOP, dataDir);
  expect(await say(SHOP, 'What is my name?')).toContain('Ada');
  expect(await second.stop()).toEqual({ code: 0, signal: null });
});

test('two processes with different addresses share a data directory', async () => {
  const dataDir = temporaryDirectory();
  const shop = await start('conversation-agent.ts', SHOP, dataDir);
  const orders = await start('approval-agent.ts', ORDERS, dataDir);
  await client.call(SHOP, 'start_task', { id: 'c1' });
  await client.call(ORDERS, 'start_task', { id: 'c2' });
  await say(SHOP, 'My name is Ada.');
  await shop.kill();
  const text = await client.call(ORDERS, 'run_turn', { args: ['c2', 'My name is Bob.'] });
  expect(text).toContain('Bob');
  // A conversation belongs to its agent.
  await expect(say(ORDERS, 'What is my name?')).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
  const again = await start('conversation-agent.ts', SHOP, dataDir);
  expect(await say(SHOP, 'What is my name?')).toContain('Ada');
  await Promise.all([again.stop(), orders.stop()]);
});
