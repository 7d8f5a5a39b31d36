import { decode, type Envelope, encode, type Frame, makeEnvelope, type Transport } from '@fame-fabric/shared';
import { memoryPair, settle } from '@fame-fabric/shared/testing';
import { describe, expect, test } from 'vitest';
import { benchSentinel } from '../testing/bench-sentinel.ts';
import { Uplink, Uplinks } from './uplink.ts';

/** The other side of an uplink: acknowledges the attach as `path` and keeps what it hears. */
function otherSide(assignedPath: () => string) {
  const heard: Envelope[] = [];
  let transport: Transport | undefined;
  let dials = 0;
  const dial = async (): Promise<Transport> => {
    dials++;
    const [ours, theirs] = memoryPair();
    transport = theirs;
    theirs.onMessage = (bytes) => {
      const envelope = decode(bytes);
      if (envelope.frame.type !== 'NodeAttach') {
        heard.push(envelope);
        return;
      }
      const ack: Frame = {
        type: 'NodeAttachAck',
        ok: true,
        targetSystemId: 'P',
        targetPhysicalPath: '/P',
        assignedPath: assignedPath(),
        software: 'fame-fabric/test',
      };
      theirs.send(encode(makeEnvelope(ack, { corrId: envelope.corrId! })));
    };
    theirs.onClose = () => {};
    return ours;
  };
  const addresses = (type: string): string[] =>
    heard.flatMap(({ frame }) => (frame.type === type && 'address' in frame ? [String(frame.address)] : []));
  return {
    dial,
    heard,
    addresses,
    cut: () => transport!.close(1006),
    say: (e: Envelope) => transport!.send(encode(e)),
    dials: () => dials,
  };
}

test('a parent learns what was bound before the link existed, what comes later, and what goes', async () => {
  const bench = benchSentinel();
  const early = bench.attach('early');
  early.bind('early@fame.fabric');
  const parent = otherSide(() => '/P/S');
  const parts = { ...bench, dial: parent.dial };
  const uplink = new Uplink(parts, { url: 'ws://parent', kind: 'parent' });
  let changes = 0;
  uplink.onPathChanged = () => changes++;
  const uplinks = new Uplinks([uplink], parts);
  bench.control.announcer = uplinks;
  bench.sessions.onUnbound = (_session, left) => {
    for (const address of left.addresses) uplinks.unbound(address);
  };

  await uplink.connect(1_000);
  await settle();
  expect(changes).toBe(1);
  expect(bench.self.path).toBe('/P/S');
  expect(parent.addresses('AddressBind')).toEqual(['early@fame.fabric']);

  const late = bench.attach('late');
  expect(late.path).toBe('/P/S/late');
  late.bind('late@fame.fabric');
  late.lose();
  await settle();
  expect(parent.addresses('AddressBind')).toEqual(['early@fame.fabric', 'late@fame.fabric']);
  expect(parent.addresses('AddressUnbind')).toEqual(['late@fame.fabric']);
  uplinks.close();
});

test('what nobody below serves goes to the parent, and the parent reaches what is below', async () => {
  const bench = benchSentinel();
  const parent = otherSide(() => '/S');
  const uplink = new Uplink({ ...bench, dial: parent.dial }, { url: 'ws://parent', kind: 'parent' });
  await uplink.connect(1_000);
  const node = bench.attach('node');
  node.bind('math@fame.fabric');
  expect(node.call('far@fame.fabric', 'c1')).toEqual([]);
  await settle();
  expect(parent.heard.find(({ corrId }) => corrId === 'c1')).toMatchObject({ to: 'far@fame.fabric' });
  const payload = { jsonrpc: '2.0', id: 'c2', method: 'add' };
  parent.say(
    makeEnvelope(
      { type: 'Data', payload },
      { to: 'math@fame.fabric', replyTo: '__rpc__x@/P/other', corrId: 'c2', rtype: 2, flowId: 'far' },
    ),
  );
  await settle();
  expect(node.wire.take().some(({ corrId }) => corrId === 'c2')).toBe(true);
  uplink.close();
});

