// WhoIs: the callee of an open call learns the principal of its caller, and no other node does.
import type { Envelope, NodeAttachAck, Principal, WhoIs, WhoIsAck } from '@fame-fabric/shared';
import { beforeEach, describe, expect, test } from 'vitest';
import { parsePolicy } from './access/policy/parse-policy.ts';
import { type FakeNode, makeTestParts, type TestOptions } from './testing/sentinel-parts.ts';

const LOCAL: Principal = { id: 'local', roles: ['admin'] };

function fabric(options: TestOptions = {}) {
  const parts = makeTestParts(options);
  const agent = parts.attach('agent', {
    capabilities: ['fame.capability.cancel'],
    principal: { id: 'operator', roles: ['agent'] },
  });
  agent.bind('math@fame.fabric');
  return { ...parts, agent };
}

const whoIs = (asker: FakeNode, address: string, corrId: string): WhoIsAck => {
  const answers = asker.send({ type: 'WhoIs', address, corrId }, { corrId: 'w', rtype: 1 });
  return answers.find((one) => one.corrId === 'w')!.frame as WhoIsAck;
};
const replyTo = (node: FakeNode): string => `__rpc__${node.session.systemId}@${node.path}`;

test('the callee of an open call learns its principal, until the call is answered', () => {
  const { agent, attach } = fabric();
  const holder = attach('holder', { principal: LOCAL });
  const stranger = attach('stranger');
  for (const caller of [holder, stranger]) caller.call('math@fame.fabric', 'c');
  const [first] = agent.transport.take();
  expect(whoIs(agent, replyTo(holder), 'c')).toMatchObject({ ok: true, principal: LOCAL });
  expect(whoIs(agent, replyTo(stranger), 'c')).toMatchObject({
    ok: true,
    principal: { id: 'anonymous', roles: [] },
  });
  agent.reply(first!, 1);
  expect(whoIs(agent, replyTo(holder), 'c').ok).toBe(false);
});

test('another node learns nothing, and neither does the callee about calls that are not open', () => {
  const { agent, attach } = fabric();
  const holder = attach('holder', { principal: LOCAL });
  const other = attach('other');
  holder.call('math@fame.fabric', 'c');
  for (const ack of [
    whoIs(other, replyTo(holder), 'c'),
    whoIs(holder, replyTo(holder), 'c'),
    whoIs(agent, replyTo(holder), 'd'),
    whoIs(agent, `__rpc__other@${holder.path}`, 'c'),
    whoIs(agent, `${replyTo(holder)}/below`, 'c'),
    whoIs(agent, replyTo(other), 'c'),
    whoIs(agent, '__rpc__x@/S/unknown', 'c'),
    whoIs(agent, 'no address', 'c'),
  ]) {
    expect(ack.ok).toBe(false);
    expect(ack.principal).toBeUndefined();
  }
});

test('a node that takes the path of a caller that left does not become the caller of its calls', () => {
  const { agent, attach } = fabric();
  const stranger = attach('same-id');
  stranger.call('math@fame.fabric', 'c');
  const { path } = stranger;
  stranger.lose(1000);
  const holder = attach('same-id', { principal: LOCAL });
  expect(holder.path).toBe(path);
  expect(whoIs(agent, replyTo(holder), 'c').ok).toBe(false);
});

test('an answer states the rights and the claims of the caller, and no scopes or patterns', () => {
  const { agent, attach } = fabric();
  const ada: Principal = {
    id: 'jwt:login.example.com/ada',
    roles: ['client'],
    scopes: ['node.connect'],
    claims: { team: 'blue' },
    allow: ['math@**'],
  };
  const callers: [FakeNode, object][] = [
    [attach('holder', { principal: LOCAL }), { conversations: 'any' }],
    [attach('ada', { principal: ada }), { conversations: 'own' }],
    [attach('stranger'), { conversations: 'own' }],
  ];
  for (const [caller, rights] of callers) {
    caller.call('math@fame.fabric', 'c');
    expect(whoIs(agent, replyTo(caller), 'c').principal?.rights).toEqual(rights);
  }
  const { principal } = whoIs(agent, replyTo(callers[1]![0]), 'c');
  expect(principal).toEqual({
    id: ada.id,
    roles: ['client'],
    claims: { team: 'blue' },
    rights: { conversations: 'own' },
  });
});

