// The behaviour of our sentinel beyond the core wire, and where the wire format leaves a choice. Black box, like the core-wire
// suite: bytes in, bytes out. Names in capitals are error codes.
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { id, type Json, RawNode } from '../kit/raw-node.ts';
import { fetchWithKey, findNode, startOurSentinel } from '../kit/sentinel.ts';
import { startWire } from '../kit/wire.ts';

const RESUME_MS = 600;
const { sentinel, nodes } = startWire({ env: { FAME_RESUME_WINDOW_MS: String(RESUME_MS) } });

let count = 0;
const address = (participant = 'svc'): string => `${participant}-${++count}-${id()}@fame.fabric`;
const isNack = (code: string) => (m: Json) => m.frame?.type === 'DeliveryAck' && m.frame.code === code;
const data = (payload: Json): Json => ({ type: 'Data', payload });

/** An agent that does not answer by itself, and an open call to it. */
async function openCall(options: { attach?: Json; rtype?: number } = {}) {
  const to = address();
  const callee = await nodes.attached(options.attach ? { attach: options.attach } : {});
  await callee.serve(to);
  const caller = await nodes.attached();
  const sent = caller.sendCall(to, 'work', {}, { rtype: options.rtype ?? 2 });
  const request = await callee.next((m) => m.id === sent.id);
  return { to, callee, caller, sent, request };
}

/** Waits until the sentinel has noticed that the connection of a node is lost. */
const isDetached = (node: RawNode): Promise<void> =>
  expect.poll(async () => (await findNode(sentinel, node))?.state).toBe('detached');

test.each(['', ' '])('NF4: an upgrade with the empty list of subprotocols "%s" is accepted', async (list) => {
  const socket = connect(sentinel.port, '127.0.0.1');
  try {
    socket.write(
      'GET /fame/v1/attach/ws/peer/python HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
        `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol:${list}\r\n\r\n`,
    );
    const [answer] = (await once(socket, 'data')) as [Buffer];
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 101 /);
    expect(answer.toString()).not.toMatch(/Sec-WebSocket-Protocol/i);
  } finally {
    socket.destroy();
  }
});

test('a NodeAttach in the same packet as the upgrade is answered', async () => {
  const attach = JSON.stringify({
    version: '1.0',
    id: id(),
    corrId: 'together',
    frame: { type: 'NodeAttach', originType: 'downstream', systemId: 'hasty', instanceId: id() },
  });
  // One masked binary frame; a mask of zeros leaves the payload as it is.
  const head = Buffer.from([0x82, 0x80 | 126, attach.length >> 8, attach.length & 255, 0, 0, 0, 0]);
  const socket = connect(sentinel.port, '127.0.0.1');
  try {
    socket.write(
      Buffer.concat([
        Buffer.from(
          'GET /fame/v1/attach/ws/downstream/hasty HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
            'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
        ),
        head,
        Buffer.from(attach),
      ]),
    );
    let received = '';
    for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
      received += chunk;
      if (received.endsWith('}')) break;
    }
    expect(received).toContain('"type":"NodeAttachAck"');
    expect(received).toContain('"corrId":"together"');
  } finally {
    socket.destroy();
  }
});

