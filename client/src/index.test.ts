import { expect, test } from 'vitest';
import * as client from './index.ts';
import * as node from './node.ts';

test('the library promises these names and no others', () => {
  expect(Object.keys(client).sort()).toEqual(['Client', 'Conversation', 'connect', 'createEnvelopePrinter']);
  expect(Object.keys(node)).toEqual(['connect']);
});
