// The PostgreSQL store on a server that stops, disappears or does not fit. Each test that harms its server has one of its own.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { promisify } from 'node:util';
import { type AgentStore, type ConversationStore, openDatabaseStore } from '@fame-fabric/agents/internal';
import { afterEach, describe, expect, inject, test } from 'vitest';
import { hasPooler, startPooler } from '../../kit/pooler.ts';
import { PostgresServer } from '../../kit/postgres.ts';
import { temporaryDirectory } from '../../kit/sentinel.ts';
import { TcpProxy } from '../../kit/tcp-proxy.ts';

type Store = ConversationStore & AgentStore;

const { url = '', reason } = inject('postgres');
const LEASE = 60_000;
const closing: (() => Promise<unknown>)[] = [];
let schemas = 0;

afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function openAt(storeUrl: string, schema: string): Promise<Store> {
  const store = await openDatabaseStore(storeUrl, { schema });
  closing.push(() => store.close());
  return store;
}
const newSchema = (): string => {
  schemas += 1;
  return `store_${schemas}`;
};
async function startServer(): Promise<PostgresServer> {
  const server = await PostgresServer.start();
  closing.push(() => server.close());
  return server;
}
const started = { kind: 'conversation_started' as const, at: 1, body: {} };
async function begin(store: Store, id: string) {
  await store.create({ id, agent: 'a@fame.fabric', startCallId: id, historyTurns: 10, totals: {}, started });
  return (await store.acquire(id, LEASE))!.fence;
}

/** The message with which a server ends a connection. */
function fatal(state: string, text: string): Buffer {
  const fields = Buffer.from(`SFATAL\0VFATAL\0C${state}\0M${text}\0\0`);
  const head = Buffer.from('E0000');
  head.writeInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, fields]);
}

/** Appends turns to some conversations, one after the other in each, until `isOver`. Resolves to the accepted turns of each. */
async function appendUntil(store: Store, ids: readonly string[], isOver: () => boolean) {
  return Promise.all(
    ids.map(async (conversationId) => {
      const fence = await begin(store, conversationId);
      const accepted: string[] = [];
      for (let after = 1; !isOver(); after += 2) {
        const turnId = `t${after}`;
        const events = [
          { kind: 'turn_accepted' as const, at: 1, turnId, body: { user_message: turnId } },
          { kind: 'turn_completed' as const, at: 2, turnId, body: { in_history: true } },
        ];
        await store.append({ conversationId, fence, after, events, leaseMs: LEASE });
        accepted.push(turnId);
      }
      return accepted;
    }),
  );
}

/** Waits until the store has accepted another turn. */
async function nextTurn(server: PostgresServer): Promise<void> {
  const turns = (): number => Number(server.sql('SELECT count(*) FROM fame.turn')[0]);
  const before = turns();
  await expect.poll(turns).toBeGreaterThan(before);
}

async function expectTurns(store: Store, id: string, turns: readonly string[]): Promise<void> {
  const events = await store.read(id, { limit: 100_000 });
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, i) => i + 1));
  expect(events.filter(({ kind }) => kind === 'turn_accepted').map(({ turnId }) => turnId)).toEqual(turns);
}

