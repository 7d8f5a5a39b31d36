import { mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { ChatTurns, ConversationHost, SqliteStore, storePath } from '@fame-fabric/agents/internal';
import { failing, scriptedModel } from '@fame-fabric/agents/testing';
import { FabricError } from '@fame-fabric/shared';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runConversations } from './conversations.ts';

let dataDir: string;
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'fame-conversations-'));
});
afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

async function run(line: string, json = false) {
  let out = '';
  const messages: string[] = [];
  const words = line.split(' ').filter(Boolean);
  const code = await runConversations(
    words.filter((word) => !word.startsWith('--')),
    {
      json,
      trash: words.includes('--trash'),
      now: words.includes('--now'),
      env: { FAME_DATA_DIR: dataDir },
      print: (text) => {
        out += text;
      },
      write: (message) => messages.push(message),
    },
  );
  return { code, out, messages: messages.join('\n') };
}

async function fill(): Promise<{ host: ConversationHost; store: SqliteStore }> {
  const store = await SqliteStore.open({ path: storePath(dataDir) });
  const model = scriptedModel([
    'Hello\nthere \u001b[31mred',
    failing(new FabricError('MODEL_REFUSED', 'No.'), 'I ca'),
  ]);
  const host = new ConversationHost({ runner: new ChatTurns({ model }), store, agent: 'chat@fame.fabric' });
  const options = { systemPrompt: 'Be kind.', maxHistoryLength: 10, turnPolicy: 'queue' as const };
  await host.start({ id: 'c1', callId: 's', options });
  for (const userMessage of ['Hi', 'More']) {
    await (await host.turn({ conversationId: 'c1', userMessage, turnId: userMessage })).outcome;
  }
  return { host, store };
}

test('shows where a fork comes from, and the messages that it started with', async () => {
  const { host, store } = await fill();
  await host.fork({ conversationId: 'c1', at: 'Hi', id: 'c2\u001b', callId: 'f' });
  expect((await run('show c2\u001b')).out).toBe(
    `c2␛ at chat@fame.fabric: open, 0 turns, 0 model calls, 0 tokens, forked from c1 at turn Hi

S> Be kind.

   [started with 2 messages]
Q> Hi
A> Hello
   there ␛[31mred
`,
  );
  const options = { systemPrompt: '', maxHistoryLength: 10, turnPolicy: 'queue' as const };
  const call = { id: 'a', type: 'function' as const, function: { name: 'look', arguments: '{}' } };
  await host.start({
    id: 'c3',
    callId: 's',
    options,
    messages: [
      { role: 'user', content: 'Look.\nNow.' },
      { role: 'assistant', content: null, tool_calls: [call] },
      { role: 'tool', tool_call_id: 'a', content: 'secret' },
      { role: 'assistant', content: 'Seen.' },
    ],
  });
  expect((await run('show c3')).out).toContain(`
   [started with 4 messages]
Q> Look.
   Now.
   [tool look]
A> Seen.
`);
  expect(JSON.parse((await run('ls', true)).out)).toContainEqual(
    expect.objectContaining({ id: 'c2\u001b', forkedFrom: { conversationId: 'c1', turnId: 'Hi' } }),
  );
  await host.close();
  await store.close();
});

test('lists, shows, exports and removes while an agent runs', async () => {
  const { host, store } = await fill();
  const listed = await run('ls');
  expect(listed).toMatchObject({ code: 0, messages: '' });
  expect(listed.out).toMatch(
    /^CONVERSATION +AGENT +OWNER +STATE +TURNS +TOKENS +CHANGED\nc1 +chat@fame.fabric +local +open +2 +\d+ +20/,
  );
  expect(JSON.parse((await run('', true)).out)).toMatchObject([{ id: 'c1', state: 'working', turns: 2 }]);
  expect((await run('show c1')).out.replace(/\d+ tokens/, 'TOKENS tokens')).toBe(
    `c1 at chat@fame.fabric: open, 2 turns, 2 model calls, TOKENS tokens

S> Be kind.

Q> Hi
A> Hello
   there ␛[31mred

Q> More
A> I ca
   [failed: No. (MODEL_REFUSED)]
`,
  );
  expect(JSON.parse((await run('show c1', true)).out)).toMatchObject({
    transcript: [{ user: 'Hi' }, { state: 'failed' }],
  });
  const lines = (await run('export c1')).out.trim().split('\n');
  expect(lines.map((line) => JSON.parse(line).seq)).toEqual(lines.map((_, i) => i + 1));
  expect(await run('rm c1 --now')).toEqual({ code: 0, out: '', messages: 'Removed c1.' });
  expect(await run('show c1')).toMatchObject({
    code: 1,
    messages: expect.stringContaining('CONVERSATION_UNKNOWN'),
  });
  await host.close();
  await store.close();
});