test('a lost parent is dialled again, and told again', async () => {
  const bench = benchSentinel();
  bench.attach('node').bind('math@fame.fabric');
  const parent = otherSide(() => '/S');
  const uplink = new Uplink({ ...bench, dial: parent.dial }, { url: 'ws://parent', kind: 'parent' });
  await uplink.connect(1_000);
  await settle();
  parent.cut();
  await settle();
  await bench.clock.run(1_000);
  expect(parent.dials()).toBe(2);
  expect(parent.addresses('AddressBind')).toHaveLength(2);
  expect(bench.sessions.parent).toBeDefined();
  uplink.close();
});

test('calls from the parent that were open when the connection broke are answered once it is back', async () => {
  const bench = benchSentinel();
  const node = bench.attach('node');
  node.bind('math@fame.fabric');
  const parent = otherSide(() => '/S');
  const uplink = new Uplink({ ...bench, dial: parent.dial }, { url: 'ws://parent', kind: 'parent' });
  await uplink.connect(1_000);
  const payload = { jsonrpc: '2.0', id: 'c3', method: 'add' };
  const header = {
    to: 'math@fame.fabric',
    replyTo: '__rpc__x@/P/other',
    corrId: 'c3',
    rtype: 2,
    flowId: 'far',
  };
  parent.say(makeEnvelope({ type: 'Data', payload }, header));
  await settle();
  parent.cut();
  await settle();
  await bench.clock.run(1_000);
  const answer = parent.heard.find(({ corrId }) => corrId === 'c3');
  expect(answer).toMatchObject({ to: header.replyTo, frame: { ok: false, code: 'NODE_GONE' } });
  uplink.close();
});

test('what waits for a full connection to the parent leaves when that has drained', async () => {
  const bench = benchSentinel();
  const node = bench.attach('node');
  const parent = otherSide(() => '/S');
  let ours: Transport | undefined;
  const dial = async (): Promise<Transport> => {
    ours = await parent.dial();
    return ours;
  };
  const uplink = new Uplink({ ...bench, dial }, { url: 'ws://parent', kind: 'parent' });
  await uplink.connect(1_000);
  Object.defineProperty(ours!, 'bufferedBytes', { value: 1_000_000, configurable: true });
  node.call('far@fame.fabric', 'c4');
  await settle();
  expect(parent.heard.some(({ corrId }) => corrId === 'c4')).toBe(false);
  Object.defineProperty(ours!, 'bufferedBytes', { value: 0 });
  ours!.onDrain?.();
  await settle();
  expect(parent.heard.some(({ corrId }) => corrId === 'c4')).toBe(true);
  uplink.close();
});

async function belowAParent() {
  const bench = benchSentinel({ maxAddressesPerNode: 1_000 });
  const parent = otherSide(() => '/S');
  const parts = { ...bench, dial: parent.dial };
  const uplink = new Uplink(parts, { url: 'ws://parent', kind: 'parent' });
  const uplinks = new Uplinks([uplink], parts);
  bench.control.announcer = uplinks;
  await uplink.connect(1_000);
  return { bench, parent, uplinks };
}

