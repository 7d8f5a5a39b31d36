// retry_key and retry_count: which requests run a turn and which join one.
import { newId } from '@fame-fabric/shared';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { gate } from '../../testing/script.ts';
import { type AgentKind, type CallMore, type StoreKind, Subject } from './subject.conformance.ts';

export function retriesConformance(kind: AgentKind, store: StoreKind): void {
  describe('retry keys', () => {
    let subject: Subject;
    let id: string;
    let key: string;
    beforeAll(async () => {
      subject = await Subject.open(kind, store);
    });
    beforeEach(async () => {
      id = await subject.begin();
      key = newId();
    });
    afterAll(async () => {
      await subject.close();
      store.remove();
    });
    const run = (count: number, more: Record<string, unknown> = {}, call?: CallMore) =>
      subject.call(
        'run_turn',
        {
          conversation_id: id,
          user_message: 'Hi',
          retry_key: key,
          retry_count: count,
          answer: 'outcome',
          ...more,
        },
        call,
      );

    test('0 always runs a turn; a larger number joins the latest one, also after a restart', async () => {
      subject.says('One', 'Two');
      expect(await run(0)).toMatchObject({ text: kind.answer('One') });
      const second = await run(0);
      expect(second).toMatchObject({ text: kind.answer('Two') });
      expect(await run(1)).toEqual(second);
      await subject.restart();
      expect(await run(7)).toEqual(second);
    });

    test('a larger number runs a turn if there is none to join', async () => {
      subject.says('One');
      const first = await run(3);
      expect(first).toMatchObject({ text: kind.answer('One') });
      expect(await run(4)).toEqual(first);
    });

    test('a larger number joins a turn of another conversation, and a running one, by call and by stream', async () => {
      const half = gate();
      subject.model.push({ ...kind.says('One'), steps: [half, ...kind.says('One').steps] });
      const first = run(0);
      await half.reached;
      const other = await subject.begin();
      const again = run(1, { conversation_id: other });
      const stream = subject.stream('run_turn_stream', {
        conversation_id: other,
        user_message: 'Hi',
        retry_key: key,
        retry_count: 2,
      });
      half.open();
      expect(await again).toEqual(await first);
      expect((await stream.ended).at(-1)).toMatchObject({ type: 'done', turn_id: (await first).turn_id });
      expect(await subject.call('get_history', { conversation_id: other })).toEqual([]);
    });

    test('50 requests with one key at once are one turn', async () => {
      subject.says('One');
      const answers = await Promise.all(Array.from({ length: 50 }, (_, count) => run(count)));
      expect(new Set(answers.map(({ turn_id }) => turn_id)).size).toBe(1);
    });

    test('odd keys are kept apart, or refused', async () => {
      const keys = [
        '\ud800',
        '\ud801',
        '\ufffd',
        '\u0000',
        '\u0000a',
        'k',
        'K',
        ' k',
        '__proto__',
        'x'.repeat(128),
      ];
      const turns = new Map<string, unknown>();
      for (const odd of keys) {
        subject.says(`for ${keys.indexOf(odd)}`);
        const report = await run(1, { retry_key: odd }).catch((error: { code: string }) => {
          expect(error.code, JSON.stringify(odd)).toBe('PARAMS_INVALID');
          return undefined;
        });
        // The reply that was not used answers a turn without a key.
        if (report) turns.set(odd, report.turn_id);
        else await subject.call('run_turn', { conversation_id: id, user_message: 'x' });
      }
      expect(new Set(turns.values()).size).toBe(turns.size);
      for (const [odd, turn_id] of turns) expect(await run(1, { retry_key: odd })).toMatchObject({ turn_id });
    });

    test('keys of different principals are different keys', async () => {
      subject.says('One', 'Two');
      id = await subject.begin({ share: ['ada', 'bob'] });
      const first = await run(0, {}, { principal: 'ada' });
      expect(await run(1, {}, { principal: 'ada' })).toEqual(first);
      expect(await run(1, {}, { principal: 'bob' })).toMatchObject({ text: kind.answer('Two') });
    });
  });
}
