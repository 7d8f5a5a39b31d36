// `make start`, `run`, `status` and `stop` with real processes, each test in its own directory and on its own port.
import { type ChildProcess, spawn } from 'node:child_process';
import { on, once } from 'node:events';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { processIdentity } from './local/process-identity.ts';

const FAME = fileURLToPath(new URL('./fame.ts', import.meta.url));
const COMMAND = ['--conditions=fame-source', FAME];
let cwd: string;
let env: Record<string, string | undefined>;
let port: number;
const children: ChildProcess[] = [];

beforeEach(async () => {
  cwd = mkdtempSync(join(tmpdir(), 'fame-local-'));
  port = await freePort();
  env = { PATH: process.env.PATH, FAME_LISTENER_PORT: String(port), FAME_CONNECT_TIMEOUT_MS: '5000' };
});
afterEach(async () => {
  await fame('local', 'stop');
  for (const child of children.splice(0)) child.kill('SIGKILL');
  rmSync(cwd, { recursive: true, force: true });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port: free } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return free;
}

function begin(args: readonly string[]): ChildProcess {
  const child = spawn(process.execPath, [...COMMAND, ...args], { cwd, env });
  children.push(child);
  return child;
}

/** Waits until a process has written `text` to standard error. */
async function printed(child: ChildProcess, text: string): Promise<void> {
  let output = '';
  for await (const [chunk] of on(child.stderr!, 'data', { close: ['end'] })) {
    output += chunk;
    if (output.includes(text)) return;
  }
  throw new Error(`The process ended before it wrote "${text}":\n${output}`);
}

async function run(args: readonly string[], input = '') {
  const child = begin(args);
  let out = '';
  let err = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    out += chunk;
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    err += chunk;
  });
  child.stdin?.end(input);
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, out, err };
}
const fame = (...args: string[]) => run(args);
const status = async () => JSON.parse((await fame('local', 'status', '--json')).out);
// A zombie does not count as alive. Without a process that reaps orphans it remains a zombie.
const isAlive = (pid: number): boolean => processIdentity(pid) !== undefined;

test('start, chat, start again, stop: answers in order, no second process, no process left', async () => {
  const start = await fame('local', 'start', '--mode', 'local');
  expect(start.err).toBe('');
  expect(start.code).toBe(0);
  expect(start.out).toContain('make run');
  const { sentinel, agent } = await status();
  expect(sentinel).toMatchObject({ isReady: true });
  expect(agent).toMatchObject({ isAttached: true });

  const chat = await run(['chat', '--lines'], 'My name is Ada.\n\nWhat is my name?\nexit\nnever asked\n');
  expect(chat.code).toBe(0);
  const answers = chat.out.split('\n').filter(Boolean);
  expect(answers).toHaveLength(2);
  expect(answers.every((line) => line.startsWith('A> '))).toBe(true);
  expect(answers[1]).toContain('Ada');
  expect(chat.out).not.toContain('Q>');
  expect(chat.err).toContain('OPENAI_API_KEY');

  const unknown = await fame('chat', '--resume', 'zzz');
  expect(unknown).toMatchObject({ code: 1, out: '' });
  expect(unknown.err).toContain(
    'The conversation "zzz" at chat@fame.fabric was ended or removed, the id is wrong, or it belongs to another principal.',
  );
  await run(['chat', '--lines'], 'My name is Bob.\n/leave\n');
  for (let round = 0; round < 2; round++) {
    const resumed = await run(['chat', '--resume'], 'What is my name?\n');
    expect(resumed).toMatchObject({ code: 0, out: expect.stringContaining('Bob') });
  }

  const up = await fame('up');
  expect(up).toMatchObject({ code: 1, out: '' });
  expect(up.err).toContain(
    `Port ${port} is in use by the fabric that \`make start\` started (pid ${sentinel.pid})`,
  );
  expect(up.err).toContain('`make stop` ends it');

  const again = await fame('local', 'start', '--mode', 'local');
  expect(again).toMatchObject({ code: 0, err: '' });
  expect(again.out).toContain('Already running');
  expect((await status()).sentinel.pid).toBe(sentinel.pid);

  const logFile = join(cwd, '.fame', 'logs', 'sentinel.log');
  expect(statSync(logFile).mode & 0o077).toBe(0);
  expect((await fame('local', 'logs')).out).toContain(readFileSync(logFile, 'utf8').split('\n')[0]);

  const stop = await fame('local', 'stop');
  expect(stop).toMatchObject({ code: 0, err: '' });
  expect(isAlive(sentinel.pid) || isAlive(agent.pid)).toBe(false);
  expect((await fame('local', 'stop')).out).toContain('Nothing to stop');
  expect((await fame('local', 'status')).code).toBe(0);
  expect((await run(['ps'])).code).toBe(69);
});

