import type { AddressBindAck, Principal } from '@fame-fabric/shared';
import { settle } from '@fame-fabric/shared/testing';
import { describe, expect, test, vi } from 'vitest';
import { type FakeNode, makeTestParts, type TestOptions } from './testing/sentinel-parts.ts';

const CHAT = 'chat@fame.fabric';
const LOCAL: Principal = { id: 'local', roles: ['admin'] };

function fabric(options: TestOptions = {}) {
  const parts = makeTestParts(options);
  const { attach, clock } = parts;
  const caller = attach('caller');
  let calls = 0;
  /** Outcome of a call: the node that received it, or the code of the refusal. */
  const reached = (to: string, nodes: readonly FakeNode[], more = {}): string => {
    const corrId = `c${++calls}`;
    const nack = caller.call(to, corrId, more).find((answer) => answer.corrId === corrId);
    if (nack !== undefined) return (nack.frame as { code: string }).code;
    const node = nodes.find(({ transport }) => transport.sent.length > 0);
    node?.transport.take();
    return node?.session.systemId ?? 'no node';
  };
  /** Sends a bind; the outcome is `granted`, the code of the refusal, or `waits`. */
  const bind = (node: FakeNode, address = CHAT): string =>
    outcome(
      node
        .send({ type: 'AddressBind', address }, { corrId: 'b', rtype: 1 })
        .find(({ frame }) => frame.type === 'AddressBindAck')?.frame,
    );
  /** The outcome of a bind that waited. */
  const late = async (node: FakeNode): Promise<string> => {
    await settle();
    return outcome(node.transport.take()[0]?.frame);
  };
  const pass = async (ms: number): Promise<void> => {
    await clock.run(ms, 500);
  };
  return { ...parts, caller, reached, bind, late, pass };
}

function outcome(frame: unknown): string {
  if (frame === undefined) return 'waits';
  const { ok, code } = frame as AddressBindAck;
  return ok ? 'granted' : code!;
}

