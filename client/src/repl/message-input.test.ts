import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { MessageInput } from './message-input.ts';

const writeNote = (): void => {};
const source = (...chunks: (string | Buffer)[]) => Readable.from(chunks, { objectMode: true });

test.each([
  ['a text', { text: 'What is 2+2?' }, 'What is 2+2?'],
  ['a whole pipe', { source: source('one\n\n', 'two\nexit\n') }, 'one\n\ntwo\nexit'],
  ['a text, then a pipe', { text: 'Summarize:', source: source('a\nb\n') }, 'Summarize:\n\na\nb'],
  ['a text and an empty pipe', { text: 'Hello', source: source() }, 'Hello'],
  ['a character that two chunks share', { source: source(Buffer.from([0xc3]), Buffer.from([0xa9])) }, 'é'],
  ['a pipe with carriage returns alone', { source: source('one\rtwo\r') }, 'one\ntwo'],
  ['a text with CRLF', { text: 'one\r\ntwo' }, 'one\ntwo'],
  ['a pipe with a byte order mark', { source: source('\ufeffone') }, 'one'],
])('%s is one message', async (_name, options, expected) => {
  const input = new MessageInput({ ...options, writeNote });
  expect(await input.read()).toBe(expected);
  expect(await input.read()).toBeUndefined();
});

test('c86 a pipe with CRLF, cut within a line end: the message has no carriage returns', async () => {
  const input = new MessageInput({ source: source('one\r\n\r', '\ntwo\r\n'), writeNote });
  expect(await input.read()).toBe('one\n\ntwo');
});

test('a pipe without an end can be left', async () => {
  const endless = new Readable({ read() {} });
  const input = new MessageInput({ source: endless, writeNote });
  const message = input.read();
  input.close();
  expect(await message).toBeUndefined();
  expect(endless.destroyed).toBe(true);
});

test('an input of more than 4 MiB is refused', async () => {
  const input = new MessageInput({ source: source(...Array(5).fill('x'.repeat(1_048_576))), writeNote });
  await expect(input.read()).rejects.toMatchObject({ code: 'PARAMS_INVALID' });
});
