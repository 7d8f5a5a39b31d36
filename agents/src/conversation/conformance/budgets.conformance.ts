// Conversations whose budget is used up: those that fail, and those that ask for more.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AgentKind, type StoreKind, Subject } from './subject.conformance.ts';

export function budgetsConformance(kind: AgentKind, store: StoreKind): void {
  describe('a used-up budget', () => {
    let subject: Subject;
    beforeAll(async () => {
      subject = await Subject.open(kind, store, { hasOneCall: true });
    });
    afterAll(async () => {
      await subject.close();
      store.remove();
    });
    const begin = async (params: Record<string, unknown>): Promise<string> => {
      const id = await subject.begin(params);
      await subject.turn(id, 'Hi', 'Hello');
      return id;
    };
    const turn = (conversation_id: string) =>
      subject.stream('run_turn_stream', { conversation_id, user_message: 'More', turn_id: 't' });
    const answer = (conversation_id: string, call_id: unknown, approve: boolean) =>
      subject.call('answer_approval', { conversation_id, call_id, approve });

    test.each([{}, { on_budget: 'fail' }])('fails the turn with %j', async (params) => {
      const id = await begin(params);
      expect((await turn(id).ended).at(-1)).toMatchObject({ type: 'error', code: 'BUDGET_EXCEEDED' });
    });

    test('with on_budget: ask it asks, also after a restart, and an approval extends the limit', async () => {
      const id = await begin({ on_budget: 'ask' });
      const first = turn(id);
      const approval = await first.until({ type: 'approval' });
      expect(approval).toMatchObject({
        kind: 'budget',
        name: 'budget',
        args: { limit: expect.any(Number), unit: expect.any(String), spent: expect.any(Number) },
      });
      first.leave('caller-gone');
      await subject.restart();
      const second = turn(id);
      await second.until({ type: 'approval', id: approval.id as string });
      subject.says('Fine');
      await answer(id, approval.id, true);
      expect((await second.ended).at(-1)).toMatchObject({ type: 'done', text: kind.answer('Fine') });
    });

    test('a refusal fails the turn', async () => {
      const id = await begin({ on_budget: 'ask' });
      const following = turn(id);
      const approval = await following.until({ type: 'approval' });
      await answer(id, approval.id, false);
      expect((await following.ended).at(-1)).toMatchObject({ type: 'error', code: 'BUDGET_EXCEEDED' });
    });
  });
}
