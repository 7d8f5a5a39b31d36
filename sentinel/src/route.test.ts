import { type DeliveryAck, type Envelope, LIMITS, makeEnvelope } from '@fame-fabric/shared';
import { sidOf } from '@fame-fabric/shared/router';
import { describe, expect, test } from 'vitest';
import type { TraceEntry } from './http/trace.ts';
import { QUEUE } from './session/outbound-queue.ts';
import { makeTestParts, type TestOptions } from './testing/sentinel-parts.ts';

/** Bytes of a socket that accepts nothing now. */
const FULL = 1_000_000;

const codeOf = (envelopes: readonly { frame: unknown }[]): string | undefined =>
  (envelopes[0]?.frame as DeliveryAck | undefined)?.code;

function pair() {
  const parts = makeTestParts();
  const agent = parts.attach('agent', { capabilities: ['fame.capability.cancel'] });
  const caller = parts.attach('caller');
  agent.bind('math@fame.fabric');
  return { ...parts, agent, caller };
}

test('a call reaches the node that bound the address, and the answer returns by path', () => {
  const { agent, caller, calls } = pair();
  expect(caller.call('math@fame.fabric', 'c1')).toEqual([]);
  const [request] = agent.transport.take();
  expect(request).toMatchObject({ to: 'math@fame.fabric', corrId: 'c1', replyTo: '__rpc__caller@/S/caller' });
  expect(calls.count).toBe(1);
  agent.reply(request!, 7);
  expect(caller.transport.take()[0]).toMatchObject({ corrId: 'c1', frame: { payload: { result: 7 } } });
  expect(calls.count).toBe(0);
});

test('a call to an address that no node serves is refused at once, with the corrId and a code', () => {
  const { caller } = pair();
  const [nack] = caller.call('unbound@fame.fabric', 'c2');
  expect(nack).toMatchObject({ to: '__rpc__caller@/S/caller', corrId: 'c2', flowFlags: 4 });
  expect(codeOf([nack!])).toBe('NO_ROUTE');
  expect(codeOf(caller.call('no address', 'c3'))).toBe('ADDRESS_INVALID');
});

test("a replyTo outside the sender's own path is refused, whichever shape the envelope has", () => {
  const { agent, caller } = pair();
  const forged = { replyTo: '__rpc__x@/S/agent' };
  expect(codeOf(caller.call('math@fame.fabric', 'c4', forged))).toBe('REPLY_TO_FORGED');
  expect(codeOf(caller.call('math@fame.fabric', 'c5', { ...forged, meta: { a: 1 } }))).toBe(
    'REPLY_TO_FORGED',
  );
  expect(agent.transport.take()).toEqual([]);
});

test('a node cannot call itself through the sentinel', () => {
  const { agent } = pair();
  expect(codeOf(agent.call('math@fame.fabric', 'c6'))).toBe('NO_ROUTE');
});

test('a call by capabilities reaches a node that has all of them', () => {
  const { agent, caller } = pair();
  agent.send(
    { type: 'CapabilityAdvertise', address: 'math@fame.fabric', capabilities: ['a', 'b'] },
    { corrId: 'x', rtype: 1 },
  );
  const frame = { type: 'Data' as const, payload: { jsonrpc: '2.0', id: 'c7', method: 'm' } };
  const header = { corrId: 'c7', rtype: 2, replyTo: '__rpc__c@/S/caller' };
  expect(caller.send(frame, { ...header, capabilities: ['a', 'b'] })).toEqual([]);
  expect(agent.transport.take()[0]).toMatchObject({ corrId: 'c7', capabilities: ['a', 'b'] });
  expect(codeOf(caller.send(frame, { ...header, capabilities: ['a', 'zzz'] }))).toBe('NO_ROUTE');
});

