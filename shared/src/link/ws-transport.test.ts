// Real WebSockets on the loopback interface: the conformance suite of transports, errors of a dial, and a link on top.
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { sidOf } from '../sid.ts';
import { collect, errorOf, newLink, serve } from '../testing/attach.ts';
import { ScriptedSentinel } from '../testing/scripted-sentinel.ts';
import { transportConformance } from './transport.conformance.ts';
import type { Dial, Transport } from './transport.ts';
import { webDial } from './web-transport.ts';
import { wsDial } from './ws-transport.ts';

it('A5: a page is told that its origin may be missing in FAME_ALLOWED_ORIGINS', async () => {
  const server = createServer((socket: Socket) => socket.destroy()).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    expect((await errorOf(webDial(url, { timeoutMs: 5_000 }))).message).not.toContain('origin');
    vi.stubGlobal('location', { origin: 'http://localhost:5173' });
    const { message } = await errorOf(webDial(url, { timeoutMs: 5_000 }));
    expect(message).toContain(
      'FAME_ALLOWED_ORIGINS does not list the origin of this page, http://localhost:5173',
    );
  } finally {
    vi.unstubAllGlobals();
    server.close();
  }
});

interface TestServer {
  url: string;
  close(): Promise<void>;
}

/** A server on a free port; `accept` gets the far end, the path of the request and the subprotocols it offered. */
async function openServer(
  accept: (transport: Transport, request: IncomingMessage) => void,
): Promise<TestServer> {
  const server = new WebSocketServer({
    port: 0,
    host: '127.0.0.1',
    perMessageDeflate: false,
  });
  await once(server, 'listening');
  server.on('connection', (ws, request) => {
    accept(farEnd(ws), request);
  });
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      for (const client of server.clients) client.terminate();
      const closed = once(server, 'close');
      server.close();
      await closed;
    },
  };
}

function farEnd(ws: WebSocket): Transport {
  const transport: Transport = {
    send: (bytes) => {
      if (ws.readyState !== ws.OPEN) return false;
      ws.send(bytes);
      return true;
    },
    close: (code, reason) => ws.close(code, reason),
    terminate: () => ws.terminate(),
    get bufferedBytes() {
      return ws.bufferedAmount;
    },
    onMessage: undefined,
    onClose: undefined,
  };
  ws.on('message', (data: Buffer) => transport.onMessage?.(data));
  ws.on('close', (code, reason) => transport.onClose?.(code, reason.toString()));
  ws.on('error', () => {});
  return transport;
}

const dials: [string, Dial, number[]][] = [
  ['wsDial', wsDial, [1000, 1001, 4008]],
  ['webDial', webDial, [1000, 4008]],
];

let testServer: TestServer;
interface Accepted {
  transport: Transport;
  path: string | undefined;
  authorization: string | undefined;
  protocols: string[];
}
let accepted: Accepted[] = [];
beforeAll(async () => {
  testServer = await openServer((transport, { url, headers }) => {
    const protocols = (headers['sec-websocket-protocol'] ?? '').split(/,\s*/).filter(Boolean);
    accepted.push({ transport, path: url, authorization: headers.authorization, protocols });
  });
});
afterEach(() => {
  accepted = [];
});
afterAll(() => testServer.close());

for (const [name, dial, codes] of dials) {
  const open = async () => {
    const near = await dial(testServer.url, { timeoutMs: 5_000 });
    await vi.waitFor(() => expect(accepted).toHaveLength(1));
    return { near, far: accepted[0]!.transport };
  };
  transportConformance(name, open, codes);

  describe(name, () => {
    it(`sends the token ${dial === wsDial ? 'as a header' : 'as a subprotocol'}, never in the URL, and nothing without one`, async () => {
      const withToken = await dial(`${testServer.url}/a/b`, { timeoutMs: 5_000, token: 'jwt' });
      const without = await dial(`${testServer.url}/c`, { timeoutMs: 5_000 });
      await vi.waitFor(() => expect(accepted).toHaveLength(2));
      expect(accepted.map(({ path, authorization, protocols }) => [path, authorization, protocols])).toEqual([
        dial === wsDial ? ['/a/b', 'Bearer jwt', []] : ['/a/b', undefined, ['bearer', 'jwt']],
        ['/c', undefined, []],
      ]);
      withToken.close();
      without.close();
    });

    it('repeats no token in an error', async () => {
      for (const token of [
        'canary token',
        'canary\u00e9',
        'canary\n',
        ...(dial === webDial ? ['canary"'] : []),
      ]) {
        const error = await errorOf(dial(testServer.url, { timeoutMs: 5_000, token }));
        expect(`${error.message} ${String(error.cause)}`).not.toContain('canary');
        expect(error).toMatchObject({ code: 'LINK_REFUSED' });
      }
    });

    it('receives text messages as bytes', async () => {
      const { near, far } = await open();
      const received: Uint8Array[] = [];
      near.onMessage = (bytes) => received.push(bytes);
      far.send('text' as unknown as Uint8Array);
      await vi.waitFor(() => expect(received).toHaveLength(1));
      expect(new TextDecoder().decode(received[0])).toBe('text');
      near.close();
    });

    it('rejects with LINK_TIMEOUT when the port is closed', async () => {
      const gone = await openServer(() => {});
      await gone.close();
      const error = await errorOf(dial(gone.url, { timeoutMs: 5_000 }));
      expect(error).toMatchObject({ code: 'LINK_TIMEOUT' });
      if (dial === wsDial) expect(error.message).toContain('ECONNREFUSED');
    });

    it('rejects with LINK_REFUSED when the URL is invalid', async () => {
      expect(await errorOf(dial('not a url', { timeoutMs: 100 }))).toMatchObject({ code: 'LINK_REFUSED' });
    });

    it('rejects when it is aborted, before or during the attempt', async () => {
      const before = dial(testServer.url, { timeoutMs: 5_000, signal: AbortSignal.abort() });
      expect(await errorOf(before)).toMatchObject({ code: 'LINK_CLOSED' });
      const abort = new AbortController();
      const meanwhile = errorOf(dial(testServer.url, { timeoutMs: 5_000, signal: abort.signal }));
      abort.abort();
      expect(await meanwhile).toMatchObject({ code: 'LINK_CLOSED' });
    });
  });
}