test('an answer states whether the principal of the caller serves an address, if the callee names one', () => {
  const { agent, attach } = fabric();
  const principal: Principal = { id: 'ada', roles: ['agent'] };
  const caller = attach('caller', { principal });
  caller.bind('own@fame.fabric');
  attach('second', { principal }).bind('receiver@fame.fabric');
  attach('stranger').bind('foreign@fame.fabric');
  caller.call('math@fame.fabric', 'c');
  agent.transport.take();
  const serves = (address?: string) => {
    const frame = { type: 'WhoIs', address: replyTo(caller), corrId: 'c', serves: address } as const;
    return (agent.send(frame, { corrId: 'w', rtype: 1 })[0]!.frame as WhoIsAck).serves;
  };
  expect(serves('own@fame.fabric')).toBe(true);
  expect(serves('receiver@fame.fabric')).toBe(true);
  expect(serves('foreign@fame.fabric')).toBe(false);
  expect(serves('math@fame.fabric')).toBe(false);
  expect(serves('free@fame.fabric')).toBe(false);
  expect(serves('no address')).toBe(false);
  expect(serves()).toBeUndefined();
});

test('an answer states the limits of turns that the policy has for the caller', () => {
  const text = `rules:
  - { effect: allow, action: [Connect, Bind, Call], role: '*' }
limits:
  - principal: ada
    sessions: 5
    turns_per_minute: 3
    money_per_day: 0.5`;
  const { policy } = parsePolicy('policy.yaml', text);
  const { agent, attach } = fabric({ policy: { policy: policy!, refresh: () => false } });
  const rights = (principal: Principal) => {
    const caller = attach(principal.id, { principal });
    caller.call('math@fame.fabric', 'c');
    return whoIs(agent, replyTo(caller), 'c').principal?.rights;
  };
  expect(rights({ id: 'ada', roles: ['client'] })).toEqual({
    conversations: 'own',
    limits: { turnsPerMinute: 3, moneyPerDay: 0.5 },
  });
  expect(rights({ id: 'bob', roles: ['client'] })).toEqual({ conversations: 'own' });
});

describe('a call on behalf of a caller', () => {
  const ADA: Principal = { id: 'jwt:login.example.com/ada', roles: ['client'] };
  const MAY: Principal = { id: 'broker', roles: ['admin'] };

  /** Ada calls the agent `broker`, and the broker calls the agent `math`. */
  function chain(broker: Principal) {
    const { agent, attach, ...parts } = fabric();
    const ada = attach('ada', { principal: ADA });
    const between = attach('broker', { principal: broker, capabilities: ['fame.capability.cancel'] });
    between.bind('broker@fame.fabric');
    ada.call('broker@fame.fabric', 'outer');
    const [outer] = between.transport.take();
    between.call('math@fame.fabric', 'inner');
    agent.transport.take();
    const ask = (more: Partial<WhoIs>): WhoIsAck => {
      const frame: WhoIs = { type: 'WhoIs', address: replyTo(between), corrId: 'inner', ...more };
      return agent.send(frame, { corrId: 'w', rtype: 1 })[0]!.frame as WhoIsAck;
    };
    const behalf = { onBehalf: `${replyTo(ada)} outer` };
    return { ...parts, attach, ada, between, outer: outer!, ask, behalf };
  }

  test('has the caller of the agent as its caller, while that call is open', () => {
    const { ask, behalf, between, outer } = chain(MAY);
    expect(ask({}).principal?.id).toBe('broker');
    expect(ask(behalf)).toMatchObject({
      ok: true,
      principal: { id: ADA.id, roles: ['client'], rights: { conversations: 'own' } },
    });
    between.reply(outer, 1);
    // Not the broker: with its rights the caller would use conversations of others.
    expect(ask(behalf)).toMatchObject({ ok: false, code: 'NODE_GONE' });
  });

  test('has the agent as its caller if the agent has no right to the conversations of others', () => {
    const { ask, behalf } = chain({ id: 'broker', roles: ['agent'] });
    expect(ask(behalf)).toMatchObject({ ok: true, principal: { id: 'broker' } });
  });

  test('is refused for a call that the agent does not serve', () => {
    const { ada, ask, attach } = chain(MAY);
    const bob = attach('bob', { principal: { id: 'jwt:login.example.com/bob', roles: ['client'] } });
    const other = attach('other', { capabilities: ['fame.capability.cancel'] });
    other.bind('other@fame.fabric');
    bob.call('other@fame.fabric', 'foreign');
    for (const behalf of [
      { onBehalf: `${replyTo(bob)} foreign` },
      { onBehalf: `${replyTo(ada)} none` },
      { onBehalf: 'outer' },
    ])
      expect(ask(behalf)).toMatchObject({ ok: false, code: 'NODE_GONE' });
  });
});

