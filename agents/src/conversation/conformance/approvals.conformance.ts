// Tools that wait for the approval of a person, and answer_approval. For kinds with tools.
import { newId } from '@fame-fabric/shared';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { callTools } from '../../testing/script.ts';
import {
  type AgentKind,
  type CallMore,
  type Following,
  type OwnTool,
  type StoreKind,
  Subject,
} from './subject.conformance.ts';

export function approvalsConformance(kind: AgentKind, store: StoreKind): void {
  describe('approvals', () => {
    let subject: Subject;
    let id: string;
    const sent: string[] = [];
    const send: OwnTool = {
      name: 'send',
      description: 'Sends a message',
      parameters: z.object({ to: z.string() }),
      approval: ({ to }) => to !== 'me',
      execute: ({ to }) => {
        sent.push(String(to));
        return `sent to ${to}`;
      },
    };
    beforeAll(async () => {
      subject = await Subject.open(kind, store, { tools: [send] });
    });
    beforeEach(async () => {
      id = await subject.begin();
      sent.length = 0;
    });
    afterAll(async () => {
      await subject.close();
      store.remove();
    });
    const turn = (params: Record<string, unknown> = {}, more?: CallMore) =>
      subject.stream(
        'run_turn_stream',
        { conversation_id: id, user_message: 'Send it', turn_id: 't', ...params },
        more,
      );
    const answer = (call_id: unknown, approve: boolean, note?: string, more?: CallMore) =>
      subject.call(
        'answer_approval',
        { conversation_id: id, call_id, approve, ...(note ? { note } : {}) },
        more,
      );
    const report = () => subject.call('get_turn', { conversation_id: id, turn_id: 't' });
    const state = async () => {
      const task = await subject.call<{ status: { state: string } }>('tasks/get', { id });
      return task.status.state;
    };
    const toolTexts = () =>
      subject.model.requests
        .at(-1)!
        .messages.flatMap((message) => (message.role === 'tool' ? [message.content] : []));
    /** Starts a turn that asks, and returns it with the id of the approval. */
    async function ask(more?: CallMore): Promise<{ following: Following; call: unknown }> {
      subject.model.push(callTools({ name: 'send', arguments: { to: 'Ada' } }));
      const following = turn({}, more);
      const approval = await following.until({ type: 'approval' });
      expect(approval).toMatchObject({ kind: 'tool', name: 'send', args: { to: 'Ada' }, turn_id: 't' });
      return { following, call: approval.id };
    }

    test('an approved call runs once, and the turn continues', async () => {
      const { following, call } = await ask();
      expect(sent).toEqual([]);
      expect(await state()).toBe('input-required');
      expect(await report()).toMatchObject({
        state: 'input-required',
        ended_at: null,
        approvals: [
          { call_id: call, kind: 'tool', name: 'send', args: { to: 'Ada' }, asked_at: expect.any(String) },
        ],
      });
      subject.model.push('Done.');
      await answer(call, true);
      await answer(call, true);
      const events = await following.ended;
      expect(events.at(-1)).toMatchObject({ type: 'done', text: 'Done.' });
      expect(events).toContainEqual(
        expect.objectContaining({ type: 'approval_answer', id: call, approve: true }),
      );
      expect(sent).toEqual(['Ada']);
      expect(toolTexts()).toEqual([expect.stringContaining('sent to Ada')]);
      expect(await state()).toBe('working');
      await expect(answer(call, false)).rejects.toMatchObject({ code: 'APPROVAL_ANSWERED' });
      await answer(call, true);
    });

    test('a refused call does not run, and the model gets the note', async () => {
      const { following, call } = await ask();
      subject.model.push('Then not.');
      await answer(call, false, 'Not to her');
      expect((await following.ended).at(-1)).toMatchObject({ type: 'done', text: 'Then not.' });
      expect(sent).toEqual([]);
      expect(toolTexts().join()).toContain('Not to her');
      await expect(answer(call, true)).rejects.toMatchObject({ code: 'APPROVAL_ANSWERED' });
    });

    test('a call whose arguments need no approval runs at once', async () => {
      subject.model.push(callTools({ name: 'send', arguments: { to: 'me' } }), 'Done.');
      const events = await turn().ended;
      expect(events.filter(({ type }) => type === 'approval')).toEqual([]);
      expect(sent).toEqual(['me']);
    });

    test('a question outlives its callers and restarts, and its answer outlives a restart', async () => {
      const { following, call } = await ask();
      following.leave('caller-gone');
      for (let round = 0; round < 3; round++) {
        await subject.restart();
        expect(await report()).toMatchObject({ state: 'input-required', approvals: [{ call_id: call }] });
        const events = turn();
        expect((await events.until({ type: 'approval' })).id).toBe(call);
        events.leave('caller-gone');
      }
      subject.model.push('Done.');
      await answer(call, true);
      const [done] = (await turn().ended).slice(-1);
      expect(done).toMatchObject({ type: 'done', text: 'Done.' });
      await subject.restart();
      expect(await report()).toMatchObject({ state: 'completed', text: 'Done.' });
      expect(sent).toEqual(['Ada']);
    });

    test('cancel_turn and end_conversation end a turn that waits', async () => {
      const { following, call } = await ask();
      expect(await subject.call('cancel_turn', { conversation_id: id })).toBe(true);
      expect((await following.ended).at(-1)).toMatchObject({ type: 'error', code: 'TURN_CANCELLED' });
      await expect(answer(call, true)).rejects.toMatchObject({ code: 'APPROVAL_UNKNOWN' });
      id = await subject.begin();
      const second = await ask();
      await subject.call('end_conversation', { conversation_id: id });
      expect((await second.following.ended).at(-1)).toMatchObject({ type: 'error' });
      expect(sent).toEqual([]);
    });

    test('the owner and the principal local may answer; others do not see the conversation', async () => {
      id = await subject.begin({}, { principal: 'ada' });
      const { following, call } = await ask({ principal: 'ada' });
      for (const principal of ['bob', 'anonymous']) {
        await expect(answer(call, true, undefined, { principal })).rejects.toMatchObject({
          code: 'CONVERSATION_UNKNOWN',
        });
      }
      subject.model.push('Done.');
      await answer(call, true, undefined, { principal: 'local' });
      await following.ended;
      await answer(call, true, undefined, { principal: 'ada' });
    });

    test('unknown calls and conversations, and values out of bounds, are refused', async () => {
      await expect(answer('unknown', true)).rejects.toMatchObject({ code: 'APPROVAL_UNKNOWN' });
      const params = { conversation_id: newId(), call_id: 'x', approve: true };
      await expect(subject.call('answer_approval', params)).rejects.toMatchObject({
        code: 'CONVERSATION_UNKNOWN',
      });
      const { following, call } = await ask();
      for (const note of ['x'.repeat(100_000), 7, {}]) {
        const more = { conversation_id: id, call_id: call, approve: true, note };
        await expect(subject.call('answer_approval', more)).rejects.toMatchObject({
          code: 'PARAMS_INVALID',
          message: expect.stringContaining('note'),
        });
      }
      expect(await report()).toMatchObject({ state: 'input-required' });
      await subject.call('cancel_turn', { conversation_id: id });
      await following.ended;
    });
  });
}
