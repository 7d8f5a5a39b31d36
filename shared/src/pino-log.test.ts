// Log lines: one JSON line per event, no secrets, bounded length.
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FabricError } from './errors/error.ts';
import { LOG_LEVELS, silentLog } from './log.ts';
import { withLogFields } from './log-context.ts';
import { createLog, SECRET_FIELDS } from './pino-log.ts';
import { setTracing } from './telemetry/tracing.ts';

let folder: string;
let file: string;
let fd: number;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fame-log-'));
  file = join(folder, 'log');
  fd = openSync(file, 'w');
});
afterEach(() => {
  closeSync(fd);
  rmSync(folder, { recursive: true });
});

const text = (): string => readFileSync(file, 'utf8');
const lines = (): Record<string, unknown>[] =>
  text()
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));

describe('createLog', () => {
  it('writes a JSON line with name, message, fields and an ISO time', () => {
    createLog('agent', 'info', fd).info('attached', { path: '/S/a', count: 2 });
    expect(lines()).toEqual([
      expect.objectContaining({
        name: 'agent',
        msg: 'attached',
        path: '/S/a',
        count: 2,
        time: expect.stringMatching(/^\d{4}-.*Z$/),
      }),
    ]);
  });

  it('omits lines below its level', () => {
    const log = createLog('x', 'warn', fd);
    log.debug('no');
    log.info('no');
    log.warn('yes');
    log.error('yes');
    createLog('x', 'silent', fd).error('no');
    expect(lines().map(({ msg }) => msg)).toEqual(['yes', 'yes']);
  });

  it('masks secrets by field name, also one level down and in added fields', () => {
    const log = createLog('x', 'info', fd);
    for (const field of SECRET_FIELDS) {
      log.info('m', { [field]: 'hunter2', inner: { [field]: 'hunter2' } });
      log.with({ [field]: 'hunter2' }).info('m');
    }
    expect(text()).not.toContain('hunter2');
    expect(text()).toContain('[secret]');
  });

  it('cuts long texts', () => {
    createLog('x', 'info', fd).info('m', { long: 'y'.repeat(10_000) });
    expect((lines()[0]!.long as string).length).toBe(513);
  });

  it('writes errors with code and cause, cut, and without details', () => {
    const cause = new Error('c'.repeat(2_000));
    const error = new FabricError('NODE_GONE', 'left', { cause, details: { body: 'do not log me' } });
    const log = createLog('x', 'info', fd);
    log.error('m', { error });
    log.error('m', { error: 'not an error' });
    const [first, second] = lines() as {
      error: { code?: string; message: string; cause?: { message: string } };
    }[];
    expect(first!.error).toMatchObject({ name: 'FabricError', code: 'NODE_GONE', message: 'left' });
    expect(first!.error.cause!.message).toHaveLength(512);
    expect(second!.error.message).toBe('not an error');
    expect(text()).not.toContain('do not log me');
  });

  it('HD25: escapes every control and bidirectional mark, wherever it stands, and keeps the text', () => {
    const codes = [
      ...Array.from({ length: 32 }, (_, code) => code),
      ...Array.from({ length: 33 }, (_, i) => 0x7f + i),
      ...[0x61c, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a, 0x202e, 0x2066, 0x2069],
    ];
    const hostile = `a${String.fromCharCode(...codes)}z`;
    const log = createLog('x', 'info', fd);
    log.info(hostile);
    log.info('m', { value: hostile, [hostile]: 1, nested: { list: [hostile], [hostile]: hostile } });
    log.with({ child: hostile }).warn('m');
    log.error('m', { error: new Error(hostile, { cause: new Error(hostile) }) });
    expect(text()).not.toMatch(
      /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/,
    );
    const [first, second, third, fourth] = lines();
    expect(lines()).toHaveLength(4);
    expect(first!.msg).toBe(hostile);
    expect(second).toMatchObject({
      value: hostile,
      [hostile]: 1,
      nested: { list: [hostile], [hostile]: hostile },
    });
    expect(third!.child).toBe(hostile);
    expect(fourth!.error).toMatchObject({ message: hostile, cause: { message: hostile } });
  });

  it('adds the fields of with() to every line', () => {
    createLog('x', 'info', fd).with({ node: 'n' }).with({ turn: 't' }).info('m');
    expect(lines()[0]).toMatchObject({ node: 'n', turn: 't' });
  });
});

describe('withLogFields', () => {
  it('adds fields to the lines of some work, also after it waited, and to no other line', async () => {
    const log = createLog('x', 'info', fd).with({ agent: 'chat@fame.fabric' });
    const work = withLogFields({ turn_id: 't', token: 'hunter2', long: 'y'.repeat(10_000) }, async () => {
      await Promise.resolve();
      log.info('inside');
      withLogFields({ step: 2 }, () => log.info('nested', { turn_id: 'own' }));
    });
    log.info('outside');
    await work;
    const [outside, inside, nested] = lines();
    expect(outside).not.toHaveProperty('turn_id');
    expect(inside).toMatchObject({
      msg: 'inside',
      agent: 'chat@fame.fabric',
      turn_id: 't',
      token: '[secret]',
    });
    expect((inside!.long as string).length).toBe(513);
    expect(nested).toMatchObject({ turn_id: 'own', step: 2 });
    expect(text().match(/turn_id/g)).toHaveLength(2);
  });
});

it('adds the trace of the active span', () => {
  const trace = 'a1'.repeat(16);
  const unused = () => {
    throw new Error('unused');
  };
  const log = createLog('x', 'info', fd);
  setTracing({ start: unused, caller: unused, active: () => `00-${trace}-${'b2'.repeat(8)}-01` });
  try {
    log.info('traced');
  } finally {
    setTracing(undefined);
  }
  log.info('not traced');
  expect(lines().map(({ trace_id }) => trace_id)).toEqual([trace, undefined]);
});

describe('the silent log', () => {
  it('writes nothing', () => {
    const log = silentLog.with({ a: 1 });
    for (const level of ['debug', 'info', 'warn', 'error'] as const) expect(log[level]('x')).toBeUndefined();
  });
});

it('the level names include those of other Fame nodes', () => {
  expect(LOG_LEVELS.critical).toBe('error');
  expect(LOG_LEVELS.warning).toBe('warn');
});