test('HD18: a ttl of 0 is refused, and any other passes unchanged with the other fields of the sender', () => {
  const { agent, caller, counters } = pair();
  const more = { ttl: 3, meta: { hops: 1, 'timeout-ms': 500 }, sec: { sig: { kid: 'k', val: 'v' } } };
  caller.call('math@fame.fabric', 'c8', more);
  expect(agent.transport.take()[0]).toMatchObject(more);
  expect(counters.decoded).toBe(1);
  for (const shape of [{}, { priority: 'normal' }]) {
    expect(codeOf(caller.call('math@fame.fabric', 'c9', { ttl: 0, ...shape }))).toBe('HOPS_EXCEEDED');
  }
  expect(agent.transport.take()).toEqual([]);
});

test('HD22: a sid that is not that of the sender is refused, regardless of the shape of the envelope', () => {
  const { agent, attach, caller, counters } = pair();
  const own = sidOf('/S/caller');
  caller.call('math@fame.fabric', 'own', { sid: own });
  caller.send({ type: 'Data', payload: 1 }, { to: 'math@fame.fabric', sid: own });
  expect(agent.transport.take()).toMatchObject([{ sid: own }, { sid: own }]);
  for (const sid of [sidOf('/S/agent'), sidOf('/S'), 'x']) {
    for (const shape of [{}, { priority: 'normal' }]) {
      expect(codeOf(caller.call('math@fame.fabric', 'c', { sid, ...shape }))).toBe('SID_FORGED');
      expect(
        codeOf(caller.send({ type: 'Data', payload: 1 }, { to: 'math@fame.fabric', sid, ...shape })),
      ).toBe('SID_FORGED');
    }
  }
  // A node below a child sentinel has a sid of its own, as its replyTo shows.
  const child = attach('child');
  const below = { replyTo: '__rpc__x@/S/child/node', sid: sidOf('/S/child/node') };
  child.send({ type: 'Data', payload: 1 }, { to: 'math@fame.fabric', sid: below.sid });
  expect(agent.transport.take()).toEqual([]);
  expect(child.call('math@fame.fabric', 'c1', below)).toEqual([]);
  expect(codeOf(child.call('math@fame.fabric', 'c2', { ...below, sid: sidOf('/S/child') }))).toBe(
    'SID_FORGED',
  );
  child.send({ type: 'Data', payload: 1 }, { to: 'math@fame.fabric', sid: below.sid });
  expect(agent.transport.take()).toHaveLength(2);
  expect(counters.refused.SID_FORGED).toBe(14);
  // A bind of an address of that node shows its path too.
  const other = attach('other');
  const physicalPath = '/S/other/node';
  other.send({ type: 'AddressBind', address: 'below@fame.fabric', physicalPath }, { corrId: 'b' });
  other.send({ type: 'Data', payload: 1 }, { to: 'math@fame.fabric', sid: sidOf(physicalPath) });
  expect(agent.transport.take()).toHaveLength(1);
});

test('credit is granted after 24 messages of a flow', () => {
  const { agent, caller } = pair();
  for (let i = 0; i < 23; i++) expect(caller.call('math@fame.fabric', `k${i}`)).toEqual([]);
  const [credit] = caller.call('math@fame.fabric', 'k23');
  expect(credit?.frame).toEqual({ type: 'CreditUpdate', flowId: 'f-caller', credits: 32 });
  expect(agent.transport.take()).toHaveLength(24);
});

test('a node that grants no credit receives 32 messages, and the rest in order with its next credit', () => {
  const { agent, caller } = pair();
  for (let i = 0; i < 50; i++) caller.call('math@fame.fabric', `m${i}`);
  expect(agent.transport.take()).toHaveLength(32);
  const rest = agent.send({ type: 'CreditUpdate', flowId: 'f-caller', credits: 32 });
  expect(rest.map(({ corrId }) => corrId)).toEqual(Array.from({ length: 18 }, (_, i) => `m${i + 32}`));
  expect(agent.session.outbound.messages).toBe(0);
});

