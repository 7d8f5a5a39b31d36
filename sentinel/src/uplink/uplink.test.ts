import {
  decode,
  type Envelope,
  encode,
  type Frame,
  makeEnvelope,
  type NodeAttach,
  type TokenSource,
  type Transport,
} from '@fame-fabric/shared';
import { memoryPair, settle } from '@fame-fabric/shared/testing';
import { describe, expect, test } from 'vitest';
import { makeTestParts, type TestOptions } from '../testing/sentinel-parts.ts';
import { Uplink } from './uplink.ts';

/** The other side of an uplink: acknowledges the attach with `assignedPath` and keeps the envelopes that it receives. */
function otherSide(assignedPath: string) {
  const received: Envelope[] = [];
  let transport: Transport | undefined;
  let dials = 0;
  let refusals = 0;
  const dial = async (): Promise<Transport> => {
    dials++;
    const [ours, theirs] = memoryPair();
    transport = theirs;
    theirs.onMessage = (bytes) => {
      const envelope = decode(bytes);
      if (envelope.frame.type !== 'NodeAttach') {
        received.push(envelope);
        return;
      }
      const ack: Frame =
        refusals-- > 0
          ? { type: 'NodeAttachAck', ok: false, code: 'ADMIT_FULL', reason: 'full' }
          : {
              type: 'NodeAttachAck',
              ok: true,
              targetSystemId: 'P',
              targetPhysicalPath: '/P',
              assignedPath,
              software: 'fame-fabric/test',
            };
      theirs.send(encode(makeEnvelope(ack, { corrId: envelope.corrId! })));
    };
    theirs.onClose = () => {};
    return ours;
  };
  const addresses = (type: string): string[] =>
    received.flatMap(({ frame }) =>
      frame.type === type && 'address' in frame ? [String(frame.address)] : [],
    );
  return {
    dial,
    received,
    addresses,
    cut: () => transport!.close(1006),
    send: (envelope: Envelope) => transport!.send(encode(envelope)),
    dials: () => dials,
    refuse: (attaches: number) => {
      refusals = attaches;
    },
  };
}

/** A sentinel without an uplink, and the function that attaches it to its parent. */
function childSentinel(assignedPath: string, options?: TestOptions) {
  const parts = makeTestParts(options);
  const parent = otherSide(assignedPath);
  const uplink = new Uplink({ ...parts, dial: parent.dial }, { url: 'ws://parent', kind: 'parent' });
  const connect = async (): Promise<void> => {
    await uplink.connect(1_000);
    await settle();
  };
  return { parts, parent, uplink, connect };
}

test('the token of a connection is renewed on it, before it expires', async () => {
  const parts = makeTestParts();
  const [ours, theirs] = memoryPair();
  const attaches: Envelope<NodeAttach>[] = [];
  theirs.onMessage = (bytes) => {
    const { corrId, frame, ...header } = decode(bytes);
    if (frame.type !== 'NodeAttach') return;
    attaches.push({ ...header, frame });
    const ack = { type: 'NodeAttachAck', ok: true, assignedPath: '/P/S', targetPhysicalPath: '/P' } as const;
    theirs.send(encode(makeEnvelope({ ...ack, expiresInMs: 100_000 }, { corrId: corrId! })));
  };
  let tokens = 0;
  const token: TokenSource = { read: () => 'first', renew: async () => `fresh-${++tokens}` };
  const uplink = new Uplink(
    { ...parts, dial: async () => ours },
    { url: 'ws://parent', kind: 'parent', token },
  );
  await uplink.connect(1_000);
  const session = parts.table.byPath('/P');
  for (let renewal = 1; renewal <= 2; renewal++) {
    parts.clock.advance(80_000);
    await settle();
    expect(attaches.map(({ frame }) => frame.authorization).at(-1)).toBe(`fresh-${renewal}`);
  }
  expect(attaches).toHaveLength(3);
  expect([parts.table.byPath('/P'), uplink.status.state]).toEqual([session, 'attached']);
  uplink.close();
  parts.clock.advance(80_000);
  await settle();
  expect(tokens).toBe(2);
});

