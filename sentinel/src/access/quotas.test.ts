// Quotas of principals: rates, open calls, streams, addresses and sessions, and how a node above its rate is slowed, refused, paused
// and closed.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type DeliveryAck,
  type Envelope,
  type Frame,
  makeEnvelope,
  type Principal,
  silentLog,
} from '@fame-fabric/shared';
import {
  BYTE_CREDIT_CAPABILITY,
  CANCEL_CAPABILITY,
  PAIR_FLOWS_CAPABILITY,
} from '@fame-fabric/shared/internal';
import { afterAll, describe, expect, test } from 'vitest';
import { MAX_PAUSE_MS, MAX_PAUSES, REFUSAL_BYTES, REFUSALS } from '../session/rate-brake.ts';
import { type FakeNode, makeTestParts, type TestOptions } from '../testing/sentinel-parts.ts';
import { Access } from './access.ts';
import { PolicyFile } from './policy/policy-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'fame-quotas-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = join(folder, 'policy.yaml');
let writes = 0;
/** Writes a policy that allows everything, with these limits. Each version has another size, so that it is noticed. */
function limits(...entries: string[]): PolicyFile {
  const rules = "rules:\n  - { effect: allow, action: [Connect, Bind, Advertise, Call], principal: '**' }";
  const listed = entries.map((entry) => `  - { ${entry} }`).join('\n');
  writeFileSync(file, `# ${'x'.repeat(++writes)}\n${rules}\nlimits:\n${listed}\n`);
  return new PolicyFile(file, silentLog);
}

const ada: Principal = { id: 'ada', roles: ['client'] };
const bea: Principal = { id: 'bea', roles: ['client'] };
const bot: Principal = { id: 'bot', roles: ['agent'] };
const OURS = [CANCEL_CAPABILITY, PAIR_FLOWS_CAPABILITY, BYTE_CREDIT_CAPABILITY];

function fabric(options: TestOptions = {}) {
  const parts = makeTestParts({
    access: new Access({ sources: [], isCredentialNeeded: true }),
    maxAddressesPerNode: 1_000,
    ...options,
  });
  const agent = parts.attach('agent', { principal: bot, capabilities: OURS });
  agent.bind('math@fame.fabric');
  return { ...parts, agent };
}

let serial = 0;
/** Answers the calls that have arrived; both ends return the credit for what they received. */
function answerAll(caller: FakeNode, agent: FakeNode): void {
  for (const received of agent.transport.take()) {
    if (received.corrId === undefined) continue;
    agent.transport.receive(credit(received.flowId!));
    // Neither an item of a stream nor a refusal.
    if (received.replyTo === undefined) continue;
    agent.reply(received, 1);
    caller.transport.receive(credit('f-agent'));
  }
}
const credit = (flowId: string): Envelope => makeEnvelope({ type: 'CreditUpdate', flowId, credits: 1 });

/** Sends calls, each of which the agent answers at once. Returns how many were refused with QUOTA_EXCEEDED. */
function flood(caller: FakeNode, agent: FakeNode, count: number, more: Partial<Envelope> = {}): number {
  let refused = 0;
  for (let n = 0; n < count; n++) {
    const got = caller.call('math@fame.fabric', `c${serial++}`, more);
    for (const { frame } of got) {
      if (frame.type !== 'DeliveryAck' || frame.ok) continue;
      expect(frame.code).toBe('QUOTA_EXCEEDED');
      refused++;
    }
    answerAll(caller, agent);
  }
  caller.transport.take();
  return refused;
}
const credits = (envelopes: readonly Envelope[]): number =>
  envelopes.filter(({ frame }) => frame.type === 'CreditUpdate').length;