test('the sender of a stream into a congested queue gets no credit until it is half empty, and nothing is dropped', () => {
  const { agent, caller } = pair();
  caller.call('math@fame.fabric', 's1', { rtype: 4 });
  const [request] = agent.transport.take();
  let credits = 0;
  const total = QUEUE.highMessages * 3;
  for (let i = 0; i < total; i++) agent.reply(request!, { i });
  credits += agent.transport.take().filter((e) => e.frame.type === 'CreditUpdate').length;
  // 32 left with the first credit; the grants stopped when the queue was congested.
  expect(credits).toBeLessThanOrEqual(Math.ceil((QUEUE.highMessages + 32) / 24) + 1);
  const got: number[] = [];
  const drain = (): void => {
    for (const envelope of caller.transport.take()) {
      if (envelope.frame.type === 'Data')
        got.push((envelope.frame.payload as { result: { i: number } }).result.i);
    }
  };
  for (let i = 0; i < total / 24 + 2; i++) {
    drain();
    caller.send({ type: 'CreditUpdate', flowId: 'f-agent', credits: 32 }).forEach((e) => {
      if (e.frame.type === 'Data') got.push((e.frame.payload as { result: { i: number } }).result.i);
    });
  }
  drain();
  expect(got).toEqual([...Array(total).keys()]);
  expect(agent.transport.take().some((e) => e.frame.type === 'CreditUpdate')).toBe(true);
});

test('new calls to a node with a full queue are refused with NODE_BUSY', () => {
  const { agent, caller } = pair();
  agent.transport.bufferedBytes = FULL;
  const params = 'x'.repeat(8_192);
  const call = (corrId: string) =>
    caller.send(
      { type: 'Data', payload: { jsonrpc: '2.0', id: corrId, method: 'm', params } },
      { to: 'math@fame.fabric', corrId, rtype: 2, replyTo: `__rpc__caller@${caller.path}` },
    );
  let calls = 0;
  while (!agent.session.outbound.isBusy) call(`b${calls++}`);
  expect(agent.session.outbound.bytes).toBeGreaterThanOrEqual(4_194_304);
  expect(codeOf(call('late').filter((e) => e.frame.type === 'DeliveryAck'))).toBe('NODE_BUSY');
});

test('while draining, new calls are refused and replies are forwarded', () => {
  const { agent, caller, router } = pair();
  caller.call('math@fame.fabric', 'd1');
  const [request] = agent.transport.take();
  router.drain();
  expect(codeOf(caller.call('math@fame.fabric', 'd2'))).toBe('NODE_BUSY');
  agent.reply(request!, 1);
  expect(caller.transport.take()[0]?.corrId).toBe('d1');
});

test('a cancel reaches a callee that accepts cancels, and only for an open call of the sender', () => {
  const { agent, caller } = pair();
  caller.call('math@fame.fabric', 'x1');
  agent.transport.take();
  caller.send({ type: 'CallCancel', corrId: 'other' });
  expect(agent.transport.take()).toEqual([]);
  caller.send({ type: 'CallCancel', corrId: 'x1', reason: 'enough' });
  expect(agent.transport.take()[0]?.frame).toEqual({ type: 'CallCancel', corrId: 'x1', reason: 'enough' });
});

test('bad frames are answered; the fifth within a minute closes the connection with 4400', () => {
  const { caller, router } = pair();
  for (let i = 0; i < 5; i++) router.receive(caller.session, Buffer.from('null'));
  expect(caller.transport.take()).toHaveLength(5);
  expect(caller.transport.closed?.code).toBe(4400);
});

test('the trace tap records metadata and no payload, only while it has a listener', () => {
  const { caller, clock, trace } = pair();
  const entries: TraceEntry[] = [];
  const stop = trace.listen((batch) => entries.push(...batch));
  caller.call('math@fame.fabric', 't1');
  clock.advance(50);
  stop();
  caller.call('math@fame.fabric', 't2');
  clock.advance(50);
  const { path } = caller;
  expect(entries).toMatchObject([
    { dir: 'forward', type: 'Data', from: path, to: 'math@fame.fabric', corrId: 't1', via: '/S/agent' },
  ]);
  expect(JSON.stringify(entries)).not.toContain('params');
});

