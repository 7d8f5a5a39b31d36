// Policy enforcement at every entry point: attach, bind, advertise, messages by address and by capability, and changes while the
// sentinel runs. A refusal is the same whether the address exists or not.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Envelope, type Frame, type Principal, silentLog } from '@fame-fabric/shared';
import { CANCEL_CAPABILITY } from '@fame-fabric/shared/internal';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import { type FakeNode, makeTestParts, type TestOptions } from '../testing/sentinel-parts.ts';
import { Access } from './access.ts';
import type { AuditEvent } from './audit-log.ts';
import { PolicyFile } from './policy/policy-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'fame-enforcement-'));
afterAll(() => rmSync(folder, { recursive: true }));
const path = join(folder, 'policy.yaml');
let writes = 0;
/** Writes the policy. Each version has another size, so that it is noticed within one tick of the clock of the file system. */
const write = (rules: string): void => writeFileSync(path, `# ${'x'.repeat(++writes)}\nrules:${rules}\n`);

const ada: Principal = { id: 'ada', roles: ['client'] };
const bot: Principal = { id: 'bot', roles: ['agent'] };
const eve: Principal = { id: 'eve', roles: ['client'] };
const OURS = { capabilities: [CANCEL_CAPABILITY] };
const access = new Access({ sources: [], isCredentialNeeded: true });

const RULES = `
  - { id: connect, effect: allow, action: Connect, principal: [ada, bot, 'eve*'] }
  - { id: serve, effect: allow, action: [Bind, Advertise], principal: bot, address: ['*@fame.fabric', 'w@**'] }
  - { id: chat, effect: allow, action: Call, principal: ada, address: chat@fame.fabric }
  - { id: bots, effect: allow, action: Call, principal: bot }`;

function fabric(rules = RULES, options: TestOptions = {}) {
  write(rules);
  const events: AuditEvent[] = [];
  const policy = new PolicyFile(path, silentLog);
  const parts = makeTestParts({
    access,
    policy,
    audit: { record: (event) => events.push(event) },
    ...options,
  });
  const agent = parts.attach('agent', { principal: bot, ...OURS });
  for (const address of ['chat@fame.fabric', 'vault@fame.fabric']) agent.bind(address);
  return { ...parts, agent, events };
}

/** The parts of a refusal that a node receives, without the fields of its own request. */
const seen = ([answer]: Envelope[], to: string): unknown => {
  const { frame } = answer!;
  return JSON.parse(JSON.stringify({ ...frame, refId: undefined }).replaceAll(to, 'ADDRESS'));
};

beforeEach(() => write(RULES));

