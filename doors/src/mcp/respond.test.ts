import { ManualClock, settle } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import { Fastify } from '../fastify.ts';
import { respond } from './respond.ts';

/** Sends a request to a route that answers with `answer`. */
async function exchange(answer: Promise<Response>, takesEvents = true) {
  const clock = new ManualClock();
  const app = Fastify();
  app.get('/', (_request, reply) => {
    reply.header('access-control-allow-origin', 'http://page.example');
    return respond(reply, answer, { clock, heartbeatMs: 15_000, takesEvents });
  });
  await app.ready();
  const response = app.inject('/');
  await settle();
  return { clock, response };
}

test('passes the status, the headers and the body on', async () => {
  const { response } = await exchange(Promise.resolve(Response.json({ a: 1 }, { status: 404 })));
  const { statusCode, headers, payload } = await response;
  expect({ statusCode, payload }).toEqual({ statusCode: 404, payload: '{"a":1}' });
  expect(headers).toMatchObject({
    'content-type': 'application/json',
    'access-control-allow-origin': 'http://page.example',
  });
});

test('a slow answer becomes a stream with comments', async () => {
  const answer = Promise.withResolvers<Response>();
  const { clock, response } = await exchange(answer.promise);
  await clock.run(45_000, 15_000);
  answer.resolve(Response.json({ a: 1 }));
  const { statusCode, headers, payload } = await response;
  expect(statusCode).toBe(200);
  expect(headers['content-type']).toBe('text/event-stream');
  expect(payload).toBe(`${': keep-alive\n\n'.repeat(3)}event: message\ndata: {"a":1}\n\n`);
  expect(clock.timerCount).toBe(0);
});

test('a client that does not accept events waits for its answer', async () => {
  const answer = Promise.withResolvers<Response>();
  const { clock, response } = await exchange(answer.promise, false);
  await clock.run(45_000, 15_000);
  answer.resolve(Response.json({ a: 1 }));
  expect((await response).payload).toBe('{"a":1}');
});
