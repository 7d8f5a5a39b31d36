// HD6: the session of a lost node belongs to its process, and to the holder of its resume token.
import { CANCEL_CAPABILITY } from '@fame-fabric/shared/internal';
import { beforeEach, expect, test } from 'vitest';
import { embeddedSentinels } from '../kit/embedded-sentinel.ts';
import type { Json } from '../kit/raw-node.ts';
import { lose } from '../kit/wire.ts';

const { start, nodes } = embeddedSentinels();
beforeEach(async () => {
  await start();
});

/** Fields of a node of our software, which does not wait for the path of a lost session. */
const ofOurs = { capabilities: [CANCEL_CAPABILITY] };

test('HD6: a stranger with the system id of a lost node gets neither its path, its messages nor its calls', async () => {
  const agent = await nodes.attached();
  await agent.serve('chat@fame.fabric');
  const caller = await nodes.attached();
  const call = caller.sendCall('chat@fame.fabric', 'secret');
  const request = await agent.next((m) => m.id === call.id);
  await lose(agent, caller);
  for (let n = 0; n < 40; n++) {
    caller.send({ to: `inbox@${agent.path}`, frame: { type: 'Data', payload: `private ${n}` } });
  }
  await caller.heartbeat();

  // A node that could be one of naylence waits for the path, and does not get it while the session can be resumed.
  const waiting = nodes.attached({ systemId: agent.systemId });
  for (const attach of [
    ofOurs,
    { resumeToken: 'A'.repeat(22) },
    { resumeToken: caller.ack.frame.resumeToken },
  ]) {
    const thief = await nodes.attached({ systemId: agent.systemId, attach });
    expect(thief.path).not.toBe(agent.path);
    thief.answer(request, 'ANSWERED BY THIEF');
    expect(await thief.silent((m) => m.frame?.type === 'Data')).toBe(true);
  }

  const { systemId, instanceId } = agent;
  const back = await nodes.attached({ systemId, instanceId });
  expect(back.path).toBe(agent.path);
  for (let n = 0; n < 40; n++) {
    expect((await back.next((m) => m.frame?.type === 'Data')).frame.payload).toBe(`private ${n}`);
  }
  const waited = await waiting;
  expect(waited.path).not.toBe(agent.path);
  expect(await waited.silent((m) => m.frame?.type === 'Data')).toBe(true);
});

test('HD6: a stranger with the id of a lost child sentinel gets nothing that is addressed below it', async () => {
  const child = await nodes.attached();
  const caller = await nodes.attached();
  await lose(child, caller);
  const thief = await nodes.attached({ systemId: child.systemId, attach: ofOurs });
  const sent = caller.sendCall(`agent@${child.path}/below`, 'secret');
  expect((await caller.next((m) => m.corrId === sent.corrId)).frame.code).toBe('NODE_GONE');
  caller.send({ to: `agent@${child.path}/below`, frame: { type: 'Data', payload: 'secret' } });
  await caller.heartbeat();
  expect(await thief.silent((m) => m.frame?.type === 'Data')).toBe(true);
});

test('HD6: a new process with the token resumes path, queue and calls; the token is replaced', async () => {
  const agent = await nodes.attached();
  await agent.serve('chat@fame.fabric');
  const caller = await nodes.attached();
  const call = caller.sendCall('chat@fame.fabric', 'work');
  const request = await agent.next((m) => m.id === call.id);
  const { resumeToken } = agent.ack.frame;
  expect(Buffer.from(resumeToken, 'base64url')).toHaveLength(16);
  await lose(agent, caller);
  caller.send({ to: `inbox@${agent.path}`, frame: { type: 'Data', payload: 'kept' } });
  await caller.heartbeat();

  const { systemId } = agent;
  const next = await nodes.attached({ systemId, attach: { resumeToken } });
  expect(next.path).toBe(agent.path);
  expect(next.ack.frame).toMatchObject({ ok: true, resumed: false });
  expect(next.ack.frame.resumeToken).not.toBe(resumeToken);
  expect((await next.next((m: Json) => m.frame?.type === 'Data')).frame.payload).toBe('kept');
  await next.serve('chat@fame.fabric');
  next.answer(request, 'from the journal');
  expect((await caller.next((m) => m.corrId === call.corrId)).frame.payload.result).toBe('from the journal');
});
