// Property: after any cuts, kills and takeovers during a turn, its readers have one text, without a gap or a repeat, and rising
// cursors. The client and the agent are real; the test is the network between them.
import { ToolSet, tool } from '@fame-fabric/agents';
import {
  ChatTurns,
  type ConversationEvent,
  ConversationHost,
  MemoryStore,
} from '@fame-fabric/agents/internal';
import {
  type ControlledGate,
  callChunks,
  gate,
  type ScriptReply,
  scriptedModel,
} from '@fame-fabric/agents/testing';
import { Conversation, type TurnEvent } from '@fame-fabric/client';
import { FabricError } from '@fame-fabric/shared';
import { ManualClock, settle } from '@fame-fabric/shared/testing';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { textOf } from './kit/streamed-text.ts';

const ADDRESS = 'chat@fame.fabric';
const TURN = { conversationId: 'c', userMessage: 'hi', turnId: 't' };
const LEASE_MS = 15_000;
const PIECES = 8;

/** A process of the agent. Its model waits at a gate before each piece. Its texts contain the number of the process. */
class Process {
  /** Does not advance while the process hangs. */
  readonly clock = new ManualClock();
  readonly store: MemoryStore;
  readonly host: ConversationHost;
  readonly #model;
  readonly #gates: Record<'user' | 'tool', ControlledGate[]>;
  #cuts = new Set<AbortController>();

  constructor(number: number, storeClock: ManualClock, before?: Process) {
    this.store = new MemoryStore({ clock: storeClock, ...(before ? { sharedWith: before.store } : {}) });
    const gates = () => Array.from({ length: PIECES }, gate);
    this.#gates = { user: gates(), tool: gates() };
    const replyTo = (role: 'user' | 'tool', more: ScriptReply['steps'] = []): ScriptReply => ({
      steps: [...this.#gates[role].flatMap((one, i) => [one, `${role}-${number}-${i}. `]), ...more],
      when: ({ messages }) => messages.at(-1)!.role === role,
      times: Number.POSITIVE_INFINITY,
    });
    this.#model = scriptedModel([
      replyTo('user', callChunks({ name: 'look', arguments: {} })),
      replyTo('tool'),
    ]);
    const look = tool({ name: 'look', description: 'x', parameters: z.object({}), execute: () => 'seen' });
    const runner = new ChatTurns({ model: this.#model, tools: new ToolSet([look]) });
    const { store, clock } = this;
    this.host = new ConversationHost({ runner, store, agent: ADDRESS, clock }, { leaseMs: LEASE_MS });
  }

  /** Opens the gates of the next pieces. */
  emit(count: number): void {
    const role = this.#model.requests.some(({ messages }) => messages.at(-1)!.role === 'tool')
      ? 'tool'
      : 'user';
    for (const { open } of this.#gates[role].splice(0, count)) open();
  }

  async *stream(after: number): AsyncGenerator<ConversationEvent, void> {
    const cut = new AbortController();
    this.#cuts.add(cut);
    const turn = await this.host.turn({ ...TURN, after });
    for await (const event of turn.follow(after, cut.signal)) {
      if (cut.signal.aborted) break;
      yield event;
    }
    if (cut.signal.aborted) throw new FabricError('LINK_CLOSED', 'The connection was lost.');
  }

  cut(): void {
    for (const cut of this.#cuts) cut.abort();
    this.#cuts.clear();
  }

  /** Ends the process as a power cut does: pending writes are lost. */
  async kill(): Promise<void> {
    this.cut();
    await this.store.close();
  }
}

/** A turn of one client, and the processes of its agent. The last process gets new requests. */
class Scene {
  readonly #storeClock = new ManualClock();
  readonly #clientClock = new ManualClock();
  readonly processes: Process[] = [];
  readonly seen: TurnEvent[] = [];
  /** The error that the turn ended with for its client. */
  error: unknown;
  #reading: Promise<void> | undefined;

  get current(): Process {
    return this.processes.at(-1)!;
  }

  async begin(): Promise<void> {
    await this.next();
    const options = { systemPrompt: '', maxHistoryLength: 10, turnPolicy: 'queue' as const };
    await this.current.host.start({ id: 'c', callId: 's', options });
    const stream = (...[, , params]: unknown[]) =>
      this.current.stream((params as { after?: number }).after ?? 0);
    const caller = { call: () => Promise.resolve(null), stream };
    const settings = {
      id: 'c',
      isResumed: true,
      clock: this.#clientClock,
      reconnectTimeoutMs: 1e9,
      turnTimeoutMs: 1e9,
    };
    const chat = new Conversation(caller, ADDRESS, settings);
    this.#reading = (async () => {
      for await (const event of chat.stream('hi', { turnId: 't' })) this.seen.push(event);
    })().catch((error: unknown) => {
      this.error = error;
    });
    await this.settle();
  }

  /** Waits until all pending work has run, the retries of the client included. */
  async settle(): Promise<void> {
    await settle();
    await this.#clientClock.run(5_000, 2_500);
  }

  async next(): Promise<void> {
    this.processes.push(new Process(this.processes.length, this.#storeClock, this.processes.at(-1)));
    await this.current.host.open();
  }

  /** Another process takes over because the current one hangs. The current one shows text until its clock runs again. */
  async takeOver(): Promise<void> {
    this.#storeClock.advance(LEASE_MS + 1);
    await this.next();
  }

  advance(ms: number): void {
    this.#storeClock.advance(ms);
    for (const { clock } of this.processes) clock.advance(ms);
  }

  async finish(): Promise<void> {
    // A process that hung finds that it lost its lease.
    this.advance(LEASE_MS / 2);
    await this.settle();
    for (let i = 0; i < 2; i++) {
      this.current.emit(PIECES);
      await this.settle();
    }
    await this.#reading;
  }
}

type Step = (scene: Scene) => Promise<void> | void;
const steps: Record<string, fc.Arbitrary<Step>> = {
  emit: fc.integer({ min: 1, max: 3 }).map(
    (count) =>
      ({ current }) =>
        current.emit(count),
  ),
  emitElsewhere: fc.nat().map(
    (at) =>
      ({ processes }) =>
        processes[at % processes.length]!.emit(1),
  ),
  write: fc.constant(({ current }) => current.clock.advance(1_000)),
  cut: fc.constant(({ current }) => current.cut()),
  kill: fc.constant(async (scene) => {
    await scene.current.kill();
    await scene.next();
  }),
  takeOver: fc.constant((scene) => scene.takeOver()),
};
const script = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: steps.emit! },
    { weight: 2, arbitrary: steps.write! },
    { weight: 2, arbitrary: steps.cut! },
    { weight: 2, arbitrary: steps.kill! },
    { weight: 1, arbitrary: steps.takeOver! },
    { weight: 1, arbitrary: steps.emitElsewhere! },
  ),
  { maxLength: 24 },
);

