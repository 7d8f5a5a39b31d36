// Turns whose options have tools of the caller, and the reason why a turn finished. For kinds that take these options.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { callTools, reply } from '../../testing/script.ts';
import { type AgentKind, type OwnTool, type StoreKind, Subject } from './subject.conformance.ts';

export function callerToolsConformance(kind: AgentKind, store: StoreKind): void {
  describe('tools of the caller', () => {
    let subject: Subject;
    let id: string;
    const looked: string[] = [];
    const look: OwnTool = {
      name: 'look',
      description: 'Looks',
      parameters: z.object({ at: z.string() }),
      execute: ({ at }) => {
        looked.push(String(at));
        return `saw ${at}`;
      },
    };
    beforeAll(async () => {
      subject = await Subject.open(kind, store, { tools: [look] });
    });
    beforeEach(async () => {
      id = await subject.begin();
      looked.length = 0;
    });
    afterAll(async () => {
      await subject.close();
      store.remove();
    });
    const open = {
      type: 'function',
      function: { name: 'open', parameters: { type: 'object', properties: {} } },
    };
    const run = (more: Record<string, unknown> = {}) =>
      subject.call('run_turn', { conversation_id: id, user_message: '', answer: 'outcome', ...more });
    const state = async () => {
      const task = await subject.call<{ status: { state: string } }>('tasks/get', { id });
      return task.status.state;
    };
    /** Runs a turn that calls a tool of each side. Returns the calls for the caller. */
    async function handOut(): Promise<{ id: string }[]> {
      subject.model.push(
        callTools([
          { name: 'open', arguments: { door: 1 } },
          { name: 'look', arguments: { at: 'it' } },
          { name: 'open', arguments: { door: 2 } },
        ]),
      );
      const events = await subject.stream('run_turn_stream', {
        conversation_id: id,
        user_message: 'Open them',
        turn_id: 'first',
        options: { tools: [open] },
      }).ended;
      const done = events.at(-1) as { finish: string; tool_calls: { id: string }[] };
      expect(done.finish).toBe('tool_calls');
      expect(done.tool_calls).toMatchObject([
        { type: 'function', function: { name: 'open', arguments: '{"door":1}' } },
        { type: 'function', function: { name: 'open', arguments: '{"door":2}' } },
      ]);
      return done.tool_calls;
    }

    test('the own call of the agent runs, the others are returned, and their results continue the turn, also after restarts', async () => {
      const calls = await handOut();
      expect(looked).toEqual(['it']);
      expect(await state()).toBe('input-required');
      await subject.restart();
      expect(await subject.call('get_turn', { conversation_id: id, turn_id: 'first' })).toMatchObject({
        state: 'completed',
        finish: 'tool_calls',
        tool_calls: calls,
      });
      subject.model.push('Both are open.');
      const tool_results = calls
        .map((call, i) => ({ tool_call_id: call.id, content: `opened ${i}` }))
        .reverse();
      expect(await run({ tool_results, turn_id: 'second' })).toMatchObject({
        text: 'Both are open.',
        finish: 'stop',
      });
      await subject.restart();
      expect(await run({ tool_results, turn_id: 'second' })).toMatchObject({ text: 'Both are open.' });
      expect(looked).toEqual(['it']);
      expect(await state()).toBe('working');
      const { messages } = subject.model.requests.at(-1)!;
      expect(messages.filter(({ role }) => role === 'tool').map(({ content }) => content)).toEqual([
        'opened 0',
        'saw it',
        'opened 1',
      ]);
      subject.model.assertValid();
    });

    test('results must answer each call once', async () => {
      const [first, second] = (await handOut()) as [{ id: string }, { id: string }];
      const result = (call: { id: string }) => ({ tool_call_id: call.id, content: 'x' });
      for (const tool_results of [
        undefined,
        [],
        [result(first)],
        [result(first), result(first)],
        [result(first), result(second), result({ id: 'unknown' })],
        [result(first), { tool_call_id: second.id }],
        [result(first), { tool_call_id: second.id, content: { deep: true } }],
        [result(first), { ...result(second), surprise: 1 }],
        [result(first), { tool_call_id: second.id, content: 'x'.repeat(300_000) }],
      ]) {
        await expect(run({ tool_results, turn_id: 'second' })).rejects.toMatchObject({
          code: 'PARAMS_INVALID',
        });
      }
      await expect(run({ tool_results: [result(first)] })).rejects.toMatchObject({
        details: { calls: [first.id, second.id] },
      });
      subject.model.push('Fine.');
      expect(
        await run({ tool_results: [result(first), result(second)], user_message: 'And?', turn_id: 'second' }),
      ).toMatchObject({ text: 'Fine.' });
    });

    test('a tool with the name of a tool of the agent is refused', async () => {
      const options = { tools: [{ ...open, function: { ...open.function, name: 'look' } }] };
      await expect(run({ user_message: 'x', options })).rejects.toMatchObject({
        code: 'PARAMS_INVALID',
        message: expect.stringContaining('look'),
      });
    });

    test.each(['stop', 'length', 'content_filter'] as const)('a turn has the finish %s', async (finish) => {
      subject.model.push(reply('Text', { finish }));
      const events = await subject.stream('run_turn_stream', {
        conversation_id: id,
        user_message: 'x',
        turn_id: 't',
      }).ended;
      expect(events.at(-1)).toMatchObject({ type: 'done', finish });
      expect(await subject.call('get_turn', { conversation_id: id, turn_id: 't' })).toMatchObject({
        finish,
      });
    });
  });
}