test('status and stop use the port that start used, even if the settings have changed', async () => {
  await fame('local', 'start', '--mode', 'local');
  env.FAME_LISTENER_PORT = String(await freePort());
  const { out, code } = await fame('local', 'status');
  expect(code).toBe(0);
  expect(out).toContain(`ready at ws://127.0.0.1:${port}/`);
  expect(out).toContain('attached as chat@fame.fabric');
  expect((await fame('local', 'stop')).code).toBe(0);
});

test('a data directory that cannot be used is one message, and exit code 2', async () => {
  writeFileSync(join(cwd, 'file'), '');
  env.FAME_DATA_DIR = join(cwd, 'file', 'data');
  const start = await fame('local', 'start', '--mode', 'local');
  expect(start).toMatchObject({ code: 2, out: '' });
  expect(start.err).toMatch(/^FAME_DATA_DIR is .* which cannot be used: .*\n$/);
  const doctor = await fame('doctor', '--json');
  expect(JSON.parse(doctor.out)).toContainEqual(
    expect.objectContaining({ check: 'data directory', ok: false }),
  );
  for (const action of ['status', 'stop']) {
    const { code, err } = await fame('local', action);
    expect({ code, err }).toEqual({ code: 0, err: '' });
  }
  const agent = await fame('agent');
  expect(agent.code).toBe(1);
  expect(agent.err).toContain('FAME_DATA_DIR');
});

test('status reports a dead process, and start restarts only that one', async () => {
  await fame('local', 'start', '--mode', 'local');
  const before = await status();
  process.kill(before.agent.pid, 'SIGKILL');
  const broken = await fame('local', 'status');
  expect(broken.code).toBe(1);
  expect(broken.out).toContain('not running');
  expect((await fame('local', 'start', '--mode', 'local')).code).toBe(0);
  const after = await status();
  expect(after.sentinel.pid).toBe(before.sentinel.pid);
  expect(after.agent.pid).not.toBe(before.agent.pid);
  expect(after.agent.isAttached).toBe(true);
});

test('a start on a taken port names the program that holds it, exits with 1 and starts nothing', async () => {
  const stranger = createServer().listen(port, '127.0.0.1');
  await once(stranger, 'listening');
  try {
    const { code, err } = await fame('local', 'start', '--mode', 'local');
    expect(code).toBe(1);
    expect(err).toContain(`Port ${port} is taken by`);
    expect(err).toContain(`pid ${process.pid}`);
    expect(err).toContain('FAME_LISTENER_PORT');
    expect(existsSync(join(cwd, '.fame', 'run', 'sentinel.json'))).toBe(false);
    expect((await fame('local', 'stop')).out).toContain('Nothing to stop');
    expect(stranger.listening).toBe(true);
  } finally {
    stranger.close();
  }
});