test('frames of a session that has ended are ignored', () => {
  const { agent, caller, bindings, calls, sessions } = pair();
  sessions.end(caller.session, 4400, 'enough');
  expect(caller.call('math@fame.fabric', 'late')).toEqual([]);
  caller.send({ type: 'AddressBind', address: 'ghost@fame.fabric' }, { corrId: 'b', rtype: 1 });
  expect(agent.transport.take()).toEqual([]);
  expect(calls.count).toBe(0);
  expect(bindings.owner('ghost@fame.fabric')).toBeUndefined();
});

test('a node that does not read its replies gets no more of them, and is closed', () => {
  const { caller, sweeper } = pair();
  caller.transport.bufferedBytes = 8_388_608 + 1;
  expect(caller.call('unbound@fame.fabric', 'c')).toEqual([]);
  sweeper.sweep();
  expect(caller.transport.closed?.code).toBe(4008);
});

test('an envelope that exceeds the size limit when it is encoded again is refused', () => {
  const { agent, caller } = pair();
  const frame = { type: 'Data' as const, payload: { jsonrpc: '2.0', id: 'g1', method: 'm', params: '' } };
  const header = { to: 'math@fame.fabric', corrId: 'g1', rtype: 2, replyTo: '__rpc__c@/S/caller' };
  const envelope = { ...makeEnvelope(frame, header) };
  const room = LIMITS.maxEnvelopeBytes - JSON.stringify(envelope).length;
  frame.payload.params = 'x'.repeat(room);
  // Without a flow id the router adds one.
  caller.transport.receive(envelope);
  expect(codeOf(caller.transport.take())).toBe('MESSAGE_TOO_LARGE');
  expect(agent.transport.take()).toEqual([]);
});

test('the drain waits for messages that wait for credit', async () => {
  const { agent, caller } = pair();
  for (let i = 0; i < 40; i++) caller.call('math@fame.fabric', `w${i}`);
  let isEmpty = false;
  const waiting = agent.session.outbound.whenEmpty().then(() => {
    isEmpty = true;
  });
  await Promise.resolve();
  expect(isEmpty).toBe(false);
  agent.send({ type: 'CreditUpdate', flowId: 'f-caller', credits: 32 });
  await waiting;
  expect(agent.session.outbound.messages).toBe(0);
});

test('the drain does not wait for a node that disconnects', async () => {
  const { agent, caller } = pair();
  for (let i = 0; i < 40; i++) caller.call('math@fame.fabric', `w${i}`);
  const waiting = agent.session.outbound.whenEmpty();
  agent.lose();
  await waiting;
  expect(agent.session.outbound.messages).toBe(8);
});

test('HD27: a KeyRequest with a corrId is refused, and neither one without nor an announcement is answered', () => {
  const { caller } = pair();
  const mailbox = '__rpc__caller@/S/caller';
  const [nack] = caller.send({ type: 'KeyRequest' }, { corrId: 'k1', replyTo: mailbox, id: 'e1' });
  expect(nack).toMatchObject({ to: mailbox, corrId: 'k1', frame: { ok: false, refId: 'e1' } });
  expect(codeOf([nack!])).toBe('OPERATION_UNSUPPORTED');
  const [note] = caller.send({ type: 'KeyRequest' }, { corrId: 'k2' });
  expect(note).toMatchObject({ corrId: 'k2', frame: { code: 'OPERATION_UNSUPPORTED' } });
  // Never to a mailbox of another node.
  const [forged] = caller.send({ type: 'KeyRequest' }, { corrId: 'k3', replyTo: '__rpc__x@/S/agent' });
  expect(forged).toMatchObject({ corrId: 'k3', frame: { code: 'OPERATION_UNSUPPORTED' } });
  expect(forged!.to).toBeUndefined();
  expect(caller.send({ type: 'KeyRequest' }, { replyTo: mailbox })).toEqual([]);
  expect(
    caller.send({ type: 'KeyAnnounce', physicalPath: '/S', keys: [] }, { corrId: 'k4', replyTo: mailbox }),
  ).toEqual([]);
});

