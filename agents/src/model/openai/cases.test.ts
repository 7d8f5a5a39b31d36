// Quirks of model servers that were reported in public, by number. Each case is one answer of a server, and what a turn makes of it.
import { expect, test } from 'vitest';
import {
  callOf,
  chunk,
  type RawOptions,
  type RawOutcome,
  type RawServe,
  raw,
  runRaw,
  USAGE,
} from '../../testing/raw-completions.ts';

type Loose = Record<string, unknown>;

const W = (city: string): string => `get_weather{"city":"${city}"}`;
const weather = (city: string, id?: string, index?: number): Loose =>
  callOf('get_weather', { city }, id, index);
/** A piece of a call with these fields. */
const piece = (index: number | undefined, id: unknown, name: unknown, args?: unknown): Loose => ({
  ...(index === undefined ? {} : { index }),
  ...(id === undefined ? {} : { id }),
  function: { ...(name === undefined ? {} : { name }), ...(args === undefined ? {} : { arguments: args }) },
});

/** First `serve`, then a plain answer. */
const thenDone =
  (serve: RawServe): RawServe =>
  (answer) =>
    answer.n === 1 ? serve(answer) : answer.say('Done.');

async function expectRan(serve: RawServe, ran: readonly string[]): Promise<RawOutcome> {
  const outcome = await runRaw(thenDone(serve));
  expect(outcome.turns).toMatchObject([{ error: undefined }]);
  expect(outcome.ran).toEqual(ran);
  return outcome;
}

/** The calls run, and the turn goes on with a plain answer. */
const callsRun = (deltas: readonly Loose[], ran: readonly string[], finish?: string) =>
  expectRan((answer) => answer.calls(deltas, finish), ran);

async function expectText(serve: RawServe, text: string, options?: RawOptions): Promise<RawOutcome> {
  const outcome = await runRaw(serve, options);
  expect(outcome.turns.at(-1)).toMatchObject({ text, error: undefined });
  return outcome;
}
const streamGives = (items: readonly (Loose | string)[], text: string, headers?: Record<string, string>) =>
  expectText((answer) => answer.stream(items, headers), text);

async function expectError(serve: RawServe, pattern: RegExp): Promise<void> {
  expect((await runRaw(serve)).turns[0]!.error).toMatch(pattern);
}

const HELLO = [
  chunk({ role: 'assistant', content: '' }),
  chunk({ content: 'Hello.' }),
  chunk({}, 'stop'),
  { choices: [], usage: USAGE },
  '[DONE]',
];
const asText = (item: Loose | string): string => (typeof item === 'string' ? item : JSON.stringify(item));

test('a01 an index is missing, and the id is in the first piece only', () =>
  callsRun(
    [
      piece(undefined, 'c1', 'get_weather', ''),
      piece(undefined, undefined, undefined, '{"city":'),
      piece(undefined, undefined, undefined, '"Lima"}'),
    ],
    [W('Lima')],
  ));

test('a03 index 0 for every call, with different ids', () =>
  callsRun([weather('Lima', 'c1', 0), weather('Oslo', 'c2', 0)], [W('Lima'), W('Oslo')]));

test('a05 index 0 for every call, without ids', () =>
  callsRun(
    [piece(0, undefined, 'get_weather', '{"city":"Lima"}'), piece(0, undefined, 'get_time', '{}')],
    [W('Lima'), 'get_time{}'],
  ));

test('a07 index 0 and an empty id for every call', () =>
  callsRun(
    [piece(0, '', 'get_weather', '{"city":"Lima"}'), piece(0, '', 'get_weather', '{"city":"Oslo"}')],
    [W('Lima'), W('Oslo')],
  ));

test('a08 a new id in every piece of one call', () =>
  callsRun(
    [
      piece(0, 'call_a', 'get_weather', ''),
      piece(0, 'call_b', undefined, '{"city":'),
      piece(0, 'call_c', undefined, '"Lima"}'),
    ],
    [W('Lima')],
  ));

test('a10 the id and the name in every piece', () =>
  callsRun(
    [
      piece(0, 'c', 'get_weather', ''),
      piece(0, 'c', 'get_weather', '{"city":'),
      piece(0, 'c', 'get_weather', '"Lima"}'),
    ],
    [W('Lima')],
  ));

