import { silentLog } from '@fame-fabric/shared';
import { CaptureLog, ManualClock } from '@fame-fabric/shared/testing';
import { describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import type { ModelChunk } from '../model/model.ts';
import { type ParsedToolCall, splitToolStream } from '../model/stream/split-tool-stream.ts';
import { callChunks, finishChunk, sourceOf } from '../testing/chunks.ts';
import { ToolError, tool } from './tool.ts';
import { outcomeContent, type ToolOutcome, toolMessage } from './tool-outcome.ts';
import { ToolSet, type ToolSetOptions } from './tool-set.ts';

const never = new AbortController().signal;
const call = (index: number, name: string, args: Record<string, unknown> = {}): ParsedToolCall => ({
  ok: true,
  index,
  id: `c${index}`,
  name,
  args,
  rawArguments: JSON.stringify(args),
});
const simple = (name: string, execute: () => unknown, options: Record<string, unknown> = {}) =>
  tool({ name, description: name, parameters: z.object({}), execute: execute as () => string, ...options });
const run = (set: ToolSet, calls: readonly ParsedToolCall[], signal = never): Promise<ToolOutcome[]> =>
  set.executeAll(calls, { signal });

describe('tool()', () => {
  it('AG-44 builds the schema of the parameters from zod', () => {
    const search = tool({
      name: 'search',
      description: 'Search things',
      parameters: z.object({
        query: z.string().min(2).max(80).describe('What to look for'),
        kind: z.enum(['book', 'film']).optional(),
        limit: z.int().min(1).max(50).default(10),
        ranges: z.array(z.array(z.number().min(0)).max(2)),
        exact: z.boolean(),
      }),
      execute: () => null,
    });
    expect(new ToolSet([search]).specs()).toEqual([
      {
        type: 'function',
        function: {
          name: 'search',
          description: 'Search things',
          parameters: {
            type: 'object',
            properties: {
              query: { type: 'string', minLength: 2, maxLength: 80, description: 'What to look for' },
              kind: { type: 'string', enum: ['book', 'film'] },
              limit: { type: 'integer', minimum: 1, maximum: 50, default: 10 },
              ranges: {
                type: 'array',
                items: { type: 'array', maxItems: 2, items: { type: 'number', minimum: 0 } },
              },
              exact: { type: 'boolean' },
            },
            required: ['query', 'ranges', 'exact'],
          },
        },
      },
    ]);
  });

  it('AG-44 refuses parameters that JSON Schema cannot express, and names that servers refuse', () => {
    const execute = () => null;
    expect(() =>
      tool({ name: 'x', description: '', parameters: z.object({ at: z.date() }), execute }),
    ).toThrow(TypeError);
    expect(() => tool({ name: 'a b', description: '', parameters: z.object({}), execute })).toThrow(
      /not a valid tool name/,
    );
  });

  it('adds the text for the user to the schema, first and optional, and never passes it to the tool', async () => {
    const seen = vi.fn(() => 'ok');
    const speaking = tool({
      name: 'speaking',
      description: '',
      parameters: z.object({ x: z.number() }),
      toUser: true,
      execute: seen,
    });
    const { parameters } = new ToolSet([speaking]).specs()[0]!.function;
    expect(Object.keys(parameters.properties as object)).toEqual(['to_user', 'x']);
    expect(parameters.required).toEqual(['x']);
    expect(await run(new ToolSet([speaking]), [call(0, 'speaking', { to_user: 'Hi', x: 1 })])).toMatchObject([
      { ok: true, value: 'ok' },
    ]);
    expect(seen).toHaveBeenCalledWith({ x: 1 }, expect.anything());
  });
});

describe('ToolSet', () => {
  it('builds a kit, a larger set and a description', () => {
    const a = simple('alpha', () => 1, { kit: 'letters' });
    const b = tool({
      name: 'beta',
      description: 'Second letter',
      parameters: z.object({ n: z.number().describe('How many') }),
      execute: () => 2,
    });
    const set = new ToolSet([a]).with(b);
    expect(set.names).toEqual(['alpha', 'beta']);
    expect(set.kit('letters').names).toEqual(['alpha']);
    expect(() => set.kit('leters')).toThrow(expect.objectContaining({ code: 'TOOL_UNKNOWN' }));
    expect(set.describe()).toBe('alpha() - alpha\nbeta(n: number) - Second letter\n  n: How many');
    expect(() => set.with(a)).toThrow(/Two tools/);
  });

  it('TL-1 answers a call of an unknown tool with the known names, and runs the others', async () => {
    const set = new ToolSet([simple('weather', () => 'sun'), simple('clock', () => 'noon')]);
    const outcomes = await run(set, [call(0, 'weather'), call(1, 'wether'), call(2, 'clock')]);
    expect(outcomes).toMatchObject([
      { ok: true, value: 'sun' },
      {
        ok: false,
        error: {
          code: 'unknown_tool',
          message: 'There is no tool "wether". Tools: weather, clock',
          hint: 'Did you mean weather?',
        },
      },
      { ok: true, value: 'noon' },
    ]);
    expect(toolMessage(outcomes[1]!)).toEqual({
      role: 'tool',
      tool_call_id: 'c1',
      content: expect.stringContaining('unknown_tool'),
    });
  });

  it('TL-2 never runs a call with invalid JSON or arguments, and reports the position of the fault', async () => {
    const execute = vi.fn(() => 'ran');
    const set = new ToolSet([
      tool({ name: 'f', description: '', parameters: z.object({ a: z.object({ n: z.number() }) }), execute }),
    ]);
    const stream = splitToolStream(
      sourceOf([
        ...callChunks(0, 'c0', 'f', ['{"a": ']),
        ...callChunks(1, 'c1', 'f', ['{"a":{"n":"x"}}']),
        ...callChunks(2, 'c2', 'f', ['{"a":{"n":1},"b":2}']),
        ...callChunks(3, 'c3', 'f', ['[1]']),
        finishChunk('tool_calls'),
      ]),
    );
    const outcomes = await set.executeAll(stream.toolCalls, { signal: never });
    expect(execute).not.toHaveBeenCalled();
    expect(
      outcomes.map((outcome) => (outcome.ok ? '' : `${outcome.error.code}: ${outcome.error.message}`)),
    ).toEqual([
      'invalid_json: The arguments are not valid JSON at 6: expected a value',
      expect.stringMatching(/^invalid_args: a\.n: /),
      expect.stringMatching(/^invalid_args: b: /),
      'invalid_args: The arguments must be one JSON object',
    ]);
  });

  it('TL-3 ends a call at its deadline, aborts its signal and drops a late result', async () => {
    const clock = new ManualClock();
    const { promise: late, resolve, reject } = Promise.withResolvers<string>();
    const reasons: unknown[] = [];
    const slow = (fails: boolean) =>
      tool({
        name: fails ? 'fails' : 'slow',
        description: '',
        parameters: z.object({}),
        timeoutMs: 50,
        execute: (_args, { signal }) => {
          signal.addEventListener('abort', () => reasons.push(signal.reason));
          return fails ? late.then(() => Promise.reject(new Error('late'))) : late;
        },
      });
    const set = new ToolSet([slow(false), slow(true), simple('quick', () => 'fine')], { clock });
    const done = run(set, [call(0, 'slow'), call(1, 'fails'), call(2, 'quick')]);
    await vi.waitFor(() => expect(clock.timerCount).toBe(2));
    clock.stepWall(-86_400_000);
    clock.advance(50);
    const outcomes = await done;
    expect(outcomes).toMatchObject([
      { ok: false, ms: 50, error: { code: 'timeout', message: 'The tool timed out after 50 ms' } },
      { ok: false, error: { code: 'timeout' } },
      { ok: true, value: 'fine' },
    ]);
    expect(reasons).toMatchObject([{ code: 'TOOL_TIMEOUT' }, { code: 'TOOL_TIMEOUT' }]);
    resolve('too late');
    reject(new Error('never'));
    await new Promise((next) => setImmediate(next));
    expect(outcomes).toHaveLength(3);
  });

  it('TL-4 turns an error of a tool into a safe text, and logs the stack', async () => {
    const logger = new CaptureLog();
    const throwing = (thrown: unknown) => () => {
      throw thrown;
    };
    const set = new ToolSet(
      [
        simple('error', throwing(new Error('no\nsuch\tfile'))),
        simple('text', throwing('just text')),
        simple('nothing', throwing(undefined)),
        simple('async', () => Promise.reject(new Error('x'.repeat(2_000)))),
      ],
      { logger },
    );
    const outcomes = await run(set, [
      call(0, 'error'),
      call(1, 'text'),
      call(2, 'nothing'),
      call(3, 'async'),
    ]);
    const messages = outcomes.map((outcome) => (outcome.ok ? '' : outcome.error.message));
    expect(outcomes.every((outcome) => !outcome.ok && outcome.error.code === 'failed')).toBe(true);
    expect(messages.slice(0, 3)).toEqual([
      'no such file',
      'just text',
      'The tool failed without an error message',
    ]);
    expect(messages[3]!.length).toBeLessThan(600);
    for (const outcome of outcomes) expect(outcomeContent(outcome)).not.toContain('tool-set.test');
    expect(logger.lines).toHaveLength(4);
    expect((logger.lines[0]!.fields.error as Error).stack).toContain('tool-set.test');
  });

  it('TL-4 drops an error of a tool after the abort', async () => {
    const logger = new CaptureLog();
    const controller = new AbortController();
    const set = new ToolSet(
      [
        tool({
          name: 'f',
          description: '',
          parameters: z.object({}),
          execute: (_args, { signal }) =>
            new Promise<string>((_resolve, reject) => {
              signal.addEventListener('abort', () => reject(new Error('stopped')));
            }),
        }),
      ],
      { logger },
    );
    const done = run(set, [call(0, 'f')], controller.signal);
    await Promise.resolve();
    controller.abort(new Error('the user left'));
    expect(await done).toMatchObject([{ ok: false, error: { code: 'aborted' } }]);
    expect(logger.lines).toEqual([]);
  });

  it('TL-5 returns outcomes in the order of the calls, not of their ends', async () => {
    const gates = [0, 1, 2].map(() => Promise.withResolvers<string>());
    const finished: number[] = [];
    const set = new ToolSet(
      gates.map(({ promise }, n) => simple(`t${n}`, () => promise.finally(() => finished.push(n)))),
    );
    const done = run(set, [call(0, 't0'), call(1, 't1'), call(2, 't2')]);
    for (const n of [2, 0, 1]) {
      gates[n]!.resolve(`result ${n}`);
      await vi.waitFor(() => expect(finished).toContain(n));
    }
    expect(finished).toEqual([2, 0, 1]);
    expect((await done).map(toolMessage).map((message) => message.content)).toEqual([
      'result 0',
      'result 1',
      'result 2',
    ]);
  });

  it('TL-6 starts an eager tool while the model writes, a default tool after the finish chunk', async () => {
    const log: string[] = [];
    const parameters = z.object({ n: z.number() });
    const set = new ToolSet([
      simple('eager', () => void log.push('eager starts'), { eager: true, parameters }),
      simple('default', () => void log.push('default starts'), { parameters }),
    ]);
    const note = (text: string) => async () => {
      await new Promise((next) => setImmediate(next));
      log.push(text);
    };
    const stream = splitToolStream(
      sourceOf([
        ...callChunks(0, 'a', 'default', ['{"n":1}']),
        ...callChunks(1, 'b', 'eager', ['{"n":1}']),
        note('first two complete'),
        ...callChunks(2, 'c', 'default', ['{"n":', '1}']),
        note('before finish'),
        finishChunk('tool_calls'),
      ]),
    );
    const outcomes = await set.executeAll(stream.toolCalls, { signal: never });
    expect(log).toEqual([
      'eager starts',
      'first two complete',
      'before finish',
      'default starts',
      'default starts',
    ]);
    expect(outcomes.map((outcome) => outcome.callId)).toEqual(['a', 'b', 'c']);
  });

  it('TL-6 does not start a default tool at all if the stream fails first, and ends the eager ones', async () => {
    const failure = new Error('reset');
    const ran = vi.fn();
    const aborted = vi.fn();
    const results: unknown[] = [];
    const set = new ToolSet([
      simple('default', ran),
      tool({
        name: 'eager',
        description: '',
        parameters: z.object({ n: z.number() }),
        eager: true,
        execute: (_args, { signal }) =>
          new Promise<string>(() => signal.addEventListener('abort', () => aborted(signal.reason))),
      }),
    ]);
    const chunks: (ModelChunk | (() => void))[] = [
      ...callChunks(0, 'a', 'default', ['{"n":1}']),
      ...callChunks(1, 'b', 'eager', ['{"n":1}']),
      () => {
        throw failure;
      },
    ];
    const stream = splitToolStream(sourceOf(chunks));
    const done = set.executeAll(stream.toolCalls, {
      signal: never,
      makeCall: async ({ call: { id }, execute }) => {
        const result = await execute(() => {});
        results.push({ id, ...result });
        return result;
      },
    });
    await expect(done).rejects.toBe(failure);
    expect(ran).not.toHaveBeenCalled();
    expect(aborted).toHaveBeenCalledWith(failure);
    expect(results).toEqual([{ id: 'b', ok: false, content: expect.stringContaining('"aborted"') }]);
  });

  it('treats null as an absent optional argument where the schema refuses null', async () => {
    const seen: unknown[] = [];
    const set = new ToolSet([
      tool({
        name: 'find',
        description: '',
        parameters: z.object({
          city: z.string(),
          unit: z.enum(['a', 'b']).optional(),
          near: z.object({ km: z.number().optional(), to: z.string().nullable() }).optional(),
        }),
        execute: (args) => void seen.push(args),
      }),
    ]);
    const made = (index: number, args: Record<string, unknown>): ParsedToolCall => ({
      ok: true,
      index,
      id: `c${index}`,
      name: 'find',
      args,
      rawArguments: JSON.stringify(args),
    });
    const outcomes = await run(set, [
      made(0, { city: 'Lima', unit: null, near: { km: null, to: null } }),
      made(1, { city: null, unit: null }),
    ]);
    expect(seen).toEqual([{ city: 'Lima', near: { to: null } }]);
    expect(outcomes.map(toolMessage)[1]!.content).toMatch(/city: .*expected string/);
  });

  it('TL-7 never runs more calls at once than allowed', async () => {
    let running = 0;
    let most = 0;
    const set = new ToolSet(
      [
        simple('f', async () => {
          running += 1;
          most = Math.max(most, running);
          await new Promise((next) => setImmediate(next));
          running -= 1;
          return 'ok';
        }),
      ],
      { maxParallel: 2 },
    );
    const outcomes = await run(
      set,
      [0, 1, 2, 3, 4].map((n) => call(n, 'f')),
    );
    expect(most).toBe(2);
    expect(outcomes.filter((outcome) => outcome.ok)).toHaveLength(5);
  });

  it('TL-8 refuses results that are not JSON, and cuts long ones with a mark', async () => {
    const cycle: Record<string, unknown> = {};
    cycle.self = cycle;
    const results: unknown[] = [
      cycle,
      10n,
      () => 1,
      { at: new Map() },
      undefined,
      { when: new Date(0), gone: undefined },
    ];
    const set = new ToolSet([
      ...results.map((result, n) => simple(`t${n}`, () => result)),
      simple('long', () => `${'x'.repeat(99)}😀`.repeat(50), { maxResultChars: 130 }),
    ]);
    const outcomes = await run(set, [...results.map((_, n) => call(n, `t${n}`)), call(6, 'long')]);
    expect(outcomes.map((outcome) => (outcome.ok ? outcome.value : outcome.error.code))).toEqual([
      'failed',
      'failed',
      'failed',
      'failed',
      null,
      { when: '1970-01-01T00:00:00.000Z' },
      expect.stringMatching(/^x{90,}… \[cut: 130 of 5050 characters\]$/),
    ]);
    expect(outcomes[6]).toMatchObject({ truncated: true });
    expect(outcomeContent(outcomes[6]!)).toHaveLength(130);
  });

  it('TL-9 keeps two calls with the same id apart and answers both', async () => {
    const set = new ToolSet([simple('f', () => 'ok')]);
    const stream = splitToolStream(
      sourceOf([
        ...callChunks(0, 'same', 'f', ['{}']),
        ...callChunks(1, 'same', 'f', ['{}']),
        finishChunk('tool_calls'),
      ]),
    );
    const outcomes = await set.executeAll(stream.toolCalls, { signal: never });
    const { message } = await stream.done;
    expect(outcomes.map((outcome) => outcome.callId)).toEqual(['same', 'same_2']);
    expect(message.tool_calls?.map((one) => one.id)).toEqual(['same', 'same_2']);
  });

  it('TL-10 ends every open call as aborted, and keeps the outcomes of finished ones', async () => {
    const controller = new AbortController();
    const stuck = vi.fn(() => new Promise<string>(() => {}));
    const queued = vi.fn();
    const set = new ToolSet(
      [simple('done', () => 'kept'), simple('stuck', stuck), simple('queued', queued)],
      {
        maxParallel: 2,
      },
    );
    const done = run(
      set,
      [call(0, 'done'), call(1, 'stuck'), call(2, 'stuck'), call(3, 'queued')],
      controller.signal,
    );
    await vi.waitFor(() => expect(stuck).toHaveBeenCalledTimes(2));
    controller.abort();
    expect((await done).map((outcome) => (outcome.ok ? outcome.value : outcome.error.code))).toEqual([
      'kept',
      'aborted',
      'aborted',
      'aborted',
    ]);
    expect(queued).not.toHaveBeenCalled();
  });

  it('TL-10 handles an abort while calls still arrive, and starts none after it', async () => {
    const controller = new AbortController();
    const ran = vi.fn();
    async function* calls(): AsyncGenerator<ParsedToolCall> {
      yield call(0, 'f');
      await new Promise(() => {});
    }
    const set = new ToolSet([simple('f', ran)]);
    const done = set.executeAll(calls(), { signal: controller.signal });
    await new Promise((next) => setImmediate(next));
    controller.abort();
    expect(await done).toMatchObject([{ callId: 'c0', ok: false, error: { code: 'aborted' } }]);
    expect(ran).not.toHaveBeenCalled();
  });

  it('TL-11 shows the text of a running tool to the user and not to the model', async () => {
    const shown: string[] = [];
    let keep: ((text: string) => void) | undefined;
    const set = new ToolSet([
      tool({
        name: 'f',
        description: '',
        parameters: z.object({}),
        execute: (_args, { emit }) => {
          keep = emit;
          emit('half way');
          return 'result';
        },
      }),
    ]);
    const outcomes = await set.executeAll([call(0, 'f')], {
      signal: never,
      emit: (text, { id }) => shown.push(`${id}: ${text}`),
    });
    keep?.('too late');
    expect(shown).toEqual(['c0: half way']);
    expect(outcomes.map(toolMessage)).toEqual([{ role: 'tool', tool_call_id: 'c0', content: 'result' }]);
  });

  it('TL-13 puts the hint of an error into the tool message', async () => {
    const set = new ToolSet([
      simple('f', () => {
        throw new ToolError('No such city', { hint: 'Give the country as well' });
      }),
    ]);
    const [outcome] = await run(set, [call(0, 'f')]);
    expect(JSON.parse(outcomeContent(outcome!))).toEqual({
      error: { code: 'failed', message: 'No such city', hint: 'Give the country as well' },
    });
  });

  it('makes each call through `makeCall`, which may return a recorded result', async () => {
    const log: string[] = [];
    const set = new ToolSet([simple('f', () => void log.push('runs'))]);
    const outcomes = await set.executeAll([call(0, 'f'), call(1, 'f'), call(2, 'g')], {
      signal: never,
      makeCall: async ({ call: { id }, willRun, execute }) => {
        log.push(`make ${id} ${willRun}`);
        return id === 'c1'
          ? { ok: false, content: '{"error":{"code":"timeout","message":"late"}}' }
          : execute(() => {});
      },
    });
    expect(log).toEqual(['make c2 false', 'make c0 true', 'runs', 'make c1 true']);
    expect(outcomes).toMatchObject([
      { callId: 'c0', ok: true },
      { callId: 'c1', ok: false, error: { code: 'timeout', message: 'late' } },
      { callId: 'c2', ok: false, error: { code: 'unknown_tool' } },
    ]);
  });

  it('stops everything when a call cannot be recorded', async () => {
    const ran = vi.fn();
    const set = new ToolSet([simple('f', ran)]);
    const done = set.executeAll([call(0, 'f'), call(1, 'f')], {
      signal: never,
      makeCall: () => Promise.reject(new Error('disk full')),
    });
    await expect(done).rejects.toThrow('disk full');
    expect(ran).not.toHaveBeenCalled();
  });

  it('logs a tool that blocks the event loop', async () => {
    const logger = new CaptureLog();
    const options: ToolSetOptions = { logger };
    const set = new ToolSet(
      [
        simple('busy', () => {
          const end = performance.now() + 210;
          while (performance.now() < end);
          return 'done';
        }),
      ],
      options,
    );
    await run(set, [call(0, 'busy')]);
    expect(logger.lines).toMatchObject([
      { message: 'tool blocked the event loop', fields: { tool: 'busy' } },
    ]);
  });

  it('leaves no listener on the signal', async () => {
    const { signal } = new AbortController();
    const add = vi.spyOn(signal, 'addEventListener');
    const remove = vi.spyOn(signal, 'removeEventListener');
    await new ToolSet([simple('f', () => 'ok')], { logger: silentLog }).executeAll(
      [call(0, 'f'), call(1, 'f')],
      { signal },
    );
    expect(remove).toHaveBeenCalledTimes(add.mock.calls.length);
  });
});

describe('a tool that needs approval', () => {
  it('is refused where no conversation can ask for it', async () => {
    const execute = vi.fn(() => 'paid');
    const pay = simple('pay', execute, { approval: 'always' });
    const [outcome] = await run(new ToolSet([pay]), [call(0, 'pay')]);
    expect(outcome).toMatchObject({ ok: false, error: { code: 'refused' } });
    expect(execute).not.toHaveBeenCalled();
  });
});
