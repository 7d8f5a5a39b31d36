// Public reports of how servers write their streams: tool calls, text and framing. Each test has the id of its case.
import { describe, expect, test } from 'vitest';
import { type CaseRequest, call, chunk, runCase } from '../../testing/model-case.ts';
import { EVENT_STREAM_HEADERS } from './openai-wire.ts';

type Serve = (r: CaseRequest) => void;

/** Serves `first`, then a plain answer. */
const thenDone =
  (first: Serve): Serve =>
  (r) => {
    if (r.n === 1) first(r);
    else r.say('Done.');
  };
/** A piece of the call with `index`. */
const piece = (index: number | undefined, part: object, id?: string | null): object => ({
  ...(index === undefined ? {} : { index }),
  ...(id === undefined ? {} : { id }),
  function: part,
});
const inCity = (city: string, id?: string, index = 0): object => call('get_weather', { city }, id, index);
const whole = (name: string, args: unknown): object => ({ name, arguments: JSON.stringify(args) });
const LIMA = 'get_weather{"city":"Lima"}';
const OSLO = 'get_weather{"city":"Oslo"}';
const completion = (message: object, finish: string): object => ({
  object: 'chat.completion',
  choices: [{ index: 0, message: { role: 'assistant', ...message }, finish_reason: finish }],
});

/** Pieces of one call whose arguments arrive in two pieces. */
const BEGIN = { name: 'get_weather', arguments: '' };
const HALF = { arguments: '{"city":' };
const REST = { arguments: '"Lima"}' };

