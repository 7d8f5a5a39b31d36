import { FabricError } from '@fame-fabric/shared';
import { settle } from '@fame-fabric/shared/testing';
import { describe, expect, test, vi } from 'vitest';
import { z } from 'zod';
import type { ChatModel, ModelChunk } from '../model/model.ts';
import { callTools, failing, gate, type Scripted, scriptedModel } from '../testing.ts';
import { tool } from '../tools/tool.ts';
import { ToolSet } from '../tools/tool-set.ts';
import { History } from './history.ts';
import { ChatTurns, type ChatTurnsOptions, type TurnEvent, type TurnInput, type TurnResult } from './turn.ts';

const weather = tool({
  name: 'weather',
  description: 'The weather of a city.',
  parameters: z.object({ city: z.string() }),
  toUser: true,
  execute: ({ city }) => `sunny in ${city}`,
});

function begin(replies: readonly Scripted[], more: Partial<ChatTurnsOptions & TurnInput> = {}) {
  const model = scriptedModel(replies);
  const history = new History({ system: 'Be brief.' });
  const draft = history.begin('hi');
  const controller = new AbortController();
  const { tools = new ToolSet([weather]), maxSteps, recorded } = more;
  const turns = new ChatTurns({ model, tools, ...(maxSteps ? { maxSteps } : {}) });
  const events = turns.run({
    conversationId: 'c',
    turnId: 't',
    userMessage: 'hi',
    draft,
    state: undefined,
    payload: {},
    signal: controller.signal,
    ...(recorded ? { recorded } : {}),
  });
  return { model, history, draft, controller, events };
}

/** Reads a turn to its end. `seen` holds the events as short lines. */
async function collect(events: AsyncGenerator<TurnEvent, TurnResult, void>, seen: string[] = []) {
  for (;;) {
    const next = await events.next();
    if (next.done) return { result: next.value, seen };
    seen.push(line(next.value));
  }
}
const line = (event: TurnEvent): string => {
  if (event.type === 'text') return `text ${event.text}`;
  if (event.type === 'tool_started') return `start ${event.callId}`;
  if (event.type === 'tool_finished') return `finish ${event.callId} ${event.ok}`;
  return `${event.type} ${event.step}`;
};

