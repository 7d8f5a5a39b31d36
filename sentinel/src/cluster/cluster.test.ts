// Two and three sentinels of one cluster on a bus in memory: calls, streams, cancels, credit, lost messages and lost sentinels.
import type { AddressBindAck, Envelope, Principal } from '@fame-fabric/shared';
import { ManualClock } from '@fame-fabric/shared/testing';
import { describe, expect, test } from 'vitest';
import type { TraceEntry } from '../http/trace.ts';
import {
  bind,
  bindResult,
  clusterOf,
  codes,
  OURS,
  received,
  replyTo,
  requestBind,
  settle,
} from '../testing/cluster-parts.ts';
import { MemoryBusServer } from '../testing/memory-bus.ts';
import { MemoryOwnerStore } from '../testing/memory-owners.ts';
import { type FakeNode, makeTestParts } from '../testing/sentinel-parts.ts';

test('a call reaches an agent at another sentinel, and its answer returns', async () => {
  const { A, B } = await clusterOf(['A', 'B']);
  const agent = B.attach('agent', OURS);
  await bind(agent, 'math@fame.fabric');
  const caller = A.attach('caller', OURS);
  caller.call('math@fame.fabric', 'c1');
  const [request] = await received(agent);
  expect(request).toMatchObject({ corrId: 'c1', replyTo: replyTo(caller), to: 'math@fame.fabric' });
  agent.reply(request!, 42);
  const answers = await received(caller);
  expect(answers).toMatchObject([{ corrId: 'c1', frame: { payload: { result: 42 } } }]);
  expect(A.calls.count + B.calls.count).toBe(0);
});

test('an address that no sentinel serves is refused with NO_ROUTE at once', async () => {
  const { A, clock } = await clusterOf(['A', 'B']);
  const caller = A.attach('caller', OURS);
  caller.call('absent@fame.fabric', 'c1');
  expect(codes(await received(caller))).toEqual(['NO_ROUTE']);
  expect(clock.monotonic()).toBe(0);
});

test('an answer about an address is cached until its node is gone', async () => {
  const { A, B, server } = await clusterOf(['A', 'B']);
  const agent = B.attach('agent', OURS);
  await bind(agent, 'math@fame.fabric');
  const caller = A.attach('caller', OURS);
  const questions = (): number => server.published.filter((one) => one.startsWith('fame.test.a.')).length;
  for (const id of ['c1', 'c2', 'c3']) {
    caller.call('math@fame.fabric', id);
    await settle();
  }
  expect(questions()).toBe(1);
  agent.lose(1000);
  await settle();
  expect(codes(await received(caller))).toEqual(['NODE_GONE', 'NODE_GONE', 'NODE_GONE']);
  caller.call('math@fame.fabric', 'c4');
  expect(codes(await received(caller))).toEqual(['NO_ROUTE']);
  expect(questions()).toBe(2);
});

test('messages that wait for an answer keep their order', async () => {
  const { A, B } = await clusterOf(['A', 'B']);
  const agent = B.attach('agent', OURS);
  await bind(agent, 'math@fame.fabric');
  const caller = A.attach('caller', OURS);
  const ids = Array.from({ length: 20 }, (_, at) => `c${at}`);
  for (const id of ids) caller.call('math@fame.fabric', id);
  await settle();
  caller.call('math@fame.fabric', 'last');
  expect((await received(agent)).map(({ corrId }) => corrId)).toEqual([...ids, 'last']);
});

test('waiting messages of one sender are bounded', async () => {
  const { A, clock } = await clusterOf(['A']);
  A.attach('other', OURS);
  const caller = A.attach('caller', OURS);
  const pad = 'x'.repeat(100_000);
  const refused: unknown[] = [];
  for (let i = 0; i < 15; i++) {
    const payload = { jsonrpc: '2.0', id: `c${i}`, method: 'echo', params: { pad } };
    const header = { to: 'far@fame.fabric', corrId: `c${i}`, rtype: 2 as const, replyTo: replyTo(caller) };
    refused.push(...codes(caller.send({ type: 'Data', payload }, header)));
  }
  expect(refused).toEqual(Array(5).fill('NODE_BUSY'));
  expect(codes(await received(caller))).toEqual(Array(10).fill('NO_ROUTE'));
  expect(A.budget.queuedBytes).toBe(0);
  expect(clock.monotonic()).toBe(0);
});

test('the items of a stream pass, and its end closes the call at both sentinels', async () => {
  const { A, B } = await clusterOf(['A', 'B']);
  const agent = B.attach('agent', OURS);
  await bind(agent, 'count@fame.fabric');
  const caller = A.attach('caller', OURS);
  caller.call('count@fame.fabric', 's1', { rtype: 4 });
  const [request] = await received(agent);
  for (let i = 0; i < 10; i++) agent.reply(request!, i);
  agent.reply(request!, null);
  const results = (await received(caller)).flatMap(({ frame }) =>
    frame.type === 'Data' ? [(frame.payload as { result: unknown }).result] : [],
  );
  expect(results).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, null]);
  expect(A.calls.count + B.calls.count).toBe(0);
});

