// The split of a stream of frames into messages and bytes for ws, for every way to cut the stream into chunks.
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FrameReader } from './frame-reader.ts';

const MAX = 70_000;

interface FrameOptions {
  opcode?: number;
  fin?: boolean;
  masked?: boolean;
  /** Encodes the length in more bytes than it needs. */
  lengthBytes?: 1 | 2 | 8;
}

/** One frame as a client sends it. */
function frame(
  payload: Buffer | string,
  { opcode = 2, fin = true, masked = true, lengthBytes }: FrameOptions = {},
) {
  const body = Buffer.from(payload);
  const { length } = body;
  const lengthSize = lengthBytes ?? (length < 126 ? 1 : length < 65_536 ? 2 : 8);
  const head = Buffer.alloc(1 + (lengthSize === 1 ? 1 : 1 + lengthSize));
  head[0] = (fin ? 0x80 : 0) | opcode;
  const maskBit = masked ? 0x80 : 0;
  head[1] = maskBit | (lengthSize === 1 ? length : lengthSize === 2 ? 126 : 127);
  if (lengthSize === 2) head.writeUInt16BE(length, 2);
  if (lengthSize === 8) head.writeBigUInt64BE(BigInt(length), 2);
  if (!masked) return Buffer.concat([head, body]);
  const mask = Buffer.from([0x12, 0xfe, 0x00, 0x7a]);
  return Buffer.concat([head, mask, body.map((byte, i) => byte ^ mask[i % 4]!)]);
}

/** Reads chunks; returns the messages, the bytes for ws, and the order of the two. */
function readAll(chunks: readonly Buffer[], onMessage?: (reader: FrameReader) => void) {
  const messages: string[] = [];
  const order: string[] = [];
  const others: Buffer[] = [];
  const reader = new FrameReader(
    {
      onMessage(bytes) {
        messages.push(bytes.toString('latin1'));
        order.push('message');
        onMessage?.(reader);
      },
      passToWs(bytes) {
        others.push(Buffer.from(bytes));
        if (order.at(-1) !== 'other') order.push('other');
      },
    },
    MAX,
  );
  // All chunks share one buffer, as those of sockets do, so the reader may keep copies only.
  const shared = Buffer.alloc(Math.max(0, ...chunks.map(({ length }) => length)));
  for (const chunk of chunks) {
    chunk.copy(shared);
    reader.read(shared.subarray(0, chunk.length));
    shared.fill(0xff);
  }
  return { messages, order, others: Buffer.concat(others) };
}

const cutAt = (bytes: Buffer, cuts: readonly number[]): Buffer[] => {
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return places
    .slice(1)
    .map((end, i) => bytes.subarray(places[i], end))
    .filter(({ length }) => length > 0);
};

test('a whole binary message is unmasked and delivered, for every encoding of its length', () => {
  for (const length of [0, 1, 2, 3, 4, 5, 47, 48, 49, 125, 126, 127, 65_535, 65_536, MAX]) {
    const text = 'abcdefghijklm'.repeat(Math.ceil(length / 13)).slice(0, length);
    expect(readAll([frame(text)]).messages).toEqual([text]);
  }
});

test('a frame may be cut in two at every byte', () => {
  const bytes = Buffer.concat([frame('first'), frame('x'.repeat(300)), frame('last')]);
  for (let cut = 1; cut < bytes.length; cut++) {
    const { messages, others } = readAll([bytes.subarray(0, cut), bytes.subarray(cut)]);
    expect(messages).toEqual(['first', 'x'.repeat(300), 'last']);
    expect(others).toHaveLength(0);
  }
});

test('frames may arrive byte by byte', () => {
  const bytes = Buffer.concat([frame('y'.repeat(200)), frame('', { opcode: 9 }), frame('z')]);
  const { messages, others } = readAll([...bytes].map((byte) => Buffer.from([byte])));
  expect(messages).toEqual(['y'.repeat(200), 'z']);
  expect(others).toEqual(frame('', { opcode: 9 }));
});

test('control frames go to ws, in order', () => {
  const ping = frame('are you there', { opcode: 9 });
  const pong = frame('', { opcode: 10 });
  const { messages, order, others } = readAll([Buffer.concat([frame('a'), ping, frame('b'), pong])]);
  expect(messages).toEqual(['a', 'b']);
  expect(order).toEqual(['message', 'other', 'message', 'other']);
  expect(others).toEqual(Buffer.concat([ping, pong]));
});

test('text goes to ws, and so do fragments and the frames between them', () => {
  const text = frame('text', { opcode: 1 });
  const parts = [
    frame('one', { fin: false }),
    frame('', { opcode: 9 }),
    frame('two', { opcode: 0, fin: false }),
    frame('three', { opcode: 0 }),
  ];
  const { messages, others } = readAll([Buffer.concat([text, ...parts, frame('whole')])]);
  expect(messages).toEqual(['whole']);
  expect(others).toEqual(Buffer.concat([text, ...parts]));
});

