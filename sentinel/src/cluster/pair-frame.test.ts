import fc from 'fast-check';
import { expect, test } from 'vitest';
import { HEADER_BYTES, PAIR, readEnvelopes, readPairHeader, writeHeader } from './pair-frame.ts';

const frameOf = (envelopes: readonly Uint8Array[]): Buffer => {
  const parts: Buffer[] = [Buffer.alloc(HEADER_BYTES)];
  for (const envelope of envelopes) {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(envelope.length);
    parts.push(length, Buffer.from(envelope));
  }
  return Buffer.concat(parts);
};

test('a header is read as it was written', () => {
  const number = fc.nat({ max: 0xffff_ffff });
  const header = fc.record({
    kind: fc.constantFrom(...Object.values(PAIR)),
    link: number,
    seq: number,
    receivedBytes: number,
    isDraining: fc.boolean(),
  });
  fc.assert(
    fc.property(header, (written) => {
      const frame = Buffer.alloc(HEADER_BYTES);
      writeHeader(frame, written);
      expect(readPairHeader(frame)).toEqual(written);
    }),
  );
});

test('envelopes are read whole and in order, and a frame that is cut anywhere is malformed', () => {
  const envelopes = fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(envelopes, fc.nat(), (written, cutAt) => {
      const frame = frameOf(written);
      const read: string[] = [];
      const collect = (envelope: Buffer): number => read.push(envelope.toString('hex'));
      expect(readEnvelopes(frame, collect)).toBe(true);
      expect(read).toEqual(written.map((one) => Buffer.from(one).toString('hex')));
      const ends = new Set<number>([HEADER_BYTES]);
      let end = HEADER_BYTES;
      for (const { length } of written) {
        end += 4 + length;
        ends.add(end);
      }
      const size = HEADER_BYTES + (cutAt % (frame.length - HEADER_BYTES));
      expect(readEnvelopes(frame.subarray(0, size), () => {})).toBe(ends.has(size));
    }),
  );
});

test('any bytes are read without an exception', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      const frame = Buffer.from(bytes);
      readPairHeader(frame);
      readEnvelopes(frame, (envelope) => expect(envelope.length).toBeLessThanOrEqual(frame.length));
    }),
  );
  expect(readPairHeader(Buffer.alloc(HEADER_BYTES - 1, PAIR.data))).toBeUndefined();
  expect(readPairHeader(Buffer.alloc(HEADER_BYTES, 9))).toBeUndefined();
});