describe('tool calls', () => {
  test.each<[string, Serve, ...string[]]>([
    [
      'a01 no index, and the id only in the first piece',
      (r) => r.calls(piece(undefined, BEGIN, 'c1'), piece(undefined, HALF), piece(undefined, REST)),
      LIMA,
    ],
    [
      'a03 index 0 for every parallel call, with different ids',
      (r) => r.calls(inCity('Lima', 'c1'), inCity('Oslo', 'c2')),
      LIMA,
      OSLO,
    ],
    [
      'a05 index 0 for every parallel call, without ids',
      (r) => r.calls(piece(0, whole('get_weather', { city: 'Lima' })), piece(0, whole('get_time', {}))),
      LIMA,
      'get_time{}',
    ],
    [
      'a07 index 0 and the id "" for every parallel call',
      (r) =>
        r.calls(
          piece(0, whole('get_weather', { city: 'Lima' }), ''),
          piece(0, whole('get_weather', { city: 'Oslo' }), ''),
        ),
      LIMA,
      OSLO,
    ],
    [
      'a08 a new id in every piece of one call',
      (r) => r.calls(piece(0, BEGIN, 'a'), piece(0, HALF, 'b'), piece(0, REST, 'c')),
      LIMA,
    ],
    [
      'a10 the id and the name in every piece',
      (r) =>
        r.calls(
          piece(0, BEGIN, 'c'),
          piece(0, { name: 'get_weather', ...HALF }, 'c'),
          piece(0, { name: 'get_weather', ...REST }, 'c'),
        ),
      LIMA,
    ],
    [
      'a11 names "" and null, and arguments null',
      (r) =>
        r.calls(
          piece(0, { name: 'get_weather', arguments: null }, 'c'),
          piece(0, { name: '', ...HALF }, null),
          piece(0, { name: null, ...REST }, ''),
        ),
      LIMA,
    ],
    [
      'a12 arguments as an object',
      (r) => r.calls(piece(0, { name: 'get_weather', arguments: { city: 'Lima' } }, 'c')),
      LIMA,
    ],
    ['a14 arguments "null"', (r) => r.calls(call('get_time', 'null')), 'get_time{}'],
    [
      'a15 arguments that are encoded twice',
      (r) => r.calls(call('get_weather', JSON.stringify('{"city":"Lima"}'))),
      LIMA,
    ],
    [
      'a16 the finish reason "stop"',
      (r) => r.events(chunk({ tool_calls: [inCity('Lima')] }), chunk({}, 'stop'), '[DONE]'),
      LIMA,
    ],
    [
      'a18 the last piece of the arguments in the chunk of the finish reason',
      (r) =>
        r.events(
          chunk({ tool_calls: [piece(0, { name: 'get_weather', ...HALF }, 'c')] }),
          chunk({ tool_calls: [piece(0, REST)] }, 'tool_calls'),
          '[DONE]',
        ),
      LIMA,
    ],
    [
      'a19 interleaved pieces of two calls',
      (r) =>
        r.calls(
          piece(0, BEGIN, 'c1'),
          piece(1, BEGIN, 'c2'),
          piece(0, HALF),
          piece(1, HALF),
          piece(0, REST),
          piece(1, { arguments: '"Oslo"}' }),
        ),
      LIMA,
      OSLO,
    ],
    ['a20 indexes from 1', (r) => r.calls(inCity('Lima', 'c1', 1), inCity('Oslo', 'c2', 2)), LIMA, OSLO],
    [
      'a30 the deprecated function_call',
      (r) =>
        r.events(
          chunk({ role: 'assistant', content: null, function_call: BEGIN }),
          chunk({ function_call: { arguments: '{"city":"Lima"}' } }),
          chunk({}, 'function_call'),
          '[DONE]',
        ),
      LIMA,
    ],
    [
      'a32 null for an optional argument',
      (r) => r.calls(call('get_weather', { city: 'Lima', unit: null })),
      LIMA,
    ],
    [
      'a34 arguments "{}" before the real ones',
      (r) =>
        r.calls(
          piece(0, { name: 'get_weather', arguments: '{}' }, 'c'),
          piece(0, { arguments: '{"city":"Lima"}' }),
        ),
      LIMA,
    ],
    [
      'a36 the call after the finish reason',
      (r) =>
        r.events(
          chunk({ role: 'assistant', content: '' }, 'stop'),
          chunk({ tool_calls: [inCity('Lima')] }),
          chunk({}, 'tool_calls'),
          '[DONE]',
        ),
      LIMA,
    ],
    [
      'b11 an answer that is not streamed',
      (r) =>
        r.json(
          200,
          completion(
            { content: null, tool_calls: [inCity('Lima'), call('get_time', {}, 'c2', 1)] },
            'tool_calls',
          ),
        ),
      LIMA,
      'get_time{}',
    ],
    [
      'b16 the whole arguments again in the last piece',
      (r) => r.calls(inCity('Lima', 'c'), piece(0, { arguments: '{"city":"Lima"}' })),
      LIMA,
    ],
    [
      'b24 arguments before the name',
      (r) => r.calls(piece(0, HALF, 'c'), piece(0, REST), piece(0, { name: 'get_weather' })),
      LIMA,
    ],
  ])('%s', async (_, first, ...calls) => {
    const { ran, turns, faults } = await runCase(thenDone(first));
    expect({ ran, answer: turns[0]!.answer, faults }).toEqual({ ran: calls, answer: 'Done.', faults: [] });
  });

  test('a13 arguments "": the tool gets none, and the history has {}', async () => {
    const { ran, requests } = await runCase(thenDone((r) => r.calls(call('get_time', ''))));
    const [sent] = requests[1]!.messages.flatMap((message) => message.tool_calls ?? []);
    expect([ran, sent!.function.arguments]).toEqual([['get_time{}'], '{}']);
  });

  test('a33 numbers as strings: the model gets an error result and calls again', async () => {
    const { ran, requests, turns } = await runCase((r) => {
      if (r.n === 1) r.calls(call('add', { a: '1', b: '2' }));
      else if (r.n === 2) r.calls(call('add', { a: 1, b: 2 }, 'c2'));
      else r.say('Done.');
    });
    expect(requests[1]!.results.join()).toContain('number');
    expect([ran, turns[0]!.answer]).toEqual([['add{"a":1,"b":2}'], 'Done.']);
  });

  test('a35 text and a call in one answer: the text stays', async () => {
    const { ran, turns } = await runCase(
      thenDone((r) =>
        r.events(
          chunk({ content: 'Let me look.' }),
          chunk({ tool_calls: [inCity('Lima')] }),
          chunk({}, 'tool_calls'),
          '[DONE]',
        ),
      ),
    );
    expect([ran, turns[0]!.answer]).toEqual([[LIMA], 'Let me look.\nDone.']);
  });

  test('b26 the token limit before the first argument: the call does not run', async () => {
    const { ran } = await runCase(
      thenDone((r) => r.events(chunk({ tool_calls: [call('get_time', '')] }), chunk({}, 'length'), '[DONE]')),
    );
    expect(ran).toEqual([]);
  });
});

