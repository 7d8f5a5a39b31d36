import { expect, test } from 'vitest';
import type { Bus } from './bus.ts';
import { readEnvelopes } from './pair-frame.ts';
import { PairTransport } from './pair-transport.ts';

const bus: Bus = {
  isConnected: true,
  reason: undefined,
  onChange: undefined,
  publish: () => {},
  subscribe: () => ({ unsubscribe: () => {} }),
  close: () => Promise.resolve(),
};

/** A transport, and the envelopes of each frame that it sent. */
function transportWithFrames(): { transport: PairTransport; frames: string[][] } {
  const frames: string[][] = [];
  const send = (frame: Buffer): void => {
    const envelopes: string[] = [];
    readEnvelopes(frame, (envelope) => envelopes.push(envelope.toString()));
    frames.push(envelopes);
  };
  const transport = new PairTransport('two', bus, { send, close: () => {}, isAlive: () => true });
  return { transport, frames };
}

/** Resolves in the next turn of the event loop. */
const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

test('messages of successive turns share a frame, which leaves after the first turn without one', async () => {
  const { transport, frames } = transportWithFrames();
  for (const text of ['a', 'b', 'c']) {
    transport.send(Buffer.from(text));
    await turn();
  }
  expect(frames).toEqual([]);
  await turn();
  await turn();
  expect(frames).toEqual([['a', 'b', 'c']]);
});

test('a frame leaves after 8 turns, also if each of them brings a message', async () => {
  const { transport, frames } = transportWithFrames();
  for (let nth = 0; nth < 20; nth++) {
    transport.send(Buffer.from(String(nth)));
    await turn();
  }
  const texts = Array.from({ length: 20 }, (_, nth) => String(nth));
  expect(frames).toEqual([texts.slice(0, 8), texts.slice(8, 16)]);
});

test('a frame leaves at once when it is full, and its messages keep their order', () => {
  const { transport, frames } = transportWithFrames();
  const texts = Array.from({ length: 5 }, (_, nth) => String(nth).repeat(10_000));
  for (const text of texts) transport.send(Buffer.from(text));
  expect(frames).toEqual([texts.slice(0, 3)]);
  transport.flush();
  expect(frames).toEqual([texts.slice(0, 3), texts.slice(3)]);
});