describe('what the parent refuses', () => {
  async function withANode() {
    const { bench, parent, uplinks } = await belowAParent();
    const node = bench.attach('node');
    /** The parent answers what it was told last. */
    const answer = async (address: string, ok: boolean, code?: string): Promise<void> => {
      parent.say(
        makeEnvelope({ type: 'AddressBindAck', ok, address, ...(code ? { code } : {}) }, { corrId: 'b' }),
      );
      await settle();
    };
    const asked = async (): Promise<string[]> => {
      parent.heard.length = 0;
      await bench.clock.run(15_000, 15_000);
      return parent.addresses('AddressBind');
    };
    const warnings = () => bench.log.lines.filter(({ message }) => message.includes('refused above'));
    return { bench, parent, uplinks, node, answer, asked, warnings };
  }

  test('is asked for again with every heartbeat until it is taken, and logged once', async () => {
    const { node, uplinks, answer, asked, warnings } = await withANode();
    node.bind('math@fame.fabric');
    await answer('math@fame.fabric', false, 'QUOTA_EXCEEDED');
    expect(await asked()).toEqual(['math@fame.fabric']);
    await answer('math@fame.fabric', false, 'QUOTA_EXCEEDED');
    expect(await asked()).toEqual(['math@fame.fabric']);
    await answer('math@fame.fabric', true);
    expect(await asked()).toEqual([]);
    expect(warnings()).toHaveLength(1);
    uplinks.close();
  });

  test('is forgotten when it can never be taken, and when nobody below serves it any more', async () => {
    const { node, uplinks, answer, asked } = await withANode();
    node.bind('odd@fame.fabric');
    await answer('odd@fame.fabric', false, 'ADDRESS_FORBIDDEN');
    node.bind('math@fame.fabric');
    node.say({ type: 'AddressUnbind', address: 'math@fame.fabric' });
    await answer('math@fame.fabric', false, 'ADDRESS_IN_USE');
    expect(await asked()).toEqual([]);
    uplinks.close();
  });

  test('is asked for a few at a time, and each in its turn', async () => {
    const { node, uplinks, answer, asked } = await withANode();
    const addresses = Array.from({ length: 100 }, (_, i) => `a${i}@fame.fabric`);
    for (const address of addresses) {
      node.say({ type: 'AddressBind', address }, { corrId: 'bind' });
      await answer(address, false, 'QUOTA_EXCEEDED');
    }
    const first = await asked();
    expect(first).toEqual(addresses.slice(0, 64));
    for (const address of first) await answer(address, false, 'QUOTA_EXCEEDED');
    expect(await asked()).toEqual([...addresses.slice(64), ...addresses.slice(0, 28)]);
    uplinks.close();
  });

  test('is asked for again when it is a capability too', async () => {
    const { bench, node, parent, uplinks } = await withANode();
    const address = 'math@fame.fabric';
    node.say({ type: 'CapabilityAdvertise', capabilities: ['sums'], address }, { corrId: 'c' });
    parent.say(
      makeEnvelope(
        {
          type: 'CapabilityAdvertiseAck',
          ok: false,
          capabilities: ['sums'],
          address,
          code: 'QUOTA_EXCEEDED',
        },
        { corrId: 'c' },
      ),
    );
    await settle();
    parent.heard.length = 0;
    await bench.clock.run(15_000, 15_000);
    expect(parent.addresses('CapabilityAdvertise')).toEqual([address]);
    uplinks.close();
  });

  test('is learnt from the parent alone', async () => {
    const { bench, node, uplinks, warnings } = await withANode();
    const other = bench.attach('other');
    node.bind('math@fame.fabric');
    other.say({ type: 'AddressBindAck', ok: false, address: 'math@fame.fabric', code: 'QUOTA_EXCEEDED' });
    expect(warnings()).toEqual([]);
    uplinks.close();
  });
});

test('a capability is withdrawn above with the address that it was advertised with', async () => {
  const { bench, parent, uplinks } = await belowAParent();
  const nodes = ['one', 'two'].map((name) => ({ node: bench.attach(name), address: `${name}@fame.fabric` }));
  const capabilities = ['sums'];
  for (const { node, address } of nodes)
    node.say({ type: 'CapabilityAdvertise', capabilities, address }, { corrId: 'c' });
  for (const { node, address } of nodes)
    node.say({ type: 'CapabilityWithdraw', capabilities, address }, { corrId: 'c' });
  await settle();
  expect(parent.addresses('CapabilityAdvertise')).toEqual(['one@fame.fabric']);
  expect(parent.addresses('CapabilityWithdraw')).toEqual(['one@fame.fabric']);
  uplinks.close();
});
