// A1: the first five minutes after a clone: start, chat, status, start again, stop. The targets run as typed, with their own port
// and data directory. They stop all processes that they started, and no others.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { processIdentity } from '../../bin/local/process-identity.ts';
import { MAKE_FAILED, make } from '../kit/make.ts';
import { freePort, startNode, stopAll } from '../kit/processes.ts';
import { temporaryDirectory } from '../kit/sentinel.ts';
import '../kit/stack.ts'; // throws a clear error where nothing is built

let env: Record<string, string>;
let port: number;

beforeEach(async () => {
  port = await freePort();
  env = {
    MODE: 'local',
    FAME_LISTENER_PORT: String(port),
    FAME_DATA_DIR: temporaryDirectory(),
    FAME_CONNECT_TIMEOUT_MS: '5000',
  };
});
afterEach(async () => {
  await make('stop', env);
  await stopAll();
});

const recordFile = (name: string): string => join(env.FAME_DATA_DIR!, 'run', `${name}.json`);
const pidOf = (name: string): number =>
  (JSON.parse(readFileSync(recordFile(name), 'utf8')) as { pid: number }).pid;
const isAlive = (pid: number): boolean => processIdentity(pid) !== undefined;

/** True if no process listens on the port. */
async function isFree(): Promise<boolean> {
  const server = createServer();
  try {
    await listen(server);
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}

const listen = (server: Server): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });

test('A1: start, run, status, start again, stop, stop again', async () => {
  const began = performance.now();
  const start = await make('start', env);
  expect(start).toMatchObject({ code: 0, err: '' });
  expect(start.out).toMatch(/make run/);
  const startMs = performance.now() - began;
  const pids = [pidOf('sentinel'), pidOf('chat-agent')];

  const run = await make('run', { ...env, ARGS: '--lines' }, 'My name is Ada.\nWhat is my name?\nexit\n');
  expect(run.code).toBe(0);
  const answers = run.out.trimEnd().split('\n');
  expect(answers).toHaveLength(2);
  for (const answer of answers) expect(answer).toMatch(/^A> \S/);
  expect(answers[1]).toContain('Ada');
  console.info(
    `A1: start ${Math.round(startMs)} ms, two answers after ${Math.round(performance.now() - began)} ms`,
  );

  const status = await make('status', env);
  expect(status).toMatchObject({ code: 0, err: '' });
  expect(status.out).toMatch(
    new RegExp(`^sentinel +ready at ws://127\\.0\\.0\\.1:${port}\\S*, pid ${pids[0]}`, 'm'),
  );
  expect(status.out).toMatch(new RegExp(`^chat agent +attached as chat@fame\\.fabric, pid ${pids[1]}`, 'm'));

  const again = await make('start', env);
  expect(again).toMatchObject({ code: 0, err: '' });
  expect(again.out).toContain('Already running');
  expect([pidOf('sentinel'), pidOf('chat-agent')]).toEqual(pids);

  const stop = await make('stop', env);
  expect(stop).toMatchObject({ code: 0, err: '' });
  expect(pids.filter(isAlive)).toEqual([]);
  expect(await isFree()).toBe(true);
  expect(existsSync(recordFile('sentinel')) || existsSync(recordFile('chat-agent'))).toBe(false);

  const stopAgain = await make('stop', env);
  expect(stopAgain).toMatchObject({ code: 0, err: '' });
  expect(stopAgain.out).toContain('Nothing to stop');
});

test('A1: a conversation continues after stop and start', async () => {
  await make('start', env);
  const url = `ws://127.0.0.1:${port}/fame/v1/attach/ws/downstream`;
  const { connect } = await import('@fame-fabric/client/node');
  let client = await connect({ url });
  const before = client.conversation('chat@fame.fabric');
  expect(await before.ask('My name is Ada.')).toContain('Ada');
  await client.close();
  await make('stop', env);
  await make('start', env);
  client = await connect({ url });
  const asked = client.call('chat@fame.fabric', 'run_turn', { args: [before.id, 'What is my name?'] });
  expect(await asked).toContain('Ada');
  await client.close();
});

test('A1: without make start, make run reports it and exits with the failure code of make', async () => {
  const run = await make('run', { ...env, FAME_CONNECT_TIMEOUT_MS: '300' }, 'hello\n');
  expect(run).toMatchObject({ code: MAKE_FAILED, out: '' });
  expect(run.err).toMatch(/make start/);
  expect(run.err).toMatch(/Error 69$/m);
  expect(await make('status', env)).toMatchObject({ code: 0, out: expect.stringContaining('Nothing runs') });
});

test('A1: a port that another program uses is reported with its name, and that program keeps running', async () => {
  const stranger = createServer();
  await listen(stranger);
  try {
    const start = await make('start', env);
    expect(start.code).toBe(MAKE_FAILED);
    expect(start.err).toMatch(/Error 1$/m);
    expect(start.err).toMatch(new RegExp(`Port ${port} is taken by .*\\(pid ${process.pid}\\)`));
    expect(start.err).toMatch(/make start FAME_LISTENER_PORT=\d+/);
    expect(start.out).toBe('');
    const stop = await make('stop', env);
    expect(stop).toMatchObject({ code: 0, out: expect.stringContaining('Nothing to stop') });
    expect(stranger.listening).toBe(true);
  } finally {
    stranger.close();
  }
});

test('A1: a pid file whose number now belongs to another process does not end that process', async () => {
  const stranger = startNode(['-e', 'setInterval(() => {}, 1e6); console.log("here")'], { name: 'stranger' });
  await stranger.waitFor(/here/);
  const reused = { pid: stranger.pid, identity: 'an earlier process/1', port, startedAt: 0 };
  const plant = (name: string): void => {
    mkdirSync(join(env.FAME_DATA_DIR!, 'run'), { recursive: true });
    writeFileSync(recordFile(name), JSON.stringify({ name, ...reused }));
  };
  plant('sentinel');
  plant('chat-agent');
  expect(await make('stop', env)).toMatchObject({ code: 0, out: expect.stringContaining('Nothing to stop') });
  expect(stranger.alive).toBe(true);

  plant('sentinel'); // it does not prevent a start either
  expect(await make('start', env)).toMatchObject({ code: 0, err: '' });
  expect(pidOf('sentinel')).not.toBe(stranger.pid);
  expect(await make('stop', env)).toMatchObject({ code: 0, out: expect.stringContaining('Stopped') });
  expect(stranger.alive).toBe(true);
});
