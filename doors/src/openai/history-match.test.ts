// The place of a new message, for histories as letters: each is a question.
import { describe, expect, test } from 'vitest';
import { comparable, type MatchOptions, matchHistory, questionsOf } from './history-match.ts';

const questions = (letters: string) => [...letters].map((text) => ({ text, answer: undefined }));

/** Matches questions whose last one is new. */
function match(sent: string, known: string, more: Partial<MatchOptions> = {}): string {
  const { kept, used } = matchHistory(questions(sent.slice(0, -1)), questions(known), {
    next: sent.at(-1),
    sendsHistory: false,
    isFromStart: false,
    ...more,
  });
  return `${kept}/${used}`;
}

describe('matchHistory', () => {
  test.each([
    ['the whole history', 'abcd', 'abc', '3/3'],
    ['a history without its beginning', 'cd', 'abc', '3/1'],
    ['the new message alone', 'd', 'abc', '3/0'],
    ['more than the journal has', 'xabcd', 'abc', '3/4'],
    ['an edited last message', 'abX', 'abc', '2/2'],
    ['an edited message in the middle', 'aXd', 'abc', '1/1'],
    ['an edited first message with others', 'Xbd', 'abc', '0/0'],
    ['the last message again', 'abc', 'abc', '2/2'],
    ['an earlier message again', 'ab', 'abc', '1/1'],
    ['the last message again, without the beginning', 'bc', 'abc', '2/1'],
    ['the same message as before', 'yyy', 'yy', '2/2'],
    ['the same message again, of a whole history', 'yy', 'yy', '1/1'],
    ['an edited last message, without the beginning', 'bX', 'abc', '2/1'],
    ['another chat', 'xyz', 'abc', '0/0'],
    ['a first message', 'a', '', '0/0'],
  ])('%s', (_name, sent, known, expected) => {
    expect(match(sent, known)).toBe(expected);
  });

  test('a lone message of a client that sends its history is the first one', () => {
    expect(match('X', 'abc', { sendsHistory: true })).toBe('0/0');
  });

  test('a branch begins with the first message of the rest', () => {
    expect(match('ab', 'a', { isFromStart: true })).toBe('1/1');
    expect(match('a', 'a', { isFromStart: true })).toBe('0/0');
    expect(match('Xa', 'a', { isFromStart: true })).toBe('0/0');
  });

  test('results of calls follow the history', () => {
    const none = { next: undefined, sendsHistory: false, isFromStart: false };
    expect(matchHistory(questions('ab'), questions('ab'), none)).toEqual({ kept: 2, used: 2 });
    expect(matchHistory(questions('ab'), questions('abc'), none)).toEqual({ kept: 2, used: 2 });
  });
});

describe('questionsOf', () => {
  const known = new Set(['a', 'b', 'c\n\nd'].map(comparable));
  const of = (runs: string[][], texts: string[]) => {
    const { history, text } = questionsOf(
      { runs: runs.map((run) => ({ texts: run, answer: 'ok' })), texts },
      known,
    );
    return [history.map((one) => one.text), text];
  };

  test('messages in a row are one question, unless the journal has them apart', () => {
    expect(of([['x', 'y']], ['z'])).toEqual([[comparable('x\n\ny')], 'z']);
    expect(of([['a', 'b']], ['z'])).toEqual([[comparable('a'), comparable('b')], 'z']);
    expect(of([['a', 'c', 'd']], ['z'])).toEqual([[comparable('a'), comparable('c\n\nd')], 'z']);
  });

  test('the last message is new, also if the journal has it', () => {
    expect(of([], ['a'])).toEqual([[], 'a']);
    expect(of([], ['a', 'b'])).toEqual([[comparable('a')], 'b']);
    expect(of([], ['x', 'y'])).toEqual([[], 'x\n\ny']);
  });

  test('spaces around a text, line ends and the form of letters do not matter', () => {
    expect(comparable(' caf\u00e9\r\nau lait\n')).toBe(comparable('cafe\u0301\nau lait'));
    expect(comparable('a b')).not.toBe(comparable('ab'));
  });
});
