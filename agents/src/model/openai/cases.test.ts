// Public reports of servers that refuse requests, answer with errors or cut their answers. Each test has the id of its case.
import { describe, expect, test } from 'vitest';
import { type CaseOptions, type CaseRequest, call, chunk, runCase } from '../../testing/model-case.ts';

type Serve = (r: CaseRequest) => void;
const errorOf = async (serve: Serve, options: CaseOptions = {}): Promise<string> => {
  const { turns, faults } = await runCase(serve, options);
  expect(faults).toEqual([]);
  return turns.at(-1)!.error ?? `no error, but ${JSON.stringify(turns.at(-1))}`;
};
const answersOf = async (serve: Serve, options: CaseOptions = {}): Promise<(string | undefined)[]> => {
  const { turns, faults } = await runCase(serve, options);
  expect(faults).toEqual([]);
  return turns.map(({ answer, error }) => answer ?? error);
};
const HELLO = ['Hello.'];
const TWO = { turns: ['Weather?', 'And now something else'] };
const calls = (r: CaseRequest) => r.messages.flatMap((message) => message.tool_calls ?? []);
const lima = (id?: string) => call('get_weather', { city: 'Lima' }, id);

describe('names and arguments in the history', () => {
  test('a21 a namespace before the name of a tool: the result names the tool', async () => {
    const { requests, ran } = await runCase((r) =>
      r.n === 1 ? r.calls(call('functions.get_weather', { city: 'Lima' })) : r.say('Done.'),
    );
    expect(requests[1]!.results.join()).toContain('get_weather');
    expect(ran).toEqual([]);
  });

  test.each([
    ['a22', call('functions.get_weather', { city: 'Lima' })],
    ['a26', { index: 0, id: 'c', function: { arguments: '{"city":"Lima"}' } }],
    ['a22 sibling: special tokens', call('get_weather<|channel|>commentary', { city: 'Lima' })],
    ['a22 sibling: 100 characters', call('x'.repeat(100), {})],
  ])('%s a name that the server refuses does not end the conversation', async (_, bad) => {
    const serve: Serve = (r) => {
      const isBad = calls(r).some((one) => !/^[a-zA-Z0-9_-]{1,64}$/.test(one.function.name));
      if (isBad) r.refuse(400, "Invalid 'messages[2].tool_calls[0].function.name'");
      else if (r.n === 1) r.calls(bad);
      else r.say('Done.');
    };
    expect(await answersOf(serve, TWO)).toEqual(['Done.', 'Done.']);
  });

  test('a24 a server that parses the arguments in the history', async () => {
    const serve: Serve = (r) => {
      for (const one of calls(r)) JSON.parse(one.function.arguments);
      if (r.n === 1) r.calls(call('get_weather', '{"city": "Lima",}'));
      else r.say('Done.');
    };
    expect(await answersOf(serve, TWO)).toEqual(['Done.', 'Done.']);
  });

  test('b06 later requests do not contain an empty answer', async () => {
    const serve: Serve = (r) => {
      if (r.messages.some(({ role, content }) => role === 'assistant' && !content))
        r.refuse(400, 'empty content');
      else r.say(r.n === 1 ? '' : 'Hello.');
    };
    expect(await answersOf(serve, TWO)).toEqual(['', 'Hello.']);
  });

  test('b10 the same call id in every answer: the results of two steps stay apart', async () => {
    const { requests, faults } = await runCase((r) => {
      if (r.n === 1) r.calls(lima('0'));
      else if (r.n === 2) r.calls(call('get_weather', { city: 'Oslo' }, '0'));
      else r.say('Done.');
    }, TWO);
    expect(requests[3]!.results.map((content) => JSON.parse(content).city)).toEqual(['Lima', 'Oslo']);
    expect(faults).toEqual([]);
  });

  test('b18 arguments with a trailing comma: the model gets an error result and calls again', async () => {
    const serve: Serve = (r) => {
      if (r.n === 1) r.calls(call('get_weather', '{"city":"Lima",}'));
      else if (r.n === 2 && r.results[0]!.includes('invalid_json')) r.calls(lima('c2'));
      else r.say('Done.');
    };
    const { ran, turns } = await runCase(serve);
    expect([ran, turns[0]!.answer]).toEqual([['get_weather{"city":"Lima"}'], 'Done.']);
  });

  test('b20 unknown arguments: the model gets an error result and calls again', async () => {
    const serve: Serve = (r) => {
      if (r.n === 1) r.calls(call('get_weather', { city: 'Lima', reasoning: 'asked' }));
      else if (r.n === 2 && r.results[0]!.includes('No such parameter')) r.calls(lima('c2'));
      else r.say('Done.');
    };
    expect((await runCase(serve)).ran).toEqual(['get_weather{"city":"Lima"}']);
  });

  test('c63 half of a character in a result', async () => {
    const { requests } = await runCase((r) => (r.n === 1 ? r.calls(call('cut_text', {})) : r.say('Hello.')));
    expect(requests[1]!.results).toEqual(['ab\ufffd']);
  });
});

