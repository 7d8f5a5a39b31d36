import { expect, test } from 'vitest';
import type { NodeView } from '../../fabric/nodes.ts';
import { GONE_MS } from './gone-nodes.ts';
import { LiveNodes } from './live-nodes.ts';

const node = (path: string, messagesIn = 0, fields: Partial<NodeView> = {}): NodeView => ({
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
  serving: 2,
  traffic: { messagesIn, bytesIn: 0, messagesOut: 0, bytesOut: 0 },
  ...fields,
});
const map = (...nodes: NodeView[]) => new Map(nodes.map((one) => [one.path, one]));

test('each line of the stream is a sample; a silent stream means no traffic', () => {
  const live = new LiveNodes();
  live.update(map(node('/a')), 0);
  live.update(map(node('/a', 10)), 1_000);
  live.tick(1_100);
  expect(live.history.rateOf('/a').messagesIn).toBe(10);
  live.tick(2_600);
  expect(live.history.rateOf('/a').messagesIn).toBe(0);
});

test('two lines in quick succession are one sample', () => {
  const live = new LiveNodes();
  live.update(map(node('/a')), 0);
  live.update(map(node('/a', 5)), 10);
  live.update(map(node('/a', 10)), 1_000);
  expect(live.history.rateOf('/a').messagesIn).toBe(10);
});

test('a node that left is gone without calls, for some seconds', () => {
  const live = new LiveNodes();
  live.update(map(node('/a'), node('/b')), 0);
  live.update(map(node('/a')), 1_000);
  expect(live.gone.map(({ path, state, serving }) => [path, state, serving])).toEqual([['/b', 'gone', 0]]);
  live.tick(1_000 + GONE_MS);
  expect(live.gone).toHaveLength(1);
  live.tick(1_001 + GONE_MS);
  expect(live.gone).toEqual([]);
});

test('the age of a state counts from its arrival, also while other nodes change', () => {
  const live = new LiveNodes();
  const away = node('/a', 0, { state: 'detached', resumeMs: 30_000 });
  live.update(map(away), 1_000);
  live.update(map(away, node('/b')), 5_000);
  expect(live.ageOf(away, 6_000)).toBe(5_000);
});
