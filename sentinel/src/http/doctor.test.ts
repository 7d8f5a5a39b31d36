// The checks of the doctor: each fault with its fix.
import { expect, test } from 'vitest';
import { Access } from '../access/access.ts';
import type { ClusterStatus } from '../cluster/status.ts';
import { History } from '../observe/history.ts';
import { makeTestParts, type TestOptions } from '../testing/sentinel-parts.ts';
import { type DoctorDeps, type DoctorOptions, runChecks } from './doctor.ts';

const DAY_MS = 86_400_000;

function make(options: TestOptions & { isCredentialNeeded?: boolean } = {}) {
  const access = new Access({ sources: [], isCredentialNeeded: options.isCredentialNeeded });
  const parts = makeTestParts({ ...options, access });
  const history = new History(parts);
  const deps: DoctorDeps = {
    ...parts,
    access,
    history,
    uplinks: [],
    isReady: () => true,
    doors: undefined,
  };
  const check = (more: Partial<DoctorDeps> = {}, limits: Partial<DoctorOptions> = {}) => {
    const checks = runChecks({ ...deps, ...more }, { host: '127.0.0.1', maxSessions: 10, ...limits });
    for (const { status, fix } of checks) expect(fix === undefined).toBe(status === 'ok');
    return Object.fromEntries(checks.map((one) => [one.name, one]));
  };
  return { ...parts, check };
}

const chat = { chatAddress: 'chat@fame.fabric', claims: () => false, open: () => Promise.reject() };

test('a healthy sentinel passes all checks', () => {
  const { attach, check } = make();
  attach('agent').bind('chat@fame.fabric');
  const checks = check({ doors: chat });
  expect(Object.keys(checks)).toEqual([
    'readiness',
    'credentials',
    'chat agent',
    'sessions',
    'queues',
    'memory',
  ]);
  expect(Object.values(checks).map(({ status }) => status)).toEqual(Array(6).fill('ok'));
});

test('a chat agent at another sentinel of the cluster', () => {
  const { check } = make();
  const remoteAddresses = new Set(['chat@fame.fabric']);
  expect(check({ doors: chat, remoteAddresses })['chat agent']?.status).toBe('ok');
  expect(check({ doors: chat, remoteAddresses: new Set() })['chat agent']?.status).toBe('warning');
});

test('lost sentinels of the cluster', () => {
  const { check } = make();
  const cluster = (lost: ClusterStatus['lost']): DoctorDeps['cluster'] => ({
    status: { name: 'prod', state: 'connected', recordsOwners: true, members: [], lost },
    nodes: () => Promise.reject(),
    addresses: () => Promise.reject(),
    act: () => undefined,
    watch: () => () => {},
  });
  expect(check({ cluster: cluster([]) })['cluster links']).toBeUndefined();
  const b = { id: 'b', path: '/b', software: 'fame-fabric/0.2.0', lostAt: 0 };
  expect(check({ cluster: cluster([b]) })['cluster links']).toMatchObject({
    status: 'warning',
    message: 'The link to these sentinels was lost: b.',
  });
});

test('a sentinel that drains', () => {
  expect(make().check({ isReady: () => false }).readiness?.status).toBe('failure');
});

test.each([
  ['127.0.0.1', false, false, 'ok'],
  ['0.0.0.0', false, false, 'warning'],
  ['0.0.0.0', true, false, 'warning'],
  ['0.0.0.0', true, true, 'ok'],
  ['127.0.0.1', true, false, 'ok'],
] as const)('on %s, with credentials %s and TLS %s: %s', (host, isCredentialNeeded, hasTls, status) => {
  const { check, clock } = make({ isCredentialNeeded });
  const tls = hasTls ? { validTo: clock.now() + 90 * DAY_MS } : undefined;
  expect(check({ tls }, { host }).credentials?.status).toBe(status);
});

test.each([
  [90, 'ok'],
  [13, 'warning'],
  [-1, 'failure'],
])('a certificate with %s days left: %s', (days, status) => {
  const { check, clock } = make();
  expect(check({ tls: { validTo: clock.now() + days * DAY_MS } }).certificate?.status).toBe(status);
});

test('a chat agent that is absent, and one that lost its connection', () => {
  const { attach, check } = make();
  expect(check({ doors: chat })['chat agent']?.message).toBe('No node serves chat@fame.fabric.');
  const agent = attach('agent');
  agent.bind('chat@fame.fabric');
  agent.lose();
  expect(check({ doors: chat })['chat agent']?.message).toContain('has lost its connection');
});

test('a parent that is not reached', () => {
  const status = { kind: 'parent', url: 'ws://parent', state: 'connecting', reason: 'refused' } as const;
  expect(make().check({ uplinks: [{ status }] }).parent).toMatchObject({
    status: 'failure',
    message: 'ws://parent is not reached: refused.',
    fix: expect.stringContaining('FAME_PARENT_URL'),
  });
});

test('a node that is drained, and many sessions', () => {
  const { attach, check } = make();
  const nodes = Array.from({ length: 8 }, (_, n) => attach(`n${n}`));
  nodes[0]!.session.isDraining = true;
  const { draining, sessions } = check();
  expect([draining?.status, sessions?.status]).toEqual(['warning', 'warning']);
  expect(draining?.message).toContain(nodes[0]!.path);
});

test.each([
  [100_000_000, 'ok'],
  [500_000_000, 'warning'],
  [700_000_000, 'failure'],
])('%i bytes of memory: %s', (bytes, status) => {
  expect(make({ rssBytes: () => bytes }).check().memory?.status).toBe(status);
});

test('a node that reads slowly', () => {
  const { attach, check } = make({ queueBytes: 100_000, queueTotalBytes: 1_000_000 });
  const [slow, caller] = [attach('slow'), attach('caller')];
  slow.bind('slow@fame.fabric');
  slow.lose();
  const payload = { text: 'x'.repeat(10_000) };
  for (let n = 0; n < 6; n++) caller.send({ type: 'Data', payload }, { to: 'slow@fame.fabric' });
  expect(check().queues).toMatchObject({ status: 'warning', message: expect.stringContaining(slow.path) });
});