test('a parent receives the bindings made before and after the attach, and their removal', async () => {
  const { parts, parent, uplink, connect } = childSentinel('/P/S');
  const early = parts.attach('early');
  early.bind('early@fame.fabric');

  await connect();
  expect(parts.identity.path).toBe('/P/S');
  // The path of the node is void, so it must attach again.
  expect(early.transport.closed?.code).toBe(1012);
  expect(parent.addresses('AddressBind')).toEqual([]);

  const late = parts.attach('late');
  expect(late.path).toBe('/P/S/late');
  late.bind('late@fame.fabric');
  late.lose();
  await settle();
  expect(parent.addresses('AddressUnbind')).toEqual([]);
  parts.clock.advance(5_000);
  await settle();
  expect(parent.addresses('AddressBind')).toEqual(['late@fame.fabric']);
  expect(parent.addresses('AddressUnbind')).toEqual(['late@fame.fabric']);
  uplink.close();
});

test('bindings made before the attach are announced if the path stays the same', async () => {
  const { parts, parent, uplink, connect } = childSentinel('/S');
  parts.attach('early').bind('early@fame.fabric');
  await connect();
  expect(parent.addresses('AddressBind')).toEqual(['early@fame.fabric']);
  uplink.close();
});

test('calls to addresses that no node below serves go to the parent, and calls of the parent reach the nodes below', async () => {
  const { parts, parent, uplink, connect } = childSentinel('/S');
  await connect();
  const node = parts.attach('node');
  node.bind('math@fame.fabric');
  expect(node.call('far@fame.fabric', 'c1')).toEqual([]);
  await settle();
  expect(parent.received.find(({ corrId }) => corrId === 'c1')).toMatchObject({ to: 'far@fame.fabric' });
  const payload = { jsonrpc: '2.0', id: 'c2', method: 'add' };
  parent.send(
    makeEnvelope(
      { type: 'Data', payload },
      { to: 'math@fame.fabric', replyTo: '__rpc__x@/P/other', corrId: 'c2', rtype: 2, flowId: 'far' },
    ),
  );
  await settle();
  expect(node.transport.take().some(({ corrId }) => corrId === 'c2')).toBe(true);
  uplink.close();
});

test('a lost parent is dialed again and receives all bindings again', async () => {
  const { parts, parent, uplink, connect } = childSentinel('/S');
  parts.attach('node').bind('math@fame.fabric');
  await connect();
  parent.cut();
  await settle();
  await parts.clock.run(1_000);
  expect(parent.dials()).toBe(2);
  expect(parent.addresses('AddressBind')).toHaveLength(2);
  expect(parts.table.parent).toBeDefined();
  uplink.close();
});

test('a refused first attach is retried until its timeout', async () => {
  const { parts, parent, uplink } = childSentinel('/S');
  parent.refuse(2);
  const connecting = uplink.connect(5_000);
  await parts.clock.run(2_000);
  await connecting;
  expect(parent.dials()).toBe(3);
  uplink.close();
});

test('an unreachable parent fails the first attach with LINK_TIMEOUT', async () => {
  const { parts, parent, uplink } = childSentinel('/S');
  parent.refuse(1_000);
  const failed = uplink.connect(2_000).catch((error: unknown) => error);
  await parts.clock.run(3_000);
  expect(await failed).toMatchObject({
    code: 'LINK_TIMEOUT',
    message: expect.stringContaining('FAME_PARENT_URL'),
  });
});

test('a peer is dialed in the background until the uplink is closed', async () => {
  const parts = makeTestParts();
  const other = otherSide('/S');
  other.refuse(1_000);
  const uplink = new Uplink({ ...parts, dial: other.dial }, { url: 'ws://peer', kind: 'peer' });
  uplink.connectInBackground();
  await parts.clock.run(60_000);
  const dials = other.dials();
  expect(dials).toBeGreaterThan(6);
  uplink.close();
  await parts.clock.run(60_000);
  expect(other.dials()).toBe(dials);
  expect(parts.clock.timerCount).toBe(0);
});