describe('identity', () => {
  test('Q17: a path that the node chooses is ignored', async () => {
    const node = await nodes.attached({ attach: { assignedPath: '/path/of/another' } });
    expect(node.path).toBe(`${node.sentinelPath}/${node.systemId}`);
  });

  test('Q17: a replyTo under the path of another node is refused with REPLY_TO_FORGED', async () => {
    const to = address();
    const server = await nodes.attached();
    await server.serve(to);
    const [victim, forger] = [await nodes.attached(), await nodes.attached()];
    const sent = forger.sendCall(to, 'any', {}, { replyTo: victim.replyTo() });
    const nack = await forger.next((m) => isNack('REPLY_TO_FORGED')(m));
    expect(nack.frame.refId).toBe(sent.id);
    expect(await server.silent((m) => m.id === sent.id)).toBe(true);
    expect(await victim.silent((m) => m.frame?.type === 'DeliveryAck')).toBe(true);
  });

  test.each([
    ['a longer path that starts with that of the sender', (own: RawNode) => `__rpc__x@${own.path}x`],
    ['the path of the sentinel', (own: RawNode) => `__sys__@${own.sentinelPath}`],
    ['a logical address', () => 'other@fame.fabric'],
    ['text that is not an address', () => 'nonsense'],
  ])('Q17: replyTo with %s is refused', async (_what, forge) => {
    const to = address();
    const server = await nodes.attached();
    await server.serve(to);
    const node = await nodes.attached();
    node.sendCall(to, 'any', {}, { replyTo: forge(node) });
    expect((await node.next(isNack('REPLY_TO_FORGED'))).frame.ok).toBe(false);
    expect(await server.silent((m) => m.frame?.type === 'Data')).toBe(true);
  });

  test('Q17: a second replyTo, hidden elsewhere in the envelope, does not pass the check', async () => {
    const to = address();
    const server = await nodes.attached();
    await server.serve(to);
    const [victim, forger] = [await nodes.attached(), await nodes.attached()];
    const good = JSON.stringify(forger.replyTo());
    const bad = JSON.stringify(victim.replyTo());
    const frame = `{"type":"Data","payload":{"jsonrpc":"2.0","id":"1","method":"m"}}`;
    const head = `"id":"x1","to":"${to}","rtype":2,"corrId":"c1","flowId":"f1"`;
    const forged = [
      `{${head},"replyTo":${good},"frame":${frame},"replyTo":${bad}}`,
      `{${head},"replyTo":${good},"replyTo":${bad},"frame":${frame}}`,
      `{${head},"replyTo":${good},"frame":${frame},"reply_to":${bad}}`,
      `{${head},"replyTo":${good},"frame":${frame},"\\u0072eplyTo":${bad}}`,
      `{${head},"frame":${frame},"replyTo":${bad}}`,
    ];
    for (const text of forged) forger.raw(text);
    await forger.heartbeat();
    expect(await server.silent((m) => JSON.stringify(m).includes(victim.path))).toBe(true);
  });

  test.each(['__sys__', '__rpc__abc', 'worker'])(
    'Q17: %s at the path of another node cannot be bound',
    async (participant) => {
      const [victim, thief] = [await nodes.attached(), await nodes.attached()];
      const ack = await thief.bind(`${participant}@${victim.path}`);
      expect(ack.frame).toMatchObject({ type: 'AddressBindAck', ok: false, code: 'ADDRESS_FORBIDDEN' });
    },
  );

  test('a node may bind its own physical addresses', async () => {
    const node = await nodes.attached();
    expect((await node.bind(`worker@${node.path}`)).frame.ok).toBe(true);
  });

  test('the id of the sentinel is in every path and survives a restart', async () => {
    const first = await startOurSentinel();
    const before = (await RawNode.attached(first.url)).sentinelPath;
    await first.proc.kill();
    const second = await startOurSentinel({ port: first.port, dataDir: first.dataDir });
    const after = await RawNode.attached(second.url);
    expect(after.sentinelPath).toBe(before);
    await after.cut();
    await second.proc.kill();
  });
});

describe('copies of one node', () => {
  test('Q9: a second copy with another instance gets its own path and evicts no other', async () => {
    const systemId = id();
    const [a, b, c] = [
      await nodes.attached({ systemId }),
      await nodes.attached({ systemId }),
      await nodes.attached({ systemId }),
    ];
    expect([a.path, b.path, c.path]).toEqual([
      `${a.sentinelPath}/${systemId}`,
      `${a.sentinelPath}/${systemId}-2`,
      `${a.sentinelPath}/${systemId}-3`,
    ]);
    const to = address();
    await nodes.echo(to);
    for (const node of [a, b, c])
      expect((await node.call(to, 'echo', [node.path])).frame.payload.result).toEqual([node.path]);
    expect(a.isClosed || b.isClosed || c.isClosed).toBe(false);
  });

  test('S18: a new connection of the same instance takes over the session, and keeps it when the older socket closes', async () => {
    const older = await nodes.attached();
    const newer = await nodes.attached({ systemId: older.systemId, instanceId: older.instanceId });
    expect(newer.path).toBe(older.path);
    expect((await older.closed).code).toBe(1000);
    const to = address();
    await newer.serve(to, (request) => newer.answer(request, 'newer'));
    const caller = await nodes.attached();
    expect((await caller.call(to, 'who')).frame.payload.result).toBe('newer');
  });

  test('S6: every attach gets a new epoch, so that nodes bind again', async () => {
    const older = await nodes.attached();
    const newer = await nodes.attached({ systemId: older.systemId, instanceId: older.instanceId });
    expect(newer.ack.frame.routingEpoch).not.toBe(older.ack.frame.routingEpoch);
  });
});

