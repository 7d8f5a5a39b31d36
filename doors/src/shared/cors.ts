// Headers for pages of other origins, which FAME_ALLOWED_ORIGINS lists. The origin of a request was checked before.
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';

const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS';
/** Headers of responses that a page may read. */
const EXPOSED = [
  'X-Conversation-Id',
  'X-Turn-Id',
  'X-Request-Id',
  'Mcp-Session-Id',
  'A2A-Version',
  'ETag',
  'Location',
  'Retry-After',
  'WWW-Authenticate',
].join(', ');
/** Time for which a browser may keep the answer to a preflight, in seconds. */
const MAX_AGE = '600';
const HEADER_NAMES = /^[\w\-, ]{1,2048}$/;

interface HeaderTarget {
  header(name: string, value: string): unknown;
}

/** Allows the page that made the request to read the response. Programs send no Origin. */
export function addCorsHeaders({ origin }: IncomingHttpHeaders, reply: HeaderTarget): void {
  if (origin === undefined) return;
  reply.header('access-control-allow-origin', origin);
  reply.header('access-control-expose-headers', EXPOSED);
  reply.header('vary', 'Origin');
}

/** Returns the headers of the answer to a preflight, or undefined for any other request. Credentials are in headers, never in cookies. */
export function preflightHeaders(
  method: string,
  headers: IncomingHttpHeaders,
): OutgoingHttpHeaders | undefined {
  const requested = headers['access-control-request-headers'];
  const isPreflight =
    method === 'OPTIONS' &&
    headers.origin !== undefined &&
    headers['access-control-request-method'] !== undefined;
  if (!isPreflight) return undefined;
  return {
    'access-control-allow-methods': METHODS,
    'access-control-max-age': MAX_AGE,
    ...(requested !== undefined && HEADER_NAMES.test(requested)
      ? { 'access-control-allow-headers': requested }
      : {}),
    ...(headers['access-control-request-private-network'] === 'true'
      ? { 'access-control-allow-private-network': 'true' }
      : {}),
  };
}