test('large messages pass without the help of a timer', async () => {
  const { A, B, clock } = await clusterOf(['A', 'B']);
  const agent = B.attach('agent', OURS);
  await bind(agent, 'math@fame.fabric');
  const caller = A.attach('caller', OURS);
  const pad = 'x'.repeat(200_000);
  for (let i = 0; i < 20; i++) {
    const payload = { jsonrpc: '2.0', id: `c${i}`, method: 'echo', params: { pad } };
    const header = { to: 'math@fame.fabric', corrId: `c${i}`, rtype: 2 as const, replyTo: replyTo(caller) };
    caller.send({ type: 'Data', payload }, header);
    if (i === 0) await settle();
  }
  for (let i = 0; i < 10; i++) await settle();
  expect(await received(agent)).toHaveLength(20);
  expect(clock.monotonic()).toBe(0);
});

test('a cancel reaches the callee, and so does the end of the caller', async () => {
  const { A, B } = await clusterOf(['A', 'B']);
  const agent = B.attach('agent', OURS);
  await bind(agent, 'slow@fame.fabric');
  const caller = A.attach('caller', OURS);
  caller.call('slow@fame.fabric', 'c1');
  caller.call('slow@fame.fabric', 'c2');
  await received(agent);
  caller.send({ type: 'CallCancel', corrId: 'c1', reason: 'changed my mind' }, { replyTo: replyTo(caller) });
  expect((await received(agent)).map(({ frame }) => frame)).toMatchObject([
    { type: 'CallCancel', corrId: 'c1' },
  ]);
  caller.lose(1000);
  expect((await received(agent)).map(({ frame }) => frame)).toMatchObject([
    { type: 'CallCancel', corrId: 'c2' },
  ]);
});

test('an agent without credit slows its caller at the other sentinel, and loses no message', async () => {
  const { A, B } = await clusterOf(['A', 'B']);
  const agent = B.attach('agent', OURS);
  await bind(agent, 'slow@fame.fabric');
  const caller = A.attach('caller', OURS);
  let credit = 32;
  let sent = 0;
  const addCredit = (envelopes: readonly Envelope[]): void => {
    for (const { frame } of envelopes)
      if (frame.type === 'CreditUpdate' && frame.flowId === 'pair') credit += frame.credits;
  };
  const send = async (): Promise<void> => {
    for (; credit > 0; credit--) addCredit(caller.call('slow@fame.fabric', `c${sent++}`, { flowId: 'pair' }));
    addCredit(await received(caller));
  };
  for (let i = 0; i < 20; i++) await send();
  // The windows of both sentinels and of the caller are full.
  expect(credit).toBe(0);
  expect(sent).toBeGreaterThan(64);
  expect(sent).toBeLessThan(300);
  const taken: string[] = [];
  const read = async (): Promise<void> => {
    const waiting = await received(agent);
    const more = agent.send({ type: 'CreditUpdate', flowId: 'pair', credits: 32 });
    for (const { corrId, frame } of [...waiting, ...more]) if (frame.type === 'Data') taken.push(corrId!);
  };
  for (let i = 0; i < 40; i++) {
    await read();
    if (sent < 400) await send();
  }
  expect(sent).toBeGreaterThan(300);
  await read();
  expect(taken).toEqual(Array.from({ length: sent }, (_, at) => `c${at}`));
});

test('a lost data frame ends the link: open calls receive NODE_GONE, and the link returns', async () => {
  const { A, B, server, pass } = await clusterOf(['A', 'B']);
  const agent = B.attach('agent', OURS);
  await bind(agent, 'math@fame.fabric');
  const caller = A.attach('caller', OURS);
  caller.call('math@fame.fabric', 'c1');
  const [request] = await received(agent);
  let isLost = false;
  server.loses = ({ subject, payload }) => {
    if (isLost || subject !== 'fame.test.s.A.B' || payload[0] !== 2) return false;
    isLost = true;
    return true;
  };
  agent.reply(request!, 42);
  expect(await received(caller)).toEqual([]);
  // Without another message the heartbeat shows the loss.
  await pass(1);
  expect(isLost).toBe(true);
  expect(codes(await received(caller))).toEqual(['NODE_GONE']);
  await pass(2);
  caller.call('math@fame.fabric', 'c2');
  agent.reply((await received(agent)).find(({ corrId }) => corrId === 'c2')!, 43);
  expect(await received(caller)).toMatchObject([{ corrId: 'c2', frame: { payload: { result: 43 } } }]);
});

test.each([1, 3, 4])('the link comes up although hello number %i is lost', async (lost) => {
  const clock = new ManualClock();
  const server = new MemoryBusServer();
  let hellos = 0;
  server.loses = ({ payload }) => payload[0] === 1 && ++hellos === lost;
  const A = makeTestParts({ id: 'A', clock, bus: server.connect() });
  const B = makeTestParts({ id: 'B', clock, bus: server.connect() });
  for (let i = 0; i < 8; i++) {
    clock.advance(1_000);
    await settle();
  }
  expect(A.cluster!.status.members).toMatchObject([{ id: 'B' }]);
  expect(B.cluster!.status.members).toMatchObject([{ id: 'A' }]);
});

