import { expect, test } from 'vitest';
import { addressPattern, defaultGrouping, findNodes, groupNodes, MAX_CARDS } from './grouping.ts';

const node = (id: string, addresses: string[] = [], principal = 'local') => ({
  id,
  path: `/s/${id}`,
  principal,
  software: 'fame-fabric/0.2.0',
  addresses,
  capabilities: [] as string[],
});

test.each([
  ['chat@fame.fabric', 'chat@fame.fabric'],
  ['worker-17@fame.fabric', 'worker-*@fame.fabric'],
  ['worker17@fame.fabric', 'worker*@fame.fabric'],
  ['job-4f9a02bc77@fame.fabric', 'job-*@fame.fabric'],
  ['calculator9000@fame.fabric', 'calculator*@fame.fabric'],
  ['a.1.b-2@fame.fabric', 'a.*.b-*@fame.fabric'],
  ['plain', 'plain'],
])('the pattern of %s is %s', (address, pattern) => {
  expect(addressPattern(address)).toBe(pattern);
});

test('nodes with equal patterns are one group, the largest first', () => {
  const nodes = [
    node('a', ['chat@f']),
    node('b', ['worker-1@f']),
    node('c', ['__rpc__x@f', 'worker-2@f']),
    node('d'),
  ];
  expect(groupNodes(nodes, 'address').map(({ label, nodes: { length } }) => [label, length])).toEqual([
    ['worker-*@f', 2],
    ['No address', 1],
    ['chat@f', 1],
  ]);
});

test('the smallest groups are combined in the last one, and no node is lost', () => {
  const names = Array.from({ length: 100 }, (_, index) =>
    String.fromCharCode(97 + (index % 26)).repeat(index + 1),
  );
  const nodes = names.flatMap((name, index) => [
    node(name, [`${name}@f`]),
    ...(index < 5 ? [node(`${name}2`, [`${name}@f`])] : []),
  ]);
  const groups = groupNodes(nodes, 'address');
  expect(groups).toHaveLength(MAX_CARDS);
  expect(groups.at(-1)!.label).toBe('41 smaller groups');
  expect(groups.slice(0, 5).map((group) => group.nodes.length)).toEqual([2, 2, 2, 2, 2]);
  expect(groups.flatMap((group) => group.nodes)).toHaveLength(nodes.length);
  expect(new Set(groups.map(({ key }) => key)).size).toBe(groups.length);
});

test('the graph opens grouped by principal if all nodes have one address pattern', () => {
  expect(defaultGrouping([node('a'), node('b')])).toBe('address');
  expect(defaultGrouping([node('a', [], 'kim'), node('b', [], 'lee')])).toBe('principal');
  expect(defaultGrouping([node('a', ['x@f'], 'kim'), node('b', [], 'lee')])).toBe('address');
});

test('a search finds nodes that contain every word, in any case', () => {
  const nodes = [node('a', ['Chat@f'], 'kim'), node('b', ['chat@f'], 'lee')];
  expect(findNodes(nodes, 'chat LEE').map(({ id }) => id)).toEqual(['b']);
  expect(findNodes(nodes, '  ')).toBe(nodes);
  expect(findNodes(nodes, 'none')).toEqual([]);
});
