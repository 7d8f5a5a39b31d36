// Addresses: binding, advertising, rebinding after each attach, and lookup of incoming messages.
import { describe, expect, it } from 'vitest';
import type { AddressBind } from '../protocol/envelope.ts';
import { attach, errorOf, serve } from '../testing/attach.ts';
import { CaptureLog } from '../testing/capture-log.ts';
import { ManualClock, settle } from '../testing/manual-clock.ts';
import { ScriptedSentinel } from '../testing/scripted-sentinel.ts';

const nothing = serve(() => {});

describe('bind', () => {
  it('sends AddressBind and CapabilityAdvertise, each with rtype 1, a corrId and the system address', async () => {
    const sentinel = new ScriptedSentinel();
    const agent = await attach(sentinel, { systemId: 'a' });
    await agent.bind('math@fame.fabric', nothing, { capabilities: ['fame.capability.math'] });
    const [bind] = sentinel.framesOf('AddressBind');
    expect(bind).toMatchObject({
      rtype: 1,
      replyTo: '__sys__@/S/a',
      corrId: expect.stringMatching(/^\w{16}$/),
      flowId: expect.any(String),
      frame: { address: 'math@fame.fabric', physicalPath: '/S/a' },
    });
    expect(bind!.to).toBeUndefined();
    const [advertise] = sentinel.framesOf('CapabilityAdvertise');
    expect(advertise).toMatchObject({
      rtype: 1,
      replyTo: '__sys__@/S/a',
      frame: { address: 'math@fame.fabric', capabilities: ['fame.capability.agent', 'fame.capability.math'] },
    });
  });

  it('rejects with the code and the reason of the ack, and removes the binding', async () => {
    const sentinel = new ScriptedSentinel();
    const agent = await attach(sentinel);
    const refuse = (code: string) => {
      sentinel.intercept = (envelope, node) => {
        if (envelope.frame.type !== 'AddressBind') return true;
        sentinel.answer(node, envelope, {
          type: 'AddressBindAck',
          ok: false,
          code,
          reason: 'it is taken',
        });
        return false;
      };
    };
    refuse('ADDRESS_IN_USE');
    expect(await errorOf(agent.bind('a@fame.fabric', nothing))).toMatchObject({
      code: 'ADDRESS_IN_USE',
      message: 'it is taken',
    });
    refuse('SOMETHING_ELSE');
    expect(await errorOf(agent.bind('a@fame.fabric', nothing))).toMatchObject({ code: 'ADMIT_REFUSED' });
    expect(agent.counts.addresses).toBe(0);
    sentinel.intercept = undefined;
    await agent.bind('a@fame.fabric', nothing);
    expect(agent.counts.addresses).toBe(1);
  });

  it('waits 20 s for the ack', async () => {
    const sentinel = new ScriptedSentinel();
    const clock = new ManualClock();
    const agent = await attach(sentinel, { clock });
    sentinel.intercept = (envelope) => envelope.frame.type !== 'AddressBind';
    const failed = errorOf(agent.bind('a@fame.fabric', nothing));
    await clock.run(19_900, 100);
    expect(agent.counts.control).toBe(1);
    await clock.run(200, 50);
    expect(await failed).toMatchObject({ code: 'LINK_TIMEOUT' });
    expect(agent.counts.control).toBe(0);
  });

  it('refuses invalid addresses, addresses that are bound already, and the paths of other nodes', async () => {
    const agent = await attach(new ScriptedSentinel());
    await agent.bind('a@fame.fabric', nothing);
    expect(await errorOf(agent.bind('garbage', nothing))).toMatchObject({ code: 'ADDRESS_INVALID' });
    expect(await errorOf(agent.bind('a@fame.fabric', nothing))).toMatchObject({ code: 'ADDRESS_IN_USE' });
    expect(await errorOf(agent.bind('a@/S/other', nothing))).toMatchObject({ code: 'ADDRESS_FORBIDDEN' });
  });

  it('continues after the connection was lost and restored', async () => {
    const sentinel = new ScriptedSentinel();
    const clock = new ManualClock();
    const agent = await attach(sentinel, { clock });
    sentinel.intercept = (envelope, node) => {
      if (envelope.frame.type !== 'AddressBind') return true;
      sentinel.intercept = undefined;
      node.transport.close(1001, '');
      return false;
    };
    const bound = agent.bind('a@fame.fabric', nothing);
    await clock.run(500, 50);
    await bound;
    expect(sentinel.bound.has('a@fame.fabric')).toBe(true);
  });

  it('of a physical address stays in the link', async () => {
    const sentinel = new ScriptedSentinel();
    const agent = await attach(sentinel, { systemId: 'a' });
    const client = await attach(sentinel);
    await agent.bind(
      'worker@/S/a',
      serve((call) => call.reply(call.address)),
    );
    expect(sentinel.framesOf('AddressBind', sentinel.nodes[0])).toEqual([]);
    expect(await client.call('worker@/S/a', 'who')).toBe('worker@/S/a');
  });
});

describe('unbind', () => {
  it('withdraws and unbinds, and callers get NO_ROUTE', async () => {
    const sentinel = new ScriptedSentinel();
    const agent = await attach(sentinel);
    await agent.bind('a@fame.fabric', nothing, { capabilities: ['x'] });
    await agent.unbind('a@fame.fabric');
    await agent.unbind('a@fame.fabric');
    expect(sentinel.framesOf('CapabilityWithdraw')).toHaveLength(1);
    expect(sentinel.framesOf('AddressUnbind')).toHaveLength(1);
    expect(await errorOf(agent.call('a@fame.fabric', 'hi'))).toMatchObject({ code: 'NO_ROUTE' });
  });
});

