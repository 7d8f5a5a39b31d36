import { ManualClock } from '@fame-fabric/shared/testing';
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { stall } from '../../testing/script.ts';
import { scriptedModel } from '../../testing/scripted-model.ts';
import type { ModelChunk, ModelMessage, ModelRequest } from '../model.ts';
import { offlineModel } from './offline-model.ts';

const model = offlineModel({ chunkDelayMs: 0 });

const read = async (request: ModelRequest): Promise<ModelChunk[]> => {
  const chunks: ModelChunk[] = [];
  for await (const chunk of model.stream(request)) chunks.push(chunk);
  return chunks;
};
const textOf = (chunks: readonly ModelChunk[]): string =>
  chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('');

/** Sends each line as a turn of one conversation and returns the answers. */
const chat = async (system: string | undefined, ...lines: string[]): Promise<string[]> => {
  const messages: ModelMessage[] = system === undefined ? [] : [{ role: 'system', content: system }];
  const answers: string[] = [];
  for (const content of lines) {
    messages.push({ role: 'user', content });
    const text = textOf(await read({ messages }));
    messages.push({ role: 'assistant', content: text });
    answers.push(text);
  }
  return answers;
};
const last = async (...lines: string[]): Promise<string> => (await chat(undefined, ...lines)).at(-1) ?? '';

