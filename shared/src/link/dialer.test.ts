// Connecting: the first attach, refusals, the delays between attempts, and reconnecting.
import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { FabricError } from '../errors/error.ts';
import type { NodeAttach } from '../protocol/envelope.ts';
import { attach, errorOf, newLink } from '../testing/attach.ts';
import { CaptureLog } from '../testing/capture-log.ts';
import { ManualClock, settle } from '../testing/manual-clock.ts';
import { ScriptedSentinel } from '../testing/scripted-sentinel.ts';
import type { LinkState } from './link-types.ts';
import type { Dial } from './transport.ts';

const attachOf = (sentinel: ScriptedSentinel, nth: number): NodeAttach =>
  sentinel.nodes[nth]!.received[0]!.frame as NodeAttach;

describe('the first attach', () => {
  it('sends NodeAttach first and takes the path that the sentinel assigns', async () => {
    const sentinel = new ScriptedSentinel();
    const link = await attach(sentinel, { systemId: 'node-1', token: 'secret' });
    expect(link.state).toBe('attached');
    expect(link.path).toBe('/S/node-1');
    expect(sentinel.node.url).toBe('memory://sentinel/downstream/node-1');
    expect(sentinel.node.token).toBe('secret');
    expect(attachOf(sentinel, 0)).toMatchObject({
      type: 'NodeAttach',
      originType: 'downstream',
      systemId: 'node-1',
      acceptedLogicals: ['fame.fabric'],
      capabilities: [
        'fame.capability.cancel',
        'fame.capability.stream-flows',
        'fame.capability.pair-flows',
        'fame.capability.byte-credit',
      ],
    });
  });

  it('reads the token for each attempt, and once more if the sentinel refuses it and there is another', async () => {
    const sentinel = new ScriptedSentinel();
    sentinel.intercept = (envelope, node) => {
      if (envelope.frame.type !== 'NodeAttach' || node.token === undefined) return undefined;
      sentinel.answer(node, envelope, {
        type: 'NodeAttachAck',
        ok: false,
        code: 'AUTH_INVALID',
        reason: 'wrong key',
      });
      return false;
    };
    const tokens: (string | undefined)[] = ['wrong', undefined];
    const token = { read: () => tokens.shift(), onRefused: () => tokens.length > 0 };
    await attach(sentinel, { token });
    expect(sentinel.nodes.map((node) => node.token)).toEqual(['wrong', undefined]);

    tokens.push('wrong');
    const error = await errorOf(newLink(sentinel, { token }).connect());
    expect(error).toMatchObject({ code: 'AUTH_INVALID', details: { code: 'AUTH_INVALID' } });
    expect(error.message).not.toContain('wrong"');
  });

  it('fails at once with the error of the token source', async () => {
    const read = (): never => {
      throw new FabricError('CONFIG_INVALID', 'no such file');
    };
    const sentinel = new ScriptedSentinel();
    const error = await errorOf(newLink(sentinel, { token: { read } }).connect());
    expect(error).toMatchObject({ code: 'CONFIG_INVALID' });
    expect(sentinel.dials).toBe(0);
  });

  it('puts the system id before the query of the URL', async () => {
    const sentinel = new ScriptedSentinel();
    await attach(sentinel, { systemId: 'a b', url: 'memory://s/down/?x=1' });
    expect(sentinel.node.url).toBe('memory://s/down/a%20b?x=1');
  });

  it('retries with one log line until the sentinel is there', async () => {
    const sentinel = new ScriptedSentinel();
    sentinel.isDown = true;
    const [clock, log] = [new ManualClock(), new CaptureLog()];
    const connecting = newLink(sentinel, { clock, log }).connect();
    await clock.run(5_000, 50);
    expect(sentinel.dials).toBeGreaterThan(4);
    sentinel.isDown = false;
    // The remaining delays.
    await clock.run(10_000, 50);
    await connecting;
    expect(log.lines.filter((line) => line.level !== 'debug')).toEqual([
      {
        level: 'info',
        message: 'waiting for the sentinel',
        fields: expect.objectContaining({ timeoutMs: 30_000, reason: 'connect ECONNREFUSED' }),
      },
    ]);
  });

  it('fails with LINK_TIMEOUT and advice when there is no sentinel in time', async () => {
    const sentinel = new ScriptedSentinel();
    sentinel.isDown = true;
    const clock = new ManualClock();
    const link = newLink(sentinel, { clock, connectTimeoutMs: 2_000 });
    const failed = errorOf(link.connect());
    await clock.run(2_500, 20);
    const error = await failed;
    expect(error).toMatchObject({ code: 'LINK_TIMEOUT' });
    expect(error.message).toMatch(/No sentinel at .* within 2 s: connect ECONNREFUSED\. Start it/);
    expect(link.state).toBe('idle');
    expect(clock.timerCount).toBe(0);
    sentinel.isDown = false;
    await link.connect();
    expect(link.state).toBe('attached');
  });

  it.each([31_000, 3_600_000, -86_400_000, 31 * 86_400_000])(
    'HD11: a step of the clock by %i ms does not move the end of the first attach',
    async (ms) => {
      const sentinel = new ScriptedSentinel();
      sentinel.isDown = true;
      const clock = new ManualClock();
      const link = newLink(sentinel, { clock, connectTimeoutMs: 4_000, backoffMaxMs: 500 });
      const failed = errorOf(link.connect());
      await clock.run(1_000, 20);
      clock.stepWall(ms);
      const dials = sentinel.dials;
      await clock.run(1_500, 20);
      expect(sentinel.dials).toBeGreaterThan(dials);
      await clock.run(2_000, 20);
      expect(await failed).toMatchObject({ code: 'LINK_TIMEOUT' });
    },
  );

  it('waits between attempts, from 0.2 s up to 10 s, with jitter', async () => {
    const sentinel = new ScriptedSentinel();
    sentinel.isDown = true;
    const clock = new ManualClock();
    const times: number[] = [];
    const link = newLink(sentinel, {
      clock,
      connectTimeoutMs: 120_000,
      dial: (url, options) => {
        times.push(clock.now());
        return sentinel.dial(url, options);
      },
    });
    const failed = errorOf(link.connect());
    await clock.run(125_000, 10);
    await failed;
    const pauses = times.slice(1).map((time, at) => time - times[at]!);
    pauses.forEach((pause, at) => {
      const longest = Math.min(200 * 2 ** at, 10_000);
      expect(pause).toBeGreaterThanOrEqual(longest / 2 - 1);
      expect(pause).toBeLessThanOrEqual(longest + 11);
    });
    expect(pauses.length).toBeGreaterThan(10);
  }, 60_000);

  it('is not repeated when the sentinel refuses it', async () => {
    const sentinel = new ScriptedSentinel();
    sentinel.intercept = (envelope, node) => {
      sentinel.answer(node, envelope, {
        type: 'NodeAttachAck',
        ok: false,
        code: 'ADMIT_FULL',
        reason: 'the session limit is reached',
      });
      return false;
    };
    const error = await errorOf(newLink(sentinel).connect());
    expect(error).toMatchObject({ code: 'LINK_REFUSED', details: { code: 'ADMIT_FULL' } });
    expect(error.message).toContain('the session limit is reached');
    expect(sentinel.dials).toBe(1);
  });

  it('recognizes a refusal without corrId, and a close with 1008', async () => {
    const early = new ScriptedSentinel();
    early.intercept = (_envelope, node) => {
      early.send(node, {
        id: 'x',
        frame: { type: 'NodeAttachAck', ok: false, reason: 'Authentication failed' },
      });
      return false;
    };
    expect((await errorOf(newLink(early).connect())).message).toContain('Authentication failed');
    const withoutAck = new ScriptedSentinel();
    withoutAck.intercept = (_envelope, node) => {
      node.transport.close(1008, 'Invalid origin type');
      return false;
    };
    const error = await errorOf(newLink(withoutAck).connect());
    expect(error).toMatchObject({ code: 'LINK_REFUSED', details: { closeCode: 1008 } });
    expect(error.message).toContain('Invalid origin type');
  });

  it('ignores an ack with another corrId, and garbage, until its timeout', async () => {
    const sentinel = new ScriptedSentinel();
    const clock = new ManualClock();
    sentinel.intercept = (_envelope, node) => {
      node.transport.send(new TextEncoder().encode('null'));
      sentinel.send(node, {
        id: 'x',
        corrId: 'another',
        frame: { type: 'NodeAttachAck', ok: true, assignedPath: '/evil' },
      });
      return false;
    };
    const failed = errorOf(newLink(sentinel, { clock, connectTimeoutMs: 9_000 }).connect());
    await clock.run(9_500, 100);
    expect(await failed).toMatchObject({ code: 'LINK_TIMEOUT' });
    expect(clock.timerCount).toBe(0);
  });

  it('rejects with the reason of its signal when that aborts', async () => {
    const sentinel = new ScriptedSentinel();
    sentinel.isDown = true;
    const clock = new ManualClock();
    const link = newLink(sentinel, { clock });
    const abort = new AbortController();
    const failed = errorOf(link.connect({ signal: abort.signal }));
    await clock.run(300, 50);
    const reason = new Error('enough');
    abort.abort(reason);
    expect(await failed).toBe(reason);
    expect(link.state).toBe('idle');
    expect(clock.timerCount).toBe(0);
    expect(await errorOf(link.connect({ signal: abort.signal }))).toBe(reason);
  });

  it('fails with LINK_CLOSED when the link is closed meanwhile', async () => {
    const sentinel = new ScriptedSentinel();
    sentinel.isDown = true;
    const clock = new ManualClock();
    const link = newLink(sentinel, { clock });
    const failed = errorOf(link.connect());
    await clock.run(300, 50);
    await link.close();
    expect(await failed).toMatchObject({ code: 'LINK_CLOSED' });
    expect(await errorOf(link.connect())).toMatchObject({ code: 'LINK_CLOSED' });
    expect(clock.timerCount).toBe(0);
  });

  it('is shared by concurrent calls of connect', async () => {
    const sentinel = new ScriptedSentinel();
    const link = newLink(sentinel);
    await Promise.all([link.connect(), link.connect(), link.connect()]);
    await link.connect();
    expect(sentinel.dials).toBe(1);
  });
});

