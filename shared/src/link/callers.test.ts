// The caller of an incoming call: asked for once per call, and only if the service reads it.
import { describe, expect, it } from 'vitest';
import type { Caller, Principal } from '../access/principal.ts';
import { type Envelope, makeEnvelope, RTYPE } from '../protocol/envelope.ts';
import { attach, serve } from '../testing/attach.ts';
import { settle } from '../testing/manual-clock.ts';
import { ScriptedSentinel } from '../testing/scripted-sentinel.ts';
import { BEHALF_META } from './behalf.ts';
import type { IncomingCall } from './link-types.ts';

const LOCAL: Principal = { id: 'local', roles: ['admin'] };

async function fabric(principal: Principal | 'none' = LOCAL) {
  const sentinel = new ScriptedSentinel();
  sentinel.principal = principal === 'none' ? undefined : principal;
  const agent = await attach(sentinel, { systemId: 'agent' });
  const agentNode = sentinel.node;
  const calls: IncomingCall[] = [];
  await agent.bind(
    'a@fame.fabric',
    serve((call) => void calls.push(call)),
  );
  const client = await attach(sentinel, { systemId: 'client' });
  const asked = () => sentinel.framesOf('WhoIs', agentNode);
  const arrive = async (id: string): Promise<IncomingCall> => {
    void client.call('a@fame.fabric', 'work', {}, { id }).catch(() => {});
    await settle();
    return calls.at(-1)!;
  };
  return { sentinel, agent, client, calls, arrive, asked };
}

describe('caller', () => {
  it('is requested when it is first read, once per call', async () => {
    const { arrive, asked } = await fabric();
    const unread = await arrive('c1');
    unread.reply(1);
    expect(asked()).toEqual([]);
    const read = await arrive('c2');
    const expected: Caller = {
      principal: 'local',
      roles: ['admin'],
      rights: { conversations: 'any' },
      path: '/S/client',
    };
    expect(await Promise.all([read.caller, read.caller])).toEqual([expected, expected]);
    expect(asked().map(({ frame }) => frame)).toEqual([
      { type: 'WhoIs', address: read.replyTo, corrId: 'c2', ahead: 4 },
    ]);
  });

  it('is anonymous at a sentinel that does not answer WhoIs, without a request', async () => {
    const { arrive, asked } = await fabric('none');
    expect(await (await arrive('c')).caller).toEqual({
      principal: 'anonymous',
      roles: [],
      rights: { conversations: 'own' },
      path: '/S/client',
    });
    expect(asked()).toEqual([]);
  });

  it.each([
    ['a refusal', { ok: false, principal: LOCAL }],
    ['no principal', { ok: true }],
    ['an invalid principal', { ok: true, principal: 'local' as never }],
    ['roles that are none', { ok: true, principal: { id: 'local', roles: 'admin' } as never }],
    ['an empty id', { ok: true, principal: { id: '', roles: [] } }],
  ])('is anonymous after %s', async (_name, ack) => {
    const { sentinel, arrive } = await fabric();
    sentinel.intercept = (envelope, node) => {
      if (envelope.frame.type !== 'WhoIs') return undefined;
      sentinel.answer(node, envelope, { type: 'WhoIsAck', ...ack });
      return false;
    };
    expect((await (await arrive('c')).caller)?.principal).toBe('anonymous');
  });

  it('is requested again after a lost connection, and is anonymous after a cancel or a close', async () => {
    const { sentinel, agent, arrive, asked } = await fabric();
    sentinel.intercept = ({ frame }) => (frame.type === 'WhoIs' ? false : undefined);
    const [resumed, cancelled] = [await arrive('c1'), await arrive('c2')];
    const callers = [resumed.caller, cancelled.caller];
    await settle();
    expect(asked()).toHaveLength(2);
    sentinel.intercept = undefined;
    const node = sentinel.nodes[0]!;
    sentinel.send(node, {
      ...node.received[0]!,
      replyTo: cancelled.replyTo,
      frame: { type: 'CallCancel', corrId: 'c2', reason: 'caller-gone' },
    });
    await settle();
    node.transport.close(1006);
    expect((await Promise.all(callers)).map((caller) => caller?.principal)).toEqual(['local', 'anonymous']);
    const late = await arrive('c3');
    await agent.close();
    expect((await late.caller)?.principal).toBe('anonymous');
  });

  it('of a call from this node itself is this node', async () => {
    const { agent, arrive, asked } = await fabric();
    await arrive('first');
    let seen: IncomingCall | undefined;
    await agent.bind(
      'own@fame.fabric',
      serve((call) => {
        seen = call;
        call.reply(1);
      }),
    );
    await agent.call('own@fame.fabric', 'work');
    expect(await seen!.caller).toMatchObject({ principal: 'local', roles: ['admin'], path: '/S/agent' });
    expect(asked()).toEqual([]);
  });

  it('of a notification is undefined', async () => {
    const { sentinel, agent } = await fabric();
    let seen: IncomingCall | undefined;
    await agent.bind(
      'n@fame.fabric',
      serve((call) => {
        seen = call;
      }),
    );
    const node = sentinel.nodes[0]!;
    sentinel.send(node, {
      version: '1.0',
      id: 'x',
      to: 'n@fame.fabric',
      frame: { type: 'Data', payload: { jsonrpc: '2.0', method: 'note' } },
    });
    await settle();
    expect(seen?.method).toBe('note');
    expect(await seen!.caller).toBeUndefined();
  });
});

