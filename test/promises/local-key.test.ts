// The local key of a sentinel at the wire: the rights of nodes with and without it.
import { existsSync, statSync } from 'node:fs';
import { defineAgent, operation } from '@fame-fabric/agents';
import { type Dial, Link, webDial } from '@fame-fabric/shared';
import { localKeyFile, rotateLocalKey, sidOf, wsDial } from '@fame-fabric/shared/node';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { runFame, startOurAgent } from '../kit/commands.ts';
import { RawNodes, type RawOptions } from '../kit/raw-node.ts';
import {
  fetchWithKey,
  localKey,
  type OurSentinel,
  startOurSentinel,
  temporaryDirectory,
} from '../kit/sentinel.ts';

const WRONG = `fk_local_${'W'.repeat(43)}`;

let sentinel: OurSentinel;
const nodes = new RawNodes(() => sentinel.url);
beforeEach(async () => {
  sentinel = await startOurSentinel();
});
afterEach(async () => {
  await nodes.closeAll();
  await sentinel.proc.stop();
});

const key = (): string => localKey(sentinel.dataDir);
const header = (token: string): RawOptions => ({ ws: { headers: { authorization: `Bearer ${token}` } } });

test('a start writes a private key, and a restart keeps it', async () => {
  const before = key();
  expect(before).toMatch(/^fk_local_[\w-]{43}$/);
  expect(statSync(localKeyFile(sentinel.dataDir)).mode & 0o777).toBe(0o600);
  await sentinel.proc.stop();
  sentinel = await startOurSentinel({ dataDir: sentinel.dataDir });
  expect(key()).toBe(before);
});

describe('at an attach', () => {
  test('no key attaches', async () => {
    expect((await nodes.attached()).ack.frame.ok).toBe(true);
  });

  test('the key attaches as a header, and as a subprotocol, which is answered by its name alone', async () => {
    expect((await nodes.attached(header(key()))).ack.frame.ok).toBe(true);
    const page = await nodes.attached({ protocols: ['bearer', key()] });
    expect(page.socket.protocol).toBe('bearer');
  });

  test.each<[string, RawOptions]>([
    ['a wrong header', header(WRONG)],
    ['a header of another scheme', { ws: { headers: { authorization: 'Basic YTpi' } } }],
    ['a wrong subprotocol', { protocols: ['bearer', WRONG] }],
    ['a JWT of another issuer', { protocols: ['bearer', 'eyJhbGciOiJub25lIn0.e30.'] }],
    ['a subprotocol without a token', { protocols: ['bearer'] }],
  ])('%s is refused with a code, a fix and 1008', async (_name, options) => {
    const node = await nodes.open(options);
    const refused = node.attach();
    await expect(refused).rejects.toThrow(/AUTH_INVALID/);
    expect(node.ack.frame).toMatchObject({ ok: false, code: 'AUTH_INVALID' });
    expect(await node.closed).toMatchObject({ code: 1008 });
    expect(JSON.stringify(node.ack)).not.toContain(WRONG);
    expect(sentinel.proc.output).not.toContain(WRONG);
  });
});

test('a rotation is seen by a running sentinel: old sessions end with 4410 within 5 s, the new key attaches', async () => {
  const old = key();
  const [holder, stranger] = await Promise.all([nodes.attached(header(old)), nodes.attached()]);
  const startedAt = performance.now();
  rotateLocalKey(sentinel.dataDir);
  await expect(nodes.attached(header(old))).rejects.toThrow(/AUTH_INVALID/);
  expect((await nodes.attached(header(key()))).ack.frame.ok).toBe(true);
  expect((await holder.closed).code).toBe(4410);
  expect(performance.now() - startedAt).toBeLessThan(5_000);
  expect(stranger.isClosed).toBe(false);
});

