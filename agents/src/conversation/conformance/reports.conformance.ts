// get_turn and get_prompt: the record of a turn, and the messages that its model received.
import { FabricError, newId } from '@fame-fabric/shared';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { failing, stall } from '../../testing/script.ts';
import { type AgentKind, type StoreKind, Subject } from './subject.conformance.ts';

export function reportsConformance(kind: AgentKind, store: StoreKind): void {
  describe('reports', () => {
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
    const report = (turn_id: string) => subject.call('get_turn', { conversation_id: id, turn_id });
    const prompt = (turn_id: string, step = 1) =>
      subject.call('get_prompt', { conversation_id: id, turn_id, step });

    test('get_turn returns the same report as run_turn, also after a restart', async () => {
      const turn = await subject.turn(id, 'Hi', 'Hello');
      const params = { conversation_id: id, user_message: 'Hi', turn_id: turn, answer: 'outcome' };
      const expected = await subject.call('run_turn', params);
      expect(await report(turn)).toEqual(expected);
      await subject.restart();
      expect(await report(turn)).toEqual(expected);
      expect(expected).toMatchObject({ state: 'completed', text: kind.answer('Hello'), turn_id: turn });
    });

    test('an open turn has no end; a cancelled one has its error', async () => {
      const asked = subject.model.count;
      subject.model.push([stall()]);
      const turn = subject.stream('run_turn_stream', {
        conversation_id: id,
        user_message: 'x',
        turn_id: 't',
      });
      await expect.poll(() => subject.model.count).toBe(asked + 1);
      expect(await report('t')).toMatchObject({
        state: 'open',
        ended_at: null,
        duration_ms: null,
        finish: null,
        model: 'scripted',
        steps: [{ step: 1, finish: null, usage: null }],
      });
      expect(await prompt('t')).toMatchObject({ verified: true });
      await subject.call('cancel_turn', { conversation_id: id });
      await turn.ended;
      expect(await report('t')).toMatchObject({
        state: 'cancelled',
        ended_at: expect.any(String),
        error: { code: 'TURN_CANCELLED' },
      });
    });

    test('get_prompt returns the messages that the model received in every turn, and their digest, also after a restart', async () => {
      const first = subject.model.count;
      const turns: string[] = [];
      for (const text of ['one', 'two', 'three']) turns.push(await subject.turn(id, text, `re ${text}`));
      subject.model.push(failing(new FabricError('MODEL_AUTH', 'Wrong key')));
      await subject
        .call('run_turn', { conversation_id: id, user_message: 'four', turn_id: 'failed' })
        .catch(() => {});
      turns.push('failed');
      for (const restart of [false, true]) {
        if (restart) await subject.restart();
        for (const [index, turn] of turns.entries()) {
          const { messages, digest, verified } = await prompt(turn);
          expect(messages, `turn ${index + 1}`).toEqual(subject.model.requests[first + index]!.messages);
          expect(verified).toBe(true);
          expect((await report(turn)).steps).toMatchObject([{ digest }]);
        }
      }
    });

    test('unknown conversations, turns and steps are refused', async () => {
      const turn = await subject.turn(id, 'Hi', 'Hello');
      await expect(prompt(turn, 2)).rejects.toMatchObject({
        code: 'PARAMS_INVALID',
        message: expect.stringMatching(/step.*\b1 step\b/),
      });
      const other = await subject.begin();
      for (const [method, more] of [
        ['get_turn', {}],
        ['get_prompt', { step: 1 }],
      ] as const) {
        const unknownTurn = subject.call(method, { conversation_id: id, turn_id: newId(), ...more });
        await expect(unknownTurn, method).rejects.toMatchObject({ code: 'TURN_UNKNOWN' });
        const otherTurn = subject.call(method, { conversation_id: other, turn_id: turn, ...more });
        await expect(otherTurn, method).rejects.toMatchObject({ code: 'TURN_UNKNOWN' });
        const unknown = subject.call(method, { conversation_id: newId(), turn_id: turn, ...more });
        await expect(unknown, method).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
      }
    });
  });

  test('with prices, outcomes and reports have the cost', async () => {
    const prices = { scripted: { input: 1_000, output: 2_000 } };
    const subject = await Subject.open(kind, store, { prices });
    const id = await subject.begin();
    subject.says('Hello');
    const events = await subject.stream('run_turn_stream', {
      conversation_id: id,
      user_message: 'Hi',
      turn_id: 't',
    }).ended;
    const cost = { amount: expect.closeTo(0.02), currency: 'USD' };
    expect(events.at(-1)).toMatchObject({ cost });
    expect(await subject.call('get_turn', { conversation_id: id, turn_id: 't' })).toMatchObject({
      cost,
      steps: [{ cost }],
    });
    await subject.close();
    store.remove();
  });
}
