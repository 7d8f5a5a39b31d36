// The policy and the removed keys of a cluster: changes at one sentinel take effect at the others, and old files do not undo them.
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CaptureLog, ManualClock } from '@fame-fabric/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Access, type Granted } from '../access/access.ts';
import { KeysChange } from '../access/keys-change.ts';
import { NamedKeys } from '../access/named-keys.ts';
import { ClusterPolicy } from '../access/policy/cluster-policy.ts';
import { PolicyFile } from '../access/policy/policy-file.ts';
import { RevokedKeys } from '../access/revoked-keys.ts';
import { OURS, settle } from '../testing/cluster-parts.ts';
import { MemoryBusServer } from '../testing/memory-bus.ts';
import { MemoryOwnerStore } from '../testing/memory-owners.ts';
import { makeTestParts } from '../testing/sentinel-parts.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'fame-rules-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const allow = (...principals: string[]): string =>
  `rules:\n  - { effect: allow, principal: [${principals.join(', ')}] }\n`;

function fabric() {
  const clock = new ManualClock(Date.parse('2026-11-29T12:00:00Z'));
  const server = new MemoryBusServer();
  const store = new MemoryOwnerStore(clock);
  const fileOf = (id: string, kind: 'keys' | 'policy') => join(directory, `${id}.${kind}`);
  const start = (id: string, { hasPolicy = false } = {}) => {
    const log = new CaptureLog();
    const revokedKeys = new RevokedKeys();
    const own = hasPolicy ? new PolicyFile(fileOf(id, 'policy'), log) : undefined;
    const rules = { policy: new ClusterPolicy(own, log), revokedKeys };
    const keys = new NamedKeys(fileOf(id, 'keys'), clock, log, revokedKeys);
    const access = new Access({ sources: [keys], isCredentialNeeded: true, clock });
    const bus = server.connect();
    const { policy } = rules;
    const parts = makeTestParts({ id, clock, bus, owners: store.tableOf(id), access, policy, rules });
    const grantedTo = (token: string): Granted | undefined => {
      const result = access.verify(token);
      return result instanceof Promise || !result.ok ? undefined : result;
    };
    const mayConnect = (name: string): boolean =>
      parts.guard.permissions.decide({ id: name, roles: ['client'] }, 'Connect').isAllowed;
    return { ...parts, log, clusterLog: parts.log, bus, grantedTo, mayConnect };
  };
  return {
    clock,
    server,
    store,
    start,
    keysFile: (id: string) => fileOf(id, 'keys'),
    writePolicy: (id: string, text: string) => writeFileSync(fileOf(id, 'policy'), text),
    /** The next sweep of a sentinel reads its files. */
    async sweep({ sweeper }: ReturnType<typeof start>): Promise<void> {
      sweeper.sweep();
      for (let i = 0; i < 4; i++) await settle();
    },
    async pass(seconds: number): Promise<void> {
      for (let i = 0; i < seconds; i++) {
        clock.advance(1_000);
        for (let turn = 0; turn < 4; turn++) await settle();
      }
    },
  };
}

/** Two sentinels with the same keys, and a node with a key at the second. */
async function withKeys() {
  const { clock, keysFile, start, ...rest } = fabric();
  const change = new KeysChange(keysFile('A'), clock);
  const { token } = await change.add({ name: 'ada', role: 'agent' });
  copyFileSync(keysFile('A'), keysFile('B'));
  copyFileSync(keysFile('A'), keysFile('C'));
  const [A, B] = [start('A'), start('B')];
  await rest.pass(2);
  const node = B.attach('node', { ...OURS, principal: B.grantedTo(token)!.principal });
  return { ...rest, clock, change, keysFile, start, token, A, B, node };
}

test('a key that is removed at one sentinel is refused at the others, and its nodes are closed', async () => {
  const { A, B, change, node, sweep, token, clock } = await withKeys();
  const now = clock.monotonic();
  await change.remove('ada');
  await sweep(A);
  expect([A, B].map(({ grantedTo }) => grantedTo(token))).toEqual([undefined, undefined]);
  expect(node.transport.closed).toMatchObject({ code: 4410 });
  expect(clock.monotonic()).toBe(now);
  expect(B.log.messages('warn')).toContainEqual(expect.stringMatching(/^keys of the keys file were removed/));
});

test('a rotated key is refused at the others when its overlap ends', async () => {
  const { A, B, change, node, sweep, token, clock } = await withKeys();
  await change.rotate('ada', { overlapMs: 60_000 });
  await sweep(A);
  expect(B.grantedTo(token)).toBeDefined();
  clock.advance(60_000);
  await sweep(B);
  expect(B.grantedTo(token)).toBeUndefined();
  expect(node.transport.closed).toMatchObject({ code: 4410 });
});

