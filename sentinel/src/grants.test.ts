// Rules 2 and 3 of response grants: who may write to a mailbox, and how long an open call lasts.
import {
  type DeliveryAck,
  type Envelope,
  encode,
  type Frame,
  LIMITS,
  makeEnvelope,
  type Principal,
} from '@fame-fabric/shared';
import { describe, expect, test, vi } from 'vitest';
import { REPLACEABLE_MS, SETTLED_MS } from './open-calls.ts';
import { type FakeNode, makeTestParts, type TestOptions } from './testing/sentinel-parts.ts';

const CANCEL = { capabilities: ['fame.capability.cancel'] };
const LOCAL: Principal = { id: 'local', roles: ['admin'] };

function trio(options?: TestOptions) {
  const parts = makeTestParts(options);
  const agent = parts.attach('agent', CANCEL);
  const caller = parts.attach('caller');
  const stranger = parts.attach('stranger');
  agent.bind('math@fame.fabric');
  /** Lets `ms` pass in sweeps of two seconds. */
  const pass = (ms: number): void => {
    for (let past = 0; past < ms; past += 2_000) {
      parts.clock.advance(2_000);
      for (const node of [agent, caller, stranger]) put(node, { type: 'NodeHeartbeat' });
      parts.sweeper.sweep();
    }
  };
  /** An open call, as the agent received it. */
  const open = (corrId: string, more?: Partial<Envelope>): Envelope => {
    caller.call('math@fame.fabric', corrId, more);
    return received(agent).at(-1)!;
  };
  return { ...parts, agent, caller, stranger, pass, open };
}

const MAILBOX = '__rpc__caller@/S/caller';
const reply = (corrId: string, result: unknown) =>
  ({ type: 'Data', payload: { jsonrpc: '2.0', id: corrId, result } }) as const;
const ack = (ok: boolean, refId: string) => ({ type: 'DeliveryAck', ok, refId }) as const;
/** Sends one envelope. */
const put = ({ session, transport }: FakeNode, frame: Frame, header: Partial<Envelope> = {}): void =>
  transport.receive(makeEnvelope(frame, { flowId: `f-${session.systemId}`, ...header }));
/** Takes the messages that a node has received, except credit and heartbeats. */
const received = ({ transport }: FakeNode): Envelope[] =>
  transport.take().filter(({ frame: { type } }) => type !== 'CreditUpdate' && type !== 'NodeHeartbeatAck');
const answersOf = (node: FakeNode): Envelope[] => received(node).filter(({ to }) => to !== undefined);
const codes = (node: FakeNode): (string | undefined)[] =>
  received(node).map(({ frame }) => (frame as DeliveryAck).code);