describe.skipIf(reason !== undefined)('a PostgreSQL store', () => {
  test('the conversations of a killed process can be acquired at once', async () => {
    const schema = newSchema();
    const store = await openAt(url, schema);
    await begin(store, 'c');
    await store.append({
      conversationId: 'c',
      fence: (await store.acquire('c', 1))!.fence,
      after: 1,
      events: [],
      leaseMs: 0,
    });
    const script = `
      const { openDatabaseStore } = await import('@fame-fabric/agents/internal');
      const store = await openDatabaseStore(${JSON.stringify(url)}, { schema: '${schema}' });
      await store.acquire('c', 600000);
      console.log('held');`;
    const child = spawn(process.execPath, ['--conditions=fame-source', '--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    closing.push(async () => child.kill('SIGKILL'));
    await once(child.stdout, 'data');
    await expect(store.acquire('c', LEASE)).rejects.toMatchObject({ code: 'STORE_CONFLICT' });
    child.kill('SIGKILL');
    // The server needs a moment to notice the end of the session.
    await expect.poll(() => store.acquire('c', LEASE).catch(() => undefined)).toBeDefined();
  });

  test('appends survive immediate stops of the server, each exactly once', async () => {
    const server = await startServer();
    const store = await openAt(server.url, 'fame');
    const ids = ['a', 'b', 'c', 'd'];
    let isOver = false;
    const appending = appendUntil(store, ids, () => isOver);
    for (let stop = 0; stop < 3; stop++) {
      await nextTurn(server);
      await server.stopNow();
      await server.resume();
    }
    await nextTurn(server);
    isOver = true;
    const accepted = await appending;
    for (const [i, id] of ids.entries()) await expectTurns(store, id, accepted[i]!);
  });

  test('appends survive connections that are cut at any moment, each exactly once', async () => {
    const server = await startServer();
    const proxy = await TcpProxy.to(server.port);
    closing.push(() => proxy.close());
    const store = await openAt(server.tcpUrl(proxy.port), 'fame');
    const ids = ['a', 'b', 'c', 'd'];
    let isOver = false;
    const appending = appendUntil(store, ids, () => isOver);
    for (let cut = 0; cut < 40; cut++) {
      await nextTurn(server);
      expect(proxy.cut()).toBeGreaterThan(0);
    }
    isOver = true;
    const accepted = await appending;
    for (const [i, id] of ids.entries()) await expectTurns(store, id, accepted[i]!);
  });

  test('operations fail with STORE_UNAVAILABLE while the server is stopped, and succeed after its restart', async () => {
    const server = await startServer();
    const store = await openAt(server.url, 'fame');
    await begin(store, 'c');
    await server.stopNow();
    const [write, read] = await Promise.allSettled([begin(store, 'd'), store.peek('c')]);
    for (const result of [write, read]) {
      expect(result).toMatchObject({ status: 'rejected', reason: { code: 'STORE_UNAVAILABLE' } });
      const { message } = (result as PromiseRejectedResult).reason as Error;
      expect(message).not.toContain(server.directory);
    }
    await server.resume();
    expect(await store.peek('c')).toMatchObject({ state: 'working' });
    await begin(store, 'd');
  });

  test('a server that does not answer is given up, and its successor is found', async () => {
    const server = await startServer();
    const store = await openAt(server.url, 'fame');
    const fence = await begin(store, 'c');
    server.signal('SIGSTOP');
    const began = performance.now();
    const appending = store.append({
      conversationId: 'c',
      fence,
      after: 1,
      events: [started],
      leaseMs: LEASE,
    });
    await server.kill();
    await server.resume();
    await appending;
    expect(performance.now() - began).toBeLessThan(10_000);
    expect(await store.read('c')).toHaveLength(2);
  });

  test('an agent that starts waits for a server that is starting', async () => {
    const server = await startServer();
    let refused = 0;
    const front = createServer((socket) => {
      socket.on('error', () => {});
      if (refused < 5) {
        refused++;
        socket.once('data', () => socket.end(fatal('57P03', 'the database system is starting up')));
        return;
      }
      const back = connect(server.port, '127.0.0.1');
      back.on('error', () => {});
      socket.pipe(back).pipe(socket);
    });
    front.listen(0, '127.0.0.1');
    await once(front, 'listening');
    closing.push(async () => void front.close());
    const store = await openAt(server.tcpUrl((front.address() as AddressInfo).port), 'fame');
    expect(refused).toBe(5);
    await begin(store, 'c');
  });

  test('writers keep their conversations when the server restarts', async () => {
    const server = await startServer();
    const [one, two] = [await openAt(server.url, 'fame'), await openAt(server.url, 'fame')];
    const fence = await begin(one, 'c');
    await server.stopNow();
    await server.resume();
    await expect(two.acquire('c', LEASE)).rejects.toMatchObject({
      code: 'STORE_CONFLICT',
      details: { holder: one.holder },
    });
    await one.append({ conversationId: 'c', fence, after: 1, events: [started], leaseMs: LEASE });
  });

  test('a commit whose answer was lost counts once, also if other writers have removed its writer as dead', async () => {
    const server = await startServer();
    const proxy = await TcpProxy.to(server.port);
    closing.push(() => proxy.close());
    const cutOff = await openAt(server.tcpUrl(proxy.port), 'fame');
    const change = { unit: 'turns' as const, endsAt: Date.now() + LEASE, used: 1, reserved: 0 };
    await cutOff.changeQuota('ada', [change]);
    // A commit that lasts for a second.
    server.sql(`CREATE FUNCTION fame.wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1); RETURN NULL; END';
      CREATE CONSTRAINT TRIGGER wait AFTER UPDATE ON fame.quota DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION fame.wait()`);
    const changing = cutOff.changeQuota('ada', [change]);
    await expect
      .poll(() => server.sql(`SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'`))
      .toEqual(['1']);
    proxy.hold('down');
    proxy.hold('up');
    await expect.poll(() => server.sql('SELECT used FROM fame.quota')).toEqual(['2']);
    proxy.cut();
    await openAt(server.url, 'fame');
    await expect.poll(() => server.sql('SELECT count(*) FROM fame.writer')).toEqual(['1']);
    proxy.release('down');
    proxy.release('up');
    await changing;
    expect(server.sql('SELECT used FROM fame.quota')).toEqual(['2']);
  });

  test('transactions are read committed, also if the default of the database is another level', async () => {
    const server = await startServer();
    server.sql(`ALTER DATABASE fame SET default_transaction_isolation = 'serializable'`);
    const stores = [await openAt(server.url, 'fame'), await openAt(server.url, 'fame')];
    const rollbacks = () => server.sql(`SELECT xact_rollback FROM pg_stat_database WHERE datname = 'fame'`);
    const before = rollbacks();
    const change = { unit: 'turns' as const, endsAt: Date.now() + LEASE, used: 1, reserved: 0 };
    await Promise.all(Array.from({ length: 40 }, (_, i) => stores[i % 2]!.changeQuota('ada', [change])));
    expect(server.sql('SELECT used FROM fame.quota')).toEqual(['40']);
    for (const store of stores) await store.close();
    expect(rollbacks()).toEqual(before);
  });

  test('transactions that lock the same conversations do not fail', async () => {
    const schema = newSchema();
    const stores = [await openAt(url, schema), await openAt(url, schema)];
    const ids = Array.from({ length: 20 }, (_, i) => `c${i}`);
    for (const id of ids) await begin(stores[0]!, id);
    const rounds = Array.from({ length: 30 }, async (_, i) => {
      const order = i % 2 === 0 ? ids : ids.toReversed();
      const change = { unit: 'turns' as const, endsAt: Date.now() + LEASE, used: 1, reserved: 0 };
      await stores[i % 2]!.changeQuota(i % 3 === 0 ? 'ada' : 'bob', [change]);
      return stores[i % 2]!.renew(order, LEASE);
    });
    const renewed = await Promise.all(rounds);
    expect(renewed.map((held) => held.length)).toEqual(renewed.map((_, i) => (i % 2 === 0 ? 20 : 0)));
  });

  describe('an error at opening has the place, the cause and the fix, and not the password', () => {
    const fails = async (storeUrl: string, code: string, ...words: string[]): Promise<void> => {
      const error = await openDatabaseStore(storeUrl).then(
        () => undefined,
        (caught: Error) => caught,
      );
      expect(error).toMatchObject({ code });
      for (const word of words) expect(error!.message).toContain(word);
      for (const text of [error!.message, error!.stack ?? '', JSON.stringify(error), String(error!.cause)])
        expect(text).not.toMatch(/hush|pass%2Fword/);
    };

    test('for a server that is not there, and for a wrong password or database', async () => {
      const server = await startServer();
      const at = `127.0.0.1:${server.port}`;
      await fails(`postgres://fame:hush@${at}/fame`, 'STORE_UNAVAILABLE', at, 'the user or the password');
      const other = server.tcpUrl().replace(/fame$/, 'none');
      await fails(other, 'STORE_UNAVAILABLE', `${at}/none`, 'does not exist', 'createdb');
      await server.stopNow();
      await fails(`postgres://fame:hush@${at}/fame`, 'STORE_UNAVAILABLE', at, 'ECONNREFUSED', 'start it');
    });

    test('for a schema of a newer version, of another program, and for a server without fsync', async () => {
      const server = await startServer();
      await (await openDatabaseStore(server.tcpUrl())).close();
      server.sql('INSERT INTO fame.migration VALUES (98, true)');
      await (await openDatabaseStore(server.tcpUrl())).close();
      server.sql('INSERT INTO fame.migration VALUES (99, false)');
      await fails(server.tcpUrl(), 'STORE_SCHEMA', 'version 99', 'newer version');
      server.sql('DROP SCHEMA fame CASCADE; CREATE SCHEMA fame; CREATE TABLE fame.theirs (a int)');
      await fails(server.tcpUrl(), 'STORE_SCHEMA', 'another program', 'FAME_STORE_URL');
      server.sql('DROP SCHEMA fame CASCADE');
      await server.stopNow();
      await server.resume({ fsync: 'off' });
      await fails(server.tcpUrl(), 'STORE_UNAVAILABLE', 'fsync = on');
    });
  });

  test.skipIf(!hasPooler())(
    'a pooler is refused in transaction mode, and works in session mode',
    async () => {
      const server = await startServer();
      await expect(openDatabaseStore(await startPooler(server, 'transaction'))).rejects.toMatchObject({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining('pool in session mode'),
      });
      expect(server.sql(`SELECT count(*) FROM information_schema.tables WHERE table_name = 'event'`)).toEqual(
        ['0'],
      );
      const store = await openAt(await startPooler(server, 'session'), 'fame');
      const other = await openAt(server.url, 'fame');
      await begin(store, 'c');
      await expect(other.acquire('c', LEASE)).rejects.toMatchObject({ code: 'STORE_CONFLICT' });
    },
  );

  test('several processes can create the tables at once', async () => {
    const schema = newSchema();
    const stores = await Promise.all(Array.from({ length: 6 }, () => openAt(url, schema)));
    const created = await Promise.all(
      stores.map((store) =>
        store.create({ id: 'c', agent: 'a', startCallId: 's', historyTurns: 1, totals: {}, started }),
      ),
    );
    expect(created.filter((one) => one.created)).toHaveLength(1);
  });

  test('the size of the store and of owners is the sum of the conversations', async () => {
    const schema = newSchema();
    const store = await openAt(url, schema);
    const add = (id: string, principal: string) =>
      store.create({ id, principal, agent: 'a', startCallId: id, historyTurns: 1, totals: {}, started });
    for (const id of ['a', 'b', 'c']) await add(id, 'ada');
    await add('d', 'bob');
    await add('e', 'local');
    const bytes = async () => (await store.sweep({})).bytes;
    const one = (await store.record('a'))!.chars;
    expect(await bytes()).toBe(5 * one);
    await store.trash('a');
    expect(await bytes()).toBe(5 * one);
    await store.remove('a');
    await store.remove('b');
    await store.remove('d');
    expect(await bytes()).toBe(2 * one);
    await store.trash('c');
    await store.restore('c');
    await store.remove('c');
    expect(await bytes()).toBe(one);
  });

  test('the client of PostgreSQL is loaded with the setting only', async () => {
    const load = async (config: object): Promise<string> => {
      const script = `
        const { createRequire } = await import('node:module');
        const { openStore } = await import('@fame-fabric/agents/internal');
        const { close } = await openStore(${JSON.stringify(config)});
        await close();
        console.log(Object.keys(createRequire('/').cache).some((file) => /node_modules.pg.lib/.test(file)));`;
      const flags = ['--conditions=fame-source', '--input-type=module', '-e', script];
      return (await promisify(execFile)(process.execPath, flags)).stdout.trim();
    };
    const limits = { conversationTtlDays: 1, storeMaxBytes: 0 };
    const server = await startServer();
    const dataDir = temporaryDirectory();
    expect(await load({ ...limits, dataDir })).toBe('false');
    expect(await load({ ...limits, dataDir, storeUrl: server.url })).toBe('true');
  });

  test('a character that PostgreSQL cannot store fails its own operation only', async () => {
    const store = await openAt(url, newSchema());
    const results = await Promise.allSettled([begin(store, 'a\0'), begin(store, 'b'), store.peek('c\0')]);
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'rejected']);
    expect(results[0]).toMatchObject({ reason: { code: 'PARAMS_INVALID' } });
  });
});
