import { FabricError } from '@fame-fabric/shared';
import { settle } from '@fame-fabric/shared/testing';
import { describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import type { ChatModel, ModelChunk } from '../model/model.ts';
import { type RunnerKitOptions, runnerKit } from '../testing/runner-kit.ts';
import { callTools, failing, gate, type Scripted, scriptedModel } from '../testing.ts';
import { tool } from '../tools/tool.ts';
import { ToolSet } from '../tools/tool-set.ts';
import { ChatTurns, type ChatTurnsOptions } from './chat-turns.ts';
import { callId, questionOf, type RecordedCall, type RecordedStep } from './steps.ts';

const weather = tool({
  name: 'weather',
  description: 'The weather of a city.',
  parameters: z.object({ city: z.string() }),
  toUser: true,
  execute: ({ city }) => `sunny in ${city}`,
});

function begin(replies: readonly Scripted[], more: Partial<ChatTurnsOptions & RunnerKitOptions> = {}) {
  const { tools = new ToolSet([weather]), maxSteps, ...options } = more;
  const model = scriptedModel(replies);
  const kit = runnerKit(options);
  const run = () => new ChatTurns({ model, tools, maxSteps }).run(kit.turn);
  return { ...kit, model, run };
}
const textOf = (seen: readonly string[]): string =>
  seen.flatMap((line) => (line.startsWith('text ') ? [line.slice(5)] : [])).join('');
const A = callId('t', 1, 0);
const B = callId('t', 1, 1);

describe('a turn', () => {
  test('is one model call if the reply has no calls', async () => {
    const { turn, run, seen, model, draft } = begin([['Hel', 'lo']]);
    const result = await run();
    expect(seen.filter((one) => !one.startsWith('text'))).toEqual(['model_called 1', 'model_replied 1']);
    expect(turn.text).toBe('Hello');
    expect(result).toEqual({
      usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 },
      model: 'scripted',
    });
    draft.commit();
    expect(model.requests[0]).toMatchObject({ max_tokens: 4_096 });
    expect(model.requests[0]!.tools).toHaveLength(1);
    model.done();
  });

  test('sends the options of the turn, with its own tools first and within its own limit of tokens', async () => {
    const open = { type: 'function' as const, function: { name: 'open', parameters: { type: 'object' } } };
    const options = {
      tools: [open],
      tool_choice: 'none' as const,
      response_format: { type: 'json_object' as const },
      temperature: 0,
      max_tokens: 10_000,
      stop: 'END',
      model: 'scripted',
    };
    const { run, model } = begin(['{}'], { options });
    expect(await run()).toMatchObject({ model: 'scripted' });
    const { messages: _, ...request } = model.requests[0]!;
    expect(request).toMatchObject({
      ...options,
      tools: [{ function: { name: 'weather' } }, open],
      max_tokens: 4_096,
    });
    const less = begin(['ok'], { options: { max_tokens: 7 } });
    await less.run();
    expect(less.model.requests[0]).toMatchObject({ max_tokens: 7 });
    expect(less.model.requests[0]).not.toHaveProperty('temperature');
  });

  test('demands a call in its first reply only', async () => {
    const tool_choice = { type: 'function' as const, function: { name: 'weather' } };
    const rome = () => callTools({ name: 'weather', arguments: { city: 'Rome' } });
    const { run, model } = begin([rome(), rome(), 'Sunny.'], { options: { tool_choice } });
    await run();
    expect(model.requests.map((request) => request.tool_choice)).toEqual([tool_choice, undefined, undefined]);
    const without = begin(['ok'], { tools: new ToolSet([]), options: { tool_choice: 'none' } });
    await without.run();
    expect(without.model.requests[0]).not.toHaveProperty('tool_choice');
    without.model.done();
  });

  test('HI-5: text for the user and calls are in one message, followed by the results in order', async () => {
    const { turn, run, seen, model, draft, history } = begin([
      callTools(
        [
          { name: 'weather', id: 'a', arguments: '{"to_user": "Looking.", "city": "Rome"}' },
          { name: 'weather', id: 'b', arguments: { city: 'Oslo' } },
        ],
        { text: 'One moment.', chunkChars: 3 },
      ),
      'Sunny everywhere.',
    ]);
    const result = await run();
    draft.commit();
    expect(turn.text).toBe('One moment.Looking.\nSunny everywhere.');
    expect(textOf(seen)).toBe(turn.text);
    expect(history.window().slice(2)).toEqual([
      {
        role: 'assistant',
        content: 'One moment.',
        tool_calls: [
          {
            id: A,
            type: 'function',
            function: { name: 'weather', arguments: '{"to_user": "Looking.", "city": "Rome"}' },
          },
          { id: B, type: 'function', function: { name: 'weather', arguments: '{"city":"Oslo"}' } },
        ],
      },
      { role: 'tool', tool_call_id: A, content: 'sunny in Rome' },
      { role: 'tool', tool_call_id: B, content: 'sunny in Oslo' },
      { role: 'assistant', content: 'Sunny everywhere.' },
    ]);
    expect(result.usage.total_tokens).toBe(30);
    model.done();
  });

  test('AG-2: the step ends only after both the last text and the last tool', async () => {
    for (const slow of ['text', 'tool'] as const) {
      const hold = gate();
      const held = tool({
        name: 'held',
        description: 'x',
        parameters: z.object({}),
        execute: async () => {
          if (slow === 'tool') {
            hold.arrive!();
            await hold.wait;
          }
          return 'done';
        },
      });
      const script = callTools({ name: 'held', id: 'h', arguments: {} });
      const { run, seen, model } = begin(
        [slow === 'text' ? { ...script, steps: [...script.steps, hold, 'late text'] } : script, 'end'],
        { tools: new ToolSet([held]) },
      );
      const done = run();
      await hold.reached;
      await settle();
      expect(model.count).toBe(1);
      expect(seen).not.toContain('model_called 2');
      hold.open();
      await done;
      const second = seen.indexOf('model_called 2');
      expect(second).toBeGreaterThan(seen.indexOf('finish 1.0 true'));
      expect(seen.indexOf('finish 1.0 true')).toBeGreaterThan(seen.indexOf('model_replied 1'));
    }
  });

  test('TL-5: results are sent in the order of the calls, not in the order in which tools finish', async () => {
    const gates = [gate(), gate(), gate()];
    const wait = tool({
      name: 'wait',
      description: 'x',
      parameters: z.object({ n: z.number() }),
      execute: async ({ n }) => {
        gates[n]!.arrive!();
        await gates[n]!.wait;
        return n;
      },
    });
    const { run, seen, model } = begin(
      [callTools([0, 1, 2].map((n) => ({ name: 'wait', id: `c${n}`, arguments: { n } }))), 'end'],
      { tools: new ToolSet([wait]) },
    );
    const done = run();
    for (const n of [2, 0, 1]) {
      await gates[n]!.reached;
      gates[n]!.open();
      await vi.waitFor(() => expect(seen).toContain(`finish 1.${n} true`));
    }
    await done;
    expect(
      model.requests[1]!.messages.flatMap((message) => (message.role === 'tool' ? message.content : [])),
    ).toEqual(['0', '1', '2']);
  });

  test('TL-6: no tool starts before its reply is recorded, and none at all if the reply breaks', async () => {
    const { run, seen } = begin([
      callTools({ name: 'weather', id: 'a', arguments: { city: 'Rome' } }),
      'end',
    ]);
    await run();
    expect(seen.indexOf('start 1.0')).toBe(seen.indexOf('model_replied 1') + 1);
    const runs: string[] = [];
    const noting = tool({ ...weather, execute: ({ city }) => void runs.push(city) });
    const script = callTools({ name: 'weather', arguments: { city: 'Rome' } });
    const broken = begin(
      [{ ...script, steps: [...script.steps, { fail: new FabricError('MODEL_UNAVAILABLE', 'gone') }] }],
      { tools: new ToolSet([noting]) },
    );
    await expect(broken.run()).rejects.toMatchObject({ code: 'MODEL_UNAVAILABLE' });
    expect(runs).toEqual([]);
  });

  test('TL-6: an eager tool starts while the reply still streams', async () => {
    const hold = gate();
    const started = gate();
    const eager = tool({
      ...weather,
      eager: true,
      execute: () => {
        started.arrive!();
        return 'early';
      },
    });
    const script = callTools({ name: 'weather', id: 'a', arguments: { city: 'Rome' } });
    const { run, seen, draft } = begin([{ ...script, steps: [...script.steps, hold] }, 'end'], {
      tools: new ToolSet([eager]),
    });
    const done = run();
    await started.reached;
    expect(seen).toEqual(['model_called 1', 'start 1.0']);
    hold.open();
    await done;
    draft.commit();
    expect(seen.indexOf('finish 1.0 true')).toBeGreaterThan(seen.indexOf('model_replied 1'));
  });

  test('TL-1: the model gets a fault for an unknown tool and for bad arguments, and the other tools run', async () => {
    const { run, seen, model, draft } = begin([
      callTools([
        { name: 'wether', id: 'a', arguments: {} },
        { name: 'weather', id: 'b', arguments: '{"city": ' },
        { name: 'weather', id: 'c', arguments: { city: 'Rome' } },
      ]),
      'sorry',
    ]);
    await run();
    draft.commit();
    expect(seen.filter((one) => one.startsWith('start'))).toEqual(['start 1.2']);
    const results = model.requests[1]!.messages.filter((message) => message.role === 'tool');
    expect(results.map((message) => message.content)).toEqual([
      expect.stringContaining('unknown_tool'),
      expect.stringContaining('invalid_json'),
      'sunny in Rome',
    ]);
  });

  test('TL-11: progress of a tool is part of the text, not of its result', async () => {
    const talking = tool({
      ...weather,
      execute: (_, { emit }) => {
        emit('(asking the sky)');
        return 'blue';
      },
    });
    const { turn, run, model } = begin(
      [callTools({ name: 'weather', id: 'a', arguments: { city: 'x' } }), 'Blue.'],
      { tools: new ToolSet([talking]) },
    );
    await run();
    expect(turn.text).toBe('(asking the sky)\nBlue.');
    expect(model.requests[1]!.messages.at(-1)!.content).toBe('blue');
  });

  test('stops after 16 model calls', async () => {
    const { run, model } = begin([
      {
        ...callTools({ name: 'weather', id: 'a', arguments: { city: 'Rome' } }),
        times: Number.POSITIVE_INFINITY,
      },
    ]);
    await expect(run()).rejects.toMatchObject({ code: 'TURN_STEP_LIMIT' });
    expect(model.count).toBe(16);
  });

  test('AG-3: a failed reply fails the turn with its own error and stops the tools', async () => {
    const { run, seen, model } = begin([failing(new FabricError('MODEL_RATE_LIMITED', 'slow down'), 'par')]);
    await expect(run()).rejects.toMatchObject({ code: 'MODEL_RATE_LIMITED' });
    expect(seen).toEqual(['model_called 1', 'text par']);
    expect(model.calls[0]!.state).toBe('failed');
  });

  test('DS-35: an abort ends the turn at once with its reason and closes the request', async () => {
    const hold = gate();
    const { run, controller, model } = begin([['a', hold, 'b']]);
    const done = run();
    await hold.reached;
    const reason = new FabricError('TURN_CANCELLED', 'stop');
    controller.abort(reason);
    await expect(done).rejects.toBe(reason);
    await vi.waitFor(() => expect(model.calls[0]!.state).toBe('aborted'));
  });

  test('TL-10: an abort while tools run gives every open call an outcome', async () => {
    const hold = gate();
    const slow = tool({
      name: 'slow',
      description: 'x',
      parameters: z.object({}),
      execute: async (_, { signal }) => {
        hold.arrive!();
        await new Promise((_resolve, reject) =>
          signal.addEventListener('abort', () => reject(signal.reason)),
        );
      },
    });
    const { run, seen, controller, draft, history } = begin(
      [
        callTools([
          { name: 'slow', id: 'a', arguments: {} },
          { name: 'weather', id: 'b', arguments: { city: 'Rome' } },
        ]),
      ],
      { tools: new ToolSet([slow, weather]) },
    );
    const done = run();
    await hold.reached;
    await vi.waitFor(() => expect(seen).toContain('finish 1.1 true'));
    controller.abort(new FabricError('TURN_CANCELLED', 'stop'));
    await expect(done).rejects.toMatchObject({ code: 'TURN_CANCELLED' });
    expect(seen).toContain('finish 1.0 false');
    expect(draft.interrupt('', new Set(['a', 'b']))).toBe(true);
    expect(history.turns[0]!.map((message) => message.role)).toEqual([
      'user',
      'assistant',
      'tool',
      'tool',
      'assistant',
    ]);
  });

  test('a model that ignores its signal does not block the turn', async () => {
    const deaf: ChatModel = {
      name: 'deaf',
      async *stream(): AsyncGenerator<ModelChunk> {
        await new Promise(() => {});
      },
    };
    const { turn, controller, seen } = runnerKit();
    const running = new ChatTurns({ model: deaf }).run(turn);
    await vi.waitFor(() => expect(seen).toEqual(['model_called 1']));
    await settle();
    controller.abort(new FabricError('TURN_CANCELLED', 'stop'));
    await expect(running).rejects.toMatchObject({ code: 'TURN_CANCELLED' });
  });
});

