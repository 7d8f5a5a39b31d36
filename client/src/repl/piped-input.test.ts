import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { PipedInput } from './piped-input.ts';

const isReply = (text: string): boolean => text === 'y' || text === 'n';
const piped = (...lines: string[]) =>
  new PipedInput(Readable.from(lines.map((line) => `${line}\n`)), () => {});
const { signal } = new AbortController();

test('a question takes the next line if it is a reply, and leaves any other one', async () => {
  const input = piped('send it', 'y', 'bye');
  expect(await input.read()).toBe('send it');
  expect(await input.question('Sure?', { isReply, signal })).toBe('y');
  expect(await input.question('Sure?', { isReply, signal })).toBe(undefined);
  expect(await input.read()).toBe('bye');
  expect(await input.question('Sure?', { isReply, signal })).toBe(undefined);
  expect(await input.read()).toBe(undefined);
});

test('a withdrawn question takes no line', async () => {
  const source = new Readable({ read() {} });
  const input = new PipedInput(source, () => {});
  const stop = new AbortController();
  const question = input.question('Sure?', { isReply, signal: stop.signal });
  stop.abort();
  expect(await question).toBe(undefined);
  source.push('y\n');
  expect(await input.read()).toBe('y');
  input.close();
});
