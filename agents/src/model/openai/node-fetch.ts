// A `fetch` over node:http(s) for the model client. The body of its response is the Node stream itself. The platform's fetch
// wraps it in a web stream, which costs more per chunk than parsing the answer. `kept-connections.ts` has the connections.
// URLs that a stranger supplied go through net/safe-fetch.ts instead.
import { type IncomingMessage, request as plainRequest } from 'node:http';
import { request as secureRequest } from 'node:https';
import type { Socket } from 'node:net';
import { type Duplex, pipeline, type Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { constants, createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import { onAbort, timeText } from '@fame-fabric/shared/internal';
import { agentFor, wasIdleClosed } from './kept-connections.ts';

/** Time to open a connection, TLS included. */
const CONNECT_TIMEOUT_MS = 10_000;
const MAX_REDIRECTS = 20;
/** Maximum number of repeats of one request because of closed idle connections. A server that restarts closes all of them. */
const MAX_IDLE_CLOSED = 3;

/** Decoders by Content-Encoding. Requests ask for `identity`; some proxies compress regardless. */
const DECODERS: Readonly<Record<string, () => Duplex>> = {
  gzip: () => createGunzip({ flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_SYNC_FLUSH }),
  deflate: () => createInflate({ flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_SYNC_FLUSH }),
  br: () => createBrotliDecompress({ flush: constants.BROTLI_OPERATION_FLUSH }),
};

/** The part of `Response` that the model client reads. */
export class NodeResponse {
  readonly status: number;
  readonly headers = new Headers();
  readonly url: string;
  readonly body: Readable;

  constructor(url: URL, message: IncomingMessage) {
    this.url = url.href;
    this.body = decoded(message);
    this.status = message.statusCode ?? 0;
    const { rawHeaders } = message;
    for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
      this.headers.append(rawHeaders[at]!, rawHeaders[at + 1]!);
    }
    // The stream keeps an error for its next reader. Without a listener it would drop one that comes before the first read.
    this.body.on('error', () => {});
  }

  get ok(): boolean {
    return this.status >= 200 && this.status < 300;
  }

  text(): Promise<string> {
    return text(this.body);
  }

  async json(): Promise<unknown> {
    return JSON.parse(await this.text());
  }
}

/** The body as the server meant it. Destroying the result closes the connection. */
function decoded(message: IncomingMessage): Readable {
  const encoding = message.headers['content-encoding']?.trim().toLowerCase() ?? '';
  const decoder = Object.hasOwn(DECODERS, encoding) ? DECODERS[encoding]!() : undefined;
  // The reader of the decoder receives the error of either stream.
  return decoder ? pipeline(message, decoder, () => {}) : message;
}

interface Outgoing {
  readonly url: URL;
  readonly method: string;
  readonly headers: Headers;
  readonly body: string | undefined;
}

/** A `fetch` for a URL and a text body, as the `openai` package sends them. Follows redirects. */
export const nodeFetch: typeof globalThis.fetch = async (
  input,
  { method = 'GET', headers, body, signal } = {},
) => {
  let outgoing: Outgoing = {
    url: new URL(input instanceof Request ? input.url : input),
    method,
    // The `openai` package creates new headers for each request, so no copy is needed.
    headers: headers instanceof Headers ? headers : new Headers(headers),
    body: body as string | undefined,
  };
  for (let redirects = 0; ; redirects += 1) {
    const response = await sendOnOpen(outgoing, signal ?? undefined);
    const next = redirected(outgoing, response);
    if (!next) return response as unknown as Response;
    // An unread body would keep its connection.
    response.body.resume();
    if (redirects === MAX_REDIRECTS) throw new Error(`Stopped after ${MAX_REDIRECTS} redirects.`);
    outgoing = next;
  }
};

/** An idle connection was closed by the server before it received the request. */
class IdleClosed extends Error {}

/** Sends a request as `send` does, and again on another connection if the server has closed the idle one. Servers do that at any time. */
async function sendOnOpen(outgoing: Outgoing, signal?: AbortSignal): Promise<NodeResponse> {
  for (let closed = 0; ; closed += 1) {
    try {
      return await send(outgoing, signal);
    } catch (error) {
      if (!(error instanceof IdleClosed)) throw error;
      if (closed === MAX_IDLE_CLOSED) throw error.cause;
    }
  }
}

/** Sends one request; resolves with the head of its response. Aborting `signal` closes the connection, also after that. */
function send({ url, method, headers, body }: Outgoing, signal?: AbortSignal): Promise<NodeResponse> {
  return new Promise((resolve, reject) => {
    const request = (url.protocol === 'https:' ? secureRequest : plainRequest)(
      url,
      // A compressed stream arrives in bursts.
      {
        method,
        headers: { 'accept-encoding': 'identity', ...Object.fromEntries(headers) },
        agent: agentFor(url.protocol),
      },
      (response) => resolve(new NodeResponse(url, response)),
    );
    // The option `signal` destroys the socket with an error. After a complete response that error has no listener and would end the
    // process.
    const stopListening = onAbort(signal, () => {
      reject(new DOMException('The request was aborted.', 'AbortError'));
      request.destroy();
    });
    request.once('close', stopListening);
    const sentAt = performance.now();
    request.on('error', (error) => {
      const isUnsent = wasIdleClosed(request, error, performance.now() - sentAt);
      reject(isUnsent ? new IdleClosed(error.message, { cause: error }) : error);
    });
    request.once('socket', (socket) => limitConnecting(socket, url));
    request.end(body);
  });
}

/** Gives up on a host that does not accept the connection. The system itself would wait for minutes. */
function limitConnecting(socket: Socket, url: URL): void {
  if (!socket.connecting) return;
  const onTimeout = (): void => {
    const error = new Error(`Connecting to ${url.host} timed out after ${timeText(CONNECT_TIMEOUT_MS)}.`);
    socket.destroy(Object.assign(error, { code: 'ETIMEDOUT' }));
  };
  socket.setTimeout(CONNECT_TIMEOUT_MS, onTimeout);
  socket.once(url.protocol === 'https:' ? 'secureConnect' : 'connect', () => {
    socket.off('timeout', onTimeout);
    socket.setTimeout(0);
  });
}

/**
 * Returns the request that follows a redirect, or undefined without one. By the rules of the Fetch standard, 307 and 308 repeat the
 * request, and another origin receives no credentials. Other redirects would turn a POST into a GET, which no model server answers, so
 * they are the answer.
 */
function redirected({ url, method, headers, body }: Outgoing, response: NodeResponse): Outgoing | undefined {
  const location = response.headers.get('location');
  if (location === null || ![301, 302, 303, 307, 308].includes(response.status)) return undefined;
  if (response.status < 307 && method === 'POST') return undefined;
  const target = new URL(location, url);
  if (!/^https?:$/.test(target.protocol)) throw new Error('A redirect leaves HTTP.');
  const next = new Headers(headers);
  if (target.origin !== url.origin) {
    for (const name of ['authorization', 'proxy-authorization', 'cookie', 'host']) next.delete(name);
  }
  return { url: target, method, headers: next, body };
}