describe('addresses', () => {
  test('Q17: an address stays with its live holder, and another bind gets ADDRESS_IN_USE', async () => {
    const to = address();
    await nodes.echo(to);
    const second = await nodes.attached();
    const ack = await second.bind(to);
    expect(ack.frame).toMatchObject({ ok: false, code: 'ADDRESS_IN_USE', address: to });
    const caller = await nodes.attached();
    expect((await caller.call(to, 'echo', ['first'])).frame.payload.result).toEqual(['first']);
  });

  test('an address is free as soon as its holder has left', async () => {
    const to = address();
    const first = await nodes.echo(to);
    await first.close();
    const second = await nodes.attached();
    await expect.poll(async () => (await second.bind(to)).frame.ok).toBe(true);
  });

  test('S19, Q16: pools and capabilities pick attached members only', async () => {
    const participant = `w${id()}`;
    const capability = `cap.${id()}`;
    const make = async (name: string): Promise<RawNode> => {
      const node = await nodes.attached({ attach: { acceptedLogicals: ['*.fame.fabric'] } });
      await node.serve(`${participant}@*.fame.fabric`, (request) => node.answer(request, name));
      await node.advertise(`${participant}@*.fame.fabric`, [capability]);
      return node;
    };
    const [dead] = [await make('dead'), await make('alive')];
    await dead.cut();
    const caller = await nodes.attached();
    for (let time = 0; time < 20; time++) {
      const byAddress = await caller.call(`${participant}@fame.fabric`, 'who');
      const byCapability = await caller.call(undefined, 'who', {}, { capabilities: [capability] });
      expect(byAddress.frame.payload?.result).toBe('alive');
      expect(byCapability.frame.payload?.result).toBe('alive');
    }
  });

  test.each(['bad address', 'garbage', '@fame.fabric', 'a@', 'a@b c', `${'x'.repeat(300)}@fame.fabric`])(
    'Q28: binding "%s" is answered',
    async (bad) => {
      const node = await nodes.attached();
      const ack = await node.bind(bad);
      expect(ack.frame.ok).toBe(false);
      expect(ack.frame.code).toMatch(/^(ADDRESS_INVALID|PROTO_MALFORMED)$/);
    },
  );

  test.each(['bad address', 'garbage', '@fame.fabric', 'a@'])(
    'Q28: calling "%s" is refused at once',
    async (bad) => {
      const node = await nodes.attached();
      const nack = await node.call(bad, 'any');
      expect(nack.frame).toMatchObject({ type: 'DeliveryAck', ok: false, code: 'ADDRESS_INVALID' });
    },
  );

  test('Q8: a call to the path of an unknown node below the sentinel is refused at once', async () => {
    const caller = await nodes.attached();
    const nack = await caller.call(`unserved@${caller.sentinelPath}/no-such-node`, 'any');
    expect(nack.frame).toMatchObject({ type: 'DeliveryAck', ok: false, code: 'NO_ROUTE' });
  });
});

