import { beforeEach, describe, expect, it, test } from 'vitest';
import { newId } from '../ids.ts';
import { decode, encode } from '../protocol/codec.ts';
import { type DataFrame, type Envelope, type Frame, makeEnvelope } from '../protocol/envelope.ts';
import { signEnvelope } from '../protocol/signature/signature.ts';
import { generateSigningKey, type SigningKey } from '../protocol/signature/signing-keys.ts';
import { sidOf } from '../sid.ts';
import { attach, collect, errorOf, newLink, serve } from '../testing/attach.ts';
import { ManualClock } from '../testing/manual-clock.ts';
import { ScriptedSentinel } from '../testing/scripted-sentinel.ts';
import type { Link } from './link.ts';
import type { LinkOptions } from './link-types.ts';
import { createLinkSignatures } from './node-signatures.ts';

const MATH = 'math@fame.fabric';
let sentinel: ScriptedSentinel;
let clock: ManualClock;
beforeEach(() => {
  sentinel = new ScriptedSentinel();
  sentinel.signatures = createLinkSignatures();
  clock = new ManualClock();
});

const signed = (options: Partial<LinkOptions> = {}): Promise<Link> =>
  attach(sentinel, { clock, sidOf, signatures: createLinkSignatures(), ...options });
/** Lets all messages in memory arrive. */
const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await Promise.resolve();
};

/** An agent that records the parameters of its calls, and its connection. */
async function agentOf(options: Partial<LinkOptions> = {}) {
  const received: unknown[] = [];
  const messages: unknown[] = [];
  const link = await signed({ systemId: 'agent', ...options });
  const node = sentinel.node;
  await link.bind(MATH, {
    onCall(call) {
      received.push(call.params);
      if (call.isStream) {
        void call.push(1);
        void call.push(2);
        call.end();
      } else void call.reply(call.params);
    },
    onMessage: (payload) => void messages.push(payload),
  });
  return { link, node, received, messages };
}

describe('nodes with signatures', () => {
  test('bind, call, stream and message each other', async () => {
    const { link: agent, messages, node } = await agentOf();
    const caller = await signed();
    expect(await caller.call(MATH, 'echo', { a: [1.5, 'é', null] })).toEqual({ a: [1.5, 'é', null] });
    expect(await collect(caller.stream(MATH, 'count'))).toEqual([1, 2]);
    caller.send(MATH, { note: 1 });
    await settle();
    expect(messages).toEqual([{ note: 1 }]);
    await agent.unbind(MATH);
    expect(await errorOf(caller.call(MATH, 'echo'))).toMatchObject({ code: 'NO_ROUTE' });
    // Everything that needs a signature had one.
    const unsigned = [...node.received, ...sentinel.node.received].filter(({ sec }) => sec === undefined);
    expect([...new Set(unsigned.map(({ frame }) => frame.type))]).toEqual(['NodeAttach']);
  });

  test('sign heartbeats', async () => {
    await signed({ heartbeatMs: 10 });
    clock.advance(10);
    await settle();
    expect(sentinel.framesOf('NodeHeartbeat')[0]!.sec).toMatchObject({ sig: { alg: 'EdDSA' } });
  });

  test('ask for each key once, and handle the messages that wait for it in order', async () => {
    const { node, received } = await agentOf();
    const caller = await signed();
    const requests = () => node.received.filter(({ frame }) => frame.type === 'KeyRequest');
    let answerRequest: (() => void) | undefined;
    sentinel.intercept = (envelope, from) => {
      if (envelope.frame.type !== 'KeyRequest' || from !== node) return undefined;
      const key = sentinel.keys.get(envelope.frame.kid!)!;
      answerRequest = () =>
        sentinel.answer(node, envelope, { type: 'KeyAnnounce', physicalPath: key.path, keys: [key.jwk] });
      return false;
    };
    const calls = [1, 2, 3].map((n) => caller.call(MATH, 'echo', { n }));
    await settle();
    expect([received, requests().length]).toEqual([[], 1]);
    sentinel.intercept = undefined;
    answerRequest!();
    await settle();
    expect(received).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
    await Promise.all(calls);
    await caller.call(MATH, 'echo', { n: 4 });
    expect(requests()).toHaveLength(1);
  });

  test('refuse the messages of a node whose key is unknown, after three requests', async () => {
    const { link, node, received } = await agentOf();
    const caller = await signed();
    sentinel.keys.clear();
    const refused = errorOf(caller.call(MATH, 'echo', {}, { timeoutMs: 60_000 }));
    await settle();
    for (let i = 0; i < 3; i++) {
      expect(link.counts.unverified).toBe(1);
      clock.advance(5_000);
      await settle();
    }
    expect(node.received.filter(({ frame }) => frame.type === 'KeyRequest')).toHaveLength(3);
    expect(await errorOf(caller.call('none@fame.fabric', 'm'))).toMatchObject({ code: 'NO_ROUTE' });
    // The caller does not know the key of the agent either, so it does not learn of the refusal.
    clock.advance(60_000);
    expect(await refused).toMatchObject({ code: 'CALL_TIMEOUT' });
    expect(received).toEqual([]);
    expect(link.counts.unverified).toBe(0);
  });

  test('hold at most 8 MiB of messages that wait for keys', async () => {
    const { link, messages } = await agentOf();
    const caller = await signed();
    sentinel.keys.clear();
    for (let n = 0; n < 50; n++) {
      caller.send(MATH, 'x'.repeat(250_000));
      await settle();
    }
    expect(link.counts.unverified).toBe(33);
    await link.close();
    expect([link.counts.unverified, messages.length]).toEqual([0, 0]);
  });

  test('ask again for the key of a node that has returned at another path', async () => {
    const { received } = await agentOf();
    const signatures = createLinkSignatures();
    const first = await signed({ systemId: 'first', signatures });
    await first.call(MATH, 'echo', { n: 1 });
    await first.close();
    const second = await signed({ systemId: 'second', signatures });
    await second.call(MATH, 'echo', { n: 2 });
    expect(received).toEqual([{ n: 1 }, { n: 2 }]);
  });

  test('send a request again under a new id after a reconnect', async () => {
    const { node, received } = await agentOf();
    const caller = await signed({ systemId: 'caller' });
    sentinel.intercept = ({ frame }, from) => (frame.type === 'Data' && from === node ? false : undefined);
    const answer = caller.call(MATH, 'echo', { n: 1 }, { resend: true });
    await settle();
    expect(received).toEqual([{ n: 1 }]);
    sentinel.intercept = undefined;
    sentinel.resumed = false;
    sentinel.nodes.at(-1)!.transport.close(1006, '');
    await settle();
    clock.advance(1_000);
    expect(await answer).toEqual({ n: 1 });
  });

  test('do not attach to a sentinel that does not sign', async () => {
    sentinel.signatures = undefined;
    const link = newLink(sentinel, { clock, sidOf, signatures: createLinkSignatures() });
    expect(await errorOf(link.connect())).toMatchObject({
      code: 'LINK_REFUSED',
      message: expect.stringContaining('FAME_SECURITY_PROFILE=overlay'),
    });
  });

  it.each(['AddressBindAck', 'CapabilityAdvertiseAck'] as const)('ignore an unsigned %s', async (type) => {
    const link = await signed();
    const { node } = sentinel;
    const request = type.slice(0, -3);
    sentinel.intercept = (envelope) => {
      if (envelope.frame.type !== request) return undefined;
      const frame = { ...envelope.frame, type, ok: true } as Frame;
      sentinel.send(node, makeEnvelope(frame, { corrId: envelope.corrId }));
      return false;
    };
    const bound = errorOf(
      link.bind(
        MATH,
        serve(() => {}),
      ),
    );
    await settle();
    clock.advance(20_000);
    expect(await bound).toMatchObject({ code: 'LINK_TIMEOUT' });
  });
});