describe('a lost node', () => {
  test('HD7: its address is neither refused nor given to a rival before the window ends', async () => {
    const { attach, bind, late, pass, reached } = fabric();
    const agent = attach('agent');
    agent.bind(CHAT);
    agent.lose();
    const rivals = [attach('first'), attach('second')];
    expect(rivals.map((rival) => bind(rival))).toEqual(['waits', 'waits']);
    expect(reached(CHAT, rivals)).toBe('NODE_GONE');
    await pass(4_999);
    expect(await late(rivals[0]!)).toBe('waits');
    await pass(1);
    expect(await late(rivals[0]!)).toBe('granted');
    expect(await late(rivals[1]!)).toBe('ADDRESS_IN_USE');
    expect(reached(CHAT, rivals)).toBe('first');
  });

  test('HD7: neither a pool nor a peer gets its calls', async () => {
    const { attach, bind, pass, reached } = fabric();
    const agent = attach('agent');
    agent.bind(CHAT);
    const member = attach('member');
    member.bind('chat@*.fame.fabric');
    const peer = attach('peer', { peer: true });
    bind(peer);
    peer.transport.take();
    expect(reached(CHAT, [agent, member, peer])).toBe('agent');
    agent.lose();
    expect(reached(CHAT, [member, peer])).toBe('NODE_GONE');
    await pass(5_000);
    expect(reached(CHAT, [member, peer])).toBe('peer');
  });

  test('returns and keeps its address; the rival is refused', async () => {
    const { attach, bind, late, reached } = fabric();
    const agent = attach('agent');
    agent.bind(CHAT);
    agent.lose();
    const rival = attach('rival');
    expect(bind(rival)).toBe('waits');
    const back = attach('agent');
    expect(await late(rival)).toBe('waits');
    back.bind(CHAT);
    expect(await late(rival)).toBe('ADDRESS_IN_USE');
    expect(reached(CHAT, [back, rival])).toBe('agent');
  });

  test('returns without binding its address again: the address is free after one more window', async () => {
    const { attach, bind, late, pass } = fabric();
    const agent = attach('agent');
    agent.bind(CHAT);
    agent.bind('kept@fame.fabric');
    agent.lose();
    const back = attach('agent', { instanceId: 'next', resumeToken: agent.resumeToken });
    back.bind('kept@fame.fabric');
    const rival = attach('rival');
    expect(bind(rival)).toBe('waits');
    await pass(5_000);
    expect(await late(rival)).toBe('granted');
    expect(bind(rival, 'kept@fame.fabric')).toBe('waits');
    expect(await late(rival)).toBe('ADDRESS_IN_USE');
  });

  test('a successor with its token gets the address at once', () => {
    const { attach, bind, reached } = fabric();
    const agent = attach('agent');
    agent.bind(CHAT);
    agent.lose();
    const next = attach('agent', { instanceId: 'next', resumeToken: agent.resumeToken });
    expect(bind(next)).toBe('granted');
    expect(reached(CHAT, [next])).toBe('agent');
  });

  test('a node with its key gets the address at once, one with no key waits', () => {
    const { attach, bind } = fabric();
    const agent = attach('agent', { principal: LOCAL });
    agent.bind(CHAT);
    agent.lose();
    expect(bind(attach('stranger'))).toBe('waits');
    expect(bind(attach('other', { principal: LOCAL }))).toBe('granted');
  });

  test('a rival that loses its connection is forgotten', async () => {
    const { attach, bind, bindings, clock, late, pass } = fabric();
    const agent = attach('agent');
    agent.bind(CHAT);
    agent.lose();
    const [rival, second] = [attach('rival'), attach('second')];
    expect([bind(rival), bind(second)]).toEqual(['waits', 'waits']);
    rival.lose(1000);
    await pass(5_000);
    expect(await late(second)).toBe('granted');
    expect(bindings.owner(CHAT)).toBe(second.session);
    expect(clock.timerCount).toBe(0);
  });

  test('a call that its caller sends again is answered by the successor, any other fails when the window ends', async () => {
    const { attach, bind, caller, pass } = fabric();
    const agent = attach('agent');
    agent.bind(CHAT);
    caller.call(CHAT, 'once');
    caller.call(CHAT, 'again', { rtype: 3 });
    const request = agent.transport.take().find(({ corrId }) => corrId === 'again')!;
    agent.lose();
    const next = attach('next');
    expect(bind(next)).toBe('waits');
    await pass(5_000);
    expect(caller.transport.take()).toMatchObject([{ corrId: 'once', frame: { code: 'NODE_GONE' } }]);
    next.reply(request, 'from the journal');
    expect(caller.transport.take()).toMatchObject([{ corrId: 'again', frame: { type: 'Data' } }]);
    await pass(5_000);
    expect(caller.transport.take()).toEqual([]);
  });

  test('an unbind ends a bind that waits', () => {
    const { attach, bind, clock, bindings } = fabric();
    const agent = attach('agent');
    agent.bind(CHAT);
    agent.lose();
    const rival = attach('rival');
    expect(bind(rival)).toBe('waits');
    const acks = rival.send({ type: 'AddressUnbind', address: CHAT }, { corrId: 'u', rtype: 1 });
    expect(acks.map(({ frame }) => outcome(frame))).toEqual(['ADDRESS_IN_USE', 'granted']);
    clock.advance(5_000);
    expect(bindings.owner(CHAT)).toBeUndefined();
  });

  test('binds that wait count towards the limit of addresses', () => {
    const { attach, bind } = fabric({ maxAddressesPerNode: 3 });
    const agent = attach('agent');
    for (const name of ['a', 'b', 'c']) agent.bind(`${name}@fame.fabric`);
    agent.lose();
    const rival = attach('rival');
    const outcomes = ['a', 'b', 'c', 'd'].map((name) => bind(rival, `${name}@fame.fabric`));
    expect(outcomes).toEqual(['waits', 'waits', 'waits', 'QUOTA_EXCEEDED']);
    // Some nodes send each bind twice.
    expect(bind(rival, 'a@fame.fabric')).toBe('waits');
  });

  test('a node that repeats its requests has at most four of them waiting', () => {
    const { attach, bind, clock } = fabric();
    const agent = attach('agent');
    agent.bind(CHAT);
    agent.lose();
    const rival = attach('rival');
    const before = clock.timerCount;
    expect([1, 2, 3, 4].map(() => bind(rival))).toEqual(['waits', 'waits', 'waits', 'waits']);
    for (let n = 0; n < 20; n++) expect(bind(rival)).toBe('ADDRESS_IN_USE');
    const capabilities = ['x'];
    for (let n = 0; n < 100; n++) {
      rival.send({ type: 'CapabilityAdvertise', capabilities, address: CHAT }, { corrId: `c${n}` });
    }
    // Four binds, four advertisements, and the timer of the log.
    expect(clock.timerCount - before).toBeLessThanOrEqual(9);
  });

  test('without a window the address is free at once', () => {
    const { attach, bind } = fabric({ resumeWindowMs: 0 });
    const agent = attach('agent');
    agent.bind(CHAT);
    agent.lose();
    expect(bind(attach('rival'))).toBe('granted');
  });
});

