// Two processes of the built command that serve the chat agent over one file: callers see one agent, also while both are restarted one
// after the other.
import { pieces } from '@fame-fabric/agents/testing';
import type { Client } from '@fame-fabric/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Proc } from '../kit/processes.ts';
import { fetchWithKey, type OurSentinel, startOurSentinel } from '../kit/sentinel.ts';
import { CHAT, lastUserText, openClient, pause, startAgent, startModel, stopStack } from '../kit/stack.ts';

const env = { FAME_CHAT_ADDRESS: 'chat@*.fame.fabric' };
let sentinel: OurSentinel;
let model: Awaited<ReturnType<typeof startModel>>;
let client: Client;
let replicas: Proc[];

// With the data directory of the sentinel the agents have the local key.
const start = (): Promise<Proc> => startAgent(sentinel.url, { model, env, dataDir: sentinel.dataDir });

beforeAll(async () => {
  model = await startModel({
    respond: (request) =>
      pieces(`An answer to ${lastUserText(request)}.`, 4).flatMap((text) => [text, pause(20)]),
  });
  sentinel = await startOurSentinel({ env: { FAME_DOORS: 'http' } });
  replicas = await Promise.all([start(), start()]);
  client = await openClient(sentinel.url);
});
afterAll(stopStack);

test('the doors list one agent, at the address that callers use', async () => {
  const { agents } = (await (await fetchWithKey(sentinel, '/agents')).json()) as {
    agents: { address: string }[];
  };
  expect(agents.map(({ address }) => address)).toEqual([CHAT]);
});

test('K4: a rolling restart under load fails no turn', async () => {
  let isOver = false;
  let turns = 0;
  const faults: string[] = [];
  const talk = async (n: number): Promise<void> => {
    const conversation = client.conversation(CHAT, {});
    for (let turn = 0; !isOver; turn++) {
      const message = `message ${turn} of ${n}`;
      const text = await conversation.ask(message).catch(String);
      if (text !== `An answer to ${message}.`) faults.push(`${message}: ${text}`);
      turns++;
    }
  };
  const talking = Promise.all(Array.from({ length: 16 }, (_, n) => talk(n)));
  for (const [index, replica] of replicas.entries()) {
    const before = turns;
    await expect.poll(() => turns).toBeGreaterThan(before + 16);
    expect(await replica.stop('SIGTERM', 20_000)).toMatchObject({ code: 0 });
    replicas[index] = await start();
  }
  const before = turns;
  await expect.poll(() => turns).toBeGreaterThan(before + 16);
  isOver = true;
  await talking;
  expect(faults).toEqual([]);
  const replies = model.requests.map(({ body }) => lastUserText(body));
  expect(new Set(replies).size).toBeGreaterThanOrEqual(turns);
  model.assertValid();
});
