import { FabricError, isFabricError } from '@fame-fabric/shared';
import { describe, expect, it, vi } from 'vitest';
import {
  CountedSource,
  callChunk,
  callChunks,
  collect,
  collectUntilError,
  contentChunk,
  cutAt,
  finishChunk,
  pieces,
  sourceOf,
  usageChunk,
} from '../../testing/chunks.ts';
import type { ModelChunk } from '../model.ts';
import { type SplitOptions, splitToolStream } from './split-tool-stream.ts';

async function split(chunks: Iterable<ModelChunk | (() => void | Promise<void>)>, options?: SplitOptions) {
  const stream = splitToolStream(sourceOf(chunks), options);
  const [items, calls] = await Promise.all([collect(stream.toUser), collect(stream.toolCalls)]);
  return { stream, items, calls, text: items.map((item) => item.text).join('') };
}

/** All cuts of a vector: every chunk size and every single cut. */
function* cuttings(text: string): Generator<string[]> {
  for (let size = 1; size <= text.length; size += 1) yield pieces(text, size);
  for (let at = 1; at < text.length; at += 1) yield cutAt(text, [at]);
}

interface Vector {
  id: string;
  about: string;
  json: string;
  text: string;
  args: Record<string, unknown>;
  options?: SplitOptions;
}
const vectors: Vector[] = [
  { id: 'DS-1', about: 'first of two keys', json: '{"to_user": "Hi", "x": 1}', text: 'Hi', args: { x: 1 } },
  { id: 'DS-2', about: 'the only key', json: '{"to_user":"Hi"}', text: 'Hi', args: {} },
  { id: 'DS-3', about: 'the last key', json: '{"x":1,"to_user":"Hi"}', text: 'Hi', args: { x: 1 } },
  {
    id: 'DS-4',
    about: 'escaped quotes',
    json: '{"to_user": "Hi \\"Bob\\"!", "x": 1}',
    text: 'Hi "Bob"!',
    args: { x: 1 },
  },
  {
    id: 'DS-5',
    about: 'an escaped backslash before the end quote',
    json: '{"to_user":"C:\\\\","x":1}',
    text: 'C:\\',
    args: { x: 1 },
  },
  {
    id: 'DS-6',
    about: 'an escaped backslash before an escaped quote',
    json: '{"to_user":"a\\\\\\"b","x":1}',
    text: 'a\\"b',
    args: { x: 1 },
  },
  {
    id: 'DS-7',
    about: 'unicode escapes',
    json: '{"to_user":"caf\\u00e9 \\u4f60","x":1}',
    text: 'café 你',
    args: { x: 1 },
  },
  {
    id: 'DS-8',
    about: 'an escaped surrogate pair',
    json: '{"to_user":"ok \\ud83d\\ude00!","x":1}',
    text: 'ok 😀!',
    args: { x: 1 },
  },
  { id: 'DS-8', about: 'a raw emoji', json: '{"to_user":"ok 😀!","x":1}', text: 'ok 😀!', args: { x: 1 } },
  {
    id: 'DS-9',
    about: 'newline, tab and slash escapes',
    json: '{"to_user":"a\\n\\tb\\/c\\r\\b\\f","x":"\\/\\n"}',
    text: 'a\n\tb/c\r\b\f',
    args: { x: '/\n' },
  },
  {
    id: 'DS-10',
    about: 'white space around everything',
    json: ' {\n "to_user" \t:\n  "Hi"\r\n , "x" : 1 } ',
    text: 'Hi',
    args: { x: 1 },
  },
  {
    id: 'DS-11',
    about: 'null',
    json: '{"to_user":null,"x":"y","z":[1]}',
    text: '',
    args: { x: 'y', z: [1] },
  },
  { id: 'DS-11', about: 'a number', json: '{"to_user":12,"x":"y"}', text: '', args: { x: 'y' } },
  {
    id: 'DS-11',
    about: 'an object',
    json: '{"to_user":{"to_user":"no","a":"b"},"x":"y"}',
    text: '',
    args: { x: 'y' },
  },
  {
    id: 'DS-11',
    about: 'an array',
    json: '{"to_user":["no","to_user"],"x":"y"}',
    text: '',
    args: { x: 'y' },
  },
  {
    id: 'DS-12',
    about: 'a nested key of that name',
    json: '{"a":{"to_user":"inner"},"x":1}',
    text: '',
    args: { a: { to_user: 'inner' }, x: 1 },
  },
  {
    id: 'DS-12',
    about: 'a nested key and the real one',
    json: '{"a":[{"to_user":"inner"}],"to_user":"outer"}',
    text: 'outer',
    args: { a: [{ to_user: 'inner' }] },
  },
  {
    id: 'DS-13',
    about: 'the key inside a string, as an element and as a value',
    json: '{"a":"\\"to_user\\":\\"no\\"","b":["to_user","no"],"c":"to_user","to_user":"yes"}',
    text: 'yes',
    args: { a: '"to_user":"no"', b: ['to_user', 'no'], c: 'to_user' },
  },
  {
    id: 'DS-13',
    about: 'longer and shorter keys',
    json: '{"to_user_":"a","to_use":"b","":"c","to_user":"yes"}',
    text: 'yes',
    args: { to_user_: 'a', to_use: 'b', '': 'c' },
  },
  {
    id: 'DS-14',
    about: 'the key written with an escape',
    json: '{"to\\u005fuser":"yes","x":1}',
    text: 'yes',
    args: { x: 1 },
  },
  {
    id: 'DS-15',
    about: 'a lone high surrogate',
    json: '{"to_user":"a\\ud83dz"}',
    text: 'a\ufffdz',
    args: {},
  },
  {
    id: 'DS-15',
    about: 'a lone high surrogate at the end',
    json: '{"to_user":"a\\ud83d","x":1}',
    text: 'a\ufffd',
    args: { x: 1 },
  },
  { id: 'DS-15', about: 'a lone low surrogate', json: '{"to_user":"\\ude00a"}', text: '\ufffda', args: {} },
  {
    id: 'DS-15',
    about: 'two high surrogates',
    json: '{"to_user":"\\ud83d\\ud83d\\ude00"}',
    text: '\ufffd😀',
    args: {},
  },
  {
    id: 'DS-39',
    about: 'a null toUserKey leaves the text in the arguments',
    json: '{"to_user":"Hi","x":1}',
    text: '',
    args: { to_user: 'Hi', x: 1 },
    options: { toUserKey: null },
  },
  {
    id: 'DS-40',
    about: 'a key of another name',
    json: '{"say":"Hi","to_user":"data"}',
    text: 'Hi',
    args: { to_user: 'data' },
    options: { toUserKey: 'say' },
  },
];