describe('a silent holder', () => {
  test('HD7: keeps its address when it answers again, however often rivals bind it', async () => {
    const { attach, bind, late, pass, reached } = fabric();
    const agent = attach('agent');
    agent.bind(CHAT);
    agent.transport.isAlive = false;
    const rivals = Array.from({ length: 3 }, (_, n) => attach(`rival-${n}`));
    for (const rival of rivals) expect(bind(rival)).toBe('waits');
    await pass(5_000);
    agent.transport.isAlive = true;
    await pass(5_000);
    for (const rival of rivals) expect(await late(rival)).toBe('ADDRESS_IN_USE');
    expect(agent.session.state).toBe('attached');
    expect(reached(CHAT, [agent, ...rivals])).toBe('agent');
  });

  test('is refused to a rival after 18 s at the latest, because other nodes wait 20 s for the ack', async () => {
    const { attach, bind, late, pass } = fabric();
    const agent = attach('agent');
    agent.bind(CHAT);
    agent.transport.isAlive = false;
    const rival = attach('rival');
    expect(bind(rival)).toBe('waits');
    await pass(17_500);
    expect(await late(rival)).toBe('waits');
    await pass(500);
    expect(await late(rival)).toBe('ADDRESS_IN_USE');
    expect(agent.session.state).toBe('attached');
  });

  test('is evicted by the sweeper after 30 s; then a rival that waits gets the address', async () => {
    const { attach, bind, late, pass, sweeper } = fabric();
    sweeper.start();
    const agent = attach('agent');
    agent.bind(CHAT);
    agent.transport.isAlive = false;
    await pass(20_000);
    const rival = attach('rival');
    expect(bind(rival)).toBe('waits');
    await pass(12_000);
    expect(agent.session.state).toBe('gone');
    expect(await late(rival)).toBe('granted');
  });

  test('is evicted for a rival with its key', async () => {
    const { attach, bind, late } = fabric();
    const agent = attach('agent', { principal: LOCAL });
    agent.bind(CHAT);
    agent.transport.isAlive = false;
    const stranger = attach('stranger');
    expect(bind(stranger)).toBe('waits');
    const next = attach('next', { principal: LOCAL });
    expect(bind(next)).toBe('waits');
    await settle();
    expect(await late(next)).toBe('granted');
    expect(agent.session.state).toBe('gone');
    expect(await late(stranger)).toBe('ADDRESS_IN_USE');
  });
});

