import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ManagedProcess } from './managed-process.ts';
import { isPortTaken, portOwner } from './port-owner.ts';
import { processIdentity } from './process-identity.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'fame-part-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const sleeper = () => spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });

const record = (name: string, fields: object): void => {
  mkdirSync(join(dir, 'run'), { recursive: true });
  writeFileSync(join(dir, 'run', `${name}.json`), JSON.stringify({ name, port: 1, startedAt: 0, ...fields }));
};

test('a process is known again by its start time, and gone when it has ended', async () => {
  const child = sleeper();
  const identity = processIdentity(child.pid!);
  expect(identity).toBeTruthy();
  expect(processIdentity(child.pid!)).toBe(identity);
  expect(processIdentity(process.pid)).not.toBe(identity);
  child.kill('SIGKILL');
  await once(child, 'exit');
  await vi.waitFor(() => expect(processIdentity(child.pid!)).toBeUndefined(), { timeout: 20_000 });
});

test('a pid that meanwhile belongs to another process is neither ours nor signalled', async () => {
  const stranger = sleeper();
  try {
    record('sentinel', { pid: stranger.pid, identity: 'another boot/1' });
    const part = new ManagedProcess('sentinel', dir);
    expect(part.running()).toBeUndefined();
    expect(await part.stop(1_000)).toBe(false);
    expect(processIdentity(stranger.pid!)).toBeTruthy();
    expect(stranger.exitCode).toBeNull();
    expect(part.recorded()).toBeUndefined();
  } finally {
    stranger.kill('SIGKILL');
  }
});

test('what it started is ended, and one that does not listen is ended all the same', async () => {
  const child = spawn(process.execPath, [
    '-e',
    "process.on('SIGTERM', () => {}); console.log('up'); setInterval(() => {}, 1000)",
  ]);
  await once(child.stdout, 'data');
  record('chat-agent', { pid: child.pid, identity: processIdentity(child.pid!) });
  const part = new ManagedProcess('chat-agent', dir);
  expect(part.running()).toMatchObject({ pid: child.pid });
  expect(await part.stop(200)).toBe(true);
  expect(processIdentity(child.pid!)).toBeUndefined();
  expect(await part.stop(200)).toBe(false);
});

test.each(['', '{', '{"pid":0,"identity":"x"}', '{"pid":-5,"identity":"x"}', '{"pid":1,"identity":"x"}'])(
  'a pid file with %s counts as none',
  (text) => {
    mkdirSync(join(dir, 'run'), { recursive: true });
    writeFileSync(join(dir, 'run', 'sentinel.json'), text);
    expect(new ManagedProcess('sentinel', dir).running()).toBeUndefined();
  },
);

test('the owner of a taken port is named; a free port is free', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  expect(await isPortTaken('127.0.0.1', port)).toBe(true);
  expect(portOwner(port)).toMatchObject({ pid: process.pid });
  server.close();
  await once(server, 'close');
  expect(await isPortTaken('127.0.0.1', port)).toBe(false);
});

test('the tail of a log is its last lines; a missing log is empty', () => {
  const part = new ManagedProcess('sentinel', dir);
  expect(part.logTail(3)).toBe('');
  mkdirSync(join(dir, 'logs'));
  writeFileSync(part.logFile, 'a\nb\nc\nd\n');
  expect(part.logTail(2)).toBe('c\nd');
  expect(readFileSync(part.logFile, 'utf8')).toContain('a');
});
