// The span of a request to a door, from its headers to the end of its response. It continues the trace of the client.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ATTRIBUTE, type TraceSpan, type Tracing, traceparentIn } from '@fame-fabric/shared/internal';

const spans = new WeakMap<IncomingMessage, TraceSpan>();

/** Starts the span of a request. `route` is the pattern of its path. It ends when the response has been sent, or its client has left. */
export function startRequestSpan(
  tracing: Tracing,
  request: IncomingMessage,
  response: ServerResponse,
  route: string,
): void {
  const method = request.method ?? 'GET';
  const span = tracing.start(`${method} ${route}`, {
    kind: 'server',
    parent: traceparentIn(request.headers) ?? 'none',
    attributes: { [ATTRIBUTE.httpMethod]: method, [ATTRIBUTE.httpRoute]: route },
  });
  spans.set(request, span);
  response.once('close', () => {
    const { statusCode } = response;
    span.set({ [ATTRIBUTE.httpStatus]: statusCode });
    span.end(
      response.writableFinished ? (statusCode >= 500 ? String(statusCode) : undefined) : 'CALL_CANCELLED',
    );
  });
}

/** Runs `work` in the span of a request, if it has one. */
export function inRequestSpan(request: IncomingMessage, work: () => void): void {
  const span = spans.get(request);
  if (span) span.run(work);
  else work();
}