describe('an address that was bound with a key', () => {
  test('HD7: belongs to the key for a while after its node has left', async () => {
    const { attach, bind, pass, reached } = fabric();
    const agent = attach('agent', { principal: LOCAL });
    agent.bind(CHAT);
    agent.lose(1000);
    const stranger = attach('stranger');
    expect(bind(stranger)).toBe('ADDRESS_IN_USE');
    stranger.bind('chat@*.fame.fabric');
    const peer = attach('peer', { peer: true });
    bind(peer);
    expect(reached(CHAT, [stranger, peer])).toBe('NO_ROUTE');
    await pass(59_999);
    expect(bind(stranger)).toBe('ADDRESS_IN_USE');
    const next = attach('next', { principal: LOCAL });
    expect(bind(next)).toBe('granted');
    next.send({ type: 'AddressUnbind', address: CHAT }, { corrId: 'u', rtype: 1 });
    expect(bind(stranger)).toBe('ADDRESS_IN_USE');
    await pass(60_000);
    expect(reached(CHAT, [stranger, peer])).toBe('peer');
  });

  test('the number of addresses that are held is bounded', () => {
    const { attach, bind, clock } = fabric({ maxAddressesPerNode: 5_000 });
    const before = clock.timerCount;
    const agent = attach('agent', { principal: LOCAL });
    for (let n = 0; n < 5_000; n++) {
      agent.send({ type: 'AddressBind', address: `a${n}@fame.fabric` });
    }
    agent.lose(1000);
    expect(clock.timerCount - before).toBe(4_096);
    const stranger = attach('stranger');
    expect(bind(stranger, 'a0@fame.fabric')).toBe('granted');
    expect(bind(stranger, 'a4999@fame.fabric')).toBe('ADDRESS_IN_USE');
  });
});

test('a key with many addresses frees its own, and not those of other keys', () => {
  const { attach, bind } = fabric({ maxAddressesPerNode: 5_000 });
  const ada = attach('ada', { principal: { id: 'ada', roles: ['agent'] } });
  ada.bind(CHAT);
  ada.lose(1000);
  const eve = attach('eve', { principal: { id: 'eve', roles: ['agent'] } });
  for (let n = 0; n < 5_000; n++) eve.send({ type: 'AddressBind', address: `a${n}@fame.fabric` });
  eve.lose(1000);
  const rival = attach('rival', { principal: { id: 'eve', roles: ['agent'] } });
  expect(bind(rival)).toBe('ADDRESS_IN_USE');
  expect(bind(attach('stranger'), 'a0@fame.fabric')).toBe('granted');
});

describe('an address of a peer', () => {
  test('HD1: is not given to a node without a key while the peer serves it', async () => {
    const { attach, bind, late, pass, reached } = fabric();
    const peer = attach('peer', { peer: true });
    bind(peer);
    const stranger = attach('stranger');
    expect(bind(stranger)).toBe('waits');
    await pass(5_000);
    expect(await late(stranger)).toBe('ADDRESS_IN_USE');
    expect(reached(CHAT, [peer, stranger])).toBe('peer');
    expect(bind(attach('ours', { principal: LOCAL }))).toBe('granted');
  });

  test('is given to a waiting node when the peer withdraws it', async () => {
    const { attach, bind, late } = fabric();
    const peer = attach('peer', { peer: true });
    bind(peer);
    const node = attach('node');
    expect(bind(node)).toBe('waits');
    peer.send({ type: 'AddressUnbind', address: CHAT });
    expect(await late(node)).toBe('granted');
  });
});

