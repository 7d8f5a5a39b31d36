// The link as a whole: two nodes over a scripted sentinel, drain, close, and leaks.
import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import type { Envelope } from '../protocol/envelope.ts';
import { attach, collect, errorOf, newLink, serve } from '../testing/attach.ts';
import { CaptureLog } from '../testing/capture-log.ts';
import { ManualClock, settle } from '../testing/manual-clock.ts';
import { ScriptedSentinel } from '../testing/scripted-sentinel.ts';
import { Link } from './link.ts';
import type { IncomingCall, LinkState } from './link-types.ts';

describe('two nodes', () => {
  it('call each other in both directions at once', async () => {
    const sentinel = new ScriptedSentinel();
    const [left, right] = [await attach(sentinel), await attach(sentinel)];
    await left.bind(
      'left@fame.fabric',
      serve((call) => call.reply([call.method, 'left'])),
    );
    await right.bind(
      'right@fame.fabric',
      serve(async (call) =>
        call.reply([call.method, 'right', await right.call('left@fame.fabric', 'inner')]),
      ),
    );
    const results = Array.from({ length: 1_000 }, (_, n) => left.call('right@fame.fabric', `m${n}`));
    expect(await Promise.all(results)).toEqual(
      Array.from({ length: 1_000 }, (_, n) => [`m${n}`, 'right', ['inner', 'left']]),
    );
    expect(left.counts).toMatchObject({ calls: 0, serving: 0, waiting: 0 });
    expect(right.counts).toMatchObject({ calls: 0, serving: 0, waiting: 0 });
  });

  it('handle 1,000 open calls on one node, through any sentinel', async () => {
    for (const software of ['fame-fabric/1', undefined]) {
      const sentinel = new ScriptedSentinel();
      sentinel.software = software;
      const [agent, client] = [await attach(sentinel), await attach(sentinel)];
      await agent.bind(
        'slow@fame.fabric',
        serve((call) => setImmediate(() => call.reply(call.params))),
      );
      const results = Array.from({ length: 1_000 }, (_, n) => client.call('slow@fame.fabric', 'm', n));
      expect(await Promise.all(results)).toEqual(Array.from({ length: 1_000 }, (_, n) => n));
    }
  });
});

describe('the trace hook', () => {
  it('receives every envelope that is sent or received, in order', async () => {
    const sentinel = new ScriptedSentinel();
    const seen: string[] = [];
    const trace = (direction: string, { frame }: Envelope) => void seen.push(`${direction} ${frame.type}`);
    const link = await attach(sentinel, { trace });
    await link.bind(
      'a@fame.fabric',
      serve(() => {}),
    );
    await errorOf(link.call('b@fame.fabric', 'm'));
    expect(seen).toEqual([
      'sent NodeAttach',
      'received NodeAttachAck',
      'sent AddressBind',
      'received AddressBindAck',
      'sent CapabilityAdvertise',
      'received CapabilityAdvertiseAck',
      'sent Data',
      'received DeliveryAck',
    ]);
  });
});

describe('listeners of the state', () => {
  it('are called at every change, even if one of them throws', async () => {
    const sentinel = new ScriptedSentinel();
    const log = new CaptureLog();
    const link = newLink(sentinel, { log });
    const states: LinkState[] = [];
    link.onState(() => {
      throw new Error('x');
    });
    link.onState((state) => states.push(state));
    await link.connect();
    await link.drain(1_000);
    expect(states).toEqual(['connecting', 'attached', 'draining', 'closed']);
    expect(log.messages('error')).toHaveLength(4);
    expect(link.counts.stateListeners).toBe(0);
  });
});