test('a11 an empty and a null name, null arguments', () =>
  callsRun(
    [piece(0, 'c', 'get_weather', null), piece(0, null, '', '{"city":'), piece(0, '', null, '"Lima"}')],
    [W('Lima')],
  ));

test('a12 arguments as an object', () =>
  callsRun([piece(0, 'c', 'get_weather', { city: 'Lima' })], [W('Lima')]));

test('a13 empty arguments of a tool without parameters', async () => {
  const { requests } = await callsRun([piece(0, 'c', 'get_time', '')], ['get_time{}']);
  expect(requests[1]!.body.messages.find((one) => one.tool_calls)!.tool_calls![0]!.function.arguments).toBe(
    '{}',
  );
});

test('a14 arguments null', () => callsRun([piece(0, 'c', 'get_time', 'null')], ['get_time{}']));

test('a15 arguments that are encoded twice', () =>
  callsRun([piece(0, 'c', 'get_weather', JSON.stringify('{"city":"Lima"}'))], [W('Lima')]));

test('a16 the finish reason stop with calls', () => callsRun([weather('Lima')], [W('Lima')], 'stop'));

test('a18 the last piece of the arguments together with the finish reason', () =>
  expectRan(
    (answer) =>
      answer.stream([
        chunk({ tool_calls: [piece(0, 'c', 'get_weather', '{"city":')] }),
        chunk({ tool_calls: [piece(0, undefined, undefined, '"Lima"}')] }, 'tool_calls'),
        '[DONE]',
      ]),
    [W('Lima')],
  ));

test('a19 pieces of two calls that interleave', () =>
  callsRun(
    [
      piece(0, 'c1', 'get_weather', ''),
      piece(1, 'c2', 'get_weather', ''),
      piece(0, undefined, undefined, '{"city":'),
      piece(1, undefined, undefined, '{"city":'),
      piece(0, undefined, undefined, '"Lima"}'),
      piece(1, undefined, undefined, '"Oslo"}'),
    ],
    [W('Lima'), W('Oslo')],
  ));

test('a20 indexes from 1', () =>
  callsRun([weather('Lima', 'c1', 1), weather('Oslo', 'c2', 2)], [W('Lima'), W('Oslo')]));

/** Refuses requests whose history has a call that `isBad` refuses; the first answer is `first`. */
const strict =
  (first: RawServe, isBad: (name: string, args: string) => boolean): RawServe =>
  (answer) => {
    const calls = answer.messages.flatMap((one) => one.tool_calls ?? []);
    if (calls.some((call) => isBad(call.function.name, call.function.arguments)))
      answer.error(400, 'Invalid messages[2]');
    else if (answer.n === 1) first(answer);
    else answer.say('Done.');
  };
const twoTurns = { texts: ['Weather?', 'And now something else'] };

test('a22 a name with a namespace, which the server refuses in the history', () =>
  expectText(
    strict(
      (answer) => answer.calls([callOf('functions.get_weather', { city: 'Lima' })]),
      (name) => !/^[a-zA-Z0-9_-]{1,64}$/.test(name),
    ),
    'Done.',
    twoTurns,
  ).then(({ turns }) => expect(turns.map((turn) => turn.error)).toEqual([undefined, undefined])));

test('a24 arguments that are not JSON, which the server refuses in the history', () =>
  expectText(
    strict(
      (answer) => answer.calls([callOf('get_weather', '{"city": "Lima",}')]),
      (_name, args) => !isJson(args),
    ),
    'Done.',
    twoTurns,
  ).then(({ turns }) => expect(turns.map((turn) => turn.error)).toEqual([undefined, undefined])));

test('a26 an empty name, which the server refuses in the history', () =>
  expectText(
    strict(
      (answer) => answer.calls([piece(0, 'c', undefined, '{"city":"Lima"}')]),
      (name) => name === '',
    ),
    'Done.',
    twoTurns,
  ).then(({ turns }) => expect(turns.map((turn) => turn.error)).toEqual([undefined, undefined])));