describe('the rate of messages', () => {
  test('a client may send 400 requests at once and 200 in each second; a further one is refused with the reason', () => {
    const { attach, agent, clock, counters } = fabric();
    const caller = attach('caller', { principal: ada });
    expect(flood(caller, agent, 400)).toBe(0);
    const [refusal] = caller.call('math@fame.fabric', 'late');
    expect(refusal?.frame).toEqual({
      type: 'DeliveryAck',
      ok: false,
      code: 'QUOTA_EXCEEDED',
      refId: expect.any(String),
      reason:
        'ada may send 200 messages a second. Try again in 1 ms. The policy file can raise `messages_per_second`.',
    });
    clock.advance(1_000);
    expect(flood(caller, agent, 202)).toBe(2);
    expect(counters.quotaExceeded).toEqual({ messages: 3 });
  });

  test('our software receives the time after which it may send again', () => {
    const { attach, agent } = fabric();
    const caller = attach('caller', { principal: ada, capabilities: [CANCEL_CAPABILITY] });
    flood(caller, agent, 400);
    const [refusal] = caller.call('math@fame.fabric', 'late');
    expect((refusal!.frame as DeliveryAck).retryAfterMs).toBe(1);
  });

  test('answers, items of streams and acks are not counted', () => {
    const { attach, agent } = fabric();
    const served = attach('served', { principal: ada });
    agent.call(`x@${served.path}`, 'stream', { rtype: 4 });
    const [request] = served.transport.take();
    for (let n = 0; n < 1_000; n++) served.reply(request!, n);
    served.reply(request!, null);
    expect(served.transport.take().filter(({ frame }) => frame.type === 'DeliveryAck')).toEqual([]);
    expect(flood(served, agent, 401)).toBe(1);
  });

  test('all sessions of a principal share it, and other principals have their own', () => {
    const { attach, agent } = fabric();
    const [first, second] = [attach('a1', { principal: ada }), attach('a2', { principal: ada })];
    expect(flood(first, agent, 399)).toBe(0);
    expect(flood(second, agent, 2)).toBe(1);
    expect(flood(attach('b', { principal: bea }), agent, 400)).toBe(0);
  });

  test('refused requests, plain messages, unanswerable ones and link-local frames are counted as well', () => {
    const { attach, agent } = fabric();
    const sends: ((node: FakeNode) => void)[] = [
      (node) => node.call('missing@fame.fabric', `x${serial++}`),
      (node) => node.send({ type: 'Data', payload: 1 }, { to: 'math@fame.fabric' }),
      (node) => node.send({ type: 'Data', payload: 1 }, { to: 'missing@fame.fabric' }),
      (node) => node.send({ type: 'Data', payload: 1 }, { to: `__rpc__x@${agent.path}`, corrId: 'none' }),
      (node) => node.send({ type: 'DeliveryAck', ok: true, refId: 'x' }, { to: 'math@fame.fabric' }),
      (node) => node.send({ type: 'NodeHeartbeat' }, { corrId: 'h' }),
      (node) => node.send({ type: 'AddressBind', address: 'x@fame.fabric' }, { corrId: 'b' }),
    ];
    for (const [nth, send] of sends.entries()) {
      const node = attach(`n${nth}`, { principal: { id: `p${nth}`, roles: ['client'] } });
      for (let n = 0; n < 400; n++) send(node);
      expect([nth, flood(node, agent, 1)]).toEqual([nth, 1]);
    }
  });

  test('a bind above the rate is refused, and a heartbeat is still answered', () => {
    const { attach, agent } = fabric();
    const node = attach('node', { principal: ada });
    flood(node, agent, 400);
    const [bind] = node.send({ type: 'AddressBind', address: 'x@fame.fabric' }, { corrId: 'b', rtype: 1 });
    expect(bind?.frame).toMatchObject({ type: 'AddressBindAck', ok: false, code: 'QUOTA_EXCEEDED' });
    const advertise: Frame = { type: 'CapabilityAdvertise', address: `x@${node.path}`, capabilities: ['c'] };
    expect(node.send(advertise, { corrId: 'a' })[0]?.frame).toMatchObject({
      ok: false,
      code: 'QUOTA_EXCEEDED',
    });
    expect(node.send({ type: 'NodeHeartbeat' }, { corrId: 'h' })[0]?.frame).toMatchObject({ ok: true });
  });

  test('bytes have a rate of their own: 4 MB at once and 2 MB in each second', () => {
    const { attach, agent, clock, counters } = fabric();
    const caller = attach('caller', { principal: ada });
    const large = { meta: { pad: 'x'.repeat(200_000) } };
    expect(flood(caller, agent, 21, large)).toBe(1);
    clock.advance(1_000);
    expect(flood(caller, agent, 11, large)).toBe(1);
    expect(counters.quotaExceeded).toEqual({ bytes: 2 });
  });

  test('agents have a far higher rate, a principal with several roles has the highest one, and admins have no limit', () => {
    const { attach, agent } = fabric();
    for (const [id, roles] of [
      ['naylence', ['client', 'agent']],
      ['door', ['door']],
      ['root', ['admin']],
    ] as const) {
      const caller = attach(id, { principal: { id, roles } });
      expect(flood(caller, agent, 500)).toBe(0);
    }
  });
});

