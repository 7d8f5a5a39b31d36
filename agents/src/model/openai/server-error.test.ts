import { describe, expect, it } from 'vitest';
import { modelFailure } from './model-failure.ts';
import { readServerError } from './server-error.ts';

// The package leaves the body under `error`, and a text that is no JSON in the message.
const refusal = (status: number, error: unknown, more: object = {}) =>
  Object.assign(new Error(`${status} ${typeof error === 'string' ? error : JSON.stringify(error)}`), {
    status,
    error: typeof error === 'string' ? undefined : error,
    ...more,
  });

describe('the reason of a server', () => {
  it.each([
    ['OpenAI', { message: 'Invalid schema.', type: 'invalid_request_error', param: null, code: null }],
    ['text-generation-inference', { error: 'Invalid schema.', error_type: 'validation' }],
    ['Gemini', [{ error: { code: 400, message: 'Invalid schema.', status: 'INVALID_ARGUMENT' } }]],
    ['FastAPI', { detail: 'Invalid schema.' }],
    [
      'vLLM',
      { object: 'error', message: 'Invalid schema.', type: 'BadRequestError', param: null, code: 400 },
    ],
    ['a gateway', { code: 1001, msg: 'Invalid schema.' }],
    ['a message object', { message: { text: 'x', message: 'Invalid schema.' } }],
    ['a list of errors', { errors: [{ message: 'Invalid schema.' }] }],
    ['a text', 'Invalid schema.'],
    ['a page', '<html><title>Invalid schema.</title></html>'],
  ])('is read from the shape of %s', (_, body) => {
    expect(readServerError(refusal(400, body)).reason).toBe('Invalid schema.');
  });

  it('names the fields that FastAPI complains about', () => {
    const detail = [
      { type: 'extra_forbidden', loc: ['body', 'stop'], msg: 'Extra inputs are not permitted' },
    ];
    expect(readServerError(refusal(422, { detail })).reason).toBe(
      'body.stop: Extra inputs are not permitted',
    );
  });

  it.each([JSON.stringify({ error: { message: 'the GPU is on fire' } }), 'the GPU is on fire'])(
    'includes that of the server behind a router: %s',
    (raw) => {
      const body = { message: 'Provider returned error', code: 502, metadata: { raw } };
      expect(readServerError(refusal(502, body)).reason).toBe('Provider returned error: the GPU is on fire');
    },
  );

  it('is empty if the server gave none, and stops in a deeply nested value', () => {
    expect(
      readServerError(Object.assign(new Error('400 status code (no body)'), { status: 400 })).reason,
    ).toBe('');
    const endless: Record<string, unknown> = {};
    endless.error = endless;
    expect(readServerError(refusal(400, 'x', { error: endless })).reason).toBe('');
  });
});

describe('the failure of a request', () => {
  const context = { url: 'http://host/v1', model: 'm', apiKey: undefined, nowMs: 0, texts: ['Hello there'] };
  const failureOf = (status: number, body: unknown, more: object = {}, at: object = {}) =>
    modelFailure(refusal(status, body, more), { ...context, ...at }, false).error;
  const location = { headers: new Headers({ location: 'https://u:p@host/v1/chat/completions?k=s' }) };

  it.each([
    [402, { message: 'Insufficient Balance' }, 'MODEL_RATE_LIMITED', 'billing'],
    [429, { message: 'You exceeded your current quota' }, 'MODEL_RATE_LIMITED', 'billing'],
    [403, { message: 'Country not supported' }, 'MODEL_AUTH', 'rights'],
    [403, { message: 'Your input was flagged' }, 'MODEL_REFUSED', 'change the message'],
    [400, { message: 'filtered', code: 'content_filter' }, 'MODEL_REFUSED', 'change the message'],
    [404, { message: 'model "m" not found, try pulling it first' }, 'MODEL_NOT_FOUND', 'set MODEL_NAME'],
    [404, { message: 'The model `m` does not exist' }, 'MODEL_NOT_FOUND', 'set MODEL_NAME'],
    [404, 'Not Found', 'MODEL_NOT_FOUND', '/v1'],
    [404, { message: 'No endpoints found matching your data policy' }, 'MODEL_NOT_FOUND', 'settings of the'],
    [400, { message: 'prompt is too long: 9 > 8' }, 'MODEL_REFUSED', 'lower max_history_length'],
    [400, { message: 'maximum context length, 4096 in the completion' }, 'MODEL_REFUSED', 'FAME_MAX_ANSWER'],
    [503, { message: 'Loading model' }, 'MODEL_UNAVAILABLE', 'try again later'],
    [400, { message: 'Failed to call a function.' }, 'MODEL_REFUSED', 'ask again'],
  ])('%i %j is %s with the reason and a fitting hint', (status, body, code, hint) => {
    const error = failureOf(status, body);
    expect(error.code).toBe(code);
    expect(error.message).toContain(hint);
    expect(error.message).toContain(`status ${status}`);
    const reason = typeof body === 'string' ? body : body.message;
    expect(error.message).toContain(reason.replace(/\.$/, ''));
  });

  it('names the target of a redirect without its credentials and query', () => {
    const { code, message } = failureOf(301, 'moved', location);
    expect(code).toBe('MODEL_UNAVAILABLE');
    expect(message).toContain('redirects to, https://host/v1.');
  });

  it('asks for the api-version of Azure where its path is wrong', () => {
    const url = 'http://host/openai/deployments/d';
    expect(failureOf(404, { message: 'Resource not found' }, {}, { url }).message).toContain('api-version');
  });

  it.each([
    ['x', 'max_tokens exceeds the context', 'max_tokens exceeds the context'],
    ['ollama', 'see the log of ollama', 'see the log of ollama'],
    ['hunter2', 'hunter2 is wrong', '[key] is wrong'],
    ['gsk1234secret', 'gsk1234secret is wrong', '[key] is wrong'],
  ])('with the key %s, shows "%s" as "%s"', (apiKey, reason, shown) => {
    expect(failureOf(400, { message: reason }, {}, { apiKey }).message).toContain(`: ${shown}`);
  });

  it('does not show a reason that quotes the conversation', () => {
    const { message } = failureOf(400, { detail: 'bad text: Hello there' });
    expect(message).not.toContain('Hello there');
  });
});
