// The splitter with random objects in random spellings, cut at random offsets. It must return exactly the written values.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { callChunk, contentChunk, cutAt, finishChunk } from '../../testing/chunks.ts';
import type { ModelChunk } from '../model.ts';
import { type ParsedToolCall, parseArguments, readJson } from './parse-arguments.ts';
import { ReplySplitter, type UserText } from './reply-splitter.ts';

const NUM_RUNS = 50_000;

/** The spelling of one JSON text: random spaces and escapes. */
interface Style {
  space: readonly string[];
  escape: readonly number[];
}
class Writer {
  #spaceAt = 0;
  #escapeAt = 0;
  readonly #style: Style;
  constructor(style: Style) {
    this.#style = style;
  }
  space(): string {
    const { space } = this.#style;
    this.#spaceAt += 1;
    return space[this.#spaceAt % space.length] ?? '';
  }
  string(text: string): string {
    let out = '"';
    for (let at = 0; at < text.length; at += 1) {
      const unit = text[at]!;
      this.#escapeAt += 1;
      const how = this.#style.escape[this.#escapeAt % this.#style.escape.length] ?? 0;
      if (how === 1) out += `\\u${text.charCodeAt(at).toString(16).padStart(4, '0')}`;
      else if (how === 2 && unit === '/') out += '\\/';
      else if (unit >= '\ud800' && unit <= '\udfff') out += unit;
      else out += JSON.stringify(unit).slice(1, -1);
    }
    return `${out}"`;
  }
  members(members: readonly [string, unknown][]): string {
    const written = members.map(
      ([key, value]) => `${this.space()}${this.string(key)}${this.space()}:${this.value(value)}`,
    );
    return `{${written.join(',')}${this.space()}}`;
  }
  value(value: unknown): string {
    let text: string;
    if (typeof value === 'string') text = this.string(value);
    else if (Array.isArray(value)) text = `[${value.map((item) => this.value(item)).join(',')}]`;
    else if (value !== null && typeof value === 'object') text = this.members(Object.entries(value));
    else text = JSON.stringify(value);
    return this.space() + text + this.space();
  }
}

/** The members as JSON.parse should return them; it misreads some escaped keys (nodejs/node#63785). */
function objectOf(members: readonly [string, unknown][]): Record<string, unknown> {
  const object: Record<string, unknown> = {};
  for (const [key, value] of members) {
    Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
  }
  return object;
}

const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }),
  // Any UTF-16 units, halves of pairs among them.
  fc
    .array(fc.integer({ min: 0xd7fe, max: 0xe001 }), { maxLength: 6 })
    .map((units) => String.fromCharCode(...units)),
  fc.constantFrom('to_user', '"to_user": "no"', '\\', '"', '\\"', '}', '{"to_user":"no"}', '😀', ''),
);
const anyKey = fc.oneof(
  fc.constantFrom('to_user', '__proto__', 'to_use', 'to_user_', 'x', 'constructor', ''),
  anyText,
);
const anyValue = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.oneof(
      anyText,
      fc.integer(),
      fc.boolean(),
      fc.constant(null),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
    ),
    fc.array(tie('value'), { maxLength: 3 }),
    fc.dictionary(anyKey, tie('value'), { maxKeys: 3 }),
  ),
})).value;
const anyMembers = fc.array(fc.tuple(anyKey, anyValue), { maxLength: 5 });
const anyStyle: fc.Arbitrary<Style> = fc.record({
  space: fc.array(fc.constantFrom('', '', ' ', '\n', '\t\r '), { minLength: 1, maxLength: 5 }),
  escape: fc.array(fc.constantFrom(0, 0, 1, 2), { minLength: 1, maxLength: 7 }),
});
const anyCuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 });

const cut = (text: string, cuts: readonly number[]): string[] =>
  cutAt(
    text,
    cuts.map((at) => Math.floor(at * text.length)),
  );

function splitAll(chunks: readonly ModelChunk[]): {
  items: UserText[];
  calls: ParsedToolCall[];
  splitter: ReplySplitter;
} {
  const items: UserText[] = [];
  const calls: ParsedToolCall[] = [];
  const splitter = new ReplySplitter(
    {
      toUserKey: 'to_user',
      separator: '\n',
      choice: 0,
      maxArgumentChars: 4_096,
      maxContentChars: 4_096,
      maxCalls: 8,
    },
    { text: (item) => items.push(item), call: (call) => calls.push(call), warning: () => {} },
  );
  for (const chunk of chunks) splitter.push(chunk);
  splitter.sourceEnded();
  return { items, calls, splitter };
}