describe('HD5: a mailbox admits only messages with a grant', () => {
  test('a third node can neither answer nor refuse a call, and gets no answer itself', () => {
    const { agent, caller, stranger, counters, open } = trio();
    const request = open('c1');
    const forgeries = [
      [reply('c1', 'FORGED'), {}],
      // Not the plain shape: it is decoded.
      [reply('c1', 'FORGED'), { meta: { a: { b: 1 } } }],
      // A node takes any reply in its mailbox for an answer.
      [reply('c1', 'FORGED'), { rtype: 2, replyTo: `__rpc__x@${stranger.path}` }],
      [{ ...ack(false, request.id), code: 'NO_ROUTE', reason: 'send your key to ...' }, {}],
      [ack(true, request.id), {}],
      [{ type: 'SecureAccept', cid: 'x', ok: true }, {}],
      [{ type: 'SecureOpen', cid: 'x' }, { replyTo: `__sys__@${stranger.path}` }],
      [{ type: 'SecureClose', cid: 'x' }, {}],
    ] as const;
    for (const [frame, header] of forgeries) {
      const answer = stranger.send(frame, { to: MAILBOX, corrId: 'c1', ...header });
      expect(answer, JSON.stringify(frame)).toEqual([]);
    }
    expect(received(caller)).toEqual([]);
    expect(counters.ungranted).toBe(forgeries.length);
    // The silence does not show whether there is such a node.
    for (const [frame, header] of forgeries) {
      const to = MAILBOX.replace('/caller', '/ghost');
      expect(stranger.send(frame, { to, corrId: 'c1', ...header }), JSON.stringify(frame)).toEqual([]);
    }
    agent.reply(request, 'true');
    expect(received(caller)).toMatchObject([{ frame: { payload: { result: 'true' } } }]);
  });

  test('a node without an open call cannot write to a mailbox, not even the last callee', () => {
    const { agent, caller, counters, open } = trio();
    agent.reply(open('c1'), 1);
    received(caller);
    put(agent, reply('c1', 'again'), { to: MAILBOX, corrId: 'c1' });
    put(agent, reply('c2', 'never asked'), { to: MAILBOX, corrId: 'c2' });
    put(agent, reply('c2', 'without a corrId'), { to: MAILBOX });
    put(agent, { type: 'Data', payload: 'x' }, { to: '__sys__@/S/caller' });
    expect(received(caller)).toEqual([]);
    expect(counters.ungranted).toBe(4);
  });

  test('an answer to another address of the caller is forged as well', () => {
    const { caller, stranger, open } = trio();
    caller.bind('caller@fame.fabric');
    open('c1');
    for (const to of ['caller@fame.fabric', 'caller@/S/caller']) {
      put(stranger, reply('c1', 'FORGED'), { to, corrId: 'c1' });
      put(stranger, ack(false, 'x'), { to, corrId: 'c1' });
    }
    expect(received(caller)).toEqual([]);
    // A message whose corrId has no open call is an ordinary message.
    put(stranger, { type: 'Data', payload: 'hello' }, { to: 'caller@fame.fabric', corrId: 'mine' });
    expect(received(caller)).toHaveLength(1);
  });

  test('a mailbox under another name is guarded while its call is open', () => {
    const { agent, caller, stranger, open } = trio();
    const inbox = 'inbox@/S/caller';
    const request = open('c1', { replyTo: inbox });
    put(stranger, reply('c1', 'FORGED'), { to: inbox, corrId: 'c1' });
    expect(received(caller)).toEqual([]);
    agent.reply(request, 1);
    expect(received(caller)).toHaveLength(1);
  });

  test('requests and plain messages to an agent by its path need no grant', () => {
    const { agent, stranger } = trio();
    put(stranger, { type: 'Data', payload: 'hello' }, { to: 'math@/S/agent' });
    stranger.call('math@/S/agent', 'c1');
    stranger.call('__sys__@/S/agent', 'c2');
    expect(received(agent).map(({ corrId }) => corrId)).toEqual([undefined, 'c1', 'c2']);
  });

  test('the dropped message counts towards the credit of its sender', () => {
    const { stranger } = trio();
    let grants = 0;
    for (let i = 0; i < 24; i++) {
      grants += stranger.send(reply(`c${i}`, 1), { to: MAILBOX, corrId: `c${i}` }).length;
    }
    expect(grants).toBe(1);
  });
});