describe('messages', () => {
  test('a caller reaches what a rule allows, and its callee may answer without a rule', () => {
    const { attach, agent } = fabric(`${RULES}\n  - { effect: deny }`);
    const caller = attach('caller', { principal: ada, ...OURS });
    expect(caller.call('chat@fame.fabric', 'c')).toEqual([]);
    const [request] = agent.transport.take();
    expect(request).toMatchObject({ to: 'chat@fame.fabric', corrId: 'c' });
    agent.reply(request!, 1);
    expect(caller.transport.take()).toMatchObject([{ corrId: 'c' }]);
  });

  test.each<[kind: string, attachAs: object, frame: object]>([
    [
      'our software',
      OURS,
      {
        code: 'AUTH_FORBIDDEN',
        reason: 'This node may not call ADDRESS. The log of the sentinel has the rule.',
      },
    ],
    ['other software', {}, { code: 'NO_ROUTE', reason: 'No node serves ADDRESS' }],
  ])('a node of %s gets one refusal for an address that exists and one that does not', (_, more, frame) => {
    const { attach, agent, events } = fabric();
    const caller = attach('caller', { principal: ada, ...more });
    const payload = { jsonrpc: '2.0', id: 'c', method: 'x' };
    const replyTo = `__rpc__c@${caller.path}`;
    const sends: ((to: string) => Envelope[])[] = [
      (to) => caller.call(to, 'c'),
      (to) => caller.call(to, 'c', { rtype: 4 }),
      // A malformed request: an allowed one would be refused for its form.
      (to) => caller.send({ type: 'Data', payload }, { to, rtype: 2, replyTo }),
      (to) => caller.send({ type: 'Data', payload }, { to }),
      (to) => caller.send({ type: 'Data', payload }, { to, corrId: 'c' }),
      (to) => caller.send({ type: 'Data', payload }, { to, corrId: 'c', replyTo, rtype: 1 }),
      (to) =>
        caller.send({ type: 'SecureOpen', cid: 'x', ephPub: 'x', alg: 'y' } as never, {
          to,
          corrId: 'c',
          replyTo,
        }),
    ];
    for (const send of sends) {
      const [there, missing, path] = ['vault@fame.fabric', 'ghost@fame.fabric', `vault@${agent.path}`].map(
        (to) => seen(send(to), to),
      );
      expect(there).toMatchObject({ type: 'DeliveryAck', ok: false, ...frame });
      expect(missing).toEqual(there);
      expect(path).toEqual(there);
    }
    expect(agent.transport.take()).toEqual([]);
    expect(events.at(-1)).toMatchObject({
      outcome: 'refused',
      principal: 'ada',
      action: 'Call',
      path: caller.path,
      remote: 'test',
    });
    expect(events.at(-1)?.rule).toMatch(/policy\.yaml \(no rule matches\)$/);
  });

  test('an ack that no rule and no grant allows is dropped', () => {
    const { attach, agent } = fabric();
    const caller = attach('caller', { principal: ada, ...OURS });
    const ack: Frame = { type: 'DeliveryAck', ok: true, refId: 'x' };
    expect(caller.send(ack, { to: 'vault@fame.fabric' })).toEqual([]);
    expect(caller.send(ack, { to: 'vault@fame.fabric', corrId: 'c' })).toEqual([]);
    expect(agent.transport.take()).toEqual([]);
  });

  test('a request to the system mailbox of a node needs a rule', () => {
    const { attach, agent } = fabric();
    const caller = attach('caller', { principal: ada, ...OURS });
    expect(caller.call(`__sys__@${agent.path}`, 'c')[0]!.frame).toMatchObject({ code: 'AUTH_FORBIDDEN' });
    const other = attach('other', { principal: bot, ...OURS });
    expect(other.call(`__sys__@${agent.path}`, 'c')).toEqual([]);
  });

  test('a capability is served only by nodes that the caller may call, and a refusal does not show that there are others', () => {
    const { attach, agent } = fabric();
    const advertise = (address: string, capability: string): Envelope[] =>
      agent.send(
        { type: 'CapabilityAdvertise', address, capabilities: [capability] },
        { corrId: 'a', rtype: 1 },
      );
    for (const [address, capability] of [
      ['chat@fame.fabric', 'talk'],
      ['vault@fame.fabric', 'secrets'],
    ] as const)
      expect(advertise(address, capability)[0]!.frame).toMatchObject({ ok: true });
    const caller = attach('caller', { principal: ada, ...OURS });
    const call = (capability: string): Envelope[] => {
      const frame: Frame = { type: 'Data', payload: {} };
      const header = {
        capabilities: [capability],
        corrId: 'c',
        rtype: 2,
        replyTo: `__rpc__c@${caller.path}`,
      };
      return caller.send(frame, header);
    };
    expect(call('talk')).toEqual([]);
    expect(agent.transport.take()).toHaveLength(1);
    expect(seen(call('secrets'), 'secrets')).toEqual(seen(call('ghosts'), 'ghosts'));
    expect(agent.transport.take()).toEqual([]);
  });

  test('a rule about routes hides the route that it denies', () => {
    const { attach } = fabric(`${RULES}\n  - { effect: allow, action: ForwardPeer, principal: eve }`);
    const caller = attach('caller', { principal: eve, ...OURS });
    const [there, missing] = ['vault@fame.fabric', 'ghost@fame.fabric'].map((to) =>
      seen(caller.call(to, 'c'), to),
    );
    expect(there).toMatchObject({ code: 'NO_ROUTE', reason: 'No node serves ADDRESS' });
    expect(missing).toEqual(there);
  });

  test('the patterns of a key restrict what its role allows', () => {
    const { attach } = makeTestParts({ access });
    const agent = attach('agent', { principal: bot, ...OURS });
    agent.bind('chat@fame.fabric');
    const principal: Principal = { ...ada, allow: ['Call:chat@**'] };
    const caller = attach('caller', { principal, ...OURS });
    expect(caller.call('chat@fame.fabric', 'c')).toEqual([]);
    expect(caller.call('math@fame.fabric', 'd')[0]!.frame).toMatchObject({ code: 'AUTH_FORBIDDEN' });
  });
});

