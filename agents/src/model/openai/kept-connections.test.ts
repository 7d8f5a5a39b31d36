import http, { createServer, type RequestListener, type Server } from 'node:http';
import https from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { agentFor } from './kept-connections.ts';
import { nodeFetch } from './node-fetch.ts';

const servers: Server[] = [];
async function serve(listener: RequestListener, keepAliveTimeout = 600_000): Promise<string> {
  const server = createServer({ keepAliveTimeout }, listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
afterEach(() => {
  vi.restoreAllMocks();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

const post = async (url: string): Promise<string> =>
  (await nodeFetch(url, { method: 'POST', body: '{}' })).text();
const idleSocketsOf = (url: string): readonly Socket[] =>
  agentFor('http:').freeSockets[`${new URL(url).host}:`] ?? [];

describe('connections to model servers', () => {
  it('stay open for a minute, or for the shorter time that the server announces', async () => {
    const patient = await serve((_, response) => response.end('ok'));
    const hasty = await serve((_, response) => response.end('ok'), 10_000);
    await post(patient);
    await post(hasty);
    expect(idleSocketsOf(patient).map(({ timeout }) => timeout)).toEqual([60_000]);
    expect(idleSocketsOf(hasty).map(({ timeout }) => timeout)).toEqual([9_000]);
  });

  it('repeat a request at once when the server has closed the idle connection', async () => {
    const seen = new Set<Socket>();
    let resets = 0;
    const url = await serve(({ socket }, response) => {
      if (seen.has(socket)) {
        resets += 1;
        socket.resetAndDestroy();
        return;
      }
      seen.add(socket);
      response.end('ok');
    });
    await post(url);
    await expect(post(url)).resolves.toBe('ok');
    expect([seen.size, resets]).toEqual([2, 1]);
  });

  it('do not repeat a request that a new connection lost', async () => {
    let requests = 0;
    const url = await serve(({ socket }) => {
      requests += 1;
      socket.resetAndDestroy();
    });
    await expect(post(url)).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect(requests).toBe(1);
  });

  it('do not repeat a request that the server had for a second', async () => {
    let requests = 0;
    const url = await serve(({ socket }, response) => {
      requests += 1;
      if (requests === 1) {
        response.end('ok');
        return;
      }
      const now = performance.now();
      vi.spyOn(performance, 'now').mockReturnValue(now + 1_000);
      socket.resetAndDestroy();
    });
    await post(url);
    await expect(post(url)).rejects.toMatchObject({ code: 'ECONNRESET' });
    expect(requests).toBe(2);
  });

  it('have the options of the global agents, or are those of an agent that replaced them', () => {
    expect(agentFor('http:')).toMatchObject({ maxFreeSockets: 1_024, keepAlive: true });
    expect(agentFor('https:')).toBeInstanceOf(https.Agent);
    const { globalAgent } = http;
    class OwnAgent extends http.Agent {}
    const own = new OwnAgent();
    try {
      http.globalAgent = own;
      expect(agentFor('http:')).toBe(own);
    } finally {
      http.globalAgent = globalAgent;
    }
  });
});