describe('a grant admits what a call needs', () => {
  test('an ack before the answer, and the answer', () => {
    const { agent, caller, open } = trio();
    const request = open('c1', { rtype: 3 });
    put(agent, ack(true, request.id), { to: MAILBOX, corrId: 'c1' });
    agent.reply(request, 7);
    expect(received(caller).map(({ frame }) => frame.type)).toEqual(['DeliveryAck', 'Data']);
  });

  test('a repeated at-least-once answer and its acks, for 60 s', () => {
    const { agent, caller, counters, open, pass } = trio();
    const { id } = open('c1', { rtype: 3 });
    const system = `__sys__@${agent.path}`;
    const answer = makeEnvelope(reply('c1', 7), { to: MAILBOX, corrId: 'c1', rtype: 1, replyTo: system });
    const send = () => put(agent, answer.frame, answer);
    send();
    pass(SETTLED_MS - 4_000);
    send();
    put(caller, ack(true, answer.id), { to: system, corrId: 'c1' });
    put(agent, ack(true, id), { to: MAILBOX, corrId: 'c1' });
    expect(received(caller).filter(({ corrId }) => corrId === 'c1')).toHaveLength(3);
    expect(received(agent).filter(({ corrId }) => corrId === 'c1')).toHaveLength(1);
    pass(6_000);
    send();
    expect(received(caller).filter(({ corrId }) => corrId === 'c1')).toEqual([]);
    expect(counters.ungranted).toBe(1);
  });

  test('a repeated answer to a caller that requested no ack, if the answer requests one', () => {
    const { agent, caller, open } = trio();
    open('c1');
    const header = { id: 'a', to: MAILBOX, corrId: 'c1', rtype: 1, replyTo: `__sys__@${agent.path}` };
    put(agent, reply('c1', 7), header);
    put(agent, reply('c1', 7), header);
    expect(received(caller)).toHaveLength(2);
  });

  test('the ack of a one-way message, from its receiver alone', () => {
    const { agent, caller, stranger } = trio();
    const system = '__sys__@/S/caller';
    const header = { to: 'math@fame.fabric', corrId: 'm1', rtype: 1, replyTo: system };
    const message = makeEnvelope({ type: 'Data', payload: 'hello' }, header);
    put(caller, message.frame, message);
    put(stranger, ack(true, message.id), { to: system, corrId: 'm1' });
    expect(received(caller)).toEqual([]);
    put(agent, ack(true, message.id), { to: system, corrId: 'm1' });
    expect(received(caller)).toMatchObject([{ frame: { ok: true, refId: message.id } }]);
  });

  test('the answer to a plain message with a replyTo and a corrId', () => {
    const { agent, caller, calls, counters } = trio();
    const header = { to: 'math@fame.fabric', corrId: 'm1', replyTo: MAILBOX };
    put(caller, { type: 'Data', payload: 'hello' }, header);
    expect(calls.count).toBe(0);
    put(agent, { type: 'Data', payload: 'hello yourself' }, { to: MAILBOX, corrId: 'm1' });
    put(agent, { type: 'Data', payload: 'and again' }, { to: MAILBOX, corrId: 'm1' });
    expect(received(caller)).toHaveLength(1);
    expect(counters.ungranted).toBe(1);
  });

  test('every item of a stream, and nothing after its end', () => {
    const { agent, caller, counters, open } = trio();
    open('s1', { rtype: 4 });
    for (const item of [1, 2, null, 3]) agent.send(reply('s1', item), { to: MAILBOX, corrId: 's1' });
    expect(received(caller)).toHaveLength(3);
    expect(counters.ungranted).toBe(1);
  });

  test('an at-least-once stream, with one grant for all of its acks', () => {
    const { agent, caller, calls, open } = trio();
    const system = `__sys__@${agent.path}`;
    open('s1', { rtype: 5 });
    for (let n = 1; n <= 20; n++) {
      const item = makeEnvelope(reply('s1', n), { to: MAILBOX, corrId: 's1', rtype: 1, replyTo: system });
      put(agent, item.frame, item);
      put(caller, ack(true, item.id), { to: system, corrId: 's1' });
    }
    expect(received(caller)).toHaveLength(20);
    expect(received(agent).filter(({ frame }) => frame.type === 'DeliveryAck')).toHaveLength(20);
    expect(calls.servedBy(caller.session)).toHaveLength(1);
  });

  test('an encrypted channel: its opening, its items and its end', () => {
    const { agent, caller, stranger, counters } = trio();
    const system = '__sys__@/S/caller';
    const channel = { corrId: 'k1', replyTo: system };
    put(caller, { type: 'SecureOpen', cid: 'ch' }, { to: 'math@fame.fabric', ...channel });
    put(stranger, { type: 'SecureAccept', cid: 'ch', ok: true }, { to: system, corrId: 'k1' });
    expect(received(caller)).toEqual([]);
    put(agent, { type: 'SecureAccept', cid: 'ch', ok: true }, { to: system, corrId: 'k1' });
    expect(received(caller).map(({ frame }) => frame.type)).toEqual(['SecureAccept']);
    // Encrypted items are texts, so the end of their stream is not seen.
    caller.call('math@fame.fabric', 's1', { rtype: 4 });
    for (const payload of ['q7==', 'w4==']) {
      put(agent, { type: 'Data', payload, codec: 'b64' }, { to: MAILBOX, corrId: 's1' });
    }
    put(agent, { type: 'SecureClose', cid: 'ch' }, { to: system, corrId: 'k1' });
    put(agent, { type: 'SecureClose', cid: 'ch' }, { to: system, corrId: 'k1' });
    expect(received(caller).map(({ frame }) => frame.type)).toEqual(['Data', 'Data', 'SecureClose']);
    expect(counters.ungranted).toBe(2);
  });

  test('an encrypted channel without a corrId', () => {
    const { agent, caller } = trio();
    const system = '__sys__@/S/caller';
    put(caller, { type: 'SecureOpen', cid: 'ch' }, { to: 'math@fame.fabric', replyTo: system });
    put(agent, { type: 'SecureAccept', cid: 'ch', ok: true }, { to: system });
    expect(received(caller).map(({ frame }) => frame.type)).toEqual(['SecureAccept']);
  });

  test('a push notification goes to a logical address, which needs no grant', () => {
    const { agent, caller } = trio();
    caller.bind('receiver@fame.fabric');
    put(
      agent,
      { type: 'Data', payload: { task_id: 't', message: 'Notification #1' } },
      { to: 'receiver@fame.fabric', replyTo: `__sys__@${agent.path}` },
    );
    expect(received(caller)).toHaveLength(1);
  });

  test('the answer of an agent that ignores cancels reaches the caller after its cancel', () => {
    const { attach, caller, calls } = trio();
    const deaf = attach('deaf');
    deaf.bind('deaf@fame.fabric');
    caller.call('deaf@fame.fabric', 'c1');
    const [request] = received(deaf);
    put(caller, { type: 'CallCancel', corrId: 'c1' });
    expect(calls.count).toBe(0);
    deaf.reply(request!, 'late');
    expect(received(caller)).toHaveLength(1);
  });

  test('equal corrIds of two mailboxes name two calls, also below one child sentinel', () => {
    const { agent, calls, child, first, second } = grandchildren();
    agent.reply(first, 'one');
    expect(calls.count).toBe(1);
    agent.reply(second, 'two');
    expect(received(child).map(({ to, frame }) => [to, frame])).toMatchObject([
      [first.replyTo, { payload: { result: 'one' } }],
      [second.replyTo, { payload: { result: 'two' } }],
    ]);
    expect(calls.count).toBe(0);
  });

  test('c89 two callers with the same envelope id and corrId get their own answers', () => {
    const { agent, caller, stranger } = trio();
    const ids = { id: '1' };
    caller.call('math@fame.fabric', '1', ids);
    stranger.call('math@fame.fabric', '1', { ...ids, replyTo: `__rpc__x@${stranger.path}` });
    const [first, second] = received(agent);
    agent.reply(second!, 'to the second');
    agent.reply(first!, 'to the first');
    for (const [node, result] of [
      [caller, 'to the first'],
      [stranger, 'to the second'],
    ] as const) {
      expect(answersOf(node).map(({ frame }) => frame)).toMatchObject([{ payload: { result } }]);
    }
  });

  test('a cancel names one of two calls with equal corrIds by its mailbox', () => {
    const { agent, calls, child, second } = grandchildren();
    put(child, { type: 'CallCancel', corrId: 'same' }, { replyTo: second.replyTo! });
    expect(received(agent)).toMatchObject([{ replyTo: second.replyTo, frame: { type: 'CallCancel' } }]);
    expect(calls.count).toBe(1);
  });
});

