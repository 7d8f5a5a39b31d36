import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EventParser, type WireEvent } from './event-parser.ts';

const all = (...parts: readonly string[]): unknown[] => {
  const parser = new EventParser();
  return [...parts.flatMap((part) => parser.push(part)), ...parser.end()].map(shown);
};
const shown = (event: WireEvent): unknown => (event.kind === 'data' ? event.value : event.kind);

describe('the event parser', () => {
  it('reads events with every line ending, comments and other fields', () => {
    expect(
      all(
        'data: 1\n\ndata: [1]\n\n: ping\n\nevent: x\nid: 1\ndata:{"b":1}\r\n\r\ndata: ["c"]\r\rdata: [DONE]\n\n',
      ),
    ).toEqual(['fault', [1], { b: 1 }, ['c'], 'done']);
  });

  it('joins the data lines of an incomplete value', () => {
    expect(all('data: {"a":\ndata:  "b"\ndata: }\n\n')).toEqual([{ a: 'b' }]);
    expect(all('data: {"a":\n\ndata: {"a":1}\n\n')).toEqual(['fault', { a: 1 }]);
  });

  it('reads events without a blank line between or after them', () => {
    expect(all('data: {"a":1}\ndata: {"a":2}\ndata: [DONE]')).toEqual([{ a: 1 }, { a: 2 }, 'done']);
    const parser = new EventParser();
    expect(parser.push('data: {"a":1}\n').map(shown)).toEqual([{ a: 1 }]);
  });

  it('skips empty data', () => {
    expect(all('data:\n\ndata: \n\ndata\n\ndata: {"a":1}\n\ndata:\n\n')).toEqual([{ a: 1 }]);
  });

  it('reads JSON without data lines: whole, over several lines, and one value a line', () => {
    expect(all('{"a":1}')).toEqual([{ a: 1 }]);
    expect(all('\n{\n  "a": [\n\n 1]\n}\n\ndata: [DONE]\n\n')).toEqual([{ a: [1] }, 'done']);
    expect(all('{"a":1}\n{"a":2}\n')).toEqual([{ a: 1 }, { a: 2 }]);
    expect(all('[{"a":1},\n{"a":2}]')).toEqual([[{ a: 1 }, { a: 2 }]]);
  });

  it('reads errors that are a field or an event of that name', () => {
    expect(all('error: {"code":400,"message":"no"}\n\n')).toEqual([{ error: { code: 400, message: 'no' } }]);
    expect(all('error: it broke\n\n')).toEqual([{ error: 'it broke' }]);
    expect(all('event: error\ndata: {"message":"no"}\n\ndata: {"a":1}\n\n')).toEqual([
      { error: { message: 'no' } },
      { a: 1 },
    ]);
    expect(all('event: error\ndata: {"error":{"message":"no"}}\n\n')).toEqual([{ error: { message: 'no' } }]);
  });

  it('reports pages and texts', () => {
    expect(all('<!doctype html><title>Welcome</title>\n')).toEqual(['fault']);
    expect(all('Bad gateway')).toEqual(['fault']);
    expect(all('')).toEqual([]);
  });

  it('returns the same events for every split of the text', () => {
    const stream =
      '\ufeff: hi\r\n\r\ndata: {"a":1}\r\n\r\ndata: "é😀"\n\nevent: e\ndata: {"x":\ndata: "y"}\n\r\ndata: {"b":\rdata: 2}\r\rdata: [DONE]\r\n\r\n';
    const whole = all(stream);
    expect(whole).toEqual([{ a: 1 }, 'fault', { x: 'y' }, { b: 2 }, 'done']);
    for (let size = 1; size <= stream.length; size += 1) {
      const parts = Array.from({ length: Math.ceil(stream.length / size) }, (_, i) =>
        stream.slice(i * size, (i + 1) * size),
      );
      expect(all(...parts)).toEqual(whole);
    }
    fc.assert(
      fc.property(fc.array(fc.nat(stream.length), { maxLength: 8 }), (cuts) => {
        const at = [0, ...cuts.toSorted((a, b) => a - b), stream.length];
        expect(all(...at.slice(1).map((end, i) => stream.slice(at[i], end)))).toEqual(whole);
      }),
    );
  });

  it('rejects an event above the size limit', () => {
    const part = 'x'.repeat(1024 * 1024);
    for (const line of ['', '\n', '\ndata: ']) {
      const parser = new EventParser();
      expect(() => {
        for (let i = 0; i < 5; i += 1) parser.push(`data: {${part}${line}`);
      }).toThrow(RangeError);
    }
  });
});