test('calls of the parent that were open when the connection was lost fail after the reattach', async () => {
  const { parts, parent, uplink, connect } = childSentinel('/S');
  const node = parts.attach('node');
  node.bind('math@fame.fabric');
  await connect();
  const payload = { jsonrpc: '2.0', id: 'c3', method: 'add' };
  const header = {
    to: 'math@fame.fabric',
    replyTo: '__rpc__x@/P/other',
    corrId: 'c3',
    rtype: 2,
    flowId: 'far',
  };
  parent.send(makeEnvelope({ type: 'Data', payload }, header));
  await settle();
  parent.cut();
  await settle();
  await parts.clock.run(1_000);
  const answer = parent.received.find(({ corrId }) => corrId === 'c3');
  expect(answer).toMatchObject({ to: header.replyTo, frame: { ok: false, code: 'NODE_GONE' } });
  uplink.close();
});

test('the queue of a full connection to the parent is sent when the connection drains', async () => {
  const parts = makeTestParts();
  const node = parts.attach('node');
  const parent = otherSide('/S');
  let ours: Transport | undefined;
  const dial = async (): Promise<Transport> => {
    ours = await parent.dial();
    return ours;
  };
  const uplink = new Uplink({ ...parts, dial }, { url: 'ws://parent', kind: 'parent' });
  await uplink.connect(1_000);
  Object.defineProperty(ours!, 'bufferedBytes', { value: 1_000_000, configurable: true });
  node.call('far@fame.fabric', 'c4');
  await settle();
  expect(parent.received.some(({ corrId }) => corrId === 'c4')).toBe(false);
  Object.defineProperty(ours!, 'bufferedBytes', { value: 0 });
  ours!.onDrain?.();
  await settle();
  expect(parent.received.some(({ corrId }) => corrId === 'c4')).toBe(true);
  uplink.close();
});

test('HD20: an announcement is encoded once for all peers', () => {
  const { attach } = makeTestParts();
  const peers = ['one', 'two', 'three'].map((id) => attach(id, { peer: true }));
  attach('node').bind('math@fame.fabric');
  const received = peers.map(({ transport }) => transport.sent.map((bytes) => Buffer.from(bytes).toString()));
  expect(received[0]).toHaveLength(1);
  expect(new Set(received.flat()).size).toBe(1);
});

test('its status shows whether the other sentinel is attached, else why not, without credentials', async () => {
  const parts = makeTestParts();
  const peer = otherSide('/P/peer');
  let isThere = false;
  const dial = () =>
    isThere ? peer.dial() : Promise.reject(new Error('Cannot reach ws://ada:pw@peer: refused'));
  const uplink = new Uplink({ ...parts, dial }, { url: 'ws://ada:pw@peer', kind: 'peer' });
  const shown = { kind: 'peer', url: 'ws://peer' };
  expect(uplink.status).toEqual({ ...shown, state: 'connecting' });
  uplink.connectInBackground();
  await settle();
  expect(uplink.status).toEqual({ ...shown, state: 'connecting', reason: 'Cannot reach ws://peer: refused' });
  isThere = true;
  await parts.clock.run(5_000, 100);
  expect(uplink.status).toEqual({ ...shown, state: 'attached' });
  uplink.close();
});