function grandchildren() {
  const parts = trio();
  const child = parts.attach('child');
  const [first, second] = ['one', 'two'].map((name) => {
    child.call('math@fame.fabric', 'same', { replyTo: `__rpc__x@/S/child/${name}` });
    return received(parts.agent)[0]!;
  });
  return { ...parts, child, first: first!, second: second! };
}

describe('a successor answers for a disconnected node', () => {
  test('the holder of the called address may answer while its predecessor is away', () => {
    const { attach, caller, stranger } = trio();
    const agent = attach('owned', { principal: LOCAL });
    agent.bind('owned@fame.fabric');
    caller.call('owned@fame.fabric', 'c1');
    const request = received(agent)[0]!;
    agent.lose();
    stranger.reply(request, 'FORGED');
    expect(received(caller)).toEqual([]);
    const successor = attach('successor', { principal: LOCAL });
    successor.bind('owned@fame.fabric');
    successor.reply(request, 'from the journal');
    expect(received(caller)).toMatchObject([{ frame: { payload: { result: 'from the journal' } } }]);
  });

  test('not if it belongs to another owner', () => {
    const { attach, caller } = trio();
    const owned = attach('owned', { principal: LOCAL });
    owned.bind('owned@fame.fabric');
    caller.call('owned@fame.fabric', 'c1');
    const [request] = received(owned);
    owned.lose();
    const thief = attach('thief');
    expect(thief.send({ type: 'AddressBind', address: 'owned@fame.fabric' }, { corrId: 'b' })).toEqual([]);
    thief.reply(request!, 'FORGED');
    expect(received(caller)).toEqual([]);
    thief.lose();
    const successor = attach('successor', { principal: LOCAL });
    successor.bind('owned@fame.fabric');
    successor.reply(request!, 'late');
    expect(received(caller)).toHaveLength(1);
  });

  test('not while the callee is attached', () => {
    const { attach, caller } = trio();
    const members = ['w1', 'w2'].map((name) => attach(name));
    for (const member of members) member.bind('w@*.fame.fabric');
    caller.call('w@fame.fabric', 'c1');
    const picked = members.find(({ transport }) => transport.sent.length > 0)!;
    const other = members.find((member) => member !== picked)!;
    const [request] = received(picked);
    other.reply(request!, 'FORGED');
    expect(received(caller)).toEqual([]);
    picked.lose();
    other.reply(request!, 'late');
    expect(received(caller)).toHaveLength(1);
  });
});

