import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EventParser } from './event-parser.ts';

const all = (...parts: readonly string[]): string[] => {
  const parser = new EventParser();
  return [...parts.flatMap((part) => parser.push(part)), ...parser.end()];
};

describe('the event parser', () => {
  it('reads events with every line ending, comments and other fields', () => {
    expect(all('data: a\n\n: ping\n\nevent: x\nid: 1\ndata:b\r\n\r\ndata: c\r\rdata: d\n\n')).toEqual([
      'a',
      'b',
      'c',
      'd',
    ]);
  });

  it('joins the data lines of one event', () => {
    expect(all('data: a\ndata:  b\ndata\n\n')).toEqual(['a\n b\n']);
  });

  it('returns the last event without a blank line after it', () => {
    expect(all('data: a\n\ndata: b')).toEqual(['a', 'b']);
  });

  it('returns the same events for every split of the text', () => {
    const stream =
      ': hi\r\n\r\ndata: {"a":1}\r\n\r\ndata: é😀\n\nevent: e\ndata: x\ndata: y\n\ndata: [DONE]\r\n\r\n';
    const whole = all(stream);
    expect(whole).toEqual(['{"a":1}', 'é😀', 'x\ny', '[DONE]']);
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
    const parser = new EventParser();
    const part = 'x'.repeat(1024 * 1024);
    parser.push(`data: ${part}`);
    expect(() => {
      for (let i = 0; i < 5; i += 1) parser.push(part);
    }).toThrow(RangeError);
  });
});