describe('a lost connection', () => {
  it('is restored by the same instance, and its states are reported', async () => {
    const sentinel = new ScriptedSentinel();
    const clock = new ManualClock();
    const link = await attach(sentinel, { clock, systemId: 'n' });
    const states: LinkState[] = [];
    const stop = link.onState((state) => states.push(state));
    sentinel.node.transport.close(1001, 'going away');
    await clock.run(250, 25);
    expect(states).toEqual(['reconnecting', 'attached']);
    expect(attachOf(sentinel, 1).instanceId).toBe(attachOf(sentinel, 0).instanceId);
    stop();
    sentinel.node.transport.close(1001, '');
    await clock.run(2_000, 25);
    expect(states).toHaveLength(2);
    expect(link.state).toBe('attached');
  });

  it('is retried after a refusal too, until the link is closed', async () => {
    const sentinel = new ScriptedSentinel();
    const clock = new ManualClock();
    const link = await attach(sentinel, { clock });
    sentinel.intercept = (envelope, node) => {
      if (envelope.frame.type !== 'NodeAttach') return true;
      sentinel.answer(node, envelope, { type: 'NodeAttachAck', ok: false, reason: 'not now' });
      return false;
    };
    sentinel.node.transport.close(1012, '');
    await clock.run(60_000, 200);
    expect(link.state).toBe('reconnecting');
    expect(sentinel.dials).toBeGreaterThan(6);
    sentinel.intercept = undefined;
    await clock.run(11_000, 200);
    expect(link.state).toBe('attached');
  });

  it('is not restored once the link is closed', async () => {
    const sentinel = new ScriptedSentinel();
    const clock = new ManualClock();
    const link = await attach(sentinel, { clock });
    sentinel.node.transport.close(1001, '');
    await settle();
    expect(link.state).toBe('reconnecting');
    await link.close();
    await clock.run(20_000, 500);
    expect(sentinel.dials).toBe(1);
    expect(clock.timerCount).toBe(0);
  });
});

