import type { DeliveryAck } from '@fame-fabric/shared';
import { settle } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import { makeTestParts } from '../testing/sentinel-parts.ts';
import { Flow } from './flow.ts';

function pair(options = {}) {
  const parts = makeTestParts(options);
  const agent = parts.attach('agent', { capabilities: ['fame.capability.cancel'] });
  const caller = parts.attach('caller');
  agent.bind('math@fame.fabric');
  return { ...parts, agent, caller };
}
const codes = (envelopes: readonly { frame: unknown }[]): (string | undefined)[] =>
  envelopes.map(({ frame }) => (frame as DeliveryAck).code);

test('P5: callers of a node that left receive NODE_GONE at the end of the resume window, and not before', () => {
  const { agent, caller, clock, bindings } = pair();
  caller.call('math@fame.fabric', 'c1');
  agent.lose();
  expect(codes(caller.call('math@fame.fabric', 'c2'))).toEqual(['NODE_GONE']);
  clock.advance(4_999);
  expect(caller.transport.take()).toEqual([]);
  clock.advance(1);
  expect(codes(caller.transport.take())).toEqual(['NODE_GONE']);
  expect(bindings.owner('math@fame.fabric')).toBeUndefined();
});

test('a node that resumes within the window keeps its path and receives its queue', () => {
  const { agent, caller, clock, attach } = pair();
  caller.call('math@fame.fabric', 'c1');
  const [request] = agent.transport.take();
  caller.lose();
  agent.reply(request!, 'late');
  clock.advance(1_000);
  const back = attach('caller');
  expect(back.path).toBe(caller.path);
  expect(back.session).toBe(caller.session);
  expect(back.transport.take()).toMatchObject([{ corrId: 'c1', frame: { payload: { result: 'late' } } }]);
  clock.advance(10_000);
  expect(back.session.state).toBe('attached');
  expect(back.session.outbound.messages).toBe(0);
});

test('a node that closes normally is gone at once', () => {
  const { agent, caller } = pair();
  caller.call('math@fame.fabric', 'c1');
  agent.lose(1000);
  expect(agent.session.state).toBe('gone');
  expect(codes(caller.transport.take())).toEqual(['NODE_GONE']);
});

test('a second copy of a running script gets a path of its own', () => {
  const { attach } = makeTestParts();
  const first = attach('script', { instanceId: 'one' });
  const second = attach('script', { instanceId: 'two' });
  const third = attach('script', { instanceId: 'three' });
  expect([first.path, second.path, third.path]).toEqual(['/S/script', '/S/script-2', '/S/script-3']);
  expect(first.transport.closed).toBeUndefined();
});

test('a newer connection of the same instance takes over, and the end of the older one changes nothing', () => {
  const { attach } = makeTestParts();
  const older = attach('node');
  const newer = attach('node');
  expect(older.transport.closed?.code).toBe(1000);
  older.lose();
  expect(newer.session.state).toBe('attached');
});

test('another instance with the token inherits the path; unanswered calls of its predecessor fail at the end of the window', () => {
  const { agent, caller, clock, attach } = pair();
  caller.call('math@fame.fabric', 'lost');
  caller.call('math@fame.fabric', 'known');
  const requests = agent.transport.take();
  agent.lose();
  const reborn = attach('agent', { instanceId: 'reborn', resumeToken: agent.resumeToken });
  expect(reborn.path).toBe('/S/agent');
  reborn.reply(requests[1]!, 'from the journal');
  clock.advance(5_000);
  const got = caller.transport.take();
  expect(got.map((e) => e.corrId)).toEqual(['known', 'lost']);
  expect(codes(got.slice(1))).toEqual(['NODE_GONE']);
});

test('HD6: another instance without the token gets a path of its own, and the queue is dropped with its session', () => {
  const { agent, caller, clock, attach } = pair();
  agent.lose();
  caller.send({ type: 'Data', payload: 'private' }, { to: `x@${agent.path}` });
  for (const resumeToken of [undefined, '', 'A'.repeat(22), caller.resumeToken]) {
    const thief = attach('agent', { instanceId: `thief-${resumeToken}`, resumeToken });
    expect(thief.session).not.toBe(agent.session);
    expect(thief.transport.take()).toEqual([]);
    thief.lose(1000);
  }
  expect(agent.session.outbound.messages).toBe(1);
  clock.advance(5_000);
  const late = attach('agent', { instanceId: 'late', resumeToken: agent.resumeToken });
  expect(late.path).toBe('/S/agent');
  expect(late.transport.take()).toEqual([]);
});

