import { expect, test } from 'vitest';
import { redactUrl } from './redact-url.ts';

test.each([
  ['wss://user:secret@host:8000/attach', 'wss://host:8000/attach'],
  ['wss://host/attach?token=secret', 'wss://host/attach'],
  ['https://host/path#secret', 'https://host/path'],
  ['ws://user@host/a?b\nc', 'ws://host/a'],
  ['not a URL', 'not a URL'],
])('%j becomes %j', (url, redacted) => {
  expect(redactUrl(url)).toBe(redacted);
});