test('an agent learns from the policy whether its caller may use the conversations of others there', () => {
  const rules = `${RULES}
  - { effect: allow, action: Conversations, principal: ada, address: chat@fame.fabric }
  - { effect: allow, action: Call, principal: [ada, eve] }`;
  const { attach, agent } = fabric(rules);
  const rightsOf = (principal: Principal, to: string): unknown => {
    const caller = attach(principal.id, { principal, ...OURS });
    const replyTo = `__rpc__x@${caller.path}`;
    caller.call(to, 'c', { replyTo });
    const answers = agent.send({ type: 'WhoIs', address: replyTo, corrId: 'c' }, { corrId: 'w' });
    return (answers.find(({ corrId }) => corrId === 'w')!.frame as { principal?: Principal }).principal
      ?.rights;
  };
  expect(rightsOf(ada, 'chat@fame.fabric')).toEqual({ conversations: 'any' });
  expect(rightsOf(ada, 'vault@fame.fabric')).toEqual({ conversations: 'own' });
  expect(rightsOf({ ...eve, roles: ['admin'] }, 'chat@fame.fabric')).toEqual({ conversations: 'own' });
});

describe('binds and advertisements', () => {
  const bind = (node: FakeNode, address: string): unknown =>
    seen(node.send({ type: 'AddressBind', address }, { corrId: 'b', rtype: 1 }), address);

  test('a bind that no rule allows is refused the same way whether the address is taken or not', () => {
    const { attach } = fabric();
    const node = attach('node', { principal: ada, ...OURS });
    expect(bind(node, 'vault@fame.fabric')).toMatchObject({ ok: false, code: 'AUTH_FORBIDDEN' });
    expect(bind(node, 'ghost@fame.fabric')).toEqual(bind(node, 'vault@fame.fabric'));
    const foreign = attach('foreign', { principal: ada });
    expect(bind(foreign, 'vault@fame.fabric')).toMatchObject({ ok: false, code: 'NO_ROUTE' });
  });

  test('an advertisement that no rule allows does not wait for other nodes, and is refused', () => {
    const { attach, agent } = fabric();
    agent.send(
      { type: 'CapabilityAdvertise', address: 'chat@fame.fabric', capabilities: ['talk'] },
      { corrId: 'a' },
    );
    agent.lose();
    const node = attach('node', { principal: ada, ...OURS });
    const [ack] = node.send(
      { type: 'CapabilityAdvertise', address: 'chat@fame.fabric', capabilities: ['talk'] },
      { corrId: 'a' },
    );
    expect(ack!.frame).toMatchObject({ ok: false, code: 'AUTH_FORBIDDEN' });
  });

  test('without a policy the role agent binds and the role client does not', () => {
    const { attach } = makeTestParts({ access });
    expect(bind(attach('agent', { principal: bot, ...OURS }), 'a@fame.fabric')).toMatchObject({ ok: true });
    expect(bind(attach('client', { principal: ada, ...OURS }), 'b@fame.fabric')).toMatchObject({ ok: false });
  });
});