describe('open calls', () => {
  test.each([
    [2, 'a call'],
    [4, 'a stream'],
  ])('Q7, P5: NODE_GONE ends %s (rtype) when its node does not come back: %s', async (rtype) => {
    const { callee, caller, sent, request } = await openCall({ rtype });
    if (rtype === 4) {
      for (let n = 1; n <= 3; n++) callee.answer(request, n);
      for (let n = 1; n <= 3; n++) await caller.next((m) => m.corrId === sent.corrId);
    }
    await callee.cut();
    const began = Date.now();
    const nack = await caller.next((m) => m.corrId === sent.corrId, RESUME_MS + 1_400);
    expect(nack.frame).toMatchObject({ type: 'DeliveryAck', ok: false, code: 'NODE_GONE', refId: sent.id });
    expect(nack.to).toBe(sent.replyTo);
    expect(Date.now() - began).toBeLessThan(2_000);
  });

  test('P5: callers of a node that closes normally are notified', async () => {
    const { callee, caller, sent } = await openCall();
    await callee.close();
    const nack = await caller.next((m) => m.corrId === sent.corrId, RESUME_MS + 1_400);
    expect(nack.frame.code).toBe('NODE_GONE');
  });

  test('a reply after a short disconnect still arrives, and the caller gets no NODE_GONE', async () => {
    const { to, callee, caller, sent, request } = await openCall();
    await callee.cut();
    const back = await nodes.attached({ systemId: callee.systemId, instanceId: callee.instanceId });
    await back.serve(to);
    back.answer(request, 'late but here');
    expect((await caller.next((m) => m.corrId === sent.corrId)).frame.payload.result).toBe('late but here');
  });

  test('a caller that was disconnected for a moment gets the reply that arrived meanwhile', async () => {
    const { callee, caller, sent, request } = await openCall();
    await caller.cut();
    await isDetached(caller);
    callee.answer(request, 'kept for you');
    await callee.heartbeat();
    const back = await nodes.attached({ systemId: caller.systemId, instanceId: caller.instanceId });
    expect(back.path).toBe(caller.path);
    expect((await back.next((m) => m.corrId === sent.corrId)).frame.payload.result).toBe('kept for you');
  });

  test('Q7: calls to a node that restarted as another instance fail at the end of the resume window', async () => {
    const { to, callee, caller, sent } = await openCall();
    await callee.cut();
    const reborn = await nodes.attached({ systemId: callee.systemId });
    await reborn.serve(to);
    const nack = await caller.next((m) => m.corrId === sent.corrId, RESUME_MS + 3_000);
    expect(nack.frame).toMatchObject({ type: 'DeliveryAck', ok: false, code: 'NODE_GONE' });
  });

  test('a call to a disconnected node is refused at once', async () => {
    const { to, callee, caller } = await openCall();
    await callee.cut();
    await expect
      .poll(async () => (await caller.call(to, 'again')).frame.code)
      .toMatch(/^(NODE_GONE|NO_ROUTE)$/);
  });

  test('Q13: completed calls are not tracked any more', async () => {
    const to = address();
    const server = await nodes.echo(to);
    const caller = await nodes.attached();
    for (let n = 0; n < 50; n++) await caller.call(to, 'echo', [n]);
    await server.cut();
    expect(await caller.silent(isNack('NODE_GONE'))).toBe(true);
  });
});

describe('cancel', () => {
  const acceptsCancel = { capabilities: ['fame.capability.cancel'] };

  test('Q2: CallCancel reaches a callee that declared the capability', async () => {
    const { callee, caller, sent } = await openCall({ attach: acceptsCancel, rtype: 4 });
    caller.send({ frame: { type: 'CallCancel', corrId: sent.corrId, reason: 'enough' } });
    const cancel = await callee.next((m) => m.frame?.type === 'CallCancel');
    expect(cancel.frame).toMatchObject({ corrId: sent.corrId, reason: 'enough' });
    expect(cancel.to).toBeUndefined();
  });

  test('CallCancel is not forwarded to a node that did not declare the capability', async () => {
    const { callee, caller, sent } = await openCall();
    caller.send({ frame: { type: 'CallCancel', corrId: sent.corrId } });
    await caller.heartbeat();
    expect(await callee.silent((m) => m.frame?.type === 'CallCancel')).toBe(true);
  });

  test('only the caller can cancel its call', async () => {
    const { callee, sent } = await openCall({ attach: acceptsCancel });
    const other = await nodes.attached();
    other.send({ frame: { type: 'CallCancel', corrId: sent.corrId } });
    await other.heartbeat();
    expect(await callee.silent((m) => m.frame?.type === 'CallCancel')).toBe(true);
  });

  test('the calls of a caller that does not return within the resume window are cancelled with the reason caller-gone', async () => {
    const { callee, caller, sent } = await openCall({ attach: acceptsCancel });
    await caller.cut();
    const cancel = await callee.next((m) => m.frame?.type === 'CallCancel', RESUME_MS + 2_000);
    expect(cancel.frame).toMatchObject({ corrId: sent.corrId, reason: 'caller-gone' });
  });
});