describe('a caller behind another sentinel', () => {
  const ADA: Principal = { id: 'jwt:login.example.com/ada', roles: ['client'], claims: { team: 'blue' } };
  const SENTINEL: Principal = { id: 'spiffe://example.com/child', roles: ['sentinel'] };
  const CAPABLE = ['fame.capability.who-is', 'fame.capability.cancel'];

  /** The envelopes that the agent has received. */
  const received: Envelope[] = [];
  beforeEach(() => {
    received.length = 0;
  });

  /** A call through `via`, about which the agent asks. Returns the question to `via`, and the answer of the agent. */
  function asked(via: FakeNode, agent: FakeNode, corrId = 'c') {
    const mailbox = `__rpc__x@${via.path}/node`;
    via.call('math@fame.fabric', corrId, { replyTo: mailbox });
    received.push(...agent.transport.take());
    received.push(
      ...agent.send({ type: 'WhoIs', address: mailbox, corrId }, { corrId: `w-${corrId}`, rtype: 1 }),
    );
    const question = via.transport.take().find(({ frame }) => frame.type === 'WhoIs');
    const answers = (): unknown[] => {
      received.push(...agent.transport.take());
      return received.filter(({ corrId: id }) => id === `w-${corrId}`).map(({ frame }) => frame);
    };
    return { mailbox, question, answers };
  }
  const ack = (via: FakeNode, question: Envelope, frame: Partial<WhoIsAck>): void => {
    via.send({ type: 'WhoIsAck', ok: true, ...frame }, { corrId: question.corrId! });
  };

  test('is asked for at the neighbor that the call came from', () => {
    const { agent, attach } = fabric();
    const child = attach('child', { principal: SENTINEL, capabilities: CAPABLE });
    const { mailbox, question, answers } = asked(child, agent);
    expect(question!.frame).toEqual({ type: 'WhoIs', address: mailbox, corrId: 'c' });
    expect(answers()).toEqual([]);
    ack(child, question!, { principal: { ...ADA, rights: { conversations: 'any' } } });
    expect(answers()).toMatchObject([
      { type: 'WhoIsAck', ok: true, principal: { ...ADA, rights: { conversations: 'own' } } },
    ]);
    // The answer counts once.
    ack(child, question!, { principal: ADA });
    expect(answers()).toHaveLength(1);
  });

  test.each([
    ['local', LOCAL, { id: 'anonymous', roles: [] }],
    ['a key', { id: 'bob', roles: ['client'] }, { id: 'anonymous', roles: [] }],
    [
      'an operator',
      { ...ADA, roles: ['client', 'admin', 'sentinel'] },
      { id: ADA.id, roles: ['client'], rights: { conversations: 'own' } },
    ],
  ] as const)('%s does not keep what only its sentinel knows', (_, stated, seen) => {
    const { agent, attach } = fabric();
    const child = attach('child', { principal: SENTINEL, capabilities: CAPABLE });
    const { question, answers } = asked(child, agent);
    ack(child, question!, { principal: stated as unknown as Principal });
    expect(answers()[0]).toMatchObject({ ok: true, principal: seen });
  });

  test('is anonymous if the neighbor has no credential of a sentinel, does not know, or does not answer WhoIs', () => {
    const { agent, attach } = fabric();
    const stranger = attach('stranger', { capabilities: CAPABLE });
    const forged = asked(stranger, agent, 'a');
    ack(stranger, forged.question!, { principal: ADA });
    const peer = attach('P', { peer: true, capabilities: CAPABLE });
    const claimed = asked(peer, agent, 'b');
    ack(peer, claimed.question!, { principal: ADA });
    const older = attach('older', { principal: SENTINEL });
    const silent = asked(older, agent, 'c');
    expect(silent.question).toBeUndefined();
    for (const { answers } of [forged, claimed, silent])
      expect(answers()[0]).toMatchObject({ ok: true, principal: { id: 'anonymous', roles: [] } });
  });

  test('is unknown if the neighbor does not know the call, or is silent for 5 s', () => {
    const { agent, attach, clock } = fabric();
    const child = attach('child', { principal: SENTINEL, capabilities: CAPABLE });
    const ended = asked(child, agent, 'a');
    ack(child, ended.question!, { ok: false, code: 'NODE_GONE' });
    const silent = asked(child, agent, 'b');
    clock.advance(5_001);
    asked(child, agent, 'c');
    for (const { answers } of [ended, silent])
      expect(answers()[0]).toMatchObject({ ok: false, code: 'NODE_GONE' });
  });

  test('is stated by no other neighbor, and only to the callee', () => {
    const { agent, attach } = fabric();
    const child = attach('child', { principal: SENTINEL, capabilities: CAPABLE });
    const other = attach('other', { principal: SENTINEL, capabilities: CAPABLE });
    const { mailbox, question, answers } = asked(child, agent);
    ack(other, question!, { principal: ADA });
    expect(answers()).toEqual([]);
    expect(whoIs(other, mailbox, 'c').ok).toBe(false);
    expect(child.transport.take()).toEqual([]);
  });

  test('of 5,000 questions at once the oldest are unknown, and the others wait', () => {
    const { agent, attach } = fabric();
    const child = attach('child', { principal: SENTINEL, capabilities: CAPABLE });
    const mailbox = `__rpc__x@${child.path}/node`;
    child.call('math@fame.fabric', 'c', { replyTo: mailbox });
    agent.transport.take();
    let unknown = 0;
    for (let i = 0; i < 5_000; i++) {
      const got = agent.send({ type: 'WhoIs', address: mailbox, corrId: 'c' }, { corrId: `w${i}`, rtype: 1 });
      unknown += got.filter(({ frame }) => frame.type === 'WhoIsAck' && !frame.ok).length;
    }
    expect(unknown).toBe(5_000 - 4_096);
  });
});

