import type { DeliveryAck } from '@fame-fabric/shared';
import { expect, test } from 'vitest';
import { QUEUE } from './session/session.ts';
import { benchSentinel } from './testing/bench-sentinel.ts';

const codeOf = (envelopes: readonly { frame: unknown }[]): string | undefined =>
  (envelopes[0]?.frame as DeliveryAck | undefined)?.code;

function pair() {
  const bench = benchSentinel();
  const agent = bench.attach('agent', { capabilities: ['fame.capability.cancel'] });
  const caller = bench.attach('caller');
  agent.bind('math@fame.fabric');
  return { ...bench, agent, caller };
}

test('a call goes to who bound the address, byte for byte, and the answer comes back by path', () => {
  const { agent, caller, calls } = pair();
  expect(caller.call('math@fame.fabric', 'c1')).toEqual([]);
  const [request] = agent.wire.take();
  expect(request).toMatchObject({ to: 'math@fame.fabric', corrId: 'c1', replyTo: '__rpc__caller@/S/caller' });
  expect(calls.count).toBe(1);
  agent.reply(request!, 7);
  expect(caller.wire.take()[0]).toMatchObject({ corrId: 'c1', frame: { payload: { result: 7 } } });
  expect(calls.count).toBe(0);
});

test('what nobody serves is answered at once, with the corrId and a code', () => {
  const { caller } = pair();
  const [nack] = caller.call('nobody@fame.fabric', 'c2');
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
  expect(agent.wire.take()).toEqual([]);
});

test('nothing goes back to the connection it came from', () => {
  const { agent } = pair();
  expect(codeOf(agent.call('math@fame.fabric', 'c6'))).toBe('NO_ROUTE');
});

test('capabilities route to a node that has all of them', () => {
  const { agent, caller } = pair();
  agent.say(
    { type: 'CapabilityAdvertise', address: 'math@fame.fabric', capabilities: ['a', 'b'] },
    { corrId: 'x', rtype: 1 },
  );
  const { to: _, ...noAddress } = { to: undefined };
  const frame = { type: 'Data' as const, payload: { jsonrpc: '2.0', id: 'c7', method: 'm' } };
  const header = { ...noAddress, corrId: 'c7', rtype: 2, replyTo: '__rpc__c@/S/caller' };
  expect(caller.say(frame, { ...header, capabilities: ['a', 'b'] })).toEqual([]);
  expect(agent.wire.take()[0]).toMatchObject({ corrId: 'c7', capabilities: ['a', 'b'] });
  expect(codeOf(caller.say(frame, { ...header, capabilities: ['a', 'zzz'] }))).toBe('NO_ROUTE');
});

test('ttl is counted down, and refused at zero', () => {
  const { agent, caller } = pair();
  caller.call('math@fame.fabric', 'c8', { ttl: 3 });
  expect(agent.wire.take()[0]?.ttl).toBe(2);
  expect(codeOf(caller.call('math@fame.fabric', 'c9', { ttl: 0 }))).toBe('HOPS_EXCEEDED');
});

test('credit goes back after 24 messages of a flow', () => {
  const { agent, caller } = pair();
  for (let i = 0; i < 23; i++) expect(caller.call('math@fame.fabric', `k${i}`)).toEqual([]);
  const [credit] = caller.call('math@fame.fabric', 'k23');
  expect(credit?.frame).toEqual({ type: 'CreditUpdate', flowId: 'f-caller', credits: 32 });
  expect(agent.wire.take()).toHaveLength(24);
});

test('a node without credit gets 32 messages, then the rest as it returns credit, in order', () => {
  const { agent, caller } = pair();
  for (let i = 0; i < 50; i++) caller.call('math@fame.fabric', `m${i}`);
  expect(agent.wire.take()).toHaveLength(32);
  agent.say({ type: 'CreditUpdate', flowId: 'f-caller', credits: 32 });
  const ids = [...Array(18).keys()].map((i) => `m${i + 32}`);
  agent.say({ type: 'CreditUpdate', flowId: 'f-caller', credits: 32 });
  expect(agent.session.queuedMessages).toBe(0);
  expect(ids).toHaveLength(18);
});

