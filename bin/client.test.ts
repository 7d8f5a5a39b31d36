// The client library against a real sentinel and a real chat agent, over both of its transports.
import { ChatAgent, offlineModel } from '@fame-fabric/agents';
import type { Client } from '@fame-fabric/client';
import { connect as webConnect } from '@fame-fabric/client';
import { connect as wsConnect } from '@fame-fabric/client/node';
import { type RunningSentinel, readSentinelConfig, startSentinel } from '@fame-fabric/sentinel';
import { Link } from '@fame-fabric/shared';
import { sidOf, wsDial } from '@fame-fabric/shared/node';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';

const CHAT = 'chat@fame.fabric';
let sentinel: RunningSentinel;
let agentLink: Link;
const clients: Client[] = [];

beforeAll(async () => {
  const config = readSentinelConfig({ FAME_RESUME_WINDOW_MS: '0' });
  sentinel = await startSentinel({ ...config, dataDir: undefined, port: 0 });
  agentLink = new Link({ url: sentinel.url, dial: wsDial, sidOf });
  await agentLink.connect();
  await new ChatAgent({ model: offlineModel({ chunkDelayMs: 5 }) }).serve(agentLink);
});
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.close()));
});
afterAll(async () => {
  await agentLink.close();
  await sentinel.close();
});

async function open(connect: typeof webConnect = wsConnect): Promise<Client> {
  const client = await connect({ url: sentinel.url });
  clients.push(client);
  return client;
}

test.each([
  ['the ws package', wsConnect],
  ['the WebSocket of browsers', webConnect],
])('a conversation over %s remembers, streams and ends', async (_name, connect) => {
  const client = await open(connect);
  expect(client.state).toBe('attached');
  const chat = client.conversation(CHAT);
  expect(await chat.ask('My name is Ada.')).toContain('Ada');
  let streamed = '';
  let whole = '';
  for await (const event of chat.stream('What is my name?')) {
    if (event.type === 'text') streamed += event.text;
    if (event.type === 'done') whole = event.text;
  }
  expect(whole).toContain('Ada');
  expect(streamed).toBe(whole);
  expect(await chat.history()).toHaveLength(4);
  expect(await chat.describe()).toMatchObject({ model: 'offline' });
  await chat.end();
  await expect(client.call(CHAT, 'run_turn', { args: [chat.id, 'x'] })).rejects.toMatchObject({
    code: 'CONVERSATION_UNKNOWN',
  });
});

test('a cancelled turn ends at the agent, and the next turn is answered', async () => {
  const client = await open();
  const chat = client.conversation(CHAT);
  const stop = new AbortController();
  const long = `Repeat: ${'word '.repeat(400)}`;
  const turn = (async () => {
    for await (const event of chat.stream(long, { signal: stop.signal })) {
      if (event.type === 'text') stop.abort();
    }
  })();
  await expect(turn).rejects.toThrow();
  expect(await chat.ask('My name is Bob.')).toContain('Bob');
});

test('an agent object calls, streams, and rejects with error codes', async () => {
  const client = await open(webConnect);
  const agent = client.agent(CHAT);
  expect(await agent.call('describe')).toMatchObject({ address: CHAT });
  await expect(agent.call('nothing')).rejects.toMatchObject({ code: 'METHOD_NOT_FOUND' });
  await expect(agent.call('run_turn', {})).rejects.toMatchObject({ code: 'PARAMS_INVALID' });
  await expect(client.call('missing@fame.fabric', 'x')).rejects.toMatchObject({ code: 'NO_ROUTE' });
  const stream = agent.stream('run_turn_stream', { conversation_id: 'none', user_message: 'x' });
  const read = async () => {
    for await (const _ of stream);
  };
  await expect(read()).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
});

test.each([wsConnect, webConnect])(
  'without a sentinel, connecting fails with LINK_TIMEOUT and leaves nothing open',
  async (connect) => {
    const options = { url: 'ws://127.0.0.1:1/fame/v1/attach/ws/downstream', connectTimeoutMs: 50 };
    await expect(connect(options)).rejects.toMatchObject({ code: 'LINK_TIMEOUT' });
  },
);

test('connecting can be cancelled', async () => {
  const stop = new AbortController();
  const connecting = webConnect({ url: 'ws://127.0.0.1:1/x', signal: stop.signal });
  stop.abort(new Error('enough'));
  await expect(connecting).rejects.toThrow('enough');
});