describe('between sentinels', () => {
  test('an answer of a node to a caller at a peer needs the call that came from there', () => {
    const { agent, attach, stranger } = trio();
    const peer = attach('P', { peer: true });
    peer.call('math@fame.fabric', 'c1', { replyTo: '__rpc__x@/P/far' });
    const request = received(agent)[0]!;
    stranger.reply(request, 'FORGED');
    expect(received(peer)).toEqual([]);
    agent.reply(request, 1);
    expect(received(peer)).toMatchObject([{ to: '__rpc__x@/P/far' }]);
  });

  test('a peer passes the answers of its nodes to ours, and to no mailbox without a call', () => {
    const { attach, caller } = trio();
    const peer = attach('P', { peer: true });
    peer.bind('far@fame.fabric');
    caller.call('far@fame.fabric', 'c1');
    const [request] = received(peer);
    put(peer, reply('c2', 'FORGED'), { to: MAILBOX, corrId: 'c2' });
    expect(received(caller)).toEqual([]);
    peer.reply(request!, 1);
    expect(received(caller)).toHaveLength(1);
  });

  test('an answer that returns by another link than its request', () => {
    const { attach, caller, stranger } = trio();
    const peer = attach('P', { peer: true });
    const other = attach('Q', { peer: true });
    peer.bind('far@fame.fabric');
    caller.call('far@fame.fabric', 'c1');
    const [request] = received(peer);
    stranger.reply(request!, 'FORGED');
    other.reply(request!, 1);
    expect(received(caller)).toMatchObject([{ frame: { payload: { result: 1 } } }]);
  });

  test('an answer that leaves by another link than its request came from', () => {
    const { agent, attach, table, stranger } = trio();
    const peer = attach('P', { peer: true });
    const other = attach('Q', { peer: true });
    // The path of the caller lies below both peers, as that of a node below the child of a peer may.
    Object.assign(other.session, { path: '/P/far' });
    peer.call('math@fame.fabric', 'c1', { replyTo: '__rpc__x@/P/far/node' });
    const request = received(agent)[0]!;
    table.remove(peer.session);
    table.remove(other.session);
    table.add(other.session);
    table.add(peer.session);
    stranger.reply(request, 'FORGED');
    agent.reply(request, 1);
    expect(answersOf(other)).toHaveLength(1);
    expect(answersOf(peer)).toEqual([]);
  });

  test('a sentinel passes on what a peer sends to a caller below a child: that sentinel has the grant', () => {
    const { attach } = trio();
    const peer = attach('P', { peer: true });
    const child = attach('child');
    const stranger = attach('other');
    const to = '__rpc__x@/S/child/node';
    put(stranger, reply('c1', 'FORGED'), { to, corrId: 'c1' });
    expect(received(child)).toEqual([]);
    put(peer, reply('c1', 1), { to, corrId: 'c1' });
    expect(received(child)).toHaveLength(1);
  });
});

