import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { evaluate, findSum } from './sums.ts';

describe('finding a sum', () => {
  it.each([
    ['what is 12*(3+4)?', '12*(3+4)', 84],
    ['What is two plus two?', '2 + 2', 4],
    ['10 divided by 4', '10 / 4', 2.5],
    ['3 x 4', '3*4', 12],
    ['what is the square root of 144', 'sqrt(144)', 12],
    ['15% of 80', '15/100*80', 12],
    ['7 squared', '7 ^2', 49],
    ['1,000,000 / 8', '1000000 / 8', 125_000],
    ['2^3^2', '2^3^2', 512],
    ['What is 10 - 3?', '10 - 3', 7],
    ['-2^2 = ?', '-2^2', -4],
    ['0.1 + 0.2', '0.1 + 0.2', 0.3],
    ['17 mod 5', '17 mod 5', 2],
    ['50% + 1', '50% + 1', 1.5],
  ])('%s', (sentence, expression, value) => {
    expect(findSum(sentence)).toBe(expression);
    expect(evaluate(expression)).toEqual({ ok: true, expression, value });
  });

  it.each([
    'I have 2-3 dogs',
    'call 555-1234 for help',
    'the meeting is on 2026-05-01?',
    'I am 42',
    'C++ is a language',
    'he scored 9/10',
    'hello',
  ])('finds no expression in: %s', (sentence) => {
    expect(findSum(sentence)).toBeUndefined();
  });

  it('continues from the previous result', () => {
    expect(findSum('and times 2?', 84)).toBe('84*2');
    expect(findSum('add 5 to that', -3)).toBe('(-3)+5');
    expect(findSum('that minus 4', 10)).toBe('10 - 4');
    expect(findSum('and times 2?')).toBeUndefined();
  });
});

describe('evaluating a sum', () => {
  it.each([
    ['5/0', 'divided by zero'],
    ['5 mod 0', 'divided by zero'],
    ['sqrt(0-4)', 'square root'],
    ['(1+2', 'not closed'],
    ['1+', 'incomplete'],
    ['1..2', 'do not understand'],
    ['alert(1)', 'do not understand'],
    ['10^999', 'not a finite'],
    [`${'('.repeat(60)}1${')'.repeat(60)}`, 'too deeply'],
    ['1+'.repeat(200), 'too long'],
  ])('explains its failure: %s', (expression, reason) => {
    expect(evaluate(expression)).toMatchObject({ ok: false, reason: expect.stringContaining(reason) });
  });

  it('matches the value of a generated expression tree', () => {
    type Tree = { text: string; value: number };
    const { tree } = fc.letrec<{ tree: Tree; node: Tree; leaf: Tree }>((tie) => ({
      leaf: fc.integer({ min: 0, max: 99 }).map((n) => ({ text: String(n), value: n })),
      node: fc.tuple(tie('tree'), fc.constantFrom('+', '-', '*'), tie('tree')).map(([a, op, b]) => ({
        text: `(${a.text}${op}${b.text})`,
        value: op === '+' ? a.value + b.value : op === '-' ? a.value - b.value : a.value * b.value,
      })),
      tree: fc.oneof({ depthSize: 'small', maxDepth: 5 }, tie('leaf'), tie('node')),
    }));
    fc.assert(
      fc.property(tree, ({ text, value }) => {
        fc.pre(text.length <= 200);
        const result = evaluate(text);
        expect(result.ok && result.value).toBe(Number(value.toPrecision(12)));
      }),
    );
  });

  it('never throws for any text', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom(...'0123456789+-*/^%(). sqrtmod'), maxLength: 60 }),
        (text) => {
          expect(typeof evaluate(text).ok).toBe('boolean');
        },
      ),
    );
  });
});
