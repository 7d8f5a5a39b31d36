import {
  copyFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { FabricError } from '@fame-fabric/shared';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { storePath } from '../open-store.ts';
import { backUpStore, restoreStore } from './backup.ts';
import { SqliteStore } from './sqlite-store.ts';

const JOURNAL_0_1_0 = fileURLToPath(
  new URL('../../../../test/fixtures/journal-0.1.0/open-turns.db', import.meta.url),
);
const LEASE_MS = 60_000;

let directory: string;
let path: string;
let file: string;
let store: SqliteStore | undefined;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'fame-backup-'));
  path = join(directory, 'journal.db');
  file = join(directory, 'backup.db');
});
afterEach(async () => {
  await store?.close();
  store = undefined;
  rmSync(directory, { recursive: true, force: true });
});

async function openWith(texts: readonly string[]): Promise<SqliteStore> {
  store = await SqliteStore.open({ path });
  await store.create({
    id: 'c1',
    agent: 'chat@fame.fabric',
    startCallId: 's',
    historyTurns: 10,
    totals: {},
    started: { kind: 'conversation_started', at: 1, body: {} },
  });
  const { fence } = (await store.acquire('c1', LEASE_MS))!;
  let after = 1;
  for (const text of texts) {
    const events = [{ kind: 'text' as const, at: 1, body: { text } }];
    await store.append({ conversationId: 'c1', fence, after: after++, events, leaseMs: LEASE_MS });
  }
  return store;
}

/** Appends events in one transaction after the other, until `stop`. */
function keepWriting(to: SqliteStore, after: number): { stop(): Promise<number> } {
  let isStopped = false;
  const written = (async () => {
    const { fence } = (await to.acquire('c1', LEASE_MS))!;
    let seq = after;
    while (!isStopped) {
      const events = [{ kind: 'text' as const, at: 1, body: { text: `late ${seq}` } }];
      await to.append({ conversationId: 'c1', fence, after: seq++, events, leaseMs: LEASE_MS });
    }
    return seq;
  })();
  return {
    stop() {
      isStopped = true;
      return written;
    },
  };
}

async function textsIn(path: string): Promise<unknown[]> {
  await using one = Object.assign(await SqliteStore.open({ path }), {
    async [Symbol.asyncDispose]() {
      await one.close();
    },
  });
  const events = await one.read('c1', { limit: 10_000 });
  return events.slice(1).map(({ body }) => body.text);
}

test('a backup has everything that was written before it, while another writer keeps writing', async () => {
  const texts = Array.from({ length: 40 }, (_, i) => `${i} ${'x'.repeat(60_000)}`);
  const writer = keepWriting(await openWith(texts), texts.length + 1);
  const steps: [number, number][] = [];
  const report = await backUpStore(path, file, { onProgress: (...step) => steps.push(step) });
  const lastSeq = await writer.stop();
  expect(lastSeq).toBeGreaterThan(texts.length + 1);

  expect(report).toEqual({ path: file, bytes: statSync(file).size, conversations: 1, openTurns: 0 });
  expect(statSync(file).mode & 0o777).toBe(0o600);
  for (const [copied, total] of steps) expect(copied).toBeLessThanOrEqual(total);
  // One file, without a log that would have to be copied too.
  expect(readdirSync(directory).filter((name) => name.startsWith('backup'))).toEqual(['backup.db']);
  const restored = join(directory, 'new', 'journal.db');
  await restoreStore(file, restored);
  expect(statSync(restored).mode & 0o777).toBe(0o600);
  expect((await textsIn(restored)).slice(0, texts.length)).toEqual(texts);
});

test('a backup has the state and the requests of agents', async () => {
  const store = await openWith(['a']);
  const agent = 'shop@fame.fabric';
  await store.putState({ agent, key: 'cart', text: '"lamp"', keyId: '', maxKeys: 9, maxChars: 99 });
  const params = { text: '1', keyId: '' };
  const request = { agent, id: 'r1', principal: 'local', method: 'pay', digest: 'd', params, answerTo: '{}' };
  await store.acceptRequest({ ...request, deadlineAt: 0, maxRequests: 9, maxChars: 99 });
  await backUpStore(path, file);
  const restored = join(directory, 'new', 'journal.db');
  await restoreStore(file, restored);
  const copy = await SqliteStore.open({ path: restored });
  expect(await copy.getState(agent, 'cart')).toMatchObject({ text: '"lamp"' });
  // The writer of the other file does not hold it here.
  expect(await copy.adoptRequests(agent, 9)).toMatchObject([{ id: 'r1', state: 'open', params }]);
  await copy.close();
});