describe('a node above its rate', () => {
  test('that spends credit is slowed: its credit waits until it is within its rate, and nothing is refused', () => {
    const { attach, agent, clock, counters } = fabric();
    const caller = attach('caller', { principal: ada, capabilities: OURS });
    // An honest node: it sends while it has credit.
    let window = 32;
    let sent = 0;
    const send = (): void => {
      while (window > 0) {
        window--;
        sent++;
        caller.call('math@fame.fabric', `c${serial++}`).forEach(receive);
        answerAll(caller, agent);
        caller.transport.take().forEach(receive);
      }
    };
    const receive = ({ frame }: Envelope): void => {
      if (frame.type === 'CreditUpdate') window += frame.credits;
      if (frame.type === 'DeliveryAck') expect(frame.ok).toBe(true);
    };
    send();
    expect(sent).toBeGreaterThanOrEqual(400);
    expect(sent).toBeLessThanOrEqual(432);
    const burst = sent;
    for (let ms = 0; ms < 10_000; ms += 10) {
      clock.advance(10);
      caller.transport.take().forEach(receive);
      send();
    }
    expect((sent - burst) / 10).toBeGreaterThan(185);
    expect((sent - burst) / 10).toBeLessThan(205);
    expect(counters.quotaExceeded).toEqual({});
    expect([counters.paused, counters.quotaPaused]).toEqual([0, 0]);
    expect(counters.quotaSlowed).toBeGreaterThan(50);
  });

  test('gets its credit back after two seconds at the latest, even while another session uses up the rate', () => {
    const { attach, agent, clock } = fabric();
    const honest = attach('honest', { principal: ada, capabilities: OURS });
    const greedy = attach('greedy', { principal: ada });
    flood(greedy, agent, 400);
    // It shares the rate, and may exceed it by the size of its windows.
    const got = Array.from({ length: 24 }, () => honest.call('math@fame.fabric', `h${serial++}`)).flat();
    expect([got.length, credits(got)]).toEqual([0, 0]);
    answerAll(honest, agent);
    let granted = 0;
    for (let ms = 0; ms < 2_000; ms += 100) {
      clock.advance(100);
      flood(greedy, agent, 40);
      granted += credits(honest.transport.take());
    }
    expect(granted).toBe(1);
  });

  test('that ignores its credit is refused above the slack of two seconds, and paused', () => {
    const { attach, agent, clock, counters } = fabric();
    const caller = attach('caller', { principal: ada, capabilities: OURS });
    const refused = flood(caller, agent, 900);
    expect(refused).toBe(100);
    expect(caller.transport.isPaused).toBe(true);
    clock.advance(MAX_PAUSE_MS);
    expect(caller.transport.isPaused).toBe(false);
    expect(caller.transport.closed).toBeUndefined();
    expect(counters.closedOverrun).toBe(0);
  });

  test('is paused after some refusals, and closed with 4429 if it goes on', () => {
    const { attach, agent, clock, counters } = fabric();
    const caller = attach('caller', { principal: ada });
    flood(caller, agent, 400);
    expect(caller.transport.isSliced).toBe(false);
    flood(caller, agent, REFUSALS - 1);
    expect([caller.transport.isSliced, caller.transport.isPaused]).toEqual([true, false]);
    for (let pause = 1; pause < MAX_PAUSES; pause++) {
      flood(caller, agent, 500);
      expect(caller.transport.isPaused).toBe(true);
      clock.advance(MAX_PAUSE_MS);
      expect([caller.transport.isPaused, caller.session.state]).toEqual([false, 'attached']);
    }
    flood(caller, agent, 500);
    expect(caller.transport.closed).toEqual({
      code: 4429,
      reason: 'keeps sending above the rate of its principal',
    });
    expect(caller.session.state).toBe('gone');
    expect([counters.quotaPaused, counters.closedQuota]).toEqual([MAX_PAUSES - 1, 1]);
  });

  test('is paused after fewer refusals of large messages, which cost more to read', () => {
    const { attach, agent, counters } = fabric();
    const caller = attach('caller', { principal: ada });
    const large = { meta: { text: 'x'.repeat(8 * REFUSAL_BYTES) } };
    flood(caller, agent, 400);
    expect(flood(caller, agent, 3, large)).toBe(3);
    expect(caller.transport.isPaused).toBe(false);
    flood(caller, agent, 1, large);
    expect([caller.transport.isPaused, counters.quotaPaused]).toEqual([true, 1]);
  });

  test.each([
    ['pings', ({ transport }: FakeNode) => void transport.onPing!(4)],
    ['pongs', ({ transport }: FakeNode) => transport.onPong!(4)],
    ['credit for a full window', ({ transport }: FakeNode) => transport.receive(credit('f-agent'))],
    ['credit for an unknown flow', ({ transport }: FakeNode) => transport.receive(credit('none'))],
    [
      'credit that must be decoded',
      ({ transport }: FakeNode) =>
        transport.receive({ ...credit('none'), to: undefined, sid: 'x', meta: {} }),
    ],
  ])('is paused for a flood of %s, two seconds above its rate', (_, send) => {
    const { attach, clock, counters } = fabric();
    const caller = attach('caller', { principal: ada });
    for (let n = 0; n < 800 + REFUSALS - 1; n++) send(caller);
    expect(caller.transport.isPaused).toBe(false);
    send(caller);
    expect(caller.transport.isPaused).toBe(true);
    for (let pause = 1; pause < MAX_PAUSES; pause++) {
      clock.advance(MAX_PAUSE_MS);
      for (let n = 0; n < 2_000 && !caller.transport.isPaused; n++) send(caller);
    }
    expect(caller.transport.closed?.code).toBe(4429);
    expect(counters.quotaExceeded.messages).toBe(REFUSALS * MAX_PAUSES);
  });

  test('gets its pongs while it is slowed, and no pongs while it floods', () => {
    const { attach, agent } = fabric();
    const caller = attach('caller', { principal: ada });
    flood(caller, agent, 400);
    expect(caller.transport.onPing!(4)).toBe(true);
    for (let n = 1; n < 400; n++) caller.transport.onPing!(4);
    expect(caller.transport.onPing!(4)).toBe(false);
  });

  test('is paused together with others, and the pauses end one after another', () => {
    const { attach, agent, clock } = fabric();
    const callers = Array.from({ length: 8 }, (_, n) => attach(`caller-${n}`, { principal: ada }));
    for (const caller of callers) flood(caller, agent, 500);
    const paused = (): number => callers.filter(({ transport }) => transport.isPaused).length;
    expect(paused()).toBe(8);
    clock.advance(1_999);
    expect(paused()).toBe(8);
    for (let left = 7; left >= 0; left--) {
      clock.advance(left === 7 ? 1 : 125);
      expect(paused()).toBe(left);
    }
  });

  test('is paused again on a new connection', () => {
    const { attach, agent, clock } = fabric();
    const first = attach('caller', { principal: ada });
    flood(first, agent, 500);
    first.lose();
    const second = attach('caller', { principal: ada });
    expect(second.session).toBe(first.session);
    flood(second, agent, REFUSALS);
    expect(second.transport.isPaused).toBe(true);
    clock.advance(MAX_PAUSE_MS);
    expect(second.transport.isPaused).toBe(false);
  });

  test('is not closed for bursts with time between them', () => {
    const { attach, agent, clock } = fabric();
    const caller = attach('caller', { principal: ada });
    for (let burst = 0; burst < 2 * MAX_PAUSES; burst++) {
      flood(caller, agent, 500);
      clock.advance(11_000);
    }
    expect(caller.transport.closed).toBeUndefined();
  });

  test('is refused, but neither paused nor closed, if it is a sentinel: it forwards for many nodes', () => {
    const { attach, agent } = fabric({
      policy: limits('role: sentinel, messages_per_second: 200'),
    });
    const child = attach('child', { principal: { id: 'hub', roles: ['sentinel'] } });
    child.send(
      { type: 'AddressBind', address: 'below@fame.fabric', physicalPath: `${child.path}/x` },
      { corrId: 'b' },
    );
    expect(child.session.isSentinel).toBe(true);
    expect(flood(child, agent, 600)).toBeGreaterThan(100);
    expect([child.transport.isPaused, child.transport.closed]).toEqual([false, undefined]);
  });
});