test('HD6: a token does not take a session that is attached', () => {
  const { agent, attach } = pair();
  const second = attach('agent', { instanceId: 'second', resumeToken: agent.resumeToken });
  expect(second.path).toBe('/S/agent-2');
  expect(agent.transport.closed).toBeUndefined();
});

test('a resume token is replaced when it is used, and stays valid until the next one is used', () => {
  const { agent, attach } = pair();
  let round = 0;
  /** Loses the connection and attaches as a new process with this token. */
  const restart = (node: typeof agent, resumeToken: string | undefined) => {
    node.lose();
    return attach('agent', { instanceId: `restart-${++round}`, resumeToken });
  };
  const first = restart(agent, agent.resumeToken);
  expect(first.path).toBe('/S/agent');
  expect(first.resumeToken).not.toBe(agent.resumeToken);
  // The ack with the second token was lost.
  const second = restart(first, agent.resumeToken);
  expect(second.path).toBe('/S/agent');
  const third = restart(second, second.resumeToken);
  expect(third.path).toBe('/S/agent');
  for (const old of [agent, first]) expect(restart(third, old.resumeToken).path).not.toBe('/S/agent');
  expect(attach('agent', { instanceId: 'last', resumeToken: third.resumeToken }).path).toBe('/S/agent');
});

test('a callee is notified that its caller is gone', () => {
  const { agent, caller, clock } = pair();
  caller.call('math@fame.fabric', 'c1');
  agent.transport.take();
  caller.lose();
  clock.advance(5_000);
  expect(agent.transport.take()[0]?.frame).toEqual({
    type: 'CallCancel',
    corrId: 'c1',
    reason: 'caller-gone',
  });
});

test('addresses of other nodes, malformed ones and those above the limit are refused with a code', () => {
  const { attach } = makeTestParts({ maxAddressesPerNode: 2 });
  const node = attach('node');
  const bind = (address: string): unknown => {
    const [ack] = node.send({ type: 'AddressBind', address }, { corrId: 'b', rtype: 1 });
    return (ack!.frame as DeliveryAck).code;
  };
  expect(bind('garbage')).toBe('ADDRESS_INVALID');
  expect(bind('__sys__@/S/other')).toBe('ADDRESS_FORBIDDEN');
  expect(bind('__rpc__x@fame.fabric')).toBe('ADDRESS_FORBIDDEN');
  expect(bind('__sys__@/S/node')).toBeUndefined();
  expect(bind('a@fame.fabric')).toBeUndefined();
  expect(bind('b@fame.fabric')).toBeUndefined();
  expect(bind('c@fame.fabric')).toBe('QUOTA_EXCEEDED');
});

test('only living members of a pool are picked', () => {
  const { attach } = makeTestParts();
  const members = ['w1', 'w2'].map((id) => attach(id));
  for (const member of members) member.bind('w@*.fame.fabric');
  const caller = attach('caller');
  members[0]!.lose();
  for (let i = 0; i < 20; i++) expect(caller.call('w@fame.fabric', `c${i}`)).toEqual([]);
  expect(members[1]!.transport.take()).toHaveLength(20);
});

test('nodes that have left leave no state behind', () => {
  const { attach, calls, clock, bindings, table } = makeTestParts();
  for (let i = 0; i < 1_000; i++) {
    const node = attach(`n${i}`);
    node.bind(`svc${i}@fame.fabric`);
    node.lose();
  }
  clock.advance(5_000);
  expect(table.size).toBe(0);
  expect(calls.count).toBe(0);
  expect([...bindings.ownAddresses()]).toEqual([]);
  expect(clock.timerCount).toBe(0);
});

