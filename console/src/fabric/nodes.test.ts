import { expect, test } from 'vitest';
import { applyLine, type ClusterView, type FabricView, type NodeView, sentinelOf } from './nodes.ts';

const sentinel = {
  id: 's1',
  path: '/s1',
  version: 'fame-fabric/0.2.0',
  uptimeMs: 1,
  queues: { queuedBytes: 0, socketBytes: 0, limitBytes: 1, totalLimitBytes: 1 },
};
const node = (path: string, openCalls = 0): NodeView => ({
  id: path,
  path,
  kind: 'agent',
  state: 'attached',
  principal: 'local',
  since: '2026-01-01T00:00:00.000Z',
  addresses: [],
  capabilities: [],
  queuedMessages: 0,
  queuedBytes: 0,
  withheldGrants: 0,
  openCalls,
  serving: 0,
});

test('changes replace, add and remove nodes; a snapshot replaces all', () => {
  const first = applyLine(
    undefined,
    { type: 'snapshot', sentinel, uplinks: [], nodes: [node('a'), node('b')] },
    1,
  )!;
  const second = applyLine(
    first,
    { type: 'changes', t: 2, sentinel, uplinks: [], nodes: [node('b', 3), node('c')], gone: ['a'] },
    9,
  )!;
  expect([...second.nodes.values()].map(({ path, openCalls }) => [path, openCalls])).toEqual([
    ['b', 3],
    ['c', 0],
  ]);
  expect(second.t).toBe(2);
  expect([...first.nodes.keys()]).toEqual(['a', 'b']);
  const third = applyLine(second, { type: 'snapshot', sentinel, uplinks: [], nodes: [node('d')] }, 3)!;
  expect([...third.nodes.keys()]).toEqual(['d']);
});

test('changes before the first snapshot are ignored', () => {
  expect(
    applyLine(undefined, { type: 'changes', t: 1, sentinel, uplinks: [], nodes: [node('a')], gone: [] }, 1),
  ).toBeUndefined();
});

test('nodes of other sentinels are added, changed and removed beside those of the sentinel', () => {
  const pathsOf = (view: FabricView) => [...view.nodes.keys()];
  const cluster: ClusterView = { name: 'prod', state: 'connected', members: [], lost: [] };
  const snapshot = { type: 'snapshot' as const, sentinel, uplinks: [], cluster };
  const own = applyLine(undefined, { ...snapshot, nodes: [node('/s1/a')] }, 1)!;
  const members = { type: 'members', t: 2 } as const;
  const all = applyLine(
    own,
    { ...members, gone: [], missing: [], isComplete: true, nodes: [node('/b/x'), node('/b/y')] },
    2,
  )!;
  expect(pathsOf(all)).toEqual(['/s1/a', '/b/x', '/b/y']);
  const later = applyLine(
    all,
    { ...members, isComplete: false, nodes: [node('/b/y', 2)], gone: ['/b/x'], missing: ['c'] },
    3,
  )!;
  expect(pathsOf(later)).toEqual(['/s1/a', '/b/y']);
  expect([later.nodes.get('/b/y')!.openCalls, later.missing]).toEqual([2, ['c']]);
  const again = applyLine(later, { ...snapshot, nodes: [node('/s1/c')] }, 4)!;
  expect(pathsOf(again)).toEqual(['/s1/c', '/b/y']);
  const complete = applyLine(
    again,
    { ...members, gone: [], missing: [], isComplete: true, nodes: [node('/c/z')] },
    5,
  )!;
  expect(pathsOf(complete)).toEqual(['/s1/c', '/c/z']);
  // The sentinel has left the cluster with a restart.
  const alone = applyLine(complete, { ...snapshot, cluster: undefined, nodes: [node('/s1/c')] }, 6)!;
  expect(pathsOf(alone)).toEqual(['/s1/c']);
});

test('a node belongs to the sentinel whose path it is below', () => {
  const cluster: ClusterView = {
    name: 'prod',
    state: 'connected',
    members: [{ id: 'b', path: '/b', software: '' }],
    lost: [{ id: 'c', path: '/c', software: '', lostAt: 1 }],
  };
  const of = (path: string) => sentinelOf({ sentinel, uplinks: [], cluster }, path);
  expect([of('/b/x'), of('/c/x'), of('/s1/x'), of('/bb/x')]).toEqual(['/b', '/c', '/s1', '/s1']);
});