test('a sentinel that is silent for 3 s is gone: callers of its nodes get NODE_GONE, and the nodes may return elsewhere', async () => {
  const { A, B, C, buses, pass } = await clusterOf(['A', 'B', 'C']);
  const agent = B.attach('agent', OURS);
  await bind(agent, 'math@fame.fabric');
  const caller = A.attach('caller', OURS);
  caller.call('math@fame.fabric', 'c1');
  await received(agent);
  buses.B.connect(false);
  await pass(2);
  expect(await received(caller)).toEqual([]);
  await pass(1);
  expect(codes(await received(caller))).toEqual(['NODE_GONE']);
  // Within the resume window its nodes may come back, so this is no NO_ROUTE.
  caller.call('math@fame.fabric', 'c2');
  expect(codes(await received(caller))).toEqual(['NODE_GONE']);
  const successor = C.attach('agent', OURS);
  await bind(successor, 'math@fame.fabric');
  await settle();
  caller.call('math@fame.fabric', 'c3');
  expect(await received(successor)).toMatchObject([{ corrId: 'c3' }]);
});

test('a sentinel without the bus serves its own nodes, reports its state, and reconnects', async () => {
  const { A, B, buses, pass } = await clusterOf(['A', 'B']);
  const near = A.attach('near', OURS);
  await bind(near, 'near@fame.fabric');
  const far = B.attach('far', OURS);
  await bind(far, 'far@fame.fabric');
  const caller = A.attach('caller', OURS);
  buses.A.connect(false);
  expect(A.cluster!.status).toMatchObject({ state: 'alone', reason: 'the test cut the connection' });
  await pass(4);
  caller.call('near@fame.fabric', 'c1');
  expect(await received(near)).toMatchObject([{ corrId: 'c1' }]);
  expect(codes(caller.call('far@fame.fabric', 'c2'))).toEqual(['NODE_BUSY']);
  buses.A.connect(true);
  await pass(2);
  expect(A.cluster!.status).toMatchObject({ state: 'connected', members: [{ id: 'B', path: '/B' }] });
  caller.call('far@fame.fabric', 'c3');
  expect(await received(far)).toMatchObject([{ corrId: 'c3' }]);
});

test('a short absence of the bus loses nothing', async () => {
  const { A, B, buses, pass } = await clusterOf(['A', 'B']);
  const agent = B.attach('agent', OURS);
  await bind(agent, 'math@fame.fabric');
  const caller = A.attach('caller', OURS);
  caller.call('math@fame.fabric', 'c0');
  await received(agent);
  buses.A.connect(false);
  for (let i = 1; i <= 10; i++) caller.call('math@fame.fabric', `c${i}`);
  await pass(1);
  expect(await received(agent)).toEqual([]);
  buses.A.connect(true);
  expect(
    (await received(agent)).flatMap(({ corrId, frame }) => (frame.type === 'Data' ? corrId : [])),
  ).toEqual(Array.from({ length: 10 }, (_, i) => `c${i + 1}`));
});

test('nodes of a pool at several sentinels share its messages, first those at the sentinel of the caller', async () => {
  const { A, B, C } = await clusterOf(['A', 'B', 'C']);
  const workers = [B, C].map((sentinel) => sentinel.attach('worker', OURS));
  for (const worker of workers) await bind(worker, 'work@*.fame.fabric');
  await settle();
  const caller = A.attach('caller', OURS);
  caller.call('work@a.fame.fabric', 'first');
  await settle();
  for (let i = 0; i < 40; i++) caller.call('work@a.fame.fabric', `c${i}`);
  await settle();
  const counts = workers.map(({ transport }) => transport.take().length);
  expect(counts[0]! + counts[1]!).toBe(41);
  expect(Math.min(...counts)).toBeGreaterThan(5);
  const own = A.attach('own', OURS);
  await bind(own, 'work@*.fame.fabric');
  caller.call('work@a.fame.fabric', 'near');
  expect(await received(own)).toMatchObject([{ corrId: 'near' }]);
});

test('a sentinel that drains takes no new calls of other sentinels', async () => {
  const { A, B } = await clusterOf(['A', 'B']);
  const agent = B.attach('agent', OURS);
  await bind(agent, 'math@fame.fabric');
  const caller = A.attach('caller', OURS);
  caller.call('math@fame.fabric', 'c1');
  const [request] = await received(agent);
  B.router.drain();
  B.cluster!.drain();
  await settle();
  caller.call('math@fame.fabric', 'c2');
  expect(codes(await received(caller))).toEqual(['NODE_BUSY']);
  agent.reply(request!, 42);
  expect(await received(caller)).toMatchObject([{ corrId: 'c1' }]);
  await B.cluster!.close();
  await settle();
  expect(A.cluster!.status.members).toEqual([]);
});

test('a node can be called by its path at another sentinel', async () => {
  const { A, B } = await clusterOf(['A', 'B']);
  const agent = B.attach('agent', OURS);
  await bind(agent, 'math@fame.fabric');
  const caller = A.attach('caller', OURS);
  caller.call('math@/B/agent', 'c1');
  expect(await received(agent)).toMatchObject([{ corrId: 'c1' }]);
  caller.call('math@/B/unknown', 'c2');
  expect(codes(await received(caller))).toEqual(['NO_ROUTE']);
});