test('an attach ack states the principal', () => {
  const { attach } = makeTestParts();
  expect((attach('holder', { principal: LOCAL }).ack.frame as NodeAttachAck).principal).toEqual(LOCAL);
  expect((attach('stranger').ack.frame as NodeAttachAck).principal).toEqual({ id: 'anonymous', roles: [] });
});

test('a right that a policy denies for one address of a node is not granted at its path or by a capability', () => {
  const { policy } = parsePolicy(
    'policy.yaml',
    `rules:
      - { effect: deny, action: Conversations, address: vault@fame.fabric }
      - { effect: allow }`,
  );
  const parts = fabric({ policy: { policy: policy!, refresh: () => false } });
  const { agent, attach } = parts;
  const caller = attach('caller', { principal: { id: 'ada', roles: ['client'] } });
  agent.send(
    { type: 'CapabilityAdvertise', address: 'math@fame.fabric', capabilities: ['add'] },
    { corrId: 'a' },
  );
  let calls = 0;
  const rightAt = (to: string, more: Partial<Envelope> = {}): unknown => {
    const corrId = `c${calls++}`;
    caller.call(to, corrId, more);
    return whoIs(agent, replyTo(caller), corrId).principal;
  };
  const byCapability = { to: undefined, capabilities: ['add'] } as unknown as Partial<Envelope>;
  const ways: [string, Partial<Envelope>?][] = [
    ['math@fame.fabric'],
    [`math@${agent.path}`],
    [`vault@${agent.path}`],
    [`__sys__@${agent.path}`],
    ['', byCapability],
  ];
  const rights = (): unknown[] =>
    ways.map((way) => (rightAt(...way) as Principal | undefined)?.rights?.conversations);
  expect(rights()).toEqual(['any', 'any', 'any', 'any', 'any']);
  agent.bind('vault@fame.fabric');
  expect(rights()).toEqual(['any', 'any', 'own', 'own', 'own']);
});