describe('several sentinels', () => {
  /** Dials the sentinels of a cluster by the host of their URL; those in `away` cannot be reached. */
  const cluster = (away: Set<string>) => {
    const sentinels = { a: new ScriptedSentinel(), b: new ScriptedSentinel(), c: new ScriptedSentinel() };
    const dialed: string[] = [];
    const dial: Dial = (url, options) => {
      const host = new URL(url).host as keyof typeof sentinels;
      dialed.push(host);
      if (away.has(host)) throw new FabricError('LINK_TIMEOUT', `${host} is away`);
      return sentinels[host].dial(url, options);
    };
    return { ...sentinels, dialed, dial };
  };
  const URLS = {
    url: 'memory://a/downstream',
    otherUrls: ['memory://b/downstream', 'memory://c/downstream'],
  };

  it('are tried in turn at the first attach', async () => {
    const clock = new ManualClock();
    const { a, dial, dialed } = cluster(new Set(['a', 'b']));
    const link = newLink(a, { ...URLS, dial, clock, systemId: 'n' });
    const connected = link.connect();
    await clock.run(1_000);
    await connected;
    expect(dialed).toEqual(['a', 'b', 'c']);
  });

  it('are tried in turn after a lost connection, the last one first', async () => {
    const clock = new ManualClock();
    const away = new Set<string>();
    const { a, dial, dialed } = cluster(away);
    const link = newLink(a, { ...URLS, dial, clock });
    await link.connect();
    away.add('a');
    a.node.transport.close(1001, 'gone');
    await clock.run(2_000);
    expect(dialed.slice(0, 2)).toEqual(['a', 'a']);
    expect(dialed).toHaveLength(3);
    expect(link.state).toBe('attached');
  });

  it('are tried in a random order after a lost connection, so that the nodes of a sentinel spread', async () => {
    const seconds = new Set<string | undefined>();
    for (let i = 0; i < 40; i++) {
      const clock = new ManualClock();
      const away = new Set<string>();
      const { a, dial, dialed } = cluster(away);
      const link = newLink(a, { ...URLS, dial, clock });
      await link.connect();
      away.add('a');
      a.node.transport.close(1001, 'gone');
      await clock.run(2_000);
      expect(link.state).toBe('attached');
      expect(dialed.slice(0, 2)).toEqual(['a', 'a']);
      seconds.add(dialed[2]);
    }
    expect(seconds).toEqual(new Set(['b', 'c']));
  });

  it('refuse a node only if all of them do', async () => {
    const clock = new ManualClock();
    const { a, b, c, dial } = cluster(new Set());
    for (const sentinel of [a, b]) {
      sentinel.intercept = (envelope, node) => {
        if (envelope.frame.type !== 'NodeAttach') return undefined;
        sentinel.answer(node, envelope, {
          type: 'NodeAttachAck',
          ok: false,
          code: 'ADMIT_FULL',
          reason: 'full',
        });
        return false;
      };
    }
    const link = newLink(a, { ...URLS, dial, clock });
    const connected = link.connect();
    await clock.run(1_000);
    await connected;
    expect(c.nodes).toHaveLength(1);
    c.intercept = a.intercept;
    const refused = errorOf(
      newLink(a, { ...URLS, otherUrls: URLS.otherUrls.slice(0, 1), dial, clock }).connect(),
    );
    await clock.run(1_000);
    expect(await refused).toMatchObject({ code: 'LINK_REFUSED', details: { code: 'ADMIT_FULL' } });
  });
});