test('a call by capabilities reaches a node at another sentinel that has all of them', async () => {
  const { A, B, C, clock } = await clusterOf(['A', 'B', 'C']);
  const advertise = (node: FakeNode, ...capabilities: string[]) =>
    node.send({ type: 'CapabilityAdvertise', address: 'able@fame.fabric', capabilities }, { corrId: 'adv' });
  const half = B.attach('half', OURS);
  await bind(half, 'able@fame.fabric');
  advertise(half, 'x.count');
  const whole = C.attach('whole', OURS);
  await bind(whole, 'other@fame.fabric');
  whole.send(
    { type: 'CapabilityAdvertise', address: 'other@fame.fabric', capabilities: ['x.count', 'x.add'] },
    { corrId: 'adv' },
  );
  await settle();
  whole.transport.take();
  const caller = A.attach('caller', OURS);
  const ask = (corrId: string, ...capabilities: string[]): Envelope[] =>
    caller.send(
      { type: 'Data', payload: { jsonrpc: '2.0', id: corrId, method: 'add', params: {} } },
      { capabilities, corrId, rtype: 2, replyTo: replyTo(caller) },
    );
  ask('c1', 'x.count', 'x.add');
  const [request] = await received(whole);
  expect(request).toMatchObject({ corrId: 'c1' });
  whole.reply(request!, 3);
  expect(await received(caller)).toMatchObject([{ corrId: 'c1', frame: { payload: { result: 3 } } }]);
  ask('c2', 'x.absent');
  expect(codes(await received(caller))).toEqual(['NO_ROUTE']);
  // The sentinels with the first capability answer that no node has both.
  ask('c3', 'x.count', 'x.absent');
  expect(await received(caller)).toEqual([]);
  clock.advance(1_000);
  expect(codes(await received(caller))).toEqual(['NO_ROUTE']);
  whole.lose(1000);
  await settle();
  ask('c4', 'x.add');
  expect(codes(await received(caller))).toEqual(['NO_ROUTE']);
});

test('a node cannot answer a call that another node received, at another sentinel', async () => {
  const { A, B } = await clusterOf(['A', 'B']);
  const agent = B.attach('agent', OURS);
  await bind(agent, 'math@fame.fabric');
  const stranger = B.attach('stranger', OURS);
  const caller = A.attach('caller', OURS);
  caller.call('math@fame.fabric', 'c1');
  const [request] = await received(agent);
  stranger.reply(request!, 'forged');
  expect(await received(caller)).toEqual([]);
  agent.reply(request!, 'true');
  expect(await received(caller)).toMatchObject([{ frame: { payload: { result: 'true' } } }]);
});

test('the callee learns the principal of a caller at another sentinel, with the roles of its key', async () => {
  const { A, B } = await clusterOf(['A', 'B']);
  const agent = B.attach('agent', OURS);
  await bind(agent, 'math@fame.fabric');
  const caller = A.attach('caller', { ...OURS, principal: { id: 'local', roles: ['admin'] } });
  caller.call('math@fame.fabric', 'c1');
  await received(agent);
  agent.send({ type: 'WhoIs', address: replyTo(caller), corrId: 'c1' }, { corrId: 'w', rtype: 1 });
  const answers = await received(agent);
  expect(answers.find(({ corrId }) => corrId === 'w')?.frame).toMatchObject({
    ok: true,
    principal: { id: 'local', roles: ['admin'] },
  });
});

test('the nodes of all sentinels are listed, in pages, and sentinels that do not answer are named', async () => {
  const { A, B, C, buses, clock } = await clusterOf(['A', 'B', 'C'], { maxSessions: 5_000 });
  for (let i = 0; i < 900; i++) B.attach(`node-${i}`, OURS);
  await bind(C.attach('agent', OURS), 'math@fame.fabric');
  const all = await A.cluster!.nodes();
  expect(all.missing).toEqual([]);
  const paths = [...all.lists.get('B')!.keys()];
  expect(paths).toEqual(Array.from({ length: 900 }, (_, i) => `/B/node-${i}`));
  const agent = JSON.parse(all.lists.get('C')!.get('/C/agent')!);
  expect(agent).toMatchObject({ path: '/C/agent', kind: 'node', addresses: ['math@fame.fabric'] });
  buses.C.connect(false);
  const rest = A.cluster!.nodes();
  await settle();
  clock.advance(2_000);
  expect(await rest).toMatchObject({ missing: ['C'] });
});

test('a node with many long names does not keep the nodes of its sentinel out of the list', async () => {
  const { A, B, pass, server } = await clusterOf(['A', 'B']);
  // A server of NATS refuses larger messages.
  server.loses = ({ payload }) => payload.length > 262_144;
  const long = B.attach('long', OURS);
  await bind(long, 'math@fame.fabric');
  for (let i = 0; i < 1_000; i++)
    B.bindings.advertise(`${'€'.repeat(250)}${i}`, 'math@fame.fabric', long.session);
  B.attach('other', OURS);
  const request = A.cluster!.nodes();
  await pass(3);
  const { lists, missing } = await request;
  expect(missing).toEqual([]);
  expect([...lists.get('B')!.keys()]).toEqual(['/B/long', '/B/other']);
});

