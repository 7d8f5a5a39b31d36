import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decode, type Envelope, FabricError, memoryDial, type NodeAttach } from '@fame-fabric/shared';
import { CaptureLog } from '@fame-fabric/shared/testing';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { connect, type NodeConnectOptions } from './node.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'fame-connect-'));
  for (const name of ['FAME_DIRECT_ADMISSION_URL', 'FAME_ADMISSION_TOKEN', 'FAME_ADMISSION_TOKEN_FILE'])
    vi.stubEnv(name, undefined);
  vi.stubEnv('FAME_DATA_DIR', directory);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(directory, { recursive: true });
});

/** Returns the host of the URL that `connect` dials, and the token that it sends. */
async function dialed(options: { url?: string } = {}): Promise<[string, string | undefined]> {
  let seen: [string, string | undefined] | undefined;
  const attempt = connect({
    ...options,
    dial: async (url, { token }) => {
      seen = [new URL(url).host, token];
      throw new FabricError('LINK_REFUSED', 'no');
    },
  });
  await expect(attempt).rejects.toMatchObject({ code: 'LINK_REFUSED' });
  return seen!;
}

test('without a URL, connects to the sentinel of the environment, with the local key', async () => {
  vi.stubEnv('FAME_LISTENER_PORT', '8017');
  writeFileSync(join(directory, 'token'), 'the-local-key', { mode: 0o600 });
  expect(await dialed()).toEqual(['127.0.0.1:8017', 'the-local-key']);
  vi.stubEnv('FAME_DIRECT_ADMISSION_URL', 'wss://fabric.example.org/fame/v1/attach/ws/downstream');
  expect(await dialed()).toEqual(['fabric.example.org', undefined]);
  vi.stubEnv('FAME_ADMISSION_TOKEN', 'of-the-environment');
  expect(await dialed()).toEqual(['fabric.example.org', 'of-the-environment']);
  expect(await dialed({ url: 'ws://127.0.0.1:8018/downstream' })).toEqual(['127.0.0.1:8018', undefined]);
});

test('a local key that the sentinel refuses is left out, with a warning', async () => {
  const file = join(directory, 'token');
  writeFileSync(file, 'the-local-key', { mode: 0o600 });
  const log = new CaptureLog();
  const sent: (string | undefined)[] = [];
  const attempt = connect({
    log,
    dial: async (_url, { token }) => {
      sent.push(token);
      throw new FabricError('AUTH_INVALID', 'no');
    },
  });
  await expect(attempt).rejects.toMatchObject({ code: 'AUTH_INVALID' });
  expect(sent).toEqual(['the-local-key', undefined]);
  expect(log.messages('warn')).toEqual([
    `The key in ${file} is not that of this sentinel; attaching without a key`,
  ]);
});

test('a fault of the environment is reported with its variable', async () => {
  vi.stubEnv('FAME_LISTENER_PORT', 'many');
  await expect(connect()).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringContaining('FAME_LISTENER_PORT is "many"'),
  });
});

test('NF0: a security profile that is not built is refused', async () => {
  vi.stubEnv('FAME_SECURITY_PROFILE', 'strict-overlay');
  await expect(connect()).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringContaining(
      'FAME_SECURITY_PROFILE is "strict-overlay"; expected open, none, noop, gated, overlay, or unset.',
    ),
  });
});

test('the profile overlay of the options or of the environment signs', async () => {
  const keysOf = async (options: NodeConnectOptions): Promise<unknown> => {
    let attach: Envelope | undefined;
    const dial = memoryDial((transport) => {
      transport.onMessage = (bytes) => {
        attach = decode(bytes);
        transport.close(1008, 'seen');
      };
    });
    await connect({ dial, connectTimeoutMs: 1_000, ...options }).catch(() => {});
    return (attach!.frame as NodeAttach).keys;
  };
  const url = 'ws://127.0.0.1:1/downstream';
  const signed = [expect.objectContaining({ crv: 'Ed25519' })];
  expect(await keysOf({ url })).toBeUndefined();
  expect(await keysOf({ url, securityProfile: 'overlay' })).toEqual(signed);
  vi.stubEnv('FAME_SECURITY_PROFILE', 'Overlay');
  expect(await keysOf({ url })).toBeUndefined();
  expect(await keysOf({})).toEqual(signed);
  expect(await keysOf({ securityProfile: 'open' })).toBeUndefined();
});