test('a whole message between fragments is a fault, and goes to ws', () => {
  const bytes = Buffer.concat([frame('one', { fin: false }), frame('whole')]);
  expect(readAll([bytes])).toMatchObject({ messages: [], others: bytes });
});

test.each([
  ['without a mask', frame('plain', { masked: false })],
  ['above the size limit', frame(Buffer.alloc(MAX + 1))],
  ['with a reserved bit', Buffer.concat([Buffer.from([0xc2]), frame('rsv').subarray(1)])],
  ['with an unknown opcode', frame('?', { opcode: 3 })],
])('a frame %s goes to ws before it is complete', (_, bytes) => {
  expect(readAll([bytes]).others).toEqual(bytes);
  expect(readAll([bytes.subarray(0, 15)]).others).toEqual(bytes.subarray(0, 15));
});

test('a length of 2^63 reserves no memory', () => {
  const bytes = Buffer.concat([Buffer.from([0x82, 0xff]), Buffer.alloc(8, 0x7f), Buffer.alloc(20)]);
  expect(readAll([bytes])).toMatchObject({ messages: [], others: bytes });
});

test.each([
  ['a reserved bit', Buffer.concat([Buffer.from([0xc2]), frame('rsv').subarray(1)])],
  ['no mask', frame('plain', { masked: false })],
  ['an unknown opcode', frame('?', { opcode: 11 })],
  ['a continuation without a first fragment', frame('?', { opcode: 0 })],
  ['a length above the limit', frame(Buffer.alloc(MAX + 1))],
])('no message is read after a frame with %s', (_, fault) => {
  const bytes = Buffer.concat([frame('before'), fault, frame('behind')]);
  expect(readAll([bytes]).messages).toEqual(['before']);
});

test('no message is read after a close frame', () => {
  const close = frame(Buffer.from([3, 232]), { opcode: 8 });
  const bytes = Buffer.concat([frame('before'), close, frame('behind')]);
  for (let cut = 1; cut < bytes.length; cut++) {
    expect(readAll([bytes.subarray(0, cut), bytes.subarray(cut)]).messages).toEqual(['before']);
  }
});

test('a stopped reader reads nothing more, not even from the same chunk', () => {
  const { messages, others } = readAll(
    [Buffer.concat([frame('one'), frame('two')]), frame('three')],
    (reader) => reader.stop(),
  );
  expect(messages).toEqual(['one']);
  expect(others).toHaveLength(0);
});

test('a paused reader delivers the rest of its chunk, and later chunks, once it is resumed', () => {
  const bytes = Buffer.concat([frame('one'), frame('two'), frame('ping', { opcode: 9 }), frame('three')]);
  for (let cut = 1; cut < bytes.length; cut++) {
    const seen: string[] = [];
    const reader: FrameReader = new FrameReader(
      {
        onMessage(message) {
          seen.push(message.toString('latin1'));
          reader.pause();
        },
        passToWs: () => seen.push('ws'),
      },
      MAX,
    );
    reader.read(Buffer.from(bytes.subarray(0, cut)));
    reader.read(Buffer.from(bytes.subarray(cut)));
    expect(seen).toEqual(['one']);
    expect(reader.resume()).toBe(false);
    expect(seen).toEqual(['one', 'two']);
    expect(reader.resume()).toBe(false);
    expect(seen.filter((one, i) => one !== 'ws' || seen[i - 1] !== 'ws')).toEqual([
      'one',
      'two',
      'ws',
      'three',
    ]);
    expect(reader.resume()).toBe(true);
  }
});

test('a reader that is stopped while it is paused reads no more frames', () => {
  const messages: string[] = [];
  const reader: FrameReader = new FrameReader(
    {
      onMessage(message) {
        messages.push(message.toString('latin1'));
        reader.pause();
      },
      passToWs() {},
    },
    MAX,
  );
  reader.read(Buffer.concat([frame('one'), frame('two')]));
  reader.stop();
  expect([reader.resume(), messages]).toEqual([true, ['one']]);
});

test('for any frames in any chunks, every message arrives once and in order, and every other byte goes to ws', () => {
  const anyFrame = fc.record({
    text: fc.string({ maxLength: 400 }).map((text) => Buffer.from(text).toString('latin1')),
    kind: fc.constantFrom('whole' as const, 'whole' as const, 'ping' as const, 'text' as const),
  });
  fc.assert(
    fc.property(
      fc.array(anyFrame, { maxLength: 12 }),
      fc.array(fc.nat(), { maxLength: 20 }),
      (frames, cuts) => {
        const bytes = frames.map(({ text, kind }) => {
          const payload = Buffer.from(text, 'latin1');
          if (kind === 'ping') return frame(payload.subarray(0, 125), { opcode: 9 });
          return frame(payload, { opcode: kind === 'text' ? 1 : 2 });
        });
        const { messages, others } = readAll(cutAt(Buffer.concat(bytes), cuts));
        expect(messages).toEqual(frames.filter(({ kind }) => kind === 'whole').map(({ text }) => text));
        expect(others).toEqual(Buffer.concat(bytes.filter((_, i) => frames[i]!.kind !== 'whole')));
      },
    ),
    { numRuns: 500 },
  );
});
