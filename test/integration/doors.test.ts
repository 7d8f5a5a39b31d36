// The doors on the port of a sentinel and in a separate process, with a sentinel that asks for keys.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { startOurAgent } from '../kit/commands.ts';
import { fameArgs, type Proc, startNode } from '../kit/processes.ts';
import { localKey, type OurSentinel, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';

let sentinel: OurSentinel;
let ada: string;
let doors: Proc;
let doorsUrl: string;

const addKey = (dataDir: string, ...args: string[]): string =>
  execFileSync(process.execPath, fameArgs('key', 'add', ...args), {
    env: { ...process.env, FAME_DATA_DIR: dataDir },
    encoding: 'utf8',
  }).trim();

/** Starts `fame doors` and returns its URL. */
async function startDoors(env: Record<string, string>): Promise<[Proc, string]> {
  const proc = startNode(fameArgs('doors', '--url', sentinel.url, '--port', '0'), { name: 'doors', env });
  await proc.waitFor(/listen on http:\S+:\d+/, 20_000);
  return [proc, /listen on (http:\/\/[\d.]+:\d+)/.exec(proc.output)![1]!];
}

beforeAll(async () => {
  const dataDir = temporaryDirectory();
  ada = addKey(dataDir, 'ada');
  const keyFile = join(dataDir, 'doors.key');
  writeFileSync(keyFile, addKey(dataDir, 'doors', '--role', 'door'), { mode: 0o600 });
  sentinel = await startOurSentinel({ dataDir });
  const agentDirectory = temporaryDirectory();
  const token = { FAME_ADMISSION_TOKEN: localKey(dataDir), FAME_DATA_DIR: agentDirectory };
  await startOurAgent({ url: sentinel.url, env: token }, 'chat', 'math');
  [doors, doorsUrl] = await startDoors({
    FAME_DATA_DIR: temporaryDirectory(),
    FAME_ADMISSION_TOKEN_FILE: keyFile,
  });
});

const places = [
  ['the port of the sentinel', () => sentinel.http],
  ['a separate process', () => doorsUrl],
] as const;

test.each(places)('on %s, callers need a key, and call agents with it', async (_place, base) => {
  const refused = await fetch(`${base()}/agents`);
  expect([refused.status, await refused.json()]).toMatchObject([401, { error: { code: 'AUTH_MISSING' } }]);
  const headers = { authorization: `Bearer ${ada}` };
  const listed = (await (await fetch(`${base()}/agents`, { headers })).json()) as {
    agents: { address: string }[];
  };
  expect(listed.agents.map(({ address }) => address)).toEqual(['chat@fame.fabric', 'math@fame.fabric']);
  const sum = await fetch(`${base()}/agents/math/add`, { method: 'POST', headers, body: '{"x":1,"y":2}' });
  expect(await sum.json()).toBe(3);
  const turn = await fetch(`${base()}/agents/chat/run_turn`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ user_message: 'What is 6 times 7?', conversation_id: 'shared' }),
  });
  expect(await turn.json()).toMatchObject({ conversation_id: 'shared', text: expect.stringContaining('42') });
});

test('without a key that may read the list of nodes, the configured agents are listed', async () => {
  const [plain, url] = await startDoors({
    FAME_DATA_DIR: temporaryDirectory(),
    FAME_DOORS_ADDRESSES: 'math@fame.fabric,none@fame.fabric',
  });
  const headers = { 'x-api-key': ada };
  const listed = (await (await fetch(`${url}/agents`, { headers })).json()) as {
    agents: { address: string }[];
  };
  expect(listed.agents.map(({ address }) => address)).toEqual(['chat@fame.fabric', 'math@fame.fabric']);
  expect(plain.output).toContain('the key of this process may not read the list of nodes');
  plain.child.kill('SIGTERM');
  expect((await plain.exited).code).toBe(0);
});

test('an open response finishes in the drain', async () => {
  const headers = { authorization: `Bearer ${ada}`, accept: 'text/event-stream' };
  const body = JSON.stringify({ user_message: 'Count to 5' });
  const answer = await fetch(`${doorsUrl}/agents/chat/run_turn`, { method: 'POST', headers, body });
  doors.child.kill('SIGTERM');
  expect(await answer.text()).toContain('event: done');
  expect((await doors.exited).code).toBe(0);
});

test('wrong settings are reported with exit code 2', async () => {
  const proc = startNode(fameArgs('doors'), { name: 'doors', env: { FAME_DOORS: 'opnai' } });
  expect((await proc.exited).code).toBe(2);
  expect(proc.output).toContain('Did you mean openai?');
});