describe('argument texts, cut in every way', () => {
  for (const { id, about, json, text, args, options } of vectors) {
    it(`${id} ${about}`, async () => {
      for (const cut of cuttings(json)) {
        const chunks = [...callChunks(0, 'c1', 'f', cut), finishChunk('tool_calls')];
        const result = await split(chunks, options);
        expect(result.text).toBe(text);
        for (const item of result.items) expect(item.text.isWellFormed()).toBe(true);
        expect(result.calls).toHaveLength(1);
        expect(result.calls[0]).toMatchObject({ ok: true, index: 0, id: 'c1', name: 'f' });
        expect(result.calls[0]).toHaveProperty('args', args);
        expect(result.calls[0]!.rawArguments.trim()).toBe(json.trim());
        expect(result.calls[0]!.toUser ?? '').toBe(text);
      }
    });
  }

  it('DS-16 emits text while the arguments arrive, piece by piece', async () => {
    const steps: [string, string | undefined][] = [
      ['{"to_', undefined],
      ['user": "Hi \\', 'Hi '],
      ['"Bo', '"Bo'],
      ['b\\" caf\\u', 'b" caf'],
      ['00', undefined],
      ['e9 \\ud83d', 'é '],
      ['\\ude', undefined],
      ['00"', '😀'],
      [', "x"', undefined],
      [': 1}', undefined],
    ];
    const seen: string[][] = [];
    let now: string[] = [];
    const turn = async () => {
      await new Promise((resolve) => setImmediate(resolve));
      seen.push(now);
      now = [];
    };
    const chunks = steps.flatMap(([piece]) => [
      callChunk({ index: 0, function: { arguments: piece } }),
      turn,
    ]);
    const opening = callChunk({ index: 0, id: 'c', function: { name: 'f' } });
    const stream = splitToolStream(sourceOf([opening, ...chunks, finishChunk('tool_calls')]));
    const calls = collect(stream.toolCalls);
    for await (const item of stream.toUser) now.push(item.text);
    expect(seen).toEqual(steps.map(([, text]) => (text === undefined ? [] : [text])));
    expect(await calls).toMatchObject([{ ok: true, args: { x: 1 }, toUser: 'Hi "Bob" café 😀' }]);
  });
});