test('a sentinel that starts with an old keys file refuses the removed key', async () => {
  const { A, change, pass, start, sweep, token } = await withKeys();
  await change.remove('ada');
  await sweep(A);
  const C = start('C');
  await C.cluster!.whenReady();
  expect(C.grantedTo(token)).toBeUndefined();
  await pass(2);
  expect(C.grantedTo(token)).toBeUndefined();
});

test('a key that returns to the file where it was removed is valid again', async () => {
  const { A, B, change, keysFile, sweep, token } = await withKeys();
  await change.remove('ada');
  await sweep(A);
  copyFileSync(keysFile('C'), keysFile('A'));
  await sweep(A);
  expect([A, B].map(({ grantedTo }) => grantedTo(token)?.principal.id)).toEqual(['ada', 'ada']);
});

test('a key that was removed while JetStream was away is refused when it is back, also after a wipe', async () => {
  const { A, B, change, pass, store, sweep, token } = await withKeys();
  store.isAvailable = false;
  await pass(2);
  expect(A.clusterLog.messages('warn')).toContainEqual(
    expect.stringMatching(/do not reach the other sentinels$/),
  );
  await change.remove('ada');
  await sweep(A);
  expect(B.grantedTo(token)).toBeDefined();
  store.isAvailable = true;
  store.wipe();
  await pass(3);
  expect(B.grantedTo(token)).toBeUndefined();
  store.wipe();
  await pass(3);
  expect([...store.texts.keys()]).toContain('refused-keys');
  expect(B.grantedTo(token)).toBeUndefined();
});

test('a removed key stays refused if a sentinel that does not know it writes first after a wipe of JetStream', async () => {
  const { A, B, change, clock, keysFile, start, store, sweep, token } = await withKeys();
  await change.remove('ada');
  await sweep(A);
  const ofC = new KeysChange(keysFile('C'), clock);
  await ofC.add({ name: 'bob', role: 'agent' });
  store.wipe();
  const C = start('C');
  await C.cluster!.whenReady();
  await ofC.remove('bob');
  await sweep(C);
  expect([A, B, C].map(({ grantedTo }) => grantedTo(token))).toEqual([undefined, undefined, undefined]);
  copyFileSync(keysFile('C'), keysFile('A'));
  await sweep(A);
  expect([A, B, C].map(({ grantedTo }) => grantedTo(token)?.principal.id)).toEqual(['ada', 'ada', 'ada']);
});

