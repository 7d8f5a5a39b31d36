// start_task, end_conversation, get_history.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AgentKind, type StoreKind, Subject } from './subject.conformance.ts';

export function startsConformance(kind: AgentKind, store: StoreKind): void {
  describe('starts', () => {
    let subject: Subject;
    beforeAll(async () => {
      subject = await Subject.open(kind, store);
    });
    afterAll(async () => {
      await subject.close();
      store.remove();
    });

    test('start_task returns a task, and the same one for a repeated call; a taken id is refused', async () => {
      const task = await subject.call('start_task', { id: 'c' }, { id: 'call' });
      expect(task).toMatchObject({ id: 'c', status: { state: 'working' } });
      expect(await subject.call('start_task', { id: 'c' }, { id: 'call' })).toEqual(task);
      await expect(subject.call('start_task', { id: 'c' }, { id: 'other' })).rejects.toMatchObject({
        code: 'CONVERSATION_EXISTS',
      });
    });

    test('a conversation begins with its messages, which the model receives and get_history returns, also after a restart', async () => {
      const messages = [
        { role: 'user', content: 'My name is Ada.' },
        { role: 'assistant', content: 'Hello Ada.' },
      ];
      const id = await subject.begin({ messages });
      expect(await subject.call('get_history', { conversation_id: id })).toEqual(messages);
      await subject.restart();
      expect(await subject.call('get_history', { conversation_id: id })).toEqual(messages);
      await subject.turn(id, 'Who am I?', 'Ada');
      const contents = subject.model.requests.at(-1)!.messages.map(({ content }) => content);
      expect(contents.join('\n')).toContain('My name is Ada.');
      expect(contents.join('\n')).toContain('Who am I?');
    });

    const call = { id: 'x', type: 'function', function: { name: 'look', arguments: '{}' } };
    test.each([
      ['a system message', [{ role: 'system', content: 'x' }]],
      ['an unknown role', [{ role: 'root', content: 'x' }]],
      ['an answer without its call', [{ role: 'tool', tool_call_id: 'x', content: 'x' }]],
      [
        'a call without its answer',
        [
          { role: 'assistant', content: null, tool_calls: [call] },
          { role: 'user', content: 'x' },
        ],
      ],
      ['a message without content', [{ role: 'user' }]],
      ['more than 400', Array.from({ length: 401 }, () => ({ role: 'user', content: 'x' }))],
      ['more than 1 MiB', Array.from({ length: 40 }, () => ({ role: 'user', content: 'x'.repeat(30_000) }))],
    ])('%s is refused, and starts nothing', async (_what, messages) => {
      await expect(subject.call('start_task', { id: 'refused', messages })).rejects.toMatchObject({
        code: 'PARAMS_INVALID',
        message: expect.stringContaining('messages'),
      });
      await expect(subject.call('get_history', { conversation_id: 'refused' })).rejects.toMatchObject({
        code: 'CONVERSATION_UNKNOWN',
      });
    });

    test('an ended conversation accepts no turn', async () => {
      const id = await subject.begin();
      await subject.call('end_conversation', { conversation_id: id });
      await expect(
        subject.call('run_turn', { conversation_id: id, user_message: 'x' }),
      ).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
    });
  });
}
