// read_events: pages of recorded events, and followers.
import { newId } from '@fame-fabric/shared';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { gate } from '../../testing/script.ts';
import { type AgentKind, type StoreKind, Subject } from './subject.conformance.ts';
import { expectRising, textOf } from './turns.conformance.ts';

type Event = Record<string, unknown> & { seq: number };

export function eventsConformance(kind: AgentKind, store: StoreKind): void {
  describe('events', () => {
    let subject: Subject;
    let id: string;
    beforeAll(async () => {
      subject = await Subject.open(kind, store);
    });
    beforeEach(async () => {
      id = await subject.begin({ system_prompt: 'Be kind.' });
    });
    afterAll(async () => {
      await subject.close();
      store.remove();
    });
    const page = (more: Record<string, unknown> = {}) =>
      subject.call<{ events: Event[]; next: number }>('read_events', { conversation_id: id, ...more });
    const follow = (after = 0) => subject.stream('read_events', { conversation_id: id, after, follow: true });
    async function read(limit: number): Promise<Event[]> {
      const all: Event[] = [];
      for (let after = 0; ; ) {
        const { events, next } = await page({ after, limit });
        expect(events.length).toBeLessThanOrEqual(limit);
        if (events.length === 0) return all;
        expect(next).toBeGreaterThanOrEqual(events.at(-1)!.seq);
        all.push(...events);
        after = next;
      }
    }
    /** The types of events, without repetitions and model calls. Kinds of agents differ in their model calls. */
    const types = (events: readonly Record<string, unknown>[]) =>
      events
        .map(({ type }) => type)
        .filter((type) => type !== 'model_call' && type !== 'model_reply')
        .filter((type, index, all) => type !== all[index - 1]);

    test('pages of any size have every event once, also after a restart and after the end', async () => {
      const first = await subject.turn(id, 'one', 'First');
      const second = await subject.turn(id, 'two', 'Second');
      await subject.call('end_conversation', { conversation_id: id });
      for (const restart of [false, true]) {
        if (restart) await subject.restart();
        const all = await read(500);
        expect(types(all)).toEqual(['started', 'turn', 'text', 'done', 'turn', 'text', 'done', 'ended']);
        expectRising(all);
        for (const { at } of all) expect(at).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/);
        expect(all[0]).toMatchObject({ type: 'started', system_prompt: 'Be kind.' });
        expect(all[1]).toMatchObject({
          type: 'turn',
          turn_id: first,
          corr_id: expect.stringMatching(/./),
          user_message: 'one',
        });
        expect(all.at(-1)).toMatchObject({ type: 'ended', state: 'completed' });
        for (const [turn_id, text] of [
          [first, 'First'],
          [second, 'Second'],
        ] as const) {
          const own = all.filter((event) => event.turn_id === turn_id);
          const stepsOf = (type: string) => own.flatMap((event) => (event.type === type ? [event.step] : []));
          expect(stepsOf('model_reply').length).toBeGreaterThan(0);
          expect(stepsOf('model_reply')).toEqual(stepsOf('model_call'));
          expect(textOf(own)).toBe(kind.answer(text));
          expect(own.at(-1)).toMatchObject({ type: 'done', text: kind.answer(text), finish: 'stop' });
        }
        for (const limit of [1, 2, 3]) expect(await read(limit)).toEqual(all);
        expect(await follow().ended).toEqual(all);
      }
    });

    test('a follower receives recorded events, then live ones, and ends with the conversation', async () => {
      await subject.turn(id, 'one', 'First');
      const early = follow();
      await early.until({ type: 'done' });
      await subject.turn(id, 'two', 'Second');
      await early.until({ type: 'turn', user_message: 'two' });
      const late = follow();
      await subject.call('end_conversation', { conversation_id: id });
      const events = await early.ended;
      expect(await late.ended).toEqual(events);
      expectRising(events);
      expect(types(events)).toEqual(['started', 'turn', 'text', 'done', 'turn', 'text', 'done', 'ended']);
    });

    test('a turn that ends the conversation is followed by its end, once', async () => {
      if (!kind.ending) return;
      for (const [message, reply] of kind.ending) {
        subject.model.push(reply);
        await subject.call('run_turn', { conversation_id: id, user_message: message });
      }
      const events = await follow().ended;
      expect(types(events).slice(-2)).toEqual(['done', 'ended']);
      expectRising(events);
      for (const limit of [1, 2, events.length - 1, events.length, 500])
        expect(await read(limit)).toEqual(events);
      const [done, ended] = events.slice(-2) as [Event, Event];
      expect(await follow(done.seq).ended).toEqual([ended]);
      expect(await follow(ended.seq).ended).toEqual([]);
    });

    test('a follower continues from any of its cursors, in this process and in the next', async () => {
      await subject.turn(id, 'one', 'First of all');
      await subject.turn(id, 'two', 'Second');
      await subject.call('end_conversation', { conversation_id: id });
      const events = await follow().ended;
      for (const restart of [false, true]) {
        if (restart) await subject.restart();
        for (const [index, event] of events.entries()) {
          const rest = await follow(event.seq as number).ended;
          expect(textOf(rest)).toBe(textOf(events.slice(index + 1)));
          expect(types(rest)).toEqual(types(events.slice(index + 1)));
        }
      }
    });

    test('a follower sees text before the reply is complete, and does not end the turn when it leaves', async () => {
      const half = gate();
      const reply = kind.says('Half and rest');
      const isStreamed = kind.answer('x') === 'x';
      subject.model.push(
        isStreamed
          ? { ...reply, steps: ['Half', half, ' and rest'] }
          : { ...reply, steps: [half, ...reply.steps] },
      );
      const turn = subject.stream('run_turn_stream', {
        conversation_id: id,
        user_message: 'x',
        turn_id: 't',
      });
      await half.reached;
      const following = follow();
      await following.until(isStreamed ? { type: 'text', text: 'Half' } : { type: 'turn', turn_id: 't' });
      const pages = await read(500);
      expect(pages.at(1)).toMatchObject({ type: 'turn', turn_id: 't' });
      following.leave();
      half.open();
      expect((await turn.ended).at(-1)).toMatchObject({ type: 'done', text: kind.answer('Half and rest') });
      const last = following.items.at(-1)!.seq as number;
      const again = follow(last);
      await again.until({ type: 'done', turn_id: 't' });
      again.leave();
      expect(textOf([...following.items, ...again.items])).toBe(kind.answer('Half and rest'));
    });

    test('the start shows messages and the origin of a fork', async () => {
      const messages = [
        { role: 'user', content: 'Before' },
        { role: 'assistant', content: 'Then' },
      ];
      id = await subject.begin({ messages });
      const turn_id = await subject.turn(id, 'one', 'First');
      expect((await page({ limit: 1 })).events).toMatchObject([{ type: 'started', messages }]);
      const origin = id;
      id = newId();
      await subject.call('fork', { conversation_id: origin, at: turn_id, id });
      expect((await page({ limit: 1 })).events).toMatchObject([
        { type: 'started', forked_from: { conversation_id: origin, turn_id } },
      ]);
    });

    test('cursors that the agent never issued are harmless', async () => {
      await subject.turn(id, 'one', 'First');
      const check = async (after: number): Promise<void> => {
        const { events, next } = await page({ after });
        expectRising(events);
        expect(Number.isSafeInteger(next)).toBe(true);
      };
      // Those of an earlier version, which count rows.
      for (const after of [1, 2, 16_383, 2 ** 32 - 1]) await check(after);
      // Those of a journal that is newer than this one: the reader has to drop the events that this one does not have.
      for (const after of [2 ** 45 + 77, Number.MAX_SAFE_INTEGER]) {
        await check(after);
        const following = follow(after);
        expect(await following.until({ type: 'restart' })).toMatchObject({ keep: 0 });
        const turn_id = await subject.turn(id, 'more', 'More');
        await following.until({ type: 'done', turn_id });
        following.leave();
      }
    });

    test('an unknown conversation, and a call that follows, are refused', async () => {
      await expect(subject.call('read_events', { conversation_id: newId() })).rejects.toMatchObject({
        code: 'CONVERSATION_UNKNOWN',
      });
      id = newId();
      await expect(follow().ended).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
      await expect(page({ follow: true })).rejects.toMatchObject({
        code: 'PARAMS_INVALID',
        message: expect.stringContaining('follow'),
      });
    });
  });
}
