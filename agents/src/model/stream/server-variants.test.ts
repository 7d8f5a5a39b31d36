// Answers of servers that depart from the API: see docs/decisions/0031.
import { describe, expect, it } from 'vitest';
import {
  callChunk,
  callChunks,
  contentChunk,
  finishChunk,
  pieces,
  sourceOf,
  usageChunk,
} from '../../testing/chunks.ts';
import type { ModelChunk, ToolCallDelta } from '../model.ts';
import { parseCall } from './parse-arguments.ts';
import { type ReadReplyOptions, readReply } from './read-reply.ts';
import type { ParsedToolCall } from './split-tool-stream.ts';

async function read(chunks: readonly ModelChunk[], options: ReadReplyOptions = {}) {
  let text = '';
  let reasoning = '';
  const calls: ParsedToolCall[] = [];
  const warnings: string[] = [];
  const reply = await readReply(sourceOf(chunks), {
    toUserKey: 'to_user',
    onText: (more) => {
      text += more;
      return undefined;
    },
    onReasoning: (more) => {
      reasoning += more;
    },
    onCall: (call) => calls.push(call),
    onWarning: ({ message }) => warnings.push(message),
    ...options,
  });
  return { reply, text, reasoning, warnings, calls, made: calls.map(shown) };
}
const shown = (call: ParsedToolCall): string =>
  `${call.name}${call.ok ? JSON.stringify(call.args) : `!${call.error.code}`}`;
const piece = (
  index: number | undefined,
  id: string | undefined,
  name: string | undefined,
  args?: string,
): ToolCallDelta => ({ index, id, function: { name, arguments: args } });
const made = async (deltas: readonly ToolCallDelta[], finish: 'tool_calls' | 'length' = 'tool_calls') =>
  (await read([...deltas.map((delta) => callChunk(delta)), finishChunk(finish)])).made;

const L = '{"city":"Lima"}';
const O = '{"city":"Oslo"}';