describe('open calls and streams', () => {
  test('are bounded over all sessions of a principal, and free again when they end', () => {
    const { attach } = fabric();
    const [first, second] = [attach('a1', { principal: ada }), attach('a2', { principal: ada })];
    const isRefused = (got: Envelope[]): boolean => got.some(({ frame }) => frame.type === 'DeliveryAck');
    for (let n = 0; n < 128; n++)
      expect(isRefused(first.call('math@fame.fabric', `s${n}`, { rtype: 4 }))).toBe(false);
    const [stream] = second.call('math@fame.fabric', 's', { rtype: 4 });
    expect(stream?.frame).toMatchObject({
      code: 'QUOTA_EXCEEDED',
      reason:
        'Stream limit of ada reached (128). Wait until one ends, or raise `streams` in the limits of the policy file.',
    });
    for (let n = 0; n < 128; n++) expect(isRefused(second.call('math@fame.fabric', `c${n}`))).toBe(false);
    const [call] = second.call('math@fame.fabric', 'c');
    expect(call?.frame).toMatchObject({
      code: 'QUOTA_EXCEEDED',
      reason: /^Open call limit of ada reached \(256\)/,
    });
    // A repeated request takes the place of its call.
    expect(second.call('math@fame.fabric', 'c1')).toEqual([]);
    first.lose(1000);
    expect(second.call('math@fame.fabric', 'c')).toEqual([]);
    const { quota } = second.session;
    expect([quota?.openCalls, quota?.streams]).toEqual([129, 0]);
    second.lose(1000);
    expect(quota?.openCalls).toBe(0);
  });

  test('the ack of an attach states the limit of open calls, so that our links wait for it', () => {
    const { attach, agent } = fabric();
    expect(attach('a', { principal: ada }).ack.frame).toMatchObject({ maxOpenCalls: 256 });
    expect(agent.ack.frame).toMatchObject({ maxOpenCalls: 5_000 });
  });
});