describe('a turn', () => {
  test('is one model call when the model just answers', async () => {
    const { events, model, draft } = begin([['Hel', 'lo']]);
    const { result, seen } = await collect(events);
    expect(seen.filter((one) => !one.startsWith('text'))).toEqual(['model_called 1', 'model_replied 1']);
    expect(result).toEqual({
      text: 'Hello',
      usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 },
      model: 'scripted',
    });
    draft.commit();
    expect(model.requests[0]).toMatchObject({ max_tokens: 4_096 });
    expect(model.requests[0]!.tools).toHaveLength(1);
    model.done();
  });

  test('HI-5: text for the user and calls end up in one message, followed by the results in order', async () => {
    const { events, model, draft, history } = begin([
      callTools(
        [
          { name: 'weather', id: 'a', arguments: '{"to_user": "Looking.", "city": "Rome"}' },
          { name: 'weather', id: 'b', arguments: { city: 'Oslo' } },
        ],
        { text: 'One moment.', chunkChars: 3 },
      ),
      'Sunny everywhere.',
    ]);
    const { result, seen } = await collect(events);
    draft.commit();
    expect(result.text).toBe('One moment.Looking.\nSunny everywhere.');
    expect(
      seen
        .filter((one) => one.startsWith('text'))
        .map((one) => one.slice(5))
        .join(''),
    ).toBe(result.text);
    expect(history.window().slice(2)).toEqual([
      {
        role: 'assistant',
        content: 'One moment.',
        tool_calls: [
          {
            id: 'a',
            type: 'function',
            function: { name: 'weather', arguments: '{"to_user": "Looking.", "city": "Rome"}' },
          },
          { id: 'b', type: 'function', function: { name: 'weather', arguments: '{"city":"Oslo"}' } },
        ],
      },
      { role: 'tool', tool_call_id: 'a', content: 'sunny in Rome' },
      { role: 'tool', tool_call_id: 'b', content: 'sunny in Oslo' },
      { role: 'assistant', content: 'Sunny everywhere.' },
    ]);
    expect(result.usage.total_tokens).toBe(30);
    model.done();
  });

  test('AG-2: the round ends only after both the last text and the last tool', async () => {
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
      const { events, model } = begin(
        [slow === 'text' ? { ...script, steps: [...script.steps, hold, 'late text'] } : script, 'end'],
        { tools: new ToolSet([held]) },
      );
      const seen: string[] = [];
      const done = collect(events, seen);
      await hold.reached;
      await settle();
      expect(model.count).toBe(1);
      expect(seen).not.toContain('model_called 2');
      hold.open();
      await done;
      const second = seen.indexOf('model_called 2');
      expect(second).toBeGreaterThan(seen.indexOf('finish h true'));
      expect(seen.indexOf('finish h true')).toBeGreaterThan(seen.indexOf('model_replied 1'));
    }
  });

  test('TL-5: results are sent in the order of the calls, whatever order the tools finish in', async () => {
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
    const { events, model } = begin(
      [callTools([0, 1, 2].map((n) => ({ name: 'wait', id: `c${n}`, arguments: { n } }))), 'end'],
      { tools: new ToolSet([wait]) },
    );
    const seen: string[] = [];
    const done = collect(events, seen);
    for (const n of [2, 0, 1]) {
      await gates[n]!.reached;
      gates[n]!.open();
      await vi.waitFor(() => expect(seen).toContain(`finish c${n} true`));
    }
    await done;
    expect(
      model.requests[1]!.messages.flatMap((message) => (message.role === 'tool' ? message.content : [])),
    ).toEqual(['0', '1', '2']);
  });

  test('TL-6: no tool starts before the answer it belongs to is taken, and none at all when it breaks', async () => {
    const { events } = begin([callTools({ name: 'weather', id: 'a', arguments: { city: 'Rome' } }), 'end']);
    const { seen } = await collect(events);
    expect(seen.indexOf('start a')).toBe(seen.indexOf('model_replied 1') + 1);
    const runs: string[] = [];
    const noting = tool({ ...weather, execute: ({ city }) => void runs.push(city) });
    const script = callTools({ name: 'weather', arguments: { city: 'Rome' } });
    const broken = begin(
      [{ ...script, steps: [...script.steps, { fail: new FabricError('MODEL_UNAVAILABLE', 'gone') }] }],
      { tools: new ToolSet([noting]) },
    );
    await expect(collect(broken.events)).rejects.toMatchObject({ code: 'MODEL_UNAVAILABLE' });
    expect(runs).toEqual([]);
  });

  test('TL-6: an eager tool starts while the model still writes', async () => {
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
    const { events, draft } = begin([{ ...script, steps: [...script.steps, hold] }, 'end'], {
      tools: new ToolSet([eager]),
    });
    const seen: string[] = [];
    const done = collect(events, seen);
    await started.reached;
    expect(seen).toEqual(['model_called 1', 'start a']);
    hold.open();
    await done;
    draft.commit();
    expect(seen.indexOf('finish a true')).toBeGreaterThan(seen.indexOf('model_replied 1'));
  });

  test('TL-1: an unknown tool and bad arguments are told to the model, and the others run', async () => {
    const { events, model, draft } = begin([
      callTools([
        { name: 'wether', id: 'a', arguments: {} },
        { name: 'weather', id: 'b', arguments: '{"city": ' },
        { name: 'weather', id: 'c', arguments: { city: 'Rome' } },
      ]),
      'sorry',
    ]);
    const { seen } = await collect(events);
    draft.commit();
    expect(seen.filter((one) => one.startsWith('start'))).toEqual(['start c']);
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
    const { events, model } = begin(
      [callTools({ name: 'weather', id: 'a', arguments: { city: 'x' } }), 'Blue.'],
      { tools: new ToolSet([talking]) },
    );
    const { result } = await collect(events);
    expect(result.text).toBe('(asking the sky)\nBlue.');
    expect(model.requests[1]!.messages.at(-1)!.content).toBe('blue');
  });

  test('stops after 16 model calls', async () => {
    const { events, model } = begin([
      {
        ...callTools({ name: 'weather', id: 'a', arguments: { city: 'Rome' } }),
        times: Number.POSITIVE_INFINITY,
      },
    ]);
    await expect(collect(events)).rejects.toMatchObject({ code: 'TURN_STEP_LIMIT' });
    expect(model.count).toBe(16);
  });

  test('AG-3: when the answer breaks, its own error is the one that is told, and nothing goes on', async () => {
    const { events, model } = begin([failing(new FabricError('MODEL_RATE_LIMITED', 'slow down'), 'par')]);
    const seen: string[] = [];
    await expect(collect(events, seen)).rejects.toMatchObject({ code: 'MODEL_RATE_LIMITED' });
    expect(seen).toEqual(['model_called 1', 'text par']);
    expect(model.calls[0]!.state).toBe('failed');
  });

  test('DS-35: an abort ends it at once with its reason and closes the request', async () => {
    const hold = gate();
    const { events, controller, model } = begin([['a', hold, 'b']]);
    const done = collect(events);
    await hold.reached;
    const reason = new FabricError('TURN_CANCELLED', 'stop');
    controller.abort(reason);
    await expect(done).rejects.toBe(reason);
    await vi.waitFor(() => expect(model.calls[0]!.state).toBe('aborted'));
  });

  test('TL-10: an abort while tools run gives every open call its outcome', async () => {
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
    const { events, controller, draft, history } = begin(
      [
        callTools([
          { name: 'slow', id: 'a', arguments: {} },
          { name: 'weather', id: 'b', arguments: { city: 'Rome' } },
        ]),
      ],
      { tools: new ToolSet([slow, weather]) },
    );
    const seen: string[] = [];
    const done = collect(events, seen);
    await hold.reached;
    await vi.waitFor(() => expect(seen).toContain('finish b true'));
    controller.abort(new FabricError('TURN_CANCELLED', 'stop'));
    await expect(done).rejects.toMatchObject({ code: 'TURN_CANCELLED' });
    expect(seen).toContain('finish a false');
    expect(draft.interrupt('', new Set(['a', 'b']))).toBe(true);
    expect(history.turns[0]!.map((message) => message.role)).toEqual([
      'user',
      'assistant',
      'tool',
      'tool',
      'assistant',
    ]);
  });

  test('leaving it closes the request and stops the tools', async () => {
    const hold = gate();
    const { events, model } = begin([['a', hold, 'b']]);
    for (;;) {
      const next = await events.next();
      if (!next.done && next.value.type === 'text') break;
    }
    await events.return(undefined as never);
    await vi.waitFor(() => expect(model.calls[0]!.state).toMatch(/aborted|left/));
  });

  test('a model that never listens to its signal does not hold it up', async () => {
    const deaf: ChatModel = {
      name: 'deaf',
      async *stream(): AsyncGenerator<ModelChunk> {
        await new Promise(() => {});
      },
    };
    const controller = new AbortController();
    const draft = new History().begin('hi');
    const events = new ChatTurns({ model: deaf }).run({
      conversationId: 'c',
      turnId: 't',
      userMessage: 'hi',
      draft,
      state: undefined,
      payload: {},
      signal: controller.signal,
    });
    await events.next();
    const next = events.next();
    controller.abort(new FabricError('TURN_CANCELLED', 'stop'));
    await expect(next).rejects.toMatchObject({ code: 'TURN_CANCELLED' });
  });
});