describe('pieces of calls', () => {
  it.each<[string, ToolCallDelta[], string[]]>([
    [
      'whole calls without ids at one index',
      [piece(0, undefined, 'f', L), piece(0, undefined, 'g', '{}')],
      [`f${L}`, 'g{}'],
    ],
    [
      'whole calls of one function at one index',
      [piece(0, '', 'f', L), piece(0, '', 'f', O)],
      [`f${L}`, `f${O}`],
    ],
    [
      'whole calls without ids and indexes',
      [piece(undefined, undefined, 'f', L), piece(undefined, undefined, 'f', O)],
      [`f${L}`, `f${O}`],
    ],
    [
      'two calls without arguments, by name',
      [piece(0, undefined, 'f', ''), piece(0, undefined, 'g', '')],
      ['f{}', 'g{}'],
    ],
    [
      'a call that begins while another one is open',
      [piece(0, 'a', 'f', '{"city":'), piece(0, 'b', 'g', L)],
      ['f!invalid_json', `g${L}`],
    ],
    [
      'a new id in every piece',
      [piece(0, 'a', 'f', ''), piece(0, 'b', undefined, '{"city":'), piece(0, 'c', undefined, '"Lima"}')],
      [`f${L}`],
    ],
    [
      'a new id in every piece, without an index',
      [
        piece(undefined, 'a', 'f'),
        piece(undefined, 'b', undefined, '{"city":'),
        piece(undefined, 'c', undefined, '"Lima"}'),
      ],
      [`f${L}`],
    ],
    [
      'a new id and the name in every piece',
      [piece(0, 'a', 'f', '{"city":'), piece(0, 'b', 'f', '"Lima"}')],
      [`f${L}`],
    ],
    [
      'ids that interleave at one index',
      [
        piece(0, 'a', 'f', '{"city":'),
        piece(0, 'b', 'g', '{"city":'),
        piece(0, 'a', undefined, '"Lima"}'),
        piece(0, 'b', undefined, '"Oslo"}'),
      ],
      [`f${L}`, `g${O}`],
    ],
    [
      'the same id in every call, with indexes',
      [piece(0, '0', 'f', L), piece(1, '0', 'f', O)],
      [`f${L}`, `f${O}`],
    ],
    [
      'the name in pieces',
      [
        piece(0, 'a', 'get_', undefined),
        piece(0, undefined, 'weather', undefined),
        piece(0, undefined, undefined, L),
      ],
      [`get_weather${L}`],
    ],
    [
      'the name in every piece',
      [
        piece(0, undefined, 'f', ''),
        piece(0, undefined, 'f', '{"city":'),
        piece(0, undefined, 'f', '"Lima"}'),
      ],
      [`f${L}`],
    ],
    [
      'nested objects in pieces with the name',
      [piece(0, undefined, 'f', '{"a":'), piece(0, undefined, 'f', '{"b":1}}')],
      ['f{"a":{"b":1}}'],
    ],
    [
      'the name after the arguments',
      [
        piece(0, 'a', undefined, '{"city":'),
        piece(0, undefined, undefined, '"Lima"}'),
        piece(0, undefined, 'f', undefined),
      ],
      [`f${L}`],
    ],
    [
      'the name after the arguments, of two calls',
      [
        piece(0, 'a', undefined, L),
        piece(1, 'b', undefined, O),
        piece(0, 'a', 'f', ''),
        piece(1, 'b', 'g', ''),
      ],
      [`f${L}`, `g${O}`],
    ],
    [
      'a call without a name before a named one',
      [piece(0, 'a', undefined, L), piece(0, 'b', 'g', '')],
      [L, 'g{}'],
    ],
    [
      '{} before the real arguments',
      [
        piece(0, 'a', 'f', '{}'),
        piece(0, undefined, undefined, '{"city":'),
        piece(0, undefined, undefined, '"Lima"}'),
      ],
      [`f${L}`],
    ],
    ['{} and then another call', [piece(0, 'a', 'f', '{ }'), piece(1, 'b', 'g', '{}')], ['f{}', 'g{}']],
    [
      'arguments that are repeated at the end',
      [piece(0, 'a', 'f', L), piece(0, undefined, undefined, L)],
      [`f${L}`],
    ],
    ['a call that is repeated at the end', [piece(0, 'a', 'f', L), piece(0, 'a', 'f', L)], [`f${L}`]],
    ['arguments null', [piece(0, 'a', 'f', 'null')], ['f{}']],
    ['arguments that are encoded twice', [piece(0, 'a', 'f', JSON.stringify(L))], [`f${L}`]],
    ['an empty text, encoded twice', [piece(0, 'a', 'f', '""')], ['f{}']],
    ['a text that holds no object', [piece(0, 'a', 'f', '"Lima"')], ['f!not_an_object']],
  ])('reads %s', async (_about, deltas, expected) => {
    expect(await made(deltas)).toEqual(expected);
  });

  it('ignores repeated arguments, but records other text behind them', async () => {
    const repeated = await read([
      callChunk(piece(0, 'a', 'f', L)),
      callChunk(piece(0, undefined, undefined, L)),
      finishChunk('tool_calls'),
    ]);
    expect(repeated.reply.trailing).toBeUndefined();
    const other = await read([
      callChunk(piece(0, 'a', 'f', L)),
      callChunk(piece(0, undefined, undefined, O)),
      finishChunk('tool_calls'),
    ]);
    expect(other.reply.trailing?.get('a')).toBe(O);
    expect(other.warnings).toHaveLength(1);
  });

  it('emits the text for the user of arguments that are encoded twice', async () => {
    const args = JSON.stringify(JSON.stringify({ to_user: 'Hi 😀', x: 1 }));
    const { text, calls } = await read([
      ...callChunks(0, 'a', 'f', pieces(args, 3)),
      finishChunk('tool_calls'),
    ]);
    expect(text).toBe('Hi 😀');
    expect(calls).toMatchObject([{ args: { x: 1 }, toUser: 'Hi 😀' }]);
  });

  it('refuses nesting that is hidden in a text', async () => {
    const deep = JSON.stringify(`${'{"a":'.repeat(80)}1${'}'.repeat(80)}`);
    expect(await made([piece(0, 'a', 'f', deep)])).toEqual(['f!not_an_object']);
  });

  it('does not run a call that was cut off before its arguments, also in a replay', async () => {
    const { reply, made: live } = await read([callChunk(piece(0, 'a', 'f', '')), finishChunk('length')]);
    expect(live).toEqual(['f!truncated']);
    const replayed = parseCall(reply.message.tool_calls![0]!, 0, 'to_user', reply.finish);
    expect(shown(replayed)).toBe('f!truncated');
    expect(await made([piece(0, 'a', 'f', '{}')], 'length')).toEqual(['f{}']);
  });
});

