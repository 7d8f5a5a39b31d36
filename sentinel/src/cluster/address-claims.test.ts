// Claims of addresses at the same time, owners after a loss of NATS, and sentinels that leave, on a bus in memory.
import type { Principal } from '@fame-fabric/shared';
import { ManualClock } from '@fame-fabric/shared/testing';
import { describe, expect, test } from 'vitest';
import {
  bind,
  bindResult,
  clusterOf,
  codes,
  OURS,
  received,
  replyTo,
  requestBind,
  settle,
} from '../testing/cluster-parts.ts';
import { MemoryOwnerStore } from '../testing/memory-owners.ts';

const ADA: Principal = { id: 'ada', roles: ['agent'] };
const BOB: Principal = { id: 'bob', roles: ['agent'] };
const CAROL: Principal = { id: 'carol', roles: ['agent'] };
const CHAT = 'chat@fame.fabric';

const withOwners = async () => {
  const clock = new ManualClock();
  const store = new MemoryOwnerStore(clock);
  return { store, ...(await clusterOf(['A', 'B', 'C'], { clock, store })) };
};

describe('claims at the same time', () => {
  test('the key of a lost sentinel gets its address although another claim came first', async () => {
    const { A, B, C, buses, clock } = await withOwners();
    await bind(A.attach('owner', { ...OURS, principal: ADA }), CHAT);
    buses.A.connect(false);
    const rival = B.attach('rival', { ...OURS, principal: BOB });
    const successor = C.attach('successor', { ...OURS, principal: ADA });
    requestBind(rival, CHAT);
    // The claim of the rival is being written into the table of owners while this one arrives.
    requestBind(successor, CHAT);
    await settle();
    clock.advance(100);
    expect(await bindResult(successor)).toBeUndefined();
    clock.advance(1_000);
    expect(await bindResult(rival)).toBe('ADDRESS_IN_USE');
  });

  test('one is granted although the later one is older and no table decides', async () => {
    const { A, B, clock, server } = await clusterOf(['A', 'B']);
    // The epochs of B are ahead of those of A.
    server.loses = ({ subject }) => subject === 'fame.test.e';
    for (let i = 0; i < 5; i++) await bind(B.attach(`ahead-${i}`, OURS), `ahead-${i}@fame.fabric`);
    server.loses = () => false;
    const nodes = [B, A].map((sentinel) => sentinel.attach('agent', { ...OURS, principal: ADA }));
    for (const node of nodes) requestBind(node, CHAT);
    await settle();
    for (let i = 0; i < 5; i++) {
      clock.advance(100);
      await settle();
    }
    const results = await Promise.all(nodes.map(bindResult));
    expect(results.toSorted()).toEqual(['ADDRESS_IN_USE', undefined]);
    expect(nodes.map(({ transport }) => transport.closed)).toEqual([undefined, undefined]);
  });

  test('a claim that waits for an owner does not let another one pass the owner', async () => {
    const { A, B, C, clock } = await clusterOf(['A', 'B', 'C']);
    const owner = A.attach('owner', { ...OURS, principal: ADA });
    await bind(owner, CHAT);
    owner.lose();
    const first = B.attach('first', { ...OURS, principal: BOB });
    expect(await bind(first, CHAT)).toBe('waits');
    const second = C.attach('second', { ...OURS, principal: CAROL });
    expect(await bind(second, CHAT)).toBe('waits');
    clock.advance(200);
    expect(await bindResult(second)).toBe('waits');
    expect(A.bindings.ownOwner(CHAT)).toBe(owner.session);
  });

  test('a claim that waits for an owner is repeated if its sentinel is gone', async () => {
    const { A, B, pass } = await clusterOf(['A', 'B']);
    const owner = A.attach('owner', { ...OURS, principal: ADA });
    await bind(owner, CHAT);
    owner.lose();
    const rival = B.attach('rival', { ...OURS, principal: BOB });
    expect(await bind(rival, CHAT)).toBe('waits');
    await A.cluster!.close();
    await pass(2);
    expect(await bindResult(rival)).toBeUndefined();
  });
});

describe('epochs', () => {
  test('the older owner stays after an absence of NATS, although the clock of its sentinel is ahead', async () => {
    const { A, B, buses, clock, pass } = await clusterOf(['A', 'B']);
    const first = A.attach('first', { ...OURS, principal: ADA });
    await bind(first, CHAT);
    buses.A.connect(false);
    clock.stepWall(-3_600_000);
    const second = B.attach('second', { ...OURS, principal: BOB });
    expect(await bind(second, CHAT)).toBeUndefined();
    buses.A.connect(true);
    await pass(2);
    expect(second.transport.closed).toMatchObject({ code: 1012 });
    expect(first.transport.closed).toBeUndefined();
  });

  test('an owner that the cluster confirmed stays, and one of a sentinel without NATS yields', async () => {
    const { A, B, buses, clock, pass } = await clusterOf(['A', 'B']);
    buses.A.connect(false);
    await pass(4);
    const alone = A.attach('alone', { ...OURS, principal: ADA });
    alone.bind(CHAT);
    clock.advance(1_000);
    const confirmed = B.attach('confirmed', { ...OURS, principal: BOB });
    expect(await bind(confirmed, CHAT)).toBeUndefined();
    buses.A.connect(true);
    await pass(2);
    expect(alone.transport.closed).toMatchObject({ code: 1012 });
    expect(confirmed.transport.closed).toBeUndefined();
    expect(A.log.lines).toContainEqual(
      expect.objectContaining({ fields: expect.objectContaining({ address: CHAT, sentinel: 'B' }) }),
    );
  });
});

