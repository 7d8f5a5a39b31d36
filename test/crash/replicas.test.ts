// Replicas of an agent over one store, on a fabric in memory: real links and the real router, with each store that several processes can
// share. Each test chooses the replica that a call reaches; callers of the shared address reach any of them.
import { ChatAgent, ToolSet, tool } from '@fame-fabric/agents';
import {
  type ConversationStore,
  MemoryStore,
  openDatabaseStore,
  replicaAddressOf,
  signedCall,
  verifiedCall,
} from '@fame-fabric/agents/internal';
import { callTools, gate, type ScriptedModel, scriptedModel } from '@fame-fabric/agents/testing';
import { type MemorySentinel, startMemorySentinel } from '@fame-fabric/sentinel/memory';
import { FabricError, isFabricError, Link, newId } from '@fame-fabric/shared';
import { afterEach, beforeAll, describe, expect, inject, test } from 'vitest';
import { z } from 'zod';

const CHAT = 'chat@fame.fabric';
const POOL = 'chat@*.fame.fabric';
const forever = Number.POSITIVE_INFINITY;

type Event = Record<string, unknown> & { type: string; seq: number };

/** A replica with a link and a model of its own. */
class Replica {
  readonly link: Link;
  readonly store: ConversationStore;
  readonly model: ScriptedModel;
  readonly sent: string[] = [];
  #serving: Awaited<ReturnType<ChatAgent['serve']>> | undefined;

  constructor(link: Link, store: ConversationStore) {
    this.link = link;
    this.store = store;
    this.model = scriptedModel([]);
  }

  async serve(): Promise<void> {
    const send = tool({
      name: 'send',
      description: 'Sends a message.',
      parameters: z.object({ to: z.string() }),
      approval: 'always',
      execute: ({ to }) => {
        this.sent.push(to);
        return `sent to ${to}`;
      },
    });
    const agent = new ChatAgent({
      address: POOL,
      model: this.model,
      store: this.store,
      tools: new ToolSet([send]),
    });
    this.#serving = await agent.serve(this.link);
  }

  /** Address of the agent at this replica. */
  get here(): string {
    return `chat@${this.link.path}`;
  }

  drain(ms: number): Promise<void> {
    return this.#serving!.drain(ms);
  }

  /** Ends as a killed process does: its link and its store are gone, and nothing is released. */
  async kill(): Promise<void> {
    await this.store.close();
    await this.link.close();
  }

  async stop(): Promise<void> {
    await this.#serving?.close().catch(() => {});
    await this.link.close();
    await this.store.close();
  }
}

const postgres = inject('postgres');
let schemas = 0;

/** Opens a store that shares its conversations with those that `open` has returned for the same key. */
interface Kind {
  name: string;
  isMissing: boolean;
  open(others: readonly ConversationStore[], key: string): Promise<ConversationStore>;
}

const KINDS: readonly Kind[] = [
  {
    name: 'in memory',
    isMissing: false,
    open: async ([first]) => new MemoryStore({ sharedWith: first as MemoryStore | undefined }),
  },
  {
    name: 'in PostgreSQL',
    isMissing: postgres.reason !== undefined,
    open: (_, schema) => openDatabaseStore(postgres.url ?? '', { schema }),
  },
];

class Bench {
  readonly #kind: Kind;
  readonly #sentinel: MemorySentinel = startMemorySentinel();
  readonly replicas: Replica[] = [];
  client!: Link;