describe('addresses and sessions', () => {
  test('addresses are counted over all sessions, and those that were lost are free again', () => {
    const { attach, clock } = fabric({ policy: limits('role: client, addresses: 3') });
    const [first, second] = [attach('a1', { principal: ada }), attach('a2', { principal: ada })];
    for (const n of [1, 2]) first.bind(`x${n}@fame.fabric`);
    second.bind('x3@fame.fabric');
    // Binding an address again does not count.
    second.bind('x3@fame.fabric');
    const bind = (address: string): Envelope | undefined =>
      second.send({ type: 'AddressBind', address }, { corrId: 'b', rtype: 1 })[0];
    expect(bind('x4@fame.fabric')?.frame).toMatchObject({
      ok: false,
      code: 'QUOTA_EXCEEDED',
      reason:
        'Address limit of ada reached (3). Unbind one, or raise `addresses` in the limits of the policy file.',
    });
    first.lose();
    clock.advance(5_000);
    expect(second.session.quota?.addresses).toBe(1);
    expect(bind('x4@fame.fabric')?.frame).toMatchObject({ ok: true });
    second.send({ type: 'AddressUnbind', address: 'x4@fame.fabric' }, { corrId: 'u' });
    expect(second.session.quota?.addresses).toBe(1);
  });

  test('sessions: one more is refused, and takes the place of one without a connection', () => {
    const { attach, counters } = fabric({ policy: limits('role: client, sessions: 2') });
    const first = attach('a1', { principal: ada });
    attach('a2', { principal: ada });
    expect(() => attach('a3', { principal: ada })).toThrow('Session limit of ada reached (2)');
    expect(counters.quotaExceeded).toMatchObject({ sessions: 1 });
    attach('b', { principal: bea });
    first.lose();
    attach('a3', { principal: ada });
    expect(first.session.state).toBe('gone');
    // A node that resumes needs no further session.
    attach('a2', { principal: ada });
  });

  test('attaches: twice as many at once as sessions, then a tenth of them in each second', () => {
    const { admission, clock } = fabric();
    const granted = { ok: true, principal: ada } as const;
    for (let n = 0; n < 200; n++) expect(admission.attachFault(granted)).toBeUndefined();
    expect(admission.attachFault(granted)).toEqual({
      kind: 'attaches',
      retryAfterMs: 1,
      intervalMs: 100,
      forgo: expect.any(Function),
      reason: 'ada may attach 10 times a second. Try again in 1 ms. The policy file can raise `sessions`.',
    });
    clock.advance(1_000);
    for (let n = 0; n < 10; n++) expect(admission.attachFault(granted)).toBeUndefined();
    const excess = admission.attachFault(granted);
    clock.advance(100);
    excess?.forgo();
    expect(admission.attachFault(granted)).toBeDefined();
    clock.advance(100);
    expect(admission.attachFault(granted)).toBeUndefined();
  });

  test('attaches: a node that is closed for bad frames costs ten, and the principal waits a second at most', () => {
    const { admission, attach, clock } = fabric();
    const granted = { ok: true, principal: ada } as const;
    const isRefused = (): boolean => admission.attachFault(granted) !== undefined;
    const closeOne = (): void => {
      const { transport } = attach('bad', { principal: ada });
      for (let n = 0; n < 5; n++) transport.onMessage?.(Buffer.from('{'));
      expect(transport.closed?.code).toBe(4400);
    };
    for (let n = 0; n < 18; n++) closeOne();
    // Attaches of this test are not counted, except by `attachFault`.
    for (let n = 0; n < 20; n++) expect(isRefused()).toBe(false);
    expect(isRefused()).toBe(true);
    clock.advance(100);
    for (let n = 0; n < 5; n++) closeOne();
    clock.advance(900);
    expect(isRefused()).toBe(true);
    clock.advance(100);
    expect(isRefused()).toBe(false);
  });

  test('0 forbids', () => {
    const { attach, agent } = fabric({ policy: limits('role: client, messages_per_second: 0, sessions: 1') });
    const caller = attach('a1', { principal: ada });
    expect(flood(caller, agent, 2)).toBe(2);
    const forbidden = fabric({ policy: limits('role: client, sessions: 0') });
    expect(() => forbidden.attach('a1', { principal: ada })).toThrow('QUOTA_EXCEEDED');
  });
});

