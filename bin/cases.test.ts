// Cases that people reported of model servers and proxies, by their ids, as far as they concern commands. The link has more of
// them: c99 is `test/promises/x4-clock-steps.test.ts`.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, request as httpRequest, type Server } from 'node:http';
import { type AddressInfo, connect as connectTcp, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readAgentConfig } from '@fame-fabric/agents/process';
import { connect } from '@fame-fabric/client/node';
import { type RunningSentinel, readSentinelConfig, startSentinel } from '@fame-fabric/sentinel';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { attach } from './attach.ts';
import { readClientConfig, sentinelOf } from './config.ts';
import { probeModel } from './model-probe.ts';
import { getNodes, isReady } from './sentinel-http.ts';

const servers: Server[] = [];
const portOf = async (server: Server): Promise<number> => {
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  return (server.address() as AddressInfo).port;
};

/** A reverse proxy that serves the port `to` below `prefix`, WebSockets too, and sends its own Host. */
function prefixProxy(prefix: string, to: number, host = `127.0.0.1:${to}`): Server {
  const server = createServer((request, response) => {
    if (!request.url?.startsWith(`${prefix}/`)) {
      response.writeHead(404).end();
      return;
    }
    const { method, headers } = request;
    const path = request.url.slice(prefix.length);
    const up = httpRequest(
      { port: to, host: '127.0.0.1', path, method, headers: { ...headers, host } },
      (answer) => {
        response.writeHead(answer.statusCode!, answer.headers);
        answer.pipe(response);
      },
    );
    request.pipe(up);
  });
  server.on('upgrade', (request, socket, head) => {
    const lines = Object.entries({ ...request.headers, host }).map(([name, value]) => `${name}: ${value}`);
    const up = connectTcp(to, '127.0.0.1', () => {
      up.write(`GET ${request.url!.slice(prefix.length)} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`);
      up.write(head);
      socket.pipe(up);
      up.pipe(socket);
    });
    for (const end of [up, socket]) end.on('error', () => end.destroy());
  });
  return server;
}

const dataDir = mkdtempSync(join(tmpdir(), 'fame-cases-'));
let sentinel: RunningSentinel;
beforeAll(async () => {
  sentinel = await startSentinel({ ...readSentinelConfig({ FAME_DATA_DIR: dataDir }), port: 0 });
});
afterAll(async () => {
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  await sentinel.close();
  rmSync(dataDir, { recursive: true, force: true });
});

const configAt = (base: string) =>
  readClientConfig({
    FAME_DIRECT_ADMISSION_URL: `ws://${base}/fame/v1/attach/ws/downstream`,
    FAME_DATA_DIR: dataDir,
  });

describe('a sentinel behind a proxy', () => {
  test('c80, c81: below a base path, nodes attach, and ps and doctor find the HTTP side', async () => {
    const config = configAt(`127.0.0.1:${await portOf(prefixProxy('/fabric', sentinel.port))}/fabric`);
    await using client = await connect({ url: config.url });
    expect(client.state).toBe('attached');
    expect(await isReady(config.httpUrl)).toBe(true);
    const { nodes } = await getNodes(sentinelOf(config));
    expect(nodes).toHaveLength(1);
  });

  test('O4: a Host that is not allowed is reported in the words of the sentinel, for HTTP and for nodes', async () => {
    const port = await portOf(prefixProxy('', sentinel.port, 'fabric.example.org'));
    const config = configAt(`127.0.0.1:${port}`);
    const message = expect.stringMatching(
      /"fabric\.example\.org" is not allowed: add it to FAME_ALLOWED_HOSTS/,
    );
    await expect(getNodes(sentinelOf(config))).rejects.toMatchObject({ code: 'LINK_REFUSED', message });
    await expect(connect({ url: config.url })).rejects.toMatchObject({ code: 'LINK_REFUSED', message });
  });

  test('O5: wss:// to a port without TLS is reported at once, and retries nothing', async () => {
    const url = sentinel.url.replace('ws:', 'wss:');
    const message = expect.stringContaining('does not speak TLS');
    await expect(connect({ url, connectTimeoutMs: 60_000 })).rejects.toMatchObject({
      code: 'LINK_REFUSED',
      message,
    });
    const config = readClientConfig({ FAME_DIRECT_ADMISSION_URL: url });
    await expect(getNodes(sentinelOf(config))).rejects.toMatchObject({ code: 'LINK_REFUSED', message });
  });
});