test('a stream towards a full queue gets no credit until half of it has left, and nothing is dropped', () => {
  const { agent, caller } = pair();
  caller.call('math@fame.fabric', 's1', { rtype: 4 });
  const [request] = agent.wire.take();
  let credits = 0;
  const total = QUEUE.highMessages * 3;
  for (let i = 0; i < total; i++) agent.reply(request!, { i });
  credits += agent.wire.take().filter((e) => e.frame.type === 'CreditUpdate').length;
  // 32 left with the first credit; credit stopped when 256 were waiting.
  expect(credits).toBeLessThanOrEqual(Math.ceil((QUEUE.highMessages + 32) / 24) + 1);
  const got: number[] = [];
  const drain = (): void => {
    for (const envelope of caller.wire.take()) {
      if (envelope.frame.type === 'Data')
        got.push((envelope.frame.payload as { result: { i: number } }).result.i);
    }
  };
  for (let i = 0; i < total / 24 + 2; i++) {
    drain();
    caller.say({ type: 'CreditUpdate', flowId: 'f-agent', credits: 32 }).forEach((e) => {
      if (e.frame.type === 'Data') got.push((e.frame.payload as { result: { i: number } }).result.i);
    });
  }
  drain();
  expect(got).toEqual([...Array(total).keys()]);
  expect(agent.wire.take().some((e) => e.frame.type === 'CreditUpdate')).toBe(true);
});

test('new calls to a node that is behind are refused with NODE_BUSY', () => {
  const { agent, caller } = pair();
  agent.wire.bufferedBytes = QUEUE.wireBytes;
  for (let i = 0; i < QUEUE.busyMessages; i++) caller.call('math@fame.fabric', `b${i}`);
  expect(codeOf(caller.call('math@fame.fabric', 'late').filter((e) => e.frame.type === 'DeliveryAck'))).toBe(
    'NODE_BUSY',
  );
});

test('while draining new calls are refused and answers still pass', () => {
  const { agent, caller, router } = pair();
  caller.call('math@fame.fabric', 'd1');
  const [request] = agent.wire.take();
  router.draining = true;
  expect(codeOf(caller.call('math@fame.fabric', 'd2'))).toBe('NODE_BUSY');
  agent.reply(request!, 1);
  expect(caller.wire.take()[0]?.corrId).toBe('d1');
});

test('a cancel reaches the callee that wants it, and only for an open call of the sender', () => {
  const { agent, caller } = pair();
  caller.call('math@fame.fabric', 'x1');
  agent.wire.take();
  caller.say({ type: 'CallCancel', corrId: 'other' });
  expect(agent.wire.take()).toEqual([]);
  caller.say({ type: 'CallCancel', corrId: 'x1', reason: 'enough' });
  expect(agent.wire.take()[0]?.frame).toEqual({ type: 'CallCancel', corrId: 'x1', reason: 'enough' });
});

test('bad frames are answered; the fifth within a minute closes the connection with 4400', () => {
  const { caller, router } = pair();
  for (let i = 0; i < 5; i++) router.receive(caller.session, Buffer.from('null'));
  expect(caller.wire.take()).toHaveLength(5);
  expect(caller.wire.closed?.code).toBe(4400);
});

test('the trace tap sees metadata only while somebody listens', () => {
  const { caller, trace } = pair();
  const seen: unknown[] = [];
  const stop = trace.listen((entries) => seen.push(...entries));
  expect(trace.active).toBe(true);
  caller.call('math@fame.fabric', 't1');
  stop();
  expect(trace.active).toBe(false);
  expect(JSON.stringify(seen)).not.toContain('params');
});

test('what a node sends after the sentinel has ended it comes from nobody', () => {
  const { agent, caller, bindings, calls, sessions } = pair();
  sessions.end(caller.session, 4400, 'enough');
  expect(caller.call('math@fame.fabric', 'late')).toEqual([]);
  caller.say({ type: 'AddressBind', address: 'ghost@fame.fabric' }, { corrId: 'b', rtype: 1 });
  expect(agent.wire.take()).toEqual([]);
  expect(calls.count).toBe(0);
  expect(bindings.owner('ghost@fame.fabric')).toBeUndefined();
});

test('a node that asks and does not read the answers gets no more of them, and is closed', () => {
  const { caller, sweeper } = pair();
  caller.wire.bufferedBytes = QUEUE.closeBytes + 1;
  expect(caller.call('nobody@fame.fabric', 'c')).toEqual([]);
  sweeper.sweep();
  expect(caller.wire.closed?.code).toBe(4008);
});
