import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { ChatModel, ModelChunk, ModelMessage, ModelRequest } from '../../model/model.ts';
import { splitToolStream } from '../../model/stream/split-tool-stream.ts';
import {
  collect,
  contentChunk,
  cutAt,
  finishChunk,
  pieces,
  sourceOf,
  usageChunk,
} from '../../testing/chunks.ts';
import { tool } from '../tool.ts';
import { ToolSet } from '../tool-set.ts';
import { taggedToolModel } from './tagged-tool-model.ts';

const tools = new ToolSet([
  tool({
    name: 'look',
    description: 'Look it up',
    parameters: z.object({ q: z.string() }),
    execute: () => null,
  }),
]).specs();

function saying(chunks: readonly ModelChunk[]): { base: ChatModel; requests: ModelRequest[] } {
  const requests: ModelRequest[] = [];
  const base: ChatModel = {
    name: 'plain',
    stream(request) {
      requests.push(request);
      return sourceOf(chunks);
    },
  };
  return { base, requests };
}

async function read(chunks: readonly ModelChunk[], request: Partial<ModelRequest> = {}) {
  const { base, requests } = saying(chunks);
  const stream = splitToolStream(taggedToolModel(base).stream({ messages: [], tools, ...request }));
  const [items, calls] = await Promise.all([collect(stream.toUser), collect(stream.toolCalls)]);
  return { text: items.map((item) => item.text).join(''), calls, stream, requests };
}

const answer =
  'If a < b <to look: <tool>{"name": "look", "arguments": {"q": "</tool> \\" <tool>"}}</tool> and then\n<tool>{"name":"look","arguments":{"q":"second"}}</tool> done <too';

describe('taggedToolModel', () => {
  it('TL-12 finds text, tool, text however the stream is chunked, and loses nothing', async () => {
    const cuts = [
      [answer],
      ...Array.from({ length: 20 }, (_, n) => pieces(answer, n + 1)),
      ...Array.from({ length: answer.length - 1 }, (_, n) => cutAt(answer, [n + 1])),
    ];
    for (const cut of cuts) {
      const { text, calls, stream } = await read([...cut.map(contentChunk), finishChunk('stop')]);
      expect(text).toBe('If a < b <to look:  and then\n done <too');
      expect(calls).toMatchObject([
        { ok: true, name: 'look', args: { q: '</tool> " <tool>' } },
        { ok: true, name: 'look', args: { q: 'second' } },
      ]);
      expect((await stream.done).finish).toBe('tool_calls');
    }
  });

  it('TL-12 turns an unterminated block into a truncated call', async () => {
    for (const block of [
      '<tool>{"name": "look", "arguments": {"q": "unfin',
      '<tool>{"name": "look"',
      '<tool>{"name": "look", "arguments": ',
      '<tool>',
    ]) {
      const { text, calls, stream } = await read([contentChunk(`Wait. ${block}`), finishChunk('stop')]);
      expect(text).toBe('Wait. ');
      expect(calls).toMatchObject([{ ok: false, error: { code: 'truncated' } }]);
      expect((await stream.done).finish).toBe('length');
    }
    const ended = await read([contentChunk('<tool>{"name": "look", "arguments": {"q"')]);
    expect(ended.calls).toMatchObject([{ ok: false, name: 'look', error: { code: 'truncated' } }]);
    await expect(ended.stream.done).rejects.toMatchObject({ code: 'STREAM_ENDED' });
  });

  it('TL-12 refuses a block that is not a call, and reads arguments that are a JSON string', async () => {
    const { calls } = await read([
      contentChunk('<tool>{"name": "look", "arguments": {q: 1}}</tool><tool>{"x":1}</tool>'),
      contentChunk(
        '<tool>{"name": "look", "arguments": "{\\"q\\": \\"x\\"}"}</tool><tool>{"name":"look"}</tool>',
      ),
      finishChunk('stop'),
    ]);
    expect(calls).toMatchObject([
      { ok: false, name: 'look', error: { code: 'invalid_json' } },
      { ok: true, name: '', args: { x: 1 } },
      { ok: true, name: 'look', args: { q: 'x' } },
      { ok: true, name: 'look', args: {} },
    ]);
  });

  it('describes the tools to the model and converts the history to text', async () => {
    const messages: ModelMessage[] = [
      { role: 'system', content: 'Be kind.' },
      { role: 'user', content: 'Hi' },
      {
        role: 'assistant',
        content: 'One moment.',
        tool_calls: [
          { id: 'a', type: 'function', function: { name: 'look', arguments: '{"q":"x"}' } },
          { id: 'b', type: 'function', function: { name: 'look', arguments: '{"q":"y"}' } },
        ],
      },
      { role: 'tool', tool_call_id: 'a', content: '1 </tool>' },
      { role: 'tool', tool_call_id: 'b', content: '2' },
    ];
    const { requests } = await read([contentChunk('ok'), finishChunk('stop')], {
      messages,
      tool_choice: { type: 'function', function: { name: 'look' } },
    });
    const [request] = requests;
    expect(request).not.toHaveProperty('tools');
    expect(request).not.toHaveProperty('tool_choice');
    expect(request!.messages).toEqual([
      {
        role: 'system',
        content: expect.stringMatching(
          /^Be kind\.\n\n[\s\S]*look\(q: string\) - Look it up[\s\S]*must use the tool look\.$/,
        ),
      },
      { role: 'user', content: 'Hi' },
      {
        role: 'assistant',
        content:
          'One moment.\n<tool>{"id": "a", "name": "look", "arguments": {"q":"x"}}</tool>\n<tool>{"id": "b", "name": "look", "arguments": {"q":"y"}}</tool>',
      },
      {
        role: 'user',
        content: '{"tool_results":[{"id":"a","content":"1 </tool>"},{"id":"b","content":"2"}]}',
      },
    ]);
  });

  it('does not change a request without tools, and passes usage on', async () => {
    const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };
    const { text, requests, stream } = await read(
      [contentChunk('<tool>{"name":"look","arguments":{}}</tool>'), finishChunk('stop'), usageChunk(usage)],
      { tool_choice: 'none' },
    );
    expect(text).toBe('<tool>{"name":"look","arguments":{}}</tool>');
    expect(requests).toEqual([{ messages: [] }]);
    expect((await stream.done).usage).toEqual(usage);
    const withTools = await read([contentChunk('x'), finishChunk('stop'), usageChunk(usage)]);
    expect(await withTools.stream.done).toMatchObject({ usage, finish: 'stop' });
  });

  it('closes the stream of the model when its own stream is left', async () => {
    let closed = false;
    const base: ChatModel = {
      name: 'plain',
      async *stream() {
        try {
          for (;;) yield contentChunk('more ');
        } finally {
          closed = true;
        }
      },
    };
    for await (const chunk of taggedToolModel(base).stream({ messages: [], tools })) {
      expect(chunk.choices[0]?.delta.content).toBe('more ');
      break;
    }
    expect(closed).toBe(true);
  });
});
