// `include` of run_turn_stream: reasoning and waits reach the callers that ask for them, and nothing else changes.
import { newId } from '@fame-fabric/shared';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { ModelWait } from '../../model/model.ts';
import { gate, reasoning, type ScriptStep } from '../../testing/script.ts';
import { type AgentKind, type StoreKind, Subject } from './subject.conformance.ts';

const WAIT: ModelWait = {
  reason: 'rate_limited',
  waitMs: 3_000,
  attempt: 2,
  attempts: 4,
  message: 'Slow down',
};
const WAITING = {
  type: 'waiting',
  reason: 'rate_limited',
  retry_in_ms: 3_000,
  attempt: 2,
  attempts: 4,
  message: 'Slow down',
};
const SECRET = 'The user seems to be a beginner';

export function progressConformance(kind: AgentKind, store: StoreKind): void {
  describe('progress', () => {
    let subject: Subject;
    let id: string;
    beforeAll(async () => {
      subject = await Subject.open(kind, store);
    });
    beforeEach(async () => {
      id = await subject.begin();
    });
    afterAll(async () => {
      await subject.close();
      store.remove();
    });
    /** Makes the model answer with `text` after `steps`. */
    const says = (text: string, ...steps: ScriptStep[]): void => {
      const reply = kind.says(text);
      subject.model.push({ ...reply, steps: [...steps, ...reply.steps] });
    };
    const stream = (turn_id: string, more: Record<string, unknown> = {}) =>
      subject.stream('run_turn_stream', { conversation_id: id, user_message: 'hi', turn_id, ...more });
    /** The types of items, without repetitions. */
    const types = (items: readonly Record<string, unknown>[]) =>
      items.map(({ type }) => type).filter((type, index, all) => type !== all[index - 1]);

    test('reaches the callers that ask for it, each with the types that it names', async () => {
      const held = gate();
      says('Hello', held, { retry: WAIT }, reasoning('Well, '), reasoning(SECRET));
      const turn_id = newId();
      const plain = stream(turn_id);
      await held.reached;
      const both = stream(turn_id, { include: ['reasoning', 'waiting'] });
      const waits = stream(turn_id, { include: ['waiting', 'waiting'] });
      // The others have joined once a later read of the same conversation is answered. A call that is passed on takes longer.
      const reads = kind.passesCalls ? 50 : 1;
      for (let n = 0; n < reads; n++) await subject.call('get_turn', { conversation_id: id, turn_id });
      held.open();
      const events = await plain.ended;
      expect(types(events)).toEqual(['text', 'done']);
      const all = await both.ended;
      expect(types(all)).toEqual(['waiting', 'reasoning', 'text', 'done']);
      expect(all[0]).toEqual({ ...WAITING, turn_id });
      const thoughts = all.filter(({ type }) => type === 'reasoning');
      expect(thoughts.map(({ text }) => text).join('')).toBe(`Well, ${SECRET}`);
      for (const { text, ...rest } of thoughts) expect(rest).toEqual({ type: 'reasoning', turn_id });
      expect(all.filter(({ seq }) => seq !== undefined)).toEqual(events);
      const some = await waits.ended;
      expect(types(some)).toEqual(['waiting', 'text', 'done']);
    });

    test('is not recorded: neither the journal nor read_events nor a later caller of the turn has it', async () => {
      says('Hello', { retry: WAIT }, reasoning(SECRET));
      const turn_id = newId();
      const follower = subject.stream('read_events', { conversation_id: id, after: 0, follow: true });
      const include = ['reasoning', 'waiting'];
      const all = await stream(turn_id, { include }).ended;
      expect(JSON.stringify(all)).toContain(SECRET);
      await follower.until({ type: 'done' });
      const recorded = follower.items.filter(({ type }) => !String(type).startsWith('model_'));
      expect(types(recorded)).toEqual(['started', 'turn', 'text', 'done']);
      const events = all.filter(({ seq }) => seq !== undefined);
      for (const restart of [false, true]) {
        if (restart) await subject.restart();
        expect(await stream(turn_id, { include }).ended).toEqual(events);
        expect(JSON.stringify(await subject.store.read(id, { limit: 100 }))).not.toMatch(
          /beginner|Slow down/,
        );
      }
    });

    test('of a turn that a process left open continues in the next one', async () => {
      const [first, second] = [gate(), gate()];
      says('lost', { retry: WAIT }, reasoning('It was '), first);
      const turn_id = newId();
      const include = ['reasoning', 'waiting'];
      const before = stream(turn_id, { include });
      await before.until({ type: 'reasoning', text: 'It was ' });
      says('Hello', second, reasoning(SECRET));
      await subject.restart();
      await second.reached;
      const after = stream(turn_id, { include });
      await after.until({ type: 'restart' });
      second.open();
      const items = await after.ended;
      expect(types(items)).toEqual(['restart', 'reasoning', 'text', 'done']);
      expect(items[1]).toEqual({ type: 'reasoning', turn_id, text: SECRET });
    });

    test('does not keep a caller that leaves from cancelling the turn', async () => {
      says('lost', reasoning('Well, '), gate());
      const turn_id = newId();
      const leaver = stream(turn_id, { include: ['reasoning'] });
      await leaver.until({ type: 'reasoning' });
      leaver.leave('cancelled');
      await expect
        .poll(async () => (await subject.call('get_turn', { conversation_id: id, turn_id })).state)
        .toBe('cancelled');
    });

    test('is offered by `describe`, and other types are refused', async () => {
      const { include } = await subject.call<{ include: unknown }>('describe', {});
      expect(include).toEqual(['reasoning', 'waiting']);
      for (const bad of [['thoughts'], 'reasoning', [7], Array.from({ length: 3 }, () => 'reasoning')]) {
        const refused = stream(newId(), { include: bad }).ended;
        await expect(refused).rejects.toMatchObject({ code: 'PARAMS_INVALID' });
        await expect(refused).rejects.toThrow(/^include/);
      }
      const call = subject.call('run_turn', {
        conversation_id: id,
        user_message: 'hi',
        include: ['waiting'],
      });
      await expect(call).rejects.toMatchObject({ code: 'PARAMS_INVALID' });
    });
  });
}
