import { type LogFields, type Logger, silentLog } from '@fame-fabric/shared';
import { describe, expect, expectTypeOf, it, vi } from 'vitest';
import { z } from 'zod';
import { Budget } from '../model/budget.ts';
import type { ModelClasses } from '../model/model-classes.ts';
import { callTools, gate, reply, type ScriptReply } from '../testing/script.ts';
import { type ScriptedModel, scriptedModel } from '../testing/scripted-model.ts';
import { defineFunction } from '../tools/schema/completion-function.ts';
import { ChatMessage } from './chat-message.ts';
import { ChatPrompt } from './chat-prompt.ts';
import { defineStrategies, defineStrategy } from './prompt-strategy.ts';
import type { StrategyError } from './strategy-error.ts';

const refine = defineFunction({
  name: 'refine_requirements',
  parameters: z.object({ questions: z.array(z.string()).max(5) }),
});
const confirm = defineFunction({ name: 'confirm', parameters: z.object({ question: z.string() }) });

const clarify = defineStrategy({
  name: 'clarify',
  modelClass: 'fast',
  input: z.object({ objective: z.string() }),
  initialState: () => ({ asked: [] as string[] }),
  build: ({ objective }, state, env) =>
    new ChatPrompt({
      messages: [
        ChatMessage.system(`Asked: ${state.asked.length}. Left: ${env.remainingBudget} USD.`),
        ChatMessage.user(objective),
      ],
      functions: [refine, confirm],
      defaultFunctionCall: 'refine_requirements',
    }),
  reduce: (state, call) =>
    call.name === 'refine_requirements' ? { asked: [...state.asked, ...call.args.questions] } : state,
});
const summarize = defineStrategy({
  name: 'summarize',
  modelClass: 'smart',
  input: z.object({ text: z.string() }),
  build: ({ text }) => new ChatPrompt({ messages: [ChatMessage.user(text)] }),
});
const single = defineStrategy({ ...clarify, name: 'single', exactlyOne: true });
const strategies = defineStrategies(clarify, summarize, single);

const input = { objective: 'Help me with my homework.' };
const ask = (questions: string[]): ScriptReply =>
  callTools({ name: 'refine_requirements', arguments: { questions } });
const run = (model: ScriptedModel, more: object = {}) =>
  strategies.execute('clarify', input, { models: { default: model, fast: model }, ...more });
const failure = async (promise: Promise<unknown>): Promise<StrategyError> => {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return error as StrategyError;
};
const recordingLog = () => {
  const lines: { message: string; fields: LogFields | undefined }[] = [];
  const log: Logger = { ...silentLog, warn: (message, fields) => lines.push({ message, fields }) };
  return { log, lines };
};