test('late answers to streams on a shared flow do not end the flow: its credit is still granted', () => {
  const { attach, caller } = pair();
  const agent = attach('late', { capabilities: ['fame.capability.stream-flows'] });
  agent.bind('late@fame.fabric');
  for (let i = 0; i < 23; i++) {
    caller.call('late@fame.fabric', `s${i}`, { rtype: 4 });
    agent.reply(agent.transport.take()[0]!, null);
  }
  // The bind was the first of 24 messages of the flow.
  expect(agent.transport.take().map(({ frame }) => frame)).toMatchObject([
    { type: 'CreditUpdate', flowId: 'f-late' },
  ]);
});

describe('a receiver that does not read', () => {
  const pairFlows = { capabilities: ['fame.capability.pair-flows', 'fame.capability.cancel'] };
  const payloadOf = (id: string, bytes: number) => ({
    jsonrpc: '2.0',
    id,
    method: 'm',
    params: 'x'.repeat(bytes),
  });
  function fabric(options: TestOptions = {}) {
    const parts = makeTestParts(options);
    const agent = parts.attach('agent', pairFlows);
    agent.bind('math@fame.fabric');
    const caller = parts.attach('caller', pairFlows);
    const callOf = (node: typeof caller, corrId: string, bytes: number, rtype = 2) =>
      node.send(
        { type: 'Data', payload: payloadOf(corrId, bytes) },
        {
          to: 'math@fame.fabric',
          corrId,
          rtype,
          flowId: `to-math-${node.path}`,
          replyTo: `__rpc__x@${node.path}`,
        },
      );
    const answer = (request: Envelope, bytes: number, flowId = `to-${request.replyTo}`) =>
      agent.send(
        { type: 'Data', payload: { jsonrpc: '2.0', id: request.corrId!, result: 'x'.repeat(bytes) } },
        { to: request.replyTo!, corrId: request.corrId!, flowId },
      );
    return { ...parts, agent, caller, callOf, answer };
  }
  const grants = (envelopes: readonly Envelope[]) =>
    envelopes.filter(({ frame }) => frame.type === 'CreditUpdate');

  test('HD10: 32 calls of 64 KB are queued, and their sender gets credit when the receiver has read', () => {
    const { agent, caller, callOf } = fabric();
    agent.transport.bufferedBytes = FULL;
    const received = Array.from({ length: 32 }, (_, i) => callOf(caller, `c${i}`, 65_000)).flat();
    expect(received).toEqual([]);
    agent.transport.bufferedBytes = 0;
    agent.transport.onDrain!();
    expect(agent.transport.take()).toHaveLength(32);
    expect(grants(caller.transport.take())).toHaveLength(1);
  });

  test('HD10: the sender of answers gets no credit while the queue of their caller is long', () => {
    const { agent, caller, callOf, answer } = fabric();
    const requests = Array.from({ length: 32 }, (_, i) => {
      callOf(caller, `c${i}`, 10);
      return agent.transport.take().find(({ frame }) => frame.type === 'Data')!;
    });
    caller.transport.take();
    caller.transport.bufferedBytes = FULL;
    expect(requests.flatMap((request) => grants(answer(request, 150_000)))).toEqual([]);
    caller.transport.bufferedBytes = 0;
    caller.transport.onDrain!();
    expect(caller.transport.take()).toHaveLength(32);
    expect(grants(agent.transport.take())).toHaveLength(1);
    expect(caller.transport.closed).toBeUndefined();
  });

  test('HD2: an answer that does not fit ends its call with an error, and closes no node', () => {
    const { agent, caller, calls, callOf, answer, counters } = fabric({
      queueBytes: 1_048_576,
      queueTotalBytes: 8_388_608,
    });
    for (let i = 0; i < 8; i++) callOf(caller, `c${i}`, 10);
    caller.transport.take();
    caller.transport.bufferedBytes = 200_000;
    for (const request of agent.transport.take()) answer(request, 150_000);
    const nacks = caller.transport.take();
    expect(nacks.map(({ corrId, frame }) => [corrId, (frame as DeliveryAck).code])).toEqual([
      ['c6', 'READER_TOO_SLOW'],
      ['c7', 'READER_TOO_SLOW'],
    ]);
    expect(calls.count).toBe(0);
    expect(counters.refused.READER_TOO_SLOW).toBe(2);
    expect(caller.transport.closed).toBeUndefined();
    caller.transport.bufferedBytes = 0;
    caller.transport.onDrain!();
    expect(caller.transport.take().map(({ corrId }) => corrId)).toEqual(['c0', 'c1', 'c2', 'c3', 'c4', 'c5']);
  });

  test('an item of a stream that does not fit ends the stream at both ends', () => {
    const { agent, caller, callOf, answer } = fabric({ queueBytes: 1_048_576, queueTotalBytes: 8_388_608 });
    callOf(caller, 's', 10, 4);
    const [request] = agent.transport.take();
    caller.transport.bufferedBytes = 200_000;
    const received = Array.from({ length: 7 }, () => answer(request!, 150_000, 's')).flat();
    expect(codeOf(caller.transport.take())).toBe('READER_TOO_SLOW');
    expect(received.map(({ frame }) => frame)).toEqual([
      { type: 'CallCancel', corrId: 's', reason: 'slow-reader' },
    ]);
  });

  test('a node that ignores its credit is paused until its receiver has read', () => {
    const { agent, caller, callOf, clock } = fabric();
    agent.transport.bufferedBytes = FULL;
    for (let i = 0; i < 33; i++) callOf(caller, `c${i}`, 65_000);
    expect(caller.transport.isPaused).toBe(true);
    agent.transport.bufferedBytes = 0;
    agent.transport.onDrain!();
    expect(caller.transport.isPaused).toBe(false);
    clock.advance(10_000);
    expect(caller.transport.closed).toBeUndefined();
  });

  test('a node that ignores its credit for 2 s is closed, and a sentinel is never paused', () => {
    const { agent, caller, callOf, clock, attach } = fabric();
    const child = attach('child', pairFlows);
    child.send(
      { type: 'Data', payload: 'x' },
      { to: 'math@fame.fabric', flowId: 'other', corrId: 'x', replyTo: '__rpc__y@/S/child/node' },
    );
    agent.transport.bufferedBytes = FULL;
    for (let i = 0; i < 34; i++) {
      callOf(caller, `c${i}`, 65_000);
      callOf(child, `d${i}`, 65_000);
    }
    expect(child.transport.isPaused).toBe(false);
    expect(caller.transport.isPaused).toBe(true);
    clock.advance(2_000);
    expect(caller.transport.closed?.code).toBe(4008);
    expect(caller.transport.isPaused).toBe(false);
    expect(child.transport.closed ?? agent.transport.closed).toBeUndefined();
  });

  test('requests of a node with one flow for everything are refused at half of the queue, and its credit is granted', () => {
    const { agent, attach, callOf } = fabric();
    const old = attach('old');
    agent.transport.bufferedBytes = FULL;
    const received = Array.from({ length: 128 }, (_, i) => callOf(old, `c${i}`, 65_000)).flat();
    expect(grants(received)).toHaveLength(5);
    expect(received.filter(({ frame }) => frame.type === 'DeliveryAck').length).toBeGreaterThan(50);
    expect(agent.session.outbound.bytes).toBeLessThan(4_300_000);
    expect(old.transport.isPaused).toBe(false);
  });

  test('HD14: above its ceiling the sentinel refuses attaches, then closes the nodes with the largest queues', () => {
    let rss = 0;
    const { agent, caller, callOf, admission, sweeper } = fabric({ rssBytes: () => rss });
    agent.transport.bufferedBytes = 100_000;
    for (let i = 0; i < 20; i++) callOf(caller, `c${i}`, 65_000);
    sweeper.sweep();
    expect(admission.isOpen).toBe(true);
    rss = 600_000_001;
    sweeper.sweep();
    expect(admission.isOpen).toBe(false);
    expect(agent.session.state).toBe('attached');
    sweeper.sweep();
    expect(agent.session.state).toBe('gone');
    expect(caller.session.state).toBe('attached');
    rss = 0;
    sweeper.sweep();
    expect(admission.isOpen).toBe(true);
  });
});
