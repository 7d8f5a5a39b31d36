// run_turn, run_turn_stream, cancel_turn and get_turn: events, outcomes, options, and the same turn again.
import { FabricError, newId } from '@fame-fabric/shared';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { failing, stall } from '../../testing/script.ts';
import type { TurnOptions } from '../../turn/turn-options.ts';
import { deep } from './hostile-values.conformance.ts';
import { type AgentKind, type StoreKind, Subject } from './subject.conformance.ts';

const OPTIONS: Required<TurnOptions> = {
  tools: [{ type: 'function', function: { name: 'open', parameters: { type: 'object', properties: {} } } }],
  tool_choice: 'none',
  response_format: { type: 'json_object' },
  temperature: 0.5,
  max_tokens: 17,
  stop: ['END'],
  model: 'second',
  instructions: 'Be short.',
  truncation: 'auto',
  metadata: { topic: 'tea' },
};

const tool = (name: string, description?: string) => ({
  type: 'function',
  function: { name, ...(description ? { description } : {}), parameters: { type: 'object', properties: {} } },
});

const BAD_OPTIONS: Record<string, unknown[]> = {
  temperature: [-0.1, 2.1, 'hot', deep()],
  max_tokens: [0, -1, 1.5, 1e300, '1'],
  stop: ['', ['a', 'b', 'c', 'd', 'e'], 'x'.repeat(10_000), [7]],
  model: ['none-of-them', '\ud800', '', 7],
  tools: [
    'all',
    [{}],
    Array.from({ length: 129 }, (_, i) => tool(`t${i}`)),
    [tool('a'), tool('a')],
    [tool('bad name')],
    [tool('')],
    [tool('big', 'x'.repeat(70_000))],
  ],
  tool_choice: ['perhaps', { type: 'function', function: { name: 'missing' } }, deep()],
  response_format: [{ type: 'xml' }, 'json', deep()],
  surprise: [1],
};

