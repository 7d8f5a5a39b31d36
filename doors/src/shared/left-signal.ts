// Aborts when the client has left before the end of its response.
import { FabricError } from '@fame-fabric/shared';
import type { FastifyReply } from '../fastify.ts';

/** Returns a signal that aborts when the connection of a request ends before its response, or has already ended. */
export function leftSignal(reply: FastifyReply): AbortSignal {
  const left = new AbortController();
  onClosed(reply, () => {
    if (!reply.raw.writableFinished) left.abort(new FabricError('CALL_CANCELLED', 'The client has left'));
  });
  return left.signal;
}

/** Calls `run` when the response has ended or its connection was lost, or at once if it already has. */
export function onClosed({ raw }: FastifyReply, run: () => void): void {
  if (raw.destroyed) run();
  else raw.once('close', run);
}