test('a reader gets one text and rising cursors, also when it continues from an earlier cursor', async () => {
  let restarts = 0;
  await fc.assert(
    fc.asyncProperty(script, fc.boolean(), async (list, settles) => {
      const scene = new Scene();
      await scene.begin();
      for (const step of list) {
        await step(scene);
        if (settles) await scene.settle();
        else await settle();
      }
      await scene.finish();
      const { seen, error } = scene;
      // A turn fails after too many kills in a row. Its client then has the text of the recorded failure.
      if (error !== undefined) expect(error).toMatchObject({ code: 'TURN_CRASH_LOOP' });
      const turn = await scene.current.host.turn(TURN);
      const { text } = await turn.outcome;
      expect(textOf(seen)).toBe(text);
      const cursors = seen.map(({ seq }) => seq!);
      expect(cursors).toEqual([...new Set(cursors)].sort((a, b) => a - b));
      restarts += seen.filter(({ type }) => type === 'restart').length;

      // A later reader continues from each cursor of the first one, with the text that the first one had there.
      for (const [index, { seq }] of seen.entries()) {
        const rest: ConversationEvent[] = [];
        for await (const event of turn.follow(seq)) rest.push(event);
        expect(textOf([...seen.slice(0, index + 1), ...rest])).toBe(text);
        for (const event of rest) expect(event.seq).toBeGreaterThan(seq!);
      }
      const events = await scene.current.store.read('c', { turnId: 't' });
      expect(events.map(({ cursor }) => cursor)).toEqual(
        events.map(({ cursor }) => cursor).sort((a, b) => a - b),
      );
    }),
    { numRuns: 300 },
  );
  expect(restarts).toBeGreaterThan(20);
});