describe('a callee that asks for statements ahead', () => {
  const ask = (asker: FakeNode, address: string, corrId: string, ahead: number): WhoIsAck =>
    asker.send({ type: 'WhoIs', address, corrId, ahead }, { corrId: 'w', rtype: 1 })[0]!.frame as WhoIsAck;
  const types = (envelopes: Envelope[]): string[] => envelopes.map(({ frame }) => frame.type);

  function asked(ahead: number) {
    const parts = fabric();
    const ada: Principal = { id: 'ada', roles: ['client'] };
    const caller = parts.attach('caller', { principal: ada });
    caller.call('math@fame.fabric', 'first');
    parts.agent.transport.take();
    expect(ask(parts.agent, replyTo(caller), 'first', ahead).ok).toBe(true);
    return { ...parts, caller, ada };
  }

  test('receives the caller of each of its next calls directly before the request', () => {
    const { agent, attach, caller, ada } = asked(3);
    caller.call('math@fame.fabric', 'c');
    const [statement, request] = agent.transport.take();
    expect(statement).toMatchObject({
      frame: { type: 'WhoIsAck', ok: true, address: replyTo(caller), ofCall: 'c', principal: ada },
    });
    expect(statement!.corrId).toBeUndefined();
    expect(whoIs(agent, replyTo(caller), 'c').principal).toEqual((statement!.frame as WhoIsAck).principal);
    expect(request!.corrId).toBe('c');
    attach('stranger').call('math@fame.fabric', 'c');
    expect(agent.transport.take()[0]!.frame).toMatchObject({ principal: { id: 'anonymous' } });
    caller.call('math@fame.fabric', 'd');
    expect(types(agent.transport.take())).toEqual(['WhoIsAck', 'Data']);
    caller.call('math@fame.fabric', 'e');
    expect(types(agent.transport.take())).toEqual(['Data']);
  });

  test('receives them for at most 64 calls', () => {
    expect(asked(1_000_000).agent.session.statementsAhead).toBe(64);
  });

  test('receives none for a request that waits for credit: another message may be the next one', () => {
    const { agent, caller } = asked(64);
    for (let i = 0; i < 40; i++) caller.call('math@fame.fabric', `c${i}`);
    const received = agent.transport.take();
    expect(received).toHaveLength(31 + 31);
    agent.send({ type: 'CreditUpdate', flowId: 'f-caller', credits: 32 }, { flowId: 'f-caller' });
    expect(types(agent.transport.take())).not.toContain('WhoIsAck');
    expect(agent.session.statementsAhead).toBe(64 - 31);
  });

  test('receives none for callers behind other sentinels', () => {
    const { agent, attach } = asked(64);
    const peer = attach('peer', { peer: true });
    peer.send(
      { type: 'Data', payload: { jsonrpc: '2.0', id: 'p', method: 'echo' } },
      { to: 'math@fame.fabric', corrId: 'p', rtype: 2, replyTo: `__rpc__x@${peer.path}/x` },
    );
    expect(types(agent.transport.take())).toEqual(['Data']);
  });
});
