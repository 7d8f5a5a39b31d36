// X5: the abilities of a program without the key on this machine. SECURITY.md lists them; each is refused here, or
// allowed with the reason that is given there. The fabric has the key: its agent holds it, as that of `make start` does.
import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, test } from 'vitest';
import { startOurAgent } from '../kit/commands.ts';
import { eventually } from '../kit/eventually.ts';
import { id, type Json } from '../kit/raw-node.ts';
import { keyHeader } from '../kit/sentinel.ts';
import { startWire } from '../kit/wire.ts';

const CHAT = 'chat@fame.fabric';

const { sentinel, nodes } = startWire({ env: { FAME_RESUME_WINDOW_MS: '2000' } });
/** Options of a node that has the key. */
const withKey = () => ({ ws: { headers: keyHeader(sentinel.dataDir) } });

beforeAll(async () => {
  await startOurAgent({ url: sentinel.url, env: { FAME_DATA_DIR: sentinel.dataDir } }, 'chat');
});

describe('X5: a stranger may not', () => {
  test.each(['/fame/v1/nodes', '/fame/v1/trace', '/metrics'])('list or watch: %s', async (path) => {
    expect((await fetch(`${sentinel.http}${path}`)).status).toBe(401);
  });

  test('answer, refuse or follow up the call of another node, or write to its mailboxes', async () => {
    const [agent, caller] = await Promise.all([nodes.attached(withKey()), nodes.attached(withKey())]);
    const stranger = await nodes.attached();
    await agent.serve('x5@fame.fabric');
    const { corrId, id: refId, replyTo } = caller.sendCall('x5@fame.fabric', 'ask');
    const request = await agent.next((m) => m.corrId === corrId);
    const result = { type: 'Data', payload: { jsonrpc: '2.0', id: corrId, result: 'FORGED' } };
    const forged: Json[] = [
      { to: replyTo, corrId, frame: result },
      { to: replyTo, corrId, rtype: 2, replyTo: stranger.replyTo(), frame: result },
      { to: replyTo, corrId, frame: { type: 'DeliveryAck', ok: false, code: 'NO_ROUTE', refId } },
      { to: replyTo, corrId, frame: { type: 'SecureClose', cid: '1' } },
      { to: replyTo, corrId: id(), frame: result },
      { to: replyTo, frame: result },
      { to: `__sys__@${caller.path}`, corrId, frame: result },
      { to: `__sys__@${agent.path}`, corrId, frame: { type: 'DeliveryAck', ok: true, refId: request.id } },
    ];
    for (const envelope of forged) stranger.send(envelope);
    expect(await stranger.silent((m) => m.frame.type === 'DeliveryAck')).toBe(true);
    expect(await agent.silent((m) => m.frame.type === 'DeliveryAck')).toBe(true);
    agent.answer(request, 'the answer');
    expect((await caller.next((m) => m.corrId === corrId)).frame.payload.result).toBe('the answer');
    expect(
      await caller.silent((m) => m.frame.payload?.result === 'FORGED' || m.frame.type === 'DeliveryAck'),
    ).toBe(true);
  });

  test('cancel the call of another node, or remove its address and capabilities', async () => {
    const [agent, caller] = await Promise.all([nodes.attached(withKey()), nodes.attached(withKey())]);
    const stranger = await nodes.attached();
    await agent.serve('kept@fame.fabric');
    await agent.advertise('kept@fame.fabric', ['x5.kept']);
    const { corrId } = caller.sendCall('kept@fame.fabric', 'ask');
    const request = await agent.next((m) => m.corrId === corrId);
    for (const path of [stranger.path, agent.path, caller.path]) {
      stranger.send({ frame: { type: 'CallCancel', corrId }, corrId, replyTo: `__sys__@${path}` });
      stranger.send({ to: `__sys__@${path}`, frame: { type: 'CallCancel', corrId } });
      stranger.send({ to: `__sys__@${path}`, frame: { type: 'AddressUnbind', address: 'kept@fame.fabric' } });
    }
    await stranger.request({ type: 'AddressUnbind', address: 'kept@fame.fabric' });
    await stranger.request({
      type: 'CapabilityWithdraw',
      address: 'kept@fame.fabric',
      capabilities: ['x5.kept'],
    });
    stranger.send({ frame: { type: 'CreditUpdate', flowId: caller.flowId, credits: 1_000 } });
    await stranger.heartbeat();
    expect(await agent.silent((m) => m.frame.type !== 'NodeHeartbeatAck')).toBe(true);
    const again = caller.sendCall(undefined, 'ask', {}, { capabilities: ['x5.kept'] });
    await agent.next((m) => m.corrId === again.corrId);
    agent.answer(request, 'the answer');
    expect((await caller.next((m) => m.corrId === corrId)).frame.payload.result).toBe('the answer');
  });

  test('ask who made a call of another node', async () => {
    const [agent, caller] = await Promise.all([nodes.attached(withKey()), nodes.attached(withKey())]);
    const stranger = await nodes.attached();
    await agent.serve('asked@fame.fabric');
    const { corrId, replyTo } = caller.sendCall('asked@fame.fabric', 'ask');
    await agent.next((m) => m.corrId === corrId);
    const whoIs = { type: 'WhoIs', address: replyTo, corrId };
    expect((await agent.request(whoIs)).frame).toMatchObject({ ok: true, principal: { id: 'local' } });
    const refused = await stranger.request(whoIs);
    expect(refused.frame.ok).toBe(false);
    expect(refused.frame).not.toHaveProperty('principal');
  });

  test('have a reply sent to another node', async () => {
    const [victim, stranger] = [await nodes.attached(), await nodes.attached()];
    const answer = await stranger.call(CHAT, 'describe', {}, { replyTo: victim.replyTo() });
    expect(answer.frame).toMatchObject({ type: 'DeliveryAck', ok: false, code: 'REPLY_TO_FORGED' });
  });

  test('take the address of a living agent, or advertise a capability for it', async () => {
    const stranger = await nodes.attached();
    expect((await stranger.bind(CHAT)).frame).toMatchObject({ ok: false, code: 'ADDRESS_IN_USE' });
    const advertised = await stranger.advertise(CHAT, ['fame.capability.agent']);
    expect(advertised.frame).toMatchObject({ ok: false, code: 'ADDRESS_FORBIDDEN' });
  });

  test('take the address of an agent that lost its connection or has left, or get its calls as a member of a pool', async () => {
    const [agent, caller] = await Promise.all([nodes.attached(withKey()), nodes.attached()]);
    const stranger = await nodes.attached();
    await agent.serve('away@fame.fabric');
    expect((await stranger.bind('away@*.fame.fabric')).frame.ok).toBe(true);
    const callGets = async (code: string): Promise<void> => {
      const answer = await caller.call('away@fame.fabric', 'ask');
      expect(answer.frame).toMatchObject({ type: 'DeliveryAck', ok: false, code });
    };
    // In the resume window the bind waits, and the holder of the key gets the address.
    await agent.cut();
    await eventually(() => callGets('NODE_GONE'));
    const waiting = stranger.bind('away@fame.fabric');
    const successor = await nodes.attached(withKey());
    await successor.serve('away@fame.fabric');
    expect((await waiting).frame).toMatchObject({ ok: false, code: 'ADDRESS_IN_USE' });
    // After an orderly stop the address still belongs to the key.
    await successor.close();
    expect((await stranger.bind('away@fame.fabric')).frame).toMatchObject({
      ok: false,
      code: 'ADDRESS_IN_USE',
    });
    await callGets('NO_ROUTE');
    expect(await stranger.silent((m) => m.frame.payload?.method === 'ask')).toBe(true);
  });

  test('get the calls of a capability while a node with the key has it', async () => {
    const [agent, caller] = await Promise.all([nodes.attached(withKey()), nodes.attached()]);
    const stranger = await nodes.attached();
    for (const node of [agent, stranger]) {
      await node.serve(`able-${node.systemId.toLowerCase()}@fame.fabric`);
      await node.advertise(`able-${node.systemId.toLowerCase()}@fame.fabric`, ['x5.able']);
    }
    const calls = Array.from({ length: 20 }, () =>
      caller.sendCall(undefined, 'ask', {}, { capabilities: ['x5.able'] }),
    );
    for (const { corrId } of calls) await agent.next((m) => m.corrId === corrId);
    expect(await stranger.silent((m) => m.frame.payload?.method === 'ask')).toBe(true);
  });

  test('be a peer, at either URL', async () => {
    for (const kind of ['peer', 'downstream'] as const) {
      const peer = nodes.attached({ kind, attach: { originType: 'peer' } });
      await expect(peer).rejects.toThrow(/ADMIT_REFUSED/);
    }
  });

  test('take the path, the queue or the calls of a node that lost its connection', async () => {
    const [lost, caller] = await Promise.all([nodes.attached(withKey()), nodes.attached()]);
    await lost.serve('lost@fame.fabric');
    const { path, systemId } = lost;
    const call = caller.sendCall('lost@fame.fabric', 'ask');
    await lost.next((m) => m.corrId === call.corrId);
    await lost.cut();
    caller.send({ to: `private@${path}`, frame: { type: 'Data', payload: 'secret' } });
    await caller.heartbeat();
    const stranger = await nodes.attached({ systemId });
    expect(stranger.path).not.toBe(path);
    expect(await stranger.silent((m) => m.frame.type === 'Data')).toBe(true);
    stranger.send({
      to: caller.replyTo(),
      corrId: call.corrId,
      frame: { type: 'Data', payload: { jsonrpc: '2.0', id: call.corrId, result: 'ANSWERED BY THIEF' } },
    });
    await stranger.heartbeat();
    const end = await caller.next((m) => m.corrId === call.corrId);
    expect(end.frame).toMatchObject({ type: 'DeliveryAck', ok: false, code: 'NODE_GONE' });
  });
});