describe('attaches', () => {
  const attachAs = (principal: Principal, more: object = {}) => {
    const { attach, events } = fabric(
      `${RULES}\n  - { effect: allow, action: Connect, origin_type: peer, role: sentinel }`,
    );
    try {
      attach('x', { principal, ...more });
      return { ok: true, event: events.at(-1) };
    } catch (error) {
      return { ok: false, error: String(error), event: events.at(-1) };
    }
  };

  test('a node attaches if a rule allows Connect', () => {
    expect(attachAs(ada)).toMatchObject({
      ok: true,
      event: { outcome: 'allowed', rule: expect.stringMatching(/rule connect/) },
    });
    const refusal = attachAs({ id: 'mallory', roles: ['client'] });
    expect(refusal).toMatchObject({
      ok: false,
      event: { outcome: 'refused', principal: 'mallory', action: 'Connect' },
    });
    expect(refusal.error).toContain('AUTH_FORBIDDEN');
  });

  test('a peer needs a rule for its origin', () => {
    expect(attachAs({ id: 'p', roles: ['sentinel'] }, { peer: true }).ok).toBe(true);
    expect(attachAs({ id: 'p', roles: ['agent'] }, { peer: true }).ok).toBe(false);
  });

  test('a rule that admits nodes does not admit a peer without the role sentinel', () => {
    expect(attachAs(ada).ok).toBe(true);
    expect(attachAs(ada, { peer: true })).toMatchObject({
      ok: false,
      event: { outcome: 'refused', action: 'Connect', rule: 'a peer needs the role sentinel' },
    });
  });

  test.each([
    ['role', { roles: ['client'] }],
    ['scopes', { roles: ['agent'], scopes: ['read'] }],
    ['patterns', { roles: ['agent'], allow: ['Call:**'] }],
  ] as const)('a node that resumes with another %s loses what that does not allow', (_name, rights) => {
    const parts = fabric(`
  - { effect: allow, action: [Connect, Call] }
  - { effect: allow, action: Bind, role: agent, scope: serve }
  - { effect: allow, action: Bind, principal: bot }`);
    const principal = { id: 'jwt:issuer/ada', roles: ['agent'], scopes: ['serve'] } as const;
    const node = parts.attach('n', { principal, ...OURS });
    node.bind('ada@fame.fabric');
    node.lose();
    const same = parts.attach('n', { principal: { ...principal }, ...OURS });
    expect(same.transport.closed).toBeUndefined();
    expect(parts.bindings.isOwn('ada@fame.fabric')).toBe(true);
    same.lose();
    const other = parts.attach('n', { principal: { ...principal, ...rights }, ...OURS });
    expect(parts.bindings.isOwn('ada@fame.fabric')).toBe(false);
    expect(other.transport.closed?.code).toBe(4410);
  });

  test('a sentinel that resumes as a client forwards no messages of nodes below it', () => {
    const { attach } = makeTestParts({ access });
    const as = (role: 'sentinel' | 'client'): FakeNode =>
      attach('child', { principal: { id: 'jwt:issuer/child', roles: [role] }, ...OURS });
    const forward = (node: FakeNode): unknown =>
      node.call('none@fame.fabric', 'c', { replyTo: `__rpc__c@${node.path}/below` })[0]!.frame;
    const child = as('sentinel');
    expect(forward(child)).toMatchObject({ code: 'NO_ROUTE' });
    child.lose();
    expect(forward(as('client'))).toMatchObject({ code: 'REPLY_TO_FORGED' });
  });

  test('without a policy a peer needs the role sentinel, and nodes below a node need it too', () => {
    const { attach } = makeTestParts({ access });
    expect(() => attach('p', { principal: bot, peer: true })).toThrow(/AUTH_FORBIDDEN/);
    attach('q', { principal: { id: 'q', roles: ['sentinel'] }, peer: true });
    const below = (principal: Principal): unknown => {
      const node = attach(principal.id, { principal, ...OURS });
      return node.call('chat@fame.fabric', 'c', { replyTo: `__rpc__c@${node.path}/below` })[0]!.frame;
    };
    expect(below(bot)).toMatchObject({ code: 'REPLY_TO_FORGED' });
    expect(below({ id: 'child', roles: ['sentinel'] })).toMatchObject({ code: 'NO_ROUTE' });
  });
});

