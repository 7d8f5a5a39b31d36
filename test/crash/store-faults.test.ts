// An agent whose store fails: at the start it exits with the path, the cause and a fix; later the turn fails with a code, and
// everything else keeps working.
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { storePath } from '@fame-fabric/agents/internal';
import type { Client, Conversation } from '@fame-fabric/client';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { fameArgs, Proc, startNode } from '../kit/processes.ts';
import { localKey, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';
import {
  API_KEY,
  converse,
  lastUserText,
  openClient,
  spawnAgent,
  startAgent,
  startModel,
  stopStack,
} from '../kit/stack.ts';
import { JournalView } from './journal-view.ts';

let url: string;
/** The local key: the conversations of these tests belong to the owner. */
let token: string;
let model: Awaited<ReturnType<typeof startModel>>;

beforeAll(async () => {
  const sentinel = await startOurSentinel();
  url = sentinel.url;
  token = localKey(sentinel.dataDir);
  model = await startModel({ respond: (request) => `re: ${lastUserText(request).slice(0, 40)}` });
});
afterAll(stopStack);

/** Processes and clients of one test. They are stopped after it, so that the address is free for the next. */
const own: { stop(): unknown }[] = [];
afterEach(async () => {
  for (const one of own.splice(0).reverse()) await one.stop();
});

async function serve(options: Parameters<typeof startAgent>[1]): Promise<Proc> {
  const agent = await startAgent(url, { model, ...options });
  own.push(agent);
  return agent;
}

async function attach(): Promise<Client> {
  const client = await openClient(url, { token });
  own.push({ stop: () => client.close() });
  return client;
}

/** A data directory whose store an agent has made and closed. */
async function usedStore(): Promise<string> {
  const dataDir = temporaryDirectory();
  const agent = await serve({ dataDir });
  const client = await attach();
  const conversation = await converse(client, { id: `c-${Date.now()}` });
  await conversation.ask('remember this');
  await client.close();
  await agent.stop();
  return dataDir;
}

/** Starts an agent that must fail to start, and returns its output. */
async function refused(dataDir: string): Promise<string> {
  const agent = spawnAgent(url, { model, dataDir });
  const { code } = await agent.exited;
  expect(code).toBe(1);
  // A message for the user, without a stack.
  expect(agent.output).not.toMatch(/^\s+at /m);
  return agent.output;
}

describe('an agent does not start with', () => {
  test('a read-only directory', async () => {
    const dataDir = join(temporaryDirectory(), 'data');
    mkdirSync(dataDir);
    chmodSync(dirname(dataDir), 0o755);
    chmodSync(dataDir, 0o555);
    const env = {
      FAME_DIRECT_ADMISSION_URL: url,
      FAME_DATA_DIR: dataDir,
      OPENAI_API_KEY: API_KEY,
      OPENAI_BASE_URL: model.url,
    };
    // Root may write to any directory, so it starts the agent as an unprivileged user.
    const agent =
      process.getuid?.() === 0
        ? new Proc(
            'setpriv',
            ['--reuid=65534', '--regid=65534', '--clear-groups', process.execPath, ...fameArgs('agent')],
            { env },
          )
        : startNode(fameArgs('agent'), { env });
    expect((await agent.exited).code).toBe(1);
    expect(agent.output).toContain(dataDir);
    expect(agent.output).toMatch(/permission denied|read-only|writable directory/);
    expect(agent.output).toContain('FAME_DATA_DIR');
    expect(agent.output).toContain('STORE_UNAVAILABLE');
  });

  test('a file that another process has locked', async () => {
    const dataDir = await usedStore();
    const holder = new DatabaseSync(storePath(dataDir));
    holder.exec(
      'PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; CREATE TABLE mine (x); COMMIT; BEGIN IMMEDIATE',
    );
    const output = await refused(dataDir);
    holder.close();
    expect(output).toContain(storePath(dataDir));
    expect(output).toContain('locked by another process');
    expect(output).toContain('stop that process or give it another FAME_DATA_DIR');
  });

  test('a store of a newer version, which it leaves unchanged', async () => {
    const dataDir = await usedStore();
    const db = new DatabaseSync(storePath(dataDir));
    db.exec('PRAGMA user_version = 99');
    db.close();
    const before = readFileSync(storePath(dataDir));
    const output = await refused(dataDir);
    expect(output).toMatch(/schema is version 99, and this program supports versions up to \d+/);
    expect(output).toContain('run the newer version, or set FAME_DATA_DIR to another directory');
    expect(output).toContain('STORE_SCHEMA');
    expect(readFileSync(storePath(dataDir)).equals(before)).toBe(true);
  });

  test('a file that is not a database', async () => {
    const dataDir = temporaryDirectory();
    mkdirSync(dirname(storePath(dataDir)), { recursive: true });
    writeFileSync(storePath(dataDir), 'Dear diary, '.repeat(1_000));
    const output = await refused(dataDir);
    expect(output).toContain('not a database');
    expect(output).toContain('move the file away or set FAME_DATA_DIR');
    expect(readFileSync(storePath(dataDir), 'utf8')).toMatch(/^Dear diary/);
  });

  test('a file with damaged first pages', async () => {
    const dataDir = await usedStore();
    const path = storePath(dataDir);
    const bytes = readFileSync(path);
    bytes.fill(0x5a, 100, 4_096);
    writeFileSync(path, bytes);
    const output = await refused(dataDir);
    expect(output).toContain(path);
    expect(output).toMatch(/damaged; restore it from a backup, or move it away/);
  });
});

describe('while turns run', () => {
  test('a lock that another process holds for too long fails the turn, and nothing else', async () => {
    const dataDir = temporaryDirectory();
    await serve({ dataDir });
    const client = await attach();
    const conversation = await converse(client);
    expect(await conversation.ask('one')).toBe('re: one');
    const holder = new DatabaseSync(storePath(dataDir));
    holder.exec('BEGIN IMMEDIATE');
    await expect(
      client.call('chat@fame.fabric', 'run_turn', { args: [conversation.id, 'two', 'locked'] }),
    ).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', message: expect.stringContaining('locked') });
    holder.exec('ROLLBACK');
    holder.close();
    // The same turn succeeds when sent again, and the conversation continues.
    expect(
      await client.call('chat@fame.fabric', 'run_turn', { args: [conversation.id, 'two', 'locked'] }),
    ).toBe('re: two');
    expect(await conversation.ask('three')).toBe('re: three');
    expect((await conversation.history()).map(({ text }) => text)).toEqual([
      'one',
      're: one',
      'two',
      're: two',
      'three',
      're: three',
    ]);
  });

  test('a damaged page fails the turns that need it, and the agent keeps serving', async () => {
    const dataDir = temporaryDirectory();
    const agent = await serve({ dataDir });
    const client = await attach();
    const long = 'x'.repeat(60_000);
    const conversation = await converse(client, { id: 'damaged' });
    for (let n = 0; n < 4; n++) await conversation.ask(`damaged ${n} ${long}`);
    await client.close();
    await agent.stop();
    const path = storePath(dataDir);
    const bytes = readFileSync(path);
    // Overflow pages of the long messages: the number of the next page, then only text.
    const isFull = (page: number): boolean =>
      bytes.subarray(page + 4, page + 4_096).every((byte) => byte === 0x78);
    for (let page = 0; page < bytes.length; page += 4_096) {
      if (isFull(page)) bytes.fill(0xff, page, page + 4_096);
    }
    writeFileSync(path, bytes);

    await serve({ dataDir });
    const again = await attach();
    const turn = (id: string) => again.call('chat@fame.fabric', 'run_turn', { args: [id, 'still there?'] });
    await expect(turn('damaged')).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
      message: expect.stringContaining('damaged'),
    });
    expect(await again.call('chat@fame.fabric', 'describe')).toMatchObject({ address: 'chat@fame.fabric' });
  });

  test('new turns above FAME_STORE_MAX_BYTES fail with a fix, and the file stays below the limit', async () => {
    const dataDir = temporaryDirectory();
    const maxBytes = 1_048_576;
    const agent = await serve({ dataDir, env: { FAME_STORE_MAX_BYTES: String(maxBytes) } });
    const client = await attach();
    const conversation = await converse(client);
    const fill = async (): Promise<void> => {
      for (let n = 0; n < 100; n++) await conversation.ask(`${n} ${'y'.repeat(30_000)}`);
    };
    await expect(fill()).rejects.toMatchObject({
      code: 'STORE_FULL',
      message: expect.stringContaining('raise FAME_STORE_MAX_BYTES'),
    });
    // The stored conversations can be read, and the store works again once there is room.
    expect(await conversation.history()).not.toHaveLength(0);
    const other = new JournalView(dataDir);
    expect(other.events(conversation.id).length).toBeGreaterThan(20);
    other.close();
    expect(statSync(storePath(dataDir)).size).toBeLessThan(maxBytes + 262_144);

    // An ended conversation makes room at once.
    await conversation.end();
    expect(await (await converse(client)).ask('room?')).toBe('re: room?');
    await agent.waitFor(/conversation store is full and made room.*"movedEnded":1|"movedEnded":1.*made room/);
    const { code } = await conversations(dataDir, 'show', conversation.id);
    expect(code).toBe(1);
  });
});

