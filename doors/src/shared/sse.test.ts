// Server-sent events through a web server without a port.
import { EventEmitter } from 'node:events';
import { ManualClock, settle } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import { Fastify, type FastifyReply } from '../fastify.ts';
import { type EventStream, sse } from './sse.ts';

/** Runs `write` as the handler of a route. */
async function streamOf(
  write: (stream: EventStream, reply: FastifyReply) => unknown,
  clock = new ManualClock(),
) {
  const app = Fastify();
  app.get('/', (_request, reply) => {
    reply.header('x-turn-id', 't1');
    write(sse(reply, { heartbeatMs: 15_000, clock }), reply);
  });
  return app.inject({ url: '/', payloadAsStream: true });
}

test('events have an id, a name and data of several lines', async () => {
  const response = await streamOf(async (stream) => {
    await stream.send({ data: 'plain' });
    await stream.send({ event: 'text', data: 'two\nlines\r\n', id: '7' });
    stream.end();
  });
  expect(
    await response
      .stream()
      .toArray()
      .then((parts) => Buffer.concat(parts).toString()),
  ).toBe('data: plain\n\nid: 7\nevent: text\ndata: two\ndata: lines\ndata: \n\n');
  expect(response.headers).toMatchObject({
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
    'x-turn-id': 't1',
  });
});

test('a silent stream sends comments until its end', async () => {
  const clock = new ManualClock();
  let stream: EventStream | undefined;
  const response = await streamOf((opened) => {
    stream = opened;
  }, clock);
  clock.advance(15_000);
  clock.advance(15_000);
  stream!.end();
  clock.advance(60_000);
  const text = await response.stream().toArray();
  expect(Buffer.concat(text).toString()).toBe(': keep-alive\n\n: keep-alive\n\n');
  expect(clock.timerCount).toBe(0);
});

test('a reader that leaves aborts the signal, and further events are dropped', async () => {
  let stream: EventStream | undefined;
  const response = await streamOf((opened) => {
    stream = opened;
  });
  expect(stream!.signal.aborted).toBe(false);
  response.raw.res.destroy();
  await settle();
  expect([stream!.signal.aborted, stream!.isOver]).toEqual([true, true]);
  await stream!.send({ data: 'late' });
});

test('a stream for a reader that has left is over from the beginning', async () => {
  const clock = new ManualClock();
  const opened = Promise.withResolvers<EventStream>();
  const app = Fastify();
  app.get('/', async (_request, reply) => {
    reply.raw.destroy();
    await settle();
    opened.resolve(sse(reply, { heartbeatMs: 15_000, clock }));
  });
  app.inject('/').catch(() => {});
  const stream = await opened.promise;
  expect([stream.signal.aborted, stream.isOver, clock.timerCount]).toEqual([true, true, 0]);
  await stream.send({ data: 'late' });
});

test('the end of a stream does not abort its signal', async () => {
  let stream: EventStream | undefined;
  const response = await streamOf((opened) => {
    stream = opened;
    opened.end();
  });
  await response.stream().toArray();
  expect(stream!.signal.aborted).toBe(false);
});

/** A response whose reader reads only when the test calls it. */
class SlowResponse extends EventEmitter {
  isFull = false;
  readonly written: string[] = [];
  isDestroyed = false;
  writeHead(): this {
    return this;
  }
  flushHeaders(): void {}
  write(text: string): boolean {
    this.written.push(text);
    return !this.isFull;
  }
  end(): void {
    this.emit('close');
  }
  destroy(): void {
    this.isDestroyed = true;
    this.emit('close');
  }
}

function slowStream() {
  const clock = new ManualClock();
  const raw = new SlowResponse();
  const reply = { raw, hijack() {}, getHeaders: () => ({}) } as unknown as FastifyReply;
  return { clock, raw, stream: sse(reply, { heartbeatMs: 15_000, clock }) };
}

test('a writer waits for a slow reader, and no comments accumulate in the meantime', async () => {
  const { clock, raw, stream } = slowStream();
  raw.isFull = true;
  let isSent = false;
  const sending = stream.send({ data: 'a' }).then(() => {
    isSent = true;
  });
  clock.advance(45_000);
  await settle();
  expect([isSent, raw.written]).toEqual([false, ['data: a\n\n']]);
  raw.isFull = false;
  raw.emit('drain');
  await sending;
  clock.advance(15_000);
  expect(raw.written.at(-1)).toBe(': keep-alive\n\n');
  stream.end();
  expect(clock.timerCount).toBe(0);
});

test('a reader that does not read for a minute is dropped', async () => {
  const { clock, raw, stream } = slowStream();
  raw.isFull = true;
  const sending = stream.send({ data: 'a' });
  clock.advance(60_000);
  await sending;
  expect([raw.isDestroyed, stream.signal.aborted, stream.isOver, clock.timerCount]).toEqual([
    true,
    true,
    true,
    0,
  ]);
});
