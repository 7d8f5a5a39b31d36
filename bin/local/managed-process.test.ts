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
  dir = mkdtempSync(join(tmpdir(), 'fame-process-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const sleeper = () => spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });

const record = (name: string, fields: object): void => {
  mkdirSync(join(dir, 'run'), { recursive: true });
  writeFileSync(join(dir, 'run', `${name}.json`), JSON.stringify({ name, port: 1, startedAt: 0, ...fields }));
};

test('a process is identified by its start time, and has no identity after its end', async () => {
  const child = sleeper();
  const identity = processIdentity(child.pid!);
  expect(identity).toBeTruthy();
  expect(processIdentity(child.pid!)).toBe(identity);
  expect(processIdentity(process.pid)).not.toBe(identity);
  child.kill('SIGKILL');
  await once(child, 'exit');
  await vi.waitFor(() => expect(processIdentity(child.pid!)).toBeUndefined(), { timeout: 20_000 });
});

test('a pid that was reused by another process is neither reported nor signalled', async () => {
  const stranger = sleeper();
  try {
    record('sentinel', { pid: stranger.pid, identity: 'another boot/1' });
    const managed = new ManagedProcess('sentinel', dir);
    expect(managed.running()).toBeUndefined();
    expect(await managed.stop(1_000)).toBe(false);
    expect(processIdentity(stranger.pid!)).toBeTruthy();
    expect(stranger.exitCode).toBeNull();
    expect(managed.recorded()).toBeUndefined();
  } finally {
    stranger.kill('SIGKILL');
  }
});

test('stop ends a process, also one that ignores SIGTERM', async () => {
  const child = spawn(process.execPath, [
    '-e',
    "process.on('SIGTERM', () => {}); console.log('up'); setInterval(() => {}, 1000)",
  ]);
  await once(child.stdout, 'data');
  record('chat-agent', { pid: child.pid, identity: processIdentity(child.pid!) });
  const managed = new ManagedProcess('chat-agent', dir);
  expect(managed.running()).toMatchObject({ pid: child.pid });
  expect(await managed.stop(200)).toBe(true);
  expect(processIdentity(child.pid!)).toBeUndefined();
  expect(await managed.stop(200)).toBe(false);
});

test.each(['', '{', '{"pid":0,"identity":"x"}', '{"pid":-5,"identity":"x"}', '{"pid":1,"identity":"x"}'])(
  'a pid file with %s is ignored',
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
  const managed = new ManagedProcess('sentinel', dir);
  expect(managed.logTail(3)).toBe('');
  mkdirSync(join(dir, 'logs'));
  writeFileSync(managed.logFile, 'a\nb\nc\nd\n');
  expect(managed.logTail(2)).toBe('c\nd');
  expect(readFileSync(managed.logFile, 'utf8')).toContain('a');
});
