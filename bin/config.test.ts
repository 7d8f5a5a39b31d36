import { FabricError } from '@fame-fabric/shared';
import { expect, test } from 'vitest';
import { CLIENT_VARIABLES, readClientConfig } from './config.ts';

test('an empty environment gives the listed defaults', () => {
  const config = readClientConfig({});
  expect(config.url).toBe('ws://127.0.0.1:8000/fame/v1/attach/ws/downstream');
  expect(config.httpUrl).toBe('http://127.0.0.1:8000');
  expect(config).toMatchObject({
    connectTimeoutMs: 30_000,
    turnTimeoutMs: 600_000,
    showEnvelopes: 'off',
    chatAddress: 'chat@fame.fabric',
    dataDir: '.fame',
    systemPrompt: undefined,
    token: { token: undefined, tokenFile: undefined, dataDir: undefined },
    hasColours: true,
  });
  expect(Object.isFrozen(config)).toBe(true);
});

test('empty strings count as unset', () => {
  const empty = Object.fromEntries(CLIENT_VARIABLES.map(({ name }) => [name, ' ']));
  expect(readClientConfig(empty)).toEqual(readClientConfig({}));
});

test('every fault is reported at once, with the name of its variable', () => {
  const env = {
    FAME_DIRECT_ADMISSION_URL: 'http://x',
    FAME_LISTENER_PORT: '99999',
    FAME_CONNECT_TIMEOUT_MS: '-1',
    FAME_TURN_TIMEOUT_MS: '1.5',
    FAME_SHOW_ENVELOPES: 'perhaps',
    FAME_CHAT_ADDRESS: 'no address',
  };
  const error = faultOf(() => readClientConfig(env));
  expect(error.code).toBe('CONFIG_INVALID');
  for (const name of Object.keys(env)) expect(error.message).toContain(name);
});

test('the local port and host determine the URL, unless one is set', () => {
  expect(readClientConfig({ FAME_LISTENER_PORT: '8123' }).url).toContain('ws://127.0.0.1:8123/');
  expect(readClientConfig({ FAME_LISTENER_HOST: '0.0.0.0' }).local.httpUrl).toBe('http://127.0.0.1:8000');
  expect(readClientConfig({ FAME_LISTENER_HOST: '::1' }).url).toContain('ws://[::1]:8000/');
  const config = readClientConfig({
    FAME_DIRECT_ADMISSION_URL: 'wss://fabric.example/fame/v1/attach/ws/downstream',
  });
  expect(config.httpUrl).toBe('https://fabric.example');
  expect(config.local.port).toBe(8000);
});

test.each([
  ['true', 'metadata'],
  ['TRUE', 'metadata'],
  ['full', 'full'],
  ['0', 'off'],
])('FAME_SHOW_ENVELOPES=%s means %s', (value, mode) => {
  expect(readClientConfig({ FAME_SHOW_ENVELOPES: value }).showEnvelopes).toBe(mode);
});

test('NO_COLOR and a dumb terminal switch colours off', () => {
  expect(readClientConfig({ NO_COLOR: '1' }).hasColours).toBe(false);
  expect(readClientConfig({ TERM: 'dumb' }).hasColours).toBe(false);
});

test('NF0: a security profile that is not built is refused', () => {
  const error = faultOf(() => readClientConfig({ FAME_SECURITY_PROFILE: 'strict-overlay' }));
  expect(error.code).toBe('CONFIG_INVALID');
  expect(error.message).toContain(
    'FAME_SECURITY_PROFILE is "strict-overlay"; expected open, none, noop, gated, overlay, or unset.',
  );
});

function faultOf(work: () => unknown): FabricError {
  try {
    work();
  } catch (error) {
    if (error instanceof FabricError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}
