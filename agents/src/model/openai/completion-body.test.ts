import { expect, it } from 'vitest';
import type { ModelChunk } from '../model.ts';
import { CompletionBody } from './completion-body.ts';

const event = (body: object): string => `data: ${JSON.stringify({ model: 'm', ...body })}\n\n`;
const text = (content: string, more: object = {}): string =>
  event({ choices: [{ index: 0, delta: { content }, ...more }] });

/** Reads a body that arrives in these pieces. */
async function read(pieces: readonly string[]): Promise<ModelChunk[][]> {
  async function* bytes(): AsyncGenerator<Uint8Array> {
    for (const piece of pieces) yield new TextEncoder().encode(piece);
  }
  const body = new CompletionBody({ body: bytes() });
  const reads: ModelChunk[][] = [];
  for (let chunks = await body.next(); chunks; chunks = await body.next()) reads.push(chunks);
  return reads;
}
const contentsOf = (chunks: readonly ModelChunk[]) =>
  chunks.map(({ choices }) => choices.map(({ delta }) => delta.content));

it('joins the texts that arrived in one read', async () => {
  const [first, second] = await read([text('a') + text('b') + text('c'), text('d')]);
  expect(contentsOf(first!)).toEqual([['abc']]);
  expect(contentsOf(second!)).toEqual([['d']]);
});

it('keeps the order of text, calls, finish reason and usage', async () => {
  const call = { index: 0, id: 'x', function: { name: 'f', arguments: '{}' } };
  const usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 };
  const [chunks] = await read([
    text('a') +
      text('b') +
      event({ choices: [{ index: 0, delta: { tool_calls: [call] } }] }) +
      text('c') +
      text('d', { finish_reason: 'stop' }) +
      event({ choices: [], usage }),
  ]);
  expect(contentsOf(chunks!)).toEqual([['ab'], [undefined], ['c'], ['d'], []]);
  expect(chunks![1]!.choices[0]!.delta.tool_calls).toHaveLength(1);
  expect(chunks![3]!.choices[0]!.finish_reason).toBe('stop');
  expect(chunks![4]!.usage).toEqual(usage);
});

it('does not join texts of different choices or models, or of a refusal', async () => {
  const other = event({ choices: [{ index: 1, delta: { content: 'b' } }] });
  const model = event({ model: 'n', choices: [{ index: 1, delta: { content: 'c' } }] });
  const refusal = event({ model: 'n', choices: [{ index: 1, delta: { content: 'd', refusal: 'no' } }] });
  const [chunks] = await read([text('a') + other + model + refusal]);
  expect(contentsOf(chunks!)).toEqual([['a'], ['b'], ['c'], ['d']]);
});
