// The caller of an incoming call: asked for once per call, and only if the service reads it.
import { describe, expect, it } from 'vitest';
import type { Caller, Principal } from '../access/principal.ts';
import { attach, serve } from '../testing/attach.ts';
import { settle } from '../testing/manual-clock.ts';
import { ScriptedSentinel } from '../testing/scripted-sentinel.ts';
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
  return { sentinel, agent, client, arrive, asked };
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
      { type: 'WhoIs', address: read.replyTo, corrId: 'c2' },
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