test('rm moves to the trash, which is listed, shown, restored and deleted', async () => {
  const { host, store } = await fill();
  const call = (turnId: string) => host.turn({ conversationId: 'c1', userMessage: turnId, turnId });
  expect(await run('rm c1')).toEqual({
    code: 0,
    out: '',
    messages: 'Moved c1 to the trash. To free its space: npx fame-fabric conversations rm c1 --now',
  });
  await expect(call('Later')).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
  expect((await run('ls')).messages).toMatch(
    /^There are no .*\nThe trash has more: npx fame-fabric conversations ls --trash$/,
  );
  expect((await run('show c1')).out).toMatch(/, in the trash since .*Z\n/);
  expect((await run('ls --trash')).out).toMatch(/^CONVERSATION .* TRASHED\nc1 .*Z\n$/);
  expect(JSON.parse((await run('ls --trash', true)).out)).toMatchObject([
    { id: 'c1', principal: 'local', trashedAt: expect.any(String) },
  ]);
  expect((await run('show c1')).out).toContain('Q> More');
  expect(await run('rm c1')).toMatchObject({
    code: 1,
    messages: expect.stringMatching(/in the trash already.*--now/),
  });
  expect(await run('restore c1')).toMatchObject({ code: 0, messages: 'Restored c1.' });
  expect(await run('restore c1')).toMatchObject({
    code: 1,
    messages: expect.stringContaining('not in the trash'),
  });
  await expect((await call('Hi')).outcome).resolves.toMatchObject({ state: 'completed' });
  expect(JSON.parse((await run('rm c1', true)).out)).toEqual({ removed: 'c1', inTrash: true });
  expect(await run('rm c1 --now')).toMatchObject({ code: 0, messages: 'Removed c1.' });
  expect(await run('ls --trash')).toMatchObject({
    messages: expect.stringContaining('no conversations in the trash'),
  });
  await host.close();
  await store.close();
});

test('backup writes a file while an agent runs, and restore-backup makes a store from it', async () => {
  const { host, store } = await fill();
  const file = join(dataDir, 'backup.db');
  const made = await run(`backup ${file}`);
  expect(made.messages).toMatch(
    /^Backed up 1 conversation \(\d\.\d MB\) to \S+backup\.db\. The backup was checked\.$/,
  );
  expect(made).toMatchObject({ code: 0, out: '' });
  expect(await run(`backup ${file}`)).toMatchObject({
    code: 1,
    messages: `The file ${file} exists and is not overwritten. (FILE_EXISTS)`,
  });
  expect(await run(`restore-backup ${file}`)).toMatchObject({
    code: 1,
    messages: expect.stringContaining(`There is a store: ${storePath(dataDir)} exists.`),
  });
  const shown = (await run('show c1')).out;
  await host.close();
  await store.close();
  renameSync(join(dataDir, 'conversations'), join(dataDir, 'damaged'));
  expect(await run(`backup ${file}2`)).toMatchObject({
    code: 1,
    messages: expect.stringMatching(/^There is no store .*conversations.journal\.db\. Run the command where/),
  });
  expect(JSON.parse((await run(`restore-backup ${file}`, true)).out)).toMatchObject({
    path: storePath(dataDir),
    conversations: 1,
    openTurns: 0,
  });
  expect((await run('show c1')).out).toBe(shown);
});