// A file system of a few MB needs a mount, which needs its own namespace unless the user is root.
const IN_NAMESPACE = ['-rm', 'sh', '-c'];
const canMount =
  spawnSync('unshare', [...IN_NAMESPACE, 'mount -t tmpfs -o size=1m tmpfs /mnt'], { stdio: 'ignore' })
    .status === 0;

describe.skipIf(!canMount)('a disk that is full (needs unshare and mount)', () => {
  test('fails the turn with STORE_FULL; the history stays readable, and turns work again once there is room', async () => {
    const dataDir = temporaryDirectory();
    const args = [process.execPath, ...fameArgs('agent')].map((word) => `'${word}'`).join(' ');
    const agent = new Proc(
      'unshare',
      [...IN_NAMESPACE, `mount -t tmpfs -o size=4m tmpfs '${dataDir}' && exec ${args}`],
      {
        name: 'agent on a small disk',
        env: {
          FAME_DIRECT_ADMISSION_URL: url,
          FAME_DATA_DIR: dataDir,
          OPENAI_API_KEY: API_KEY,
          OPENAI_BASE_URL: model.url,
        },
      },
    );
    own.push(agent);
    await agent.waitFor(/ is served through /, 20_000);
    const client = await attach();
    const conversation = await converse(client);
    expect(await conversation.ask('one')).toBe('re: one');

    // The file system that the agent sees, from outside its namespace.
    const ballast = `/proc/${agent.pid}/root${dataDir}/ballast`;
    fill(ballast);
    const turn = (id: string, text: string) =>
      client.call('chat@fame.fabric', 'run_turn', { args: [conversation.id, text, id] });
    await expect(turn('full', 'two')).rejects.toMatchObject({
      code: 'STORE_FULL',
      message: expect.stringMatching(/it is full\. Free space/),
    });
    expect((await conversation.history()).map(({ text }) => text)).toEqual(['one', 're: one']);
    await expect(converse(client)).rejects.toMatchObject({ code: 'STORE_FULL' });

    rmSync(ballast);
    expect(await turn('full', 'two')).toBe('re: two');
    expect(await conversation.ask('three')).toBe('re: three');
    const copy = join(temporaryDirectory(), 'data');
    mkdirSync(dirname(storePath(copy)), { recursive: true });
    await eventually(() => {
      for (const end of ['', '-wal'])
        copyFileSync(`/proc/${agent.pid}/root${storePath(dataDir)}${end}`, storePath(copy) + end);
      const view = new JournalView(copy);
      expect(view.integrity()).toBe('ok');
      view.close();
    });
  });
});

