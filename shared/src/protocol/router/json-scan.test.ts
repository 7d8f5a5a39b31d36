import fc from 'fast-check';
import { expect, test } from 'vitest';
import { MALFORMED, Scan, TOO_DEEP } from './json-scan.ts';

const scan = new Scan();
const skip = (text: string, levels = 64): number => scan.reset(Buffer.from(text)).skipObject(0, levels);

test('finds the end of any object that JSON.stringify writes', () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 6 })), fc.boolean(), (value, pretty) => {
      const bytes = Buffer.from(pretty ? JSON.stringify(value, null, 1) : JSON.stringify(value));
      expect(scan.reset(Buffer.concat([bytes, Buffer.from('}]"x')])).skipObject(0, 64)).toBe(bytes.length);
    }),
    { numRuns: 2_000 },
  );
});

test('agrees with JSON.parse about any object with any byte changed', { timeout: 60_000 }, () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.string(), fc.jsonValue()),
      fc.nat(),
      fc.integer({ min: 0, max: 127 }),
      (value, position, byte) => {
        const bytes = Buffer.from(JSON.stringify(value));
        bytes[position % bytes.length] = byte;
        const text = bytes.toString('utf8');
        let isSound = true;
        try {
          JSON.parse(text);
        } catch {
          isSound = false;
        }
        const end = bytes[0] === 123 ? scan.reset(bytes).skipObject(0, 64) : MALFORMED;
        expect(end === bytes.length).toBe(isSound && bytes[0] === 123);
      },
    ),
    { numRuns: 20_000 },
  );
});

test('distinguishes excessive depth from faults', () => {
  expect(skip(`{"a":${'['.repeat(63)}${']'.repeat(63)}}`)).toBeGreaterThan(0);
  expect(skip(`{"a":${'['.repeat(64)}${']'.repeat(64)}}`)).toBe(TOO_DEEP);
  expect(skip(`{"a":"${'['.repeat(100)}"}`)).toBeGreaterThan(0);
  for (const text of [
    '{',
    '{"a"}',
    '{"a":}',
    '{"a":1,}',
    '{,}',
    '{"a":01}',
    '{"a":1.}',
    '{"a":tru}',
    '{"a":[1,]}',
    '{"a":"\n"}',
    '{"a":"\\x"}',
    '{]',
  ]) {
    expect(skip(text), text).toBe(MALFORMED);
  }
});

test('skips long strings that contain quotes and backslashes', () => {
  const long = 'x'.repeat(400);
  for (const tail of ['\\"', '\\\\', '\\\\\\"', '"'.repeat(0)]) {
    const text = `{"a":"${long}${tail}","b":1}`;
    expect(skip(text), tail).toBe(text.length);
  }
});

test.each([
  ['a message', 0, 256],
  ['a large message', 20_000, 32],
])('finds control characters at the start of the texts of %s', (_, padding, checkedBytes) => {
  const withTab = (at: number): string =>
    `{"a":"${'x'.repeat(at)}\t${'x'.repeat(300)}","b":[${'1,'.repeat(padding / 2)}1]}`;
  expect(skip(withTab(checkedBytes - 1))).toBe(MALFORMED);
  expect(skip(withTab(checkedBytes))).toBeGreaterThan(0);
});
