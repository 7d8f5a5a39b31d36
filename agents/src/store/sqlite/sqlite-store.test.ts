import { spawn } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Worker } from 'node:worker_threads';
import { systemClock } from '@fame-fabric/shared';
import { ManualClock } from '@fame-fabric/shared/testing';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { agentStoreConformance } from '../agent-store.conformance.ts';
import { storeConformance } from '../store.conformance.ts';
import type { NewEvent } from '../store.ts';
import { MIGRATIONS } from './migrations/migrations.ts';
import { openDatabase } from './sqlite-database.ts';
import { SqliteJournal } from './sqlite-journal.ts';
import { SqliteStore, type SqliteStoreOptions } from './sqlite-store.ts';

const openBench = async (options: Omit<SqliteStoreOptions, 'path'>) => {
  const directory = mkdtempSync(join(tmpdir(), 'fame-store-'));
  const opened: SqliteStore[] = [];
  const open = async (): Promise<SqliteStore> => {
    const store = await SqliteStore.open({ ...options, path: join(directory, 'conversations.db') });
    opened.push(store);
    return store;
  };
  return {
    store: await open(),
    another: open,
    close: async () => {
      for (const store of opened) await store.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
};

storeConformance('the SQLite store', openBench);
agentStoreConformance('the SQLite store', openBench);

describe('a store in a file', () => {
  let directory: string;
  let path: string;
  const opened: SqliteStore[] = [];
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'fame-store-'));
    path = join(directory, 'conversations.db');
  });
  afterEach(async () => {
    for (const store of opened.splice(0)) await store.close();
    rmSync(directory, { recursive: true, force: true });
  });
  const open = async (more: Partial<Parameters<typeof SqliteStore.open>[0]> = {}): Promise<SqliteStore> => {
    const store = await SqliteStore.open({ path, ...more });
    opened.push(store);
    return store;
  };

  test('sends requests of one callback to its thread together, also those that follow after several awaits', async () => {
    const store = await open();
    const sent = vi.spyOn(Worker.prototype, 'postMessage');
    const requests = [store.time()];
    for (let n = 0; n < 20; n++) await undefined;
    requests.push(store.time());
    await Promise.all(requests);
    expect(sent.mock.calls.map(([batch]) => batch.length)).toEqual([2]);
    sent.mockRestore();
  });
  const started: NewEvent = { kind: 'conversation_started', at: 1, body: { system_prompt: 's' } };
  const create = (store: SqliteStore, id: string) =>
    store.create({ id, agent: 'a@fame.fabric', startCallId: id, historyTurns: 10, totals: {}, started });

  test('a sweep goes on until all old retry keys are deleted', async () => {
    const clock = new ManualClock();
    const store = await open({ clock });
    await create(store, 'a');
    const db = new DatabaseSync(path);
    db.exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
      INSERT INTO retry SELECT 'a@fame.fabric', 'anonymous', i, 1, 't', ${clock.now()}, 0, '' FROM n`);
    clock.advance(86_400_000);
    expect(await store.sweep({})).toMatchObject({ isDone: false });
    expect(await store.sweep({})).toMatchObject({ isDone: true });
    expect(db.prepare('SELECT count(*) AS count FROM retry').get()).toEqual({ count: 0 });
    db.close();
  });

  test('a lock of another process delays a batch once, and does not block reads', async () => {
    const busyMs = 100;
    const store = await open({ busyMs });
    await create(store, 'a');
    const other = new DatabaseSync(path);
    other.exec('BEGIN IMMEDIATE');
    const began = performance.now();
    const writes = Promise.allSettled(Array.from({ length: 50 }, (_, i) => create(store, `b${i}`)));
    const reading = store.peek('a');
    for (const { status } of await writes) expect(status).toBe('rejected');
    expect(await reading).toMatchObject({ state: 'working' });
    expect(performance.now() - began).toBeLessThan(20 * busyMs);
    other.exec('ROLLBACK');
    other.close();
    expect(await create(store, 'c')).toMatchObject({ created: true });
  });

  test('conversations survive a close', async () => {
    const first = await open();
    await create(first, 'c');
    const { fence } = (await first.acquire('c', 1000))!;
    const accepted: NewEvent = { kind: 'turn_accepted', at: 2, turnId: 't', body: { user_message: 'hi' } };
    await first.append({ conversationId: 'c', fence, after: 1, events: [accepted], leaseMs: 0 });
    await first.close();
    const second = await open();
    expect(await second.read('c')).toMatchObject([{ seq: 1 }, { seq: 2, turnId: 't' }]);
  });

  test('the file is durable (WAL, synchronous FULL) and readable by its owner only', async () => {
    const db = openDatabase({ path, busyMs: 0, hardMaxBytes: 0 });
    expect(db.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' });
    expect(db.prepare('PRAGMA synchronous').get()).toEqual({ synchronous: 2 });
    expect(db.prepare('PRAGMA auto_vacuum').get()).toEqual({ auto_vacuum: 2 });
    db.close();
    expect(statSync(path).mode & 0o077).toBe(0);
  });

  test('concurrent processes can create one file', async () => {
    const stores = await Promise.all(Array.from({ length: 8 }, () => open()));
    const created = await Promise.all(stores.map((store) => create(store, 'c')));
    expect(created.filter((one) => one.created)).toHaveLength(1);
  });

  test('no row grows past 64 KiB', async () => {
    const store = await open();
    await create(store, 'c');
    const { fence } = (await store.acquire('c', 1000))!;
    const body = { user_message: '€'.repeat(60_000) };
    await store.append({
      conversationId: 'c',
      fence,
      after: 1,
      events: [{ kind: 'turn_accepted', at: 1, turnId: 't', body }],
      leaseMs: 0,
    });
    await store.close();
    const db = new DatabaseSync(path);
    const longest = db
      .prepare(
        'SELECT max(length(CAST(body AS BLOB))) AS row, (SELECT max(length(CAST(text AS BLOB))) FROM part) AS part FROM event',
      )
      .get() as { row: number; part: number };
    db.close();
    expect(longest.row).toBeLessThanOrEqual(65_536);
    expect(longest.part).toBeGreaterThan(40_000);
    expect(longest.part).toBeLessThanOrEqual(65_536);
  });

  test('P3: after a power cut at any byte of the log, the store opens with a prefix of the writes', async () => {
    const store = await open();
    await create(store, 'c');
    const { fence } = (await store.acquire('c', 1000))!;
    for (let i = 0; i < 40; i++) {
      const text: NewEvent = { kind: 'text', at: 1, turnId: 't', body: { text: 'x'.repeat(400), i } };
      await store.append({ conversationId: 'c', fence, after: i + 1, events: [text], leaseMs: 1000 });
    }
    const main = readFileSync(path);
    const log = readFileSync(`${path}-wal`);
    expect(log.length).toBeGreaterThan(40_000);
    let last = -1;
    const cuts = Array.from({ length: 21 }, (_, i) => Math.floor((log.length * i) / 20));
    for (const cut of cuts) {
      const copy = join(directory, 'cut', 'conversations.db');
      rmSync(join(directory, 'cut'), { recursive: true, force: true });
      mkdirSync(join(directory, 'cut'));
      writeFileSync(copy, main);
      writeFileSync(`${copy}-wal`, log.subarray(0, cut));
      const again = await SqliteStore.open({ path: copy });
      const events = await again.read('c');
      await again.close();
      const check = new DatabaseSync(copy);
      expect(check.prepare('PRAGMA integrity_check').get()).toEqual({ integrity_check: 'ok' });
      check.close();
      expect(events.map((event) => event.seq)).toEqual(events.map((_, i) => i + 1));
      expect(events.length).toBeGreaterThanOrEqual(last);
      last = events.length;
    }
    expect(last).toBe(41);
  });

  describe('an error at opening has the path, the cause and the fix', () => {
    const fails = async (code: string, ...words: string[]): Promise<void> => {
      const error = await SqliteStore.open({ path, busyMs: 20 }).then(
        () => undefined,
        (caught: Error) => caught,
      );
      expect(error).toMatchObject({ code });
      for (const word of words) expect(error!.message).toContain(word);
    };

    test('a directory without write access', async () => {
      if (process.getuid?.() === 0) {
        // Root may write anywhere, but not below a file.
        writeFileSync(join(directory, 'file'), '');
        path = join(directory, 'file', 'conversations.db');
      } else chmodSync(directory, 0o500);
      await fails('STORE_UNAVAILABLE', path, 'FAME_DATA_DIR');
    });

    test('a file that is not a database', async () => {
      writeFileSync(path, 'not a database, but long enough to have a header'.repeat(20));
      await fails('STORE_SCHEMA', path, 'not a database', 'FAME_DATA_DIR');
    });

    test('a database of another program', async () => {
      const db = new DatabaseSync(path);
      db.exec('CREATE TABLE theirs (a)');
      db.close();
      await fails('STORE_SCHEMA', path, 'another program');
    });

    test('a schema of a newer version', async () => {
      await (await open()).close();
      const db = new DatabaseSync(path);
      db.exec('PRAGMA user_version = 99');
      db.close();
      await fails('STORE_SCHEMA', path, 'version 99', 'newer version');
    });

    test('a file locked by another process', async () => {
      await (await open()).close();
      const db = new DatabaseSync(path);
      db.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; UPDATE conversation SET turns = 0; COMMIT');
      await fails('STORE_UNAVAILABLE', path, 'locked');
      db.close();
    });

    test('a damaged file', async () => {
      const store = await open();
      for (let i = 0; i < 50; i++) await create(store, `c${i}`);
      await store.close();
      const bytes = readFileSync(path);
      bytes.fill(0xff, 4096);
      writeFileSync(path, bytes);
      await fails('STORE_UNAVAILABLE', path, 'damaged', 'restore it from a backup');
    });
  });

  test('a lock at run time fails the call without naming the path, and the next call succeeds', async () => {
    const store = await open({ busyMs: 20 });
    const db = new DatabaseSync(path);
    db.exec('BEGIN IMMEDIATE');
    const error = await create(store, 'c').catch((caught: Error) => caught);
    expect(error).toMatchObject({ code: 'STORE_UNAVAILABLE' });
    expect((error as Error).message).not.toContain(directory);
    db.exec('ROLLBACK');
    db.close();
    expect(await create(store, 'c')).toMatchObject({ created: true });
  });

  test('a full disk fails writes and leaves the rest readable', async () => {
    const store = await open({ maxBytes: 1_000_000 });
    await create(store, 'c');
    const { fence } = (await store.acquire('c', 1000))!;
    const text = 'x'.repeat(3_000_000);
    let after = 1;
    const write = async (): Promise<void> => {
      await store.append({
        conversationId: 'c',
        fence,
        after,
        events: [{ kind: 'text', at: 1, turnId: 't', body: { text } }],
        leaseMs: 1000,
      });
      after += 1;
    };
    // Running turns may use the reserve above the limit, but not more.
    await expect(async () => {
      for (let i = 0; i < 10; i++) await write();
    }).rejects.toMatchObject({ code: 'STORE_FULL' });
    expect(after).toBeGreaterThan(2);
    expect(await store.read('c', { after: 1, limit: 1 })).toMatchObject([{ seq: 2 }]);
    await store.append({ conversationId: 'c', fence, after, events: [], leaseMs: 0 });
    expect(await store.remove('c')).toBe(true);
    expect(await create(store, 'd')).toMatchObject({ created: true });
  });

  test('an event within a turn writes the page of its conversation and that of its events', async () => {
    const PAGE_IN_LOG = 4_096 + 24;
    const db = openDatabase({ path, busyMs: 0, hardMaxBytes: 0 });
    const journal = new SqliteJournal(db, { holder: 'me', maxBytes: 0, isDead: () => false });
    const owners = { agent: 'a@fame.fabric', startCallId: 's', historyTurns: 10, totals: '{}' };
    const first = { kind: 'conversation_started', at: 1, body: '{}' } as const;
    for (let i = 0; i < 400; i++)
      journal.create(i, { ...owners, id: `c${i}`, principal: 'local', started: first });
    const { fence } = journal.acquire(400, 'c7', 1_000)!;
    let after = 1;
    const pages = (kind: NewEvent['kind'], now: number): number => {
      const before = statSync(`${path}-wal`).size;
      const events = [{ kind, at: now, turnId: 't', body: '{}' }];
      db.exec('BEGIN IMMEDIATE');
      journal.append(now, { conversationId: 'c7', fence, after, events, leaseMs: 1_000 });
      db.exec('COMMIT');
      after += 1;
      return Math.floor((statSync(`${path}-wal`).size - before) / PAGE_IN_LOG);
    };
    pages('turn_accepted', 500);
    // Otherwise the log is written from its beginning again, and does not grow.
    db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    const written = [pages('text', 501), pages('model_replied', 502)];
    db.close();
    expect(written).toEqual([2, 2]);
  });

  test('the size of an owner is the sum of its conversations outside the trash, whichever program writes them', async () => {
    const old = openDatabase({ path, busyMs: 0, hardMaxBytes: 0, migrations: MIGRATIONS.slice(0, 6) });
    const add = (id: string, principal: string, chars: number): void =>
      old.exec(`INSERT INTO conversation (id, agent, start_call, state, history_turns, started_at, changed_at, last_seq, turns,
        chars, totals, holder, lease_until, fence, principal)
        VALUES ('${id}', 'a', 's', 'working', 1, 1, 1, 1, 0, ${chars}, '{}', '', 0, 0, '${principal}')`);
    add('a1', 'ada', 10);
    add('a2', 'ada', 20);
    add('l1', 'local', 40);
    const store = await open();
    const owners = (): unknown[] =>
      old
        .prepare('SELECT * FROM owner ORDER BY principal')
        .all()
        .map((row) => ({ ...row }));
    expect(owners()).toEqual([{ principal: 'ada', conversations: 2, chars: 30 }]);
    add('b1', 'bob', 5);
    old.exec(`UPDATE conversation SET chars = chars + 7 WHERE id IN ('a1', 'b1', 'l1')`);
    expect(owners()).toEqual([
      { principal: 'ada', conversations: 2, chars: 37 },
      { principal: 'bob', conversations: 1, chars: 12 },
    ]);
    await store.trash('a1');
    await store.remove('b1');
    expect(owners()).toEqual([{ principal: 'ada', conversations: 1, chars: 20 }]);
    await store.restore('a1');
    await store.trash('a1');
    await store.remove('a1');
    await store.restore('a1');
    await store.trash('a2');
    expect(owners()).toEqual([]);
    old.close();
  });

  test('migrations run once each and in order', () => {
    const migrations = [
      { version: 1, sql: 'CREATE TABLE a (x)' },
      { version: 2, sql: 'ALTER TABLE a ADD COLUMN y' },
    ];
    openDatabase({ path, busyMs: 0, hardMaxBytes: 0, migrations: migrations.slice(0, 1) }).close();
    openDatabase({ path, busyMs: 0, hardMaxBytes: 0, migrations }).close();
    const db = openDatabase({ path, busyMs: 0, hardMaxBytes: 0, migrations });
    expect(db.prepare('PRAGMA table_info(a)').all()).toHaveLength(2);
    db.close();
  });

  describe('a journal of 0.1.0', () => {
    const FIXTURE = new URL('../../../../test/fixtures/journal-0.1.0/open-turns.db', import.meta.url);
    const ids = (db: DatabaseSync): unknown[] => db.prepare('SELECT id FROM conversation ORDER BY id').all();

    test('opens with all conversations, which then belong to local', async () => {
      copyFileSync(FIXTURE, path);
      const before = new DatabaseSync(path);
      const known = ids(before).length;
      before.close();
      const clock = new ManualClock();
      const store = await open({ clock });
      const records = await store.list({ limit: 1_000 });
      expect(records).toHaveLength(known);
      expect(records.every(({ principal, trashedAt }) => principal === 'local' && trashedAt === 0)).toBe(
        true,
      );
      // The last change of a conversation stands in for a record of the time.
      clock.stepWall(records[0]!.changedAt + 31 * 86_400_000 - clock.now());
      expect(await store.keepTime(0)).toMatchObject({ jumpMs: 31 * 86_400_000, heldMs: 86_400_000 });
    });

    test('still opens for a program of 0.1.0 after its migration', async () => {
      copyFileSync(FIXTURE, path);
      const store = await open();
      const [record] = await store.list();
      await store.trash(record!.id);
      await store.close();
      const old = openDatabase({ path, busyMs: 0, hardMaxBytes: 0, migrations: MIGRATIONS.slice(0, 1) });
      expect(old.prepare('PRAGMA user_version').get()).toEqual({ user_version: 1 });
      // The statement of 0.1.0.
      old.exec(`INSERT INTO conversation (id, agent, start_call, state, history_turns, started_at, changed_at, last_seq,
        turns, chars, totals, holder, lease_until, fence)
        VALUES ('new', 'a', 's', 'working', 1, 1, 1, 1, 0, 0, '{}', '', 0, 0)`);
      expect(ids(old)).toContainEqual({ id: record!.id });
      old.close();
      const again = await open();
      expect(await again.record('new')).toMatchObject({ principal: 'local', trashedAt: 0 });
      // Clients of 0.1.0 have no credential, and continue it.
      for (const principal of ['local', 'anonymous']) {
        const request = { agent: 'a', publicId: 'new', principal, mayUseAny: false };
        expect(await again.reach(request)).toBe('new');
      }
      expect(await again.reach({ agent: 'a', publicId: 'new', principal: 'ada', mayUseAny: false })).toBe(
        undefined,
      );
      expect(await again.record(record!.id, { inTrash: true })).toBeDefined();
    });

    test('has rising cursors, also of rows that 0.1.0 writes between those of this version', async () => {
      copyFileSync(FIXTURE, path);
      const text = { kind: 'text' as const, at: 1, turnId: 't', body: { text: 'abc', offset: 0 } };
      const write = async (times: number): Promise<string> => {
        const store = await open();
        const { id } = (await store.list())[0]!;
        for (let i = 0; i < times; i++) {
          const { fence, record } = (await store.acquire(id, 1_000))!;
          await store.append({
            conversationId: id,
            fence,
            after: record.lastSeq,
            events: [text],
            leaseMs: 0,
          });
        }
        await store.close();
        return id;
      };
      const store = await open();
      const { id, lastSeq } = (await store.list())[0]!;
      await store.close();
      await write(4);
      // A program of 0.1.0 records none of its acquisitions.
      const old = openDatabase({ path, busyMs: 0, hardMaxBytes: 0, migrations: MIGRATIONS.slice(0, 1) });
      old.exec(
        'DELETE FROM acquisition WHERE fence IN (SELECT fence FROM acquisition ORDER BY fence LIMIT 2 OFFSET 1)',
      );
      old.close();
      await write(2);
      const again = await open();
      const events = await again.read(id);
      const cursors = events.map(({ cursor }) => cursor);
      expect(cursors.slice(0, lastSeq)).toEqual(events.slice(0, lastSeq).map(({ seq }) => seq));
      expect(cursors).toHaveLength(lastSeq + 6);
      expect(cursors).toEqual([...new Set(cursors)].sort((a, b) => a - b));
      for (const [index, cursor] of cursors.entries()) {
        expect(await again.read(id, { afterCursor: cursor })).toEqual(events.slice(index + 1));
      }
    });

    test('has the outcome of the last turn of each conversation, also of turns that 0.1.0 ends afterwards', async () => {
      copyFileSync(FIXTURE, path);
      const outcomes = `SELECT c.key, last_outcome, coalesce((SELECT state FROM turn WHERE conversation = c.key
        AND state <> 'open' ORDER BY ended_seq DESC LIMIT 1), '') AS expected FROM conversation c`;
      const before = new DatabaseSync(path);
      before.exec(`UPDATE turn SET state = 'completed', ended_seq = 9998 WHERE conversation % 2 = 0`);
      before.close();
      await (await open()).close();
      const old = openDatabase({ path, busyMs: 0, hardMaxBytes: 0, migrations: MIGRATIONS.slice(0, 1) });
      const check = (): Set<unknown> => {
        const rows = old.prepare(outcomes).all();
        for (const { last_outcome, expected } of rows) expect(last_outcome).toBe(expected);
        return new Set(rows.map(({ last_outcome }) => last_outcome));
      };
      expect(check()).toContain('completed');
      // The statement of 0.1.0.
      old.exec(`UPDATE turn SET state = 'failed', ended_seq = 9999, in_history = 0 WHERE state = 'open'`);
      expect(check()).toContain('failed');
      old.close();
    });

    test('loses the retry keys of conversations that 0.1.0 deletes', async () => {
      const store = await open();
      await create(store, 'c');
      const { fence } = (await store.acquire('c', 1))!;
      const place = { conversationId: 'c', turnId: 't' };
      const retry = {
        agent: 'chat@fame.fabric',
        principal: 'local',
        key: 'k',
        count: 0,
        lateMs: 1,
        ...place,
      };
      const events = [{ kind: 'turn_accepted' as const, at: 0, turnId: 't', body: {} }];
      await store.append({ conversationId: 'c', fence, after: 1, events, leaseMs: 0, retry });
      const other = { ...retry, count: 1, conversationId: 'd', turnId: 'u' };
      expect(await store.retried(other)).toEqual(place);
      const old = openDatabase({ path, busyMs: 0, hardMaxBytes: 0, migrations: MIGRATIONS.slice(0, 1) });
      const key = `(SELECT key FROM conversation WHERE id = 'c')`;
      for (const table of ['part', 'event', 'turn'])
        old.exec(`DELETE FROM ${table} WHERE conversation = ${key}`);
      old.exec(`DELETE FROM conversation WHERE id = 'c'`);
      old.close();
      await create(store, 'c');
      expect(await store.retried(other)).toBeUndefined();
    });

    test('opens after an interrupted migration, and migrates again', async () => {
      copyFileSync(FIXTURE, path);
      const cut = new DatabaseSync(path);
      const known = ids(cut);
      cut.exec(
        `BEGIN IMMEDIATE; ${MIGRATIONS.slice(1)
          .map(({ sql }) => sql)
          .join('')}`,
      );
      cut.close();
      const db = openDatabase({ path, busyMs: 0, hardMaxBytes: 0 });
      expect(ids(db)).toEqual(known);
      expect(db.prepare('SELECT version FROM migration').all()).toEqual(
        MIGRATIONS.slice(1).map(({ version }) => ({ version })),
      );
      db.close();
    });
  });

  test('a store of a newer version opens if its migrations are additive', async () => {
    const version = MIGRATIONS.at(-1)!.version + 1;
    const migrations = [...MIGRATIONS, { version, sql: 'CREATE TABLE later (x)', isAdditive: true }];
    openDatabase({ path, busyMs: 0, hardMaxBytes: 0, migrations }).close();
    await create(await open(), 'c');
    const breaking = [...migrations, { version: version + 1, sql: 'CREATE TABLE other (x)' }];
    openDatabase({ path, busyMs: 0, hardMaxBytes: 0, migrations: breaking }).close();
    await expect(open()).rejects.toMatchObject({
      code: 'STORE_SCHEMA',
      message: expect.stringContaining(`version ${version + 1}`),
    });
  });

  test('the conversations of a killed process can be acquired at once', async () => {
    const store = await open();
    await create(store, 'c');
    const url = new URL('./sqlite-store.ts', import.meta.url).href;
    const script = `
      const { SqliteStore } = await import(${JSON.stringify(url)});
      const store = await SqliteStore.open({ path: ${JSON.stringify(path)} });
      await store.acquire('c', 600000);
      console.log('held');
      setInterval(() => {}, 1000);
    `;
    const child = spawn(process.execPath, ['--conditions=fame-source', '--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      await new Promise((resolve) => child.stdout.once('data', resolve));
      await expect(store.acquire('c', 1000)).rejects.toMatchObject({ code: 'STORE_CONFLICT' });
      const exited = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGKILL');
      await exited;
      expect(await store.acquire('c', 1000)).toBeDefined();
    } finally {
      child.kill('SIGKILL');
    }
  });

  test('a holder is checked once for all of its conversations', () => {
    const db = openDatabase({ path, busyMs: 0, hardMaxBytes: 0 });
    const asked: string[] = [];
    const journalOf = (holder: string) =>
      new SqliteJournal(db, {
        holder,
        maxBytes: 0,
        isDead: (one) => {
          asked.push(one);
          return one === 'dead';
        },
      });
    for (const holder of ['living', 'dead']) {
      const journal = journalOf(holder);
      for (const id of ['1', '2', '3'].map((n) => holder + n)) {
        const begun = { kind: 'conversation_started' as const, at: 1, body: '{}' };
        journal.create(1, { id, agent: 'a', startCallId: id, historyTurns: 1, totals: '{}', started: begun });
        const { fence } = journal.acquire(1, id, 1_000)!;
        const accepted = { kind: 'turn_accepted' as const, at: 1, turnId: 't', body: '{}' };
        journal.append(1, { conversationId: id, fence, after: 1, events: [accepted], leaseMs: 1_000 });
      }
    }
    const journal = journalOf('me');
    expect(journal.unfinished(2, 'a', 10)).toEqual(['dead1', 'dead2', 'dead3']);
    expect(asked.splice(0).sort()).toEqual(['dead', 'living']);
    const { trashed } = journal.removal.sweep(2, { expiredBefore: 2 });
    expect(trashed.map(({ id }) => id)).toEqual(['dead1', 'dead2', 'dead3']);
    expect(asked.sort()).toEqual(['dead', 'living']);
    db.close();
  });

  test('a copy of the file opens', async () => {
    const store = await open();
    await create(store, 'c');
    await store.close();
    copyFileSync(path, join(directory, 'copy.db'));
    const copy = await SqliteStore.open({ path: join(directory, 'copy.db'), clock: systemClock });
    opened.push(copy);
    expect(await copy.record('c')).toMatchObject({ id: 'c' });
  });
});