describe('forged messages', () => {
  /** A node that the sentinel knows, and that signs what the test wants. */
  const stranger = (systemId: string): { key: SigningKey; path: string } => {
    const key = generateSigningKey();
    const path = `/S/${systemId}`;
    sentinel.keys.set(key.kid, { jwk: key.jwk, path });
    return { key, path };
  };
  const signedBy = (
    { key, path }: { key: SigningKey; path: string },
    frame: Frame,
    header: Partial<Envelope>,
  ): Envelope => {
    const envelope = makeEnvelope(frame, { sid: sidOf(path), flowId: 'f', ...header });
    signEnvelope(envelope, key, path);
    return envelope;
  };

  test('5,000 forged, replayed and altered envelopes: none is handled', async () => {
    const { link, node, received, messages } = await agentOf();
    const honest = stranger('honest');
    const evil = stranger('evil');
    const request = (n: number, path: string): [Frame, Partial<Envelope>] => [
      { type: 'Data', payload: { jsonrpc: '2.0', id: `c${n}`, method: 'pay', params: { n } } },
      { to: MATH, corrId: `c${n}`, rtype: 2, replyTo: `__rpc__x@${path}` },
    ];
    const genuine = (n: number): Envelope => signedBy(honest, ...request(n, honest.path));
    const frameOf = (envelope: Envelope): DataFrame => envelope.frame as DataFrame;
    // One genuine message, which is handled once, and replayed below.
    const captured = genuine(0);
    sentinel.send(node, captured);
    await settle();
    expect(received).toEqual([{ n: 0 }]);
    // An open call of the node itself: no forgery may answer or end it.
    const open = link.call('slow@fame.fabric', 'm', {}, { timeoutMs: 1_000_000 });
    let isSettled = false;
    void open.then(
      () => (isSettled = true),
      () => (isSettled = true),
    );
    sentinel.bound.set('slow@fame.fabric', { ...node, transport: { ...node.transport, send: () => true } });
    await settle();
    const mailbox = (n: number): Partial<Envelope> => ({
      to: link.path && `__rpc__x@${link.path}`,
      corrId: `c${n}`,
    });
    const forgeries: ((n: number) => unknown)[] = [
      () => captured,
      () => ({ ...captured, flowId: newId(), rtype: 4, meta: { a: 1 }, ts: new Date().toISOString() }),
      () => ({ ...captured, rtype: 3 }),
      (n) => ({ ...genuine(n), id: newId() }),
      (n) => ({ ...genuine(n), corrId: newId() }),
      (n) => ({ ...genuine(n), replyTo: `__rpc__x@${evil.path}` }),
      (n) => ({ ...genuine(n), sid: sidOf(evil.path) }),
      (n) => ({ ...genuine(n), traceId: 'other' }),
      (n) => ({ ...genuine(n), capabilities: ['fame.capability.agent'] }),
      (n) => ({
        ...genuine(n),
        frame: { ...frameOf(genuine(n)), payload: { jsonrpc: '2.0', id: 'x', method: 'pay' } },
      }),
      (n) => ({ ...genuine(n), frame: { ...frameOf(genuine(n)), payload: 'message' } }),
      (n) => ({ ...genuine(n), frame: { ...frameOf(genuine(n)), pd: undefined } }),
      (n) => {
        const payload = JSON.parse('{"__proto__":{"admin":true}}') as object;
        return {
          ...genuine(n),
          frame: {
            ...frameOf(genuine(n)),
            payload: { ...(frameOf(genuine(n)).payload as object), ...payload, x: n },
          },
        };
      },
      (n) => ({ ...genuine(n), sec: undefined }),
      (n) => ({ ...genuine(n), sec: genuine(n + 1).sec }),
      (n) => ({ ...genuine(n), sec: { sig: { kid: honest.key.kid, val: 'A'.repeat(86), alg: 'EdDSA' } } }),
      (n) => signedBy({ key: evil.key, path: honest.path }, ...request(n, honest.path)),
      (n) =>
        signedBy(
          { key: { ...evil.key, kid: honest.key.kid }, path: honest.path },
          ...request(n, honest.path),
        ),
      (n) => signedBy(evil, ...request(n, honest.path)),
      // Frames of the sentinel, by a node.
      (n) => signedBy(evil, { type: 'CallCancel', corrId: `c${n}` }, {}),
      () =>
        signedBy(
          evil,
          {
            type: 'KeyAnnounce',
            physicalPath: honest.path,
            keys: [{ ...evil.key.jwk, kid: honest.key.kid }],
          },
          {},
        ),
      (n) =>
        signedBy(
          evil,
          { type: 'DeliveryAck', ok: false, code: 'NO_ROUTE', refId: `r${n}` },
          { ...mailbox(n), sid: sidOf('/S') },
        ),
      (n) => makeEnvelope({ type: 'DeliveryAck', ok: false, code: 'NO_ROUTE', refId: `r${n}` }, mailbox(n)),
      (n) => makeEnvelope({ type: 'Data', payload: { jsonrpc: '2.0', id: `c${n}`, result: 1 } }, mailbox(n)),
      () => ({ ...captured, frame: undefined }),
    ];
    for (let n = 0; n < 5_000; n++) {
      node.transport.send(Buffer.from(JSON.stringify(forgeries[n % forgeries.length]!(n + 1))));
      if (n % 100 === 0) await settle();
    }
    while (node.transport.bufferedBytes > 0 || link.counts.unverified! > 0) await settle();
    expect(received).toEqual([{ n: 0 }]);
    expect(messages).toEqual([]);
    expect(isSettled).toBe(false);
    expect(link.counts).toMatchObject({ unverified: 0, serving: 0 });
    // A genuine message is still handled.
    sentinel.send(node, genuine(9_999));
    await settle();
    expect(received).toEqual([{ n: 0 }, { n: 9_999 }]);
  });

  test('a replayed message that asks for an ack is acknowledged again, and not handled again', async () => {
    const { node, messages } = await agentOf();
    const honest = stranger('honest');
    const message = signedBy(
      honest,
      { type: 'Data', payload: 'once' },
      { to: MATH, corrId: 'm', rtype: 1, replyTo: `__sys__@${honest.path}` },
    );
    for (let i = 0; i < 3; i++) sentinel.send(node, message);
    await settle();
    expect(messages).toEqual(['once']);
    expect(node.received.filter(({ frame }) => frame.type === 'DeliveryAck')).toHaveLength(3);
  });

  test('a request without a signature is refused, a reply is dropped', async () => {
    const { node } = await agentOf();
    const frame: Frame = { type: 'Data', payload: { jsonrpc: '2.0', id: 'r', method: 'pay' } };
    sentinel.send(
      node,
      makeEnvelope(frame, { to: MATH, corrId: 'r', replyTo: '__rpc__x@/S/plain', rtype: 2 }),
    );
    await settle();
    const nack = node.received.find((envelope) => envelope.frame.type === 'DeliveryAck')!;
    expect(nack).toMatchObject({ to: '__rpc__x@/S/plain', frame: { ok: false, code: 'SIGNATURE_MISSING' } });
    expect(nack.sec).toBeDefined();
    expect(decode(encode(nack)).corrId).toBe('r');
  });
});

test('signatures of a link are its own', () => {
  const { keys } = createLinkSignatures();
  expect(createLinkSignatures().keys).not.toEqual(keys);
  expect(JSON.stringify(keys)).not.toContain('"d"');
});