describe('a caller that the sentinel states with the request', () => {
  const ADA: Principal = { id: 'ada', roles: ['client'] };

  async function stating() {
    const parts = await fabric();
    const { sentinel } = parts;
    const node = sentinel.nodes[0]!;
    let count = 0;
    const request = (): Envelope => ({
      version: '1.0',
      id: `m${++count}`,
      to: 'a@fame.fabric',
      replyTo: '__rpc__x@/S/x',
      corrId: `s${count}`,
      rtype: RTYPE.reply,
      frame: { type: 'Data', payload: { jsonrpc: '2.0', id: `s${count}`, method: 'work' } },
    });
    const state = ({ replyTo, corrId }: Envelope): void =>
      sentinel.sendOwn(
        node,
        makeEnvelope({ type: 'WhoIsAck', ok: true, principal: ADA, address: replyTo, ofCall: corrId }),
      );
    const receive = async (envelope: Envelope): Promise<IncomingCall> => {
      sentinel.send(node, envelope);
      await settle();
      return parts.calls.at(-1)!;
    };
    return { ...parts, request, state, receive };
  }

  it('is not asked for', async () => {
    const { asked, request, state, receive } = await stating();
    const envelope = request();
    state(envelope);
    expect(await (await receive(envelope)).caller).toMatchObject({ principal: 'ada', path: '/S/x' });
    expect(asked()).toEqual([]);
  });

  it('is asked for if another message came between, or if the statement is about another request', async () => {
    const { asked, request, state, receive } = await stating();
    const [first, second, third] = [request(), request(), request()];
    state(second);
    expect((await (await receive(first)).caller)?.principal).toBe('local');
    expect((await (await receive(second)).caller)?.principal).toBe('local');
    state({ ...third, replyTo: '__rpc__y@/S/y' });
    expect((await (await receive(third)).caller)?.principal).toBe('local');
    expect(asked()).toHaveLength(3);
  });

  it('is asked for if the request is made on behalf of another caller', async () => {
    const { asked, request, state, receive } = await stating();
    const envelope = { ...request(), meta: { [BEHALF_META]: '__rpc__z@/S/z c' } };
    state(envelope);
    expect((await (await receive(envelope)).caller)?.principal).toBe('local');
    expect(asked()).toHaveLength(1);
  });

  it('is stated ahead for more calls while they are read, and for none while they are not', async () => {
    const { asked, request, state, receive } = await stating();
    const readNext = async (): Promise<number | undefined> => {
      await (await receive(request())).caller;
      return asked().at(-1)!.frame.ahead;
    };
    expect([await readNext(), await readNext(), await readNext()]).toEqual([4, 8, 16]);
    for (let i = 0; i < 3; i++) {
      const unread = request();
      state(unread);
      await receive(unread);
    }
    expect([await readNext(), await readNext()]).toEqual([undefined, 4]);
  });
});