describe('answers that are cut or fail', () => {
  test('a48 the token limit is used up by reasoning', async () => {
    const serve: Serve = (r) =>
      r.events(chunk({ content: '', reasoning_content: 'Thinking' }), chunk({}, 'length'), '[DONE]');
    expect(await errorOf(serve)).toMatch(/^MODEL_ANSWER_EMPTY: .*FAME_MAX_ANSWER_TOKENS/);
  });

  test('a50 a content filter removed the answer', async () => {
    const serve: Serve = (r) => r.events(chunk({ content: '' }), chunk({}, 'content_filter'), '[DONE]');
    expect(await errorOf(serve)).toMatch(/^MODEL_ANSWER_EMPTY: .*content filter/);
  });

  test.each(['length', 'content_filter'])(
    'a48, a50 sibling: a part with the finish %s is kept',
    async (finish) => {
      const { turns } = await runCase((r) => r.say('Half of', finish));
      expect(turns).toEqual([{ answer: 'Half of', finish }]);
    },
  );

  test('a79 finish_reason "error" in the middle of the text', async () => {
    const error = { code: 502, message: 'Upstream died' };
    const choice = { index: 0, delta: { content: '' }, finish_reason: 'error', error };
    const serve: Serve = (r) => r.events(chunk({ content: 'Half of' }), { choices: [choice] }, '[DONE]');
    expect(await errorOf(serve)).toMatch(/^MODEL_UNAVAILABLE: .*Upstream died/);
  });

  test('a72 a web page with status 200', async () => {
    const serve: Serve = (r) => {
      r.response.writeHead(200, { 'content-type': 'text/html' });
      r.response.end('<!doctype html><title>Welcome</title>');
    };
    expect(await errorOf(serve)).toMatch(/^MODEL_UNAVAILABLE: .*not an event stream.*\/v1/);
  });

  test('a72 sibling: broken JSON after text does not blame the URL, and the text is kept', async () => {
    const { turns } = await runCase((r) =>
      r.events(
        chunk({ content: 'Text that had come' }),
        { raw: 'data: {"choices":[{"delta":\n\n' },
        '[DONE]',
      ),
    );
    expect(turns[0]!.error).toMatch(
      /^MODEL_UNAVAILABLE: .*broken event in the middle of its answer: ask again/,
    );
    expect(turns[0]!.text).toBe('Text that had come');
  });

  test('a76 an error under a field "error:" of the stream', async () => {
    const raw = 'error: {"code":400,"message":"the request exceeds the available context size"}\n\n';
    expect(await errorOf((r) => r.events({ raw }))).toContain('available context size');
  });

  test('a77 an error object as an event', async () => {
    const error = { object: 'error', message: 'Bad engine', type: 'BadRequestError', param: null, code: 400 };
    expect(await errorOf((r) => r.events(error, '[DONE]'))).toContain('Bad engine');
  });

  test('b13 an error object with status 200', async () => {
    const serve: Serve = (r) => r.json(200, { error: { code: 400, message: 'Provider returned error' } });
    expect(await errorOf(serve)).toContain('Provider returned error');
  });
});