describe('a server that does not speak WebSocket', () => {
  let server: Server;
  const sockets = new Set<Socket>();
  let answer = '';
  beforeAll(async () => {
    server = createServer((socket) => {
      sockets.add(socket);
      socket.on('data', () => answer && socket.end(answer));
      socket.on('error', () => {});
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });
  afterAll(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const url = () => `ws://127.0.0.1:${(server.address() as { port: number }).port}/x`;

  it.each([
    [401, 'LINK_REFUSED'],
    [404, 'LINK_REFUSED'],
    [429, 'LINK_TIMEOUT'],
    [503, 'LINK_TIMEOUT'],
  ])('and answers HTTP %i: wsDial rejects with %s', async (status, code) => {
    answer = `HTTP/1.1 ${status} Some Reason\r\nContent-Length: 0\r\n\r\n`;
    const error = await errorOf(wsDial(url(), { timeoutMs: 5_000 }));
    expect(error).toMatchObject({ code, details: { status } });
    expect(error.message).toContain(`HTTP ${status} Some Reason`);
  });

  it.each(dials)('and never answers: %s rejects with LINK_TIMEOUT on time', async (_name, dial) => {
    answer = '';
    expect(await errorOf(dial(url(), { timeoutMs: 50 }))).toMatchObject({ code: 'LINK_TIMEOUT' });
  });
});

describe('a message above 1 MiB', () => {
  it('closes the connection and has no other effect', async () => {
    const near = await wsDial(testServer.url, { timeoutMs: 5_000 });
    await vi.waitFor(() => expect(accepted).toHaveLength(1));
    const closed = vi.fn();
    near.onClose = closed;
    accepted[0]!.transport.send(new Uint8Array(1_048_577));
    await vi.waitFor(() => expect(closed).toHaveBeenCalledOnce());
  });
});

describe.each(dials)('a link over %s', (_name, dial) => {
  it('calls, streams, loses its connection and reconnects', async () => {
    const sentinel = new ScriptedSentinel();
    const server = await openServer((transport, { url }) => sentinel.accept(transport, url));
    try {
      const options = { url: `${server.url}/fame/v1/attach/ws/downstream`, dial, sidOf, backoffMinMs: 5 };
      const [agent, client] = [newLink(sentinel, options), newLink(sentinel, options)];
      await Promise.all([agent.connect(), client.connect()]);
      expect(sentinel.nodes.map(({ url }) => url).sort()).toEqual(
        [agent, client].map(({ systemId }) => `/fame/v1/attach/ws/downstream/${systemId}`).sort(),
      );
      await agent.bind(
        'a@fame.fabric',
        serve(async (call) => {
          if (!call.isStream) return call.reply(call.params);
          for (let at = 0; at < 1_000; at++) await call.push(at);
          call.end();
        }),
      );
      const results = Array.from({ length: 200 }, (_, n) =>
        client.call('a@fame.fabric', 'echo', { n, text: 'é€😀' }),
      );
      expect(await Promise.all(results)).toEqual(
        Array.from({ length: 200 }, (_, n) => ({ n, text: 'é€😀' })),
      );
      expect(await collect(client.stream('a@fame.fabric', 's'))).toHaveLength(1_000);
      const states: string[] = [];
      agent.onState((state) => states.push(state));
      for (const { transport } of [...sentinel.nodes]) transport.terminate();
      await vi.waitFor(() => expect(states).toEqual(['reconnecting', 'attached']));
      await vi.waitFor(() => expect(sentinel.bound.has('a@fame.fabric')).toBe(true), { timeout: 5_000 });
      expect(await client.call('a@fame.fabric', 'echo', 'again')).toBe('again');
      await Promise.all([agent.close(), client.close()]);
    } finally {
      await server.close();
    }
  });
});
