import type { ConversationEvent, ConversationSummary, ListOptions } from '@fame-fabric/client';
import { FabricError } from '@fame-fabric/shared';
import { expect, test } from 'vitest';
import { runConversations } from './conversations.ts';

const at = '2026-11-29T12:00:00.000Z';
const summary = (id: string, more: Partial<ConversationSummary> = {}): ConversationSummary => ({
  id,
  state: 'working',
  owner: 'local',
  turns: 2,
  created_at: at,
  changed_at: at,
  usage: { total_tokens: 30 },
  cost: { amount: 0.012345, currency: 'USD' },
  last_outcome: 'failed',
  ...more,
});

/** An agent with these conversations and events, two on each page. */
function remote(all: readonly ConversationSummary[], events: readonly object[] = []) {
  const lists: ListOptions[] = [];
  let isClosed = false;
  const conversations = {
    address: 'chat@fame.fabric',
    async list(options: ListOptions = {}) {
      lists.push(options);
      const from = Number(options.before ?? 0);
      const next = from + 2 < all.length ? String(from + 2) : null;
      return { conversations: all.slice(from, from + 2), next };
    },
    async readEvents(id: string, { after = 0 } = {}) {
      if (id !== 'c1') throw new FabricError('CONVERSATION_UNKNOWN', 'There is no such conversation.');
      const rest = (events as ConversationEvent[]).filter(({ seq }) => seq > after).slice(0, 2);
      return { events: rest, next: rest.at(-1)?.seq ?? after };
    },
  };
  const open = async () => ({
    conversations,
    [Symbol.asyncDispose]: async () => {
      isClosed = true;
    },
  });
  return { open, lists, isClosed: () => isClosed };
}

async function run(agent: ReturnType<typeof remote>, line: string, more: object = {}) {
  let out = '';
  const messages: string[] = [];
  const code = await runConversations(line.split(' '), {
    json: false,
    from: 'chat@fame.fabric',
    env: {},
    openRemote: agent.open,
    print: (text) => {
      out += text;
    },
    write: (message) => messages.push(message),
    ...more,
  });
  return { code, out, messages: messages.join('\n') };
}

test('ls lists all pages of a running agent, with filters', async () => {
  const agent = remote([
    summary('c1'),
    summary('c2', { cost: 'unknown', last_outcome: null }),
    summary('c3\u001b[2J', { state: 'input-required' }),
  ]);
  const { code, out } = await run(agent, 'ls', { failed: true, search: 'zebra' });
  expect(code).toBe(0);
  expect(out.replaceAll(/ +/g, ' ')).toBe(
    `CONVERSATION OWNER STATE TURNS TOKENS COST LAST TURN CHANGED
c1 local open 2 30 0.0123 USD failed ${at}
c2 local open 2 30 - - ${at}
c3␛[2J local input-required 2 30 0.0123 USD failed ${at}
`,
  );
  expect(agent.lists).toEqual([
    { failed: true, search: 'zebra', before: undefined, limit: 200 },
    { failed: true, search: 'zebra', before: '2', limit: 200 },
  ]);
  expect(agent.isClosed()).toBe(true);
  expect(JSON.parse((await run(agent, 'ls', { json: true })).out)).toHaveLength(3);
  expect(await run(remote([]), 'ls')).toMatchObject({ messages: 'chat@fame.fabric has no conversations.' });
});

const EVENTS = [
  {
    type: 'started',
    system_prompt: 'Be kind.',
    messages: [{ role: 'user', content: 'Before' }],
    forked_from: { conversation_id: 'c0', turn_id: 't0' },
  },
  { type: 'turn', turn_id: 't1', user_message: 'Hi' },
  { type: 'text', turn_id: 't1', text: 'Hello wrong' },
  { type: 'restart', turn_id: 't1', keep: 6 },
  { type: 'tool_call', turn_id: 't1', id: 'a', name: 'look' },
  { type: 'tool_result', turn_id: 't1', id: 'a', name: 'look', ok: true },
  { type: 'done', turn_id: 't1', text: 'Hello \u001b[31mred' },
  { type: 'turn', turn_id: 't2', user_message: 'Fail' },
  { type: 'error', turn_id: 't2', code: 'MODEL_AUTH', message: 'Wrong key', text: 'Half' },
  { type: 'turn', turn_id: 't3', user_message: 'Send it' },
  { type: 'text', turn_id: 't3', text: 'May I?' },
  { type: 'approval', turn_id: 't3', id: 'b', kind: 'tool', name: 'send' },
  { type: 'a_new_type', turn_id: 't3' },
].map((event, index) => ({ seq: (index + 1) * 16_384, at, ...event }));

test('show prints the transcript of a conversation of a running agent', async () => {
  const agent = remote([], EVENTS);
  expect(
    (await run(agent, 'show c1')).out,
  ).toBe(`c1 at chat@fame.fabric: input-required, 3 turns, forked from c0 at turn t0

S> Be kind.

   [started with 1 message]
Q> Before

Q> Hi
   [tool look: ok]
A> Hello ␛[31mred
   [resumed 1 time]

Q> Fail
A> Half
   [failed: Wrong key (MODEL_AUTH)]

Q> Send it
A> May I?
   [input-required]
`);
  expect(JSON.parse((await run(agent, 'show c1', { json: true })).out)).toMatchObject({
    id: 'c1',
    transcript: [{ user: 'Hi' }, { state: 'failed' }, { state: 'input-required' }],
  });
});

test('export prints the events as lines of JSON', async () => {
  const { out } = await run(remote([], EVENTS), 'export c1');
  expect(
    out
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
  ).toEqual(EVENTS);
});

test('an unknown id is reported, and the connection is closed', async () => {
  const agent = remote([]);
  for (const action of ['show', 'export'])
    expect(await run(agent, `${action} c`)).toMatchObject({
      code: 1,
      messages: expect.stringMatching(
        /^chat@fame.fabric has no conversation "c". Write the whole id;.*\(CONVERSATION_UNKNOWN\)$/,
      ),
    });
  expect(agent.isClosed()).toBe(true);
});

test.each([
  ['rm c1', {}, 'conversations rm takes no flag --from.'],
  ['ls', { trash: true }, 'An agent does not list its trash.'],
  ['ls', { from: undefined, failed: true }, '--failed needs --from ADDRESS.'],
  ['ls', { from: undefined, search: 'x' }, '--search needs --from ADDRESS.'],
  ['show c1', { search: 'x' }, 'conversations show takes no flag --search.'],
])('%s %j is wrong usage', async (line, more, fault) => {
  const { code, messages } = await run(remote([]), line, more);
  expect(code).toBe(2);
  expect(messages.startsWith(`${fault}\nUsage: `)).toBe(true);
});