describe('after each attach', () => {
  it('all addresses are bound and advertised again, whether or not the sentinel still has them', async () => {
    const sentinel = new ScriptedSentinel();
    const clock = new ManualClock();
    const agent = await attach(sentinel, { clock });
    const addresses = Array.from({ length: 40 }, (_, at) => `w${at}@fame.fabric`);
    for (const address of addresses) await agent.bind(address, nothing);
    sentinel.node.transport.close(1001, '');
    await clock.run(500, 50);
    const again = sentinel.framesOf('AddressBind').map(({ frame }: { frame: AddressBind }) => frame.address);
    expect(again.sort()).toEqual([...addresses].sort());
    expect(sentinel.framesOf('CapabilityAdvertise')).toHaveLength(40);
  });

  it('a refused address is logged and retried after growing delays, until it is bound', async () => {
    const sentinel = new ScriptedSentinel();
    const [clock, log] = [new ManualClock(), new CaptureLog()];
    const agent = await attach(sentinel, { clock, log });
    await agent.bind('a@fame.fabric', nothing);
    let refusals = 3;
    sentinel.intercept = (envelope, node) => {
      if (envelope.frame.type !== 'AddressBind' || refusals-- <= 0) return true;
      sentinel.answer(node, envelope, {
        type: 'AddressBindAck',
        ok: false,
        code: 'ADDRESS_IN_USE',
        reason: 'no',
      });
      return false;
    };
    sentinel.node.transport.close(1001, '');
    await clock.run(20_000, 100);
    expect(sentinel.bound.has('a@fame.fabric')).toBe(true);
    expect(log.messages('warn').filter((line) => line === 'could not rebind an address')).toHaveLength(3);
    // Delays of up to 1 s, 2 s and 4 s: the fourth attempt succeeds.
    expect(sentinel.framesOf('AddressBind')).toHaveLength(4);
  });

  it('the retry of a refused address is cancelled by a lost connection, by unbind and by close', async () => {
    const sentinel = new ScriptedSentinel();
    const clock = new ManualClock();
    const agent = await attach(sentinel, { clock });
    await agent.bind('a@fame.fabric', nothing);
    sentinel.intercept = (envelope, node) => {
      if (envelope.frame.type !== 'AddressBind') return true;
      sentinel.answer(node, envelope, { type: 'AddressBindAck', ok: false, reason: 'no' });
      return false;
    };
    sentinel.node.transport.close(1001, '');
    await clock.run(500, 50);
    const withRetry = clock.timerCount;
    await agent.unbind('a@fame.fabric');
    expect(clock.timerCount).toBe(withRetry - 1);
    await agent.close();
    expect(clock.timerCount).toBe(0);
  });
});

describe('an incoming message', () => {
  it('for a host of a pool reaches the pool', async () => {
    const sentinel = new ScriptedSentinel();
    const agent = await attach(sentinel, { systemId: 'a' });
    const client = await attach(sentinel);
    await agent.bind(
      'w@*.fame.fabric',
      serve((call) => call.reply(call.address)),
    );
    const node = sentinel.nodes[0]!;
    for (const to of ['w@fame.fabric', 'w@n1.fame.fabric', 'w@a.b.fame.fabric']) {
      sentinel.bound.set(to, node);
      expect(await client.call(to, 'who')).toBe(to);
    }
    for (const to of ['w@other.fabric', 'v@fame.fabric', 'w@xfame.fabric']) {
      sentinel.bound.set(to, node);
      expect(await errorOf(client.call(to, 'who'))).toMatchObject({ code: 'NO_ROUTE' });
    }
  });

  it("for a participant at the node's own path reaches the binding of that participant", async () => {
    const sentinel = new ScriptedSentinel();
    const agent = await attach(sentinel, { systemId: 'a' });
    const client = await attach(sentinel);
    await agent.bind(
      'first@fame.fabric',
      serve((call) => call.reply('first')),
    );
    await agent.bind(
      'second@fame.fabric',
      serve((call) => call.reply('second')),
    );
    expect(await client.call('second@/S/a', 'who')).toBe('second');
    expect(await client.call('__sys__@/S/a', 'who')).toBe('first');
    expect(await errorOf(client.call('third@/S/a', 'who'))).toMatchObject({ code: 'NO_ROUTE' });
  });

  it('by capabilities alone reaches an address that has all of them', async () => {
    const sentinel = new ScriptedSentinel();
    const agent = await attach(sentinel);
    await agent.bind(
      'a@fame.fabric',
      serve((call) => call.reply('a')),
      { capabilities: ['x'] },
    );
    await agent.bind(
      'b@fame.fabric',
      serve((call) => call.reply('b')),
      { capabilities: ['x', 'y'] },
    );
    const client = await attach(sentinel);
    sentinel.intercept = (envelope) => {
      if (!envelope.capabilities) return true;
      sentinel.send(sentinel.nodes[0]!, envelope);
      return false;
    };
    const ask = (...capabilities: string[]) => client.call({ capabilities }, 'who');
    expect(await ask('fame.capability.agent', 'x')).toBe('a');
    expect(await ask('x', 'y')).toBe('b');
    expect(await errorOf(ask('z'))).toMatchObject({ code: 'NO_ROUTE' });
    await settle();
  });
});