describe('a model server, as doctor sees it', () => {
  const probe = (env: Record<string, string>) => probeModel(readAgentConfig(env).model);
  /** A server that lists the model `m` at `path` for requests with this Authorization. */
  const modelServer = (path: string, authorization?: string) =>
    portOf(
      createServer((request, response) => {
        const isAllowed = authorization === undefined || request.headers.authorization === authorization;
        const status = request.url !== path ? 404 : isAllowed ? 200 : 401;
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(status === 200 ? '{"data":[{"id":"m"}]}' : '{}');
      }),
    );

  test('c83: with credentials in OPENAI_BASE_URL, and with a query', async () => {
    const basic = `Basic ${Buffer.from('ada:secret').toString('base64')}`;
    const port = await modelServer('/v1/models?api-version=1', basic);
    const url = `http://ada:secret@127.0.0.1:${port}/v1?api-version=1`;
    expect(await probe({ OPENAI_BASE_URL: url, MODEL_NAME: 'm' })).toMatchObject({ ok: true });
  });

  test('c96: a key and a model in quotes, which docker --env-file keeps', async () => {
    const port = await modelServer('/v1/models', 'Bearer sk-abc123');
    const env = {
      OPENAI_API_KEY: '"sk-abc123"',
      MODEL_NAME: "'m'",
      OPENAI_BASE_URL: `"http://127.0.0.1:${port}/v1"`,
    };
    expect(await probe(env)).toMatchObject({ ok: true, found: expect.stringContaining('offers m') });
  });

  test('a base URL without /v1 is corrected', async () => {
    const port = await modelServer('/v1/models');
    expect(await probe({ OPENAI_BASE_URL: `http://127.0.0.1:${port}/`, MODEL_NAME: 'm' })).toMatchObject({
      ok: false,
      fix: `Set OPENAI_BASE_URL=http://127.0.0.1:${port}/v1`,
    });
  });

  test('a base URL that is the URL of the sentinel is recognized, by agents too', async () => {
    const base = `http://127.0.0.1:${sentinel.port}/v1`;
    expect(await probe({ OPENAI_BASE_URL: base })).toMatchObject({
      ok: false,
      found: expect.stringContaining('is the URL of a Fame sentinel'),
    });
    const answer = await fetch(`${base}/chat/completions`, { method: 'POST', body: '{}' });
    expect(JSON.stringify(await answer.json())).toContain('not a model server. Check OPENAI_BASE_URL');
  });
});

test('the error names a server that does not answer in HTTP', async () => {
  const server = createTcpServer((socket) =>
    socket.once('data', () => socket.end('garbage\r\n\r\n')).on('error', () => {}),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    const { port } = server.address() as AddressInfo;
    const config = readClientConfig({ FAME_LISTENER_PORT: String(port) });
    await expect(getNodes(sentinelOf(config))).rejects.toMatchObject({
      code: 'LINK_REFUSED',
      message: expect.stringContaining(`127.0.0.1:${port} is not a Fame Fabric sentinel`),
    });
    const attaching = attach({ config, writeNote() {}, onConnection() {} });
    await expect(attaching).rejects.toMatchObject({
      code: 'LINK_REFUSED',
      message: expect.stringMatching(
        new RegExp(
          `^The server at ws://127\\.0\\.0\\.1:${port}/\\S*/downstream is not a sentinel: its answer is not HTTP`,
        ),
      ),
    });
  } finally {
    server.close();
  }
});

describe('the pages for browsers', () => {
  test('O8: the page at / needs no key, loads nothing, runs no script and names nothing of the fabric', async () => {
    await using client = await connect({ url: sentinel.url, systemId: 'a-secret-node' });
    expect(client.state).toBe('attached');
    const page = await fetch(`http://127.0.0.1:${sentinel.port}/`);
    expect(page.status).toBe(200);
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(page.headers.get('content-security-policy')).toMatch(
      /^default-src 'none'; style-src 'sha256-[^']+'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'$/,
    );
    const html = await page.text();
    expect(html).toContain('npx fame-fabric chat');
    expect(html).not.toMatch(/<script|a-secret-node/);
    expect(html).not.toContain(sentinel.id);
    for (const [, link] of html.matchAll(/href="([^"]+)"/g)) {
      expect((await fetch(new URL(link!, page.url))).status).toBe(200);
    }
  });

  test('O12: /version is the version', async () => {
    const answer = await fetch(`http://127.0.0.1:${sentinel.port}/version`);
    expect(await answer.json()).toEqual({
      name: 'fame-fabric',
      version: expect.stringMatching(/^\d+\.\d+\.\d+/),
    });
  });
});