describe('splitter properties', () => {
  it('B2 text and arguments are exact for every object and every cut, and no surrogate pair is split', {
    timeout: 60_000,
  }, () => {
    fc.assert(
      fc.property(anyMembers, anyStyle, anyCuts, (members, style, cuts) => {
        const json = new Writer(style).members(members);
        const chunks = cut(json, cuts).map((piece) =>
          callChunk({ index: 0, function: { arguments: piece } }),
        );
        const { items, calls, splitter } = splitAll([
          callChunk({ index: 0, id: 'c', function: { name: 'f' } }),
          ...chunks,
          finishChunk('tool_calls'),
        ]);
        const wanted = objectOf(members);
        delete wanted.to_user;
        const userText = members
          .filter(([key, value]) => key === 'to_user' && typeof value === 'string')
          .map(([, value]) => (value as string).toWellFormed())
          .join('');
        expect(items.map((item) => item.text).join('')).toBe(userText);
        for (const item of items)
          if (item.text === '' || !item.text.isWellFormed()) expect.fail('a split surrogate pair');
        expect(calls.length).toBe(1);
        const call = calls[0]!;
        if (!call.ok) return expect.fail(call.error.message);
        expect(call.rawArguments).toBe(json);
        // Compared as text: it shows key order and own `__proto__` keys, and is many times faster than a deep equality.
        expect(JSON.stringify(call.args)).toBe(JSON.stringify(wanted));
        expect(Object.getPrototypeOf(call.args)).toBe(Object.prototype);
        expect(splitter.reply()?.message.tool_calls?.[0]?.function.arguments).toBe(json);
      }),
      { numRuns: NUM_RUNS },
    );
  });

  it('B2 content and two interleaved calls never mix', () => {
    fc.assert(
      fc.property(
        anyMembers,
        anyMembers,
        anyText,
        anyStyle,
        anyCuts,
        fc.infiniteStream(fc.integer({ min: 0, max: 2 })),
        (first, second, content, style, cuts, order) => {
          const lanes = [
            cut(new Writer(style).members(first), cuts).map((piece) =>
              callChunk({ index: 0, id: 'a', function: { name: 'f', arguments: piece } }),
            ),
            cut(new Writer(style).members(second), cuts).map((piece) =>
              callChunk({ index: 1, id: 'b', function: { name: 'g', arguments: piece } }),
            ),
            cut(content, cuts).map(contentChunk),
          ];
          const chunks: ModelChunk[] = [];
          for (const lane of order) {
            if (lanes.every((rest) => rest.length === 0)) break;
            const next = lanes[lane]!.shift();
            if (next) chunks.push(next);
          }
          const { items, calls } = splitAll([...chunks, finishChunk('tool_calls')]);
          const textFrom = (source: UserText['source'], index?: number): string =>
            items
              .filter((item) => item.source === source && item.index === index)
              .map((item) => item.text)
              .join('');
          expect(items.every((item) => item.text.isWellFormed())).toBe(true);
          expect(textFrom('content')).toBe(content.toWellFormed());
          expect(calls.map((call) => [call.id, call.ok])).toEqual([
            ['a', true],
            ['b', true],
          ]);
          for (const [call, members] of [
            [calls[0]!, first],
            [calls[1]!, second],
          ] as const) {
            const text = members
              .filter(([key, value]) => key === 'to_user' && typeof value === 'string')
              .map(([, value]) => (value as string).toWellFormed())
              .join('');
            expect(call.toUser ?? '').toBe(text);
            expect(textFrom('tool', call.index).replace(/^\n/, '')).toBe(text.replace(/^\n/, ''));
          }
        },
      ),
      { numRuns: NUM_RUNS / 25 },
    );
  });

  it('B2 never throws on text that is not JSON, agrees with JSON.parse, and keeps no more than its limit', () => {
    const noise = fc.array(
      fc.constantFrom(
        '{',
        '}',
        '[',
        ']',
        '"',
        '\\',
        ':',
        ',',
        'to_user',
        '"to_user":"',
        '\\u',
        'd83d',
        '1',
        '-',
        '.',
        'e',
        ' ',
        '\n',
        'true',
        'nul',
        '😀',
      ),
      { maxLength: 24 },
    );
    fc.assert(
      fc.property(noise, anyCuts, (tokens, cuts) => {
        const text = tokens.join('');
        let valid = true;
        try {
          JSON.parse(text);
        } catch {
          valid = false;
        }
        expect(readJson(text).ok).toBe(valid);
        const parsed = parseArguments(text);
        if (!valid && text.trim() !== '')
          expect(parsed).toMatchObject({ ok: false, error: { code: 'invalid_json' } });
        const { items, calls } = splitAll([
          ...cut(text, cuts).map((piece) =>
            callChunk({ index: 0, id: 'c', function: { name: 'f', arguments: piece } }),
          ),
          finishChunk('stop'),
        ]);
        expect(calls.length).toBeGreaterThanOrEqual(1);
        expect(items.every((item) => item.text.isWellFormed())).toBe(true);
        for (const call of calls) expect(call.rawArguments.length).toBeLessThanOrEqual(4_096);
      }),
      { numRuns: NUM_RUNS / 5 },
    );
  });
});