describe('forwarding', () => {
  test('S14: numbers, key order and escapes are forwarded byte for byte', async () => {
    const to = address();
    const server = await nodes.attached();
    await server.serve(to);
    const seen = new Promise<string>((resolve) =>
      server.socket.on('message', (bytes) => resolve(String(bytes))),
    );
    const node = await nodes.attached();
    const text = `{"version":"1.0","id":"exact","to":"${to}","flowId":"f","seqId":7,"flowFlags":1,"frame":{"type":"Data","payload":{"big":12345678901234567890,"one":1.0,"e":1e2,"s":"\\u00e9"}},"ts":"2020-01-01T00:00:00.000Z"}`;
    node.raw(text);
    const payload = /"payload":(\{.*?\})\}/.exec(await seen)?.[1];
    expect(payload).toBe('{"big":12345678901234567890,"one":1.0,"e":1e2,"s":"\\u00e9"}');
  });

  test('HD18: a ttl of 0 is refused with HOPS_EXCEEDED, a larger one passes unchanged', async () => {
    const to = address();
    const server = await nodes.attached();
    await server.serve(to);
    const node = await nodes.attached();
    const refused = await node.call(to, 'any', {}, { ttl: 0 });
    expect(refused.frame).toMatchObject({ type: 'DeliveryAck', ok: false, code: 'HOPS_EXCEEDED' });
    node.send({ to, ttl: 5, frame: data('hop') });
    expect((await server.next((m) => m.frame?.payload === 'hop')).ttl).toBe(5);
  });

  test('S16: a flow gets 32 credits after 24 messages, even if they are refused', async () => {
    const node = await nodes.attached();
    const flowId = id();
    for (let n = 0; n < 24; n++) node.send({ flowId, to: address('unserved'), frame: data(n) });
    const credit = await node.next((m) => m.frame?.type === 'CreditUpdate' && m.frame.flowId === flowId);
    expect(credit.frame.credits).toBe(32);
  });
});