const isJson = (text: string): boolean => {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
};

test('a27 a signature of a call that has to come back', () =>
  expectText((answer) => {
    const call = answer.messages.flatMap((one) => one.tool_calls ?? [])[0];
    const extra_content = { google: { thought_signature: 'c2ln' } };
    if (answer.n === 1) answer.calls([{ ...weather('Lima', 'function-call-1'), extra_content }]);
    else if (JSON.stringify(call?.extra_content) !== JSON.stringify(extra_content))
      answer.error(400, 'no thought_signature');
    else answer.say('Done.');
  }, 'Done.'));

test('a28 the reasoning of a message with calls, which has to come back within the turn', async () => {
  const { requests } = await expectText(
    (answer) => {
      if (answer.n === 1) {
        answer.stream([
          chunk({ role: 'assistant', reasoning_content: 'Let me ' }),
          chunk({ reasoning_content: 'look.' }),
          chunk({ tool_calls: [weather('Lima')] }),
          chunk({}, 'tool_calls'),
          '[DONE]',
        ]);
      } else answer.say('Done.');
    },
    'Done.',
    twoTurns,
  );
  const reasoning = requests.map(
    ({ body }) => body.messages.find((one) => one.tool_calls)?.reasoning_content,
  );
  expect(reasoning).toEqual([undefined, 'Let me look.', undefined]);
});

test('a29 no reasoning is sent where none came', async () => {
  const { requests } = await callsRun([weather('Lima')], [W('Lima')]);
  expect(requests.some(({ body }) => body.messages.some((one) => 'reasoning_content' in one))).toBe(false);
});

test('a30 deltas of function_call', () =>
  expectRan(
    (answer) =>
      answer.stream([
        chunk({ role: 'assistant', content: null, function_call: { name: 'get_weather', arguments: '' } }),
        chunk({ function_call: { arguments: '{"city":"Lima"}' } }),
        chunk({}, 'function_call'),
        '[DONE]',
      ]),
    [W('Lima')],
  ));

test('a32 null for an optional argument', () =>
  callsRun([callOf('get_weather', { city: 'Lima', unit: null })], [W('Lima')]));

test('a33 numbers as texts: the model is told', async () => {
  const { results, ran } = await runRaw((answer) => {
    if (answer.n === 1) answer.calls([callOf('add', { a: '1', b: '2' })]);
    else if (answer.n === 2) answer.calls([callOf('add', { a: 1, b: 2 })]);
    else answer.say('Done.');
  });
  expect(results[0]).toMatch(/number/);
  expect(ran).toEqual(['add{"a":1,"b":2}']);
});

test('a34 {} before the real arguments', () =>
  callsRun(
    [piece(0, 'c', 'get_weather', '{}'), piece(0, undefined, undefined, '{"city":"Lima"}')],
    [W('Lima')],
  ));

test('a35 text and a call in one answer', async () => {
  const { turns } = await expectRan(
    (answer) =>
      answer.stream([
        chunk({ content: 'Let me look.' }),
        chunk({ tool_calls: [weather('Lima')] }),
        chunk({}, 'tool_calls'),
        '[DONE]',
      ]),
    [W('Lima')],
  );
  expect(turns[0]!.text).toBe('Let me look.\nDone.');
});

test('a36 a call after a finish reason', () =>
  expectRan(
    (answer) =>
      answer.stream([
        chunk({ content: '' }, 'stop'),
        chunk({ tool_calls: [weather('Lima')] }),
        chunk({}, 'tool_calls'),
        '[DONE]',
      ]),
    [W('Lima')],
  ));

test('a37 a finish reason in the first chunk', () =>
  streamGives(
    [
      chunk({ content: '' }, 'stop'),
      chunk({ content: 'Hello ' }),
      chunk({ content: 'there.' }),
      chunk({}, 'stop'),
      '[DONE]',
    ],
    'Hello there.',
  ));

test.each(['', 'null'])('a39 the finish reason "%s" until the end', async (none) => {
  const items = [
    chunk({ content: 'Hello ' }, none),
    chunk({ content: 'there.' }, none),
    chunk({}, 'stop'),
    '[DONE]',
  ];
  await streamGives(items, 'Hello there.');
});

