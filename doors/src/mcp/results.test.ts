import { FabricError } from '@fame-fabric/shared';
import { expect, test } from 'vitest';
import { errorResult, resultOf } from './results.ts';

test.each([
  ['a text', 'hi', 'hi', { result: 'hi' }],
  ['an object', { a: 1 }, '{"a":1}', { a: 1 }],
  ['a list', [1, 2], '[1,2]', { result: [1, 2] }],
  ['nothing', undefined, 'null', { result: null }],
])('%s is a text and structured content', (_name, answer, text, structuredContent) => {
  expect(resultOf(answer)).toEqual({ content: [{ type: 'text', text }], structuredContent });
});

test('a tool result of MCP is passed on', () => {
  const image = { type: 'image', data: 'AA==', mimeType: 'image/png' };
  expect(resultOf({ content: [image] })).toEqual({ content: [image] });
});

test.each([
  ['no content', { content: [] }],
  ['a field of its own', { content: [{ type: 'text', text: 'x' }], price: 3 }],
  ['a faulty block', { content: [{ type: 'image' }] }],
])('an answer with %s is no tool result', (_name, answer) => {
  expect(resultOf(answer).structuredContent).toEqual(answer);
});

test('an error has its code in the text and in `_meta`, and no stack', () => {
  const error = new FabricError('NO_ROUTE', 'No node serves a@b', { details: { fix: 'Start it.' } });
  const result = errorResult(error, {}, 'Then call again.');
  expect(result).toEqual({
    isError: true,
    content: [{ type: 'text', text: 'NO_ROUTE: No node serves a@b Start it. Then call again.' }],
    _meta: { 'fame/error': { code: 'NO_ROUTE', message: 'No node serves a@b', retryable: true } },
  });
  expect(JSON.stringify(errorResult(new Error('secret')))).not.toContain('secret');
});