describe('the end of an answer', () => {
  const usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 };

  it('collects text and calls after a finish reason', async () => {
    const { text, reply } = await read([
      { choices: [{ delta: { content: '' }, finish_reason: 'stop' }] },
      contentChunk('Hello '),
      contentChunk('there.'),
      finishChunk('stop'),
      usageChunk(usage),
    ]);
    expect(text).toBe('Hello there.');
    expect(reply).toMatchObject({ finish: 'stop', usage, message: { content: 'Hello there.' } });
    const late = await read([
      finishChunk('stop'),
      callChunk(piece(0, 'a', 'f', L)),
      finishChunk('tool_calls'),
    ]);
    expect(late.made).toEqual([`f${L}`]);
    expect(late.reply.finish).toBe('tool_calls');
  });

  it('keeps a first reason that is more precise than the second one', async () => {
    expect((await read([contentChunk('a'), finishChunk('length'), finishChunk('stop')])).reply.finish).toBe(
      'length',
    );
    expect(
      (await read([contentChunk('a'), finishChunk('tool_calls'), finishChunk('stop')])).reply.finish,
    ).toBe('tool_calls');
  });

  it('fails when the source fails after text that followed a finish reason', async () => {
    async function* source() {
      yield finishChunk('stop');
      yield contentChunk('half');
      throw new Error('reset');
    }
    await expect(readReply(source())).rejects.toThrow('reset');
  });
});

describe('reasoning', () => {
  const answer = async (text: string, size: number, finish: 'stop' | 'length' = 'stop') => {
    const {
      text: shownText,
      reasoning,
      reply,
    } = await read([...pieces(text, size).map(contentChunk), finishChunk(finish)]);
    expect(reply.message.content).toBe(shownText);
    return [reasoning, shownText];
  };

  it.each([
    ['<think>Hmm 😀 < 3.</think>\n\nHello.', 'Hmm 😀 < 3.', 'Hello.'],
    [' \n<thinking>a</think>b</thinking>Hello.', 'a</think>b', 'Hello.'],
    ['<think></think>Hello.', '', 'Hello.'],
    ['<think>a</think> <think>b</think> Hello <think>c</think>', 'ab', 'Hello <think>c</think>'],
    ['<thin air', '', '<thin air'],
    ['  Hello', '', '  Hello'],
    ['<think>never closed', 'never closed', 'never closed'],
    ['<', '', '<'],
    ['<think>a</think>\n', 'a', ''],
    ['<think></think>\n\nHello.', '', 'Hello.'],
    ['</think>\n\nHello.', '', 'Hello.'],
    ['\n</thought> <think>a</think>Hello.', 'a', 'Hello.'],
    ['</think>', '', ''],
    ['Hm, hello?\n</think>\n\nHello.\n</think>', '', 'Hm, hello?\n\n\nHello.\n</think>'],
    ['Write `</think>`, or\n</thinker>\n</thi', '', 'Write `</think>`, or\n</thinker>\n</thi'],
  ])('%j', async (text, reasoning, rest) => {
    for (let size = 1; size <= text.length; size += 1)
      expect(await answer(text, size)).toEqual([reasoning, rest]);
  });

  it('is not the answer if the limit cut it off', async () => {
    expect(await answer('<think>on and on', 3, 'length')).toEqual(['on and on', '']);
  });

  it('takes linear time for a long run of blanks before the answer', { timeout: 10_000 }, async () => {
    const blanks = Array.from({ length: 200_000 }, () => contentChunk('\n'));
    const { text } = await read([...blanks, contentChunk('Hello.'), finishChunk('stop')]);
    expect(text).toBe(`${'\n'.repeat(200_000)}Hello.`);
  });

  it('counts for the limit of the reply', async () => {
    const chunks = Array.from({ length: 50 }, () => contentChunk('x'.repeat(100_000)));
    await expect(read([contentChunk('<think>'), ...chunks, finishChunk('stop')])).rejects.toMatchObject({
      code: 'BUFFER_OVERFLOW',
    });
  });
});

