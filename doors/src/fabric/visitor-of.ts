// The caller of one request.
import type { FastifyReply, FastifyRequest } from '../fastify.ts';
import { onClosed } from '../shared/left-signal.ts';
import type { DoorFabric, Visitor } from './door-fabric.ts';

/**
 * Resolves the caller of a request. It is released after the response was sent or the connection was lost; `hold` keeps it longer. A response
 * that is open when the credential ends is broken off.
 * @throws the errors of `DoorFabric.visit`
 */
export async function visitorOf(
  fabric: DoorFabric,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<Visitor> {
  const visitor = await fabric.visit(request.raw);
  const stop = visitor.onEnd(() => reply.raw.destroy());
  onClosed(reply, () => {
    stop();
    visitor.release();
  });
  return visitor;
}
