// Two conversations side by side: the exchanges that both have in common, and the rest of each.
import type { Start, Turn } from '../../fabric/conversation/turns.ts';
import { textOf } from '../../fabric/conversation/turns.ts';

/** A message of the user with its answer: a turn, or one that the conversation began with. */
export interface Exchange {
  readonly question: string;
  readonly answer: string;
  /** Absent for an exchange that the conversation began with. */
  readonly turn?: Turn | undefined;
}

export interface Comparison {
  /** Exchanges with the same texts at the beginning of both. */
  readonly common: readonly Exchange[];
  /** The further exchanges, by position. One side may be longer. */
  readonly rows: readonly { readonly left?: Exchange | undefined; readonly right?: Exchange | undefined }[];
}

export function exchangesOf(start: Start | undefined, turns: readonly Turn[]): Exchange[] {
  const exchanges: Exchange[] = [];
  for (const { role, content } of start?.messages ?? []) {
    if (typeof content !== 'string') continue;
    const last = exchanges.at(-1);
    if (role === 'user') exchanges.push({ question: content, answer: '' });
    // An answer may consist of several messages, with tools between them.
    else if (role === 'assistant' && last)
      exchanges[exchanges.length - 1] = { ...last, answer: last.answer + content };
  }
  return [...exchanges, ...turns.map((turn) => ({ question: turn.userMessage, answer: textOf(turn), turn }))];
}

export function compare(left: readonly Exchange[], right: readonly Exchange[]): Comparison {
  let count = 0;
  while (isSame(left[count], right[count])) count++;
  const length = Math.max(left.length, right.length) - count;
  const rows = Array.from({ length }, (_, n) => ({ left: left[count + n], right: right[count + n] }));
  return { common: left.slice(0, count), rows };
}

const isSame = (left: Exchange | undefined, right: Exchange | undefined): boolean =>
  left !== undefined &&
  right !== undefined &&
  words(left.question) === words(right.question) &&
  words(left.answer) === words(right.answer);

/** An agent puts white space between the messages of one answer, which the history of a fork does not have. */
const words = (text: string): string => text.replaceAll(/\s+/g, '');
