// Options of a turn that the host applies: instructions, truncation and metadata. For kinds that take these options.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AgentKind, type StoreKind, Subject } from './subject.conformance.ts';

export function turnOptionsConformance(kind: AgentKind, store: StoreKind): void {
  describe('options of a turn', () => {
    let subject: Subject;
    beforeAll(async () => {
      subject = await Subject.open(kind, store);
    });
    afterAll(async () => {
      await subject.close();
      store.remove();
    });
    const run = (id: string, options: Record<string, unknown>, more: Record<string, unknown> = {}) => {
      subject.model.push('Yes');
      const params = { conversation_id: id, user_message: 'Hi', answer: 'outcome', options, ...more };
      return subject.call<{ accepted_seq: number; seq: number }>('run_turn', params);
    };
    const systemMessage = () => subject.model.requests.at(-1)!.messages[0];

    test('instructions replace the system prompt for one turn', async () => {
      const id = await subject.begin({ system_prompt: 'Be kind.' });
      await run(id, { instructions: 'Be short.' }, { turn_id: 'first' });
      expect(systemMessage()).toEqual({ role: 'system', content: 'Be short.' });
      await run(id, {});
      expect(systemMessage()).toEqual({ role: 'system', content: 'Be kind.' });
      await subject.restart();
      expect(
        await subject.call('get_prompt', { conversation_id: id, turn_id: 'first', step: 1 }),
      ).toMatchObject({
        messages: [{ role: 'system', content: 'Be short.' }, { role: 'user' }],
        verified: true,
      });
    });

    test('with truncation "disabled" a turn fails once the history is full', async () => {
      const id = await subject.begin({ max_history_length: 2 });
      const options = { truncation: 'disabled' };
      expect(await run(id, options)).toMatchObject({ state: 'completed' });
      expect(await run(id, options)).toMatchObject({ state: 'completed' });
      const error = { code: 'PARAMS_INVALID', message: expect.stringContaining('options.truncation') };
      const asked = subject.model.count;
      const refused = { conversation_id: id, user_message: 'Hi', answer: 'outcome', options };
      expect(await subject.call('run_turn', refused)).toMatchObject({ state: 'failed', error });
      await subject.restart();
      expect(await subject.call('run_turn', refused)).toMatchObject({ state: 'failed', error });
      expect(subject.model.count).toBe(asked);
      expect(await run(id, { truncation: 'auto' })).toMatchObject({ state: 'completed' });
    });

    test('read_events returns the options, and the report has the cursors of the turn', async () => {
      const id = await subject.begin();
      const options = { temperature: 0.5, metadata: { topic: 'tea' } };
      const report = await run(id, options, { turn_id: 't' });
      const { events } = await subject.call<{ events: { type: string; seq: number; options?: unknown }[] }>(
        'read_events',
        { conversation_id: id, after: report.accepted_seq - 1 },
      );
      expect(events[0]).toMatchObject({ type: 'turn', turn_id: 't', seq: report.accepted_seq, options });
      expect(events.at(-1)).toMatchObject({ type: 'done', seq: report.seq });
      expect(JSON.stringify(subject.model.requests.at(-1))).not.toContain('tea');
    });

    test.each([
      ['instructions', 'x'.repeat(65_537)],
      ['truncation', 'some'],
      ['metadata', { topic: 1 }],
      ['metadata', { ['n'.repeat(65)]: '' }],
      ['metadata', { topic: 'x'.repeat(513) }],
      ['metadata', Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`n${i}`, '']))],
    ])('refuses a wrong value of %s', async (name, value) => {
      const id = await subject.begin();
      const params = { conversation_id: id, user_message: 'Hi', options: { [name]: value } };
      await expect(subject.call('run_turn', params)).rejects.toMatchObject({
        code: 'PARAMS_INVALID',
        message: expect.stringContaining(name),
      });
    });
  });
}