describe('open calls end by themselves', () => {
  test('a call without an answer ends after 15 minutes, and both of its ends are notified', () => {
    const { agent, caller, calls, counters, open, pass } = trio();
    const request = open('c1');
    pass(LIMITS.idleCallMs - 2_000);
    received(caller);
    received(agent);
    expect(calls.count).toBe(1);
    pass(4_000);
    expect(calls.count).toBe(0);
    expect(codes(caller)).toEqual(expect.arrayContaining(['CALL_TIMEOUT']));
    expect(received(agent).map(({ frame }) => frame)).toEqual(
      expect.arrayContaining([{ type: 'CallCancel', corrId: 'c1', reason: 'timeout' }]),
    );
    agent.reply(request, 'too late');
    expect(counters.ungranted).toBe(1);
  });

  test('a call that carries its deadline ends soon after it, and not before', () => {
    const { agent, caller, calls, open, pass } = trio();
    open('short', { meta: { 'timeout-ms': 60_000 } });
    // Not the plain shape: it is decoded.
    open('decoded', { meta: { 'timeout-ms': 60_000 }, priority: 'normal' });
    open('long', { meta: { 'timeout-ms': 2 * LIMITS.idleCallMs } });
    pass(60_000);
    expect(calls.count).toBe(3);
    pass(8_000);
    expect(codes(caller)).toEqual(['CALL_TIMEOUT', 'CALL_TIMEOUT']);
    expect(received(agent)).toHaveLength(2);
    pass(2 * LIMITS.idleCallMs - 68_000);
    expect(calls.count).toBe(1);
    pass(8_000);
    expect(calls.count).toBe(0);
  });

  test('each item of a stream restarts the 15 minutes', () => {
    const { agent, calls, open, pass } = trio();
    open('s1', { rtype: 4 });
    for (let n = 0; n < 3; n++) {
      pass(LIMITS.idleCallMs - 4_000);
      put(agent, reply('s1', n), { to: MAILBOX, corrId: 's1' });
    }
    expect(calls.count).toBe(1);
    pass(LIMITS.idleCallMs + 2_000);
    expect(calls.count).toBe(0);
  });

  test('HD8: a request without a corrId is refused, because its callee could not be notified of a cancel or a leave', () => {
    const { agent, caller } = trio();
    const request = { jsonrpc: '2.0', id: 'c1', method: 'watch' };
    for (const header of [{ rtype: 4 }, { rtype: 2 }, { rtype: 7, meta: { a: { b: [] } }, corrId: '' }]) {
      put(
        caller,
        { type: 'Data', payload: request },
        { to: 'math@fame.fabric', replyTo: MAILBOX, ...header },
      );
    }
    expect(codes(caller)).toEqual(['REQUEST_INVALID', 'REQUEST_INVALID', 'REQUEST_INVALID']);
    expect(received(agent)).toEqual([]);
    put(caller, { type: 'Data', payload: request }, { to: 'math@fame.fabric', replyTo: MAILBOX });
    expect(received(agent)).toHaveLength(1);
  });

  test('HD8: a message with the same mailbox and corrId replaces a call, which ends at its callee', () => {
    const { agent, attach, calls, caller, open } = trio();
    const other = attach('other', CANCEL);
    const cancels = (): Frame[] =>
      received(agent).flatMap(({ frame }) => (frame.type === 'Data' ? [] : [frame]));
    open('c1', { rtype: 4 });
    open('c1', { rtype: 4 });
    expect(cancels()).toEqual([]); // a repeated request

    caller.call(`any@${other.path}`, 'c1');
    expect(cancels()).toEqual([{ type: 'CallCancel', corrId: 'c1', reason: 'replaced' }]);
    expect(calls.servingCount(agent.session)).toBe(0);

    open('c2', { rtype: 4 });
    const header = { to: 'math@fame.fabric', corrId: 'c2', replyTo: MAILBOX };
    put(caller, { type: 'Data', payload: 'plain' }, header);
    expect(cancels()).toEqual([{ type: 'CallCancel', corrId: 'c2', reason: 'replaced' }]);
    open('c3', { rtype: 4 });
    put(caller, { type: 'SecureOpen', cid: 'x' }, { ...header, corrId: 'c3' });
    expect(cancels()).toMatchObject([{ type: 'SecureOpen' }, { type: 'CallCancel', corrId: 'c3' }]);
  });

  test('a callee with too many calls of nodes without a key is busy for them, and not for nodes with the key', () => {
    const { agent, attach, calls, caller } = trio();
    const ours = attach('ours', { principal: LOCAL });
    vi.spyOn(calls, 'mayServe').mockImplementation((_callee, { systemId }) => systemId === 'ours');
    expect(caller.call('math@fame.fabric', 'c2')).toMatchObject([
      { frame: { ok: false, code: 'NODE_BUSY' } },
    ]);
    expect(ours.call('math@fame.fabric', 'c3')).toEqual([]);
    expect(received(agent).map(({ corrId }) => corrId)).toEqual(['c3']);
  });

  test('at the bound the oldest call without an item for 30 s makes room, and both of its ends are notified', () => {
    const { agent, caller, calls, open, pass } = trio({ maxOpenCallsPerNode: 3 });
    open('s1', { rtype: 4 });
    open('old');
    open('new');
    pass(REPLACEABLE_MS);
    put(agent, reply('s1', 1), { to: MAILBOX, corrId: 's1' });
    received(caller);
    received(agent);
    const [refusal] = caller.call('math@fame.fabric', 'next');
    expect(refusal).toMatchObject({ corrId: 'old', frame: { ok: false, code: 'QUOTA_EXCEEDED' } });
    expect(received(agent).map(({ corrId, frame }) => [corrId, frame])).toMatchObject([
      [undefined, { type: 'CallCancel', corrId: 'old', reason: 'replaced' }],
      ['next', { type: 'Data' }],
    ]);
    expect(calls.madeBy(caller.session).map(({ corrId }) => corrId)).toEqual(['s1', 'new', 'next']);
  });

  test('a further call is refused while none is idle, and its table stays bounded', () => {
    const { agent, caller, calls, open } = trio({ maxOpenCallsPerNode: 3 });
    for (const corrId of ['c1', 'c2', 'c3']) open(corrId);
    for (let n = 0; n < 100; n++) {
      const refusal = caller.call('math@fame.fabric', `more${n}`).find(({ corrId }) => corrId !== undefined);
      expect(refusal).toMatchObject({ corrId: `more${n}`, frame: { code: 'QUOTA_EXCEEDED' } });
    }
    expect(received(agent)).toEqual([]);
    expect(calls.count).toBe(3);
  });

  test('grants for acks end first, and an answer is never lost because its ack gets no grant', () => {
    const { agent, caller, calls } = trio({ maxOpenCallsPerNode: 3 });
    const replyTo = `__sys__@${caller.path}`;
    for (let n = 0; n < 10; n++) {
      const header = { to: 'math@fame.fabric', corrId: `m${n}`, rtype: 1, replyTo };
      expect(caller.send({ type: 'Data', payload: n }, header)).toEqual([]);
    }
    for (let n = 0; n < 3; n++) expect(caller.call('math@fame.fabric', `c${n}`)).toEqual([]);
    expect(calls.madeCount(caller.session)).toBe(3);
    agent.call('missing@fame.fabric', 'x');
    received(agent);
    caller.bind('caller@fame.fabric');
    for (let n = 0; n < 3; n++) agent.call('caller@fame.fabric', `back${n}`);
    received(caller);
    const header = { to: MAILBOX, corrId: 'c0', rtype: 1, replyTo: `__sys__@${agent.path}` };
    put(agent, reply('c0', 1), header);
    expect(received(caller)).toHaveLength(1);
  });

  test('the cost of a node that leaves grows with the calls that it served', () => {
    const { agent, attach, calls, clock } = trio();
    const busy = attach('busy');
    busy.bind('busy@fame.fabric');
    const callers = Array.from({ length: 50 }, (_, n) => attach(`n${n}`));
    for (const node of callers) for (let n = 0; n < 100; n++) node.call('busy@fame.fabric', `c${n}`);
    callers[0]!.call('math@fame.fabric', 'mine');
    expect(calls.servedBy(agent.session).map(({ corrId }) => corrId)).toEqual(['mine']);
    agent.lose();
    clock.advance(5_000);
    expect(codes(callers[0]!)).toContain('NODE_GONE');
    expect(calls.servingCount(busy.session)).toBe(5_000);
    busy.lose(1000);
    expect(calls.count).toBe(0);
  });

  test('a node that has left leaves no entry behind', () => {
    const { agent, caller, calls, open } = trio();
    const header = { to: 'math@fame.fabric', corrId: 'm', rtype: 1, replyTo: `__sys__@${caller.path}` };
    put(caller, { type: 'Data', payload: 1 }, header);
    agent.reply(open('c1', { rtype: 3 }), 1);
    open('c2');
    caller.lose(1000);
    expect(calls.servedBy(agent.session)).toEqual([]);
    expect(calls.count).toBe(0);
  });
});

test('HD5: the bytes of a granted answer are forwarded unchanged', () => {
  const { agent, caller, open } = trio();
  open('c1');
  const bytes = Buffer.from(encode(makeEnvelope(reply('c1', 7), { to: MAILBOX, corrId: 'c1', flowId: 'f' })));
  agent.transport.onMessage!(bytes);
  expect(Buffer.from(caller.transport.sent.at(-1)!)).toEqual(bytes);
});
