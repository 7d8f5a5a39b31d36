import { expect, it } from 'vitest';
import type { ModelChunk } from './model.ts';
import { modelStream } from './model-stream.ts';

const chunk = (content: string): ModelChunk => ({ choices: [{ delta: { content } }] });

it('asks its source for one chunk at a time', async () => {
  const waiting: PromiseWithResolvers<IteratorResult<ModelChunk, void>>[] = [];
  const stream = modelStream(undefined, () => ({
    next: () => {
      waiting.push(Promise.withResolvers());
      return waiting.at(-1)!.promise;
    },
  }))[Symbol.asyncIterator]();
  const results = [stream.next(), stream.next()];
  expect(waiting).toHaveLength(1);
  waiting[0]!.resolve({ done: false, value: chunk('a') });
  expect((await results[0]!).value).toEqual(chunk('a'));
  expect(waiting).toHaveLength(2);
  waiting[1]!.resolve({ done: true, value: undefined });
  expect(await results[1]).toEqual({ done: true, value: undefined });
});