  async #link(): Promise<Link> {
    const link = new Link({ url: 'memory://test', dial: this.#sentinel.dial });
    await link.connect();
    return link;
  }

  constructor(kind: Kind) {
    this.#kind = kind;
  }

  async open(count: number): Promise<void> {
    this.client = await this.#link();
    schemas += 1;
    const key = `replicas_${schemas}`;
    for (let n = 0; n < count; n++) {
      const stores = this.replicas.map(({ store }) => store);
      const replica = new Replica(await this.#link(), await this.#kind.open(stores, key));
      this.replicas.push(replica);
      await replica.serve();
    }
  }

  /** A conversation with a turn that runs at a replica, at a gate in the middle of its text. */
  async running(at: Replica, turnId = 't') {
    const held = gate();
    const conversation_id = newId();
    at.model.push(['Hello ', held, 'world']);
    await this.client.call(at.here, 'start_task', { id: conversation_id });
    const params = { conversation_id, user_message: 'Hi', turn_id: turnId };
    const first = this.client.call(at.here, 'run_turn', params, { timeoutMs: 60_000 });
    first.catch(() => {});
    await held.reached;
    return { id: conversation_id, params, held, first };
  }

  async close(): Promise<void> {
    await Promise.all(this.replicas.map((replica) => replica.stop()));
    await this.client.close();
    this.#sentinel.close();
  }
}

const benches: Bench[] = [];
let kind = KINDS[0]!;
async function replicas(count = 2) {
  const bench = new Bench(kind);
  benches.push(bench);
  await bench.open(count);
  const [a, b, c] = bench.replicas as [Replica, Replica, Replica];
  return { bench, a, b, c, client: bench.client };
}
afterEach(async () => {
  for (const bench of benches.splice(0)) await bench.close();
});

/** Reads a stream to its end. */
async function all(items: AsyncIterable<unknown>, onItem: (event: Event) => void = () => {}) {
  const events: Event[] = [];
  for await (const item of items) {
    events.push(item as Event);
    onItem(item as Event);
  }
  return events;
}

const textOf = (events: readonly Event[]): string => {
  let text = '';
  for (const event of events) {
    if (event.type === 'text') text += event.text;
    if (event.type === 'restart') text = text.slice(0, event.keep as number);
  }
  return text;
};
const rising = (events: readonly Event[]): boolean =>
  events.every(({ seq }, n) => n === 0 || seq > events[n - 1]!.seq);

describe.each(KINDS)('$name', (one) => {
  beforeAll(() => {
    kind = one;
  });

  describe.skipIf(one.isMissing)('replicas', () => {
    describe('a conversation that another replica holds', () => {
      test('answers turns at every replica, one after the other', async () => {
        const { a, b, c, client } = await replicas(3);
        const conversation_id = newId();
        for (const replica of [a, b, c]) {
          replica.model.push({ steps: ['an answer'], times: forever });
        }
        await client.call(a.here, 'start_task', { id: conversation_id });
        for (const [n, replica] of [a, b, c, a, c, b].entries()) {
          const params = { conversation_id, user_message: `message ${n}`, turn_id: `t${n}` };
          const result =
            n % 2 === 0
              ? await client.call(replica.here, 'run_turn', params)
              : (await all(client.stream(replica.here, 'run_turn_stream', params))).at(-1)!.text;
          expect(result).toBe('an answer');
        }
        // An idle conversation is free, so its next turn runs where it arrives, with the whole history.
        expect([a, b, c].map(({ model }) => model.requests.length)).toEqual([2, 2, 2]);
        expect(b.model.requests.at(-1)!.messages).toHaveLength(12);
      });

      test('joins a running turn, and returns the outcome of an ended one', async () => {
        const { bench, a, b, client } = await replicas();
        const { params, held, first } = await bench.running(a);
        const events = all(client.stream(b.here, 'run_turn_stream', params));
        const joined = client.call(b.here, 'run_turn', params);
        held.open();
        expect(await first).toBe('Hello world');
        expect(await joined).toBe('Hello world');
        expect(textOf(await events)).toBe('Hello world');
        expect(rising(await events)).toBe(true);
        const again = await client.call(b.here, 'run_turn', { ...params, answer: 'outcome' });
        expect(again).toMatchObject({ turn_id: 't', state: 'completed', text: 'Hello world' });
        await expect(
          client.call(b.here, 'run_turn', { ...params, user_message: 'Other' }),
        ).rejects.toMatchObject({ code: 'TURN_CONFLICT' });
        expect(a.model.requests).toHaveLength(1);
      });

      test('is cancelled from another replica, up to the request to the model', async () => {
        const { bench, a, b, client } = await replicas();
        const { id, params } = await bench.running(a);
        const events = all(client.stream(b.here, 'run_turn_stream', params));
        expect(await client.call(b.here, 'cancel_turn', { conversation_id: id })).toBe(true);
        expect((await events).at(-1)).toMatchObject({ type: 'error', code: 'TURN_CANCELLED' });
        await expect.poll(() => a.model.calls[0]!.state).toBe('aborted');
        expect(await client.call(b.here, 'cancel_turn', { conversation_id: id, turn_id: 't' })).toBe(false);
      });

      test('is cancelled by the only caller that leaves, and not by a lost connection', async () => {
        const { a, b, client } = await replicas();
        const report = (id: string) =>
          client.call(b.here, 'get_turn', { conversation_id: id, turn_id: 't' }) as Promise<{
            state: string;
          }>;
        for (const onLeave of ['continue', 'cancel'] as const) {
          const held = gate();
          const conversation_id = newId();
          a.model.push(['Hello ', held, 'world']);
          await client.call(a.here, 'start_task', { id: conversation_id });
          const params = { conversation_id, user_message: 'Hi', turn_id: 't' };
          const holder = client.stream(a.here, 'run_turn_stream', params, { onLeave: 'continue' });
          await holder.next();
          const passed = client.stream(b.here, 'run_turn_stream', params, { onLeave });
          await passed.next();
          await holder.return!();
          await passed.return!();
          if (onLeave === 'cancel')
            await expect.poll(async () => (await report(conversation_id)).state).toBe('cancelled');
          else expect((await report(conversation_id)).state).toBe('open');
          held.open();
        }
      });

      test('takes answers to approvals at another replica', async () => {
        const { a, b, client } = await replicas();
        const conversation_id = newId();
        a.model.push(callTools({ name: 'send', arguments: { to: 'Ada' } }), 'Done.');
        b.model.push('Done.');
        await client.call(a.here, 'start_task', { id: conversation_id });
        const events = client.stream(a.here, 'run_turn_stream', {
          conversation_id,
          user_message: 'Send it',
          turn_id: 't',
        });
        let approval: Event | undefined;
        for await (const item of events) {
          const event = item as Event;
          if (event.type === 'approval') {
            approval = event;
            const answer = { conversation_id, call_id: event.id, approve: true };
            expect(await client.call(b.here, 'answer_approval', answer)).toBe(null);
          } else if (event.type === 'done') expect(event.text).toBe('Done.');
        }
        expect(approval).toBeDefined();
        expect([...a.sent, ...b.sent]).toEqual(['Ada']);
      });

      test('ends at another replica, and every subscriber is notified', async () => {
        const { bench, a, b, client } = await replicas();
        const { id, first } = await bench.running(a);
        const subscribed = all(client.stream(b.here, 'tasks/resubscribe', { id }));
        expect(await client.call(b.here, 'end_conversation', { conversation_id: id })).toBe(null);
        await expect(first).rejects.toMatchObject({ code: 'TURN_CANCELLED' });
        expect((await subscribed).at(-1)).toMatchObject({ final: true, status: { state: 'completed' } });
        await expect(
          client.call(b.here, 'run_turn', { conversation_id: id, user_message: 'Hi' }),
        ).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
      });

      test('is read, forked and listed at every replica', async () => {
        const { bench, a, b, client } = await replicas();
        const { id, held, first } = await bench.running(a);
        held.open();
        await first;
        const named = { conversation_id: id };
        const history = [
          { role: 'user', content: 'Hi' },
          { role: 'assistant', content: 'Hello world' },
        ];
        expect(await client.call(b.here, 'get_history', named)).toEqual(history);
        expect(await client.call(b.here, 'get_turn', { ...named, turn_id: 't' })).toMatchObject({
          state: 'completed',
        });
        const { events } = (await client.call(b.here, 'read_events', named)) as { events: Event[] };
        expect(events.at(-1)).toMatchObject({ type: 'done', text: 'Hello world' });
        const fork = (await client.call(b.here, 'fork', { ...named, at: 't' })) as { id: string };
        b.model.push('A fork.');
        const turn = { conversation_id: fork.id, user_message: 'And?' };
        expect(await client.call(b.here, 'run_turn', turn)).toBe('A fork.');
        const list = (await client.call(a.here, 'list_conversations', {})) as {
          conversations: { id: string }[];
        };
        expect(new Set(list.conversations.map((one) => one.id))).toEqual(new Set([id, fork.id]));
      });

      test('is followed at a replica while turns run at others', async () => {
        const { a, b, c, client } = await replicas(3);
        const conversation_id = newId();
        await client.call(a.here, 'start_task', { id: conversation_id });
        const seen: Event[] = [];
        const following = all(
          client.stream(c.here, 'read_events', { conversation_id, follow: true }, { timeoutMs: 60_000 }),
          (event) => seen.push(event),
        );
        for (const [n, replica] of [a, b].entries()) {
          replica.model.push(`answer ${n}`);
          const turn = { conversation_id, user_message: `message ${n}`, turn_id: `t${n}` };
          expect(await client.call(replica.here, 'run_turn', turn)).toBe(`answer ${n}`);
          await expect.poll(() => seen.filter(({ type }) => type === 'done').length).toBe(n + 1);
          // The next turn runs where it arrives.
          if (n === 0) await a.kill();
        }
        await client.call(b.here, 'end_conversation', { conversation_id });
        const events = await following;
        expect(events.map(({ type }) => type).filter((type) => type !== 'model_call')).toEqual([
          'started',
          'turn',
          'text',
          'model_reply',
          'done',
          'turn',
          'text',
          'model_reply',
          'done',
          'ended',
        ]);
        expect(rising(events)).toBe(true);
      });
    });

    describe('a replica that dies', () => {
      test('in a stream that another one passed: the rest comes from a survivor', async () => {
        const { bench, a, b, c, client } = await replicas(3);
        const { params, first } = await bench.running(a);
        for (const replica of [b, c]) replica.model.push({ steps: ['Hello ', 'again'], times: forever });
        const begun = Promise.withResolvers<void>();
        const events = all(client.stream(b.here, 'run_turn_stream', params, { timeoutMs: 60_000 }), () =>
          begun.resolve(),
        );
        const unary = client.call(c.here, 'run_turn', params, { timeoutMs: 60_000 });
        await begun.promise;
        const killedAt = performance.now();
        await a.kill();
        expect(textOf(await events)).toBe('Hello again');
        expect((await events).at(-1)).toMatchObject({ type: 'done', text: 'Hello again' });
        expect(await unary).toBe('Hello again');
        expect(performance.now() - killedAt).toBeLessThan(5_000);
        expect(b.model.requests.length + c.model.requests.length).toBe(1);
        await expect(first).rejects.toThrow();
      });

      test('its unfinished turns are taken up by all others within 5 s', async () => {
        const { bench, a, b, c } = await replicas(3);
        const turns = await Promise.all(Array.from({ length: 60 }, () => bench.running(a)));
        const held = gate();
        for (const replica of [b, c]) replica.model.push({ steps: [held, 'taken over'], times: forever });
        const killedAt = performance.now();
        await a.kill();
        await expect.poll(() => b.model.requests.length + c.model.requests.length).toBe(60);
        expect(performance.now() - killedAt).toBeLessThan(5_000);
        // A replica that starts its search a second late still gets a share.
        for (const { model } of [b, c]) expect(model.requests.length).toBeGreaterThan(0);
        held.open();
        const ended = await Promise.all(
          turns.map(({ params }) => bench.client.call(CHAT, 'run_turn', params, { timeoutMs: 60_000 })),
        );
        expect(new Set(ended)).toEqual(new Set(['taken over']));
      });
    });

    describe('a replica that stops', () => {
      test('finishes a turn that others follow, and takes no new one', async () => {
        const { bench, a, b, client } = await replicas();
        const { id, params, held, first } = await bench.running(a);
        const followed = all(client.stream(b.here, 'run_turn_stream', params));
        const stopped = a.drain(20_000);
        held.open();
        expect(textOf(await followed)).toBe('Hello world');
        expect(await first).toBe('Hello world');
        await stopped;
        b.model.push('Here now.');
        const next = { conversation_id: id, user_message: 'And?' };
        expect(await client.call(CHAT, 'run_turn', next)).toBe('Here now.');
      });

      test('hands a turn over that does not end in time, and its followers get the rest', async () => {
        const { bench, a, b, client } = await replicas();
        const { params } = await bench.running(a);
        b.model.push(['Hello ', 'from b']);
        const followed = all(client.stream(b.here, 'run_turn_stream', params, { timeoutMs: 60_000 }));
        const joined = client.call(b.here, 'run_turn', params, { timeoutMs: 60_000 });
        await a.drain(50);
        expect((await followed).at(-1)).toMatchObject({ type: 'done', text: 'Hello from b' });
        expect(textOf(await followed)).toBe('Hello from b');
        expect(await joined).toBe('Hello from b');
      });
    });

    describe('a passed call', () => {
      const call = (to: string, more: object = {}) => ({
        to,
        method: 'run_turn',
        params: { conversation_id: 'c', user_message: 'Hi' },
        caller: { principal: 'ada', mayUseAny: false },
        callId: 'call',
        replyTo: '__rpc__x@/s/n',
        isStream: false,
        ...more,
      });
      const forbidden = { code: 'AUTH_FORBIDDEN' };

      test('has the rights of its caller: a conversation of another caller does not exist', async () => {
        const { bench, a, client } = await replicas();
        const { id } = await bench.running(a);
        const pass = async (caller: object) => {
          const params = { conversation_id: id, user_message: 'Hi', turn_id: 't' };
          const signed = signedCall(
            call(a.store.holder, { params, caller }) as never,
            await a.store.replicaKey(),
          );
          const to = replicaAddressOf(CHAT, a.store.holder);
          const items = client.stream(to, 'pass', signed);
          return (await items.next()).value;
        };
        const unknown = await pass({ principal: 'ada', mayUseAny: false });
        expect(unknown).toMatchObject({ kind: 'error', error: { data: { code: 'CONVERSATION_UNKNOWN' } } });
        expect(await pass({ principal: 'ada', mayUseAny: true })).toMatchObject({ kind: 'accepted' });
      });

      test('is refused without the secret of the store, changed, or sent to another replica', async () => {
        const { a, b, client } = await replicas();
        const key = await a.store.replicaKey();
        const to = replicaAddressOf(CHAT, a.store.holder);
        const good = signedCall(call(a.store.holder) as never, key);
        const changed = structuredClone(good) as { call: { caller: { principal: string } }; code: string };
        changed.call.caller.principal = 'bob';
        const forged = [
          { ...good, code: '' },
          { ...good, code: good.code.slice(1) },
          changed,
          signedCall(call(a.store.holder) as never, Buffer.alloc(32).toString('base64url')),
          signedCall(call(b.store.holder) as never, key),
        ];
        for (const params of forged) {
          await expect(client.stream(to, 'pass', params).next()).rejects.toMatchObject(forbidden);
        }
        expect(() => verifiedCall(good, key, a.store.holder)).not.toThrow();
        // The shared address has no such operation.
        await expect(client.call(a.here, 'pass', good)).rejects.toMatchObject({ code: 'METHOD_NOT_FOUND' });
      });
    });

    test('callers of the shared address never receive STORE_CONFLICT', async () => {
      const { bench, client } = await replicas(3);
      for (const { model } of bench.replicas) model.push({ steps: ['an ', 'answer'], times: forever });
      const conversations = Array.from({ length: 10 }, () => newId());
      await Promise.all(conversations.map((id) => client.call(CHAT, 'start_task', { id })));
      const asked = conversations.flatMap((id) =>
        Array.from({ length: 8 }, (_, n) => ({ id, turn: `t${n}` })),
      );
      const answers = await Promise.all(
        asked.flatMap(({ id, turn }) => {
          const params = { conversation_id: id, user_message: turn, turn_id: turn };
          return [
            client.call(CHAT, 'run_turn', params, { timeoutMs: 60_000 }),
            all(client.stream(CHAT, 'run_turn_stream', params, { timeoutMs: 60_000 })).then((events) => {
              const last = events.at(-1)!;
              if (last.type === 'error') throw new FabricError('INTERNAL', `${last.code}: ${last.message}`);
              return last.text;
            }),
          ].map((answer) => answer.catch((error: unknown) => (isFabricError(error) ? error.code : error)));
        }),
      );
      expect(new Set(answers)).toEqual(new Set(['an answer']));
      const requests = bench.replicas.reduce((sum, { model }) => sum + model.requests.length, 0);
      expect(requests).toBe(asked.length);
    });
  });
});