describe('the offline model in conversation', () => {
  it('opens the conversation on an empty user message', async () => {
    expect(await last('')).toMatch(/^Hello!.*offline model/);
  });

  it.each(['Describe this change.', 'Summarize this.'])(
    'answers "%s", and not the text that follows it',
    async (question) => {
      const change = [
        'commit 9d9cba4\nAuthor: Ada <ada@example.org>\nDate:   Sun Nov 29 20:01:34 2026 +0000',
        '    Count the lines and what they cost',
        '@@ -1,3 +1,4 @@\n-const day = 24 * 60;\n+const day = 24 * 3600;',
      ];
      expect(await last(`${question}\n\n${change.join('\n\n')}`)).toMatch(
        /^I have no answer to that\. I am the off/,
      );
    },
  );

  it.each([
    ['My name is Ada.', 'What is my name?', 'Ada'],
    ["I'm Ada", 'Who am I?', 'Ada'],
    ['Please call me Ada Lovelace', 'Do you remember my name?', 'Ada Lovelace'],
    ['my favourite colour is green', 'what is my favourite colour?', 'green'],
    ['My favorite color is green.', "What's my favourite colour?", 'green'],
    ['I live in New York.', 'Where do I live?', 'New York'],
    ['I like trains and my dog is called Rex', 'what is my dog?', 'Rex'],
    ['The password is plum.', 'What is the password?', 'plum'],
    ['I am 36 years old', 'How old am I?', '36'],
    ['I work as a baker.', 'What do I do?', 'You work as a baker.'],
    ['My keys are in the drawer.', 'Where are my keys?', 'Your keys are in the drawer.'],
  ])('recalls: %s', async (statement, question, answer) => {
    expect(await last(statement, 'hello', question)).toContain(answer);
  });

  it('uses the latest statement', async () => {
    expect(await last('My name is Ada.', 'Actually, my name is Grace.', 'What is my name?')).toBe(
      'Your name is Grace.',
    );
  });

  it('does not mistake a mood for a name', async () => {
    expect(await last("I'm Sorry", "I'm tired", 'What is my name?')).toContain('not told me your name');
  });

  it('recalls only facts from the messages', async () => {
    expect(await last('What is my name?')).toContain('not told me your name');
  });

  it('acknowledges a fact and answers a question in one message', async () => {
    const answer = await last('Hello, my name is Ada and what is 2+2?');
    expect(answer).toContain('Nice to meet you, Ada.');
    expect(answer).toContain('2+2 = 4');
  });

  it('quotes the first, second and last message', async () => {
    const lines = ['How tall is the tower?', 'And how old?', 'hello'];
    expect(await last(...lines, 'What did I ask first?')).toContain('"How tall is the tower?"');
    expect(await last(...lines, 'What was my second question?')).toContain('"And how old?"');
    expect(await last(...lines, 'What did I say last?')).toContain('"hello"');
    expect(await last('What did I ask first?')).toContain('first message');
  });

  it('counts turns', async () => {
    expect(await last('', 'a', 'b', 'How many messages have I sent?')).toContain('3 messages');
    expect(await last('How many questions have I asked so far?')).toContain('1 message,');
  });

  // A window may have cut off the beginning of a conversation, and the model cannot know.
  it('does not claim to see more than the request has', async () => {
    for (const question of [
      'What did I say first?',
      'How many messages have I sent?',
      'How often did you answer?',
    ]) {
      expect(await last('a', 'b', question)).toContain('as far back as I can see');
    }
  });

  it.each([
    '?',
    '🙂',
    'write a haiku about the sea',
    'write python code for a server',
    'translate hello to french',
    'write a python function',
    'the meeting went badly',
    '明天天气怎么样',
    'صباح',
  ])('says who answers, what it can do and how to get a real model: %s', async (text) => {
    const answer = await last(text);
    expect(answer).toMatch(/offline model.*small set of rules.*do sums.*OPENAI_API_KEY=sk-/);
    expect(answer).not.toContain(text);
    const second = await last(text, text);
    expect(second).toBe('I have no rule for that: I am only the offline model. Ask "What can you do?".');
  });

  it.each([
    ['What can you do?', /"What is 12% of 80\?".*"My name is Ada".*"Tell me a story about the sea"/],
    ['help', /Three things to try/],
    ['How do I add a tool?', /tool\(\{.*ToolSet.*Three things to try/],
    ['how can I write my own tools', /Three things to try/],
  ])('points to three things to try: %s', async (question, answer) => {
    expect(await last(question)).toMatch(answer);
  });

  it('can do the three things that it suggests', async () => {
    expect(await last('What is 12% of 80?')).toContain('9.6');
    expect(await last('My name is Ada', 'What is my name?')).toContain('Ada');
    expect(await last('Tell me a story about the sea')).toContain('story about the sea');
  });

  it.each([
    ['你好', 'Hello!'],
    ['привет', 'Hello!'],
    ['Olá', 'Hello!'],
    ['I am sad today', 'I am sorry to hear that.'],
    ["I'm so happy", 'I am glad to hear that.'],
    ['write: The quick fox', 'The quick fox'],
    ['Write "hello world"', 'hello world'],
  ])('answers: %s', async (text, answer) => {
    expect(await last(text)).toContain(answer);
  });

  it('does not store the request to remember as part of a fact', async () => {
    for (const statement of [
      'My favorite color is green, remember that',
      'My favourite colour is green and please remember it.',
      "My favorite color is green, don't forget!",
    ]) {
      expect(await last(statement)).toBe('Noted: your favourite colour is green.');
      expect(await last(statement, 'hi', 'What is my favorite color?')).toBe(
        'Your favourite colour is green.',
      );
    }
  });

  it('repeats a text or a message', async () => {
    expect(await last('Repeat after me: The quick. Brown fox!')).toBe('The quick. Brown fox!');
    expect(await last('one potato', 'repeat what I said')).toContain('"one potato"');
    expect(await last('hello', 'What did you say first?')).toContain(
      '"Hello! What would you like to talk about?"',
    );
  });

  it('recalls notes', async () => {
    expect(await last('Remember the number 1234.', 'hi', 'What did I ask you to remember?')).toContain(
      'the number 1234',
    );
  });

  it('calculates, and continues from the last result', async () => {
    expect(await chat(undefined, 'what is 12*(3+4)?', 'and times 2?')).toEqual([
      '12*(3+4) = 84',
      '84*2 = 168',
    ]);
    expect(await last('what is 5/0?')).toContain('divided by zero');
  });

  it('writes longer texts', async () => {
    expect((await last('tell me a story about a dragon')).length).toBeGreaterThan(1200);
    expect(await last('tell me a story about a dragon')).toContain('dragon');
    expect((await last('Count to 50')).split(', ').length).toBe(50);
    expect(await last('count from 3 to 6')).toBe('3, 4, 5, 6.');
    expect(await last('count to 999999')).toContain('I stop after 1000 numbers');
  });

  it('says that it is the offline model, and how to use a real one', async () => {
    expect(await last('Who are you?')).toMatch(/offline model.*OPENAI_API_KEY/);
    expect(await last('Why is the sky blue?')).toMatch(/do not know.*OPENAI_API_KEY/);
    expect(await last('Why is the sky blue?', 'And the sea?')).not.toContain('OPENAI_API_KEY');
  });

  it('says which part of a message it cannot answer', async () => {
    const answer = await last('What is 2+2? What is the capital of France?');
    expect(answer).toContain('2+2 = 4');
    expect(answer).toContain('do not know the answer to "What is the capital of France?"');
  });

  it('applies the style of the system prompt, except to quotes and numbers', async () => {
    const [hello, name, first] = await chat(
      'You are a helpful assistant. Speak Pirate.',
      'Hello',
      'My name is Ada. What is my name?',
      'What did I say first?',
    );
    expect(hello).toMatch(/Arr|Avast|Shiver/);
    expect(name).toMatch(/Yer name be Ada/);
    expect(first).toContain('"Hello"');
    expect((await chat('Be brief.', 'tell me a story'))[0]).toMatch(/^[^.]*\.$/);
    expect((await chat('Answer in upper case.', 'hello'))[0]).toBe(
      'HELLO! WHAT WOULD YOU LIKE TO TALK ABOUT?',
    );
    expect((await chat('End every answer with "over".', 'hello'))[0]).toMatch(/over$/);
    expect((await chat('Always reply with "OK".', 'tell me a story'))[0]).toBe('OK');
    expect((await chat('Your name is Max.', 'Who are you?'))[0]).toMatch(
      /^I am Max, played by the offline model/,
    );
  });

  it('answers from its instructions', async () => {
    const system = 'You help customers of a shop.\nThe shop opens at 9 on weekdays.\nDelivery takes 3 days.';
    expect((await chat(system, 'When does the shop open?'))[0]).toContain('opens at 9');
    expect((await chat(system, 'How long does delivery take?'))[0]).toContain('3 days');
  });

  it('gives the same answer to the same request', async () => {
    const request = { messages: [{ role: 'user' as const, content: 'tell me a story about the sea' }] };
    expect(await read(request)).toEqual(await read(request));
  });

  it('answers any text within its time limit', async () => {
    // Processor time: other processes do not delay it.
    const started = process.cpuUsage();
    await fc.assert(
      fc.asyncProperty(fc.array(fc.string({ maxLength: 200 }), { maxLength: 4 }), async (lines) => {
        const answers = await chat(lines[0], ...lines);
        expect(answers.every((answer) => answer.length > 0)).toBe(true);
      }),
      { numRuns: 200 },
    );
    for (const text of [
      '. '.repeat(4000),
      '('.repeat(9000),
      'my '.repeat(3000),
      'say '.repeat(3000),
      '1+'.repeat(5000),
    ]) {
      await chat(text, text);
    }
    expect(process.cpuUsage(started).user / 1_000).toBeLessThan(8_000);
  });
});

describe('the stream of the offline model', () => {
  it('has one chunk per word, the finish reason, the usage and the model name', async () => {
    const chunks = await read({ messages: [{ role: 'user', content: 'count to 20' }] });
    expect(chunks.filter((chunk) => chunk.choices[0]?.delta.content).length).toBe(20);
    expect(chunks.at(-2)?.choices[0]?.finish_reason).toBe('stop');
    expect(chunks.at(-1)?.usage?.completion_tokens).toBeGreaterThan(10);
    expect(chunks.every((chunk) => chunk.model === 'offline')).toBe(true);
  });

  it('is cut by max_tokens', async () => {
    const chunks = await read({ messages: [{ role: 'user', content: 'tell me a story' }], max_tokens: 5 });
    expect(textOf(chunks).length).toBe(20);
    expect(chunks.at(-2)?.choices[0]?.finish_reason).toBe('length');
  });

  it('ends before the first of its stop texts', async () => {
    const ask = (stop: ModelRequest['stop']) =>
      read({ messages: [{ role: 'user', content: 'count to 9' }], stop });
    expect(textOf(await ask('4'))).toBe('1, 2, 3, ');
    const chunks = await ask(['7', ', 6']);
    expect(textOf(chunks)).toBe('1, 2, 3, 4, 5');
    expect(chunks.at(-2)?.choices[0]?.finish_reason).toBe('stop');
    expect(textOf(await ask('none of it'))).toBe('1, 2, 3, 4, 5, 6, 7, 8, 9.');
  });

  it('answers in the format of the request', async () => {
    const messages: ModelMessage[] = [{ role: 'user', content: 'What is the weather in Paris?' }];
    const json = async (response_format: ModelRequest['response_format']) =>
      JSON.parse(textOf(await read({ messages, response_format })));
    expect(await json({ type: 'json_object' })).toEqual({ answer: expect.any(String) });
    const schema = {
      type: 'object',
      properties: { city: { type: 'string' }, days: { type: 'integer' } },
      required: ['city', 'days'],
    };
    expect(await json({ type: 'json_schema', json_schema: { name: 'forecast', schema } })).toEqual({
      city: 'Paris',
      days: expect.any(Number),
    });
    expect(textOf(await read({ messages, response_format: { type: 'text' } }))).toBe(
      textOf(await read({ messages })),
    );
  });

  it('pauses between chunks, and stops at once on an abort without leaving a timer', async () => {
    const clock = new ManualClock();
    const abort = new AbortController();
    const slow = offlineModel({ chunkDelayMs: 15, clock });
    const stream = slow
      .stream({ messages: [{ role: 'user', content: 'count to 5' }] }, { signal: abort.signal })
      [Symbol.asyncIterator]();
    expect(textOf([(await stream.next()).value])).toBe('1,');
    const second = stream.next();
    await vi.waitFor(() => expect(clock.timerCount).toBe(1));
    clock.advance(15);
    expect(textOf([(await second).value])).toBe(' 2,');
    const third = stream.next();
    await vi.waitFor(() => expect(clock.timerCount).toBe(1));
    abort.abort(new Error('enough'));
    await expect(third).rejects.toThrow('enough');
    expect(clock.timerCount).toBe(0);
  });

  it('ends when the reader leaves, like the scripted model', async () => {
    for (const one of [model, scriptedModel([['a', stall()]])]) {
      const stream = one
        .stream({ messages: [{ role: 'user', content: 'count to 5' }] })
        [Symbol.asyncIterator]();
      await stream.next();
      await stream.return?.();
      expect((await stream.next()).done).toBe(true);
    }
  });
});