describe('fields that must return to their server', () => {
  /** The message with calls in the second request. */
  async function sentBack(first: Serve): Promise<Record<string, unknown>> {
    const { requests, faults } = await runCase(thenDone(first));
    expect(faults).toEqual([]);
    return requests[1]!.messages.find((message) => message.tool_calls)! as never;
  }

  test('a27 the signature of a call (Gemini)', async () => {
    const extra = { extra_content: { google: { thought_signature: 'c2ln' } } };
    const message = await sentBack((r) => r.calls({ ...inCity('Lima'), ...extra }));
    expect(message.tool_calls).toMatchObject([extra]);
  });

  test('a28 the reasoning of a message with calls (DeepSeek, Kimi)', async () => {
    const message = await sentBack((r) =>
      r.events(
        chunk({ role: 'assistant', reasoning_content: 'Let me look.' }),
        chunk({ tool_calls: [inCity('Lima')] }),
        chunk({}, 'tool_calls'),
        '[DONE]',
      ),
    );
    expect(message.reasoning_content).toBe('Let me look.');
  });

  test('a29 no reasoning goes to a server that sent none (Mistral)', async () => {
    expect(await sentBack((r) => r.calls(inCity('Lima')))).not.toHaveProperty('reasoning_content');
  });
});

const HELLO = [chunk({ role: 'assistant', content: 'Hello ' }), chunk({ content: 'there.' })];
const END = [chunk({}, 'stop'), '[DONE]'];
const data = (one: object | string): string => `data: ${typeof one === 'string' ? one : JSON.stringify(one)}`;
const raw = (text: string): object => ({ raw: text });
const send = (r: CaseRequest, text: string, headers: Record<string, string> = EVENT_STREAM_HEADERS): void => {
  r.response.writeHead(200, headers);
  r.response.end(text);
};
const stream = [...HELLO, ...END].map((one) => `${data(one)}\n\n`).join('');