test('a41 no finish reason, but [DONE]', () =>
  streamGives([chunk({ content: 'Hello ' }), chunk({ content: 'there.' }), '[DONE]'], 'Hello there.'));

test('a41 a call without a finish reason, but [DONE]', () =>
  expectRan((answer) => answer.stream([chunk({ tool_calls: [weather('Lima')] }), '[DONE]']), [W('Lima')]));

test('a41 neither a finish reason nor [DONE] is a broken answer', () =>
  expectError((answer) => answer.stream([chunk({ content: 'Hello ' })]), /^MODEL_UNAVAILABLE: .*broke off/));

test('a43 a finish reason without [DONE]', () =>
  streamGives([chunk({ content: 'Hello.' }), chunk({}, 'stop')], 'Hello.'));

test('a45 content in parts', () =>
  streamGives(
    [
      chunk({ content: [{ type: 'thinking', thinking: [{ type: 'text', text: 'Hmm.' }] }] }),
      chunk({ content: [{ type: 'text', text: 'Hello ' }] }),
      chunk({ content: 'there.' }),
      chunk({}, 'stop'),
      '[DONE]',
    ],
    'Hello there.',
  ));

test('a47 reasoning is not the answer', () =>
  streamGives(
    [
      chunk({ content: null, reasoning_content: 'Hmm' }),
      chunk({ reasoning: 'hmm', reasoning_details: [{ type: 'reasoning.text', text: 'hmm' }] }),
      chunk({ content: 'Hello.' }),
      chunk({}, 'stop'),
      '[DONE]',
    ],
    'Hello.',
  ));

test('a52 roles and contents that are missing, empty or null', () =>
  streamGives(
    [
      chunk({ content: null }),
      chunk({ role: '', content: 'Hello ' }),
      chunk({ role: null, content: '' }),
      chunk({ content: 'there.' }),
      chunk({ content: null }, 'stop'),
      '[DONE]',
    ],
    'Hello there.',
  ));

test('a53 deltas and choices that are missing or null', () =>
  streamGives(
    [
      { id: 'x', object: 'chat.completion.chunk' },
      { choices: null },
      chunk(null),
      chunk({ content: 'Hello.' }),
      { choices: [{ index: 0, finish_reason: 'stop' }] },
      '[DONE]',
    ],
    'Hello.',
  ));

test('a54 results of content filters around the answer', () =>
  streamGives(
    [
      {
        id: '',
        model: '',
        choices: [],
        prompt_filter_results: [{ prompt_index: 0, content_filter_results: {} }],
      },
      chunk({ content: 'Hello.' }),
      chunk({}, 'stop'),
      {
        choices: [{ index: 0, finish_reason: null, content_filter_offsets: {}, content_filter_results: {} }],
      },
      '[DONE]',
    ],
    'Hello.',
  ));

test('a56 of usage in every chunk the last one counts', async () => {
  const part = { prompt_tokens: 5, completion_tokens: 1, total_tokens: 6 };
  const { turns } = await streamGives(
    [
      chunk({ content: 'Hel' }, null, { usage: part }),
      chunk({ content: 'lo.' }, null, { usage: part }),
      chunk({}, 'stop', { usage: USAGE }),
      '[DONE]',
    ],
    'Hello.',
  );
  expect(turns[0]!.usage).toEqual(USAGE);
});

test('a57 two choices', () =>
  streamGives(
    [
      { choices: [{ index: 1, delta: { content: 'Wrong' }, finish_reason: null }] },
      { choices: [{ index: 0, delta: { content: 'Right' }, finish_reason: null }] },
      { choices: [{ index: 1, delta: {}, finish_reason: 'stop' }] },
      { choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] },
      '[DONE]',
    ],
    'Right',
  ));

test('a59 empty data as a heartbeat', () =>
  streamGives(
    [
      raw('data:\n\n'),
      chunk({ content: 'Hello ' }),
      raw('data: \n\n'),
      chunk({ content: 'there.' }),
      chunk({}, 'stop'),
      '[DONE]',
    ],
    'Hello there.',
  ));

