// Rule 6 of hardening at the wire: the local key of a sentinel, what it opens, and what a node may do without it.
import { readFileSync, statSync } from 'node:fs';
import { localKeyFile, rotateLocalKey } from '@fame-fabric/shared/node';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { RawNode, type RawOptions } from '../kit/raw-node.ts';
import { type OurSentinel, startOurSentinel } from '../kit/sentinel.ts';

const WRONG = `fk_local_${'W'.repeat(43)}`;

let sentinel: OurSentinel;
const nodes: RawNode[] = [];
beforeEach(async () => {
  sentinel = await startOurSentinel();
});
afterEach(async () => {
  for (const node of nodes.splice(0)) node.socket.terminate();
  await sentinel.proc.stop();
});

const key = (): string => readFileSync(localKeyFile(sentinel.dataDir), 'utf8').trim();
const header = (token: string): RawOptions => ({ ws: { headers: { authorization: `Bearer ${token}` } } });
const attached = async (options: RawOptions = {}): Promise<RawNode> => {
  const node = await RawNode.attached(sentinel.url, options);
  nodes.push(node);
  return node;
};

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
    expect((await attached()).ack.frame.ok).toBe(true);
  });

  test('the key attaches as a header, and as a subprotocol, which is answered by its name alone', async () => {
    expect((await attached(header(key()))).ack.frame.ok).toBe(true);
    const page = await attached({ protocols: ['bearer', key()] });
    expect(page.socket.protocol).toBe('bearer');
  });

  test.each<[string, RawOptions]>([
    ['a wrong header', header(WRONG)],
    ['a header of another scheme', { ws: { headers: { authorization: 'Basic YTpi' } } }],
    ['a wrong subprotocol', { protocols: ['bearer', WRONG] }],
    ['a JWT of another issuer', { protocols: ['bearer', 'eyJhbGciOiJub25lIn0.e30.'] }],
    ['a subprotocol without a token', { protocols: ['bearer'] }],
  ])('%s is refused with a code, a fix and 1008', async (_name, options) => {
    const node = await RawNode.open(sentinel.url, options);
    nodes.push(node);
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
  const [holder, stranger] = await Promise.all([attached(header(old)), attached()]);
  const startedAt = performance.now();
  rotateLocalKey(sentinel.dataDir);
  await expect(attached(header(old))).rejects.toThrow(/AUTH_INVALID/);
  expect((await attached(header(key()))).ack.frame.ok).toBe(true);
  expect((await holder.closed).code).toBe(4410);
  expect(performance.now() - startedAt).toBeLessThan(5_000);
  expect(stranger.isClosed).toBe(false);
});
