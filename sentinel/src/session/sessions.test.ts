import type { DeliveryAck } from '@fame-fabric/shared';
import { settle } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import { benchSentinel } from '../testing/bench-sentinel.ts';
import { Flow } from './flow.ts';

function pair(options = {}) {
  const bench = benchSentinel(options);
  const agent = bench.attach('agent', { capabilities: ['fame.capability.cancel'] });
  const caller = bench.attach('caller');
  agent.bind('math@fame.fabric');
  return { ...bench, agent, caller };
}
const codes = (envelopes: readonly { frame: unknown }[]): (string | undefined)[] =>
  envelopes.map(({ frame }) => (frame as DeliveryAck).code);

test('P5: callers of a node that left are told when the resume window is over, and not before', () => {
  const { agent, caller, clock, bindings } = pair();
  caller.call('math@fame.fabric', 'c1');
  agent.lose();
  expect(bindings.owner('math@fame.fabric')).toBeUndefined();
  clock.advance(4_999);
  expect(caller.wire.take()).toEqual([]);
  clock.advance(1);
  expect(codes(caller.wire.take())).toEqual(['NODE_GONE']);
});

test('a node that comes back within the window keeps its path and gets what waited for it', () => {
  const { agent, caller, clock, attach } = pair();
  caller.call('math@fame.fabric', 'c1');
  const [request] = agent.wire.take();
  caller.lose();
  agent.reply(request!, 'late');
  clock.advance(1_000);
  const back = attach('caller');
  expect(back.path).toBe(caller.path);
  expect(back.session).toBe(caller.session);
  // attach() took the ack; the answer was flushed behind it.
  clock.advance(10_000);
  expect(back.session.state).toBe('attached');
  expect(back.session.queuedMessages).toBe(0);
});

test('a node that says goodbye is gone at once', () => {
  const { agent, caller, sessions } = pair();
  caller.call('math@fame.fabric', 'c1');
  sessions.detach(agent.session, agent.wire, true);
  expect(agent.session.state).toBe('gone');
  expect(codes(caller.wire.take())).toEqual(['NODE_GONE']);
});

test('a second copy of a running script gets a path of its own', () => {
  const { attach } = benchSentinel();
  const first = attach('script', { instanceId: 'one' });
  const second = attach('script', { instanceId: 'two' });
  const third = attach('script', { instanceId: 'three' });
  expect([first.path, second.path, third.path]).toEqual(['/S/script', '/S/script-2', '/S/script-3']);
  expect(first.wire.closed).toBeUndefined();
});

test('a newer connection of the same instance takes over, and the end of the older one changes nothing', () => {
  const { attach, sessions } = benchSentinel();
  const older = attach('node');
  const newer = attach('node');
  expect(older.wire.closed?.code).toBe(1000);
  sessions.detach(older.session, older.wire);
  expect(newer.session.state).toBe('attached');
});

test('another instance inherits the path; calls of the one before end with the window unless they are answered', () => {
  const { agent, caller, clock, attach } = pair();
  caller.call('math@fame.fabric', 'lost');
  caller.call('math@fame.fabric', 'known');
  const requests = agent.wire.take();
  agent.lose();
  const reborn = attach('agent', { instanceId: 'reborn' });
  expect(reborn.path).toBe('/S/agent');
  reborn.reply(requests[1]!, 'from the journal');
  clock.advance(5_000);
  const got = caller.wire.take();
  expect(got.map((e) => e.corrId)).toEqual(['known', 'lost']);
  expect(codes(got.slice(1))).toEqual(['NODE_GONE']);
});

test('a callee is told that its caller is gone', () => {
  const { agent, caller, clock } = pair();
  caller.call('math@fame.fabric', 'c1');
  agent.wire.take();
  caller.lose();
  clock.advance(5_000);
  expect(agent.wire.take()[0]?.frame).toEqual({ type: 'CallCancel', corrId: 'c1', reason: 'caller-gone' });
});

test('an address belongs to its first binder while that one answers; a dead one is evicted', async () => {
  const { agent, attach, bindings } = pair();
  const rival = attach('rival');
  const ask = (): void => {
    rival.say({ type: 'AddressBind', address: 'math@fame.fabric' }, { corrId: 'b', rtype: 1 });
  };
  ask();
  await settle();
  expect(rival.wire.take()[0]?.frame).toMatchObject({ ok: false, code: 'ADDRESS_IN_USE' });
  agent.wire.isAlive = false;
  ask();
  await settle();
  expect(rival.wire.take()[0]?.frame).toMatchObject({ ok: true });
  expect(bindings.owner('math@fame.fabric')).toBe(rival.session);
  expect(agent.session.state).toBe('gone');
});

