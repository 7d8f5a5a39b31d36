import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeEnvelope, newId } from '@fame-fabric/shared';
import { createLog } from '@fame-fabric/shared/node';
import { CaptureLog, ManualClock, settle } from '@fame-fabric/shared/testing';
import { afterEach, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { ANONYMOUS_CALLER } from './access/access.ts';
import { readSentinelConfig } from './config.ts';
import { LimitedLog } from './limited-log.ts';
import { type RunningSentinel, startSentinel } from './sentinel.ts';
import { FakeTransport } from './testing/fake-transport.ts';
import { makeTestParts } from './testing/sentinel-parts.ts';

function limited() {
  const clock = new ManualClock();
  const out = new CaptureLog();
  const log = new LimitedLog({ clock, log: out });
  /** Messages of the lines since the last call. */
  const written = (): string[] => out.lines.splice(0).map(({ message }) => message);
  return { clock, out, log, written };
}

let running: RunningSentinel | undefined;
afterEach(async () => {
  await running?.close();
  running = undefined;
});

test('HD16: at most ten lines of one kind are written a second; one more line counts the others', () => {
  const { clock, log, out, written } = limited();
  for (let i = 0; i < 14_510; i++) log.warn('refused a bind', { path: `/S/n${i}` });
  log.error('another kind');
  expect(written()).toEqual([...Array(10).fill('refused a bind'), 'another kind']);
  clock.advance(999);
  log.warn('refused a bind');
  expect(written()).toEqual([]);
  clock.advance(1);
  expect(out.lines).toEqual([
    {
      level: 'warn',
      message: 'suppressed log lines',
      fields: { lines: 14_501, byMessage: { 'refused a bind': 14_501 } },
    },
  ]);
  written();
  log.warn('refused a bind');
  expect(written()).toEqual(['refused a bind']);
  clock.advance(1_000);
  expect(written()).toEqual([]);
  expect(clock.timerCount).toBe(0);
});

test('HD16, P16: at most ten lines of any kind about one node are written a second', () => {
  const { log, written } = limited();
  for (let i = 0; i < 30; i++) log.warn(`kind ${i}`, { path: '/S/one' });
  for (let i = 0; i < 30; i++) log.warn(`kind ${i}`, { remote: '127.0.0.1:1234' });
  expect(written()).toHaveLength(20);
  log.warn('kind 0', { path: '/S/other' });
  expect(written()).toEqual(['kind 0']);
});

test('HD16: all lines of a second together are bounded, except debug lines', () => {
  const { clock, log, written } = limited();
  const named = log.with({ room: 'door' });
  for (let i = 0; i < 1_000; i++) {
    log.info(`kind ${i % 100}`, { path: `/S/n${i}` });
    named.warn(`kind ${i % 100}`);
  }
  expect(written()).toHaveLength(30);
  for (let i = 0; i < 100; i++) log.debug('a node attached');
  expect(written()).toHaveLength(100);
  clock.advance(1_000);
  expect(written()).toEqual(['suppressed log lines']);
});

test('HD16: the last suppressed lines are reported when the sentinel stops', () => {
  const { clock, log, written } = limited();
  for (let i = 0; i < 11; i++) log.warn('refused a bind');
  written();
  log.flush();
  expect(written()).toEqual(['suppressed log lines']);
  log.flush();
  expect(written()).toEqual([]);
  expect(clock.timerCount).toBe(0);
});

test('HD16: refused binds, refused attaches and bad frames do not flood the log', async () => {
  const { admission, attach, clock, log, router } = makeTestParts();
  const count = (message: string): number => log.lines.filter((line) => line.message === message).length;
  attach('holder').bind('math@fame.fabric');
  for (const rival of Array.from({ length: 5 }, (_, n) => attach(`rival${n}`))) {
    for (let i = 0; i < 100; i++) {
      rival.send({ type: 'AddressBind', address: 'math@fame.fabric' }, { corrId: `b${i}`, rtype: 1 });
    }
  }
  await settle();
  expect(count('refused a bind: the address is in use')).toBe(10);

  const frame = { type: 'NodeAttach', originType: 'downstream', systemId: 'x', instanceId: 'i' } as const;
  for (let i = 0; i < 100; i++) {
    const transport = new FakeTransport();
    admission.open(transport, { origin: 'downstream', systemId: 'y', authentication: ANONYMOUS_CALLER });
    transport.receive(makeEnvelope(frame, { corrId: 'attach' }));
    expect(transport.closed).toBeDefined();
  }
  expect(count('refused an attach')).toBe(10);

  for (let i = 0; i < 100; i++) {
    const { session } = attach(`bad${i}`);
    for (let n = 0; n < 5; n++) router.receive(session, Buffer.from('null'));
    expect(session.state).toBe('gone');
  }
  expect(log.messages('warn')).toHaveLength(30);
  clock.advance(1_000);
  const { message, fields } = log.lines.at(-1)!;
  expect(message).toBe('suppressed log lines');
  expect(fields.lines).toBe(490 + 90 + 200 - 10);
  clock.advance(10_000);
  expect(log.messages('warn')).toHaveLength(31);
});

test('HD16: refused origins do not flood the log', async () => {
  const log = new CaptureLog();
  running = await startSentinel({
    ...readSentinelConfig({}),
    dataDir: undefined,
    port: 0,
    clock: new ManualClock(),
    log,
  });
  const url = `${running.url}/page`;
  const refusals = Array.from(
    { length: 40 },
    () =>
      new Promise((resolve) => {
        const socket = new WebSocket(url, { origin: 'https://evil.example' });
        socket.on('error', () => {});
        socket.on('close', resolve);
      }),
  );
  await Promise.all(refusals);
  expect(log.messages('warn')).toEqual(
    Array(10).fill('refused a connection: its Origin or Host is not allowed'),
  );
  // NF5: the setting that would allow the page.
  expect(log.lines[0]?.fields).toMatchObject({ fix: 'FAME_ALLOWED_ORIGINS=https://evil.example' });
  await running.close();
  expect(log.lines.at(-1)).toMatchObject({ message: 'suppressed log lines', fields: { lines: 30 } });
});

test('HD16, P16: a log line about a bad frame has at most 200 bytes', () => {
  const { admission, attach, log, router } = makeTestParts();
  const systemIds = [newId(), 'x'.repeat(120)];
  for (const systemId of systemIds) {
    const { session } = attach(systemId);
    router.receive(session, Buffer.from('{"frame":{"type":"Data","payload":'.padEnd(200_000, ' ')));
  }
  const transport = new FakeTransport();
  admission.open(transport, { origin: 'downstream', systemId: 'y', authentication: ANONYMOUS_CALLER });
  transport.onMessage?.(Buffer.from(JSON.stringify({ frame: { type: 'é'.repeat(1_000) } })));
  expect(log.messages('warn')).toEqual(['bad frame', 'bad frame', 'refused an attach']);

  const directory = mkdtempSync(join(tmpdir(), 'fame-test-'));
  try {
    const file = join(directory, 'log');
    const pino = createLog('sentinel', 'info', openSync(file, 'w'));
    for (const { level, message, fields } of log.lines) if (level === 'warn') pino.warn(message, fields);
    for (const line of readFileSync(file, 'utf8').trim().split('\n')) {
      expect(Buffer.byteLength(line), line).toBeLessThan(200);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
