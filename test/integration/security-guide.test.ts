// G10: the five commands of docs/security.md, run as they stand, and two principals that use the fabric that they make.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { type Finished, npxDirectory, runFame } from '../kit/commands.ts';
import { freePort, Proc, ROOT } from '../kit/processes.ts';
import { temporaryDirectory } from '../kit/sentinel.ts';

const page = readFileSync(join(ROOT, 'docs/security.md'), 'utf8');
const commands = /## For several teams.*?```sh\n(.*?)\n```/s.exec(page)![1]!.split('\n\n');
const directory = temporaryDirectory();
let port: number;
let fabric: Proc;

beforeAll(async () => {
  port = await freePort();
  const env = {
    PATH: `${npxDirectory()}${delimiter}${process.env.PATH}`,
    FAME_LISTENER_PORT: String(port),
    FAME_LOG_FORMAT: 'text',
  };
  const start = commands.at(-1)!;
  for (const command of commands.slice(0, -1))
    execFileSync('bash', ['-c', command], { cwd: directory, env: { ...process.env, ...env }, stdio: 'pipe' });
  fabric = new Proc('bash', ['-c', `exec env ${start}`], { name: 'fame up', cwd: directory, env });
  await fabric.waitFor(/math@fame\.fabric is served through/);
});

const file = (name: string): string => join(directory, name);

/** Runs a command with the key of this principal, or without one. */
const as = (who: string | undefined, ...args: string[]): Promise<Finished> =>
  runFame(
    {
      url: `wss://localhost:${port}/fame/v1/attach/ws/downstream`,
      env: {
        NODE_EXTRA_CA_CERTS: file('server.pem'),
        FAME_AUTH_POLICY_PATH: '',
        ...(who !== undefined && { FAME_ADMISSION_TOKEN_FILE: file(`${who}.key`) }),
      },
    },
    args,
  );

const ADD = ['call', 'math@fame.fabric', 'add', '{"x": 1, "y": 2}'];
const say = (text: string): string[] => ['chat', '--json', '-m', text];

test('the block has five commands', () => {
  expect(commands).toHaveLength(5);
});

test('the first lines of the log state that credentials are checked, and give the address with TLS', () => {
  expect(fabric.output).toContain(`wss://0.0.0.0:${port}/`);
  expect(fabric.output).toContain(`https://0.0.0.0:${port}/healthz`);
  expect(fabric.output).toMatch(/A credential is needed to attach and call: the local key, or one of 2 keys/);
  expect(fabric.output).not.toContain('not encrypted');
});

test('only one of the two may call the agent', async () => {
  expect(await as('ada', ...ADD)).toMatchObject({ code: 0, stdout: '3\n' });
  const refused = await as('bob', ...ADD);
  expect(refused).toMatchObject({ code: 1, stdout: '' });
  expect(refused.output).toContain('AUTH_FORBIDDEN');
  const missing = await as('bob', 'call', 'none@fame.fabric', 'add', '{}');
  expect(missing.output).toBe(refused.output.replaceAll('math@', 'none@'));
});

test('each of them has conversations of their own', async () => {
  const answer = await as('ada', ...say('What is 3*4?'));
  expect(answer).toMatchObject({ code: 0 });
  const { conversation_id: id } = JSON.parse(answer.stdout.trim().split('\n').at(-1)!);
  const list = (who: string) => as(who, 'conversations', 'ls', '--from', 'chat@fame.fabric');
  expect((await list('ada')).stdout).toContain(id);
  expect((await list('bob')).stdout).not.toContain(id);
  const show = (who: string, which: string) =>
    as(who, 'conversations', 'show', which, '--from', 'chat@fame.fabric');
  expect((await show('ada', id)).stdout).toContain('12');
  const [foreign, unknown] = [await show('bob', id), await show('bob', 'unknown-id')];
  expect(foreign.code).toBe(unknown.code);
  expect(foreign.output.replaceAll(id, 'ID')).toBe(unknown.output.replaceAll('unknown-id', 'ID'));
});

test('a stranger is refused, and told how to attach', async () => {
  const refused = await as(undefined, ...ADD);
  expect(refused.code).not.toBe(0);
  expect(refused.output).toMatch(/AUTH_MISSING/);
});

test('no key is in the output of the fabric', () => {
  for (const who of ['ada', 'bob'])
    expect(fabric.output).not.toContain(readFileSync(file(`${who}.key`), 'utf8').trim());
});
