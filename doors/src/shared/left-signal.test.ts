import { settle } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import { Fastify, type FastifyReply } from '../fastify.ts';
import { leftSignal } from './left-signal.ts';

/** Runs a handler and returns its result. The response may fail. */
async function handled<T>(handler: (reply: FastifyReply) => Promise<T>): Promise<T> {
  const app = Fastify();
  const result = Promise.withResolvers<T>();
  app.get('/', async (_request, reply) => {
    result.resolve(await handler(reply));
    return reply;
  });
  app.inject('/').catch(() => {});
  return result.promise;
}

test('aborts when the connection ends before the response', async () => {
  const states = await handled(async (reply) => {
    const signal = leftSignal(reply);
    const before = signal.aborted;
    reply.raw.destroy();
    await settle();
    return [before, signal.aborted];
  });
  expect(states).toEqual([false, true]);
});

test('is aborted if the connection has ended', async () => {
  const isAborted = await handled(async (reply) => {
    reply.raw.destroy();
    await settle();
    return leftSignal(reply).aborted;
  });
  expect(isAborted).toBe(true);
});
