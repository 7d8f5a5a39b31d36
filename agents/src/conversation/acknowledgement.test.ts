// Requests with at-least-once delivery: their sender stops repeating them at the acknowledgement, so the journal must have them before.
import { type Envelope, Link, makeEnvelope } from '@fame-fabric/shared';
import { ManualClock, ScriptedSentinel, settle } from '@fame-fabric/shared/testing';
import { afterEach, expect, test } from 'vitest';
import type { Serving } from '../agent/agent-types.ts';
import { MemoryStore } from '../store/memory-store.ts';
import type { Append } from '../store/store.ts';
import { CrashingStore } from '../testing/crash-anywhere.ts';
import { gate, scriptedModel } from '../testing.ts';
import { ChatAgent } from './chat-agent.ts';

const CHAT = 'chat@fame.fabric';
const CALLER = '__rpc__c@/S/caller';
/** Asks for an acknowledgement and an answer. */
const RTYPE_BOTH = 3;

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

/** A process of a chat agent. `send` delivers a request as a sender of another node would. */
async function start(store: MemoryStore, answers: Parameters<typeof scriptedModel>[0]) {
  const sentinel = new ScriptedSentinel();
  const clock = new ManualClock();
  const received: Envelope[] = [];
  sentinel.intercept = (envelope) => {
    if (envelope.to === CALLER) received.push(envelope);
    return envelope.to !== CALLER;
  };
  const link = new Link({ url: 'ws://memory', dial: sentinel.dial, systemId: 'agent', clock });
  await link.connect();
  const model = scriptedModel(answers);
  const serving: Serving = await new ChatAgent({ model, store }).serve(link, { clock });
  ends.push(() => link.close());
  // A crashed store never ends its appends, so its agent cannot stop.
  if (!(store instanceof CrashingStore)) ends.push(() => serving.close());
  const send = async (envelope: Envelope): Promise<void> => {
    sentinel.send(sentinel.bound.get(CHAT)!, envelope);
    await settle();
  };
  return {
    model,
    send,
    acks: () => received.flatMap(({ frame }) => (frame.type === 'DeliveryAck' ? [frame.refId] : [])),
    results: () =>
      received.flatMap(({ frame }) =>
        frame.type === 'Data' ? [(frame.payload as { result: unknown }).result] : [],
      ),
  };
}

const request = (id: string, method: string, params: object): Envelope =>
  makeEnvelope(
    { type: 'Data', payload: { jsonrpc: '2.0', id, method, params } },
    { to: CHAT, replyTo: CALLER, corrId: id, rtype: RTYPE_BOTH },
  );
const started = request('s', 'start_task', { id: 'c' });
const turn = request('t', 'run_turn', { conversation_id: 'c', user_message: 'hello' });

test('the request of a turn is acknowledged when its acceptance is in the journal, before the answer', async () => {
  const accepting = gate();
  class SlowStore extends MemoryStore {
    override async append(append: Append): Promise<void> {
      await accepting.wait;
      return super.append(append);
    }
  }
  const answering = gate();
  const agent = await start(new SlowStore(), [[answering, 'hi']]);
  await agent.send(started);
  await agent.send(turn);
  // A repetition of an open request.
  await agent.send(turn);
  expect(agent.acks()).toEqual([started.id]);
  accepting.open();
  await settle();
  expect(agent.acks()).toEqual([started.id, turn.id]);
  expect(agent.results()).toHaveLength(1);
  await agent.send(turn);
  expect(agent.acks()).toEqual([started.id, turn.id, turn.id]);
  answering.open();
  await settle();
  expect(agent.results().slice(1)).toEqual(['hi']);
});

test('a crash between the receipt of a turn and its acceptance loses no turn', async () => {
  const store = new CrashingStore();
  const first = await start(store, ['lost']);
  await first.send(started);
  store.isDurable = false;
  store.eventsLeft = 0;
  await first.send(turn);
  expect(first.acks()).toEqual([started.id]);
  // The sender has no acknowledgement, so it repeats the request.
  const second = await start(new MemoryStore({ sharedWith: store }), ['hi']);
  await second.send(turn);
  expect(second.acks()).toEqual([turn.id]);
  expect(second.results()).toEqual(['hi']);
  expect(second.model.requests).toHaveLength(1);
});

test('a refused request is acknowledged with its answer', async () => {
  const agent = await start(new MemoryStore(), []);
  await agent.send(turn);
  expect(agent.acks()).toEqual([turn.id]);
  expect(agent.results()).toEqual([undefined]);
  const faulty = request('f', 'run_turn', {});
  await agent.send(faulty);
  expect(agent.acks()).toEqual([turn.id, faulty.id]);
});
