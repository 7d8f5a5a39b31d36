import { expect, it } from 'vitest';
import { TurnText } from './turn-text.ts';

const live = { isReplaying: false };
const model = { from: 'model', speaker: 'reply 1' } as const;

it('cuts text beyond the limit of the turn, between characters', () => {
  const text = new TurnText(live, '', 8);
  expect(text.room).toBe(7);
  expect(text.add('abcdef', model)).toHaveLength(1);
  expect(text.isCut).toBe(false);
  expect(text.add('g😀', model)).toEqual([{ text: 'g', offset: 6, source: model }]);
  expect(text.isCut).toBe(true);
  expect(text.add('more', { from: 'tool', step: 1, index: 0, speaker: 'f' })).toEqual([
    { text: '\n', offset: 7, source: { from: 'runner' } },
  ]);
  expect(text.add('more', model)).toEqual([]);
  expect([text.value, text.room]).toEqual(['abcdefg\n', 0]);
  text.restart(3);
  expect([text.value, text.isCut, text.room]).toEqual(['abc', false, 4]);
});
