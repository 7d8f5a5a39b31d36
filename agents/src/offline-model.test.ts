import { describe, expect, it } from 'vitest';
import type { ModelChunk, ModelMessage, ModelRequest } from './model.ts';
import { offlineModel } from './offline-model.ts';

const model = offlineModel({ chunkDelayMs: 0 });

const read = async (request: ModelRequest): Promise<ModelChunk[]> => {
  const chunks: ModelChunk[] = [];
  for await (const chunk of model.stream(request)) chunks.push(chunk);
  return chunks;
};
const textOf = (chunks: readonly ModelChunk[]): string =>
  chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('');

/** Says each line in turn, in one conversation; gives the answers. */
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

  it('tells a name back', async () => {
    expect(await last('My name is Ada.', 'What is my name?')).toContain('Ada');
  });

  it('forgets what is not in the messages', async () => {
    expect(await last('What is my name?')).toContain('not told me your name');
  });

  it('streams word by word and reports usage', async () => {
    const chunks = await read({ messages: [{ role: 'user', content: 'count to 20' }] });
    expect(chunks.filter((chunk) => chunk.choices[0]?.delta.content).length).toBe(20);
    expect(chunks.at(-2)?.choices[0]?.finish_reason).toBe('stop');
    expect(chunks.at(-1)?.usage?.completion_tokens).toBeGreaterThan(10);
    expect(chunks.every((chunk) => chunk.model === 'offline')).toBe(true);
  });
});
