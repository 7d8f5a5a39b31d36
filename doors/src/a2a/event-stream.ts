// The updates of a task as server-sent events.
import { FabricError } from '@fame-fabric/shared';
import type { DoorDeps } from '../door.ts';
import type { FastifyReply } from '../fastify.ts';
import { sse } from '../shared/sse.ts';
import { CURSOR } from './chat-task.ts';

/**
 * Sends events until they end or the client disconnects. `failure` writes an error after the first event. The response starts with
 * the first event, so that an earlier error is an ordinary error response.
 * @throws the error before the first event
 */
export async function sendEvents(
  reply: FastifyReply,
  { options, clock }: Pick<DoorDeps, 'options' | 'clock'>,
  events: AsyncGenerator<unknown, void, undefined>,
  failure: (error: unknown) => unknown,
): Promise<FastifyReply> {
  let next = await events.next();
  if (next.done) throw new FabricError('INTERNAL', 'The stream has no events');
  const stream = sse(reply, { heartbeatMs: options.heartbeatMs, clock });
  try {
    for (; !next.done && !stream.isOver; next = await events.next())
      await stream.send({ data: JSON.stringify(next.value), id: cursorOf(next.value) });
  } catch (error) {
    await stream.send({ event: 'error', data: JSON.stringify(failure(error)) });
  } finally {
    await events.return();
  }
  stream.end();
  return reply;
}

/** The cursor of an event, for the `id` of its SSE event. JSON-RPC of version 0.3 has the metadata one level higher. */
function cursorOf(event: unknown): string | undefined {
  const body = Object((event as { result?: unknown }).result ?? event) as Record<
    string,
    { metadata?: unknown }
  >;
  const metadata = body.statusUpdate?.metadata ?? body.artifactUpdate?.metadata ?? body.metadata;
  const cursor = (Object(metadata) as Record<string, unknown>)[CURSOR];
  return typeof cursor === 'number' ? String(cursor) : undefined;
}
