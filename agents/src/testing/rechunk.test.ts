import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ModelChunk } from '../model/model.ts';
import { completionObject } from '../model/openai/openai-wire.ts';
import { allCuts, cutAt, everyChars, randomCuts, rechunk, seeded } from './rechunk.ts';
import { callChunks } from './script.ts';

const ids = { id: 'x', created: 0, model: 'm' };
const content = (text: string): ModelChunk => ({ choices: [{ index: 0, delta: { content: text } }] });
const recorded: ModelChunk[] = [
  content('Let me '),
  content('see 😀. '),
  ...callChunks(
    { id: 'a', name: 'f', arguments: { to_user: 'Hi "Bob" 你好', x: 1 } },
    { index: 0, chunkChars: 5 },
  ),
  ...callChunks({ id: 'b', name: 'g', arguments: '{"y":[1,2]}' }, { index: 1, chunkChars: 3 }),
  { choices: [{ index: 0, delta: {}, finish_reason: 'tool_calls' }] },
  { choices: [], usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 } },
];
const whole = completionObject(recorded, ids);

describe('rechunk', () => {
  it('keeps the answer for every size and every two-way cut', () => {
    let tried = 0;
    for (const cut of allCuts(60)) {
      expect(completionObject(rechunk(recorded, cut), ids)).toEqual(whole);
      tried += 1;
    }
    expect(tried).toBe(119);
  });

  it('keeps the answer for random cuts', () => {
    fc.assert(
      fc.property(fc.integer(), fc.integer({ min: 1, max: 30 }), (seed, max) => {
        expect(completionObject(rechunk(recorded, randomCuts(seed, max)), ids)).toEqual(whole);
      }),
    );
  });

  it('cuts into chunks of one character', () => {
    const chunks = rechunk(recorded, everyChars(1));
    const sizes = chunks.flatMap((chunk) =>
      chunk.choices.map(
        ({ delta }) => (delta.content ?? delta.tool_calls?.[0]?.function?.arguments ?? '').length,
      ),
    );
    expect(Math.max(...sizes)).toBe(1);
    expect(chunks.length).toBeGreaterThan(60);
  });

  it('cuts in two at the given offset', () => {
    const texts = rechunk([content('abcdef')], cutAt(2)).map((chunk) => chunk.choices[0]?.delta.content);
    expect(texts).toEqual(['ab', 'cdef']);
  });

  it('makes the same cuts for the same seed', () => {
    expect(rechunk(recorded, randomCuts(7))).toEqual(rechunk(recorded, randomCuts(7)));
    expect(rechunk(recorded, randomCuts(7))).not.toEqual(rechunk(recorded, randomCuts(8)));
    const random = seeded(1);
    const numbers = Array.from({ length: 1000 }, () => random());
    expect(Math.min(...numbers)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...numbers)).toBeLessThan(1);
    expect(new Set(numbers).size).toBe(1000);
  });

  it('keeps interleaved calls apart', () => {
    const [openA, ...restA] = callChunks(
      { id: 'a', name: 'f', arguments: '{"a":1}' },
      { index: 0, chunkChars: 2 },
    );
    const [openB, ...restB] = callChunks(
      { id: 'b', name: 'g', arguments: '{"b":2}' },
      { index: 1, chunkChars: 2 },
    );
    const mixed = [openA!, openB!, ...restA.flatMap((chunk, i) => [chunk, restB[i]!])];
    expect(completionObject(rechunk(mixed, everyChars(1)), ids)).toEqual(completionObject(mixed, ids));
  });
});