describe('a denied address', () => {
  const DENIED = `
  - { effect: allow, action: [Connect, Bind, Advertise] }
  - { id: closed, effect: deny, action: Call, role: client, address: vault@fame.fabric }
  - { effect: allow, action: Call }`;
  const asClient = () => {
    const parts = fabric(DENIED);
    return { ...parts, caller: parts.attach('caller', { principal: ada, ...OURS }) };
  };

  test('is denied at the path of its node, and in the system mailbox of the node', () => {
    const { agent, caller, events } = asClient();
    for (const to of [`vault@${agent.path}`, `__sys__@${agent.path}`]) {
      expect(caller.call(to, 'c')[0]!.frame).toMatchObject({ code: 'AUTH_FORBIDDEN' });
      expect(events.at(-1)).toMatchObject({
        outcome: 'refused',
        address: 'vault@fame.fabric',
        rule: expect.stringMatching(/rule closed/),
      });
    }
    const plain = { to: `vault@${agent.path}`, flowId: 'f' };
    caller.send({ type: 'Data', payload: 1 }, plain);
    caller.send({ type: 'Data', payload: 1 }, { ...plain, corrId: 'x' });
    caller.send({ type: 'SecureOpen', cid: 'x' }, plain);
    expect(agent.transport.take()).toEqual([]);
    expect(caller.call(`chat@${agent.path}`, 'd')).toEqual([]);
    expect(agent.transport.take()).toHaveLength(1);
  });

  test('ends the calls to the path of its node when it becomes denied', () => {
    const parts = fabric(DENIED.replace('effect: deny, action: Call', 'effect: deny, action: Watch'));
    const caller = parts.attach('caller', { principal: ada, ...OURS });
    for (const name of ['vault', 'chat']) caller.call(`${name}@${parts.agent.path}`, name);
    write(DENIED);
    parts.clock.advance(2_000);
    parts.sweeper.sweep();
    const ended = caller.transport.take();
    expect(ended).toMatchObject([{ corrId: 'vault', frame: { code: 'AUTH_FORBIDDEN' } }]);
  });

  test('gets no calls by a capability that another address of its node has, too', () => {
    const { agent, caller } = asClient();
    const advertise = (address: string, ...capabilities: string[]): unknown =>
      agent.send({ type: 'CapabilityAdvertise', address, capabilities }, { corrId: 'a' });
    advertise('vault@fame.fabric', 'store');
    advertise('chat@fame.fabric', 'store', 'talk');
    const byCapability = (...capabilities: string[]): Envelope[] => {
      caller.call('', 'c', { to: undefined, capabilities });
      return agent.transport.take();
    };
    expect(byCapability('store')).toEqual([]);
    expect(byCapability('store', 'talk')).toHaveLength(1);
  });
});

