// HD7: an address belongs to its node while the node is briefly away or does not answer. The sentinel runs in this process on
// a manual clock; the connections are real.
import { CANCEL_CAPABILITY } from '@fame-fabric/shared/internal';
import { ManualClock } from '@fame-fabric/shared/testing';
import { beforeEach, expect, test } from 'vitest';
import { embeddedSentinels } from '../kit/embedded-sentinel.ts';
import { livingBytes } from '../kit/heap.ts';
import { id, type Json, type RawNode } from '../kit/raw-node.ts';
import { lose } from '../kit/wire.ts';

const CHAT = 'chat@fame.fabric';
const { start, nodes } = embeddedSentinels();
let clock: ManualClock;
beforeEach(async () => {
  clock = new ManualClock(Date.now());
  await start({ clock, peerIds: ['peer'] });
});

/** Lets time pass in steps, between which messages and pongs arrive. */
async function pass(ms: number, node: RawNode): Promise<void> {
  for (let at = 0; at < ms; at += 500) {
    clock.advance(500);
    await node.heartbeat();
  }
}

/** A bind that is sent now. `isAnswered` is true once its ack has arrived. */
function sendBind(node: RawNode): { ack: Promise<Json>; isAnswered: () => Promise<boolean> } {
  let isAnswered = false;
  const ack = node.bind(CHAT).finally(() => {
    isAnswered = true;
  });
  return {
    ack,
    async isAnswered() {
      await node.heartbeat();
      return isAnswered;
    },
  };
}

test('HD7: while a lost agent is away, other nodes get neither its calls nor its address', async () => {
  const agent = await nodes.attached();
  await agent.serve(CHAT);
  const understudies = [await nodes.attached(), await nodes.attached({ kind: 'peer', systemId: 'peer' })];
  const [pool, peer] = understudies as [RawNode, RawNode];
  await pool.serve('chat@*.fame.fabric');
  peer.send({ frame: { type: 'AddressBind', address: CHAT, physicalPath: peer.path } });
  await peer.heartbeat();
  for (const node of understudies) node.onRequest((request) => node.answer(request, 'STOLEN'));
  const caller = await nodes.attached();
  await lose(agent, caller);

  const thief = await nodes.attached();
  thief.onRequest((request) => thief.answer(request, 'STOLEN'));
  const bind = sendBind(thief);
  for (let n = 0; n < 40; n++) {
    const { frame } = await caller.call(CHAT, 'secret');
    expect(frame).toMatchObject({ type: 'DeliveryAck', ok: false, code: 'NODE_GONE' });
  }
  expect(await bind.isAnswered()).toBe(false);

  const { systemId, instanceId } = agent;
  const back = await nodes.attached({ systemId, instanceId });
  await back.serve(CHAT, (request) => back.answer(request, 'agent'));
  expect((await bind.ack).frame).toMatchObject({ ok: false, code: 'ADDRESS_IN_USE' });
  expect((await caller.call(CHAT, 'who')).frame.payload.result).toBe('agent');
});

test('HD7: another process of a lost agent, without a token, gets the address when the window ends', async () => {
  const agent = await nodes.attached();
  await agent.serve(CHAT);
  const caller = await nodes.attached();
  await lose(agent, caller);
  const next = await nodes.attached({
    systemId: agent.systemId,
    attach: { capabilities: [CANCEL_CAPABILITY] },
  });
  const bind = sendBind(next);
  await pass(4_500, next);
  expect(await bind.isAnswered()).toBe(false);
  await pass(500, next);
  expect((await bind.ack).frame.ok).toBe(true);
});

test.each([2, 10])(
  'HD7: a node or child sentinel that is frozen for %i s is not evicted by a bind of its address',
  async (seconds) => {
    const holder = await nodes.attached();
    await holder.serve(CHAT);
    const caller = await nodes.attached();
    const open = caller.sendCall(CHAT, 'work');
    const request = await holder.next((m) => m.id === open.id);
    holder.stall();
    const thief = await nodes.attached();
    const bind = sendBind(thief);
    await pass(seconds * 1_000 + 500, thief);
    expect(await bind.isAnswered()).toBe(false);
    holder.resume();
    await holder.heartbeat();
    await pass(5_000, thief);
    expect((await bind.ack).frame).toMatchObject({ ok: false, code: 'ADDRESS_IN_USE' });
    expect(holder.isClosed).toBe(false);
    holder.answer(request, 'late');
    expect((await caller.next((m) => m.corrId === open.corrId)).frame.payload.result).toBe('late');
  },
);

test('HD7: waiting binds and advertisements keep only the parts of their envelopes that their acks repeat', async () => {
  const owner = await nodes.attached();
  const addresses = Array.from({ length: 50 }, (_, n) => `wait-${n}@fame.fabric`);
  for (const address of addresses) await owner.serve(address);
  await owner.advertise(addresses[0]!, ['fame.capability.wait']);
  const stranger = await nodes.attached();
  await stranger.serve('own@fame.fabric');
  await lose(owner, stranger);
  // Parsed, each of these takes megabytes.
  const large = { more: Array.from({ length: 60_000 }, () => ({})) };
  const before = await livingBytes();
  for (const address of addresses) {
    stranger.send({ corrId: id(), meta: large, frame: { type: 'AddressBind', address } });
    stranger.send({ corrId: id(), frame: { type: 'AddressBind', address, ...large } });
  }
  for (let n = 0; n < 4; n++) {
    const frame = {
      type: 'CapabilityAdvertise',
      address: 'own@fame.fabric',
      capabilities: ['fame.capability.wait'],
    };
    stranger.send({ corrId: id(), frame: { ...frame, ...large } });
  }
  await stranger.heartbeat();
  expect((await livingBytes()) - before).toBeLessThan(2_000_000);
  expect(stranger.inbox.some(({ frame }) => /^(Address|Capability)/.test(frame.type))).toBe(false);
});
