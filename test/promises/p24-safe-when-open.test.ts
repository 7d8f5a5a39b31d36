// P24: without configuration no other machine can reach the sentinel; opening it takes an explicit setting.
import { request } from 'node:http';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { beforeAll, describe, expect, test } from 'vitest';
import { fameArgs, freePort, startNode } from '../kit/processes.ts';
import { RawNode } from '../kit/raw-node.ts';
import { fetchWithKey, type OurSentinel, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';

/** An address of this machine that other machines could use. */
const outside = Object.values(networkInterfaces())
  .flat()
  .find((one) => one && !one.internal && one.family === 'IPv4')?.address;

const connects = (host: string, port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 2_000 });
    const end = (open: boolean): void => {
      socket.destroy();
      resolve(open);
    };
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
    socket.once('timeout', () => end(false));
  });

test.skipIf(outside === undefined)('P24: by default only loopback is reachable', async () => {
  const { port, proc } = await startOurSentinel();
  expect(await connects('127.0.0.1', port)).toBe(true);
  expect(await connects(outside!, port)).toBe(false);
  await proc.kill();
});

test.each(['0.0.0.0', '::', ...(outside === undefined ? [] : [outside])])(
  'P24: a sentinel does not start on %s without confirmation, and names the setting',
  async (host) => {
    const proc = startNode(fameArgs('sentinel'), {
      env: { FAME_LISTENER_HOST: host, FAME_LISTENER_PORT: '0', FAME_DATA_DIR: temporaryDirectory() },
    });
    expect((await proc.exited).code).toBe(2);
    expect(proc.output).toContain('FAME_OPEN_ON_ALL_INTERFACES');
  },
);

test.skipIf(outside === undefined)('P24: FAME_OPEN_ON_ALL_INTERFACES=true opens all of them', async () => {
  const { port, proc } = await startOurSentinel({
    port: await freePort(),
    env: { FAME_LISTENER_HOST: '0.0.0.0', FAME_OPEN_ON_ALL_INTERFACES: 'true' },
  });
  expect(await connects(outside!, port)).toBe(true);
  await proc.kill();
});

describe('P22: a page in a browser', () => {
  let sentinel: OurSentinel;
  beforeAll(async () => {
    sentinel = await startOurSentinel();
  });

  test.each([
    ['a foreign Origin', { origin: 'https://example.com' }],
    ['the Origin null', { origin: 'null' }],
    [
      'a foreign Origin that claims our Host',
      { origin: 'http://example.com:1', headers: { host: 'example.com:1' } },
    ],
  ])('%s cannot open a WebSocket: 403', async (_what, ws) => {
    await expect(RawNode.open(sentinel.url, { ws })).rejects.toThrow(/403/);
  });

  test('the Host of another site cannot read the tables: 403', async () => {
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const options = {
        host: '127.0.0.1',
        port: sentinel.port,
        path: '/fame/v1/nodes',
        headers: { host: 'evil.example' },
      };
      request(options, (answer) => {
        answer.resume();
        resolve(answer.statusCode);
      })
        .on('error', reject)
        .end();
    });
    expect(status).toBe(403);
    expect((await fetchWithKey(sentinel, '/fame/v1/nodes')).status).toBe(200);
  });
});
