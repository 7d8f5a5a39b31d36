// A primary with a standby, and a store whose URL names both. The primary stops, does not answer, or is replaced by a standby without
// its last commits.
import { type AgentStore, type ConversationStore, openDatabaseStore } from '@fame-fabric/agents/internal';
import { pieces } from '@fame-fabric/agents/testing';
import { newId } from '@fame-fabric/shared';
import { afterEach, describe, expect, inject, test } from 'vitest';
import { PostgresServer } from '../../kit/postgres.ts';
import { startOurSentinel } from '../../kit/sentinel.ts';
import { CHAT, lastUserText, openClient, pause, startAgent, startModel, stopStack } from '../../kit/stack.ts';
import { TcpProxy } from '../../kit/tcp-proxy.ts';

const LEASE = 60_000;
/** Longest time from the end of the primary to the next accepted turn, in ms. */
const FAILOVER_MS = 10_000;

const closing: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function startPair(isSynchronous: boolean) {
  const primary = await PostgresServer.start();
  closing.push(() => primary.close());
  const proxy = await TcpProxy.to(primary.port);
  closing.push(() => proxy.close());
  const standby = await primary.startStandby(proxy.port);
  closing.push(() => standby.close());
  await expect.poll(() => primary.sql('SELECT state FROM pg_stat_replication')).toEqual(['streaming']);
  if (isSynchronous) primary.waitForStandby();
  const url = primary.tcpUrl(primary.port, standby.port);
  return { primary, proxy, standby, url };
}

async function openAt(url: string): Promise<ConversationStore & AgentStore> {
  const store = await openDatabaseStore(url);
  closing.push(() => store.close());
  return store;
}

const started = { kind: 'conversation_started' as const, at: 1, body: {} };
async function begin(store: ConversationStore, id: string) {
  await store.create({ id, agent: 'a@fame.fabric', startCallId: id, historyTurns: 10, totals: {}, started });
  return (await store.acquire(id, LEASE))!.fence;
}

const turn = (turnId: string) => [
  { kind: 'turn_accepted' as const, at: 1, turnId, body: { user_message: turnId } },
  { kind: 'turn_completed' as const, at: 2, turnId, body: { in_history: true } },
];

/** Appends turns to some conversations until `end`. Notes the times and the ids of the accepted ones. */
async function startLoad(store: ConversationStore) {
  const ids = ['a', 'b', 'c', 'd'];
  const accepted = new Map<string, string[]>(ids.map((id) => [id, []]));
  const faults: unknown[] = [];
  const times: number[] = [];
  let isOver = false;
  const running = ids.map(async (conversationId) => {
    const fence = await begin(store, conversationId);
    for (let after = 1; !isOver; after += 2) {
      const turnId = `t${after}`;
      await store.append({ conversationId, fence, after, events: turn(turnId), leaseMs: LEASE });
      accepted.get(conversationId)!.push(turnId);
      times.push(performance.now());
    }
  });
  const done = Promise.all(running).catch((error) => faults.push(error));
  return {
    times,
    /** Waits until each conversation has two more turns. */
    async next(): Promise<void> {
      const wanted = [...accepted.values()].map((turns) => ({ turns, count: turns.length + 2 }));
      const isDone = () => wanted.every(({ turns, count }) => turns.length >= count);
      await expect.poll(() => isDone() || faults.length > 0, { timeout: 30_000 }).toBe(true);
      expect(faults).toEqual([]);
    },
    async end(): Promise<typeof accepted> {
      isOver = true;
      await done;
      expect(faults).toEqual([]);
      return accepted;
    },
  };
}

async function turnsOf(store: ConversationStore, id: string): Promise<(string | undefined)[]> {
  const events = await store.read(id, { limit: 100_000 });
  expect(events.map(({ seq }) => seq)).toEqual(events.map((_, i) => i + 1));
  return events.filter(({ kind }) => kind === 'turn_accepted').map(({ turnId }) => turnId);
}

describe.skipIf(inject('postgres').reason !== undefined)('failover to a synchronous standby', () => {
  test('a primary that does not answer any more: the store keeps every accepted turn once, and continues', async () => {
    const { primary, standby, url } = await startPair(true);
    const store = await openAt(url);
    const load = await startLoad(store);
    await load.next();
    const endedAt = performance.now();
    primary.signal('SIGSTOP');
    standby.promote();
    await load.next();
    const accepted = await load.end();
    const outageMs = longestGap(load.times, endedAt);
    console.info(`no turn was accepted for ${Math.round(outageMs)} ms`);
    for (const [id, turns] of accepted) expect(await turnsOf(store, id)).toEqual(turns);
    expect(outageMs).toBeLessThan(FAILOVER_MS);
    await primary.kill();
  });

  test('a primary that stops: replicas lose no turn and fail none', async () => {
    const { primary, standby, url } = await startPair(true);
    const { client, model } = await startAgents(url, 2);
    const failed: unknown[] = [];
    const answeredAt: number[] = [];
    let isOver = false;
    const talk = async (): Promise<{ id: string; sent: string[] }> => {
      const conversation = client.conversation(CHAT);
      const sent: string[] = [];
      while (!isOver) {
        const [turnId, text] = [newId(), `${conversation.id} ${sent.length}`];
        sent.push(turnId);
        const answer = await conversation.ask(text, { turnId }).catch(String);
        if (answer !== answerTo(text)) failed.push(answer);
        answeredAt.push(performance.now());
      }
      return { id: conversation.id, sent };
    };
    const talking = Array.from({ length: 8 }, talk);
    const another = async (): Promise<void> => {
      const { length } = answeredAt;
      await expect.poll(() => answeredAt.length).toBeGreaterThan(length + 8);
    };
    await another();
    const endedAt = performance.now();
    await primary.stopNow();
    standby.promote();
    await another();
    isOver = true;
    const conversations = await Promise.all(talking);
    const outageMs = longestGap(answeredAt, endedAt);
    console.info(`no turn ended for ${Math.round(outageMs)} ms; ${answeredAt.length} turns`);
    expect(failed).toEqual([]);
    const store = await openAt(url);
    for (const { id, sent } of conversations) expect(await turnsOf(store, id)).toEqual(sent);
    expect(model.violations).toEqual([]);
    expect(outageMs).toBeLessThan(FAILOVER_MS);
  });
});