describe('fields that the API does not have', () => {
  const extra = (fields: Record<string, unknown>): ModelChunk => ({
    choices: [{ delta: { extra: fields } }],
  });
  const call = (fields?: Record<string, unknown>): ModelChunk =>
    callChunk({ ...piece(0, 'functions.f:0', 'f', L), ...(fields ? { extra: fields } : {}) });

  it('are kept with a message that has calls, and joined over the chunks', async () => {
    const { reply } = await read(
      [
        extra({
          reasoning_content: 'Let ',
          reasoning_details: [{ type: 'reasoning.text', index: 0, text: 'Let ' }],
        }),
        extra({
          reasoning_content: 'me see',
          reasoning_details: [{ type: 'reasoning.text', index: 0, text: 'me see', signature: 's' }],
          meta: { a: 1 },
        }),
        extra({ meta: { b: 2 }, __proto__: { c: 1 } }),
        call({ extra_content: { google: { thought_signature: 'c2ln' } } }),
        finishChunk('tool_calls'),
      ],
      { callId: () => 'id1' },
    );
    expect(reply.message.provider).toEqual({
      message: {
        reasoning_content: 'Let me see',
        reasoning_details: [{ type: 'reasoning.text', index: 0, text: 'Let me see', signature: 's' }],
        meta: { a: 1, b: 2 },
      },
      calls: [
        {
          id: 'id1',
          sentId: 'functions.f:0',
          fields: { extra_content: { google: { thought_signature: 'c2ln' } } },
        },
      ],
    });
  });

  it('are joined without a change to the chunks of the source', async () => {
    const fields = { list: [{ a: 1 }], meta: { list: [1] } };
    const chunks = [extra(fields), extra({ list: [{ b: 2 }], meta: { list: [2] } }), call()];
    const { reply } = await read([...chunks, finishChunk('tool_calls')]);
    expect(reply.message.provider?.message).toEqual({ list: [{ a: 1 }, { b: 2 }], meta: { list: [1, 2] } });
    expect(fields).toEqual({ list: [{ a: 1 }], meta: { list: [1] } });
  });

  it('are not kept without calls, or beyond their limit', async () => {
    const plain = await read([extra({ reasoning_content: 'a' }), contentChunk('Hi'), finishChunk('stop')]);
    expect(plain.reply.message).toEqual({ role: 'assistant', content: 'Hi' });
    const large = await read([
      ...Array.from({ length: 12 }, () => extra({ reasoning_content: 'x'.repeat(100_000) })),
      callChunk(piece(0, 'a', 'f', L)),
      finishChunk('tool_calls'),
    ]);
    expect(large.reply.message.provider).toBeUndefined();
    expect(large.warnings).toEqual([
      'The fields that the server added to its message are too large, so they are not sent back',
    ]);
  });
});