describe('HD31: the delays of a sentinel that stays away', () => {
  const dialsWhileAway = async (isServing: boolean, options: { backoffMaxMs?: number } = {}) => {
    const sentinel = new ScriptedSentinel();
    const clock = new ManualClock();
    const link = await attach(sentinel, { clock, ...options });
    if (isServing) await link.bind('a@fame.fabric', { onCall: () => {} });
    await clock.run(5_000, 100);
    sentinel.isDown = true;
    sentinel.node.transport.close(1006, '');
    await clock.run(100_000, 100);
    await link.close();
    return sentinel.dials - 1;
  };

  it('HD31: grow to 2 s for a link that serves, and to 10 s for one that only calls', async () => {
    expect(await dialsWhileAway(true)).toBeGreaterThanOrEqual(45);
    expect(await dialsWhileAway(false)).toBeLessThanOrEqual(26);
  });

  it('HD31: follow the option in both cases', async () => {
    expect(await dialsWhileAway(true, { backoffMaxMs: 10_000 })).toBeLessThanOrEqual(26);
    expect(await dialsWhileAway(false, { backoffMaxMs: 1_000 })).toBeGreaterThanOrEqual(80);
  });
});

describe('a sentinel that keeps crashing soon after each attach', () => {
  it('is reattached to within a second each time', async () => {
    const sentinel = new ScriptedSentinel();
    const clock = new ManualClock();
    const link = await attach(sentinel, { clock });
    for (let death = 1; death <= 30; death++) {
      await clock.run(500, 50);
      expect(link.state).toBe('attached');
      sentinel.node.transport.close(1006, '');
      await clock.run(1_000, 50);
      expect(sentinel.dials).toBe(death + 1);
    }
    await link.close();
  });
});