describe('a sentinel that leaves', () => {
  test('frees the addresses of nodes without a key at once', async () => {
    const { A, B, store } = await withOwners();
    await bind(A.attach('owner', OURS), CHAT);
    await A.cluster!.close();
    expect(store.entries.get(CHAT)?.record).toBeUndefined();
    expect(store.leases.get('A')).toMatchObject({ hasLeft: true });
    expect(await bind(B.attach('next', { ...OURS, principal: BOB }), CHAT)).toBeUndefined();
  });

  test('leaves the addresses of a key to the key, for the time of a hold', async () => {
    const { A, B, C, pass } = await withOwners();
    await bind(A.attach('owner', { ...OURS, principal: ADA }), CHAT);
    await A.cluster!.close();
    const rival = B.attach('rival', { ...OURS, principal: BOB });
    expect(await bind(rival, CHAT)).toBe('ADDRESS_IN_USE');
    const successor = C.attach('successor', { ...OURS, principal: ADA });
    requestBind(successor, CHAT);
    await settle();
    await pass(1);
    expect(await bindResult(successor)).toBeUndefined();
  });

  test('frees the addresses of a key after the time of a hold', async () => {
    const { A, B, pass } = await withOwners();
    await bind(A.attach('owner', { ...OURS, principal: ADA }), CHAT);
    await A.cluster!.close();
    await pass(61);
    expect(await bind(B.attach('next', { ...OURS, principal: BOB }), CHAT)).toBeUndefined();
  });
});

test('a sentinel has links to at most 64 others', async () => {
  const ids = Array.from({ length: 66 }, (_, at) => `S${at}`);
  const sentinels = await clusterOf(ids);
  await settle();
  const counts = ids.map((id) => sentinels[id]!.cluster!.status.members.length);
  expect(Math.max(...counts)).toBe(64);
});

test('a cached route by capabilities ends if its node withdraws one that another node of the sentinel has', async () => {
  const { A, B, C } = await clusterOf(['A', 'B', 'C']);
  const advertise = async (node: ReturnType<typeof B.attach>, address: string, ...capabilities: string[]) => {
    await bind(node, address);
    node.send({ type: 'CapabilityAdvertise', address, capabilities }, { corrId: 'adv' });
    await received(node);
  };
  const both = B.attach('both', OURS);
  await advertise(both, 'both@fame.fabric', 'x.count', 'x.add');
  await advertise(B.attach('half', OURS), 'half@fame.fabric', 'x.add');
  const caller = A.attach('caller', OURS);
  const call = async (corrId: string): Promise<unknown[]> => {
    caller.send(
      { type: 'Data', payload: { jsonrpc: '2.0', id: corrId, method: 'add', params: {} } },
      { capabilities: ['x.count', 'x.add'], corrId, rtype: 2, replyTo: replyTo(caller) },
    );
    return codes(await received(caller));
  };
  expect(await call('c1')).toEqual([]);
  expect(await received(both)).toMatchObject([{ corrId: 'c1' }]);
  both.send({ type: 'CapabilityWithdraw', address: 'both@fame.fabric', capabilities: ['x.add'] });
  const successor = C.attach('successor', OURS);
  await bind(successor, 'successor@fame.fabric');
  successor.send(
    { type: 'CapabilityAdvertise', address: 'successor@fame.fabric', capabilities: ['x.count', 'x.add'] },
    { corrId: 'adv' },
  );
  await received(successor);
  const codesOfCalls = [await call('c2'), await call('c3')];
  expect(codesOfCalls.at(-1)).toEqual([]);
  expect((await received(successor)).map(({ frame }) => frame.type)).toContain('Data');
});

test('after a wipe of JetStream, a sentinel writes many owners at the same time', async () => {
  let reads = 0;
  let mostReads = 0;
  class CountingStore extends MemoryOwnerStore {
    override tableOf(id: string): ReturnType<MemoryOwnerStore['tableOf']> {
      const table = super.tableOf(id);
      const get: typeof table.get = async (address) => {
        mostReads = Math.max(mostReads, ++reads);
        await settle();
        reads--;
        return table.get(address);
      };
      return { ...table, get };
    }
  }
  const clock = new ManualClock();
  const store = new CountingStore(clock);
  const { A, pass } = await clusterOf(['A'], { clock, store, maxAddressesPerNode: 200 });
  const node = A.attach('node', { ...OURS, principal: ADA });
  for (let i = 0; i < 130; i++) requestBind(node, `a${i}@fame.fabric`);
  await pass(3);
  expect(store.entries.size).toBe(130);
  mostReads = 0;
  store.wipe();
  await pass(6);
  expect(store.entries.size).toBe(130);
  expect(mostReads).toBe(64);
});