describe('bad input', () => {
  const malformed = [
    ['text that is not JSON', 'this is not json'],
    ['Q11: a literal null', 'null'],
    ['a number', '17'],
    ['a string', '"hello"'],
    ['an array', '[1,2]'],
    ['an empty object', '{}'],
    ['an empty message', ''],
    ['a frame that is null', '{"frame":null}'],
    ['a frame without type', '{"frame":{}}'],
    ['a field of the wrong type', '{"to":1,"frame":{"type":"Data","payload":1}}'],
    ['a bind without an address', '{"to":"a@fame.fabric","frame":{"type":"AddressBind","address":null}}'],
    ['snake_case reply_to', '{"to":"a@fame.fabric","reply_to":"x","frame":{"type":"Data","payload":1}}'],
  ] as const;

  test.each(malformed)('%s is refused within 1 s, and the node stays attached', async (_what, text) => {
    const node = await nodes.attached();
    node.raw(text);
    const nack = await node.next((m) => m.frame?.type === 'DeliveryAck' && m.frame.ok === false);
    expect(nack.frame.code).toMatch(/^PROTO_/);
    expect((await node.heartbeat()).frame.ok).toBe(true);
  });

  test('bytes that are not UTF-8 are refused and not forwarded', async () => {
    const to = address();
    const server = await nodes.attached();
    await server.serve(to);
    const node = await nodes.attached();
    const before = Buffer.from(
      `{"id":"u","to":"${to}","replyTo":"${node.replyTo()}","rtype":2,"corrId":"utf8","flowId":"f","frame":{"type":"Data","payload":"`,
    );
    node.raw(Buffer.concat([before, Buffer.from([0xc3, 0x28, 0xff]), Buffer.from('"}}')]));
    expect((await node.next((m) => m.corrId === 'utf8', 1_000)).frame.code).toBe('PROTO_MALFORMED');
    expect(await server.silent((m) => m.id === 'u')).toBe(true);
  });

  test.each([
    ['cut off in the payload', '{"jsonrpc":"2.0","id":"1","method":'],
    ['with a stray brace', '{"jsonrpc":"2.0"}}'],
    ['with unquoted words', '{jsonrpc:2.0}'],
  ])('a request whose payload is not JSON (%s) is refused and not forwarded', async (_what, payload) => {
    const to = address();
    const server = await nodes.attached();
    await server.serve(to);
    const node = await nodes.attached();
    node.raw(
      `{"id":"broken","to":"${to}","replyTo":"${node.replyTo()}","rtype":2,"corrId":"broken","flowId":"f","frame":{"type":"Data","payload":${payload}}}`,
    );
    expect((await node.next((m) => m.corrId === 'broken', 1_000)).frame.code).toBe('PROTO_MALFORMED');
    expect(await server.silent((m) => m.unreadable !== undefined || m.id === 'broken')).toBe(true);
  });

  test('P17: a message nested deeper than 64 levels is refused with PROTO_TOO_DEEP, one of 60 is forwarded', async () => {
    const to = address();
    await nodes.echo(to);
    const node = await nodes.attached();
    const nested = (depth: number): Json => JSON.parse('['.repeat(depth) + ']'.repeat(depth));
    expect((await node.call(to, 'echo', nested(58))).frame.payload.result).toEqual(nested(58));
    const refused = await node.call(to, 'echo', nested(70));
    expect(refused.frame).toMatchObject({ type: 'DeliveryAck', ok: false, code: 'PROTO_TOO_DEEP' });
  });

  test('five bad frames within a minute close the connection with 4400', async () => {
    const node = await nodes.attached();
    for (let n = 0; n < 5; n++) node.raw('bad');
    expect((await node.closed).code).toBe(4400);
  });

  test('an unknown frame is refused and does not count as a bad frame', async () => {
    const node = await nodes.attached();
    for (let n = 0; n < 12; n++) node.send({ corrId: `u${n}`, frame: { type: 'FrameOfTheFuture' } });
    expect((await node.next((m) => m.corrId === 'u0')).frame.code).toBe('PROTO_UNKNOWN_FRAME');
    expect((await node.heartbeat()).frame.ok).toBe(true);
  });

  test('S4: a second NodeAttach is refused, and the node stays attached', async () => {
    const node = await nodes.attached();
    const frame = {
      type: 'NodeAttach',
      originType: 'downstream',
      systemId: node.systemId,
      instanceId: 'other',
    };
    node.send({ corrId: 'second', frame });
    expect((await node.next((m) => m.corrId === 'second')).frame.ok).toBe(false);
    expect((await node.heartbeat()).frame.ok).toBe(true);
  });

  test('Q6, P17: an envelope over 256 KiB is refused with MESSAGE_TOO_LARGE', async () => {
    const to = address();
    const server = await nodes.echo(to);
    const node = await nodes.attached();
    const fits = await node.call(to, 'echo', ['x'.repeat(255_000)]);
    expect(fits.frame.payload.result[0]).toHaveLength(255_000);
    const nack = await node.call(to, 'echo', ['x'.repeat(300_000)]);
    expect(nack.frame).toMatchObject({ type: 'DeliveryAck', ok: false, code: 'MESSAGE_TOO_LARGE' });
    expect((await server.heartbeat()).frame.ok).toBe(true);
  });

  test('Q6: a reply over 256 KiB is refused, and its caller is notified at once', async () => {
    const { callee, caller, sent, request } = await openCall();
    callee.answer(request, 'x'.repeat(300_000));
    expect((await callee.next(isNack('MESSAGE_TOO_LARGE'))).frame.ok).toBe(false);
    const nack = await caller.next((m) => m.corrId === sent.corrId);
    expect(nack.frame).toMatchObject({ type: 'DeliveryAck', ok: false, code: 'MESSAGE_TOO_LARGE' });
  });

  test('P17: a message over 1 MiB closes the connection with 1009, and other nodes are still served', async () => {
    const to = address();
    await nodes.echo(to);
    const [big, other] = [await nodes.attached(), await nodes.attached()];
    big.raw(Buffer.alloc(1_048_577, 0x20));
    expect((await big.closed).code).toBe(1009);
    expect((await other.call(to, 'echo', ['fine'])).frame.payload.result).toEqual(['fine']);
  });
});