test('a60 other fields of event streams', () =>
  streamGives(
    [
      raw('retry: 3000\n\n'),
      raw('event: message\n\n'),
      raw('id: 7\n'),
      chunk({ content: 'Hello.' }),
      raw('event: ping\ndata: {"type":"ping"}\n\n'),
      chunk({}, 'stop'),
      '[DONE]',
    ],
    'Hello.',
  ));

test('a61 a byte order mark, CRLF, and data without a blank', () =>
  streamGives([raw('\ufeff'), ...HELLO.map((item) => raw(`data:${asText(item)}\r\n\r\n`))], 'Hello.'));

test('a62 characters that are split over writes', () =>
  expectText(async ({ response }) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.socket!.setNoDelay(true);
    const text = [chunk({ content: 'Grüße 👩‍👩‍👧 漢字.' }), chunk({}, 'stop'), '[DONE]'].map(
      (item) => `data: ${asText(item)}\n\n`,
    );
    for (const byte of Buffer.from(text.join(''))) {
      await new Promise((resolve) => response.write(Buffer.from([byte]), resolve));
    }
    response.end();
  }, 'Grüße 👩‍👩‍👧 漢字.'));

test('a64 an event stream under the type of JSON', () =>
  streamGives(HELLO, 'Hello.', { 'content-type': 'application/json' }));

test('a66 an event stream without a type', () => streamGives(HELLO, 'Hello.', {}));

const WHOLE = {
  object: 'chat.completion',
  model: 'm',
  choices: [{ index: 0, message: { role: 'assistant', content: 'Hello.' }, finish_reason: 'stop' }],
  usage: USAGE,
};

test('a67 an answer that is not streamed', () => expectText((answer) => answer.json(200, WHOLE), 'Hello.'));

test('a68 JSON under the type of event streams, with [DONE] behind it', () =>
  streamGives([raw(`${JSON.stringify(WHOLE)}\n\ndata: [DONE]\n\n`)], 'Hello.'));

test('a69 a message in place of a delta', () => streamGives([WHOLE, '[DONE]'], 'Hello.'));

test('a69 a message at the end does not repeat the answer', () =>
  streamGives([chunk({ content: 'Hello.' }), WHOLE, '[DONE]'], 'Hello.'));

test('a71 HTTP/1.0, whose body ends with the connection', () =>
  expectText(({ response }) => {
    const socket = response.socket!;
    response.detachSocket(socket);
    socket.write('HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n');
    socket.end(HELLO.map((item) => `data: ${asText(item)}\n\n`).join(''));
  }, 'Hello.'));

test('a72 a web page', () =>
  expectError(({ response }) => {
    response.writeHead(200, { 'content-type': 'text/html' });
    response.end('<!doctype html><title>Welcome</title>');
  }, /^MODEL_UNAVAILABLE: .*event stream.*\/v1/));

test('a76 an error in a field of that name', () =>
  expectError(
    (answer) => answer.stream([raw('error: {"code":400,"message":"the context is too small"}\n\n')]),
    /context is too small/,
  ));

test('a77 an event that is an error', () =>
  expectError(
    (answer) => answer.stream([{ object: 'error', message: 'The engine is dead', code: 400 }, '[DONE]']),
    /engine is dead/,
  ));

test('a79 an answer that ends with an error', () =>
  expectError(
    (answer) =>
      answer.stream([
        chunk({ content: 'Half of' }),
        {
          choices: [
            {
              index: 0,
              delta: { content: '' },
              finish_reason: 'error',
              error: { code: 502, message: 'Upstream died' },
            },
          ],
        },
        '[DONE]',
      ]),
    /Upstream died/,
  ));

test('b07 the whole stream in one write, without the last blank line', () =>
  streamGives(
    [
      raw(
        HELLO.map((item) => `data: ${asText(item)}\n\n`)
          .join('')
          .trimEnd(),
      ),
    ],
    'Hello.',
  ));

test('b08 one line feed between events', () =>
  streamGives(
    HELLO.map((item) => raw(`data: ${asText(item)}\n`)),
    'Hello.',
  ));