describe('a connection that is lost at the moment of its attach', () => {
  it('is restored, but not once the link is closed', async () => {
    const sentinel = new ScriptedSentinel();
    const clock = new ManualClock();
    const link = newLink(sentinel, { clock });
    sentinel.intercept = (envelope, node) => {
      if (envelope.frame.type !== 'NodeAttach') return true;
      sentinel.answer(node, envelope, { type: 'NodeAttachAck', ok: true, assignedPath: '/S/n' });
      node.transport.close(1001, '');
      return false;
    };
    await link.connect();
    await clock.run(1_000, 50);
    expect(sentinel.dials).toBeGreaterThan(1);
    await link.close();
    const { dials } = sentinel;
    await clock.run(60_000, 1_000);
    expect(sentinel.dials).toBe(dials);
    expect(clock.timerCount).toBe(0);
  });

  it('is not dialed again if the link is closed at once', async () => {
    const sentinel = new ScriptedSentinel();
    const clock = new ManualClock();
    const link = newLink(sentinel, { clock });
    link.onState((state) => {
      if (state === 'attached') sentinel.node.transport.close(1001, '');
    });
    await link.connect();
    await settle();
    expect(link.state).toBe('reconnecting');
    await link.close();
    await clock.run(60_000, 1_000);
    expect(sentinel.dials).toBe(1);
    expect(clock.timerCount).toBe(0);
  });
});

describe('the signal of a dial', () => {
  it('accumulates no listeners over many attempts', async () => {
    const sentinel = new ScriptedSentinel();
    const clock = new ManualClock();
    const signals: AbortSignal[] = [];
    const link = newLink(sentinel, {
      clock,
      backoffMaxMs: 200,
      dial: (url, options) => {
        signals.push(options.signal!);
        return sentinel.dial(url, options);
      },
    });
    sentinel.intercept = (_envelope, node) => {
      node.transport.close(1001, '');
      return false;
    };
    const failed = errorOf(link.connect());
    await clock.run(10_000, 50);
    expect(signals.length).toBeGreaterThan(30);
    for (const signal of signals) expect(getEventListeners(signal, 'abort').length).toBeLessThanOrEqual(1);
    await link.close();
    await failed;
  });
});

describe('a dial that ends after the link was closed', () => {
  it('is terminated', async () => {
    const sentinel = new ScriptedSentinel();
    const gate = Promise.withResolvers<void>();
    const link = newLink(sentinel, {
      dial: async (url, options) => {
        await gate.promise;
        return sentinel.dial(url, { timeoutMs: options.timeoutMs });
      },
    });
    const failed = errorOf(link.connect());
    await link.close();
    gate.resolve();
    expect(await failed).toBeInstanceOf(FabricError);
    await settle();
    expect(sentinel.node.transport.send(new Uint8Array([1]))).toBe(false);
    expect(sentinel.node.received).toEqual([]);
  });
});
