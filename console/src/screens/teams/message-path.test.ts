import { expect, test } from 'vitest';
import { followMessage, type MessagePath } from './message-path.ts';
import type { TeamDescription } from './team.ts';
import { edgeId, nodeId } from './team-layout.ts';

const route = (
  from: string,
  value: string | null,
  kind: 'agent' | 'remote' | 'function' | 'ignore',
  name: string,
) => ({
  from,
  to: { kind, name },
  argument: 'topic',
  value,
  is_loop: false,
});
const TEAM = {
  start: 'desk',
  agents: [{ name: 'desk', routes_by: 'choose' }, { name: 'orders', routes_by: 'choose' }, { name: 'loose' }],
  routes: [
    route('desk', 'order', 'agent', 'orders'),
    route('desk', 'spam', 'ignore', 'spam'),
    route('orders', 'far', 'remote', 'far@other.fabric'),
    route('orders', null, 'function', 'thanks'),
  ],
} as unknown as TeamDescription;

const turn = { type: 'turn', turn_id: 't', user_message: 'Hi' };
const asks = (agent: string) => ({ type: 'model_call', turn_id: 't', agent });
const replies = (total_tokens: number, amount?: number) => ({
  type: 'model_reply',
  turn_id: 't',
  usage: { total_tokens },
  cost: amount === undefined ? 'unknown' : { amount, currency: 'USD' },
});
const chooses = (topic: unknown) => ({ type: 'tool_call', turn_id: 't', name: 'choose', args: { topic } });
const follow = (...events: { type: string }[]): MessagePath | undefined =>
  events.reduce<MessagePath | undefined>((path, event) => followMessage(TEAM, path, event), undefined);
const agent = (name: string): string => nodeId('agent', name);

test('the agents that ask a model are the path', () => {
  const path = follow(
    turn,
    asks('desk'),
    replies(10, 0.5),
    chooses('order'),
    asks('orders'),
    replies(5, 0.25),
    asks('orders'),
  );
  expect(path).toMatchObject({
    message: 'Hi',
    nodes: [agent('desk'), agent('orders')],
    edges: [edgeId(TEAM.routes[0]!)],
    state: 'running',
    handoffs: 1,
    modelCalls: 3,
    tokens: 15,
    cost: { amount: 0.75, currency: 'USD' },
  });
});

test.each([
  ['far', 'remote', 'far@other.fabric', 2, 2],
  ['thanks', 'function', 'thanks', 3, 1],
] as const)('the value %s ends at the %s', (topic, kind, name, at, handoffs) => {
  const path = follow(turn, asks('desk'), asks('orders'), chooses(topic), {
    type: 'done',
    turn_id: 't',
  } as object & { type: string });
  expect(path).toMatchObject({ state: 'done', handoffs });
  expect(path!.nodes.at(-1)).toBe(nodeId(kind, name));
  expect(path!.edges.at(-1)).toBe(edgeId(TEAM.routes[at]!));
});

test('a handoff of a function has no line', () => {
  expect(follow(turn, asks('desk'), asks('loose'))).toMatchObject({
    nodes: [agent('desk'), agent('loose')],
    edges: [],
    handoffs: 1,
  });
});

test('each message has its own path, and events of other turns do not count', () => {
  const next = { ...turn, turn_id: 'u' };
  expect(follow(turn, asks('desk'), next, asks('orders'))).toMatchObject({ turnId: 'u', nodes: [] });
  expect(follow(asks('desk'))).toBeUndefined();
});

test('a cost is unknown if a part of it is', () => {
  expect(follow(turn, asks('desk'), replies(10), replies(10, 1))!.cost).toBeUndefined();
  expect(
    follow(turn, asks('desk'), { type: 'error', turn_id: 't', code: 'HANDOFF_LIMIT' } as object & {
      type: string;
    }),
  ).toMatchObject({
    state: 'failed',
    code: 'HANDOFF_LIMIT',
  });
});