describe('capabilities', () => {
  const capabilities = ['fame.capability.math'];
  const advertise = (node: FakeNode, address: string, names = capabilities): string =>
    outcome(
      node.send({ type: 'CapabilityAdvertise', capabilities: names, address }, { corrId: 'c', rtype: 1 })[0]
        ?.frame,
    );

  test('HD7: those of a lost node wait for the end of its window, except the capability of every agent', async () => {
    const { attach, late, pass, reached } = fabric();
    const agent = attach('agent');
    agent.bind(CHAT);
    expect(advertise(agent, CHAT, [...capabilities, 'fame.capability.agent'])).toBe('granted');
    agent.lose();
    const other = attach('other');
    other.bind('other@fame.fabric');
    expect(advertise(other, 'other@fame.fabric', ['fame.capability.agent'])).toBe('granted');
    expect(advertise(other, 'other@fame.fabric')).toBe('waits');
    expect(reached('', [other], { to: undefined, capabilities })).toMatch(/^(NO_ROUTE|NODE_GONE)$/);
    await pass(5_000);
    expect(await late(other)).toBe('granted');
    expect(reached('', [other], { to: undefined, capabilities })).toBe('other');
  });

  test('an advertisement that follows a bind without waiting for its ack is answered after it', async () => {
    const { attach, bind, pass } = fabric();
    const agent = attach('agent');
    agent.bind(CHAT);
    agent.lose();
    const next = attach('next');
    expect(bind(next)).toBe('waits');
    expect([advertise(next, CHAT), advertise(next, CHAT, ['other'])]).toEqual(['waits', 'waits']);
    await pass(5_000);
    const acks = next.transport.take().map(({ frame }) => frame);
    expect(acks).toMatchObject([
      { type: 'AddressBindAck', ok: true },
      { type: 'CapabilityAdvertiseAck', ok: true },
      { type: 'CapabilityAdvertiseAck', ok: true },
    ]);
  });

  test('HD23: a node without a key gets no calls while one with a key has the capability', () => {
    const { attach, reached } = fabric();
    const ours = attach('ours', { principal: LOCAL });
    ours.bind('ours@fame.fabric');
    expect(advertise(ours, 'ours@fame.fabric')).toBe('granted');
    const strangers = Array.from({ length: 20 }, (_, n) => {
      const stranger = attach(`stranger-${n}`);
      stranger.bind(`stranger-${n}@fame.fabric`);
      expect(advertise(stranger, `stranger-${n}@fame.fabric`)).toBe('granted');
      return stranger;
    });
    for (let n = 0; n < 30; n++) {
      expect(reached('', [ours, ...strangers], { to: undefined, capabilities })).toBe('ours');
    }
    ours.lose();
    expect(reached('', strangers, { to: undefined, capabilities })).toBe('NODE_GONE');
  });
});

test('HD7: a holder that binds its address again causes no work for each rival that waits', () => {
  const { attach, bind, bindings } = fabric();
  const holder = attach('holder');
  holder.bind(CHAT);
  for (let n = 0; n < 20; n++) {
    const rival = attach(`rival-${n}`);
    expect(bind(rival)).toBe('waits');
    rival.send({ type: 'CapabilityAdvertise', address: CHAT, capabilities: ['chat'] });
  }
  const lookedUp = vi.spyOn(bindings, 'owner');
  holder.bind(CHAT);
  expect(lookedUp.mock.calls.length).toBeLessThan(5);
});

describe('a pool of nodes with a key', () => {
  const replicas = () => {
    const parts = fabric();
    const replica = parts.attach('replica', { principal: LOCAL });
    return { ...parts, replica };
  };

  test.each([CHAT, 'chat@eu.fame.fabric'])('a stranger cannot bind %s, an address of the pool', (address) => {
    const { attach, bind, reached, replica } = replicas();
    replica.bind('chat@*.fame.fabric');
    const stranger = attach('stranger');
    expect(bind(stranger, address)).toBe('ADDRESS_IN_USE');
    expect(reached(address, [stranger, replica])).toBe('replica');
    expect(bind(stranger, 'chat@fame.other')).toBe('granted');
    expect(bind(attach('ours', { principal: LOCAL }), address)).toBe('granted');
  });

  test.each([CHAT, 'chat@*.fabric', 'chat@*.fame.fabric'])(
    'a stranger that bound %s before gets no message of the pool',
    (address) => {
      const { attach, reached, replica } = replicas();
      const stranger = attach('stranger');
      stranger.bind(address);
      expect(reached(CHAT, [stranger, replica])).toBe('stranger');
      replica.bind('chat@*.fame.fabric');
      expect(reached(CHAT, [stranger, replica])).toBe('replica');
      replica.lose(1000);
      expect(reached(CHAT, [stranger, replica])).toBe('stranger');
    },
  );
});
