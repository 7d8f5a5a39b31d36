import { expect, test } from 'vitest';
import type { FabricView, NodeView } from '../../fabric/nodes.ts';
import { blocksOf } from './blocks.ts';
import { NodeHistory } from './node-history.ts';

const node = (path: string, more: Partial<NodeView> = {}): NodeView => ({
  id: path,
  path,
  kind: 'node',
  state: 'attached',
  principal: 'local',
  since: '2026-01-01T00:00:00.000Z',
  addresses: [],
  capabilities: [],
  queuedMessages: 0,
  queuedBytes: 0,
  withheldGrants: 0,
  openCalls: 0,
  serving: 0,
  ...more,
});
const queues = { queuedBytes: 0, socketBytes: 0, limitBytes: 1, totalLimitBytes: 1 };
const view = (more: Partial<FabricView> = {}): FabricView => ({
  sentinel: { id: 'a', path: '/a', version: '', uptimeMs: 1, queues },
  uplinks: [],
  missing: [],
  nodes: new Map(),
  remote: new Map(),
  t: 1,
  ...more,
});
const cluster = {
  name: 'prod',
  state: 'connected' as const,
  members: [
    { id: 'd', path: '/d', software: '' },
    { id: 'b', path: '/b', software: '' },
  ],
  lost: [{ id: 'c', path: '/c', software: '', lostAt: 1 }],
};
const blocks = (nodes: NodeView[], more: Partial<FabricView> = {}) =>
  blocksOf({
    view: view(more),
    nodes,
    found: nodes.filter(({ kind }) => kind === 'node'),
    by: 'address',
    history: new NodeHistory(),
  });

test('a sentinel without a cluster is one block, with its peers above its nodes', () => {
  const nodes = [node('/a/x'), node('/p', { kind: 'peer' })];
  expect(blocks(nodes)).toMatchObject([
    { sentinel: undefined, above: [{ id: '/p' }], below: [{ id: '/a/x' }] },
  ]);
});

test('each sentinel of a cluster is a block with its nodes and its state', () => {
  const nodes = [
    node('/a/x'),
    node('/b', { kind: 'member' }),
    node('/b/y'),
    node('/c/z', { state: 'gone' }),
    node('/d/child', { kind: 'child' }),
  ];
  const found = blocks(nodes, { cluster, missing: ['d'] });
  expect(found).toMatchObject([
    { above: [], below: [{ id: '/a/x' }] },
    { sentinel: { id: '/b', state: 'linked', nodes: 1 }, above: [], below: [{ id: '/b/y' }] },
    { sentinel: { id: '/c', state: 'lost', nodes: 0 }, below: [{ id: '/c/z' }] },
    { sentinel: { id: '/d', state: 'silent', nodes: 0 }, above: [{ id: '/d/child' }], below: [] },
  ]);
});

test('many nodes are grouped for each sentinel, within the bound of cards, with unique ids', () => {
  const many = (sentinel: string) =>
    Array.from({ length: 200 }, (_, index) =>
      node(`/${sentinel}/${index}`, { addresses: [`${'x'.repeat((index % 50) + 1)}@f`] }),
    );
  const found = blocks([...many('a'), ...many('b')], { cluster });
  const cards = found.flatMap(({ below }) => below);
  expect(cards.length).toBeLessThanOrEqual(60);
  expect(new Set(cards.map(({ id }) => id)).size).toBe(cards.length);
  expect(found.map(({ below }) => below.length)).toEqual([15, 15, 0, 0]);
});
