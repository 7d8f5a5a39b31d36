// fork: two conversations with the same history up to a turn, and independent turns after it.
import { newId } from '@fame-fabric/shared';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { stall } from '../../testing/script.ts';
import { type AgentKind, type StoreKind, Subject } from './subject.conformance.ts';

export function forksConformance(kind: AgentKind, store: StoreKind): void {
  describe('forks', () => {
    let subject: Subject;
    let origin: string;
    let first: string;
    beforeAll(async () => {
      subject = await Subject.open(kind, store, { models: ['second'] });
    });
    beforeEach(async () => {
      origin = await subject.begin();
      first = await subject.turn(origin, 'one', 'First');
      await subject.turn(origin, 'two', 'Second');
    });
    afterAll(async () => {
      await subject.close();
      store.remove();
    });
    const history = async (id: string): Promise<string> =>
      JSON.stringify(await subject.call('get_history', { conversation_id: id }));
    const fork = async (of: string, at: string): Promise<string> => {
      const { id } = await subject.call<{ id: string }>('fork', { conversation_id: of, at, id: newId() });
      return id;
    };

    test('a fork has the history up to the turn; later turns of either one do not change the other', async () => {
      const id = await fork(origin, first);
      expect(await history(id)).toContain('one');
      expect(await history(id)).not.toContain('two');
      await subject.turn(id, 'apart', 'Apart');
      await subject.turn(origin, 'three', 'Third');
      expect(await history(id)).not.toContain('three');
      expect(await history(origin)).not.toContain('apart');
      expect(await history(origin)).toContain('two');
    });

    test('an ephemeral fork is in no list', async () => {
      const local = { principal: 'local' };
      const listed = async (): Promise<string[]> => {
        const page = { limit: 200 };
        const { conversations } = await subject.call<{ conversations: { id: string }[] }>(
          'list_conversations',
          page,
          local,
        );
        return conversations.map(({ id }) => id);
      };
      const params = { conversation_id: origin, at: first };
      const { id } = await subject.call<{ id: string }>('fork', { ...params, ephemeral: true });
      const plain = await subject.call<{ id: string }>('fork', params);
      expect(await history(id)).toContain('one');
      expect(await listed()).toContain(plain.id);
      expect(await listed()).not.toContain(id);
    });

    test('a fork of a fork, also after restarts and after the end of the origins', async () => {
      const middle = await fork(origin, first);
      const second = await subject.turn(middle, 'apart', 'Apart');
      await subject.call('end_conversation', { conversation_id: origin });
      await subject.restart();
      const last = await fork(middle, second);
      await subject.call('end_conversation', { conversation_id: middle });
      await subject.restart();
      await subject.turn(last, 'further', 'Further');
      for (const text of ['one', 'apart', 'further']) expect(await history(last)).toContain(text);
      expect(await history(last)).not.toContain('two');
    });

    test('the same call again starts one fork, and an id that is taken is refused', async () => {
      const params = { conversation_id: origin, at: first, id: 'fork' };
      const task = await subject.call('fork', params, { id: 'call' });
      expect(await subject.call('fork', params, { id: 'call' })).toEqual(task);
      await expect(subject.call('fork', params, { id: 'other' })).rejects.toMatchObject({
        code: 'CONVERSATION_EXISTS',
      });
    });

    test('a fork accepts the models that turns may choose, and no others', async () => {
      const params = { conversation_id: origin, at: first };
      const refused = subject.call('fork', { ...params, model: 'unknown' });
      await expect(refused).rejects.toMatchObject({
        code: 'PARAMS_INVALID',
        message: expect.stringContaining('model'),
      });
      if (!kind.takes.includes('model')) return;
      const { id } = await subject.call<{ id: string }>('fork', { ...params, id: newId(), model: 'second' });
      await subject.turn(id, 'x', 'X');
      await subject.restart();
      await subject.turn(id, 'y', 'Y');
      expect(subject.model.requests.slice(-2)).toMatchObject([{ model: 'second' }, { model: 'second' }]);
    });

    test('an unknown conversation, an unknown turn and an open turn are refused', async () => {
      await expect(subject.call('fork', { conversation_id: newId(), at: first })).rejects.toMatchObject({
        code: 'CONVERSATION_UNKNOWN',
      });
      await expect(subject.call('fork', { conversation_id: origin, at: newId() })).rejects.toMatchObject({
        code: 'TURN_UNKNOWN',
      });
      const before = subject.model.count;
      subject.model.push([stall()]);
      subject.stream('run_turn_stream', { conversation_id: origin, user_message: 'x', turn_id: 'open' });
      await expect.poll(() => subject.model.count).toBe(before + 1);
      await expect(subject.call('fork', { conversation_id: origin, at: 'open' })).rejects.toMatchObject({
        code: 'PARAMS_INVALID',
        message: expect.stringContaining('at'),
      });
    });
  });
}