test('b10 the same call id in every answer', async () => {
  const { requests } = await expectText(
    (answer) => {
      if (answer.n === 1) answer.calls([weather('Lima', '0')]);
      else if (answer.n === 2) answer.calls([weather('Oslo', '0')]);
      else answer.say('Done.');
    },
    'Done.',
    twoTurns,
  );
  const results = requests[3]!.body.messages.flatMap((one) =>
    one.role === 'tool' ? [JSON.parse(one.content).city] : [],
  );
  expect(results).toEqual(['Lima', 'Oslo']);
});

test('b11 calls in an answer that is not streamed', () =>
  expectRan(
    (answer) =>
      answer.json(200, {
        choices: [
          {
            index: 0,
            message: {
              role: 'assistant',
              content: null,
              tool_calls: [weather('Lima', 'c1'), callOf('get_time', '{}', 'c2', 1)],
            },
            finish_reason: 'tool_calls',
          },
        ],
      }),
    [W('Lima'), 'get_time{}'],
  ));

test('b13 an error with the status 200', () =>
  expectError(
    (answer) => answer.json(200, { error: { code: 400, message: 'Provider returned error' } }),
    /Provider returned error/,
  ));

test('b15 half of a surrogate pair in each of two deltas', () =>
  streamGives(
    [
      raw('data: {"choices":[{"index":0,"delta":{"content":"ok \\ud83d"}}]}\n\n'),
      raw('data: {"choices":[{"index":0,"delta":{"content":"\\ude00!"}}]}\n\n'),
      chunk({}, 'stop'),
      '[DONE]',
    ],
    'ok 😀!',
  ));

test('b16 arguments that are repeated at the end', () =>
  callsRun([weather('Lima', 'c'), piece(0, undefined, undefined, '{"city":"Lima"}')], [W('Lima')]));

test('b18 a trailing comma in the arguments: the model is told', async () => {
  const { results, ran } = await runRaw((answer) => {
    if (answer.n === 1) answer.calls([callOf('get_weather', '{"city":"Lima",}')]);
    else if (answer.n === 2) answer.calls([weather('Lima')]);
    else answer.say('Done.');
  });
  expect(results[0]).toMatch(/invalid_json/);
  expect(ran).toEqual([W('Lima')]);
});

test('b20 an unknown argument: the model is told', async () => {
  const { results } = await runRaw((answer) => {
    if (answer.n === 1) answer.calls([callOf('get_weather', { city: 'Lima', reasoning: 'asked' })]);
    else answer.say('Done.');
  });
  expect(results[0]).toMatch(/No such parameter/);
});

test('b24 the arguments before the name', () =>
  callsRun(
    [
      piece(0, 'c', undefined, '{"city":'),
      piece(0, undefined, undefined, '"Lima"}'),
      piece(0, undefined, 'get_weather'),
    ],
    [W('Lima')],
  ));

test('b26 a call that the token limit cut off before its arguments', async () => {
  const { results } = await callsRun([piece(0, 'c', 'get_time', '')], [], 'length');
  expect(results[0]).toMatch(/cut off/);
});

test('c72 an answer beyond the longest text of a turn is stopped and kept', async () => {
  let isClosed: Promise<unknown> | undefined;
  const { turns, requests } = await runRaw(
    async (answer) => {
      if (answer.n === 2) return answer.say('Done.');
      // This server never ends by itself.
      isClosed = new Promise((resolve) => answer.response.once('close', resolve));
      answer.response.writeHead(200, { 'content-type': 'text/event-stream' });
      for (let n = 0; n < 70; n += 1)
        answer.response.write(`data: ${asText(chunk({ content: 'x'.repeat(1_000) }))}\n\n`);
    },
    { texts: ['Hi', 'Again'] },
  );
  expect(turns[0]).toMatchObject({ text: 'x'.repeat(65_535), finish: 'length' });
  expect(requests[1]!.body.messages.at(-2)).toEqual({ role: 'assistant', content: 'x'.repeat(65_535) });
  await isClosed;
});

test('c73 long text with pairs of code units', () =>
  expectText((answer) => answer.say('ab😀'.repeat(5_000)), 'ab😀'.repeat(5_000)));