test('the addresses of agents at other sentinels are listed, at most once a second, and a frozen sentinel delays no list for long', async () => {
  const { A, B, clock, server } = await clusterOf(['A', 'B', 'C']);
  const agent = B.attach('agent', OURS);
  await bind(agent, 'chat@*.fame.fabric');
  await bind(agent, 'chat-replica-0123456789abcdef@fame.fabric');
  const addresses = () => A.cluster!.addresses();
  const attach = agent.session.terms.epoch;
  expect(await addresses()).toEqual([{ address: 'chat@fame.fabric', attach }]);
  const count = server.published.length;
  await addresses();
  expect(server.published).toHaveLength(count);
  await bind(B.attach('other', OURS), 'math@fame.fabric');
  clock.advance(1_000);
  expect((await addresses()).map(({ address }) => address)).toEqual(['chat@fame.fabric', 'math@fame.fabric']);
  server.loses = ({ subject }) => subject.startsWith('fame.test.l.');
  clock.advance(1_000);
  const late = addresses();
  await settle();
  clock.advance(250);
  expect(await late).toHaveLength(2);
});

test('an administrator disconnects and drains nodes at other sentinels, and their sentinel records it', async () => {
  const events: object[] = [];
  const { A, B, buses, clock } = await clusterOf(['A', 'B'], {
    audit: { record: (event) => void events.push(event) },
  });
  const node = B.attach('node', OURS);
  events.length = 0;
  const action = { path: node.path, principal: 'ada', remote: '10.0.0.1' };
  const act = (name: 'Drain' | 'Disconnect', path = node.path) => A.cluster!.act({ ...action, name, path });
  expect(await act('Drain')).toEqual({ path: '/B/node', state: 'attached', isDraining: true });
  expect(node.session.isDraining).toBe(true);
  expect(await act('Disconnect')).toMatchObject({ state: 'gone' });
  const recorded = { outcome: 'allowed', principal: 'ada', path: '/B/node', remote: '10.0.0.1' };
  expect(events).toEqual([
    { ...recorded, action: 'Drain' },
    { ...recorded, action: 'Disconnect' },
  ]);
  expect(await act('Disconnect')).toBe('no node');
  expect(act('Disconnect', '/elsewhere/node')).toBeUndefined();
  // The link to another sentinel is no node.
  expect(act('Disconnect', '/B')).toBeUndefined();
  buses.B.connect(false);
  const unanswered = act('Drain');
  await settle();
  clock.advance(2_000);
  expect(await unanswered).toBe('no answer');
});

test('the status names sentinels whose link was lost, for 10 minutes, and none that stopped', async () => {
  const { A, B, buses, clock, pass } = await clusterOf(['A', 'B', 'C']);
  const lost = () => A.cluster!.status.lost.map(({ id }) => id);
  expect(lost()).toEqual([]);
  await B.cluster!.close();
  buses.C.connect(false);
  await pass(3);
  expect(lost()).toEqual(['C']);
  expect(A.cluster!.status.lost[0]).toMatchObject({ path: '/C', lostAt: clock.now() });
  buses.C.connect(true);
  await pass(5);
  expect(lost()).toEqual([]);
  buses.C.connect(false);
  await pass(4);
  expect(lost()).toEqual(['C']);
  clock.advance(600_000);
  expect(lost()).toEqual([]);
});

test('the live trace has the messages of all sentinels while it is read', async () => {
  const { A, B, server, pass } = await clusterOf(['A', 'B', 'C']);
  const agent = B.attach('agent', OURS);
  await bind(agent, 'math@fame.fabric');
  const caller = B.attach('caller', OURS);
  const entries: TraceEntry[] = [];
  const stop = A.cluster!.watch((batch) => entries.push(...batch));
  await settle();
  caller.call('math@fame.fabric', 'c1');
  await pass(1);
  expect(entries).toMatchObject([
    { dir: 'forward', from: '/B/caller', via: '/B/agent', corrId: 'c1', sentinel: '/B' },
  ]);
  stop();
  await pass(4);
  expect(B.trace.isActive).toBe(false);
  const count = server.published.length;
  caller.call('math@fame.fabric', 'c2');
  await settle();
  expect(entries).toHaveLength(1);
  expect(server.published).toHaveLength(count);
});