test.each([[['local', 'start', '--mode', 'local']], [['up']]])(
  '%j reports the faults of all settings before it starts anything',
  async (args) => {
    env.OPENAI_BASE_URL = 'not a url';
    env.FAME_RESUME_WINDOW_MS = 'soon';
    env.FAME_LOG_LEVEL = 'loud';
    const { code, out, err } = await run(args);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    for (const name of ['OPENAI_BASE_URL', 'FAME_RESUME_WINDOW_MS', 'FAME_LOG_LEVEL'])
      expect(err).toContain(name);
    expect(err).not.toContain('listens');
    expect(existsSync(join(cwd, '.fame', 'run'))).toBe(false);
  },
);

test('a start that fails prints the end of the log and leaves nothing running', async () => {
  mkdirSync(join(cwd, '.fame', 'conversations'), { recursive: true });
  writeFileSync(join(cwd, '.fame', 'conversations', 'journal.db'), 'Dear diary, '.repeat(1_000));
  const { code, err } = await fame('local', 'start', '--mode', 'local');
  expect(code).toBe(1);
  expect(err).toContain('STORE_');
  expect(await status()).toMatchObject({ mode: 'local' });
  expect((await status()).sentinel).toBeUndefined();
});

test('a sentinel that make start did not start is not stopped', async () => {
  const sentinel = begin(['sentinel']);
  await printed(sentinel, 'listens on');
  const { code, err } = await fame('local', 'start', '--mode', 'local');
  expect(code).toBe(1);
  expect(err).toContain('Fame sentinel');
  const stop = await fame('local', 'stop');
  expect(stop.out).toContain('still in use');
  expect(sentinel.exitCode).toBeNull();
  sentinel.kill('SIGTERM');
  expect(await once(sentinel, 'exit')).toEqual([0, null]);
});

test('up runs both in one process; ps, call and trace reach it; SIGTERM ends it with 0', async () => {
  env.FAME_AGENTS = 'chat,math';
  const up = begin(['up']);
  await printed(up, 'math@fame.fabric');
  const nodes = JSON.parse((await fame('ps', '--json')).out);
  expect(nodes.nodes.flatMap(({ addresses }: { addresses: string[] }) => addresses)).toContain(
    'chat@fame.fabric',
  );
  expect((await fame('ps')).out).toContain('chat@fame.fabric');
  expect((await fame('doctor')).code).toBe(0);

  const items = await fame('call', 'math@fame.fabric', 'fib_stream', '{"n": 3}');
  expect(items).toMatchObject({ code: 0, out: '0\n' });
  expect(items.err).toContain('--stream prints all of them');
  const whole = await fame('call', 'math@fame.fabric', 'fib_stream', '{"n": 3}', '--stream');
  expect(whole).toMatchObject({ code: 0, out: '0\n1\n1\n', err: '' });
  expect((await fame('call', 'math@fame.fabric', 'add', '{"x": 1, "y": 2}')).err).toBe('');
  expect((await fame('call', 'math@fame.fabric', 'divide')).err).toContain('There are: add, ');

  const trace = begin(['trace', '--json', '--type', 'data', '--to', 'chat@fame.fabric']);
  let traced = '';
  const hasTraced = new Promise<void>((resolve) => {
    trace.stdout?.on('data', (chunk: Buffer) => {
      traced += chunk;
      if (traced.includes('\n')) resolve();
    });
  });
  const described = async () =>
    JSON.parse((await fame('call', 'chat@fame.fabric', 'describe', '--json')).out);
  await printed(trace, 'Tracing ws://127.0.0.1:');
  expect(await described()).toMatchObject({ model: 'offline' });
  await hasTraced;
  const line = JSON.parse(traced.split('\n')[0]!);
  expect(line).toMatchObject({ type: 'Data', to: 'chat@fame.fabric' });
  trace.kill('SIGINT');
  expect(await once(trace, 'exit')).toEqual([130, null]);
  const second = begin(['trace']);
  await printed(second, 'Tracing ws://127.0.0.1:');
  second.kill('SIGTERM');
  expect(await once(second, 'exit')).toEqual([143, null]); // D8

  const missing = await fame('call', 'chat@fame.fabric', 'nothing');
  expect(missing).toMatchObject({ code: 1, out: '' });
  expect((await fame('call', 'missing@fame.fabric', 'x')).code).toBe(69);
  up.kill('SIGTERM');
  expect(await once(up, 'exit')).toEqual([0, null]);
});