test('sweep moves expired conversations at once, ends a hold, and empties the trash with --now', async () => {
  const { host, store } = await fill();
  await host.close();
  await store.close();
  const db = new DatabaseSync(storePath(dataDir));
  db.exec(`UPDATE conversation SET changed_at = ${Date.now() - 31 * 86_400_000};
    UPDATE store_time SET held_until_ms = 86400000`);
  db.close();
  expect(await run('sweep')).toEqual({
    code: 0,
    out: '',
    messages: 'Moved 1 conversation to the trash, last changed more than 30 days ago.',
  });
  const again = await SqliteStore.open({ path: storePath(dataDir) });
  expect(await again.time()).toMatchObject({ heldMs: 0 });
  await again.close();
  expect(JSON.parse((await run('sweep --now', true)).out)).toEqual({ moved: 0, deleted: 1 });
  expect(JSON.parse((await run('ls --trash', true)).out)).toEqual([]);
});

test('reading does not create a store', async () => {
  expect(await run('ls')).toMatchObject({ code: 0, messages: expect.stringContaining('no conversations') });
  expect(JSON.parse((await run('ls', true)).out)).toEqual([]);
  expect(await run('show c1')).toMatchObject({ code: 1 });
  expect(readdirSync(dataDir)).toEqual([]);
});

test.each([
  ['lst', 'conversations has no action "lst". Did you mean ls?'],
  ['show', 'conversations show takes the id of a conversation.'],
  ['ls c1', 'conversations ls takes no argument "c1".'],
  ['rm c1 c2', 'conversations rm takes no argument "c2".'],
  ['ls --now', 'conversations ls takes no flag --now.'],
  ['rm c1 --trash', 'conversations rm takes no flag --trash.'],
  ['sweep c1', 'conversations sweep takes no argument "c1".'],
  ['backup', 'conversations backup takes the name of a file.'],
  ['backup a b', 'conversations backup takes no argument "b".'],
  ['restore-backup a --now', 'conversations restore-backup takes no flag --now.'],
])('%s is wrong usage, and the message names the fault', async (words, fault) => {
  expect((await run(words)).messages.startsWith(`${fault}\nUsage: `)).toBe(true);
});

test('wrong usage exits with 2', async () => {
  for (const words of ['show', 'ls c1', 'nope c1', 'show c1 c2']) {
    expect(await run(words)).toMatchObject({ code: 2, out: '', messages: expect.stringContaining('Usage') });
  }
});

test('D13: show and export take the beginning of an id, if it is that of one conversation', async () => {
  const { host } = await fill();
  const options = { systemPrompt: '', maxHistoryLength: 10, turnPolicy: 'queue' as const };
  await host.start({ id: 'other-1', callId: 'o1', options });
  await host.start({ id: 'other-22', callId: 'o2', options });
  expect((await run('show c')).out).toContain('c1 at chat@fame.fabric');
  expect((await run('export other-2')).out).toContain('"conversation_started"');
  const several = await run('show other');
  expect(several).toMatchObject({ code: 1, out: '' });
  expect(several.messages).toContain('2 conversations begin with "other": ');
  expect((await run('show none')).messages).toContain('CONVERSATION_UNKNOWN');
  for (const action of ['rm', 'rm --now', 'restore']) {
    const text = `${action.split(' ')[0]} takes a whole id, and "c" is the beginning of c1. (CONVERSATION_UNKNOWN)`;
    expect(await run(`${action} c`)).toMatchObject({ code: 1, messages: text });
  }
  await host.close();
});

test('a database of FAME_STORE_URL is used instead of a file, and files are not backed up from it', async () => {
  const env = { FAME_DATA_DIR: dataDir, FAME_STORE_URL: 'postgres://ada:hush@127.0.0.1:1/fame' };
  for (const [words, message] of [
    [['backup', 'file'], /FAME_STORE_URL names a PostgreSQL database.*pg_dump/],
    [
      ['ls'],
      /The store postgres:\/\/127\.0\.0\.1:1\/fame cannot be opened: .*ECONNREFUSED.*\(STORE_UNAVAILABLE\)/,
    ],
  ] as const) {
    const messages: string[] = [];
    const write = (text: string): void => void messages.push(text);
    await runConversations(words, { json: false, env, print: () => undefined, write });
    expect(messages.join('\n')).toMatch(message);
    expect(messages.join('\n')).not.toContain('hush');
  }
  expect(readdirSync(dataDir)).toEqual([]);
});
