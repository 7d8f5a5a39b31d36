import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SqliteStore, storePath } from '@fame-fabric/agents/internal';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runRequests } from './requests.ts';

const SHOP = 'shop@fame.fabric';
let dataDir: string;
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'fame-requests-'));
});
afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

async function run(line: string, { json = false, agent }: { json?: boolean; agent?: string } = {}) {
  let out = '';
  const messages: string[] = [];
  const words = line.split(' ').filter(Boolean);
  const code = await runRequests(
    words.filter((word) => !word.startsWith('--')),
    {
      json,
      agent,
      dead: words.includes('--dead'),
      env: { FAME_DATA_DIR: dataDir },
      print: (text) => {
        out += text;
      },
      write: (message) => messages.push(message),
    },
  );
  return { code, out, messages: messages.join('\n') };
}

/** Leaves one open, one completed and one dead request, and a dead one of another agent. */
async function fill(): Promise<void> {
  const store = await SqliteStore.open({ path: storePath(dataDir) });
  for (const [agent, id] of [
    [SHOP, 'open\u001b'],
    [SHOP, 'done'],
    [SHOP, 'dead'],
    ['bank@fame.fabric', 'dead'],
  ] as const) {
    await store.acceptRequest({
      agent,
      id,
      principal: 'local',
      method: 'pay',
      digest: 'd',
      params: { text: '"secret"', keyId: '' },
      answerTo: '{}',
      deadlineAt: 0,
      maxRequests: 9,
      maxChars: 999,
    });
    if (id !== 'done' && id !== 'dead') continue;
    await store.startRequest(agent, id, 1);
    const outcome = { text: '"private"', keyId: '' };
    await store.endRequest({ agent, id, attempt: 1, state: id === 'done' ? 'completed' : 'dead', outcome });
  }
  await store.close();
}

test('ls lists requests without their content', async () => {
  await fill();
  const { code, out } = await run('ls');
  expect(code).toBe(0);
  const rows = out.trim().split('\n');
  expect(rows[0]).toMatch(/^ID +AGENT +OPERATION +STATE +RUNS +CHANGED/);
  expect(
    rows
      .slice(1)
      .map((row) => row.split(/ {2,}/).slice(0, 5).join(' '))
      .sort(),
  ).toEqual([
    'dead bank@fame.fabric pay DEAD 1',
    `dead ${SHOP} pay DEAD 1`,
    `done ${SHOP} pay completed 1`,
    `open␛ ${SHOP} pay open 0`,
  ]);
  const json = await run('', { json: true, agent: SHOP });
  expect(JSON.parse(json.out)).toHaveLength(3);
  expect(out + json.out).not.toMatch(/secret|private/);
  expect(JSON.parse((await run('ls --dead', { json: true })).out)).toMatchObject([
    { id: 'dead', state: 'dead', attempt: 1, principal: 'local' },
    { id: 'dead' },
  ]);
});

test('retry opens a dead request again, and rm deletes one that has ended', async () => {
  await fill();
  expect(await run('retry dead', { agent: SHOP })).toMatchObject({
    code: 0,
    messages: 'dead is open again. Its agent runs it within 5 s, or when it starts.',
  });
  expect(await run('rm done', { json: true })).toMatchObject({
    code: 0,
    out: expect.stringContaining('"rm"'),
  });
  expect((await run('ls', { agent: SHOP })).out).not.toMatch(/DEAD|done/);
});

test.each([
  [
    'retry dead',
    1,
    /Several agents have a request dead\. Name one with --agent ADDRESS\. \(REQUEST_INVALID\)/,
  ],
  ['retry done', 1, /The request done is completed\. Only a dead request can be run again/],
  ['rm open\u001b', 1, /The request open␛ is open/],
  ['rm none', 1, /There is no request none/],
  ['rm', 2, /requests rm takes the id of a request\.\nUsage: /],
  ['rm a b', 2, /takes no argument "b"/],
  ['rm a --dead', 2, /takes no flag --dead/],
  ['ls a', 2, /takes no argument "a"/],
  ['list', 2, /requests has no action "list"/],
])('%s ends with %i', async (line, code, message) => {
  await fill();
  expect(await run(line)).toEqual({ code, out: '', messages: expect.stringMatching(message) });
});

test('without a store there are no requests', async () => {
  expect(await run('ls')).toMatchObject({ code: 0, messages: expect.stringContaining('There is no store') });
  expect((await run('ls', { json: true })).out).toBe('[]\n');
  expect((await run('rm a')).code).toBe(1);
});