describe('execute', () => {
  it('ST-6 refuses an unknown strategy with the known names, before any model call', async () => {
    const model = scriptedModel([]);
    const error = await failure(strategies.execute('clarfy' as string, {}, { models: { default: model } }));
    expect(error).toMatchObject({
      code: 'STRATEGY_UNKNOWN',
      message: 'There is no strategy "clarfy"; did you mean "clarify"? Known: clarify, summarize, single',
    });
    expect(model.count).toBe(0);
  });

  it('ST-6 refuses input that does not fit, before any model call', async () => {
    const model = scriptedModel([]);
    const error = await failure(strategies.execute('clarify' as string, {}, { models: { default: model } }));
    expect(error).toMatchObject({ code: 'PARAMS_INVALID' });
    expect(error.message).toContain('clarify.objective');
    expect(model.count).toBe(0);
  });

  it('ST-7 types the call by its name, and reduces the state', async () => {
    const { parsed, state } = await run(scriptedModel([ask(['Which topic?'])]));
    if (parsed.name === 'refine_requirements') {
      expectTypeOf(parsed.args).toEqualTypeOf<{ questions: string[] }>();
      expect(parsed.args.questions).toEqual(['Which topic?']);
    } else {
      expectTypeOf(parsed.name).toEqualTypeOf<'confirm'>();
      expectTypeOf(parsed.args).toEqualTypeOf<{ question: string }>();
      expect.unreachable();
    }
    expectTypeOf(state).toEqualTypeOf<{ asked: string[] }>();
    expect(state).toEqual({ asked: ['Which topic?'] });
    expectTypeOf(strategies.names).toEqualTypeOf<readonly ('clarify' | 'summarize' | 'single')[]>();
  });

  it('ST-8 forces the default function in the third request, and charges all three', async () => {
    const model = scriptedModel(['Hm.', 'Well.', ask(['Which topic?'])]);
    const budget = new Budget({ prices: { scripted: { input: 1, output: 1 } } });
    const response = await run(model, { budget });
    expect(response.parsed.args).toEqual({ questions: ['Which topic?'] });
    expect(response.attempts.map((attempt) => attempt.outcome)).toEqual(['no_call', 'no_call', 'ok']);
    expect(budget.spent.total.calls).toBe(3);
    expect(model.requests.map((request) => request.tool_choice)).toEqual([
      'auto',
      'auto',
      { type: 'function', function: { name: 'refine_requirements' } },
    ]);
    model.done();
  });

  it('ST-8 sends `required` if there is no default function', async () => {
    const plain = defineStrategy({
      ...clarify,
      name: 'plain',
      build: () => new ChatPrompt({ messages: [ChatMessage.user('x')], functions: [refine, confirm] }),
    });
    const model = scriptedModel(['Hm.', 'Well.', ask([])]);
    await defineStrategies(plain).execute('plain', input, { models: { default: model } });
    expect(model.requests.map((request) => request.tool_choice)).toEqual(['auto', 'auto', 'required']);
  });

  it('ST-9 fails with all three texts, and keeps them out of logs and the wire', async () => {
    const model = scriptedModel(['one', 'two', 'three']);
    const error = await failure(run(model));
    expect(error).toMatchObject({ code: 'NO_FUNCTION_CALL' });
    expect(error.attempts.map((attempt) => attempt.text)).toEqual(['one', 'two', 'three']);
    expect(JSON.stringify({ ...error, message: error.message })).not.toContain('three');
    model.done();
  });

  it('ST-10 reports invalid JSON to the model, and accepts the second reply', async () => {
    const model = scriptedModel([
      callTools({ name: 'refine_requirements', id: 'c1', arguments: '{"questions": [' }),
      ask(['Which topic?']),
    ]);
    const response = await run(model);
    expect(response.parsed.args).toEqual({ questions: ['Which topic?'] });
    const [call, answer] = model.requests[1]!.messages.slice(-2);
    expect(call).toMatchObject({ role: 'assistant', tool_calls: [{ id: 'c1' }] });
    expect(answer).toMatchObject({ role: 'tool', tool_call_id: 'c1' });
    expect(answer!.content).toContain('not valid JSON at 15');
    model.done();
  });

  it('ST-11 names the path that violates the schema, and fails the second time', async () => {
    const six = ['1', '2', '3', '4', '5', '6'];
    const model = scriptedModel([ask(six), ask(six)]);
    const error = await failure(run(model));
    expect(error).toMatchObject({
      code: 'ARGUMENTS_INVALID',
      details: { issues: [{ path: 'refine_requirements.questions' }] },
    });
    expect(model.requests[1]!.messages.at(-1)!.content).toContain('questions: Too big');
    expect(error.attempts).toHaveLength(2);
    model.done();
  });

  it('ST-12 repairs small faults without asking again', async () => {
    const model = scriptedModel([
      callTools({ name: 'refine_requirements', arguments: '```json\n{"questions": ["Which?",],}\n```' }),
    ]);
    expect((await run(model)).parsed.args).toEqual({ questions: ['Which?'] });
  });

  it('ST-12 asks again for single quotes and for two objects', async () => {
    for (const text of ["{'questions': []}", '{"questions":[]}{"questions":["a"]}']) {
      const model = scriptedModel([callTools({ name: 'refine_requirements', arguments: text }), ask([])]);
      expect((await run(model, {})).attempts).toHaveLength(2);
    }
  });

  it('ST-13 keeps escaped text unchanged', async () => {
    const model = scriptedModel([
      callTools({ name: 'refine_requirements', arguments: '{"questions":["\\ud83d\\ude00 a\\/b"]}' }),
    ]);
    expect((await run(model)).parsed.args).toEqual({ questions: ['😀 a/b'] });
  });

  it('ST-14 lists the known functions for the model, then fails', async () => {
    const wrong = callTools({ name: 'refine', arguments: {} });
    const good = scriptedModel([wrong, ask([])]);
    expect((await run(good)).attempts).toHaveLength(2);
    expect(good.requests[1]!.messages.at(-1)!.content).toContain(
      'there is no such function; there are: refine_requirements, confirm',
    );
    const error = await failure(run(scriptedModel([wrong, wrong])));
    expect(error.code).toBe('ARGUMENTS_INVALID');
  });

  it('ST-15 parses several calls in order; the first one is `parsed`', async () => {
    const two = callTools([
      { name: 'refine_requirements', arguments: { questions: ['a'] } },
      { name: 'confirm', arguments: { question: 'Right?' } },
    ]);
    const response = await run(scriptedModel([two]));
    expect(response.calls.map((call) => call.name)).toEqual(['refine_requirements', 'confirm']);
    expect(response.parsed).toBe(response.calls[0]);
    expect(response.state).toEqual({ asked: ['a'] });

    const model = scriptedModel([two, ask(['a'])]);
    const one = await strategies.execute('single', input, { models: { default: model } });
    expect(one.calls).toHaveLength(1);
    expect(model.requests[1]!.messages.filter((message) => message.role === 'tool')).toHaveLength(2);
  });

  it('ST-17 keeps concurrent executions apart', async () => {
    const first = gate();
    const model = scriptedModel([
      { steps: [first, 'no call'], when: (r) => r.messages.some((m) => m.content === 'A') },
      { steps: ['still none'], when: (r) => r.messages.some((m) => m.content === 'A') },
      {
        ...callTools({ name: 'confirm', arguments: { question: 'A?' } }),
        when: (r) => r.messages[1]!.content === 'A',
      },
      {
        ...callTools({ name: 'confirm', arguments: { question: 'B?' } }),
        when: (r) => r.messages[1]!.content === 'B',
      },
    ]);
    const models = { default: model };
    const a = strategies.execute('clarify', { objective: 'A' }, { models, state: { asked: ['x'] } });
    await first.reached;
    const b = await strategies.execute('clarify', { objective: 'B' }, { models });
    first.open();
    expect([(await a).attempts.length, b.attempts.length]).toEqual([3, 1]);
    expect([(await a).state.asked, b.state.asked]).toEqual([['x'], []]);
    expect((await a).parsed.args).toEqual({ question: 'A?' });
    model.done();
  });

  it('ST-24 sends each class to its model, and logs once that the default serves an unset class', async () => {
    const fast = scriptedModel([ask([])], { name: 'quick' });
    const fallback = scriptedModel(['one', 'two'], { name: 'big' });
    const models: ModelClasses = { default: fallback, fast };
    const { log, lines } = recordingLog();
    expect((await strategies.execute('clarify', input, { models, log })).model).toBe('quick');
    expect((await strategies.execute('summarize', { text: 'x' }, { models, log })).text).toBe('one');
    await strategies.execute('summarize', { text: 'x' }, { models, log });
    expect(lines.map((line) => line.fields)).toEqual([{ model_class: 'smart', model: 'big' }]);
  });

  it('ST-24 refuses a table without a default', async () => {
    const error = await failure(run(scriptedModel([]), { models: {} as ModelClasses }));
    expect(error.code).toBe('CONFIG_INVALID');
  });

  it('ST-25 stops before a call that exceeds the budget, failed attempts included', async () => {
    const model = scriptedModel(['no call']);
    const budget = new Budget({ limitTokens: 15, prices: {} });
    const error = await failure(run(model, { budget }));
    expect(error.code).toBe('BUDGET_EXCEEDED');
    expect(model.count).toBe(1);
  });

  it('ST-25 estimates the usage of a reply without a usage report', async () => {
    const budget = new Budget({ limitTokens: 1000, prices: {} });
    const model = scriptedModel([{ ...reply('x'.repeat(400)), usage: null }]);
    await strategies.execute('summarize', { text: 'y'.repeat(400) }, { models: { default: model }, budget });
    expect(budget.spent.total.completion_tokens).toBeGreaterThanOrEqual(100);
    expect(budget.spent.total.prompt_tokens).toBeGreaterThanOrEqual(100);
  });

  it('ST-26 reports the sum of the usage of all attempts', async () => {
    const usage = { prompt_tokens: 100, completion_tokens: 7, total_tokens: 107, cached_tokens: 64 };
    const budget = new Budget({ prices: {} });
    const model = scriptedModel([
      { ...reply('hm'), usage },
      { ...callTools({ name: 'confirm', arguments: { question: '?' } }), usage },
    ]);
    const response = await run(model, { budget });
    expect(response.usage).toEqual({
      prompt_tokens: 200,
      completion_tokens: 14,
      total_tokens: 214,
      cached_tokens: 128,
    });
    expect(budget.spent.byModel.scripted).toMatchObject({ prompt_tokens: 200, cached_tokens: 128 });
  });

  it('ST-27 passes the remaining budget to the prompt', async () => {
    const budget = new Budget({ limitUsd: 0.25, prices: { scripted: { input: 0, output: 0 } } });
    const model = scriptedModel([ask([])]);
    await run(model, { budget });
    expect(model.requests[0]!.messages[0]!.content).toBe('Asked: 0. Left: 0.25 USD.');
  });

  it('ST-28 rejects with the reason of an abort, and makes no further attempt', async () => {
    const stuck = gate();
    const model = scriptedModel([['Let me ', stuck, 'see']]);
    const abort = new AbortController();
    const reason = new Error('enough');
    const running = failure(run(model, { signal: abort.signal }));
    await stuck.reached;
    abort.abort(reason);
    expect(await running).toBe(reason);
    expect(model.calls.map((call) => call.state)).toEqual(['aborted']);
    expect(await failure(run(model, { signal: abort.signal }))).toBe(reason);
    expect(model.count).toBe(1);
  });

  it('ST-29 runs its hooks once each, awaited, around all attempts', async () => {
    const order: string[] = [];
    const noted = (answer: string | ScriptReply) => () => {
      order.push('model');
      return answer;
    };
    const model = scriptedModel([noted('no call'), noted(ask([]))]);
    await run(model, {
      hooks: {
        begin: async () => {
          await Promise.resolve();
          order.push('begin');
        },
        end: async () => {
          await Promise.resolve();
          order.push('end');
        },
      },
    });
    expect(order).toEqual(['begin', 'model', 'model', 'end']);
  });

  it('ST-29 fails the run with the error of a hook', async () => {
    const model = scriptedModel([ask([])]);
    const broken = new Error('broken hook');
    const fail = (): never => {
      throw broken;
    };
    expect(await failure(run(model, { hooks: { begin: fail } }))).toBe(broken);
    expect(model.count).toBe(0);
    expect(await failure(run(model, { hooks: { end: fail } }))).toBe(broken);
    const end = vi.fn();
    const error = await failure(run(scriptedModel(['1', '2', '3']), { hooks: { end } }));
    expect(error.code).toBe('NO_FUNCTION_CALL');
    expect(end).toHaveBeenCalledExactlyOnceWith({ strategy: 'clarify', model: 'scripted', error });
  });

  it('accepts text if the prompt offers no function, and then has no call', async () => {
    const response = await strategies.execute(
      'summarize',
      { text: 'x' },
      { models: { default: scriptedModel(['ok']) } },
    );
    expect(response.text).toBe('ok');
    expect(response.calls).toEqual([]);
    expect(() => response.parsed).toThrow(/no call/);
  });

  describe('parse', () => {
    const total = defineStrategy({
      name: 'total',
      modelClass: 'fast',
      input: z.object({ text: z.string() }),
      initialState: () => ({ currency: 'EUR' }),
      build: ({ text }) => new ChatPrompt({ messages: [ChatMessage.user(text)] }),
      parse(text, { currency }) {
        const amount = Number(text.trim());
        if (text.trim() === '' || Number.isNaN(amount)) throw new Error(`"${text}" is not a number.`);
        return { amount, currency };
      },
    });
    const totals = defineStrategies(total, clarify);
    const sum = (model: ScriptedModel, more: object = {}) =>
      totals.execute('total', { text: 'Sum?' }, { models: { default: model }, ...more });

    it('returns the typed value of the text', async () => {
      const { parsed, text, calls, state } = await sum(scriptedModel([' 12 ']));
      expectTypeOf(parsed).toEqualTypeOf<{ amount: number; currency: string }>();
      expect(parsed).toEqual({ amount: 12, currency: 'EUR' });
      expect({ text, calls, state }).toEqual({ text: ' 12 ', calls: [], state: { currency: 'EUR' } });
      const other = await totals.execute('clarify', input, { models: { default: scriptedModel([ask([])]) } });
      expectTypeOf(other.parsed.name).toEqualTypeOf<'refine_requirements' | 'confirm'>();
    });

    it('reports the error of the parser to the model once, and charges both answers', async () => {
      const model = scriptedModel(['twelve', '12']);
      const budget = new Budget({ prices: {} });
      const { parsed, attempts } = await sum(model, { budget });
      expect(parsed).toEqual({ amount: 12, currency: 'EUR' });
      expect(attempts.map(({ outcome }) => outcome)).toEqual(['invalid_text', 'ok']);
      expect(budget.spent.total.calls).toBe(2);
      expect(model.requests[1]!.messages).toEqual([
        { role: 'user', content: 'Sum?' },
        { role: 'assistant', content: 'twelve' },
        {
          role: 'user',
          content: 'Your answer is not valid: "twelve" is not a number.\nCorrect it and answer again.',
        },
      ]);
      model.done();
    });

    it('fails after a second text that cannot be parsed, and keeps the texts out of logs and the wire', async () => {
      const error = await failure(sum(scriptedModel(['twelve', 'a dozen'])));
      expect(error.code).toBe('ANSWER_INVALID');
      expect(error.attempts.map(({ text, fault }) => [text, fault])).toEqual([
        ['twelve', '"twelve" is not a number.'],
        ['a dozen', '"a dozen" is not a number.'],
      ]);
      expect(JSON.stringify({ ...error, message: error.message })).not.toContain('dozen');
    });

    it('shortens a long error, and sends no empty answer back', async () => {
      const fails = defineStrategy({
        ...total,
        name: 'fails',
        parse: (): string => {
          throw new Error('x'.repeat(5_000));
        },
      });
      const model = scriptedModel(['', 'no']);
      const running = defineStrategies(fails).execute('fails', { text: '?' }, { models: { default: model } });
      expect(await failure(running)).toMatchObject({ code: 'ANSWER_INVALID' });
      const { messages } = model.requests[1]!;
      expect(messages.map(({ role }) => role)).toEqual(['user', 'user']);
      expect(messages[1]!.content!.length).toBeLessThan(1_100);
    });

    it('refuses a prompt that demands a call, before any model call', async () => {
      const mixed = defineStrategy({ ...clarify, name: 'mixed', parse: (text) => text });
      const model = scriptedModel([]);
      const running = defineStrategies(mixed).execute('mixed', input, { models: { default: model } });
      await expect(running).rejects.toThrow(
        'The strategy "mixed" parses text, but its prompt demands a call',
      );
      expect(model.count).toBe(0);
    });
  });
});