describe('text and framing', () => {
  test.each<[string, Serve]>([
    [
      'a37 the finish reason "stop" before the text',
      (r) => r.events(chunk({ role: 'assistant', content: '' }, 'stop'), ...HELLO, ...END),
    ],
    [
      'a39 the finish reason "" until the end',
      (r) => r.events(chunk({ content: 'Hello ' }, ''), chunk({ content: 'there.' }, ''), ...END),
    ],
    ['a41 no finish reason, but [DONE]', (r) => r.events(...HELLO, '[DONE]')],
    ['a43 a finish reason, and no [DONE]', (r) => r.events(...HELLO, chunk({}, 'stop'))],
    [
      'a45 content as a list of parts (Magistral)',
      (r) =>
        r.events(
          chunk({ content: [{ type: 'thinking', thinking: [{ type: 'text', text: 'Hmm.' }] }] }),
          chunk({ content: [{ type: 'text', text: 'Hello ' }] }),
          chunk({ content: 'there.' }),
          ...END,
        ),
    ],
    [
      'a47 reasoning is not text',
      (r) =>
        r.events(
          chunk({ role: 'assistant', content: null, reasoning_content: 'Hmm' }),
          chunk({ reasoning: 'hmm', reasoning_details: [{ type: 'reasoning.text', text: 'hmm' }] }),
          ...HELLO,
          ...END,
        ),
    ],
    [
      'a52 roles that are missing, "" or null, and content null',
      (r) =>
        r.events(
          chunk({ content: null }),
          chunk({ role: '', content: 'Hello ' }),
          chunk({ role: null, content: '' }),
          chunk({ content: 'there.' }),
          chunk({ content: null }, 'stop'),
          '[DONE]',
        ),
    ],
    [
      'a53 delta and choices that are null or missing',
      (r) =>
        r.events(
          { id: 'x', object: 'chat.completion.chunk' },
          { choices: null },
          { choices: [{ index: 0, delta: null, finish_reason: null }] },
          ...HELLO,
          { choices: [{ index: 0, finish_reason: 'stop' }] },
          '[DONE]',
        ),
    ],
    [
      'a54 filter results without text (Azure)',
      (r) =>
        r.events(
          { id: '', model: '', choices: [], prompt_filter_results: [{ prompt_index: 0 }] },
          ...HELLO,
          chunk({}, 'stop'),
          { id: '', choices: [{ index: 0, finish_reason: null, content_filter_results: {} }] },
          '[DONE]',
        ),
    ],
    [
      'a57 two choices: the first counts',
      (r) =>
        r.events(
          { choices: [{ index: 1, delta: { content: 'Wrong' }, finish_reason: null }] },
          ...HELLO,
          { choices: [{ index: 1, delta: {}, finish_reason: 'stop' }] },
          ...END,
        ),
    ],
    [
      'a59 empty data as a keep-alive',
      (r) => r.events(raw('data:\n\n'), HELLO[0], raw('data: \n\n'), HELLO[1], ...END),
    ],
    [
      'a60 fields event, id and retry, and an event without data',
      (r) =>
        r.events(
          raw('retry: 3000\n\nevent: message\n\nid: 7\n'),
          ...HELLO,
          raw('event: ping\ndata: {"type":"ping"}\n\n'),
          ...END,
        ),
    ],
    [
      'a61 CRLF, a byte order mark, and no space after "data:"',
      (r) =>
        send(
          r,
          `\ufeff${[...HELLO, ...END].map((one) => `${data(one).replace(': ', ':')}\r\n\r\n`).join('')}`,
        ),
    ],
    [
      'a64 an event stream under application/json',
      (r) => send(r, stream, { 'content-type': 'application/json' }),
    ],
    ['a66 an event stream without a content type', (r) => send(r, stream, {})],
    ['a67 JSON in place of a stream', (r) => r.json(200, completion({ content: 'Hello there.' }, 'stop'))],
    [
      'a68 JSON under text/event-stream, with [DONE] after it',
      (r) =>
        send(r, `${JSON.stringify(completion({ content: 'Hello there.' }, 'stop'))}\n\ndata: [DONE]\n\n`),
    ],
    [
      'a69 message in place of delta',
      (r) => r.events(completion({ content: 'Hello there.' }, 'stop'), '[DONE]'),
    ],
    [
      'a71 HTTP/1.0: the body ends with the connection',
      (r) => {
        const socket = r.response.socket!;
        r.response.detachSocket(socket);
        socket.end(`HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n${stream}`);
      },
    ],
    ['b07 no blank line after the last event', (r) => send(r, stream.trimEnd())],
    [
      'b08 no blank lines between events',
      (r) => send(r, [...HELLO, ...END].map((one) => `${data(one)}\n`).join('')),
    ],
  ])('%s', async (_, serve) => {
    expect((await runCase(serve)).turns).toEqual([{ answer: 'Hello there.', finish: 'stop' }]);
  });

  test('a56 usage in every chunk: the last one counts', async () => {
    const usage = (completion_tokens: number) => ({
      usage: { prompt_tokens: 5, completion_tokens, total_tokens: 5 + completion_tokens },
    });
    const { turns, usages } = await runCase((r) =>
      r.events(
        { ...chunk({ content: 'Hel' }), ...usage(1) },
        { ...chunk({ content: 'lo.' }), ...usage(2) },
        { ...chunk({}, 'stop'), ...usage(3) },
        '[DONE]',
      ),
    );
    expect(turns[0]!.answer).toBe('Hello.');
    expect(usages).toMatchObject([{ prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 }]);
  });

  test('a62 a body that arrives byte by byte, in the middle of characters too', async () => {
    const text = 'Grüße 👩‍👩‍👧 漢字.';
    const { turns } = await runCase(async (r) => {
      r.response.writeHead(200, EVENT_STREAM_HEADERS);
      r.response.socket!.setNoDelay(true);
      const body = Buffer.from(
        `${data(chunk({ content: text }))}\n\n${END.map((one) => `${data(one)}\n\n`).join('')}`,
      );
      for (const byte of body) {
        await new Promise<unknown>((resolve) => r.response.write(Buffer.from([byte]), resolve));
      }
      r.response.end();
    });
    expect(turns[0]!.answer).toBe(text);
  });

  test('b15 a surrogate pair in two chunks', async () => {
    const half = (text: string): object =>
      raw(`data: {"choices":[{"index":0,"delta":{"content":"${text}"}}]}\n\n`);
    const { turns } = await runCase((r) => r.events(half('ok \\ud83d'), half('\\ude00!'), ...END));
    expect(turns[0]!.answer).toBe('ok 😀!');
  });
});