describe('over HTTP', () => {
  const PAGES = ['/fame/v1/nodes', '/fame/v1/trace', '/metrics'];
  const OPEN = ['/healthz', '/readyz', '/fame/v1/attach/health'];
  const get = async (path: string, headers: Record<string, string> = {}, method = 'GET') => {
    const ended = new AbortController();
    const answer = await fetch(`${sentinel.http}${path}`, { headers, method, signal: ended.signal });
    const text = answer.status === 200 ? '' : await answer.text();
    ended.abort();
    return { status: answer.status, text, challenge: answer.headers.get('www-authenticate') };
  };

  test.each(PAGES)('X5: %s needs the key', async (path) => {
    const without = await get(path);
    expect(without).toMatchObject({ status: 401, challenge: 'Bearer' });
    expect(JSON.parse(without.text)).toEqual({
      error: { code: 'AUTH_MISSING', message: expect.stringContaining('file `token`') },
    });
    expect((await get(path, {}, 'HEAD')).status).toBe(401);
    expect((await get(`${path}?token=${key()}&access_token=${key()}`)).status).toBe(401);
    expect((await get(path, { cookie: `token=${key()}` })).status).toBe(401);
    expect((await get(path, { 'sec-websocket-protocol': `bearer, ${WRONG}` })).status).toBe(401);
    const wrong = await get(path, { authorization: `Bearer ${WRONG}` });
    expect(wrong.status).toBe(401);
    expect(JSON.parse(wrong.text).error.code).toBe('AUTH_INVALID');
    expect(wrong.text).not.toContain(WRONG);
    expect((await get(path, { authorization: `Bearer ${key()}` })).status).toBe(200);
  });

  test.each(OPEN)('%s needs no key, and ignores a wrong one', async (path) => {
    expect((await get(path)).status).toBe(200);
    expect((await get(path, { authorization: `Bearer ${WRONG}` })).status).toBe(200);
  });

  test('HD20: readers without the key take no reader slot of the trace', async () => {
    await Promise.all(Array.from({ length: 20 }, () => get('/fame/v1/trace')));
    const readers = Array.from({ length: 8 }, () => {
      const abort = new AbortController();
      const answer = fetchWithKey(sentinel, '/fame/v1/trace', { signal: abort.signal });
      return { abort, answer };
    });
    expect(await Promise.all(readers.map(async ({ answer }) => (await answer).status))).toEqual(
      Array(8).fill(200),
    );
    expect((await fetchWithKey(sentinel, '/fame/v1/trace')).status).toBe(429);
    for (const { abort } of readers) abort.abort();
  });

  test('a trace ends when its key was rotated, before it shows more', async () => {
    const trace = await fetchWithKey(sentinel, '/fame/v1/trace');
    const text = trace.text();
    rotateLocalKey(sentinel.dataDir);
    const node = await nodes.attached();
    await node.serve('late@fame.fabric');
    expect(await text).toBe('');
  });

  test('the list of nodes shows the principal of each session', async () => {
    const [holder, stranger] = await Promise.all([nodes.attached(header(key())), nodes.attached()]);
    const { nodes: listed } = (await (await fetchWithKey(sentinel, '/fame/v1/nodes')).json()) as {
      nodes: { path: string; principal: string }[];
    };
    const principalOf = (path: string) => listed.find((node) => node.path === path)?.principal;
    expect([principalOf(holder.path), principalOf(stranger.path)]).toEqual(['local', 'anonymous']);
  });
});

describe('commands', () => {
  const run = (args: string[], env: Record<string, string> = {}) => runFame({ url: sentinel.url, env }, args);

  test('ps works in the directory of the sentinel, by the file and by the variable', async () => {
    for (const env of [
      { FAME_DATA_DIR: sentinel.dataDir },
      { FAME_ADMISSION_TOKEN_FILE: localKeyFile(sentinel.dataDir) },
      { FAME_ADMISSION_TOKEN: key() },
    ]) {
      const ps = await run(['ps'], env);
      expect(ps.output).toContain('0 attached');
      expect(ps.code).toBe(0);
    }
  });

  test.each([['ps'], ['trace']])('%s elsewhere names the fix, and exits with 1', async (verb) => {
    const none = await run([verb]);
    expect(none.output).toMatch(
      /needs a key for this, and there is no file \S+\/token\..*FAME_DATA_DIR.*\(AUTH_MISSING\)/,
    );
    expect(none.code).toBe(1);
    const wrong = await run([verb], { FAME_ADMISSION_TOKEN: WRONG });
    expect(wrong.output).toMatch(
      /refused the key from FAME_ADMISSION_TOKEN.*FAME_DATA_DIR.*\(AUTH_INVALID\)/,
    );
    expect(wrong.code).toBe(1);
    expect(wrong.output).not.toContain(WRONG);
  });

  test('doctor elsewhere finds the sentinel, reports the missing key with its fix, and checks the rest', async () => {
    const doctor = await run(['doctor']);
    expect(doctor.output).toMatch(/ok +sentinel/);
    expect(doctor.output).toMatch(/fix +key .*FAME_DATA_DIR/);
    expect(doctor.output).toMatch(/ok +attach/);
    const withKey = await run(['doctor'], { FAME_DATA_DIR: sentinel.dataDir });
    expect(withKey.output).toMatch(/ok +key /);
    expect(doctor.output + withKey.output).not.toContain(key());
  });

  test('call works without a key; with a wrong variable it names the fix; a found key of another sentinel is dropped', async () => {
    const agent = await startOurAgent({ url: sentinel.url }, 'math');
    const add = ['call', 'math@fame.fabric', 'add', '{"x":1,"y":2}'];
    expect((await run(add)).stdout).toBe('3\n');
    const wrong = await run(add, { FAME_ADMISSION_TOKEN: WRONG });
    expect(wrong).toMatchObject({ code: 1, stdout: '' });
    expect(wrong.output).toMatch(/refused the key from FAME_ADMISSION_TOKEN.*\(AUTH_INVALID\)/);
    const other = temporaryDirectory();
    rotateLocalKey(other);
    const dropped = await run(add, { FAME_DATA_DIR: other });
    expect(dropped).toMatchObject({ code: 0, stdout: '3\n' });
    expect(dropped.output).toContain(`The key in ${localKeyFile(other)} is not that of this sentinel`);
    await agent.stop();
  });

  test('key rotate local: an agent that reads the file returns by itself, as local, and is called again', async () => {
    const env = { FAME_DATA_DIR: sentinel.dataDir };
    const agent = await startOurAgent({ url: sentinel.url, env }, 'math');
    const old = key();
    const rotated = await run(['key', 'rotate', 'local'], env);
    expect(rotated.code).toBe(0);
    expect(rotated.output).not.toMatch(/fk_local_/);
    expect(key()).not.toBe(old);
    await agent.waitFor(/4410/);
    await agent.waitFor(/reattached/);
    const add = ['call', 'math@fame.fabric', 'add', '{"x":1,"y":2}'];
    expect((await run(add, env)).stdout).toBe('3\n');
    expect((await run(['ps'], env)).stdout).toMatch(/attached +local +math@fame\.fabric/);
    for (const secret of [old, key()]) expect(agent.output + sentinel.proc.output).not.toContain(secret);
    await agent.stop();
  });

  test('key alone prints its help, and makes no key where there is none', async () => {
    expect((await run(['key'])).stdout).toContain('npx fame-fabric key rotate local');
    const empty = temporaryDirectory();
    const rotated = await run(['key', 'rotate', 'local'], { FAME_DATA_DIR: empty });
    expect(rotated.code).toBe(1);
    expect(rotated.output).toContain('There is no local key here');
    expect(existsSync(localKeyFile(empty))).toBe(false);
    expect((await run(['key', 'rotate', 'other'])).code).toBe(2);
  });
});

