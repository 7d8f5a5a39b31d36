import { CaptureLog } from '@fame-fabric/shared/testing';
import { afterEach, expect, test } from 'vitest';
import type { ChatModel } from '../model/model.ts';
import { type FakeOpenAI, fakeOpenAI } from '../testing.ts';
import { readAgentConfig } from './config.ts';
import { modelsOf } from './main.ts';
import { modelFromEnv } from './model-from-env.ts';

let server: FakeOpenAI | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

async function textOf(model: ChatModel): Promise<string> {
  let text = '';
  for await (const { choices } of model.stream({ messages: [{ role: 'user', content: 'Hello' }] })) {
    text += choices[0]?.delta.content ?? '';
  }
  return text;
}

test('without a key and a server it is the built-in model', () => {
  expect(modelFromEnv({ env: {} }).name).toBe('offline');
  expect(modelFromEnv({ env: { MODEL_NAME: 'gpt-5' }, model: 'gpt-5-mini' }).name).toBe('offline');
});

test('with a server it is a model of that server: MODEL_NAME, or the given one', async () => {
  server = await fakeOpenAI({ replies: ['first', 'second'] });
  const env = { OPENAI_BASE_URL: server.url, OPENAI_API_KEY: 'key-1', MODEL_NAME: 'small' };
  expect(await textOf(modelFromEnv({ env }))).toBe('first');
  expect(await textOf(modelFromEnv({ env, model: 'large' }))).toBe('second');
  expect(server.requests.map(({ body }) => body.model)).toEqual(['small', 'large']);
});

test.each([{}, { OPENAI_API_KEY: 'k' }, { OPENAI_BASE_URL: 'http://127.0.0.1:9/v1', MODEL_NAME: 'local' }])(
  'it is the model of a process with %j',
  async (env) => {
    const models = await modelsOf({ config: readAgentConfig(env), log: new CaptureLog() });
    expect(modelFromEnv({ env }).name).toBe(models('default').name);
  },
);

test('a faulty environment fails each request with the faults, and not the import of the program', async () => {
  const model = modelFromEnv({ env: { FAME_MODEL_TIMEOUT_MS: 'soon' } });
  await expect(textOf(model)).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringContaining('FAME_MODEL_TIMEOUT_MS is "soon"'),
  });
});
