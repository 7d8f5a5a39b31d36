// Unreadable and misrouted messages: none harms the link, and their callers are notified.
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { makeEnvelope } from '../protocol/envelope.ts';
import { attach, errorOf, serve } from '../testing/attach.ts';
import { CaptureLog } from '../testing/capture-log.ts';
import { ManualClock, settle } from '../testing/manual-clock.ts';
import { ScriptedSentinel } from '../testing/scripted-sentinel.ts';

const text = new TextEncoder();

async function agentWith(log = new CaptureLog()) {
  const sentinel = new ScriptedSentinel();
  const clock = new ManualClock();
  const agent = await attach(sentinel, { systemId: 'a', log, clock });
  await agent.bind(
    'a@fame.fabric',
    serve((call) => call.reply('alive')),
  );
  const send = (message: unknown) =>
    sentinel.node.transport.send(
      text.encode(typeof message === 'string' ? message : JSON.stringify(message)),
    );
  const request = (more: object, payload: unknown = { jsonrpc: '2.0', id: 'c', method: 'm' }) => ({
    id: 'e',
    to: 'a@fame.fabric',
    replyTo: '__rpc__x@/S/x',
    corrId: 'c',
    ...more,
    frame: { type: 'Data', payload },
  });
  return { sentinel, agent, send, request, log, clock };
}

const unhandled = vi.fn();
process.on('uncaughtException', unhandled);
afterEach(() => {
  expect(unhandled).not.toHaveBeenCalled();
});

describe('garbage', () => {
  it('of any kind leaves the link attached and working', async () => {
    const { sentinel, agent, send, request } = await agentWith();
    const junk = [
      '',
      'null',
      '1',
      '[]',
      '{}',
      '"x"',
      '{',
      '{"frame":null}',
      '{"frame":{"type":"Data"}}',
      '\u0000',
    ];
    for (const message of junk) send(message);
    sentinel.node.transport.send(new Uint8Array([0xff, 0xfe, 0x80]));
    for (const type of [
      'NodeAttach',
      'NodeAttachAck',
      'KeyRequest',
      'SecureOpen',
      'Nonsense',
      'AddressBindAck',
    ]) {
      send({
        id: 'x',
        corrId: 'unknown',
        frame: { type, ok: true, systemId: 's', instanceId: 'i', originType: 'x' },
      });
    }
    send({ id: 'x', frame: { type: 'CreditUpdate', flowId: 'unknown', credits: 1 } });
    send({ id: 'x', frame: { type: 'CallCancel', corrId: 'unknown' } });
    send(request({}));
    await settle();
    expect(agent.state).toBe('attached');
    expect(sentinel.framesOf('Data')).toHaveLength(1);
  });

  it('made at random has no effect either', async () => {
    const { sentinel, agent, send, request } = await agentWith();
    const value = fc.jsonValue({ maxDepth: 4 });
    const frame = fc.record(
      {
        type: fc.constantFrom(
          'Data',
          'DeliveryAck',
          'CreditUpdate',
          'CallCancel',
          'AddressBindAck',
          'NodeHeartbeatAck',
        ),
        payload: fc.oneof(
          value,
          fc.record(
            {
              jsonrpc: fc.constant('2.0'),
              id: value,
              method: value,
              params: value,
              error: value,
              result: value,
            },
            { requiredKeys: ['jsonrpc'] },
          ),
        ),
        ok: fc.oneof(fc.boolean(), value),
        flowId: fc.oneof(fc.string(), value),
        credits: fc.oneof(fc.integer(), value),
        corrId: value,
        reason: value,
        code: value,
      },
      { requiredKeys: ['type'] },
    );
    const envelope = fc.record(
      {
        id: value,
        to: fc.constantFrom('a@fame.fabric', '__sys__@/S/a', 'unknown', '__rpc__x@/S/a', null, 7),
        replyTo: fc.constantFrom('__rpc__x@/S/x', '', null, 'a@fame.fabric', 3),
        corrId: fc.oneof(fc.string(), value),
        flowId: fc.oneof(fc.string(), value),
        rtype: fc.oneof(fc.integer({ min: 0, max: 7 }), value),
        meta: value,
        capabilities: value,
        frame,
      },
      { requiredKeys: ['frame'] },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(envelope, { maxLength: 20 }), async (messages) => {
        for (const message of messages) send(message);
        await settle();
        expect(agent.state).toBe('attached');
      }),
      { numRuns: 200 },
    );
    sentinel.node.received.length = 0;
    send(request({}));
    await settle();
    expect(sentinel.framesOf('Data')).toHaveLength(1);
  }, 60_000);

  it('is logged with its code and without its content, once every 10 s', async () => {
    const { send, log, clock } = await agentWith();
    for (let n = 0; n < 100; n++) send('{"secret":"do not log me"');
    await settle();
    clock.advance(10_000);
    send('more');
    await settle();
    const lines = log.lines.filter(({ message }) => message === 'received an unreadable message');
    expect(lines.map(({ fields }) => [fields.code, fields.count])).toEqual([
      ['PROTO_MALFORMED', 1],
      ['PROTO_MALFORMED', 100],
    ]);
    expect(JSON.stringify(log.lines)).not.toContain('do not log me');
  });
});