test('addresses of others, beyond the grammar or beyond the limit are refused with a code', () => {
  const { attach } = benchSentinel({ maxAddressesPerNode: 2 });
  const node = attach('node');
  const bind = (address: string): unknown => {
    const [ack] = node.say({ type: 'AddressBind', address }, { corrId: 'b', rtype: 1 });
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
  const { attach } = benchSentinel();
  const members = ['w1', 'w2'].map((id) => attach(id));
  for (const member of members) member.bind('w@*.fame.fabric');
  const caller = attach('caller');
  members[0]!.lose();
  for (let i = 0; i < 20; i++) expect(caller.call('w@fame.fabric', `c${i}`)).toEqual([]);
  expect(members[1]!.wire.take()).toHaveLength(20);
});

test('nothing is left of nodes that came and went', () => {
  const { attach, sessions, calls, clock, bindings } = benchSentinel();
  for (let i = 0; i < 1_000; i++) {
    const node = attach(`n${i}`);
    node.bind(`svc${i}@fame.fabric`);
    node.lose();
  }
  clock.advance(5_000);
  expect(sessions.size).toBe(0);
  expect(calls.count).toBe(0);
  expect([...bindings.ownAddresses()]).toEqual([]);
  expect(clock.timerCount).toBe(0);
});

test('sweeps ping silent nodes, give up dead ones and close those that do not read', async () => {
  const { attach, sweeper, clock } = benchSentinel();
  const silent = attach('silent');
  silent.wire.isAlive = false;
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
  expect(silent.wire.terminated).toBe(true);
  expect(quiet.session.state).toBe('attached');
  expect(quiet.wire.pings).toBeGreaterThan(0);

  const reader = attach('reader');
  reader.bind('slow@fame.fabric');
  for (let i = 0; i < 40; i++) quiet.call('slow@fame.fabric', `c${i}`);
  await sweepFor(11_000);
  expect(reader.wire.closed?.code).toBe(4008);
});

test('two nodes that want the address of a dead one at the same moment: one gets it, the other is told', async () => {
  const { attach, bindings } = benchSentinel();
  const dead = attach('dead');
  dead.bind('svc@fame.fabric');
  dead.wire.isAlive = false;
  const wish = { type: 'AddressBind', address: 'svc@fame.fabric' } as const;
  const rivals = ['first', 'second'].map((id) => attach(id));
  for (const rival of rivals) rival.say(wish, { corrId: 'b', rtype: 1, replyTo: `__sys__@${rival.path}` });
  await settle();
  const answers = rivals.map(({ wire }) => wire.take()[0]!.frame as { ok: boolean; code?: string });
  expect(answers).toMatchObject([{ ok: true }, { ok: false, code: 'ADDRESS_IN_USE' }]);
  expect(bindings.owner('svc@fame.fabric')).toBe(rivals[0]!.session);
});

test('the addresses of a capability count, not only its name', () => {
  const { attach } = benchSentinel({ maxAddressesPerNode: 3 });
  const node = attach('many');
  const advertise = (address: string) =>
    node.say(
      { type: 'CapabilityAdvertise', capabilities: ['cap'], address },
      { corrId: address, rtype: 1, replyTo: `__sys__@${node.path}` },
    )[0]!.frame;
  for (const name of ['a', 'b', 'c']) expect(advertise(`${name}@fame.fabric`)).toMatchObject({ ok: true });
  expect(advertise('d@fame.fabric')).toMatchObject({ ok: false, code: 'QUOTA_EXCEEDED' });
});

test('a pool is announced as gone only when its last member has left', () => {
  const { attach, control, sessions } = benchSentinel();
  const gone: string[] = [];
  const note = (address: string): number => gone.push(address);
  const nothing = (): void => {};
  control.announcer = {
    bound: nothing,
    unbound: note,
    advertised: nothing,
    withdrawn: nothing,
    answered: nothing,
  };
  sessions.onUnbound = (_session, { addresses }) => addresses.forEach(note);
  const [one, two, three] = ['one', 'two', 'three'].map((id) => attach(id));
  for (const node of [one!, two!, three!]) node.bind('w@*.fame.fabric');
  sessions.end(one!.session, 1001, 'test');
  two!.say({ type: 'AddressUnbind', address: 'w@*.fame.fabric' }, { corrId: 'u', rtype: 1 });
  expect(gone).toEqual([]);
  sessions.end(three!.session, 1001, 'test');
  expect(gone).toEqual(['w@*.fame.fabric']);
});

test('a window that is used up is not opened by a crowd of other flows', () => {
  const { agent, caller, attach } = pair();
  const crowd = attach('crowd');
  const tell = (node: typeof caller, flowId: string): void => {
    node.say({ type: 'Data', payload: 'item' }, { to: 'math@fame.fabric', flowId });
  };
  for (let item = 0; item < 32; item++) tell(caller, 'used-up');
  expect(agent.wire.take()).toHaveLength(32);
  for (let round = 0; round < 3; round++) {
    for (let flow = 0; flow < 2_000; flow++) tell(crowd, `flow-${round}-${flow}`);
    agent.wire.take();
    tell(caller, 'used-up');
    expect(agent.wire.take()).toEqual([]);
  }
  expect(agent.session.queuedMessages).toBe(3);
  agent.say({ type: 'CreditUpdate', flowId: 'used-up', credits: 32 });
  expect(agent.session.queuedMessages).toBe(0);
});

test('flows are let go in a time that grows with their number, also when something waits in each of them', () => {
  const { agent, caller } = pair();
  agent.lose();
  const waiting = 8_000;
  // A flow that is looked at is asked what waits in it.
  let looked = 0;
  const queued = Object.getOwnPropertyDescriptor(Flow.prototype, 'queued')!;
  const counting = function (this: Flow): number {
    looked++;
    return queued.get!.call(this);
  };
  Object.defineProperty(Flow.prototype, 'queued', { ...queued, get: counting });
  for (let flow = 0; flow < waiting; flow++) {
    caller.say({ type: 'Data', payload: 'item' }, { to: `x@${agent.path}`, flowId: `f-${flow}` });
  }
  Object.defineProperty(Flow.prototype, 'queued', queued);
  expect(agent.session.queuedMessages).toBeGreaterThanOrEqual(waiting);
  expect(looked).toBeLessThan(20 * waiting);
});
