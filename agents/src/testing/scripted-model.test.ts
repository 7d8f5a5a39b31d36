import { describe, expect, it } from 'vitest';
import type { ChatModel, ModelChunk, ModelRequest } from '../model/model.ts';
import { collect } from './chunks.ts';
import { callTools, failing, gate, lastUser, reply, stall } from './script.ts';
import { scriptedModel } from './scripted-model.ts';

const ask = (content: string, extra: Partial<ModelRequest> = {}): ModelRequest => ({
  messages: [{ role: 'user', content }],
  ...extra,
});
const read = (model: ChatModel, request: ModelRequest): Promise<ModelChunk[]> =>
  collect(model.stream(request));
const textOf = (chunks: readonly ModelChunk[]): string =>
  chunks.flatMap((chunk) => chunk.choices.map((choice) => choice.delta.content ?? '')).join('');

const spec = { type: 'function' as const, function: { name: 'f', parameters: { type: 'object' } } };

describe('the scripted model', () => {
  it('plays text, finish reason and usage', async () => {
    const model = scriptedModel([reply('Hello world', { chunkChars: 4 })]);
    const chunks = await read(model, ask('hi'));
    expect(chunks.slice(0, 3).map((chunk) => chunk.choices[0]?.delta.content)).toEqual([
      'Hell',
      'o wo',
      'rld',
    ]);
    expect(chunks[3]?.choices[0]?.finish_reason).toBe('stop');
    expect(chunks[4]).toMatchObject({ choices: [], usage: { total_tokens: 15 } });
    model.done();
  });

  it('ends a reply with a tool call with the finish reason tool_calls', async () => {
    const model = scriptedModel([
      callTools({ name: 'add', arguments: { a: 1 } }, { chunkChars: 2, usage: null }),
    ]);
    const chunks = await read(model, ask('hi'));
    const args = chunks.flatMap((c) => c.choices.flatMap((x) => x.delta.tool_calls ?? []));
    expect(args.map((delta) => delta.function?.arguments).join('')).toBe('{"a":1}');
    expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe('tool_calls');
  });

  it('answers with the first unused reply that matches the request', async () => {
    const model = scriptedModel([
      { when: lastUser('b'), steps: ['for b'] },
      { when: lastUser('a'), steps: ['for a'] },
    ]);
    expect(textOf(await read(model, ask('a')))).toBe('for a');
    expect(textOf(await read(model, ask('b')))).toBe('for b');
    model.done();
  });

  it('makes a reply from the request when the script is a function', async () => {
    const model = scriptedModel([(request, index) => `${index}: ${request.messages[0]?.content}`]);
    expect(textOf(await read(model, ask('x')))).toBe('0: x');
  });

  it('answers `times` requests with one reply', async () => {
    const model = scriptedModel([{ steps: ['again'], times: Number.POSITIVE_INFINITY }]);
    await read(model, ask('1'));
    await read(model, ask('2'));
    expect(model.count).toBe(2);
    model.done();
  });

  it('fails on an unexpected request, and done() reports it', async () => {
    const model = scriptedModel([]);
    await expect(read(model, ask('hello'))).rejects.toThrow('request 1 was not expected');
    expect(() => model.done()).toThrow('hello');
  });

  it('done() reports unused replies', () => {
    expect(() => scriptedModel(['one', 'two']).done()).toThrow('2 of 2 replies not used by 0 requests');
  });

  it('waits at a gate until the test opens it', async () => {
    const middle = gate();
    const model = scriptedModel([['a', middle, 'b']]);
    const stream = model.stream(ask('x'))[Symbol.asyncIterator]();
    expect((await stream.next()).value.choices[0].delta.content).toBe('a');
    let second = false;
    const pending = stream.next().then((result) => {
      second = true;
      return result;
    });
    await middle.reached;
    expect(second).toBe(false);
    middle.open();
    expect((await pending).value.choices[0].delta.content).toBe('b');
  });

  it('throws the scripted error after the text before it', async () => {
    const model = scriptedModel([failing(new Error('broken'), 'half')]);
    const stream = model.stream(ask('x'))[Symbol.asyncIterator]();
    expect((await stream.next()).value.choices[0].delta.content).toBe('half');
    await expect(stream.next()).rejects.toThrow('broken');
    expect(model.calls[0]?.state).toBe('failed');
  });

  it('rejects a stalled read with the reason of the signal, and keeps no listener', async () => {
    const model = scriptedModel([['a', stall()]]);
    const abort = new AbortController();
    const stream = model.stream(ask('x'), { signal: abort.signal })[Symbol.asyncIterator]();
    await stream.next();
    const pending = stream.next();
    const reason = new Error('enough');
    abort.abort(reason);
    await expect(pending).rejects.toBe(reason);
    expect(model.calls[0]?.state).toBe('aborted');
    expect((await stream.next()).done).toBe(true);
  });

  it('ends a stalled read when the reader leaves', async () => {
    const model = scriptedModel([['a', stall()]]);
    const stream = model.stream(ask('x'))[Symbol.asyncIterator]();
    await stream.next();
    const pending = stream.next();
    await stream.return?.();
    expect(await pending).toEqual({ done: true, value: undefined });
  });

  it('records that the reader left', async () => {
    const model = scriptedModel(['abc', 'abc']);
    for await (const _ of model.stream(ask('x'))) break;
    expect(model.calls[0]?.state).toBe('left');
  });

  it('refuses a request that the OpenAI API would refuse, and records it', async () => {
    const model = scriptedModel(['unused']);
    const bad: ModelRequest = {
      messages: [{ role: 'tool', tool_call_id: 'c', content: 'x' }],
      tools: [spec],
    };
    await expect(read(model, bad)).rejects.toMatchObject({ code: 'MODEL_REFUSED' });
    expect(() => model.assertValid()).toThrow('messages[0].tool_call_id');
  });

  it('checks requests in the form that a client sends them in', async () => {
    const model = scriptedModel(['sorry', 'never']);
    const call = { id: 'c1', type: 'function' as const, function: { name: 'f', arguments: '{"x": ' } };
    const messages: ModelRequest['messages'] = [
      { role: 'user', content: 'go' },
      { role: 'assistant', content: null, tool_calls: [call] },
      { role: 'tool', tool_call_id: 'c1', content: '' },
    ];
    expect(textOf(await read(model, { messages, tools: [spec] }))).toBe('sorry');
    const unanswered = read(model, { messages: messages.slice(0, 2), tools: [spec] });
    await expect(unanswered).rejects.toThrow('answer is missing');
  });

  it('keeps a copy of each request', async () => {
    const model = scriptedModel(['a']);
    const messages = [{ role: 'user' as const, content: 'first' }];
    await read(model, { messages });
    messages[0]!.content = 'changed';
    expect(model.requests[0]?.messages[0]?.content).toBe('first');
  });
});