describe('refused attaches', () => {
  const refused = async (frame: Json, options: Json = {}) => {
    const node = await nodes.open(options);
    const corrId = id();
    node.send({
      corrId,
      frame: { originType: 'downstream', systemId: node.systemId, instanceId: 'i', ...frame },
    });
    const ack = await node.next((m) => m.corrId === corrId);
    return { ack, closed: await node.closed };
  };

  test.each([
    ['another systemId than the URL', { type: 'NodeAttach', systemId: 'another' }],
    ['the origin type upstream', { type: 'NodeAttach', originType: 'upstream' }],
    ['a systemId with a slash', { type: 'NodeAttach', systemId: 'a/b' }],
  ])('S20, S28, Q24: %s is refused with the corrId and 1008 at once', async (_what, frame) => {
    const { ack, closed } = await refused(frame);
    expect(ack.frame).toMatchObject({ type: 'NodeAttachAck', ok: false, code: 'ADMIT_REFUSED' });
    expect(ack.frame.reason).toEqual(expect.any(String));
    expect(closed.code).toBe(1008);
  });

  test('the first frame must be NodeAttach: 4405', async () => {
    const { ack, closed } = await refused({ type: 'NodeHeartbeat' });
    expect(ack.frame).toMatchObject({ ok: false, code: 'PROTO_OUT_OF_ORDER' });
    expect(closed.code).toBe(4405);
  });

  test.each(['null', 'garbage', '[]', '', `{"frame":{"type":"${'😀'.repeat(40)}"}}`])(
    '%j as the first message closes the socket at once',
    async (text) => {
      const node = await nodes.open();
      node.raw(text);
      expect((await node.closed).code).toBe(1008);
    },
  );

  test('P17: more than 64 KiB before the attach closes the connection with 1009', async () => {
    for (const message of ['x'.repeat(70_000), Buffer.alloc(70_000, 'x')]) {
      const node = await nodes.open();
      node.raw(message);
      expect((await node.closed).code).toBe(1009);
    }
  });

  test('an upgrade at another URL is refused with 404', async () => {
    const other = sentinel.url.replace('/ws/downstream', '/other');
    await expect(RawNode.open(other)).rejects.toThrow('refused with 404');
  });
});

describe('health', () => {
  test('Q29: the health page counts the connections', async () => {
    const health = async (): Promise<Json> => (await fetch(`${sentinel.http}/fame/v1/attach/health`)).json();
    const before = (await health()).active_connections;
    await Promise.all([nodes.attached(), nodes.attached(), nodes.attached()]);
    expect((await health()).active_connections).toBe(before + 3);
    await nodes.closeAll();
    await expect.poll(async () => (await health()).active_connections).toBe(before);
  });

  test('/healthz and /readyz answer, and /metrics with the local key', async () => {
    for (const page of ['/healthz', '/readyz']) {
      expect((await fetch(`${sentinel.http}${page}`)).status, page).toBe(200);
    }
    expect((await fetchWithKey(sentinel, '/metrics')).status).toBe(200);
  });

  test('a plain GET at the attach URL is a client error', async () => {
    const { status } = await fetch(`${sentinel.http}/fame/v1/attach/ws/downstream/abc`);
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThan(500);
  });

  test('Q30: an HTTP message to the ingress is refused with the way to attach', async () => {
    const answer = await fetch(`${sentinel.http}/fame/v1/ingress/downstream/abc`, {
      method: 'POST',
      body: '{}',
    });
    expect(answer.status).toBe(501);
    expect(await answer.json()).toMatchObject({ error: { code: 'OPERATION_UNSUPPORTED' } });
  });
});