describe('refused parts of a request are left out', () => {
  const hello =
    (isRefused: (r: CaseRequest) => boolean, status: number, body: object | string): Serve =>
    (r) => {
      if (isRefused(r)) r.json(status, body);
      else r.say('Hello.');
    };
  const error = (message: string, more: object = {}) => ({ error: { message, ...more } });
  const hasTools = (r: CaseRequest) => Boolean(r.body.tools);
  const hasSystem = (r: CaseRequest) => r.messages.some(({ role }) => role === 'system');

  test.each([
    [
      'a81 stream_options',
      (r: CaseRequest) => Boolean(r.body.stream_options),
      400,
      error('Unrecognized request argument supplied: stream_options'),
    ],
    [
      'a82 stream_options, in the words of FastAPI',
      (r: CaseRequest) => Boolean(r.body.stream_options),
      422,
      {
        detail: [
          { type: 'extra_forbidden', loc: ['body', 'stream_options'], msg: 'Extra inputs are not permitted' },
        ],
      },
    ],
    [
      'a84 max_tokens',
      (r: CaseRequest) => 'max_tokens' in r.body,
      400,
      error(
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        { param: 'max_tokens' },
      ),
    ],
    [
      'a85 more tokens than the context has',
      (r: CaseRequest) => r.body.max_tokens! > 4_000 && r.n < 3,
      400,
      {
        object: 'error',
        message:
          "This model's maximum context length is 3096 tokens. However, you requested 4120 tokens (24 in the messages, 4096 in the completion).",
      },
    ],
    [
      'a88 tools (OpenRouter)',
      hasTools,
      404,
      error('No endpoints found that support tool use. To learn more, visit: https://openrouter.ai/docs', {
        code: 404,
      }),
    ],
    [
      'a89 tools (Gemini)',
      hasTools,
      400,
      [error('Function calling is not enabled for models/gemma-3-27b-it', { code: 400 })],
    ],
    [
      'a91 tools (vLLM)',
      hasTools,
      400,
      {
        object: 'error',
        message: '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
        code: 400,
      },
    ],
    [
      'a92 system messages',
      hasSystem,
      400,
      error('Developer instruction is not enabled for models/gemma-3-27b-it'),
    ],
    [
      'a93 a failed sample of a call',
      (r: CaseRequest) => r.n === 1,
      400,
      error('Failed to call a function. Please adjust your prompt.', { code: 'tool_use_failed' }),
    ],
    [
      'c30 a temperature without its parameter',
      (r: CaseRequest) => 'temperature' in r.body,
      400,
      error('invalid temperature: only 1 is allowed for this model'),
    ],
  ])('%s', async (_, isRefused, status, body) => {
    const options = { turns: ['Hi', 'Hi'], systemPrompt: 'Be brief.', options: { temperature: 0.2 } };
    const { turns, requests } = await runCase(hello(isRefused, status, body), options);
    expect(turns.map(({ answer, error }) => answer ?? error)).toEqual(['Hello.', 'Hello.']);
    expect(JSON.stringify(requests.at(-1)!.messages)).toContain('Be brief.');
  });
});

describe('errors contain the reason of the server', () => {
  test.each([
    [
      'a94',
      404,
      { error: { message: 'No endpoints found matching your data policy', code: 404 } },
      /data policy/,
      /does not know/,
    ],
    [
      'a96',
      400,
      { error: 'Template error: bad roles', error_type: 'template_error' },
      /^MODEL_REFUSED: .*bad roles/,
      /x{9}/,
    ],
    [
      'a97',
      400,
      [{ error: { code: 400, message: 'Unknown name "foo"' } }],
      /^MODEL_REFUSED: .*Unknown name/,
      /x{9}/,
    ],
    [
      'b02',
      402,
      { error: { message: 'Insufficient Balance' } },
      /Insufficient Balance.*billing/,
      /correct the request/,
    ],
    [
      'b22',
      400,
      { error: { message: 'Your organization must be verified to stream this model.', param: 'stream' } },
      /must be verified/,
      /x{9}/,
    ],
  ])('%s status %i', async (_, status, body, says, doesNotSay) => {
    const text = await errorOf((r) => r.json(status, body));
    expect(text).toMatch(says);
    expect(text).not.toMatch(doesNotSay);
  });

  test('a73 a redirect with status 307 is followed', async () => {
    const serve: Serve = (r) => {
      if (r.request.url!.endsWith('/moved')) r.say('Hello.');
      else r.response.writeHead(307, { location: `${r.request.url}/moved` }).end();
    };
    expect(await answersOf(serve)).toEqual(HELLO);
  });

  test('a74 a redirect that loses the body is named', async () => {
    const serve: Serve = (r) => void r.response.writeHead(301, { location: 'https://new.example/v1' }).end();
    expect(await errorOf(serve)).toMatch(/redirects.*status 301.*https:\/\/new\.example\/v1/);
  });

  test('b00 a server that loads its model', async () => {
    const serve: Serve = (r) => (r.n < 2 ? r.refuse(503, 'Loading model') : r.say('Hello.'));
    expect(await answersOf(serve)).toEqual(HELLO);
  });

  test('b14 Azure takes its key in the header api-key, and the query of the URL', async () => {
    const path = '/openai/deployments/gpt-4o?api-version=2024-10-21';
    const serve: Serve = (r) => {
      const isRight = r.request.url === '/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21';
      const { 'api-key': key, authorization } = r.request.headers;
      if (isRight && key === 'abc123' && authorization === undefined) r.say('Hello.');
      else r.refuse(401, 'Access denied due to missing subscription key.');
    };
    expect(await answersOf(serve, { path, apiKey: 'abc123' })).toEqual(HELLO);
  });
});