describe('the log of unreadable messages', () => {
  it('HD11: is written again after 10 s though the clock was set back', async () => {
    const { send, log, clock } = await agentWith();
    send('{');
    await settle();
    clock.stepWall(-86_400_000);
    clock.advance(10_000);
    send('{');
    await settle();
    expect(log.lines.filter(({ message }) => message === 'received an unreadable message')).toHaveLength(2);
  });
});

describe('an unreadable request', () => {
  const deep = (): unknown => {
    let value: unknown = 1;
    for (let depth = 0; depth < 70; depth++) value = [value];
    return value;
  };

  it.each([
    ['PROTO_MALFORMED', { rtype: 'reply' }, undefined],
    ['PROTO_TOO_DEEP', {}, deep()],
    ['MESSAGE_TOO_LARGE', {}, 'x'.repeat(300_000)],
  ])('is answered with %s when its header can be', async (code, header, payload) => {
    const { sentinel, send, request } = await agentWith();
    send(request(header, payload));
    await settle();
    expect(sentinel.framesOf('DeliveryAck')).toMatchObject([
      { to: '__rpc__x@/S/x', corrId: 'c', frame: { ok: false, code, refId: 'e' } },
    ]);
  });

  it('uses credit like any other, and credit is granted for it', async () => {
    const { sentinel, send, request } = await agentWith();
    for (let n = 0; n < 24; n++) send(request({ flowId: 'f', rtype: 'bad' }));
    await settle();
    expect(sentinel.framesOf('CreditUpdate').filter(({ frame }) => frame.flowId === 'f')).toHaveLength(1);
  });
});

describe('an unreadable answer', () => {
  it('fails its call at once and is not answered', async () => {
    const { sentinel, agent } = await agentWith();
    sentinel.intercept = (envelope, node) => {
      if (envelope.frame.type !== 'Data') return true;
      const payload = { jsonrpc: '2.0', id: envelope.corrId, result: 'x'.repeat(300_000) };
      const reply = makeEnvelope(
        { type: 'Data', payload },
        { to: envelope.replyTo!, corrId: envelope.corrId!, replyTo: '__sys__@/S/b' },
      );
      node.transport.send(text.encode(JSON.stringify(reply)));
      return false;
    };
    expect(await errorOf(agent.call('b@fame.fabric', 'm'))).toMatchObject({ code: 'MESSAGE_TOO_LARGE' });
    expect(sentinel.framesOf('DeliveryAck')).toEqual([]);
  });
});

describe('credit', () => {
  it('is booked in the message event, and a link without credit still refuses messages and grants credit', async () => {
    const { sentinel, agent, send, request } = await agentWith();
    sentinel.grantsCredit = false;
    for (let n = 0; n < 40; n++) agent.send('x@fame.fabric', n);
    for (let n = 0; n < 48; n++) send(request({ corrId: `c${n}`, to: 'missing@/S/a', flowId: 'f' }));
    await settle();
    expect(agent.counts.waiting).toBe(8);
    expect(sentinel.framesOf('DeliveryAck')).toHaveLength(48);
    expect(sentinel.framesOf('CreditUpdate').filter(({ frame }) => frame.flowId === 'f')).toHaveLength(2);
    sentinel.grantCredit(sentinel.node, sentinel.framesOf('Data')[0]!.flowId!);
    await settle();
    expect(agent.counts.waiting).toBe(0);
  });
});