describe('X5: a stranger may', () => {
  test('attach, call every agent, and bind a free address', async () => {
    const stranger = await nodes.attached();
    expect((await stranger.call(CHAT, 'describe')).frame.payload.result).toMatchObject({ address: CHAT });
    expect((await stranger.bind('free@fame.fabric')).frame.ok).toBe(true);
  });

  test('read, continue and end a conversation of another stranger whose id it knows', async () => {
    const conversation = randomUUID();
    const [first, second] = [await nodes.attached(), await nodes.attached()];
    await first.call(CHAT, 'start_task', { id: conversation, payload: {} });
    const turn = { conversation_id: conversation, user_message: 'My name is Ada.' };
    expect((await first.call(CHAT, 'run_turn', turn)).frame.payload.result).toContain('Ada');
    const history = await second.call(CHAT, 'get_history', { conversation_id: conversation });
    expect(JSON.stringify(history.frame.payload.result)).toContain('My name is Ada.');
    const ended = await second.call(CHAT, 'end_conversation', { conversation_id: conversation });
    expect(ended.frame.payload).not.toHaveProperty('error');
  });

  test('but not one that the holder of the key started', async () => {
    const conversation = randomUUID();
    const [owner, stranger] = [await nodes.attached(withKey()), await nodes.attached()];
    await owner.call(CHAT, 'start_task', { id: conversation, payload: {} });
    const turn = { conversation_id: conversation, user_message: 'My name is Ada.' };
    await owner.call(CHAT, 'run_turn', turn);
    for (const [method, params] of [
      ['get_history', { conversation_id: conversation }],
      ['run_turn', turn],
      ['read_events', { conversation_id: conversation }],
      ['tasks/get', { id: conversation }],
    ] as const) {
      const { error } = (await stranger.call(CHAT, method, params)).frame.payload;
      expect(error.data.code, method).toMatch(/^(CONVERSATION|TASK)_UNKNOWN$/);
    }
    await stranger.call(CHAT, 'end_conversation', { conversation_id: conversation });
    expect((await owner.call(CHAT, 'run_turn', turn)).frame.payload).not.toHaveProperty('error');
  });

  test('and does not learn the id of a conversation from the agent', async () => {
    const conversation = randomUUID();
    const [owner, stranger] = [await nodes.attached(withKey()), await nodes.attached()];
    await owner.call(CHAT, 'start_task', { id: conversation, payload: {} });
    const unknown = await stranger.call(CHAT, 'get_history', { conversation_id: randomUUID() });
    expect(unknown.frame.payload.error.data.code).toBe('CONVERSATION_UNKNOWN');
    for (const method of ['describe', 'agent.get_card', 'tasks/list', 'list', 'get_history']) {
      const answer = await stranger.call(CHAT, method);
      expect(JSON.stringify(answer), method).not.toContain(conversation);
    }
  });
});

describe('X5: a page in a browser reaches nothing', () => {
  const ORIGINS = [
    'https://example.com',
    'http://localhost:5173',
    'http://127.0.0.1:1',
    'chrome-extension://abcdefghijklmnop',
    'null',
  ];

  test.each(ORIGINS)('%s', async (origin) => {
    await expect(nodes.attached({ ws: { headers: { origin } } })).rejects.toThrow(/403/);
    await expect(nodes.attached({ ws: { headers: { origin } }, kind: 'peer' })).rejects.toThrow(/403/);
    for (const path of ['/fame/v1/nodes', '/fame/v1/trace', '/metrics', '/fame/v1/nodes?/health']) {
      expect((await fetch(`${sentinel.http}${path}`, { headers: { origin } })).status).toBe(403);
    }
  });

  test('a page under a name that was pointed at this machine', async () => {
    const headers = { host: `evil.example:${sentinel.port}`, origin: `http://evil.example:${sentinel.port}` };
    await expect(nodes.attached({ ws: { headers } })).rejects.toThrow(/403/);
  });
});