describe('announcements that the parent refuses', () => {
  async function attachedNode() {
    const { parts, parent, uplink, connect } = childSentinel('/S', { maxAddressesPerNode: 1_000 });
    await connect();
    const node = parts.attach('node');
    /** Sends the parent's answer to an announcement. */
    const answer = async (address: string, ok: boolean, code?: string): Promise<void> => {
      parent.send(
        makeEnvelope({ type: 'AddressBindAck', ok, address, ...(code ? { code } : {}) }, { corrId: 'b' }),
      );
      await settle();
    };
    const retried = async (): Promise<string[]> => {
      parent.received.length = 0;
      await parts.clock.run(15_000, 15_000);
      return parent.addresses('AddressBind');
    };
    const warnings = () =>
      parts.log.lines.filter(({ message }) => message.includes('refused an announcement'));
    return { parts, parent, uplink, node, answer, retried, warnings };
  }

  test('are retried with every heartbeat until they are accepted, and logged once', async () => {
    const { node, uplink, answer, retried, warnings } = await attachedNode();
    node.bind('math@fame.fabric');
    await answer('math@fame.fabric', false, 'QUOTA_EXCEEDED');
    expect(await retried()).toEqual(['math@fame.fabric']);
    await answer('math@fame.fabric', false, 'QUOTA_EXCEEDED');
    expect(await retried()).toEqual(['math@fame.fabric']);
    await answer('math@fame.fabric', true);
    expect(await retried()).toEqual([]);
    expect(warnings()).toHaveLength(1);
    uplink.close();
  });

  test('are dropped if they can never be accepted, or if no node below serves the address any more', async () => {
    const { node, uplink, answer, retried } = await attachedNode();
    node.bind('odd@fame.fabric');
    await answer('odd@fame.fabric', false, 'ADDRESS_FORBIDDEN');
    node.bind('math@fame.fabric');
    node.send({ type: 'AddressUnbind', address: 'math@fame.fabric' });
    await answer('math@fame.fabric', false, 'ADDRESS_IN_USE');
    expect(await retried()).toEqual([]);
    uplink.close();
  });

  test('are retried 64 at a time, in turn', async () => {
    const { node, uplink, answer, retried } = await attachedNode();
    const addresses = Array.from({ length: 100 }, (_, i) => `a${i}@fame.fabric`);
    for (const address of addresses) {
      node.send({ type: 'AddressBind', address }, { corrId: 'bind' });
      await answer(address, false, 'QUOTA_EXCEEDED');
    }
    const first = await retried();
    expect(first).toEqual(addresses.slice(0, 64));
    for (const address of first) await answer(address, false, 'QUOTA_EXCEEDED');
    expect(await retried()).toEqual([...addresses.slice(64), ...addresses.slice(0, 28)]);
    uplink.close();
  });

  test('are retried for capabilities too', async () => {
    const { parts, node, parent, uplink } = await attachedNode();
    const address = 'math@fame.fabric';
    node.bind(address);
    node.send({ type: 'CapabilityAdvertise', capabilities: ['sums'], address }, { corrId: 'c' });
    parent.send(
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
    parent.received.length = 0;
    await parts.clock.run(15_000, 15_000);
    expect(parent.addresses('CapabilityAdvertise')).toEqual([address]);
    uplink.close();
  });

  test('are acknowledged by the parent only', async () => {
    const { parts, node, uplink, warnings } = await attachedNode();
    const other = parts.attach('other');
    node.bind('math@fame.fabric');
    other.send({ type: 'AddressBindAck', ok: false, address: 'math@fame.fabric', code: 'QUOTA_EXCEEDED' });
    expect(warnings()).toEqual([]);
    uplink.close();
  });
});

test('a capability is withdrawn from the parent with the address that it was advertised with', async () => {
  const { parts, parent, uplink, connect } = childSentinel('/S');
  await connect();
  const nodes = ['one', 'two'].map((name) => ({ node: parts.attach(name), address: `${name}@fame.fabric` }));
  const capabilities = ['sums'];
  for (const { node, address } of nodes) node.bind(address);
  for (const { node, address } of nodes)
    node.send({ type: 'CapabilityAdvertise', capabilities, address }, { corrId: 'c' });
  for (const { node, address } of nodes)
    node.send({ type: 'CapabilityWithdraw', capabilities, address }, { corrId: 'c' });
  await settle();
  expect(parent.addresses('CapabilityAdvertise')).toEqual(['one@fame.fabric']);
  expect(parent.addresses('CapabilityWithdraw')).toEqual(['one@fame.fabric']);
  uplink.close();
});
