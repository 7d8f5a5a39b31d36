// HD23: a capability belongs to the node that serves its address.
import { expect, test } from 'vitest';
import { embeddedSentinels } from '../kit/embedded-sentinel.ts';

const { start, nodes } = embeddedSentinels();

const CHAT = 'chat@fame.fabric';

test('HD23: a node advertises capabilities only for an address that it serves, a pool of its own included', async () => {
  await start();
  const agent = await nodes.attached();
  await agent.serve(CHAT, (request) => agent.answer(request, 'agent'));
  const stranger = await nodes.attached();
  await stranger.serve('chat@*.fame.fabric', (request) => stranger.answer(request, 'stranger'));
  stranger.onRequest((request) => stranger.answer(request, 'stranger'));

  for (const address of [CHAT, 'free@fame.other', `x@${agent.path}`, 'x@/']) {
    const { frame } = await stranger.advertise(address, ['fame.capability.chat']);
    expect(frame, address).toMatchObject({ type: 'CapabilityAdvertiseAck', ok: false, address });
    expect(frame.code).toMatch(/^ADDRESS_(FORBIDDEN|INVALID)$/);
  }
  expect((await agent.advertise(CHAT, ['fame.capability.chat'])).frame.ok).toBe(true);
  const caller = await nodes.attached();
  for (let n = 0; n < 20; n++) {
    const { frame } = await caller.call(undefined, 'who', {}, { capabilities: ['fame.capability.chat'] });
    expect(frame.payload.result).toBe('agent');
  }

  // naylence nodes with a pool advertise capabilities for an address in the pool, which they never bind.
  const own = ['chat@*.fame.fabric', 'chat@one.fame.fabric', `chat@${stranger.path}`];
  for (const address of own)
    expect((await stranger.advertise(address, ['other'])).frame.ok, address).toBe(true);
});
