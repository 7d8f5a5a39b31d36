// Bodies of the plain HTTP door. Requests are JSON with any content type, because `curl -d` sends another one. Answers are easy to read in
// a terminal.
import { FabricError } from '@fame-fabric/shared';
import type { FastifyInstance, FastifyReply, FastifyRequest } from '../fastify.ts';

/** Parses every body as JSON. An empty body is undefined. */
export function readJsonBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => {
    if (body === '') {
      done(null, undefined);
      return;
    }
    try {
      done(null, JSON.parse(String(body)));
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : 'it cannot be parsed';
      done(new FabricError('PROTO_MALFORMED', `The body is not JSON: ${reason}`, { cause }));
    }
  });
}

/** True if the client asks for a stream of events. */
export const wantsEvents = ({ headers }: FastifyRequest): boolean =>
  headers.accept?.includes('text/event-stream') ?? false;

/** Returns the text of an answer: one line for a client that accepts JSON, otherwise indented. Both end with a line break. */
const jsonText = (value: unknown, accept: string | undefined): string =>
  `${JSON.stringify(value ?? null, null, accept?.includes('application/json') ? 0 : 2)}\n`;

/** Answers with JSON. */
export const sendJson = (request: FastifyRequest, reply: FastifyReply, value: unknown): FastifyReply =>
  reply.type('application/json; charset=utf-8').send(jsonText(value, request.headers.accept));
