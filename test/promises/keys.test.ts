// A sentinel with keys at the wire: who attaches, what ends, and the line at its start. `test/crash/keys-commands.test.ts` has the
// commands and libraries.
import { KeysChange } from '@fame-fabric/sentinel/internal';
import { systemClock } from '@fame-fabric/shared';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { RawNodes, type RawOptions } from '../kit/raw-node.ts';
import {
  fetchWithKey,
  localKey,
  type OurSentinel,
  startOurSentinel,
  temporaryDirectory,
} from '../kit/sentinel.ts';

let sentinel: OurSentinel;
let keys: KeysChange;
const tokens: Record<string, string> = {};
const nodes = new RawNodes(() => sentinel.url);
beforeAll(async () => {
  const dataDir = temporaryDirectory();
  keys = new KeysChange(`${dataDir}/keys`, systemClock);
  for (const [name, role] of [
    ['client', 'client'],
    ['hub', 'sentinel'],
    ['root', 'admin'],
  ] as const)
    tokens[name] = (await keys.add({ name, role })).token;
  sentinel = await startOurSentinel({
    dataDir,
    env: { FAME_LOG_LEVEL: 'info', FAME_PEER_IDS: 'peer-1' },
  });
});
afterEach(() => nodes.closeAll());
afterAll(() => sentinel.proc.stop());

const bearer = (token: string): RawOptions => ({ ws: { headers: { authorization: `Bearer ${token}` } } });
const get = (path: string, token: string, signal?: AbortSignal) =>
  fetch(`${sentinel.http}${path}`, {
    headers: { authorization: `Bearer ${token}` },
    ...(signal && { signal }),
  });

test('G9: one line at the start states what is checked and what is not', () => {
  expect(sentinel.proc.output.match(/A credential is needed to attach and call: .*/g)).toEqual([
    expect.stringMatching(
      /the local key, or one of 3 keys in .*\/keys\. Checked: .* Connections are not encrypted\./,
    ),
  ]);
});

test.each<[string, () => RawOptions, string]>([
  ['no credential', () => ({}), 'AUTH_MISSING'],
  ['an unknown key', () => bearer(`fk_0123456789ab_${'W'.repeat(43)}`), 'AUTH_INVALID'],
  ['a wrong secret', () => bearer(`${tokens.client!.slice(0, -1)}~`), 'AUTH_INVALID'],
])('%s is refused with %s and 1008', async (_name, options, code) => {
  const node = await nodes.open(options());
  await expect(node.attach()).rejects.toThrow(code);
  expect(node.ack.frame).toMatchObject({ ok: false, code });
  expect((await node.closed).code).toBe(1008);
});

test('the local key and the keys of the file attach, and the ack names the principal', async () => {
  const acks = [];
  for (const token of [localKey(sentinel.dataDir), tokens.client!]) {
    acks.push((await nodes.attached(bearer(token))).ack.frame.principal);
    acks.push((await nodes.attached({ protocols: ['bearer', token] })).ack.frame.principal);
  }
  const [local, client] = [
    { id: 'local', roles: ['admin'] },
    { id: 'client', roles: ['client'] },
  ];
  expect(acks).toEqual([local, local, client, client]);
});

test('a peer needs the role sentinel beside its configured id', async () => {
  const peer = { systemId: 'peer-1', kind: 'peer', attach: { originType: 'peer' } } as const;
  await expect(nodes.attached({ ...peer, ...bearer(tokens.client!) })).rejects.toThrow('AUTH_FORBIDDEN');
  expect((await nodes.attached({ ...peer, ...bearer(tokens.hub!) })).ack.frame.ok).toBe(true);
});

test('pages with names need the role admin; health checks and /version need no key', async () => {
  for (const path of ['/fame/v1/nodes', '/metrics']) {
    const refused = await get(path, tokens.client!);
    expect(refused.status).toBe(403);
    expect(await refused.json()).toMatchObject({ error: { code: 'AUTH_FORBIDDEN' } });
    expect((await fetch(`${sentinel.http}${path}`)).status).toBe(401);
    expect((await get(path, tokens.root!)).status).toBe(200);
  }
  for (const path of ['/healthz', '/version', '/'])
    expect((await fetch(`${sentinel.http}${path}`)).status).toBe(200);
});

test('G3: a running sentinel sees new and removed keys: nodes end with 4410 and traces end, within 5 s', async () => {
  const { token: late } = await keys.add({ name: 'late', role: 'admin' });
  const [node, other] = await Promise.all([
    nodes.attached(bearer(late)),
    nodes.attached(bearer(tokens.client!)),
  ]);
  const trace = await get('/fame/v1/trace', late);
  const expiresAt = systemClock.now() + 3_000;
  const { token: brief } = await keys.add({ name: 'brief', role: 'client', expiresAt });
  const briefNode = await nodes.attached(bearer(brief));
  const removedAt = performance.now();
  await keys.remove('late');
  await expect(nodes.attached(bearer(late))).rejects.toThrow('AUTH_INVALID');
  expect((await node.closed).code).toBe(4410);
  await trace.text();
  expect(performance.now() - removedAt).toBeLessThan(5_000);
  expect((await briefNode.closed).code).toBe(4410);
  expect(systemClock.now() - expiresAt).toBeLessThan(5_000);
  expect(other.isClosed).toBe(false);
  await expect(nodes.attached(bearer(brief))).rejects.toThrow('The key "brief" has expired');
});

test('the list of nodes and the log name principals, and no output has a key', async () => {
  await nodes.attached(bearer(tokens.client!));
  const { nodes: listed } = (await (await fetchWithKey(sentinel, '/fame/v1/nodes')).json()) as {
    nodes: { principal: string }[];
  };
  expect(listed.map(({ principal }) => principal)).toContain('client');
  for (const token of [localKey(sentinel.dataDir), ...Object.values(tokens)])
    expect(sentinel.proc.output).not.toContain(token.slice(-43));
});
