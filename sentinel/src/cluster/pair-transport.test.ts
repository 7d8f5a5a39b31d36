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

test('messages of one turn share a frame, which leaves at the end of the turn', async () => {
  const { transport, frames } = transportWithFrames();
  for (const text of ['a', 'b', 'c']) transport.send(Buffer.from(text));
  expect(frames).toEqual([]);
  await turn();
  transport.send(Buffer.from('d'));
  await turn();
  expect(frames).toEqual([['a', 'b', 'c'], ['d']]);
});

test('a frame leaves at once when it is full, and its messages keep their order', () => {
  const { transport, frames } = transportWithFrames();
  const texts = Array.from({ length: 5 }, (_, nth) => String(nth).repeat(10_000));
  for (const text of texts) transport.send(Buffer.from(text));
  expect(frames).toEqual([texts.slice(0, 3)]);
  transport.flush();
  expect(frames).toEqual([texts.slice(0, 3), texts.slice(3)]);
});
