import { expect, test } from 'vitest';
import { describeNodes } from './ps.ts';

const node = {
  id: 'agent',
  path: '/S/agent',
  kind: 'node',
  state: 'attached',
  since: '2026-01-01T00:00:00.000Z',
  addresses: ['chat@fame.fabric'],
  capabilities: [],
  queuedMessages: 2,
  queuedBytes: 1_500,
  openCalls: 0,
};
const sentinel = { id: 'S', path: '/S', version: 'fame-fabric/test', uptimeMs: 1_000 };

test('the list has the bounds of the queues in bytes, what is queued, and how many flows are slowed', () => {
  const queues = { queuedBytes: 1_500, socketBytes: 70, limitBytes: 8_000, totalLimitBytes: 32_000 };
  const text = describeNodes({ sentinel: { ...sentinel, queues }, nodes: [{ ...node, withheldGrants: 3 }] });
  expect(text).toContain('Queues: 1500 B queued, 70 B in sockets, of at most 32000 B (8000 B a node)');
  expect(text).toContain('2 (1500 B), 3 slowed');
});

test('callers over HTTP are explained if there are any', () => {
  const caller = { ...node, id: 'door-1', path: '/S/door-1', addresses: [] };
  expect(describeNodes({ sentinel, nodes: [node, caller] })).toContain('door-...: callers over HTTP');
  expect(describeNodes({ sentinel, nodes: [node] })).not.toContain('door-...');
});

test('the list of an older sentinel has no bounds', () => {
  const text = describeNodes({ sentinel, nodes: [node] });
  expect(text).not.toContain('Queues');
  expect(text).toContain('2 (1500 B) ');
});

test('D10: agents are marked, and a node with many addresses shows the first four', () => {
  const addresses = Array.from({ length: 60 }, (_, nth) => `a${nth}@fame.fabric`);
  const capabilities = ['fame.capability.agent', 'fame.cancel', 'weather'];
  const text = describeNodes({ sentinel, nodes: [{ ...node, addresses, capabilities }] });
  expect(text).toContain('a3@fame.fabric and 56 more  agent, weather');
  expect(text).not.toContain('a4@');
});

test('a peer that is not reached is listed with the reason', () => {
  const members = [{ id: 'b', path: '/b', software: 'fame-fabric/0.2.0' }];
  const inCluster = { name: 'prod', state: 'connected', members };
  const withLost = { ...inCluster, lost: [{ id: 'd' }] };
  expect(describeNodes({ sentinel, nodes: [], cluster: withLost })).toContain(
    'cluster prod, linked to b, lost d',
  );
  expect(describeNodes({ sentinel, nodes: [], cluster: inCluster, missing: ['c'] })).toMatch(
    /\ncluster prod, linked to b\nno answer from c: their nodes are not listed$/,
  );
  const alone = { name: 'prod', state: 'alone', reason: 'ECONNREFUSED', members: [] };
  expect(describeNodes({ sentinel, nodes: [], cluster: alone })).toContain(
    'cluster prod, NATS is not reached: ECONNREFUSED',
  );
  const uplinks = [{ kind: 'peer', url: 'ws://b/peer', state: 'connecting', reason: 'ECONNREFUSED' }];
  expect(describeNodes({ sentinel, nodes: [], uplinks })).toContain(
    'peer ws://b/peer, not reached: ECONNREFUSED',
  );
});