describe('G3: a change of the policy', () => {
  const change = (parts: ReturnType<typeof fabric>, rules: string): void => {
    write(rules);
    parts.clock.advance(2_000);
    parts.sweeper.sweep();
  };

  test('ends sessions that may no longer connect', () => {
    const parts = fabric();
    const [caller, other] = [
      parts.attach('caller', { principal: ada }),
      parts.attach('other', { principal: eve }),
    ];
    change(parts, RULES.replace("[ada, bot, 'eve*']", '[ada, bot]'));
    expect(other.transport.closed?.code).toBe(4410);
    expect(other.session.state).toBe('gone');
    expect([caller.transport.closed, parts.agent.transport.closed]).toEqual([undefined, undefined]);
  });

  test('ends open calls that are no longer allowed, at both ends, and no others', () => {
    const parts = fabric();
    const { agent, calls } = parts;
    const caller = parts.attach('caller', { principal: ada, ...OURS });
    const other = parts.attach('other', { principal: bot, ...OURS });
    caller.call('chat@fame.fabric', 'c');
    other.call('chat@fame.fabric', 'd');
    agent.transport.take();
    change(parts, RULES.replace('principal: ada, address', 'principal: eve, address'));
    expect(caller.transport.take()).toMatchObject([
      { corrId: 'c', frame: { type: 'DeliveryAck', code: 'AUTH_FORBIDDEN' } },
    ]);
    expect(agent.transport.take()).toMatchObject([{ frame: { type: 'CallCancel', corrId: 'c' } }]);
    expect(calls.count).toBe(1);
    expect(caller.call('chat@fame.fabric', 'e')[0]!.frame).toMatchObject({ code: 'AUTH_FORBIDDEN' });
  });

  test('takes addresses and advertisements, and makes their node attach again', () => {
    const parts = fabric();
    const { agent, bindings, events } = parts;
    agent.send(
      { type: 'CapabilityAdvertise', address: 'vault@fame.fabric', capabilities: ['secrets'] },
      { corrId: 'a' },
    );
    const caller = parts.attach('caller', { principal: ada, ...OURS });
    caller.call('chat@fame.fabric', 'c');
    change(parts, RULES.replace("'*@fame.fabric'", 'chat@fame.fabric'));
    expect(bindings.owner('vault@fame.fabric')).toBeUndefined();
    expect(bindings.hasProvider('secrets')).toBe(false);
    expect(bindings.owner('chat@fame.fabric')).toBe(agent.session);
    expect(agent.transport.closed?.code).toBe(4410);
    expect(agent.session.state).toBe('detached');
    // The call goes on: the node resumes its session.
    expect([caller.transport.take(), parts.calls.count]).toEqual([[], 1]);
    expect(events.filter(({ outcome }) => outcome === 'ended')).toMatchObject([
      { action: 'Bind', address: 'vault@fame.fabric' },
    ]);
  });

  test('frees an address for the principal that may have it now', () => {
    const parts = fabric();
    const other: Principal = { id: 'eve-bot', roles: ['agent'] };
    const rival = parts.attach('rival', { principal: other, ...OURS });
    change(
      parts,
      RULES.replace(
        "principal: bot, address: ['*@fame.fabric'",
        "principal: eve-bot, address: ['*@fame.fabric'",
      ),
    );
    rival.bind('vault@fame.fabric');
    expect(parts.bindings.owner('vault@fame.fabric')).toBe(rival.session);
  });

  test('makes a peer announce refused addresses again', () => {
    const peerRule = '\n  - { effect: allow, action: Connect, role: sentinel }';
    const parts = fabric(RULES + peerRule);
    const peer = parts.attach('P', { principal: { id: 'p', roles: ['sentinel'] }, peer: true, ...OURS });
    peer.send({ type: 'AddressBind', address: 'far@fame.fabric' }, { corrId: 'b' });
    expect(parts.bindings.owner('far@fame.fabric')).toBeUndefined();
    change(parts, `${RULES}${peerRule}\n  - { effect: allow, action: Bind, role: sentinel }`);
    expect(peer.transport.closed?.code).toBe(4410);
    change(parts, `${RULES}${peerRule}\n  - { effect: allow, action: [Bind, Call], role: sentinel }`);
    expect(parts.agent.transport.closed).toBeUndefined();
  });

  test('a faulty file changes nothing, and is logged once; a missing one too', () => {
    const log: string[] = [];
    write(RULES);
    const record = (message: string): void => void log.push(message);
    const policy = new PolicyFile(path, { ...silentLog, error: record });
    const before = policy.policy;
    write('\n  - { effect: alow }');
    expect([policy.refresh(), policy.refresh(), log.length]).toEqual([false, false, 1]);
    rmSync(path);
    expect([policy.refresh(), policy.refresh(), log.length]).toEqual([false, false, 2]);
    expect(policy.policy).toBe(before);
    write(RULES);
    expect([policy.refresh(), policy.refresh(), log.length]).toEqual([true, false, 2]);
  });

  test('a faulty file prevents the start', () => {
    write('\n  - { effect: alow }');
    expect(() => new PolicyFile(path, silentLog)).toThrow(
      /policy\.yaml:3:7 error: effect must be allow or deny/,
    );
    expect(() => new PolicyFile(join(folder, 'none.yaml'), silentLog)).toThrow(/there is no such file/);
    expect(() => new PolicyFile(folder, silentLog)).toThrow(/cannot be read: it is not a file/);
  });
});

test('the decision about a call is cached with a bound', () => {
  const { attach, guard } = fabric(
    `${RULES}\n  - { effect: allow, action: Call, principal: eve, address: '*@x' }`,
  );
  const { session } = attach('caller', { principal: eve });
  for (let nth = 0; nth < 10_000; nth++) expect(guard.permissions.routes(session, `a${nth}@x`)).toBe(7);
  expect(guard.permissions.routes(session, 'a1@y')).toBe(0);
});