describe('state', () => {
  test('of a principal is gone within 5 s after its last session left', () => {
    const { attach, agent, clock, quotas, sweeper } = fabric();
    const caller = attach('caller', { principal: ada });
    flood(caller, agent, 10);
    expect(quotas.size).toBe(2);
    caller.lose(1000);
    clock.advance(2_000);
    sweeper.sweep();
    expect(quotas.size).toBe(1);
  });

  test('a new connection does not refill a rate', () => {
    const { attach, agent, clock, quotas, sweeper } = fabric();
    const first = attach('caller', { principal: ada });
    flood(first, agent, 400);
    first.lose(1000);
    sweeper.sweep();
    const second = attach('caller', { principal: ada });
    expect(flood(second, agent, 2)).toBe(2);
    second.lose(1000);
    clock.advance(2_100);
    sweeper.sweep();
    expect(quotas.size).toBe(1);
  });

  test('a rate that recovers slowly is kept for a minute', () => {
    const { attach, agent, clock, quotas, sweeper } = fabric({
      policy: limits('role: client, messages_per_second: 1, message_burst: 1000'),
    });
    const caller = attach('caller', { principal: ada });
    flood(caller, agent, 500);
    caller.lose(1000);
    clock.advance(59_000);
    sweeper.sweep();
    expect(quotas.size).toBe(2);
    clock.advance(1_000);
    sweeper.sweep();
    expect(quotas.size).toBe(1);
  });

  test('a changed policy applies to sessions that are attached', () => {
    const { attach, agent, policyChange } = fabric({ policy: limits('role: client, message_burst: 10') });
    const caller = attach('caller', { principal: ada });
    expect(flood(caller, agent, 11)).toBe(1);
    limits('role: client, message_burst: 20');
    policyChange.check();
    expect(flood(caller, agent, 11)).toBe(1);
  });

  test('a new role of a principal applies when it attaches again', () => {
    const { attach, agent } = fabric();
    const caller = attach('caller', { principal: ada });
    expect(flood(caller, agent, 401)).toBe(1);
    const again = attach('caller', { principal: { ...ada, roles: ['agent'] } });
    expect(again.session).toBe(caller.session);
    expect(flood(again, agent, 500)).toBe(0);
  });
});

describe('a sentinel that asks for no credentials', () => {
  const open = { access: new Access({ sources: [] }) };

  test('limits no principal, and keeps no state', () => {
    const { attach, agent, quotas } = fabric(open);
    const caller = attach('caller');
    expect(flood(caller, agent, 500)).toBe(0);
    expect([caller.session.quota, quotas.size]).toEqual([undefined, 0]);
  });

  test('applies the limits of a policy file, and no defaults', () => {
    const { attach, agent } = fabric({ ...open, policy: limits('principal: anonymous, open_calls: 1') });
    const caller = attach('caller');
    expect(flood(caller, agent, 500)).toBe(0);
    expect(caller.call('math@fame.fabric', 'one')).toEqual([]);
    expect(caller.call('math@fame.fabric', 'two')).toMatchObject([{ frame: { code: 'QUOTA_EXCEEDED' } }]);
  });
});
