// Aborts when the client has left before the end of its response.
import { FabricError } from '@fame-fabric/shared';
import type { FastifyReply } from '../fastify.ts';

/** Returns a signal that aborts when the connection of a request ends before its response does, or has ended already. */
export function leftSignal({ raw }: FastifyReply): AbortSignal {
  const left = new AbortController();
  const onClose = (): void => {
    if (!raw.writableFinished) left.abort(new FabricError('CALL_CANCELLED', 'The client has left'));
  };
  if (raw.destroyed) onClose();
  else raw.once('close', onClose);
  return left.signal;
}