describe.skipIf(!canMount)('HD13: on a full disk (needs unshare and mount)', () => {
  /** A directory on a file system of its own. Only processes in the namespace of `holder` see it at `dataDir`. */
  async function smallDisk() {
    const dataDir = temporaryDirectory();
    const mount = `mount -t tmpfs -o size=16m tmpfs '${dataDir}' && echo mounted && exec sleep 600`;
    const holder = new Proc('unshare', [...IN_NAMESPACE, mount], { name: 'small disk' });
    own.push(holder);
    await holder.waitFor(/mounted/);
    const start = (...args: string[]): Proc => {
      const enter = ['-t', String(holder.pid), '-m', '-U', '--preserve-credentials', process.execPath];
      const proc = new Proc('nsenter', [...enter, ...fameArgs(...args)], {
        name: `fame ${args[0]}`,
        env: {
          FAME_DIRECT_ADMISSION_URL: url,
          FAME_DATA_DIR: dataDir,
          OPENAI_API_KEY: API_KEY,
          OPENAI_BASE_URL: model.url,
        },
      });
      own.push(proc);
      return proc;
    };
    return {
      start,
      outside: `/proc/${holder.pid}/root${dataDir}`,
      async startAgent() {
        const agent = start('agent');
        await agent.waitFor(/ is served through /);
        return agent;
      },
      async conversations(...args: string[]) {
        const proc = start('conversations', ...args);
        const { code } = await proc.exited;
        return `${code} ${proc.output.trim()}`;
      },
    };
  }
  /** Asks long questions until one fails, or `isEnough`. The log has space of its own, so a full disk is not noticed at once. */
  const ask = async (conversation: Conversation, isEnough: (count: number) => boolean) => {
    for (let n = 0; !isEnough(n); n++)
      expect(await conversation.ask(`${n} ${'y'.repeat(50_000)}`)).toMatch(/^re: /);
  };
  const talk = async (client: Client, id: string) => {
    const conversation = await converse(client, { id });
    await ask(conversation, (count) => count === 20);
    return conversation;
  };

  test('conversations rm --now works while the agent runs, and after it ended', async () => {
    const disk = await smallDisk();
    const agent = await disk.startAgent();
    const client = await attach();
    const kept = await converse(client);
    for (const id of ['one', 'two', 'three']) await talk(client, id);
    fill(join(disk.outside, 'ballast'));
    await expect(ask(kept, (count) => count === 200)).rejects.toMatchObject({
      code: 'STORE_FULL',
      message: expect.stringContaining('npx fame-fabric conversations rm ID --now'),
    });
    expect(await disk.conversations('rm', 'one', '--now')).toBe('0 Removed one.');
    expect(await kept.ask('accepted')).toBe('re: accepted');
    await client.close();
    await agent.stop();

    fill(join(disk.outside, 'ballast'));
    expect(await disk.conversations('rm', 'two')).toMatch(/^0 Moved two to the trash/);
    fill(join(disk.outside, 'ballast'));
    expect(await disk.conversations('rm', 'three', '--now')).toBe('0 Removed three.');
    const second = await disk.startAgent();
    const again = await attach();
    const args = [kept.id, 'and on', 'last'];
    expect(await again.call('chat@fame.fabric', 'run_turn', { args })).toBe('re: and on');
    await second.stop();
    const copy = temporaryDirectory();
    mkdirSync(dirname(storePath(copy)), { recursive: true });
    copyFileSync(storePath(disk.outside), storePath(copy));
    const view = new JournalView(copy);
    expect(view.integrity()).toBe('ok');
    view.close();
  });

  test('a turn removes an ended conversation to make room, and is answered as always', async () => {
    const disk = await smallDisk();
    const agent = await disk.startAgent();
    const client = await attach();
    const kept = await converse(client);
    await (await talk(client, 'ended')).end();
    await talk(client, 'open');
    fill(join(disk.outside, 'ballast'));
    await ask(kept, (count) => count === 200 || agent.output.includes('store is full and made room'));
    await agent.waitFor(/store is full and made room/);
    expect(await disk.conversations('show', 'ended')).toMatch(/^1 /);
    expect(await disk.conversations('show', 'open')).toMatch(/^0 /);
  });
});

/** Runs `fame conversations`. */
async function conversations(dataDir: string, ...args: string[]) {
  const proc = startNode(fameArgs('conversations', ...args), { env: { FAME_DATA_DIR: dataDir } });
  const { code } = await proc.exited;
  return { code, output: proc.output };
}

/** Writes until the disk is full. */
function fill(path: string): void {
  for (let size = 65_536; size >= 512; size /= 2) {
    try {
      for (;;) writeFileSync(path, Buffer.alloc(size), { flag: 'a' });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
  }
}