describe('a turn that goes on after a crash', () => {
  const message = {
    role: 'assistant' as const,
    content: 'Looking.',
    tool_calls: ['a', 'b', 'c'].map((id) => ({
      id,
      type: 'function' as const,
      function: { name: id === 'b' ? 'once' : 'weather', arguments: '{"to_user":"x","city":"Rome"}' },
    })),
  };
  const step = {
    message,
    finish: 'tool_calls' as const,
    model: 'scripted',
    usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
    text: 'Looking.',
    started: new Set(['a', 'b', 'c']),
    finished: new Map([['a', { ok: true, content: 'sunny before' }]]),
  };

  test('asks nothing again that was answered, and repeats only calls that may be repeated', async () => {
    const runs: string[] = [];
    const once = tool({
      ...weather,
      name: 'once',
      idempotent: false,
      execute: () => void runs.push('once'),
    });
    const again = tool({
      ...weather,
      execute: ({ city }) => {
        runs.push(city);
        return 'sunny now';
      },
    });
    const { events, model, draft } = begin(['Done.'], {
      tools: new ToolSet([again, once]),
      recorded: [step],
    });
    const { result, seen } = await collect(events);
    draft.commit();
    expect(result.text).toBe('Looking.\nDone.');
    expect(result.usage.total_tokens).toBe(17);
    expect(runs).toEqual(['Rome']);
    expect(seen.slice(0, 3)).toEqual(['finish b false', 'start c', 'finish c true']);
    expect(seen).toContain('model_called 2');
    const results = model.requests[0]!.messages.filter((one) => one.role === 'tool');
    expect(results.map((one) => one.content)).toEqual([
      'sunny before',
      expect.stringContaining('interrupted'),
      'sunny now',
    ]);
    expect(model.count).toBe(1);
  });

  test('ends without any call when the last answer was recorded', async () => {
    const last = { ...step, message: { role: 'assistant' as const, content: 'Bye.' }, text: 'Bye.' };
    const { events, model } = begin([], { recorded: [last] });
    const { result, seen } = await collect(events);
    expect([result.text, seen, model.count]).toEqual(['Bye.', [], 0]);
  });
});