test('verbose prints envelopes on stderr, without the text of messages', async () => {
  await fame('local', 'start', '--mode', 'local');
  env.FAME_SHOW_ENVELOPES = 'true';
  env.FAME_SYSTEM_PROMPT = 'canary-system';
  const { code, out, err } = await run(['chat'], 'My name is canary-user.\n');
  expect(code).toBe(0);
  expect(out).toContain('canary-user');
  expect(err).toContain('Sent envelope → Data request run_turn_stream to chat@fame.fabric');
  expect(err).toContain('Received envelope ← Data reply');
  expect(err).not.toContain('canary');
});

/** Puts a docker command on the PATH that succeeds and records its arguments. Returns the commands so far. */
function fakeDocker(): () => string[] {
  const commands = join(cwd, 'commands');
  writeFileSync(join(cwd, 'docker'), `#!/bin/sh\necho "$@" >> '${commands}'\n`);
  chmodSync(join(cwd, 'docker'), 0o755);
  writeFileSync(join(cwd, 'docker-compose.yml'), 'services: {}\n');
  env.PATH = `${cwd}:${process.env.PATH}`;
  return () => (existsSync(commands) ? readFileSync(commands, 'utf8').trim().split('\n') : []);
}

test('D3: start runs local processes, also with a Docker engine', async () => {
  const commands = fakeDocker();
  const start = await fame('local', 'start');
  expect(start).toMatchObject({ code: 0, err: '' });
  expect(await status()).toMatchObject({ mode: 'local', agent: { isAttached: true } });
  const docker = await fame('local', 'start', '--mode', 'docker');
  expect(docker).toMatchObject({ code: 1, out: '' });
  expect(docker.err).toContain('already runs as local processes. Run `make stop` first.');
  expect(commands()).toEqual([]);
});

test('D3: a model server on loopback is refused with MODE=docker, with the address that works', async () => {
  const commands = fakeDocker();
  env.OPENAI_BASE_URL = 'http://127.0.0.1:11434/v1';
  const { code, err } = await fame('local', 'start', '--mode', 'docker');
  expect(code).toBe(1);
  expect(err).toContain('Set it to http://host.docker.internal:11434/v1');
  expect(commands()).toEqual(['info', 'compose version']);
});

test('with MODE=docker, start, status and stop use docker compose', async () => {
  const commands = fakeDocker();
  const up = begin(['up']); // what compose would have started
  await printed(up, 'chat@fame.fabric');
  const start = await fame('local', 'start', '--mode', 'docker');
  expect(start).toMatchObject({ code: 0, err: '' });
  expect(start.out).toContain('Docker');
  expect((await fame('local', 'status')).code).toBe(0);
  const local = await fame('local', 'start', '--mode', 'local');
  expect(local).toMatchObject({ code: 1, out: '' });
  expect(local.err).toContain('already runs in Docker');
  expect((await fame('local', 'stop')).out).toContain('docker compose');
  expect(commands()).toEqual([
    'info',
    'compose version',
    'compose up --detach --build --wait',
    'compose ps',
    'compose down',
  ]);
  expect((await fame('local', 'stop')).out).toContain('Nothing to stop');
  expect(up.exitCode).toBeNull();
});

test('MODE=docker without an engine is an error that says how to start without Docker', async () => {
  const { code, err } = await fame('local', 'start', '--mode', 'docker');
  expect(code).toBe(1);
  expect(err).toContain('`make start` without MODE needs no Docker');
});