describe('drain', () => {
  const draining = async () => {
    const sentinel = new ScriptedSentinel();
    const clock = new ManualClock();
    const calls: IncomingCall[] = [];
    const agent = await attach(sentinel, { clock });
    const client = await attach(sentinel);
    await agent.bind(
      'a@fame.fabric',
      serve((call) => calls.push(call)),
    );
    return { sentinel, clock, calls, agent, client };
  };

  it('lets calls in flight finish, refuses new ones, then closes with 1000', async () => {
    const { sentinel, calls, agent, client } = await draining();
    let code = 0;
    sentinel.nodes[0]!.transport.onClose = (closeCode) => {
      code = closeCode;
    };
    const incoming = client.call('a@fame.fabric', 'm');
    const outgoing = agent.call('c@fame.fabric', 'm');
    await client.bind(
      'c@fame.fabric',
      serve((call) => calls.push(call)),
    );
    const retried = errorOf(outgoing);
    await settle();
    // The address of the client was bound too late for the first call.
    expect(await retried).toMatchObject({ code: 'NO_ROUTE' });
    const second = agent.call('c@fame.fabric', 'm');
    await settle();
    const drained = agent.drain(10_000);
    expect(agent.drain(1)).toBe(agent.drain(1));
    expect(agent.state).toBe('draining');
    expect(await errorOf(agent.call('c@fame.fabric', 'm'))).toMatchObject({ code: 'LINK_DRAINING' });
    expect(await errorOf(collect(agent.stream('c@fame.fabric', 'm')))).toMatchObject({
      code: 'LINK_DRAINING',
    });
    expect(
      await errorOf(
        agent.bind(
          'x@fame.fabric',
          serve(() => {}),
        ),
      ),
    ).toMatchObject({ code: 'LINK_DRAINING' });
    await settle();
    // The addresses are unbound. A caller that knows the path is refused.
    expect(sentinel.bound.has('a@fame.fabric')).toBe(false);
    expect(await errorOf(client.call(`a@${agent.path}`, 'm'))).toMatchObject({ code: 'LINK_DRAINING' });
    expect(agent.state).toBe('draining');
    calls[0]!.reply('in');
    calls[1]!.reply('out');
    expect(await incoming).toBe('in');
    expect(await second).toBe('out');
    await drained;
    expect(agent.state).toBe('closed');
    expect(code).toBe(1000);
  });

  it('waits for replies that need credit', async () => {
    const { sentinel, calls, agent, client } = await draining();
    const results = Array.from({ length: 40 }, () => client.call('a@fame.fabric', 'm'));
    await settle();
    sentinel.grantsCredit = false;
    for (const call of calls) call.reply(1);
    const drained = agent.drain(10_000);
    await settle();
    expect(agent.state).toBe('draining');
    sentinel.grantCredit(sentinel.nodes[0]!, sentinel.framesOf('Data', sentinel.nodes[0]).at(-1)!.flowId!);
    await drained;
    expect(await Promise.all(results)).toHaveLength(40);
  });

  it('rebinds no address when the connection is lost meanwhile', async () => {
    const { sentinel, clock, calls, agent, client } = await draining();
    const result = client.call('a@fame.fabric', 'm');
    await settle();
    const drained = agent.drain(10_000);
    await settle();
    sentinel.nodes[0]!.transport.close(1006, '');
    await clock.run(500, 50);
    expect(sentinel.nodes).toHaveLength(3);
    expect(sentinel.framesOf('AddressBind')).toEqual([]);
    // The reply of the call in flight is still sent.
    calls[0]!.reply('after all');
    expect(await result).toBe('after all');
    await drained;
  });

  it('ends after its timeout, with calls still in flight', async () => {
    const { clock, calls, agent, client } = await draining();
    const lost = client.call('a@fame.fabric', 'm', undefined, { timeoutMs: 100_000 });
    lost.catch(() => {});
    await settle();
    const drained = agent.drain(10_000);
    await clock.run(9_900, 100);
    expect(agent.state).toBe('draining');
    await clock.run(200, 50);
    await drained;
    expect(calls[0]!.signal.reason).toMatchObject({ details: { reason: 'link-closed' } });
    expect(clock.timerCount).toBe(0);
  });

  it('closes an idle link, and one that never attached', async () => {
    const { agent } = await draining();
    await agent.drain(10_000);
    expect(agent.state).toBe('closed');
    const idle = newLink(new ScriptedSentinel());
    await idle.drain(10_000);
    expect(idle.state).toBe('closed');
  });
});

