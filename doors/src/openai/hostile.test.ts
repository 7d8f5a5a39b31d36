// Random requests to the OpenAI door: each gets an answer in the form of the API, and no request causes a fault of the door.
import { scriptedModel } from '@fame-fabric/agents/testing';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { chat } from '../testing/chat-client.ts';
import { doorKit } from '../testing/door-kit.ts';
import { openAiDoor } from './openai-door.ts';

const text = fc.oneof(fc.string({ maxLength: 20 }), fc.constant('\ud800'), fc.constant('\u0000\u202e'));
const anything = fc.oneof(
  text,
  fc.integer(),
  fc.double(),
  fc.boolean(),
  fc.constant(null),
  fc.array(text, { maxLength: 3 }),
  fc.dictionary(text, text, { maxKeys: 3 }),
);
/** Absent in most requests, so that some of them are valid. */
const rarely = <T>(given: fc.Arbitrary<T>) =>
  fc.oneof({ weight: 19, arbitrary: fc.constant(undefined) }, given);
const part = fc.record(
  { type: fc.oneof(fc.constantFrom('text', 'image_url', 'refusal'), anything), text: anything },
  { requiredKeys: [] },
);
const call = fc.record(
  {
    id: anything,
    type: fc.constantFrom('function', 'custom'),
    function: fc.record({ name: anything, arguments: anything }, { requiredKeys: [] }),
  },
  { requiredKeys: [] },
);
const message = fc.record(
  {
    role: fc.oneof(
      { weight: 9, arbitrary: fc.constantFrom('user', 'user', 'assistant', 'system', 'tool') },
      anything,
    ),
    content: fc.oneof({ weight: 9, arbitrary: text }, anything, fc.array(part, { maxLength: 3 })),
    tool_calls: rarely(fc.oneof(anything, fc.array(call, { maxLength: 3 }))),
    tool_call_id: fc.oneof(text, anything),
    refusal: rarely(anything),
  },
  { requiredKeys: ['role'] },
);
const tool = fc.record(
  {
    type: fc.constantFrom('function', 'custom'),
    function: fc.record(
      { name: text, description: anything, parameters: anything, strict: anything },
      { requiredKeys: ['name'] },
    ),
  },
  { requiredKeys: ['type'] },
);
const body = fc.record(
  {
    model: fc.oneof({ weight: 19, arbitrary: fc.constant('chat') }, anything),
    messages: fc.oneof({ weight: 19, arbitrary: fc.array(message, { maxLength: 6 }) }, anything),
    stream: rarely(anything),
    stream_options: rarely(anything),
    n: rarely(anything),
    temperature: rarely(anything),
    max_tokens: rarely(anything),
    stop: rarely(anything),
    tools: rarely(fc.oneof(anything, fc.array(tool, { maxLength: 3 }))),
    tool_choice: rarely(anything),
    response_format: rarely(anything),
    metadata: rarely(anything),
    modalities: rarely(anything),
  },
  { requiredKeys: ['messages'] },
);
const headers = fc.dictionary(
  fc.constantFrom('x-conversation-id', 'x-session-id', 'idempotency-key', 'x-stainless-retry-count'),
  fc.constantFrom('a', 'b', '1', '2', 'x'.repeat(300), '{{CHAT_ID}}'),
  { maxKeys: 2 },
);

test('random requests are answered in the form of the API', async () => {
  const model = scriptedModel([{ steps: ['ok'], times: Number.POSITIVE_INFINITY }]);
  await using kit = await doorKit(openAiDoor, { replies: [], chat: { model } });
  const seen = new Set<number>();
  await fc.assert(
    fc.asyncProperty(body, headers, async (given, sent) => {
      const answer = await chat(kit, given as Record<string, unknown>, sent);
      seen.add(answer.status);
      if (answer.status === 200) return;
      expect(answer.status, answer.text).toBeLessThan(500);
      expect(answer.body.error).toEqual({
        message: expect.any(String),
        type: expect.any(String),
        param: answer.body.error!.param,
        code: expect.any(String),
      });
    }),
    { numRuns: 300 },
  );
  expect([...seen]).toEqual(expect.arrayContaining([200, 400]));
  expect(kit.log.lines.filter(({ level }) => level === 'error')).toEqual([]);
});