test('D5: start restarts the agent if its settings changed, and the sentinel stays', async () => {
  await fame('local', 'start');
  const before = await status();
  env.OPENAI_API_KEY = 'sk-secret-of-this-test';
  env.FAME_MAX_SESSIONS = '77';
  const again = await fame('local', 'start');
  expect(again).toMatchObject({ code: 0, err: '' });
  expect(again.out).toContain('restarts, because these settings changed: OPENAI_API_KEY');
  expect(again.out).toContain('`make stop start` applies FAME_MAX_SESSIONS');
  const after = await status();
  expect(after.sentinel.pid).toBe(before.sentinel.pid);
  expect(after.agent.pid).not.toBe(before.agent.pid);
  expect(isAlive(before.agent.pid)).toBe(false);
  const described = JSON.parse((await fame('call', 'chat@fame.fabric', 'describe', '--json')).out);
  expect(described.model).toBe('gpt-4.1-mini');
  env.FAME_PRICES_FILE = join(cwd, 'none.yaml');
  expect(await fame('local', 'start')).toMatchObject({
    code: 2,
    out: '',
    err: expect.stringContaining('FAME_PRICES_FILE cannot be read'),
  });
  expect((await status()).agent).toMatchObject({ pid: after.agent.pid, isAttached: true });
  delete env.FAME_PRICES_FILE;
  for (const name of ['sentinel', 'chat-agent']) {
    expect(readFileSync(join(cwd, '.fame', 'run', `${name}.json`), 'utf8')).not.toContain('sk-secret');
  }
  expect((await fame('local', 'start')).out).toContain('Already running');
  expect((await status()).agent.pid).toBe(after.agent.pid);
});

test('start waits for the agents of FAME_AGENTS, not for a chat agent that is not among them', async () => {
  env.FAME_AGENTS = 'math,echo';
  const start = await fame('local', 'start');
  expect(start).toMatchObject({ code: 0, err: '' });
  expect(start.out).toContain('math@fame.fabric, echo@fame.fabric');
  expect(start.out).toContain('Next: npx fame-fabric ps');
  expect((await fame('local', 'status')).out).toContain('attached as math@fame.fabric, echo@fame.fabric');
});

test('a peer that is not reached and a misspelt variable are reported', async () => {
  env.FAME_PEER_URLS = `ws://127.0.0.1:${await freePort()}/fame/v1/attach/ws/peer`;
  env.FAME_PEER_URL = env.FAME_PEER_URLS;
  const start = await fame('local', 'start');
  expect(start.code).toBe(0);
  expect(start.err).toBe('FAME_PEER_URL is set, and nothing reads it. Did you mean FAME_PEER_URLS?\n');
  for (const args of [['local', 'status'], ['ps'], ['doctor']]) {
    expect((await run(args)).out, args.join(' ')).toMatch(
      /peer +ws:\/\/127\.0\.0\.1:\d+\/fame\/v1\/attach\/ws\/peer, not reached: .*ECONNREFUSED/,
    );
  }
});

test('D12: a start that fails shows only lines of this start; logs too', async () => {
  await fame('local', 'start');
  await fame('local', 'stop');
  const log = join(cwd, '.fame', 'logs', 'chat-agent.log');
  const earlier = readFileSync(log, 'utf8').split('\n')[0]!;
  const journal = join(cwd, '.fame', 'conversations', 'journal.db');
  for (const file of [`${journal}-wal`, `${journal}-shm`]) rmSync(file, { force: true });
  writeFileSync(journal, 'Dear diary, '.repeat(1_000));
  const { code, err } = await fame('local', 'start');
  expect(code).toBe(1);
  expect(err).toContain('STORE_');
  expect(err).not.toContain(earlier);
  expect((await fame('local', 'logs')).out).not.toContain(earlier);
  expect(readFileSync(`${log}.1`, 'utf8')).toContain(earlier);
});
