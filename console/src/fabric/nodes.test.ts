import { expect, test } from 'vitest';
import { applyLine, type NodeView } from './nodes.ts';

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