/** Longest time between two of `times` that ends after `at`. */
const longestGap = (times: readonly number[], at: number): number =>
  Math.max(...times.map((time, i) => (time > at && i > 0 ? time - times[i - 1]! : 0)));

const answerTo = (text: string): string => `An answer to ${text}: ${'and so on, '.repeat(4)}done.`;

/** A sentinel, replicas of the chat agent with a slow model, and a client. */
async function startAgents(storeUrl: string, replicas: number) {
  closing.push(stopStack);
  const model = await startModel({
    respond: (request) => pieces(answerTo(lastUserText(request)), 8).flatMap((piece) => [piece, pause(20)]),
  });
  const { url } = await startOurSentinel();
  const env = { FAME_CHAT_ADDRESS: 'chat@*.fame.fabric', FAME_STORE_URL: storeUrl };
  await Promise.all(Array.from({ length: replicas }, () => startAgent(url, { model, env })));
  return { client: await openClient(url), model };
}

/** Waits until the standby has every commit of its primary. */
const caughtUp = (primary: PostgresServer): Promise<void> =>
  expect
    .poll(() => primary.sql('SELECT replay_lsn = pg_current_wal_lsn() FROM pg_stat_replication'))
    .toEqual(['t']);

describe.skipIf(inject('postgres').reason !== undefined)('with a standby that is cut off', () => {
  test('a commit is not acknowledged before a synchronous standby has it, also after a crash of the primary', async () => {
    const { primary, proxy, url } = await startPair(true);
    const store = await openAt(url);
    const fence = await begin(store, 'c');
    proxy.hold('down');
    let isAccepted = false;
    const events = turn('t');
    const appending = store
      .append({ conversationId: 'c', fence, after: 1, events, leaseMs: LEASE })
      .then(() => {
        isAccepted = true;
      });
    const waiting = () => primary.sql(`SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`);
    await expect.poll(waiting).not.toEqual(['0']);
    await primary.stopNow();
    await primary.resume();
    await expect.poll(() => primary.sql('SELECT turn_id FROM fame.turn')).toEqual(['t']);
    await expect.poll(waiting).not.toEqual(['0']);
    expect(isAccepted).toBe(false);
    proxy.release('down');
    await appending;
    expect(await turnsOf(store, 'c')).toEqual(['t']);
  });

  test('a failover without the last commits leaves the earlier state, and turns continue from there', async () => {
    const { primary, proxy, standby, url } = await startPair(false);
    const store = await openAt(url);
    const fence = await begin(store, 'c');
    const append = (turnId: string, after: number) =>
      store.append({ conversationId: 'c', fence, after, events: turn(turnId), leaseMs: LEASE });
    await append('kept', 1);
    await caughtUp(primary);
    proxy.hold('down');
    await append('lost', 3);
    await begin(store, 'new');
    await primary.stopNow();
    standby.promote();
    expect(await turnsOf(store, 'c')).toEqual(['kept']);
    expect(await store.record('new')).toBeUndefined();
    await expect(append('late', 5)).rejects.toMatchObject({
      code: 'STORE_CONFLICT',
      details: { lastSeq: 3 },
    });
    await append('next', 3);
    expect(await turnsOf(store, 'c')).toEqual(['kept', 'next']);
  });

  test('after a failover without the last commits an agent continues, and a lost turn can be sent again', async () => {
    const { primary, proxy, standby, url } = await startPair(false);
    const { client, model } = await startAgents(url, 1);
    const [kept, idle, lost] = [
      client.conversation(CHAT),
      client.conversation(CHAT),
      client.conversation(CHAT),
    ];
    await kept.ask('one');
    await idle.start();
    await caughtUp(primary);
    proxy.hold('down');
    const turnId = newId();
    await kept.ask('two', { turnId });
    await lost.ask('one');
    // The standby never receives the acceptance of this turn.
    const running = idle.ask('running');
    await expect.poll(() => model.requests.length).toBe(4);
    const endedAt = performance.now();
    await primary.stopNow();
    standby.promote();
    expect(await running).toBe(answerTo('running'));
    expect(await kept.ask('three')).toBe(answerTo('three'));
    console.info(`turns went on after ${Math.round(performance.now() - endedAt)} ms`);
    expect(model.requests.at(-1)!.body.messages.map(({ content }) => content)).toEqual([
      expect.any(String),
      'one',
      answerTo('one'),
      'three',
    ]);
    expect(await kept.ask('two', { turnId })).toBe(answerTo('two'));
    await expect(lost.ask('more')).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
    const store = await openAt(url);
    const of = async (id: string) => (await turnsOf(store, id)).length;
    expect([await of(kept.id), await of(idle.id)]).toEqual([3, 1]);
  });
});
