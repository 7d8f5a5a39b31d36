// Faults deep inside a text of a payload. The sentinel forwards payloads without parsing them. So the receiver reports the fault,
// and no call waits for its timeout.
import { expect, test } from 'vitest';
import { connectLink, mathService } from '../kit/our-node.ts';
import { id, type Json, type RawNode } from '../kit/raw-node.ts';
import { startWire } from '../kit/wire.ts';

const { sentinel, nodes } = startWire();

/** Sends a Data envelope with a text of 600 characters, whose last one makes it invalid JSON. */
function sendBroken(node: RawNode, header: Json, payload: Json, fault: string): void {
  const frame = { type: 'Data', payload };
  const text = JSON.stringify({ id: id(), flowId: node.flowId, ...header, frame });
  node.raw(text.replace('BROKEN', `${'x'.repeat(600)}${fault}`));
}

const FAULTS = [
  ['a control character', '\t'],
  ['an unknown escape', '\\q'],
  ['a cut escape', '\\u00'],
] as const;

test.each(FAULTS)('HD28: a request with %s is refused by our node', async (_what, fault) => {
  const link = await connectLink(sentinel.url);
  const to = `math-${id()}@fame.fabric`;
  await link.bind(to, mathService());
  const caller = await nodes.attached();
  const corrId = id();
  const header = { to, replyTo: caller.replyTo(), corrId, rtype: 2 };
  sendBroken(caller, header, { jsonrpc: '2.0', id: corrId, method: 'echo', params: ['BROKEN'] }, fault);
  const refusal = await caller.next((m) => m.corrId === corrId);
  expect(refusal.frame).toMatchObject({ type: 'DeliveryAck', ok: false, code: 'PROTO_MALFORMED' });
  // The node still serves.
  expect((await caller.call(to, 'add', { args: [1, 2] })).frame.payload.result).toBe(3);
});

test.each(FAULTS)('HD28: an answer and an item with %s end the call of our node', async (_what, fault) => {
  const link = await connectLink(sentinel.url);
  const agent = await nodes.attached();
  const to = `broken-${id()}@fame.fabric`;
  await agent.serve(to, ({ corrId, replyTo }) => {
    sendBroken(agent, { to: replyTo, corrId }, { jsonrpc: '2.0', id: corrId, result: 'BROKEN' }, fault);
  });
  await expect(link.call(to, 'ask')).rejects.toMatchObject({ code: 'PROTO_MALFORMED' });
  await expect(link.stream(to, 'ask').next()).rejects.toMatchObject({ code: 'PROTO_MALFORMED' });
  expect(link.counts.calls).toBe(0);
});
