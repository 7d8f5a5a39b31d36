// The limits of an HTTP port, for sentinels and for doors in a separate process.
import type { Server } from 'node:http';

/** Node looks for overdue requests at this interval, in ms. Each wake-up of an idle process is costly: its caches are cold. */
const CHECK_MS = 2_000;
/** Time in which the headers of a request must have arrived, in ms. The promise is 10 s; the rest is for a busy event loop. */
const HEADERS_WITHIN_MS = 9_500;
/** Time in which a whole request must have arrived, in ms. The promise is 15 s. */
const REQUEST_WITHIN_MS = 14_500;

/** Time without progress after which an HTTP connection whose client does not read is closed, in ms. Node measures it twice. */
export const HTTP_IDLE_MS = 9_500;

/** Options of the server. */
export const SERVER_OPTIONS = Object.freeze({ maxHeaderSize: 16_384, connectionsCheckingInterval: CHECK_MS });

/** Sets the time limits of a server that was created with `SERVER_OPTIONS`. */
export function limitServer(server: Server): void {
  server.headersTimeout = HEADERS_WITHIN_MS - CHECK_MS;
  server.requestTimeout = REQUEST_WITHIN_MS - CHECK_MS;
  server.keepAliveTimeout = 5_000;
}
