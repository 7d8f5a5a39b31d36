// The client library of MCP, unmodified, on a door without a port.
import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { Client, type ClientOptions, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import type { DoorKit } from '../../testing.ts';

/** The two eras of the protocol. */
export const ERAS = ['2026-07-28', '2025-11-25'] as const;
type Era = (typeof ERAS)[number];

export interface McpClientOptions {
  readonly era: Era;
  /** Name of the key `fk_NAME`. @default none */
  readonly as?: string | undefined;
  readonly capabilities?: ClientOptions['capabilities'];
}

/** A client and its transport. Close it at the end of the test. */
export interface McpClient extends AsyncDisposable {
  readonly client: Client;
  readonly transport: StreamableHTTPClientTransport;
  /** Breaks all open responses. */
  breakConnections(): void;
}

export async function mcpClient(
  kit: Pick<DoorKit, 'inject'>,
  { era, as, capabilities = {} }: McpClientOptions,
): Promise<McpClient> {
  const client = new Client(
    { name: 'test', version: '1.0.0' },
    { capabilities, versionNegotiation: { mode: era === '2025-11-25' ? 'legacy' : { pin: era } } },
  );
  const open = new Set<ServerResponse>();
  const transport = new StreamableHTTPClientTransport(new URL('http://localhost/mcp'), {
    fetch: fetchOf(kit, open),
    ...(as === undefined ? {} : { requestInit: { headers: { authorization: `Bearer fk_${as}` } } }),
  });
  return {
    client,
    transport,
    breakConnections() {
      for (const response of open) response.destroy();
    },
    [Symbol.asyncDispose]: () => client.close(),
  };
}

/** A `fetch` over `inject`. It resolves with the headers; a later abort breaks the response. */
const fetchOf =
  ({ inject }: Pick<DoorKit, 'inject'>, open: Set<ServerResponse>) =>
  async (
    url: string | URL,
    { method = 'GET', headers, body, signal }: RequestInit = {},
  ): Promise<Response> => {
    const response = await inject({
      method: method as 'GET',
      url: new URL(url).pathname,
      headers: Object.fromEntries(new Headers(headers)),
      ...(typeof body === 'string' ? { payload: body } : {}),
      payloadAsStream: true,
    });
    const { res } = response.raw;
    open.add(res);
    res.on('close', () => open.delete(res));
    signal?.addEventListener('abort', () => res.destroy(), { once: true });
    const hasBody = ![202, 204, 304].includes(response.statusCode);
    return new Response(hasBody ? (Readable.toWeb(response.stream()) as ReadableStream) : null, {
      status: response.statusCode,
      headers: response.headers as Record<string, string>,
    });
  };