describe('context.caller', () => {
  const links: Link[] = [];
  afterEach(async () => {
    await Promise.all(links.splice(0).map((link) => link.close()));
  });
  const connect = async (token?: string, dial: Dial = wsDial): Promise<Link> => {
    const link = new Link({ url: sentinel.url, dial, sidOf, token });
    links.push(link);
    await link.connect();
    return link;
  };
  const whoAgent = defineAgent({
    address: 'who@fame.fabric',
    operations: {
      who: operation({ run: (_, context) => context.caller }),
      who_stream: operation({
        async *run(_, context) {
          yield await context.caller;
        },
      }),
    },
  });

  test.each([true, false])(
    'is local for a caller with the key, also if the agent has it: %s',
    async (agentHasKey) => {
      await whoAgent.serve(await connect(agentHasKey ? key() : undefined));
      const [holder, stranger] = await Promise.all([connect(key()), connect()]);
      const local = {
        principal: 'local',
        roles: ['admin'],
        rights: { conversations: 'any' },
        path: holder.path,
      };
      expect(await holder.call('who@fame.fabric', 'who')).toEqual(local);
      expect(await stranger.call('who@fame.fabric', 'who')).toEqual({
        principal: 'anonymous',
        roles: [],
        rights: { conversations: 'own' },
        path: stranger.path,
      });
      const items: unknown[] = [];
      for await (const item of holder.stream('who@fame.fabric', 'who_stream')) items.push(item);
      expect(items).toEqual([local]);
    },
  );

  test('is local for a page with the key; a page with a wrong one learns the reason', async () => {
    await whoAgent.serve(await connect());
    const page = await connect(key(), webDial);
    expect(await page.call('who@fame.fabric', 'who')).toMatchObject({ principal: 'local' });
    await expect(connect(WRONG, webDial)).rejects.toMatchObject({ code: 'AUTH_INVALID' });
  });

  test('is not taken over with the path of a caller', async () => {
    await whoAgent.serve(await connect());
    const stranger = await nodes.attached({ systemId: 'shared-name' });
    // The stranger names a longer path below its own: it has no session there.
    const answer = await stranger.call(
      'who@fame.fabric',
      'who',
      {},
      { replyTo: `__rpc__x@${stranger.path}/deeper` },
    );
    expect(answer.frame.payload.result.principal).toBe('anonymous');
    await stranger.cut();
    // In its resume window the session belongs to its principal: the holder gets another path.
    const holder = await nodes.attached({ systemId: 'shared-name', ...header(key()) });
    expect(holder.path).not.toBe(stranger.path);
    expect((await holder.call('who@fame.fabric', 'who', {})).frame.payload.result.principal).toBe('local');
  });
});