describe('close', () => {
  it('fails outgoing calls, cancels incoming calls, and is final', async () => {
    const sentinel = new ScriptedSentinel();
    const clock = new ManualClock();
    const calls: IncomingCall[] = [];
    const agent = await attach(sentinel, { clock });
    const client = await attach(sentinel, { clock });
    await agent.bind(
      'a@fame.fabric',
      serve((call) => calls.push(call)),
    );
    const call = errorOf(client.call('a@fame.fabric', 'm'));
    const stream = client.stream('a@fame.fabric', 'm');
    const item = errorOf(stream.next());
    await settle();
    await client.close();
    expect(await call).toMatchObject({ code: 'LINK_CLOSED' });
    expect(await item).toMatchObject({ code: 'LINK_CLOSED' });
    const { signal } = calls[0]!;
    await Promise.all([agent.close(), agent.close()]);
    expect(signal.aborted).toBe(true);
    expect(await errorOf(client.connect())).toMatchObject({ code: 'LINK_CLOSED' });
    expect(clock.timerCount).toBe(0);
  });

  it('terminates the connection of a sentinel that does not answer within 2 s', async () => {
    const sentinel = new ScriptedSentinel();
    const clock = new ManualClock();
    let terminated = false;
    const link = await attach(sentinel, {
      clock,
      dial: async (url, options) => {
        const transport = await sentinel.dial(url, options);
        const close = transport.close.bind(transport);
        transport.close = () => {};
        transport.terminate = () => {
          terminated = true;
          close(1006, '');
        };
        return transport;
      },
    });
    const closed = link.close();
    await clock.run(1_900, 100);
    expect(terminated).toBe(false);
    await clock.run(200, 100);
    await closed;
    expect(terminated).toBe(true);
    expect(clock.timerCount).toBe(0);
  });

  it('rejects a bind that waits for the sentinel', async () => {
    const sentinel = new ScriptedSentinel();
    const link = await attach(sentinel, { clock: new ManualClock() });
    sentinel.intercept = (envelope, node) => {
      if (envelope.frame.type === 'AddressBind') node.transport.close(1001, '');
      return envelope.frame.type !== 'AddressBind';
    };
    const failed = errorOf(
      link.bind(
        'a@fame.fabric',
        serve(() => {}),
      ),
    );
    await settle();
    await link.close();
    expect(await failed).toMatchObject({ code: 'LINK_CLOSED' });
    expect(link.counts.addresses).toBe(0);
  });
});

describe('after 1,000 rounds (R22)', () => {
  it('of connect, bind, call, stream and close, nothing leaks', async () => {
    const sentinel = new ScriptedSentinel();
    const clock = new ManualClock();
    const { signal } = new AbortController();
    const agent = await attach(sentinel, { clock });
    await agent.bind(
      'a@fame.fabric',
      serve((call) => {
        if (call.method === 'never') return;
        if (!call.isStream) return call.reply(1);
        void call.push(1);
        call.end();
      }),
    );
    const [timers, counts] = [clock.timerCount, agent.counts];
    for (let round = 0; round < 1_000; round++) {
      const link = new Link({ url: 'memory://s', dial: sentinel.dial, clock });
      await link.connect({ signal });
      await link.bind(
        `n${round}@fame.fabric`,
        serve(() => {}),
      );
      await link.call('a@fame.fabric', 'm', undefined, { signal });
      await collect(link.stream('a@fame.fabric', 'm', undefined, { signal }));
      const lost = errorOf(link.call('a@fame.fabric', 'never', undefined, { signal, timeoutMs: 60_000 }));
      await link.close();
      await lost;
      expect(link.counts).toEqual({
        calls: 0,
        serving: 0,
        addresses: 1,
        waiting: 0,
        waitingBytes: 0,
        held: 0,
        flowsSent: 2,
        pairFlows: 1,
        flowsReceived: expect.any(Number),
        control: 0,
        stateListeners: 0,
        unverified: 0,
        unacknowledged: 0,
      });
      sentinel.nodes.length = 1;
    }
    expect(clock.timerCount).toBe(timers);
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
    expect(sentinel.bound.size).toBe(1);
    const { serving, flowsReceived, pairFlows } = agent.counts;
    // The agent still holds the unanswered calls; the scripted sentinel does not report lost callers.
    expect(serving).toBe(1_000);
    expect(flowsReceived).toBeLessThanOrEqual(1_024);
    // An open call keeps the flow of its caller.
    expect(pairFlows).toBe(1_000);
    expect({ ...agent.counts, serving: 0, flowsReceived: 0, pairFlows: 0 }).toEqual({
      ...counts,
      serving: 0,
      flowsReceived: 0,
    });
  }, 60_000);

  it('of losing the connection and reattaching, nothing has grown', async () => {
    const sentinel = new ScriptedSentinel();
    const clock = new ManualClock();
    const link = await attach(sentinel, { clock });
    await link.bind(
      'a@fame.fabric',
      serve(() => {}),
    );
    // Past the deadline of the bind, whose timer then does nothing.
    await clock.run(25_000, 5_000);
    const [timers, counts] = [clock.timerCount, link.counts];
    for (let round = 0; round < 1_000; round++) {
      sentinel.node.transport.close(1001, '');
      sentinel.nodes.length = 0;
      await settle();
      clock.advance(10_000);
      await settle();
      expect(sentinel.nodes).toHaveLength(1);
    }
    await clock.run(25_000, 5_000);
    expect(link.state).toBe('attached');
    expect(clock.timerCount).toBe(timers);
    expect(link.counts).toEqual(counts);
  }, 60_000);
});
