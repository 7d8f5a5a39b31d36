import { expect, test } from 'vitest';
import type { Turn } from '../../fabric/conversation/turns.ts';
import { compare, exchangesOf } from './align.ts';

const turn = (userMessage: string, text: string): Turn => ({
  id: userMessage,
  userMessage,
  acceptedAt: 0,
  state: 'completed',
  parts: [{ type: 'text', text }],
  calls: [],
  events: [],
  eventsLeftOut: 0,
});

test('a fork has the history of its origin in common, also if it begins with messages', () => {
  const origin = exchangesOf(undefined, [turn('a', 'A \n\n'), turn('b', 'B'), turn('c', 'C')]);
  const fork = exchangesOf(
    {
      at: 0,
      messages: [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: 'A' },
      ],
    },
    [turn('b', 'Other')],
  );
  const { common, rows } = compare(origin, fork);
  expect(common.map(({ question }) => question)).toEqual(['a']);
  expect(rows.map(({ left, right }) => [left?.answer, right?.answer])).toEqual([
    ['B', 'Other'],
    ['C', undefined],
  ]);
});

test('an answer with a tool consists of several messages', () => {
  const [exchange] = exchangesOf(
    {
      at: 0,
      messages: [
        { role: 'user', content: 'a' },
        { role: 'assistant', content: 'Let me see. ' },
        { role: 'tool', tool_call_id: 'c', content: 'seen' },
        { role: 'assistant', content: 'Done.' },
      ],
    },
    [],
  );
  expect(exchange).toEqual({ question: 'a', answer: 'Let me see. Done.' });
  expect(compare([exchange!], exchangesOf(undefined, [turn('a', 'Let me see.\n\nDone.')])).rows).toEqual([]);
});

test('equal conversations, and empty ones, have no rows', () => {
  const one = exchangesOf(undefined, [turn('a', 'A')]);
  expect(compare(one, one)).toEqual({ common: one, rows: [] });
  expect(compare([], [])).toEqual({ common: [], rows: [] });
});