test('an existing file is not overwritten, and a second command does not write the same backup', async () => {
  await openWith(['a']);
  writeFileSync(file, 'mine');
  await expect(backUpStore(path, file)).rejects.toMatchObject({ code: 'FILE_EXISTS' });
  expect(readFileSync(file, 'utf8')).toBe('mine');
  rmSync(file);
  writeFileSync(`${file}.partial`, 'of another command');
  await expect(backUpStore(path, file)).rejects.toThrow(/backup\.db\.partial exists: another command/);
  expect(readFileSync(`${file}.partial`, 'utf8')).toBe('of another command');
  await expect(restoreStore(file, path)).rejects.toMatchObject({ code: 'FILE_EXISTS' });
});

test.each([
  ['in the middle', 30],
  ['in its last step', 1],
])('a backup that is interrupted %s leaves nothing', async (_, megabytes) => {
  await openWith(Array.from({ length: megabytes }, () => 'x'.repeat(1_000_000)));
  const controller = new AbortController();
  const reason = new FabricError('CALL_CANCELLED', 'Interrupted');
  let steps = 0;
  const onProgress = (): void => {
    steps += 1;
    controller.abort(reason);
  };
  if (megabytes === 1) controller.abort(reason);
  await expect(backUpStore(path, file, { signal: controller.signal, onProgress })).rejects.toBe(reason);
  expect(steps).toBe(megabytes === 1 ? 0 : 1);
  expect(readdirSync(directory).filter((name) => name.startsWith('backup'))).toEqual([]);
});

test('the store of an older version is backed up as it is', async () => {
  copyFileSync(JOURNAL_0_1_0, path);
  const before = readFileSync(path);
  const { conversations, openTurns } = await backUpStore(path, file);
  expect(conversations).toBeGreaterThan(30);
  expect(openTurns).toBeGreaterThan(0);
  expect(readFileSync(path)).toEqual(before);
  const db = new DatabaseSync(file, { readOnly: true });
  expect(db.prepare(`SELECT 1 FROM sqlite_schema WHERE name = 'migration'`).get()).toBeUndefined();
  db.close();
});

test.each<[string, (file: string) => void, string, RegExp]>([
  ['is cut off', (one) => truncateSync(one, 40_960), 'STORE_UNAVAILABLE', /damaged/],
  [
    'is of a newer version',
    (one) => change(one, 'PRAGMA user_version = 99'),
    'STORE_SCHEMA',
    /its schema is version 99, and this program supports versions up to \d+\. Use the newer version/,
  ],
  [
    'is of another program',
    (one) => change(one, 'PRAGMA application_id = 1'),
    'STORE_SCHEMA',
    /not a conversation store/,
  ],
  ['is empty', (one) => truncateSync(one, 0), 'STORE_SCHEMA', /not a conversation store/],
  ['is a text', (one) => writeFileSync(one, 'x'.repeat(5_000)), 'STORE_SCHEMA', /not a database/],
  ['does not exist', (one) => rmSync(one), 'STORE_UNAVAILABLE', /no such file/],
])('a backup that %s is not restored', async (_, spoil, code, message) => {
  await openWith(['x'.repeat(200_000)]);
  await backUpStore(path, file);
  spoil(file);
  const target = storePath(join(directory, 'new'));
  const outcome = restoreStore(file, target);
  await expect(outcome).rejects.toMatchObject({ code });
  await expect(outcome).rejects.toThrow(message);
  expect(readdirSync(join(target, '..'))).toEqual([]);
});

test('the log of another store is not applied to a restored one', async () => {
  await openWith(['a']);
  await backUpStore(path, file);
  const target = join(directory, 'other.db');
  writeFileSync(`${target}-wal`, '');
  await expect(restoreStore(file, target)).rejects.toThrow(
    `There is a store: ${target}-wal exists. Stop its agents, and move the folder ${directory} away.`,
  );
});

test('a backup into a folder that does not exist names the folder', async () => {
  await openWith(['a']);
  await expect(backUpStore(path, join(directory, 'none', 'b.db'))).rejects.toThrow(
    `There is no folder ${join(directory, 'none')}. Create it first.`,
  );
});

test('a store that does not exist or is no store gives an error', async () => {
  await expect(backUpStore(path, file)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
  writeFileSync(path, '');
  await expect(backUpStore(path, file)).rejects.toMatchObject({ code: 'STORE_SCHEMA' });
  expect(readdirSync(directory).filter((name) => name.startsWith('backup'))).toEqual([]);
});

function change(path: string, sql: string): void {
  const db = new DatabaseSync(path);
  db.exec(sql);
  db.close();
}
