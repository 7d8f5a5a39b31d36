// D4: an agent that is killed in the middle of an answer, seen by the official client.
import { fakeOpenAI, gate } from '@fame-fabric/agents/testing';
import OpenAI from 'openai';
import { expect, test } from 'vitest';
import { startOurAgent } from '../../kit/commands.ts';
import { startOurSentinel, temporaryDirectory } from '../../kit/sentinel.ts';

test.concurrent.each([
  ['without a conversation', {}],
  ['in a kept conversation', { headers: { 'X-Conversation-Id': 'c1' } }],
])('%s: the stream breaks, and the same request gets the whole answer', async (_how, options) => {
  const held = gate();
  await using model = {
    server: await fakeOpenAI({
      replies: [
        ['The ans', held],
        ['The whole', ' answer'],
      ],
    }),
    [Symbol.asyncDispose]() {
      return this.server.close();
    },
  };
  const sentinel = await startOurSentinel();
  const env = {
    FAME_DATA_DIR: temporaryDirectory(),
    OPENAI_API_KEY: 'none',
    OPENAI_BASE_URL: model.server.url,
    MODEL_NAME: 'fake',
  };
  const agent = await startOurAgent({ url: sentinel.url, env });
  const openai = new OpenAI({ baseURL: `${sentinel.http}/v1`, apiKey: 'any' });
  const body = { model: 'chat', messages: [{ role: 'user' as const, content: 'Hi' }], stream: true as const };
  const read = async (): Promise<string> => {
    let text = '';
    for await (const chunk of await openai.chat.completions.create(body, options)) {
      text += chunk.choices[0]?.delta.content ?? '';
      if (text === 'The ans') {
        agent.child.kill('SIGKILL');
        await agent.exited;
        void startOurAgent({ url: sentinel.url, env });
      }
    }
    return text;
  };
  await expect(read()).rejects.toThrow();
  expect(await read()).toBe('The whole answer');
  expect(model.server.count).toBe(2);
});