describe('exclusive addresses', () => {
  const ADA: Principal = { id: 'ada', roles: ['agent'] };
  const CAROL: Principal = { id: 'carol', roles: ['agent'] };
  const BOB: Principal = { id: 'bob', roles: ['agent'] };

  test('a live owner keeps its address against nodes at other sentinels', async () => {
    const { A, B } = await clusterOf(['A', 'B']);
    const owner = A.attach('owner', { ...OURS, principal: ADA });
    expect(await bind(owner, 'chat@fame.fabric')).toBeUndefined();
    const rival = B.attach('rival', { ...OURS, principal: BOB });
    expect(await bind(rival, 'chat@fame.fabric')).toBe('ADDRESS_IN_USE');
    const twin = B.attach('twin', { ...OURS, principal: ADA });
    expect(await bind(twin, 'chat@fame.fabric')).toBe('ADDRESS_IN_USE');
    expect(A.bindings.ownOwner('chat@fame.fabric')).toBe(owner.session);
  });

  test('of two claims at the same time one is granted', async () => {
    const { A, B, C } = await clusterOf(['A', 'B', 'C']);
    const nodes = [A, B, C].map((sentinel) => sentinel.attach('agent', { ...OURS, principal: ADA }));
    for (const node of nodes) requestBind(node, 'chat@fame.fabric');
    await settle();
    A.clock.advance(100);
    const results = await Promise.all(nodes.map(bindResult));
    expect(results.toSorted()).toEqual(['ADDRESS_IN_USE', 'ADDRESS_IN_USE', undefined]);
  });

  test('during the resume window the same key takes the address over, and another one waits', async () => {
    const { A, B, C, clock } = await clusterOf(['A', 'B', 'C']);
    const owner = A.attach('owner', { ...OURS, principal: ADA });
    await bind(owner, 'chat@fame.fabric');
    owner.lose();
    const rival = B.attach('rival', { ...OURS, principal: BOB });
    expect(await bind(rival, 'chat@fame.fabric')).toBe('waits');
    const successor = C.attach('successor', { ...OURS, principal: ADA });
    expect(await bind(successor, 'chat@fame.fabric')).toBe('waits');
    clock.advance(100);
    expect(await bindResult(successor)).toBeUndefined();
    expect(A.bindings.ownOwner('chat@fame.fabric')).toBeUndefined();
    expect(await bindResult(rival)).toBe('ADDRESS_IN_USE');
    const caller = B.attach('caller', OURS);
    caller.call('chat@fame.fabric', 'c1');
    expect(await received(successor)).toMatchObject([{ corrId: 'c1' }]);
  });

  test('an address belongs to its key for a while after its node has left', async () => {
    const { A, B, pass } = await clusterOf(['A', 'B']);
    const owner = A.attach('owner', { ...OURS, principal: ADA });
    await bind(owner, 'chat@fame.fabric');
    owner.lose(1000);
    const rival = B.attach('rival', { ...OURS, principal: BOB });
    expect(await bind(rival, 'chat@fame.fabric')).toBe('ADDRESS_IN_USE');
    await pass(62);
    expect(await bind(rival, 'chat@fame.fabric')).toBeUndefined();
  });

  test('the address of a sentinel that left is free', async () => {
    const { A, B, buses } = await clusterOf(['A', 'B']);
    const owner = A.attach('owner', { ...OURS, principal: ADA });
    await bind(owner, 'chat@fame.fabric');
    buses.A.connect(false);
    const rival = B.attach('rival', { ...OURS, principal: BOB });
    expect(await bind(rival, 'chat@fame.fabric')).toBeUndefined();
  });

  test('a sentinel that does not answer loses the address after its silence and the resume window', async () => {
    const { A, B, server, pass } = await clusterOf(['A', 'B']);
    const owner = A.attach('owner', { ...OURS, principal: ADA });
    await bind(owner, 'chat@fame.fabric');
    // A frozen sentinel stays subscribed, and nothing of it arrives.
    server.loses = ({ subject }) => subject.startsWith('fame.test.i.');
    const rival = B.attach('rival', { ...OURS, principal: BOB });
    expect(await bind(rival, 'chat@fame.fabric')).toBe('waits');
    await pass(7);
    expect(await bindResult(rival)).toBe('waits');
    await pass(1);
    expect(await bindResult(rival)).toBeUndefined();
    // The announcement of the new owner reaches the old one, which gives the address up.
    await settle();
    expect(owner.transport.closed).toMatchObject({ code: 1012 });
  });

  test('of two owners after an absence of the bus the older one stays', async () => {
    const { A, B, buses, clock, pass } = await clusterOf(['A', 'B']);
    const first = A.attach('first', { ...OURS, principal: ADA });
    await bind(first, 'chat@fame.fabric');
    buses.A.connect(false);
    clock.advance(1_000);
    const second = B.attach('second', { ...OURS, principal: BOB });
    expect(await bind(second, 'chat@fame.fabric')).toBeUndefined();
    buses.A.connect(true);
    await pass(2);
    expect(second.transport.closed).toMatchObject({ code: 1012 });
    expect(first.transport.closed).toBeUndefined();
    expect(A.bindings.ownOwner('chat@fame.fabric')).toBe(first.session);
  });

  test('a node that repeats a bind while it waits gets an ack for each, the oldest ones at once', async () => {
    const { A, B, pass } = await clusterOf(['A', 'B']);
    const owner = A.attach('owner', { ...OURS, principal: ADA });
    await bind(owner, 'chat@fame.fabric');
    owner.lose();
    const rival = B.attach('rival', { ...OURS, principal: BOB });
    for (let i = 0; i < 6; i++) requestBind(rival, 'chat@fame.fabric');
    await settle();
    const refused = rival.transport.take().map(({ frame }) => (frame as AddressBindAck).code);
    expect(refused).toEqual(['ADDRESS_IN_USE', 'ADDRESS_IN_USE']);
    await pass(20);
    expect(rival.transport.take().map(({ frame }) => frame.type)).toEqual(Array(4).fill('AddressBindAck'));
  });

  test('a pool of nodes with a key at another sentinel leaves no address of it to strangers', async () => {
    const { A, B, C, clock } = await clusterOf(['A', 'B', 'C']);
    const early = C.attach('early', OURS);
    requestBind(early, 'chat@fame.fabric');
    expect(await bindResult(early)).toBeUndefined();
    const replica = A.attach('replica', { ...OURS, principal: ADA });
    expect(await bind(replica, 'chat@*.fame.fabric')).toBeUndefined();
    const stranger = B.attach('stranger', OURS);
    for (const address of ['chat@fame.fabric', 'chat@eu.fame.fabric'])
      expect(await bind(stranger, address)).toBe('ADDRESS_IN_USE');
    const other = B.attach('other', { ...OURS, principal: BOB });
    requestBind(other, 'chat@eu.fame.fabric');
    await settle();
    clock.advance(100);
    expect(await bindResult(other)).toBeUndefined();
    C.attach('caller', OURS).call('chat@fame.fabric', 'c1');
    expect(await received(replica)).toMatchObject([{ corrId: 'c1' }]);
  });

  describe('with a table of owners', () => {
    const withOwners = async () => {
      const clock = new ManualClock();
      const store = new MemoryOwnerStore(clock);
      return { store, ...(await clusterOf(['A', 'B', 'C'], { clock, store })) };
    };

    test('the address of a lost sentinel stays reserved for its key', async () => {
      const { A, B, C, buses, clock, pass } = await withOwners();
      await bind(A.attach('owner', { ...OURS, principal: ADA }), 'chat@fame.fabric');
      buses.A.connect(false);
      const rival = B.attach('rival', { ...OURS, principal: BOB });
      expect(await bind(rival, 'chat@fame.fabric')).toBe('waits');
      await pass(7);
      expect(await bindResult(rival)).toBe('waits');
      // Neither a claim that waits nor its wait reserves the address.
      const another = C.attach('another', { ...OURS, principal: CAROL });
      expect(await bind(another, 'chat@fame.fabric')).toBe('waits');
      clock.advance(100);
      expect(await bindResult(another)).toBe('waits');
      const successor = C.attach('successor', { ...OURS, principal: ADA });
      await pass(3);
      expect(await bindResult(rival)).toBe('ADDRESS_IN_USE');
      expect(await bindResult(another)).toBe('ADDRESS_IN_USE');
      expect(await bind(successor, 'chat@fame.fabric')).toBeUndefined();
    });

    test('the key of a lost sentinel gets its address while another claim waits', async () => {
      const { A, B, C, buses, clock } = await withOwners();
      await bind(A.attach('owner', { ...OURS, principal: ADA }), 'chat@fame.fabric');
      buses.A.connect(false);
      const rival = B.attach('rival', { ...OURS, principal: BOB });
      expect(await bind(rival, 'chat@fame.fabric')).toBe('waits');
      const successor = C.attach('successor', { ...OURS, principal: ADA });
      requestBind(successor, 'chat@fame.fabric');
      await settle();
      clock.advance(100);
      expect(await bindResult(successor)).toBeUndefined();
      clock.advance(1_000);
      expect(await bindResult(rival)).toBe('ADDRESS_IN_USE');
    });

    test('the address of a lost sentinel without a key is free after the resume window', async () => {
      const { A, B, buses, pass } = await withOwners();
      await bind(A.attach('owner', OURS), 'chat@fame.fabric');
      buses.A.connect(false);
      const rival = B.attach('rival', { ...OURS, principal: BOB });
      expect(await bind(rival, 'chat@fame.fabric')).toBe('waits');
      await pass(7);
      expect(await bindResult(rival)).toBe('waits');
      await pass(4);
      expect(await bindResult(rival)).toBeUndefined();
    });

    test('an address that a node gave up is free', async () => {
      const { A, B, store, pass } = await withOwners();
      const owner = A.attach('owner', OURS);
      await bind(owner, 'chat@fame.fabric');
      expect(store.entries.get('chat@fame.fabric')?.record).toMatchObject({ sentinel: 'A' });
      owner.lose(1000);
      await pass(1);
      expect(store.entries.get('chat@fame.fabric')?.record).toBeUndefined();
      expect(await bind(B.attach('next', { ...OURS, principal: BOB }), 'chat@fame.fabric')).toBeUndefined();
    });

    test('a record that no sentinel answers for is replaced', async () => {
      const { B, store, pass } = await withOwners();
      store.entries.set('chat@fame.fabric', {
        record: { sentinel: 'A', principal: 'anonymous', epoch: 1 },
        revision: 1,
      });
      const next = B.attach('next', { ...OURS, principal: BOB });
      expect(await bind(next, 'chat@fame.fabric')).toBe('waits');
      await pass(1);
      expect(await bindResult(next)).toBeUndefined();
      expect(store.entries.get('chat@fame.fabric')?.record).toMatchObject({
        sentinel: 'B',
        principal: 'bob',
      });
    });

    test('a wiped table is written again', async () => {
      const { A, B, store, pass } = await withOwners();
      await bind(A.attach('one', OURS), 'one@fame.fabric');
      await bind(B.attach('two', OURS), 'two@fame.fabric');
      store.wipe();
      await pass(2);
      expect(
        [...store.entries].map(([address, { record }]) => [address, record?.sentinel]).toSorted(),
      ).toEqual([
        ['one@fame.fabric', 'A'],
        ['two@fame.fabric', 'B'],
      ]);
    });

    test('without the table a sentinel asks the others, and logs a warning', async () => {
      const { A, B, store, pass } = await withOwners();
      expect(A.cluster!.status.recordsOwners).toBe(true);
      store.isAvailable = false;
      await pass(2);
      expect(A.cluster!.status.recordsOwners).toBe(false);
      expect(A.log.messages('warn')).toContainEqual(expect.stringMatching(/^JetStream is not available/));
      await bind(A.attach('owner', { ...OURS, principal: ADA }), 'chat@fame.fabric');
      const rival = B.attach('rival', { ...OURS, principal: BOB });
      expect(await bind(rival, 'chat@fame.fabric')).toBe('ADDRESS_IN_USE');
      store.isAvailable = true;
      await pass(2);
      expect(store.entries.get('chat@fame.fabric')?.record).toMatchObject({ sentinel: 'A' });
    });
  });

  test('a node with the key does not wait behind a claim of another node at the same sentinel', async () => {
    const clock = new ManualClock();
    const store = new MemoryOwnerStore(clock);
    const { A, B, buses, pass } = await clusterOf(['A', 'B'], { clock, store });
    await bind(A.attach('owner', { ...OURS, principal: ADA }), 'chat@fame.fabric');
    buses.A.connect(false);
    const rival = B.attach('rival', { ...OURS, principal: BOB });
    expect(await bind(rival, 'chat@fame.fabric')).toBe('waits');
    const successor = B.attach('successor', { ...OURS, principal: ADA });
    expect(await bind(successor, 'chat@fame.fabric')).toBeUndefined();
    await pass(18);
    expect(await bindResult(rival)).toBe('ADDRESS_IN_USE');
    expect(B.bindings.ownOwner('chat@fame.fabric')).toBe(successor.session);
  });

  test('claims that wait count towards the limit of addresses', async () => {
    const { A, server } = await clusterOf(['A', 'B'], { maxAddressesPerNode: 4 });
    server.loses = ({ subject }) => subject.startsWith('fame.test.i.') || subject.startsWith('fame.test.c.');
    const node = A.attach('node', { ...OURS, principal: ADA });
    const refused: unknown[] = [];
    for (let i = 0; i < 6; i++) {
      const envelopes = node.send(
        { type: 'AddressBind', address: `a${i}@fame.fabric` },
        { corrId: `b${i}`, rtype: 1, replyTo: `__sys__@${node.path}` },
      );
      refused.push(...envelopes.map(({ frame }) => (frame as AddressBindAck).code));
    }
    expect(refused).toEqual(['QUOTA_EXCEEDED', 'QUOTA_EXCEEDED']);
  });

  test('a pool of nodes with a key is closed to strangers at all sentinels', async () => {
    const { A, B, C } = await clusterOf(['A', 'B', 'C']);
    const early = B.attach('early', OURS);
    expect(await bind(early, 'chat@*.fame.fabric')).toBeUndefined();
    const replica = A.attach('replica', { ...OURS, principal: ADA });
    expect(await bind(replica, 'chat@*.fame.fabric')).toBeUndefined();
    await settle();
    const late = C.attach('late', OURS);
    requestBind(late, 'chat@*.fame.fabric');
    await settle();
    expect(await bindResult(late)).toBe('ADDRESS_IN_USE');
    expect(await bind(C.attach('second', { ...OURS, principal: ADA }), 'chat@*.fame.fabric')).toBeUndefined();
    // The stranger that joined first gets no more calls, not even from its own sentinel.
    const caller = B.attach('caller', OURS);
    for (let i = 0; i < 10; i++) caller.call('chat@fame.fabric', `c${i}`);
    await settle();
    expect(early.transport.take().filter(({ frame }) => frame.type === 'Data')).toEqual([]);
    expect(codes(await received(caller))).toEqual([]);
  });

  test('without the bus a node gets its address at once', async () => {
    const { A, buses } = await clusterOf(['A', 'B']);
    buses.A.connect(false);
    const owner = A.attach('owner', { ...OURS, principal: ADA });
    owner.bind('chat@fame.fabric');
  });

  test('a node that lost its connection while the cluster decided gets nothing', async () => {
    const { A, B } = await clusterOf(['A', 'B']);
    const owner = A.attach('owner', { ...OURS, principal: ADA });
    requestBind(owner, 'chat@fame.fabric');
    owner.lose(1000);
    await settle();
    expect(A.bindings.ownOwner('chat@fame.fabric')).toBeUndefined();
    const next = B.attach('next', { ...OURS, principal: BOB });
    requestBind(next, 'chat@fame.fabric');
    await settle();
    B.clock.advance(100);
    expect(await bindResult(next)).toBeUndefined();
  });
});
