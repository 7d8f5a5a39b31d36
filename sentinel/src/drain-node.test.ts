// A drained node: it gets no new calls, finishes those that it serves, and hands its addresses to its next process.
import { expect, test } from 'vitest';
import { makeTestParts } from './testing/sentinel-parts.ts';

const LOCAL = { id: 'local', roles: ['admin'] } as const;

test('new calls are refused as busy, open ones are answered', () => {
  const { attach } = makeTestParts();
  const [agent, caller] = [attach('agent'), attach('caller')];
  agent.bind('a@fame.fabric');
  caller.call('a@fame.fabric', 'c1');
  const [open] = agent.transport.take();
  agent.session.isDraining = true;
  const [refused] = caller.call('a@fame.fabric', 'c2');
  expect(refused!.frame).toMatchObject({ ok: false, code: 'NODE_BUSY' });
  expect(agent.transport.take()).toEqual([]);
  agent.reply(open!, 'done');
  expect(caller.transport.take()).toMatchObject([{ frame: { payload: { result: 'done' } } }]);
});

test('other members of its pool get the calls', () => {
  const { attach } = makeTestParts();
  const [a, b, caller] = [attach('a'), attach('b'), attach('caller')];
  a.bind('w@*.fame.fabric');
  b.bind('w@*.fame.fabric');
  a.session.isDraining = true;
  for (let n = 0; n < 20; n++) expect(caller.call('w@x.fame.fabric', `c${n}`)).toEqual([]);
  expect([a.transport.take().length, b.transport.take().length]).toEqual([0, 20]);
});

test('a node of the same key takes over its address at once', () => {
  const { attach } = makeTestParts();
  const old = attach('old', { principal: LOCAL });
  old.bind('a@fame.fabric');
  old.session.isDraining = true;
  const next = attach('next', { principal: LOCAL });
  next.bind('a@fame.fabric');
  attach('caller').call('a@fame.fabric', 'c1');
  expect([old.transport.take().length, next.transport.take().length]).toEqual([0, 1]);
});

test('the drain survives a lost connection, and ends with the next process of the node', () => {
  const { attach } = makeTestParts();
  const node = attach('a', { instanceId: 'one' });
  node.session.isDraining = true;
  node.lose();
  const again = attach('a', { instanceId: 'one', resumeToken: node.resumeToken });
  expect([again.session, again.session.isDraining]).toEqual([node.session, true]);
  again.lose();
  const next = attach('a', { instanceId: 'two', resumeToken: again.resumeToken });
  expect([next.session, next.session.isDraining]).toEqual([node.session, false]);
});