describe('a turn that is resumed after a crash', () => {
  const message = {
    role: 'assistant' as const,
    content: 'Looking.',
    tool_calls: ['a', 'b', 'c'].map((id) => ({
      id,
      type: 'function' as const,
      function: { name: id === 'b' ? 'once' : 'weather', arguments: '{"to_user":"x","city":"Rome"}' },
    })),
  };
  const call = (index: number, result?: RecordedCall['result'], text = ''): RecordedCall => ({
    index,
    result,
    text,
  });
  const step: RecordedStep = {
    message,
    finish: 'tool_calls',
    model: 'scripted',
    usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
    trailing: undefined,
    question: questionOf(undefined, [{ role: 'user', content: 'hi' }]),
    textEnd: 8,
    calls: new Map([
      ['a', call(0, { ok: true, content: 'sunny before' }, ' (a looks)')],
      ['b', call(1, undefined, ' (b pays)')],
      ['c', call(2)],
    ]),
  };
  const once = (runs: string[]) =>
    tool({ ...weather, name: 'once', idempotent: false, execute: () => void runs.push('once') });
  const again = (runs: string[]) =>
    tool({
      ...weather,
      execute: ({ city }) => {
        runs.push(city);
        return 'sunny now';
      },
    });

  test('repeats no recorded model call, and only idempotent calls', async () => {
    const runs: string[] = [];
    const { turn, run, seen, model, draft } = begin(['Done.'], {
      tools: new ToolSet([again(runs), once(runs)]),
      recorded: [step],
      text: 'Looking.',
    });
    const result = await run();
    draft.commit();
    expect(turn.text).toBe('Looking. (a looks) (b pays)\nDone.');
    expect(result.usage.total_tokens).toBe(17);
    expect(runs).toEqual(['Rome']);
    expect(seen.filter((line) => !line.startsWith('text ')).toSorted()).toEqual([
      'finish 1.1 false',
      'finish 1.2 true',
      'model_called 2',
      'model_replied 2',
      'start 1.2',
    ]);
    const results = model.requests[0]!.messages.filter((one) => one.role === 'tool');
    expect(results.map((one) => one.content)).toEqual([
      'sunny before',
      expect.stringContaining('interrupted'),
      'sunny now',
    ]);
    expect(model.count).toBe(1);
  });

  test('ends without any call when the last reply was recorded', async () => {
    const last: RecordedStep = {
      ...step,
      message: { role: 'assistant', content: 'Bye.' },
      textEnd: 4,
      calls: new Map(),
    };
    const { turn, run, seen, model } = begin([], { recorded: [last], text: 'Bye.' });
    await run();
    expect([turn.text, seen, model.count]).toEqual(['Bye.', [], 0]);
  });

  test('continues with live requests after the kept text if a question differs from the recorded one', async () => {
    const runs: string[] = [];
    const finished = new Map(
      [...step.calls].map(([id, one]) => [id, { ...one, result: { ok: true, content: 'x' } }]),
    );
    const first: RecordedStep = { ...step, calls: finished };
    const second: RecordedStep = {
      ...step,
      message: { role: 'assistant', content: 'It rains.' },
      question: { scope: '', digest: 'of another question' },
      textEnd: 'Looking. (a looks) (b pays)\nIt rains.'.length,
      calls: new Map(),
    };
    const { turn, run, seen } = begin(['It shines.'], {
      tools: new ToolSet([again(runs), once(runs)]),
      recorded: [first, second],
      text: 'Looking. (a looks) (b pays)\nIt rains.',
    });
    await run();
    expect(turn.text).toBe('Looking. (a looks) (b pays)\nIt shines.');
    expect(seen[0]).toBe('dropped from 2, keep 8');
    expect(textOf(seen)).toBe(' (a looks) (b pays)\nIt shines.');
    expect(runs).toEqual([]);
  });

  test('a record of 0.1.0 has no questions and is replayed without comparison', async () => {
    const old: RecordedStep = {
      ...step,
      question: undefined,
      calls: new Map([...step.calls].map(([id, one]) => [id, { ...one, index: undefined, text: '' }])),
    };
    const runs: string[] = [];
    const { turn, run, seen } = begin(['Done.'], {
      tools: new ToolSet([again(runs), once(runs)]),
      recorded: [old],
      text: 'Looking.',
    });
    await run();
    expect(turn.text).toBe('Looking.\nDone.');
    expect(seen.some((line) => line.startsWith('dropped'))).toBe(false);
  });
});
