// WhoIs: the callee of an open call learns the principal of its caller, and no other node does.
import type { NodeAttachAck, Principal, WhoIsAck } from '@fame-fabric/shared';
import { expect, test } from 'vitest';
import { type FakeNode, makeTestParts } from './testing/sentinel-parts.ts';

const LOCAL: Principal = { id: 'local', roles: ['admin'] };

function fabric() {
  const parts = makeTestParts();
  const agent = parts.attach('agent', { capabilities: ['fame.capability.cancel'] });
  agent.bind('math@fame.fabric');
  return { ...parts, agent };
}

const whoIs = (asker: FakeNode, address: string, corrId: string): WhoIsAck => {
  const answers = asker.send({ type: 'WhoIs', address, corrId }, { corrId: 'w', rtype: 1 });
  return answers.find((one) => one.corrId === 'w')!.frame as WhoIsAck;
};
const replyTo = (node: FakeNode): string => `__rpc__${node.session.systemId}@${node.path}`;

test('the callee of an open call learns its principal, until the call is answered', () => {
  const { agent, attach } = fabric();
  const holder = attach('holder', { principal: LOCAL });
  const stranger = attach('stranger');
  for (const caller of [holder, stranger]) caller.call('math@fame.fabric', 'c');
  const [first] = agent.transport.take();
  expect(whoIs(agent, replyTo(holder), 'c')).toMatchObject({ ok: true, principal: LOCAL });
  expect(whoIs(agent, replyTo(stranger), 'c')).toMatchObject({
    ok: true,
    principal: { id: 'anonymous', roles: [] },
  });
  agent.reply(first!, 1);
  expect(whoIs(agent, replyTo(holder), 'c').ok).toBe(false);
});

test('another node learns nothing, and neither does the callee about calls that are not open', () => {
  const { agent, attach } = fabric();
  const holder = attach('holder', { principal: LOCAL });
  const other = attach('other');
  holder.call('math@fame.fabric', 'c');
  for (const ack of [
    whoIs(other, replyTo(holder), 'c'),
    whoIs(holder, replyTo(holder), 'c'),
    whoIs(agent, replyTo(holder), 'd'),
    whoIs(agent, `__rpc__other@${holder.path}`, 'c'),
    whoIs(agent, `${replyTo(holder)}/below`, 'c'),
    whoIs(agent, replyTo(other), 'c'),
    whoIs(agent, '__rpc__x@/S/nobody', 'c'),
    whoIs(agent, 'no address', 'c'),
  ]) {
    expect(ack.ok).toBe(false);
    expect(ack.principal).toBeUndefined();
  }
});

test('a node that takes the path of a caller that left does not become the caller of its calls', () => {
  const { agent, attach } = fabric();
  const stranger = attach('same-id');
  stranger.call('math@fame.fabric', 'c');
  const { path } = stranger;
  stranger.lose(1000);
  const holder = attach('same-id', { principal: LOCAL });
  expect(holder.path).toBe(path);
  expect(whoIs(agent, replyTo(holder), 'c').ok).toBe(false);
});

test('a sentinel does not know the principal of a node behind a peer', () => {
  const { agent, attach } = fabric();
  const peer = attach('P', { peer: true, principal: LOCAL });
  peer.call('math@fame.fabric', 'c', { replyTo: `__rpc__x@${peer.path}/node` });
  expect(agent.transport.take()).toHaveLength(1);
  expect(whoIs(agent, `__rpc__x@${peer.path}/node`, 'c').ok).toBe(false);
  peer.call('math@fame.fabric', 'd');
  expect(whoIs(agent, replyTo(peer), 'd').ok).toBe(false);
});

test('an attach ack states the principal', () => {
  const { attach } = makeTestParts();
  expect((attach('holder', { principal: LOCAL }).ack.frame as NodeAttachAck).principal).toEqual(LOCAL);
  expect((attach('stranger').ack.frame as NodeAttachAck).principal).toEqual({ id: 'anonymous', roles: [] });
});
