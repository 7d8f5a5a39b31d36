import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseLenientJson } from './lenient-json.ts';

describe('parseLenientJson', () => {
  it.each([
    ['a fence', '```json\n{"a": 1}\n```', { a: 1 }],
    ['a bare fence', '```\n{"a": 1}\n```', { a: 1 }],
    ['a trailing comma', '{"a": [1, 2,], "b": "x,}",\n}', { a: [1, 2], b: 'x,}' }],
    ['prose around', 'Here you are: {"a": "}\\"{"} — anything else?', { a: '}"{' }],
    ['all of them', 'Sure!\n```json\n{"a": 1,}\n```', { a: 1 }],
  ])('ST-12 accepts %s', (_, text, value) => {
    expect(parseLenientJson(text)).toEqual({ ok: true, value, repaired: true });
  });

  it.each([
    ['single quotes', "{'a': 1}", 1],
    ['an object that stops', '{"a": ', 6],
    ['a missing value', '{"a": }', 6],
    ['no object', 'nothing here', 0],
  ])('ST-12 leaves %s to the model and says where it is', (_, text, at) => {
    expect(parseLenientJson(text)).toMatchObject({ ok: false, at });
  });

  it('ST-12 refuses two objects', () => {
    expect(parseLenientJson('{"a":1} {"b":2}')).toEqual({ ok: false, message: 'more than one JSON value' });
  });

  it('ST-13 decodes escaped surrogate pairs and slashes', () => {
    expect(parseLenientJson('{"a":"\\ud83d\\ude00","b":"x\\/y",}')).toMatchObject({
      value: { a: '😀', b: 'x/y' },
    });
  });

  it('reads an array if one is expected', () => {
    expect(parseLenientJson('Items:\n[{"a": 1}, {"a": 2},]', 'array')).toMatchObject({
      value: [{ a: 1 }, { a: 2 }],
    });
  });

  it('never changes valid JSON, alone, in prose or in a fence', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (value) => {
        const text = JSON.stringify(value);
        const meant = JSON.parse(text);
        expect(parseLenientJson(text)).toEqual({ ok: true, value: meant, repaired: false });
        expect(parseLenientJson(`\`\`\`json\n${text}\n\`\`\``)).toMatchObject({ ok: true, value: meant });
        expect(parseLenientJson(`Well: ${text} .`)).toMatchObject({ ok: true, value: meant });
      }),
    );
  });
});