describe('streams', () => {
  it('DS-20 emits the first text before the last argument chunk exists', async () => {
    const { promise: gate, resolve: open } = Promise.withResolvers<void>();
    const stream = splitToolStream(
      sourceOf([
        ...callChunks(0, 'a', 'f', ['{"to_user":"Hi', ' there']),
        () => gate,
        callChunk({ index: 0, function: { arguments: '","x":1}' } }),
        finishChunk('tool_calls'),
      ]),
    );
    const text = stream.toUser[Symbol.asyncIterator]();
    expect((await text.next()).value).toMatchObject({
      text: 'Hi',
      source: 'tool',
      toolCallId: 'a',
      index: 0,
    });
    expect((await text.next()).value).toMatchObject({ text: ' there' });
    open();
    expect(await collect(stream.toolCalls)).toMatchObject([{ args: { x: 1 } }]);
  });

  it('DS-21 carries content and then a tool call', async () => {
    const { items, calls, stream } = await split([
      contentChunk('Let me '),
      contentChunk('look.'),
      ...callChunks(0, 'a', 'find', ['{"q":', '"x"}']),
      finishChunk('tool_calls'),
    ]);
    expect(items).toEqual([
      { text: 'Let me ', source: 'content' },
      { text: 'look.', source: 'content' },
    ]);
    expect(calls).toMatchObject([{ ok: true, name: 'find', args: { q: 'x' } }]);
    const { message, finish } = await stream.done;
    expect(finish).toBe('tool_calls');
    expect(message).toEqual({
      role: 'assistant',
      content: 'Let me look.',
      tool_calls: [{ id: 'a', type: 'function', function: { name: 'find', arguments: '{"q":"x"}' } }],
    });
  });

  it('DS-22 loses nothing when a chunk carries content and calls, or two calls', async () => {
    const both = (content: string, args: string): ModelChunk => ({
      choices: [{ index: 0, delta: { content, tool_calls: [{ index: 0, function: { arguments: args } }] } }],
    });
    const { text, calls } = await split([
      callChunk(
        { index: 0, id: 'a', function: { name: 'f', arguments: '{"x"' } },
        { index: 1, id: 'b', function: { name: 'g', arguments: '{"y"' } },
      ),
      both('A', ':'),
      both('', '1'),
      both('B', '}'),
      callChunk({ index: 1, function: { arguments: ':2' } }, { index: 1, function: { arguments: '}' } }),
      finishChunk('tool_calls'),
    ]);
    expect(text).toBe('AB');
    expect(calls).toMatchObject([{ args: { x: 1 } }, { args: { y: 2 } }]);
  });

  it('DS-23 keeps two interleaved calls apart, in the order of their index', async () => {
    const { calls, items } = await split([
      callChunk({ index: 0, id: 'a', function: { name: 'f', arguments: '{"to_user":"one ' } }),
      callChunk({ index: 1, id: 'b', function: { name: 'g', arguments: '{"to_user":"two ' } }),
      callChunk({ index: 0, function: { arguments: 'first' } }),
      callChunk({ index: 1, function: { arguments: 'second","y":2}' } }),
      callChunk({ index: 0, function: { arguments: '","x":1}' } }),
      finishChunk('tool_calls'),
    ]);
    expect(calls).toMatchObject([
      { index: 0, id: 'a', args: { x: 1 }, toUser: 'one first' },
      { index: 1, id: 'b', args: { y: 2 }, toUser: 'two second' },
    ]);
    // Interleaved texts would be unreadable: the text of the second call waits until the first has ended.
    expect(items.map((item) => item.text).join('')).toBe('one first\ntwo second');
  });

  it('DS-24 opens a new call for a new id at the same index', async () => {
    const { calls, stream } = await split([
      ...callChunks(0, 'a', 'f', ['{"x"', ':1}']),
      ...callChunks(0, 'b', 'g', ['{"y"', ':2}']),
      finishChunk('tool_calls'),
    ]);
    expect(calls).toMatchObject([
      { index: 0, id: 'a', name: 'f', args: { x: 1 } },
      { index: 1, id: 'b', name: 'g', args: { y: 2 } },
    ]);
    expect((await stream.done).message.tool_calls?.map((call) => call.function.arguments)).toEqual([
      '{"x":1}',
      '{"y":2}',
    ]);
  });

  it('DS-24 accepts calls without an index, and an id in every piece', async () => {
    const piece = (id: string | undefined, name: string | undefined, args: string): ModelChunk =>
      callChunk({
        id,
        function: { name, arguments: args },
      });
    const without = await split([
      piece('a', 'f', '{"x"'),
      piece(undefined, undefined, ':1}'),
      piece('b', 'g', '{"y"'),
      piece('', undefined, ':2}'),
      finishChunk('stop'),
    ]);
    expect(without.calls).toMatchObject([
      { id: 'a', name: 'f', args: { x: 1 } },
      { id: 'b', name: 'g', args: { y: 2 } },
    ]);
    const repeated = await split([
      piece('a', 'f', '{"x"'),
      piece('a', 'f', ':1}'),
      piece('b', 'g', '{"y"'),
      piece('a', 'f', ''),
      piece('b', 'g', ':2}'),
      finishChunk('stop'),
    ]);
    expect(repeated.calls).toMatchObject([
      { id: 'a', args: { x: 1 } },
      { id: 'b', args: { y: 2 } },
    ]);
    const sameIdTwice = await split([
      piece('a', 'f', '{"x":1}'),
      piece('a', 'f', '{"x":2}'),
      finishChunk('stop'),
    ]);
    expect(sameIdTwice.calls).toMatchObject([
      { id: 'a', args: { x: 1 } },
      { id: 'a_2', args: { x: 2 } },
    ]);
  });

  it('DS-25 keeps arguments that come in the opening delta', async () => {
    const { calls } = await split([
      callChunk({ index: 0, id: 'a', function: { name: 'f', arguments: '{"x":' } }),
      callChunk({ index: 0, function: { arguments: '1}' } }),
      finishChunk('tool_calls'),
    ]);
    expect(calls).toMatchObject([{ args: { x: 1 } }]);
  });

  it('DS-26 joins the texts of three calls by one separator', async () => {
    const three = [
      ...callChunks(0, 'a', 'f', pieces('{"to_user":"one","x":1}', 5)),
      ...callChunks(1, 'b', 'f', pieces('{"x":2}', 5)),
      ...callChunks(2, 'c', 'f', pieces('{"to_user":"three","x":3}', 5)),
      finishChunk('tool_calls'),
    ];
    const { text, calls } = await split(three);
    expect(text).toBe('one\nthree');
    expect(calls).toMatchObject([{ args: { x: 1 } }, { args: { x: 2 } }, { args: { x: 3 } }]);
    expect((await split(three, { separator: ' / ' })).text).toBe('one / three');
  });

  it('DS-27 reads an empty argument text as no arguments', async () => {
    const { calls, stream } = await split([...callChunks(0, 'a', 'f', []), finishChunk('tool_calls')]);
    expect(calls).toEqual([{ ok: true, index: 0, id: 'a', name: 'f', args: {}, rawArguments: '' }]);
    expect((await stream.done).message.tool_calls?.[0]?.function.arguments).toBe('{}');
  });

  it('DS-28 reports the offset of invalid JSON, and keeps the other calls', async () => {
    const { calls, text } = await split([
      ...callChunks(0, 'a', 'f', ['{"to_user":"hm", "x": ']),
      ...callChunks(1, 'b', 'g', ['{"y":2}']),
      ...callChunks(2, 'c', 'h', ['["not","an","object"]']),
      finishChunk('tool_calls'),
    ]);
    expect(text).toBe('hm');
    expect(calls).toMatchObject([
      { ok: false, id: 'a', toUser: 'hm', error: { code: 'invalid_json', at: 22 } },
      { ok: true, id: 'b', args: { y: 2 } },
      { ok: false, id: 'c', error: { code: 'not_an_object' } },
    ]);
    expect(calls[0]).toHaveProperty(
      'error.message',
      'The arguments are not valid JSON at 22: expected a value',
    );
  });

  it('DS-29 keeps the text of a call that was cut off by the length limit', async () => {
    const { calls, text, stream } = await split([
      ...callChunks(0, 'a', 'f', ['{"to_user":"so far \\ud8']),
      finishChunk('length'),
    ]);
    expect(text).toBe('so far ');
    expect(calls).toMatchObject([{ ok: false, error: { code: 'truncated', at: 23 } }]);
    expect((await stream.done).finish).toBe('length');
  });

  it('DS-30 delivers a forced call that finishes with stop', async () => {
    const { calls } = await split([...callChunks(0, 'a', 'f', ['{"x":1}']), finishChunk('stop')]);
    expect(calls).toMatchObject([{ ok: true, args: { x: 1 } }]);
  });

  it('DS-31 ends both branches when the source ends without a finish reason', async () => {
    const { calls, text, stream } = await split([
      contentChunk('Hello'),
      ...callChunks(0, 'a', 'f', ['{"x":1}']),
      ...callChunks(1, 'b', 'g', ['{"y":']),
    ]);
    expect(text).toBe('Hello');
    expect(calls).toMatchObject([{ ok: true }, { ok: false, error: { code: 'truncated' } }]);
    await expect(stream.done).rejects.toMatchObject({ code: 'STREAM_ENDED' });
  });

  it('DS-32 delivers the items so far, then throws the error of the source in both branches', async () => {
    const failure = new Error('connection reset');
    const stream = splitToolStream(
      sourceOf([
        contentChunk('Hel'),
        ...callChunks(0, 'a', 'f', ['{"x":1}']),
        ...callChunks(1, 'b', 'g', ['{"y":']),
        () => {
          throw failure;
        },
      ]),
    );
    const text = await collectUntilError(stream.toUser);
    const calls = await collectUntilError(stream.toolCalls);
    expect(text).toEqual({ items: [{ text: 'Hel', source: 'content' }], error: failure });
    expect(calls.items).toMatchObject([{ id: 'a', ok: true }]);
    expect(calls.error).toBe(failure);
    await expect(stream.done).rejects.toBe(failure);
  });

  it('DS-33 reports the usage once, whether it comes before or after the finish reason', async () => {
    const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 };
    for (const tail of [
      [usageChunk(usage), finishChunk('stop')],
      [finishChunk('stop'), usageChunk(usage)],
      [{ ...finishChunk('stop'), usage }, finishChunk('stop')],
    ]) {
      const { stream } = await split([contentChunk('x'), ...tail]);
      expect(await stream.done).toEqual({
        message: { role: 'assistant', content: 'x' },
        finish: 'stop',
        usage,
      });
    }
  });

  it('DS-34 continues when the reader of one branch leaves, and closes the source when both have left', async () => {
    const chunks = [
      contentChunk('a'),
      ...callChunks(0, 'a', 'f', ['{"x":1}']),
      contentChunk('b'),
      contentChunk('c'),
      finishChunk('tool_calls'),
    ];
    const one = splitToolStream(sourceOf(chunks));
    for await (const item of one.toUser) {
      expect(item.text).toBe('a');
      break;
    }
    expect(await collect(one.toolCalls)).toMatchObject([{ ok: true }]);
    expect((await one.done).message.content).toBe('abc');

    const source = new CountedSource([...chunks.slice(0, 4), 'stall']);
    const onCancel = vi.fn();
    const both = splitToolStream(source, { onCancel });
    for await (const _ of both.toUser) break;
    for await (const _ of both.toolCalls) break;
    expect(source.closed).toBe(true);
    expect(onCancel).toHaveBeenCalledOnce();
    await expect(both.done).rejects.toMatchObject({ code: 'ABORTED' });
  });

  it('DS-35 ends both branches with the abort reason, at once, and closes the source', async () => {
    const source = new CountedSource([contentChunk('a'), contentChunk('b'), 'stall', contentChunk('c')]);
    const controller = new AbortController();
    const stream = splitToolStream(source, { signal: controller.signal });
    const text = collectUntilError(stream.toUser);
    const calls = collectUntilError(stream.toolCalls);
    await vi.waitFor(() => expect(source.pulled).toBe(3));
    const started = performance.now();
    const reason = new FabricError('TURN_CANCELLED', 'enough');
    controller.abort(reason);
    expect(await text).toMatchObject({ items: [{ text: 'a' }, { text: 'b' }], error: reason });
    expect(await calls).toEqual({ items: [], error: reason });
    expect(performance.now() - started).toBeLessThan(1_000);
    await expect(stream.done).rejects.toBe(reason);
    expect(source.closed).toBe(true);
    expect(source.pulled).toBe(3);
  });

  it('DS-35 does not read the source if the signal is already aborted', async () => {
    const source = new CountedSource([contentChunk('a')]);
    const stream = splitToolStream(source, { signal: AbortSignal.abort('no') });
    expect(await collectUntilError(stream.toUser)).toEqual({ items: [], error: 'no' });
    expect(source.pulled).toBe(0);
  });

  it('DS-35 cancel() closes the source and ends the branches', async () => {
    const source = new CountedSource([contentChunk('a'), 'stall']);
    const stream = splitToolStream(source);
    const text = collectUntilError(stream.toUser);
    await vi.waitFor(() => expect(source.pulled).toBe(2));
    await stream.cancel('because');
    expect(source.closed).toBe(true);
    expect(await text).toMatchObject({ items: [{ text: 'a' }], error: 'because' });
    await stream.cancel('again');
  });

  it('DS-36 reports ten megabytes in one argument as too_large and keeps only the limit', async () => {
    const piece = 'x'.repeat(64 * 1024);
    function* chunks(): Generator<ModelChunk> {
      yield callChunk({ index: 0, id: 'a', function: { name: 'f', arguments: '{"to_user":"Hi","x":"' } });
      for (let n = 0; n < 160; n += 1) yield callChunk({ index: 0, function: { arguments: piece } });
      yield callChunk({ index: 1, id: 'b', function: { name: 'g', arguments: '{}' } });
      yield finishChunk('tool_calls');
    }
    const { calls, text, stream } = await split(chunks());
    expect(text).toBe('Hi');
    expect(calls).toMatchObject([{ ok: false, error: { code: 'too_large' } }, { ok: true }]);
    expect(calls[0]!.rawArguments.length).toBe(262_144);
    expect(JSON.stringify((await stream.done).message).length).toBeLessThan(300_000);
  });

  it('DS-36 refuses an endless answer text and endless calls', async () => {
    function* endless(chunk: (n: number) => ModelChunk): Generator<ModelChunk> {
      for (let n = 0; ; n += 1) yield chunk(n);
    }
    for (const chunk of [
      () => contentChunk('y'.repeat(65_536)),
      (n: number) => callChunk({ index: n, id: `c${n}`, function: { name: 'f' } }),
    ]) {
      const stream = splitToolStream(sourceOf(endless(chunk)));
      const [text, calls] = await Promise.all([
        collectUntilError(stream.toUser),
        collectUntilError(stream.toolCalls),
      ]);
      expect(text.error).toMatchObject({ code: 'BUFFER_OVERFLOW' });
      expect(calls.error).toBe(text.error);
      await expect(stream.done).rejects.toBe(text.error);
    }
  });

  it('DS-36 refuses arguments that are nested too deep', async () => {
    const deep = `{"x":${'['.repeat(100)}${']'.repeat(100)}}`;
    const { calls } = await split([...callChunks(0, 'a', 'f', [deep]), finishChunk('tool_calls')]);
    expect(calls).toMatchObject([{ ok: false, error: { code: 'too_large' } }]);
  });

  it('DS-37 does not block on an unread branch, and fails only that branch above its limit', async () => {
    const chunks = [
      ...Array.from({ length: 30 }, () => contentChunk('0123456789')),
      ...callChunks(0, 'a', 'f', ['{"x":1}']),
      finishChunk('tool_calls'),
    ];
    const roomy = splitToolStream(sourceOf(chunks));
    expect(await collect(roomy.toolCalls)).toMatchObject([{ ok: true }]);
    expect((await collect(roomy.toUser)).length).toBe(30);

    const tight = splitToolStream(sourceOf(chunks), { maxBufferedChars: 100 });
    expect(await collect(tight.toolCalls)).toMatchObject([{ ok: true }]);
    const { items, error } = await collectUntilError(tight.toUser);
    expect(items.length).toBe(10);
    expect(isFabricError(error, 'BUFFER_OVERFLOW')).toBe(true);
    expect((await tight.done).message.content?.length).toBe(300);
  });

  it('DS-38 treats __proto__ and duplicate keys like JSON.parse', async () => {
    const json = '{"__proto__":{"evil":true},"x":1,"x":2,"constructor":3}';
    const { calls } = await split([...callChunks(0, 'a', 'f', pieces(json, 3)), finishChunk('tool_calls')]);
    const call = calls[0]!;
    if (!call.ok) throw new Error('expected a good call');
    expect(Object.keys(call.args)).toEqual(['__proto__', 'x', 'constructor']);
    expect(call.args.x).toBe(2);
    expect(Object.getPrototypeOf(call.args)).toBe(Object.prototype);
    expect(({} as { evil?: boolean }).evil).toBeUndefined();
  });

  it('warns once about text after the arguments', async () => {
    const warnings: string[] = [];
    const { calls } = await split(
      [...callChunks(0, 'a', 'f', ['{"x":1}  \n', '} oops', ' more']), finishChunk('tool_calls')],
      { onWarning: (warning) => warnings.push(`${warning.toolCallId ?? '-'} ${warning.message}`) },
    );
    expect(calls).toMatchObject([{ ok: true, args: { x: 1 }, rawArguments: '{"x":1}' }]);
    expect(warnings).toEqual(['a Text after the complete arguments of a tool call was ignored']);
  });

  it('emits a call before the answer is complete, and before a later call is', async () => {
    const { promise: gate, resolve: open } = Promise.withResolvers<void>();
    const stream = splitToolStream(
      sourceOf([
        ...callChunks(0, 'a', 'f', ['{"x":1}']),
        ...callChunks(1, 'b', 'g', ['{"y":']),
        () => gate,
        callChunk({ index: 1, function: { arguments: '2}' } }),
        finishChunk('tool_calls'),
      ]),
    );
    const calls = stream.toolCalls[Symbol.asyncIterator]();
    expect((await calls.next()).value).toMatchObject({ id: 'a' });
    open();
    expect((await calls.next()).value).toMatchObject({ id: 'b' });
    expect((await calls.next()).done).toBe(true);
  });

  it('keeps the answer when the connection breaks after the finish reason', async () => {
    const warnings: string[] = [];
    const { stream, text } = await split(
      [
        contentChunk('whole'),
        finishChunk('stop'),
        () => {
          throw new Error('reset');
        },
      ],
      { onWarning: (warning) => warnings.push(warning.message) },
    );
    expect(text).toBe('whole');
    expect(await stream.done).toMatchObject({ finish: 'stop', message: { content: 'whole' } });
    expect(warnings).toEqual(['The source failed after the finish reason']);
  });

  it('never emits half of a surrogate pair when the content is cut inside it', async () => {
    const { items, stream } = await split([
      contentChunk('a\ud83d'),
      contentChunk('\ude00b\ud83d'),
      ...callChunks(0, 'a', 'f', ['{"to_user":"c"}']),
      finishChunk('tool_calls'),
    ]);
    expect(items.map((item) => item.text)).toEqual(['a', '😀b', 'c', '\ufffd']);
    expect((await stream.done).message.content).toBe('a😀b\ufffd');
  });

  it('reads the selected choice', async () => {
    const chunk: ModelChunk = {
      choices: [
        { index: 0, delta: { content: 'zero' }, finish_reason: 'stop' },
        { index: 1, delta: { content: 'one' }, finish_reason: 'stop' },
      ],
    };
    expect((await split([chunk])).text).toBe('zero');
    expect((await split([chunk], { choice: 1 })).text).toBe('one');
  });

  it('refuses a second reader of a branch', async () => {
    const { stream } = await split([contentChunk('x'), finishChunk('stop')]);
    expect(() => stream.toUser[Symbol.asyncIterator]()).toThrow(
      expect.objectContaining({ code: 'STREAM_LOCKED' }),
    );
  });

  it('reads a synchronous source', async () => {
    const chunks = [
      contentChunk('Hi'),
      callChunk({ index: 0, id: 'a', function: { name: 'f', arguments: '{}' } }),
      finishChunk('tool_calls'),
    ];
    const stream = splitToolStream(chunks);
    const [items, calls] = await Promise.all([collect(stream.toUser), collect(stream.toolCalls)]);
    expect(items.map(({ text }) => text)).toEqual(['Hi']);
    expect(calls).toMatchObject([{ ok: true, id: 'a', name: 'f' }]);
    expect((await stream.done).message).toMatchObject({ content: 'Hi', tool_calls: [{ id: 'a' }] });
  });

  it('reports the error of a synchronous source, and closes it when the stream is cancelled', async () => {
    function* failing() {
      yield contentChunk('Hi');
      throw new Error('source');
    }
    const broken = await collectUntilError(splitToolStream(failing()).toUser);
    expect(broken).toMatchObject({ items: [{ text: 'Hi' }], error: { message: 'source' } });

    const closed = vi.fn();
    function* endless() {
      try {
        for (;;) yield contentChunk('x');
      } finally {
        closed();
      }
    }
    const stream = splitToolStream(endless());
    await stream.cancel('enough');
    expect(closed).toHaveBeenCalledOnce();
    await expect(stream.done).rejects.toBe('enough');
  });

  it('keeps no listener on the signal', async () => {
    const controller = new AbortController();
    const add = vi.spyOn(controller.signal, 'addEventListener');
    const remove = vi.spyOn(controller.signal, 'removeEventListener');
    const { stream } = await split([contentChunk('x'), finishChunk('stop')], { signal: controller.signal });
    await stream.done;
    expect(add).toHaveBeenCalledTimes(1);
    expect(remove).toHaveBeenCalledTimes(1);
  });
});
