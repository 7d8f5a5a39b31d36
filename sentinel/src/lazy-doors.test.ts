// The doors of a sentinel load with the first request that they claim.
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { PassThrough } from 'node:stream';
import { settle } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import { Access } from './access/access.ts';
// Loaded here, so that its import at the first request resolves at once.
import './door-host.ts';
import { LazyDoors } from './lazy-doors.ts';
import { makeTestParts } from './testing/sentinel-parts.ts';

function withDoors(open: () => Promise<unknown> = async () => undefined) {
  const access = new Access({ sources: [] });
  const seen: string[] = [];
  let opened = 0;
  const lazy = new LazyDoors(
    {
      ...makeTestParts({ access }),
      access,
      overlay: undefined,
      http: (_server, { url }) => void seen.push(`http ${url}`),
      doors: {
        claims: (path) => path === '/agents',
        async open() {
          opened++;
          await open();
          return {
            handle: ({ url }) => void seen.push(`door ${url}`),
            upgrade: ({ url }) => void seen.push(`upgrade ${url}`),
            close: async () => void seen.push('closed'),
          };
        },
      },
    },
    { host: '127.0.0.1', allowedOrigins: [], allowedHosts: [] },
  );
  const request = async (url: string): Promise<number | undefined> => {
    let status: number | undefined;
    const response = {
      writeHead: (code: number) => {
        status = code;
        return { end() {} };
      },
    };
    lazy.onRequest({} as Server, { url } as IncomingMessage, response as unknown as ServerResponse);
    await settle();
    return status;
  };
  const upgrade = async (url: string): Promise<{ isTaken: boolean; socket: PassThrough }> => {
    const socket = new PassThrough();
    const isTaken = lazy.onUpgrade({ url } as IncomingMessage, socket, Buffer.alloc(0));
    // A client that disconnects at once does not end the process.
    socket.emit('error', new Error('reset'));
    await settle();
    return { isTaken, socket };
  };
  return { lazy, seen, request, upgrade, opened: () => opened };
}

test('other requests load no doors', async () => {
  const { request, seen, opened, lazy } = withDoors();
  await request('/healthz');
  await request('/agent');
  expect([seen, opened()]).toEqual([['http /healthz', 'http /agent'], 0]);
  await lazy.close();
  expect(seen).not.toContain('closed');
});

test('the doors load once, and decide by the path without the query', async () => {
  const { request, seen, opened, lazy } = withDoors();
  await Promise.all([request('/agents?x=1'), request('/agents')]);
  expect([seen, opened()]).toEqual([['door /agents?x=1', 'door /agents'], 1]);
  await lazy.close();
  expect(seen).toContain('closed');
  expect(await request('/agents')).toBe(503);
});

test('an upgrade to a path of the doors is theirs', async () => {
  const { upgrade, seen, lazy } = withDoors();
  expect((await upgrade('/agents?x=1')).isTaken).toBe(true);
  expect(seen).toEqual(['upgrade /agents?x=1']);
  expect(lazy.onUpgrade({ url: '/other' } as IncomingMessage, new PassThrough(), Buffer.alloc(0))).toBe(
    false,
  );
  await lazy.close();
  const { isTaken, socket } = await upgrade('/agents');
  expect(isTaken).toBe(true);
  expect(String(socket.read())).toContain('503');
});

test('doors that cannot be loaded are tried again with the next request', async () => {
  let isBroken = true;
  const { request, seen } = withDoors(async () => {
    if (isBroken) throw new Error('no module');
  });
  expect(await request('/agents')).toBe(503);
  isBroken = false;
  expect(await request('/agents')).toBeUndefined();
  expect(seen).toEqual(['door /agents']);
});