test('a sweep pings silent nodes, and closes dead nodes and nodes that do not read', async () => {
  const { attach, sweeper, clock } = makeTestParts();
  const silent = attach('silent');
  silent.transport.isAlive = false;
  const quiet = attach('quiet');
  const sweepFor = async (ms: number): Promise<void> => {
    for (let t = 0; t < ms; t += 1_000) {
      clock.advance(1_000);
      sweeper.sweep();
      await settle();
    }
  };
  await sweepFor(31_000);
  expect(silent.session.state).toBe('gone');
  expect(silent.transport.terminated).toBe(true);
  expect(quiet.session.state).toBe('attached');
  expect(quiet.transport.pings).toBeGreaterThan(0);

  const reader = attach('reader');
  reader.bind('slow@fame.fabric');
  for (let i = 0; i < 40; i++) quiet.call('slow@fame.fabric', `c${i}`);
  await sweepFor(11_000);
  expect(reader.transport.closed?.code).toBe(4008);
});

test('each address of a capability counts towards the limit', () => {
  const { attach } = makeTestParts({ maxAddressesPerNode: 3 });
  const node = attach('many');
  const advertise = (address: string) =>
    node.send(
      { type: 'CapabilityAdvertise', capabilities: ['cap'], address },
      { corrId: address, rtype: 1, replyTo: `__sys__@${node.path}` },
    )[0]!.frame;
  for (const name of ['a', 'b', 'c']) expect(advertise(`${name}@${node.path}`)).toMatchObject({ ok: true });
  expect(advertise(`d@${node.path}`)).toMatchObject({ ok: false, code: 'QUOTA_EXCEEDED' });
});

test('a pool is announced as unbound only when its last member has left', () => {
  const { attach, sessions } = makeTestParts();
  const neighbor = attach('neighbor', { peer: true });
  const unbound = (): unknown[] =>
    neighbor.transport
      .take()
      .flatMap(({ frame }) =>
        frame.type === 'AddressUnbind' ? [(frame as { address: string }).address] : [],
      );
  const [one, two, three] = ['one', 'two', 'three'].map((id) => attach(id));
  for (const node of [one!, two!, three!]) node.bind('w@*.fame.fabric');
  sessions.end(one!.session, 1001, 'test');
  two!.send({ type: 'AddressUnbind', address: 'w@*.fame.fabric' }, { corrId: 'u', rtype: 1 });
  expect(unbound()).toEqual([]);
  sessions.end(three!.session, 1001, 'test');
  expect(unbound()).toEqual(['w@*.fame.fabric']);
});

test('a flow without credit gets none by the eviction of other flows', () => {
  const { agent, caller, attach } = pair();
  const crowd = attach('crowd');
  const sendItem = (node: typeof caller, flowId: string): void => {
    node.send({ type: 'Data', payload: 'item' }, { to: 'math@fame.fabric', flowId });
  };
  for (let item = 0; item < 32; item++) sendItem(caller, 'used-up');
  expect(agent.transport.take()).toHaveLength(32);
  for (let round = 0; round < 3; round++) {
    for (let flow = 0; flow < 2_000; flow++) sendItem(crowd, `flow-${round}-${flow}`);
    agent.transport.take();
    sendItem(caller, 'used-up');
    expect(agent.transport.take()).toEqual([]);
  }
  expect(agent.session.outbound.messages).toBe(3);
  agent.send({ type: 'CreditUpdate', flowId: 'used-up', credits: 32 });
  expect(agent.session.outbound.messages).toBe(0);
});

test('flow eviction takes linear time, even if every flow has queued messages', () => {
  const { agent, caller } = pair();
  agent.lose();
  const waiting = 8_000;
  // Eviction reads `queued` of every flow that it visits.
  let visits = 0;
  const queued = Object.getOwnPropertyDescriptor(Flow.prototype, 'queued')!;
  const counting = function (this: Flow): number {
    visits++;
    return queued.get!.call(this);
  };
  Object.defineProperty(Flow.prototype, 'queued', { ...queued, get: counting });
  for (let flow = 0; flow < waiting; flow++) {
    caller.send({ type: 'Data', payload: 'item' }, { to: `x@${agent.path}`, flowId: `f-${flow}` });
  }
  Object.defineProperty(Flow.prototype, 'queued', queued);
  expect(agent.session.outbound.messages).toBeGreaterThanOrEqual(waiting);
  expect(visits).toBeLessThan(20 * waiting);
});
