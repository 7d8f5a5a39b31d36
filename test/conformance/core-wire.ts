// The requirements on every Fame sentinel in open mode, tested in bytes at a ws:// URL. Each test is named after its requirement
// (S1 to S28). The suite does not depend on an implementation: it runs against our sentinel and against the unmodified peer.
import { sidOf } from '@fame-fabric/shared/node';
import { afterEach, describe, expect, test } from 'vitest';
import { id, type Json, type RawNode, RawNodes } from '../kit/raw-node.ts';

export interface Target {
  /** Admission URL without its last segment. */
  url: string;
}

const ATTACHED = 'NodeAttachAck';

/** Registers the tests. `target` is read when a test runs, after the suite's own set-up. */
/** Id under which a test attaches as a peer. Our sentinel must have it in FAME_PEER_IDS. */
export const PEER_ID = 'core-wire-peer';

export function coreWire(name: string, target: () => Target): void {
  const nodes = new RawNodes(() => target().url);
  // Each test has its own addresses, so that a node left by one test cannot answer in the next.
  let count = 0;
  const address = (participant = 'svc'): string => `${participant}-${++count}-${id()}@fame.fabric`;

  afterEach(() => nodes.closeAll());

  describe(`core wire: ${name}`, () => {
    describe('attach', () => {
      test('S1: accepts a node on the downstream path', async () => {
        const node = await nodes.attached();
        expect(node.ack.frame.ok).toBe(true);
      });

      test('S1: accepts a query string after the id', async () => {
        const node = await nodes.attached({ query: '?a=b' });
        expect(node.path).toContain(node.systemId);
      });

      test('S1: selects the first subprotocol that is offered', async () => {
        const node = await nodes.attached({ protocols: ['first', 'second'] });
        expect(node.socket.protocol).toBe('first');
      });

      test('S2: reads text messages and writes binary ones only', async () => {
        const node = await nodes.attached({ text: true });
        await node.heartbeat();
        expect(node.seen.text).toBe(0);
        expect(node.seen.binary).toBeGreaterThanOrEqual(2);
      });

      test('S3: answers a WebSocket ping and declines compression', async () => {
        const node = await nodes.attached({ ws: { perMessageDeflate: true } });
        expect(node.socket.extensions).toBe('');
        const pong = new Promise<string>((resolve) =>
          node.socket.once('pong', (data) => resolve(String(data))),
        );
        node.socket.ping('are you there');
        expect(await pong).toBe('are you there');
      });

      test('S4: the ack has the corrId of the attach and the fields that a node needs', async () => {
        const node = await nodes.attached();
        const { frame } = node.ack;
        expect(frame).toMatchObject({ type: ATTACHED, ok: true });
        expect(frame.refId).toEqual(expect.any(String));
        expect(frame.targetSystemId).toEqual(expect.any(String));
        expect(frame.targetPhysicalPath).toBe(`/${frame.targetSystemId}`);
        expect(node.ack.to).toBeUndefined();
      });

      test('S4: accepts a minimal attach', async () => {
        const node = await nodes.open();
        const frame = {
          type: 'NodeAttach',
          originType: 'downstream',
          systemId: node.systemId,
          instanceId: 'i',
        };
        node.raw(JSON.stringify({ frame }));
        const ack = await node.next((m) => m.frame?.type === ATTACHED);
        expect(ack.frame.ok).toBe(true);
      });

      test('S5: the assigned path is the sentinel path and the id of the node', async () => {
        const node = await nodes.attached();
        expect(node.path).toBe(`${node.sentinelPath}/${node.systemId}`);
      });

      test('S6: a node that attaches again gets a new epoch and binds again, or is still bound', async () => {
        const to = address();
        const first = await nodes.echo(to);
        await first.cut();
        const second = await nodes.attached({ systemId: first.systemId, instanceId: first.instanceId });
        const epochs = [first.ack.frame.routingEpoch, second.ack.frame.routingEpoch];
        if (epochs[0] === epochs[1]) second.onRequest((request) => second.answer(request, 'again'));
        else await second.serve(to, (request) => second.answer(request, 'again'));
        const caller = await nodes.attached();
        expect((await caller.call(to, 'any')).frame.payload.result).toBe('again');
      });

      test('S20: an attach with another systemId than its URL closes the socket', async () => {
        const node = await nodes.open();
        const corrId = id();
        node.send({
          corrId,
          frame: { type: 'NodeAttach', originType: 'downstream', systemId: 'another', instanceId: 'i' },
        });
        expect((await node.closed).code).toBeGreaterThanOrEqual(1000);
      });

      test('S23: fields of other security profiles are accepted and ignored', async () => {
        const node = await nodes.attached({
          attach: {
            callbackGrants: [],
            encryptionKeyId: 'k',
            keys: [],
            stickiness: { supportedModes: ['attr'], mode: 'attr' },
            acceptedLogicals: ['fame.fabric'],
          },
        });
        expect(node.ack.frame.ok).toBe(true);
      });

      test('S23: attach keys may be snake_case', async () => {
        const node = await nodes.open();
        node.send({
          corrId: 'snake',
          frame: {
            type: 'NodeAttach',
            origin_type: 'downstream',
            system_id: node.systemId,
            instance_id: 'i',
            accepted_logicals: ['*'],
          },
        });
        const ack = await node.next((m) => m.frame?.type === ATTACHED);
        expect(ack.frame.ok).toBe(true);
      });
    });

    describe('control', () => {
      test('S7, Q18: the epoch in heartbeat acks does not change', async () => {
        const node = await nodes.attached();
        const first = await node.heartbeat();
        const second = await node.heartbeat();
        expect(second.frame.routingEpoch).toBe(first.frame.routingEpoch);
        if (first.frame.routingEpoch !== undefined) {
          expect(first.frame.routingEpoch).toBe(node.ack.frame.routingEpoch);
        }
      });

      test.each([
        ['AddressBind', 'AddressBindAck'],
        ['AddressUnbind', 'AddressUnbindAck'],
      ])('S8: acks %s with its corrId', async (type, ackType) => {
        const node = await nodes.attached();
        const to = address();
        if (type === 'AddressUnbind') await node.serve(to);
        const ack = await node.request({ type, address: to, physicalPath: node.path });
        expect(ack.frame).toMatchObject({ type: ackType, ok: true, address: to });
        expect(ack.to).toBeUndefined();
      });

      test.each([
        ['CapabilityAdvertise', 'CapabilityAdvertiseAck'],
        ['CapabilityWithdraw', 'CapabilityWithdrawAck'],
      ])('S8: acks %s with its corrId', async (type, ackType) => {
        const node = await nodes.attached();
        const to = address();
        await node.serve(to);
        const capabilities = [`cap.${id()}`];
        if (type === 'CapabilityWithdraw') await node.advertise(to, capabilities);
        const ack = await node.request({ type, address: to, capabilities });
        expect(ack.frame).toMatchObject({ type: ackType, ok: true, address: to, capabilities });
      });

      test('S8: an ack has the id of its request as refId', async () => {
        const node = await nodes.attached();
        const corrId = id();
        const sent = node.send({
          rtype: 1,
          corrId,
          replyTo: `__sys__@${node.path}`,
          frame: { type: 'AddressBind', address: address(), physicalPath: node.path },
        });
        const ack = await node.next((m) => m.corrId === corrId);
        expect(ack.frame.refId).toBe(sent.id);
      });

      test('S9, S10: every heartbeat is acked with its corrId', async () => {
        const node = await nodes.attached();
        for (let beat = 0; beat < 3; beat++) {
          expect((await node.heartbeat()).frame).toMatchObject({ type: 'NodeHeartbeatAck', ok: true });
        }
      });

      test('S8: binding an address a second time is acked again', async () => {
        const node = await nodes.attached();
        const to = address();
        await node.serve(to);
        expect((await node.bind(to)).frame.ok).toBe(true);
      });

      test('S24: a bind may name a physical path below the node, twice', async () => {
        const child = await nodes.attached();
        const to = address();
        const frame = { type: 'AddressBind', address: to, physicalPath: `${child.path}/grandchild` };
        for (let time = 0; time < 2; time++) expect((await child.request(frame)).frame.ok).toBe(true);
      });
    });

    describe('routing', () => {
      test('S11: routes a call by exact address, and its reply by path without a bind (S12)', async () => {
        const to = address();
        await nodes.echo(to);
        const caller = await nodes.attached();
        const reply = await caller.call(to, 'echo', { n: 1 });
        expect(reply.frame.payload).toMatchObject({ jsonrpc: '2.0', id: reply.corrId, result: { n: 1 } });
      });

      test('S11: calls to an unbound address are refused', async () => {
        const to = address();
        const server = await nodes.echo(to);
        await server.request({ type: 'AddressUnbind', address: to });
        const caller = await nodes.attached();
        expect((await caller.call(to, 'echo')).frame).toMatchObject({ type: 'DeliveryAck', ok: false });
      });

      test('S11: an exact address takes precedence over a pool', async () => {
        const participant = `w${id()}`;
        const pool = await nodes.attached({ attach: { acceptedLogicals: ['*.fame.fabric'] } });
        await pool.serve(`${participant}@*.fame.fabric`, (request) => pool.answer(request, 'pool'));
        const exact = await nodes.attached();
        await exact.serve(`${participant}@fame.fabric`, (request) => exact.answer(request, 'exact'));
        const caller = await nodes.attached();
        for (let time = 0; time < 4; time++) {
          const reply = await caller.call(`${participant}@fame.fabric`, 'who');
          expect(reply.frame.payload.result).toBe('exact');
        }
      });

      test('S11: a pool matches the host itself and all hosts below it', async () => {
        const participant = `w${id()}`;
        const pool = await nodes.attached({ attach: { acceptedLogicals: ['*.fame.fabric'] } });
        await pool.serve(`${participant}@*.fame.fabric`, (request) => pool.answer(request, 'pool'));
        const caller = await nodes.attached();
        for (const host of ['fame.fabric', 'one.fame.fabric', 'two.one.fame.fabric']) {
          const reply = await caller.call(`${participant}@${host}`, 'who');
          expect(reply.frame.payload.result, host).toBe('pool');
        }
      });

      test('S11: both members of a pool receive calls', async () => {
        const participant = `w${id()}`;
        for (const name of ['a', 'b']) {
          const member = await nodes.attached({ attach: { acceptedLogicals: ['*.fame.fabric'] } });
          await member.serve(`${participant}@*.fame.fabric`, (request) => member.answer(request, name));
        }
        const caller = await nodes.attached();
        const calls = Array.from({ length: 40 }, () => caller.call(`${participant}@fame.fabric`, 'who'));
        const names = (await Promise.all(calls)).map((reply) => reply.frame.payload.result);
        expect(new Set(names)).toEqual(new Set(['a', 'b']));
      });

      test.each(['__sys__', '__rpc__abc'])(
        'S12: %s at the path of a node needs no bind',
        async (participant) => {
          const svc = address();
          const server = await nodes.attached();
          await server.serve(svc);
          const caller = await nodes.attached();
          const replyTo = `${participant}@${caller.path}`;
          const { corrId } = caller.sendCall(svc, 'ask', {}, { replyTo });
          await server.next((m) => m.corrId === corrId);
          server.send({ to: replyTo, corrId, frame: { type: 'Data', payload: 'by path' } });
          const got = await caller.next((m) => m.frame?.type === 'Data');
          expect(got.frame.payload).toBe('by path');
        },
      );

      test('S13: routes by capability to a node that has all of the listed ones', async () => {
        const [caps, other] = [[`cap.${id()}`, `cap.${id()}`], `cap.${id()}`];
        const server = await nodes.attached();
        const to = address();
        await server.serve(to, (request) => server.answer(request, 'capable'));
        expect((await server.advertise(to, caps)).frame.ok).toBe(true);
        const caller = await nodes.attached();
        for (const wanted of [caps, caps.slice(1)]) {
          const reply = await caller.call(undefined, 'who', {}, { capabilities: wanted });
          expect(reply.frame.payload.result).toBe('capable');
        }
        const refused = await caller.call(undefined, 'who', {}, { capabilities: [caps[0], other] });
        expect(refused.frame).toMatchObject({ type: 'DeliveryAck', ok: false, code: 'NO_ROUTE' });
      });

      test('S13: calls to a withdrawn capability are refused', async () => {
        const capability = `cap.${id()}`;
        const server = await nodes.attached();
        const to = address();
        await server.serve(to, (request) => server.answer(request, 'capable'));
        await server.advertise(to, [capability]);
        await server.request({ type: 'CapabilityWithdraw', address: to, capabilities: [capability] });
        const caller = await nodes.attached();
        const refused = await caller.call(undefined, 'who', {}, { capabilities: [capability] });
        expect(refused.frame).toMatchObject({ type: 'DeliveryAck', ok: false, code: 'NO_ROUTE' });
      });

      test('S14: an envelope is forwarded unchanged, except for seqId, flowFlags and sid', async () => {
        const to = address();
        const server = await nodes.attached();
        await server.serve(to);
        const caller = await nodes.attached();
        const sent = caller.send({
          to,
          replyTo: caller.replyTo(),
          rtype: 2,
          corrId: id(),
          traceId: 'trace-1',
          sid: sidOf(caller.path),
          priority: 'high',
          ts: '2001-02-03T04:05:06.789Z',
          meta: { a: [1, 2.5], b: { c: true } },
          sec: { sig: { alg: 'EdDSA', kid: 'k', val: 'v' } },
          aft: 'tag',
          unknownKey: { deep: [null, 'é', '\u2028', '😀'] },
          frame: {
            type: 'Data',
            payload: { jsonrpc: '2.0', id: 'x', method: 'm', params: { none: null, zero: 0, small: 1e-9 } },
            pd: 'digest',
            another_key: null,
          },
        });
        const got = await server.next((m) => m.id === sent.id);
        const { seqId: _s, flowFlags: _f, sid: _d, ...passed } = got;
        const { seqId: _t, flowFlags: _g, sid: _e, ...original } = sent;
        expect(passed).toEqual(original);
      });

      test('S14: a reply is forwarded unchanged', async () => {
        const to = address();
        const server = await nodes.attached();
        let answered: Json;
        await server.serve(to, (request) => {
          answered = server.answer(request, { none: null, text: 'ü' }, { extra: 'kept' });
        });
        const caller = await nodes.attached();
        const reply = await caller.call(to, 'any');
        expect(reply.id).toBe(answered.id);
        expect(reply.extra).toBe('kept');
        expect(reply.frame).toEqual(answered.frame);
      });

      test('S15: a message without a route is refused at once, with the corrId of the request', async () => {
        const caller = await nodes.attached();
        const unserved = address('unserved');
        const sent = caller.sendCall(unserved, 'any');
        const nack = await caller.next((m) => m.corrId === sent.corrId);
        expect(nack.to).toBe(sent.replyTo);
        expect(nack.flowFlags & 4).toBe(4);
        expect(nack.frame).toMatchObject({
          type: 'DeliveryAck',
          ok: false,
          code: 'NO_ROUTE',
          refId: sent.id,
        });
        expect(nack.frame.reason).toContain(unserved);
      });

      test('S15: no refusal of a message without replyTo and corrId is addressed to a mailbox', async () => {
        const caller = await nodes.attached();
        caller.send({ to: address('unserved'), frame: { type: 'Data', payload: 'lost' } });
        expect(await caller.silent((m) => m.frame?.type === 'DeliveryAck' && m.to !== undefined)).toBe(true);
      });

      test('S11: a message is never routed back to its own connection', async () => {
        const node = await nodes.attached();
        const to = address();
        await node.serve(to);
        const nack = await node.call(to, 'self');
        expect(nack.frame).toMatchObject({ type: 'DeliveryAck', ok: false, code: 'NO_ROUTE' });
      });

      test('S11: messages from one node to another keep their order', async () => {
        const to = address();
        const server = await nodes.attached();
        await server.serve(to);
        const caller = await nodes.attached();
        for (let n = 0; n < 300; n++) caller.send({ to, frame: { type: 'Data', payload: n } });
        for (let n = 0; n < 300; n++) {
          const got = await server.next((m) => m.frame?.type === 'Data');
          expect(got.frame.payload).toBe(n);
        }
      });

      test('S11: a DeliveryAck of a receiver reaches the sender', async () => {
        const to = address();
        const server = await nodes.attached();
        await server.serve(to);
        const caller = await nodes.attached();
        const sent = caller.sendCall(to, 'any', {}, { rtype: 3 });
        const request = await server.next((m) => m.id === sent.id);
        server.send({
          to: request.replyTo,
          corrId: request.corrId,
          frame: { type: 'DeliveryAck', ok: true, refId: request.id },
        });
        const ack = await caller.next((m) => m.corrId === sent.corrId);
        expect(ack.frame).toMatchObject({ type: 'DeliveryAck', ok: true, refId: sent.id });
      });
    });

    describe('flow', () => {
      test('S16: credit is granted after at most 24 messages of a flow, and never forwarded', async () => {
        const to = address();
        const server = await nodes.attached();
        await server.serve(to);
        const caller = await nodes.attached();
        const flowId = id();
        for (let n = 0; n < 24; n++) caller.send({ to, flowId, frame: { type: 'Data', payload: n } });
        const credit = await caller.next((m) => m.frame?.type === 'CreditUpdate');
        expect(credit.frame).toMatchObject({ flowId, credits: 32 });
        expect(credit.to).toBeUndefined();
        caller.send({ flowId, flowFlags: 2, frame: { type: 'CreditUpdate', flowId, credits: 32 } });
        await caller.heartbeat();
        expect(
          await server.silent((m) => m.frame?.type === 'CreditUpdate' && m.frame.flowId === flowId),
        ).toBe(true);
      });

      test('S16: 1,000 items arrive in order at a node that grants credit', async () => {
        const to = address();
        const server = await nodes.attached();
        await server.serve(to, async (request) => {
          for (let n = 1; n <= 1_000; n++) {
            server.answer(request, n);
            if (n % 24 === 0) await credit(server);
          }
          server.answer(request, null);
        });
        const caller = await nodes.attached();
        const sent = caller.sendCall(to, 'count', {}, { rtype: 4 });
        for (let n = 1; n <= 1_000; n++) {
          const item = await caller.next((m) => m.corrId === sent.corrId, 10_000);
          expect(item.frame.payload.result).toBe(n);
        }
        expect((await caller.next((m) => m.corrId === sent.corrId)).frame.payload.result).toBeNull();
      });
    });

    describe('sessions', () => {
      test('S18: a node that attaches again replaces its older socket and its route', async () => {
        const to = address();
        const older = await nodes.echo(to);
        const newer = await nodes.attached({ systemId: older.systemId, instanceId: older.instanceId });
        await older.closed;
        await newer.serve(to, (request) => newer.answer(request, 'newer'));
        const caller = await nodes.attached();
        expect((await caller.call(to, 'who')).frame.payload.result).toBe('newer');
        expect(newer.path).toBe(older.path);
      });

      test('S19: calls to a node that has left are refused at once', async () => {
        const to = address();
        const server = await nodes.echo(to);
        const caller = await nodes.attached();
        await caller.call(to, 'warm');
        await server.close();
        // A call that crosses the close of its node may stay unanswered; a later one must be refused.
        const typeOfAnswer = async (): Promise<string> =>
          (await caller.call(to, 'gone', {}, {}, 500)).frame.type;
        await expect.poll(typeOfAnswer).toBe('DeliveryAck');
      });

      test('S22: unknown frames and unknown keys do not disturb later calls', async () => {
        const to = address();
        await nodes.echo(to);
        const caller = await nodes.attached();
        caller.send({ frame: { type: 'FrameOfTheFuture', anything: 1 } });
        caller.send({ frame: { type: 'NodeHeartbeat', futureKey: { a: 1 } }, futureKey: 2, corrId: 'k' });
        expect((await caller.call(to, 'echo', { still: 'here' })).frame.payload.result).toEqual({
          still: 'here',
        });
      });

      test.each(['not json', '42', '"text"', '[]', '{}', '{"frame":null}', '{"frame":{}}'])(
        'S22: after the message %s, its sender and other nodes are still served',
        async (garbage) => {
          const to = address();
          await nodes.echo(to);
          const [sender, other] = [await nodes.attached(), await nodes.attached()];
          sender.raw(garbage);
          for (const node of [sender, other]) {
            expect((await node.call(to, 'echo', [1])).frame.payload.result).toEqual([1]);
          }
        },
      );

      test('S28: refusals are sent as binary messages', async () => {
        const node = await nodes.attached();
        await node.bind(address());
        await node.call(address('unserved'), 'any');
        expect(node.seen.text).toBe(0);
      });
    });

    // Last, because the naylence sentinel behaves differently after a node on its peer path has left.
    describe('peers', () => {
      test('S1, S25: a peer gets its own path, and is notified of addresses that nodes bind', async () => {
        const peer = await nodes.attached({ kind: 'peer', systemId: PEER_ID });
        expect(peer.path).toBe(`/${peer.systemId}`);
        const to = address();
        await nodes.echo(to);
        const announced = await peer.next((m) => m.frame?.type === 'AddressBind' && m.frame.address === to);
        expect(announced.frame.type).toBe('AddressBind');
      });
    });
  });
}

/** Waits for credit before the next items, as a node must. */
const credit = (node: RawNode): Promise<Json> => node.next((m) => m.frame?.type === 'CreditUpdate');
