// The MCP server for tests over streamable HTTP, in the process of the test.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { createMcpHandler } from '@modelcontextprotocol/server';
import { makeTestServer, type TestServerOptions } from './test-server.ts';

export interface HttpTestServer {
  readonly url: string;
  /** The headers of each request. */
  readonly seen: readonly IncomingMessage['headers'][];
  close(): Promise<void>;
}

export interface HttpTestServerOptions extends TestServerOptions {
  /** True for a server that knows only the earlier protocol. @default false */
  readonly isLegacy?: boolean | undefined;
  /** Answers a request itself; returns false to leave it to the server. */
  readonly intercept?: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;
}

export async function startHttpTestServer(options: HttpTestServerOptions = {}): Promise<HttpTestServer> {
  const handler = createMcpHandler(() => makeTestServer(options));
  const seen: IncomingMessage['headers'][] = [];
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    seen.push(request.headers);
    if (options.intercept?.(request, response)) return;
    const body = request.method === 'POST' ? (await buffer(request)).toString('utf8') : undefined;
    if (options.isLegacy && body?.includes('server/discover')) {
      response.writeHead(400).end();
      return;
    }
    const gone = new AbortController();
    response.once('close', () => gone.abort());
    const {
      status,
      headers,
      body: out,
    } = await handler.fetch(
      new Request(`http://127.0.0.1${request.url}`, {
        method: request.method ?? 'GET',
        headers: request.headers as Record<string, string>,
        signal: gone.signal,
        ...(body === undefined ? {} : { body }),
      }),
    );
    response.writeHead(status, Object.fromEntries(headers));
    if (!out) response.end();
    // A client that leaves the stream cancels its call.
    else await pipeline(Readable.fromWeb(out as ReadableStream), response).catch(() => {});
  };
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/mcp`,
    seen,
    async close() {
      await handler.close();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