test('a text of the removed keys that no sentinel wrote makes none of them valid', async () => {
  const { A, B, change, pass, store, sweep, token } = await withKeys();
  await change.remove('ada');
  await sweep(A);
  const { revision } = store.texts.get('refused-keys')!;
  store.texts.set('refused-keys', { text: '{"keys":', revision });
  await pass(2);
  expect(B.grantedTo(token)).toBeUndefined();
  expect(store.texts.get('refused-keys')!.text).toMatch(/^\[\[/);
});

test('a changed policy takes effect at all sentinels, also at those without a policy file', async () => {
  const { clock, pass, start, sweep, writePolicy } = fabric();
  for (const id of ['A', 'B']) writePolicy(id, allow('ada', 'bob'));
  const [A, B, C] = [start('A', { hasPolicy: true }), start('B', { hasPolicy: true }), start('C')];
  await pass(2);
  const nodes = [B, C].map((sentinel) =>
    sentinel.attach('node', { ...OURS, principal: { id: 'bob', roles: ['client'] } }),
  );
  const now = clock.monotonic();
  writePolicy('A', allow('ada'));
  await sweep(A);
  expect([A, B, C].map(({ mayConnect }) => [mayConnect('ada'), mayConnect('bob')])).toEqual(
    Array(3).fill([true, false]),
  );
  expect(nodes.map(({ transport }) => transport.closed?.code)).toEqual([4410, 4410]);
  expect(clock.monotonic()).toBe(now);
});

test('a sentinel that starts with an earlier policy takes the present one, and one with a new policy replaces it', async () => {
  const { pass, start, sweep, writePolicy } = fabric();
  for (const id of ['A', 'B']) writePolicy(id, allow('ada', 'bob'));
  const A = start('A', { hasPolicy: true });
  await pass(2);
  writePolicy('A', allow('ada'));
  await sweep(A);
  const B = start('B', { hasPolicy: true });
  await B.cluster!.whenReady();
  await pass(1);
  expect([A, B].map(({ mayConnect }) => mayConnect('bob'))).toEqual([false, false]);
  expect(B.clusterLog.messages('warn')).toContainEqual(
    expect.stringMatching(/^the policy file is an earlier policy/),
  );
  writePolicy('C', allow('carol'));
  const C = start('C', { hasPolicy: true });
  await pass(3);
  expect([A, B, C].map(({ mayConnect }) => [mayConnect('ada'), mayConnect('carol')])).toEqual(
    Array(3).fill([false, true]),
  );
});

test('a policy survives a wipe of JetStream, with the knowledge of the earlier ones', async () => {
  const { pass, start, store, sweep, writePolicy } = fabric();
  for (const id of ['A', 'B']) writePolicy(id, allow('ada', 'bob'));
  const A = start('A', { hasPolicy: true });
  await pass(2);
  writePolicy('A', allow('ada'));
  await sweep(A);
  store.wipe();
  await pass(3);
  const B = start('B', { hasPolicy: true });
  await pass(2);
  expect([A, B].map(({ mayConnect }) => mayConnect('bob'))).toEqual([false, false]);
});

test('after a wipe, the policy of a sentinel that missed the last change does not return', async () => {
  const { pass, start, store, sweep, writePolicy } = fabric();
  for (const id of ['A', 'B']) writePolicy(id, allow('ada', 'bob'));
  const [A, B] = [start('A', { hasPolicy: true }), start('B', { hasPolicy: true })];
  await pass(2);
  B.bus.connect(false);
  writePolicy('A', allow('ada'));
  await sweep(A);
  A.bus.connect(false);
  store.wipe();
  B.bus.connect(true);
  await pass(3);
  expect(JSON.parse(store.texts.get('policy')!.text!)).toMatchObject({ text: allow('ada', 'bob') });
  A.bus.connect(true);
  await pass(3);
  expect([A, B].map(({ mayConnect }) => mayConnect('bob'))).toEqual([false, false]);
});

test('after a wipe, no earlier policy returns if a sentinel with an old file writes first', async () => {
  const { pass, start, store, sweep, writePolicy } = fabric();
  const policies = [allow('ada', 'bob', 'carol'), allow('ada', 'bob'), allow('ada')] as const;
  writePolicy('A', policies[0]);
  const A = start('A', { hasPolicy: true });
  await pass(2);
  for (const policy of policies.slice(1)) {
    writePolicy('A', policy);
    await sweep(A);
  }
  store.wipe();
  writePolicy('B', policies[1]);
  const B = start('B', { hasPolicy: true });
  await B.cluster!.whenReady();
  await pass(2);
  writePolicy('C', policies[0]);
  const C = start('C', { hasPolicy: true });
  await pass(2);
  expect([A, B, C].map(({ mayConnect }) => ['ada', 'bob', 'carol'].map(mayConnect))).toEqual(
    Array(3).fill([true, false, false]),
  );
});

test('a policy that this version cannot read leaves the last one in force, and is logged once', async () => {
  const { pass, start, store, writePolicy } = fabric();
  writePolicy('A', allow('ada'));
  const A = start('A', { hasPolicy: true });
  await pass(2);
  const { revision } = store.texts.get('policy')!;
  const text = JSON.stringify({ sentinel: 'newer', text: 'rules: [{ effect: perhaps }]', earlier: [] });
  store.texts.set('policy', { text, revision: revision + 1 });
  await pass(4);
  expect(A.mayConnect('ada')).toBe(true);
  expect(A.log.messages('error').filter((one) => one.startsWith('this sentinel cannot read'))).toHaveLength(
    1,
  );
});

test('a sentinel without a policy does not start with one of the cluster that it cannot read', async () => {
  const { pass, start, store, writePolicy } = fabric();
  writePolicy('A', allow('ada'));
  const A = start('A', { hasPolicy: true });
  await pass(2);
  const { revision } = store.texts.get('policy')!;
  const text = JSON.stringify({ sentinel: 'newer', text: 'rules: [{ effect: perhaps }]', earlier: [] });
  store.texts.set('policy', { text, revision });
  await expect(start('B').cluster!.whenReady()).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  await expect(A.cluster!.whenReady()).resolves.toBeUndefined();
});

test('a policy file that changes while NATS is away takes effect here, and at the others later', async () => {
  const { pass, start, sweep, writePolicy } = fabric();
  for (const id of ['A', 'B']) writePolicy(id, allow('ada', 'bob'));
  const [A, B] = [start('A', { hasPolicy: true }), start('B', { hasPolicy: true })];
  await pass(2);
  A.bus.connect(false);
  writePolicy('A', allow('ada'));
  await sweep(A);
  expect([A, B].map(({ mayConnect }) => mayConnect('bob'))).toEqual([false, true]);
  A.bus.connect(true);
  await pass(2);
  expect([A, B].map(({ mayConnect }) => mayConnect('bob'))).toEqual([false, false]);
});