export function turnsConformance(kind: AgentKind, store: StoreKind): void {
  describe('turns', () => {
    let subject: Subject;
    let id: string;
    /** Requests of the model before the test. */
    let asked: number;
    beforeAll(async () => {
      subject = await Subject.open(kind, store, { models: ['second'] });
    });
    beforeEach(async () => {
      asked = subject.model.count;
      id = await subject.begin();
    });
    afterAll(async () => {
      await subject.close();
      store.remove();
    });
    const params = (user_message: string, more: Record<string, unknown> = {}) => ({
      conversation_id: id,
      user_message,
      turn_id: 't1',
      ...more,
    });

    test('run_turn returns the text, or the report on request, and the same again for the same turn id', async () => {
      subject.says('Hello');
      const text = kind.answer('Hello');
      expect(await subject.call('run_turn', params('Hi'))).toBe(text);
      expect(await subject.call('run_turn', params('Hi'))).toBe(text);
      const report = await subject.call('run_turn', params('Hi', { answer: 'outcome' }));
      expect(report).toEqual({
        conversation_id: id,
        turn_id: 't1',
        state: 'completed',
        accepted_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
        ended_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
        accepted_seq: expect.any(Number),
        seq: expect.any(Number),
        duration_ms: expect.any(Number),
        first_token_ms: expect.any(Number),
        text,
        finish: 'stop',
        usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 },
        cost: 'unknown',
        model: 'scripted',
        steps: [
          {
            step: 1,
            model: 'scripted',
            finish: expect.any(String),
            usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 },
            cost: 'unknown',
            digest: expect.stringMatching(/^[0-9a-f]{64}$/),
            calls: expect.any(Array),
          },
        ],
      });
      expect(subject.model.count).toBe(asked + 1);
    });

    test('run_turn_stream yields the text and `done`; `after` continues, in this process and in the next', async () => {
      subject.says('Hello there');
      const events = await subject.stream('run_turn_stream', params('Hi')).ended;
      const text = kind.answer('Hello there');
      expect(textOf(events)).toBe(text);
      expect(events.at(-1)).toMatchObject({
        type: 'done',
        turn_id: 't1',
        text,
        finish: 'stop',
        model: 'scripted',
        usage: { total_tokens: 15 },
        cost: 'unknown',
        first_token_ms: expect.any(Number),
      });
      expectRising(events);
      for (const restart of [false, true]) {
        if (restart) await subject.restart();
        for (const [index, event] of events.entries()) {
          const rest = await subject.stream('run_turn_stream', params('Hi', { after: event.seq })).ended;
          expect(textOf(rest), `after event ${index}, restart ${restart}`).toBe(
            textOf(events.slice(index + 1)),
          );
        }
      }
    });

    test('the same turn id with another message, options or results is a conflict', async () => {
      subject.says('Hello');
      await subject.call('run_turn', params('Hi'));
      const others = [
        params('Ho'),
        ...(kind.takes.includes('temperature') ? [params('Hi', { options: { temperature: 1 } })] : []),
      ];
      for (const other of others) {
        await expect(subject.call('run_turn', other)).rejects.toMatchObject({ code: 'TURN_CONFLICT' });
      }
    });

    test.each(Object.entries(OPTIONS))(
      'the option %s is accepted, or refused by name',
      async (name, value) => {
        const options = { [name]: value, ...(name === 'tool_choice' ? { tools: OPTIONS.tools } : {}) };
        if (!kind.takes.includes(name as keyof TurnOptions)) {
          await expect(subject.call('run_turn', params('Hi', { options }))).rejects.toMatchObject({
            code: 'PARAMS_INVALID',
            message: expect.stringContaining(name === 'tool_choice' ? 'tool' : name),
          });
          return;
        }
        subject.says('Hello');
        expect(await subject.call('run_turn', params('Hi', { options }))).toBe(kind.answer('Hello'));
        const request = subject.model.requests[asked] as unknown as Record<string, unknown>;
        // The host applies these. `turn-options.conformance.ts` checks their effect.
        const isOfHost = ['instructions', 'truncation', 'metadata'].includes(name);
        expect(request[name]).toEqual(isOfHost ? undefined : value);
        // They hold for this turn only.
        await subject.turn(id, 'More', 'Again');
        expect(subject.model.requests.at(-1)).not.toHaveProperty(name, value);
      },
    );

    test('options out of bounds are refused by name, and no turn is accepted', async () => {
      for (const [name, values] of Object.entries(BAD_OPTIONS)) {
        for (const value of values) {
          const refused = subject.call('run_turn', params('Hi', { options: { [name]: value } }));
          await expect(refused, `${name} ${JSON.stringify(value).slice(0, 60)}`).rejects.toMatchObject({
            code: 'PARAMS_INVALID',
            message: expect.stringContaining(name),
          });
        }
      }
      expect(await subject.call('get_history', { conversation_id: id })).toEqual([]);
      expect(subject.model.count).toBe(asked);
    });

    test('results without open calls are refused', async () => {
      const tool_results = [{ tool_call_id: 'x', content: 'y' }];
      await expect(subject.call('run_turn', params('Hi', { tool_results }))).rejects.toMatchObject({
        code: 'PARAMS_INVALID',
      });
    });

    test('cancel_turn ends the running turn as cancelled, and returns whether there was one', async () => {
      subject.model.push([stall()]);
      const turn = subject.stream('run_turn_stream', params('Hi'));
      await expect.poll(() => subject.model.count).toBe(asked + 1);
      expect(await subject.call('cancel_turn', { conversation_id: id, turn_id: 't1' })).toBe(true);
      expect((await turn.ended).at(-1)).toMatchObject({ type: 'error', code: 'TURN_CANCELLED' });
      expect(await subject.call('cancel_turn', { conversation_id: id })).toBe(false);
      expect(await subject.call('run_turn', params('Hi', { answer: 'outcome' }))).toMatchObject({
        state: 'cancelled',
        error: { code: 'TURN_CANCELLED' },
      });
    });

    test('a failed turn has its error and its model in the stream and in the report', async () => {
      subject.model.push(failing(new FabricError('MODEL_AUTH', 'Wrong key')));
      const events = await subject.stream('run_turn_stream', params('Hi')).ended;
      expect(events.at(-1)).toMatchObject({ type: 'error', code: 'MODEL_AUTH', turn_id: 't1' });
      expect(await subject.call('run_turn', params('Hi', { answer: 'outcome' }))).toMatchObject({
        state: 'failed',
        finish: null,
        error: { code: 'MODEL_AUTH', retryable: false },
        steps: [{ step: 1, finish: null, usage: null }],
      });
      await subject.turn(id, 'More', 'Fine');
    });

    test.each([
      ['run_turn', { user_message: 'x' }],
      ['cancel_turn', {}],
      ['get_history', {}],
    ])('%s of an unknown conversation is refused', async (method, more) => {
      await expect(subject.call(method, { conversation_id: newId(), ...more })).rejects.toMatchObject({
        code: 'CONVERSATION_UNKNOWN',
      });
    });
  });
}

/** The text that a reader of the events has at the end. */
export function textOf(events: readonly Record<string, unknown>[]): string {
  let text = '';
  for (const event of events) {
    if (event.type === 'restart') text = text.slice(0, event.keep as number);
    if (event.type === 'text') text += event.text;
  }
  return text;
}

export function expectRising(events: readonly Record<string, unknown>[]): void {
  const seqs = events.map(({ seq }) => seq as number);
  expect(seqs.every(Number.isSafeInteger)).toBe(true);
  expect(seqs).toEqual([...new Set(seqs)].sort((a, b) => a - b));
}
