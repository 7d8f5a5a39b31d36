import { expect, test } from 'vitest';
import { isLoopback, originFault, requestFault, settingForPage, upgradeFault } from './origin.ts';

const options = {
  allowedOrigins: ['https://app.example', 'http://localhost:5173', 'chrome-extension://known'],
  allowedHosts: ['Sentinel', '[2001:DB8:0::1]', 'ported:8000'],
};

test.each<[string | undefined, boolean]>([
  ['localhost:8000', true],
  ['LOCALHOST:1', true],
  ['localhost', true],
  ['127.0.0.1:8000', true],
  ['127.1.2.3', true],
  ['[::1]:8000', true],
  ['sentinel:8000', true],
  ['SENTINEL', true],
  ['[2001:db8::1]:8000', true],
  [undefined, false],
  ['', false],
  ['evil.example', false],
  ['evil.example:8000', false],
  ['localhost.evil.example', false],
  ['127.0.0.1.evil.example', false],
  ['127.999.1.1', false],
  ['localhost.', false],
  ['evil.example@localhost', false],
  ['localhost@evil.example', false],
  ['localhost/evil.example', false],
  ['localhost?health', false],
  ['localhost#', false],
  ['localhost\\evil.example', false],
  ['localhost, evil.example', false],
  ['%6cocalhost', false],
  ['local\u00adhost', false],
  ['localhost:', false],
  ['localhost:99999', false],
  ['192.168.1.5:8000', false],
  ['ported:8000', false],
])('HD21: the Host %s is allowed: %s', (host, isAllowed) => {
  expect(originFault({ host }, options) === undefined).toBe(isAllowed);
  expect(upgradeFault({ host }, options, false) === undefined).toBe(isAllowed);
});

test.each<[string, string, boolean]>([
  // The sentinel itself.
  ['http://localhost:8000', 'localhost:8000', true],
  ['http://127.0.0.1:8000', '127.0.0.1:8000', true],
  ['http://[::1]:8000', '[::1]:8000', true],
  ['http://sentinel:8000', 'sentinel:8000', true],
  ['http://localhost', 'localhost:80', true],
  ['http://localhost:80', 'localhost', true],
  ['http://localhost:8001', 'localhost:8000', false],
  ['http://127.0.0.1:8000', 'localhost:8000', false],
  ['https://localhost:8000', 'localhost:8000', false],
  ['ws://localhost:8000', 'localhost:8000', false],
  ['file://', 'localhost:8000', false],
  // Allowed origins.
  ['https://app.example', 'localhost:8000', true],
  ['https://app.example:443', 'localhost:8000', true],
  ['http://app.example', 'localhost:8000', false],
  ['https://app.example:444', 'localhost:8000', false],
  ['https://app.example.evil.example', 'localhost:8000', false],
  ['http://localhost:5173', 'localhost:8000', true],
  // Other schemes pass only as configured.
  ['chrome-extension://known', 'localhost:8000', true],
  ['chrome-extension://unknown', 'localhost:8000', false],
  ['chrome-extension://localhost:8000', 'localhost:8000', false],
  ['null', 'localhost:8000', false],
  ['', 'localhost:8000', false],
  // No Origin of a browser has user info or a path.
  ['http://user@localhost:8000', 'localhost:8000', false],
  ['http://user:secret@localhost:8000', 'localhost:8000', false],
  ['http://localhost:8000/', 'localhost:8000', false],
  ['http://localhost:8000/page', 'localhost:8000', false],
  ['http://localhost:8000?page', 'localhost:8000', false],
  ['http://localhost:8000#page', 'localhost:8000', false],
  ['http:\\\\localhost:8000', 'localhost:8000', false],
  ['http:localhost:8000', 'localhost:8000', false],
  ['http://localhost:8000, http://localhost:8000', 'localhost:8000', false],
  ['https://evil.example', 'localhost:8000', false],
  // DNS rebinding: a foreign name that resolves to this machine.
  ['http://evil.example:8000', 'evil.example:8000', false],
  ['https://app.example', 'evil.example:8000', false],
])('HD21: a page of %s may use the Host %s: %s', (origin, host, isAllowed) => {
  expect(originFault({ origin, host }, options) === undefined).toBe(isAllowed);
  for (const isOpen of [false, true])
    expect(upgradeFault({ origin, host }, options, isOpen) === undefined).toBe(isAllowed);
});

test.each<[origin: string, host: string, isEncrypted: boolean, isAllowed: boolean]>([
  ['https://sentinel:8443', 'sentinel:8443', true, true],
  ['https://sentinel', 'sentinel', true, true],
  ['https://sentinel', 'sentinel:443', true, true],
  // A page that was sent without encryption may have been altered on its way.
  ['http://sentinel:8443', 'sentinel:8443', true, false],
  ['http://sentinel', 'sentinel', true, false],
  ['https://sentinel:8443', 'sentinel:8443', false, false],
  ['http://sentinel:8443', 'sentinel:8443', false, true],
])('a page of %s may use the Host %s of a port with TLS %s: %s', (origin, host, isEncrypted, isAllowed) => {
  expect(originFault({ origin, host }, { ...options, isEncrypted }) === undefined).toBe(isAllowed);
  expect(settingForPage({ origin, host }, { ...options, isEncrypted })).toContain(origin);
});

test.each<[string | undefined, boolean]>([
  ['192.168.1.5:8000', true],
  ['build-machine:8000', true],
  ['fame.example', true],
  ['[fd00::2]:8000', true],
  ['user@fame.example', false],
  [undefined, false],
])('HD21: on an open interface a program may attach under the Host %s: %s', (host, isAllowed) => {
  expect(upgradeFault({ host }, options, true) === undefined).toBe(isAllowed);
  expect(originFault({ host }, options)).toContain('FAME_ALLOWED_HOSTS');
});

test.each<[string, boolean]>([
  ['http://localhost:5173', true],
  ['https://localhost:5173', true],
  ['http://localhost', true],
  ['http://127.0.0.1:3000', true],
  ['http://127.8.9.10:3000', true],
  ['http://[::1]:3000', true],
  ['https://app.example', true],
  ['http://localhost.evil.com', false],
  ['http://localhost.evil.com:5173', false],
  ['http://evil.localhost:5173', false],
  ['http://localhost.:5173', false],
  ['http://127.0.0.1.evil.com', false],
  ['http://evil.com:5173', false],
  ['http://192.168.1.5:5173', false],
  ['http://0.0.0.0:5173', false],
  ['http://128.0.0.1', false],
  ['http://[::]:5173', false],
  ['http://[::ffff:192.168.1.5]', false],
  ['http://localhost@evil.com', false],
  ['http://localhost:5173@evil.com', false],
  ['http://evil.com@localhost:5173', false],
  ['http://evil.com#localhost', false],
  ['http://evil.com/localhost', false],
  ['http://localhost:5173/', false],
  ['http://localhost:5173, http://evil.com', false],
  ['http://local\u00adhost:5173', false],
  ['chrome-extension://localhost', false],
  ['ftp://localhost', false],
  ['file://', false],
  ['file://localhost', false],
  ['loopback', false],
  ['null', false],
  ['', false],
])('NF5: FAME_ALLOWED_ORIGINS=loopback allows a page of "%s": %s', (origin, isAllowed) => {
  const loopback = { allowedOrigins: ['https://app.example', 'loopback'], allowedHosts: [] };
  expect(originFault({ origin, host: 'localhost:8000' }, loopback) === undefined).toBe(isAllowed);
  for (const isOpen of [false, true])
    expect(upgradeFault({ origin, host: 'localhost:8000' }, loopback, isOpen) === undefined).toBe(isAllowed);
  expect(originFault({ origin, host: 'evil.com:8000' }, loopback)).toContain('FAME_ALLOWED_HOSTS');
});

test('NF5: the setting for a refused page keeps the origins that are set', () => {
  const host = 'localhost:8000';
  const origin = 'http://localhost:5173';
  expect(settingForPage({ host, origin }, { allowedOrigins: [], allowedHosts: [] })).toBe(
    'FAME_ALLOWED_ORIGINS=http://localhost:5173',
  );
  const allowedOrigins = ['https://app.example'];
  expect(settingForPage({ host, origin }, { allowedOrigins, allowedHosts: [] })).toBe(
    'FAME_ALLOWED_ORIGINS=https://app.example,http://localhost:5173',
  );
});

test.each([
  { host: 'localhost:8000', origin: 'null' },
  { host: 'localhost:8000', origin: `http://${'a'.repeat(200)}` },
  { host: 'localhost:8000', origin: 'http://user@localhost:5173' },
  { host: 'localhost:8000', origin: 'http://localhost:5173,http://evil.com' },
  { host: 'evil.com:8000', origin: 'http://localhost:5173' },
  { host: 'evil.com:8000' },
])('NF5: no setting of origins allows %o', (headers) => {
  expect(settingForPage(headers, { allowedOrigins: [], allowedHosts: [] })).toBeUndefined();
});

test('a fault names the header and the setting', () => {
  expect(originFault({ host: 'evil.example' }, options)).toBe(
    'The host "evil.example" is not allowed: add it to FAME_ALLOWED_HOSTS',
  );
  expect(originFault({ host: 'localhost', origin: 'null' }, options)).toBe(
    'The origin "null" is not allowed: add it to FAME_ALLOWED_ORIGINS',
  );
});

test('loopback interfaces', () => {
  const are = (...addresses: string[]) => addresses.map(isLoopback);
  expect(are('127.0.0.1', '127.0.0.2', '::1', 'localhost')).toEqual([true, true, true, true]);
  expect(are('0.0.0.0', '::', '192.168.1.5')).toEqual([false, false, false]);
});

// A page behind a foreign DNS name that points here: its browser sends Origin with POST, and none with a GET to its own host.
test.each<[string, string, string | undefined, { isOpen: boolean; isCredentialNeeded: boolean }, boolean]>([
  ['GET', 'localhost:8000', undefined, { isOpen: false, isCredentialNeeded: false }, true],
  ['GET', 'evil.example', undefined, { isOpen: false, isCredentialNeeded: false }, false],
  ['POST', 'evil.example', undefined, { isOpen: false, isCredentialNeeded: true }, false],
  ['GET', 'evil.example', undefined, { isOpen: true, isCredentialNeeded: false }, false],
  ['HEAD', 'evil.example', undefined, { isOpen: true, isCredentialNeeded: false }, false],
  ['POST', 'evil.example', 'http://evil.example', { isOpen: true, isCredentialNeeded: true }, false],
  ['POST', 'service:8000', undefined, { isOpen: true, isCredentialNeeded: false }, true],
  ['GET', 'service:8000', undefined, { isOpen: true, isCredentialNeeded: true }, true],
  ['GET', '10.0.0.5:8000', undefined, { isOpen: true, isCredentialNeeded: false }, true],
  ['GET', '[2001:db8::5]:8000', undefined, { isOpen: true, isCredentialNeeded: false }, true],
  ['GET', 'sentinel:8000', undefined, { isOpen: true, isCredentialNeeded: false }, true],
  ['GET', '10.0.0.5:8000', 'http://10.0.0.5:8000', { isOpen: true, isCredentialNeeded: true }, false],
  ['POST', 'a/b@c', undefined, { isOpen: true, isCredentialNeeded: true }, false],
  ['POST', '', undefined, { isOpen: true, isCredentialNeeded: true }, false],
])('%s with the Host %s and the Origin %s on a port with %o', (method, host, origin, port, passes) => {
  expect(requestFault({ host, origin }, method, { ...options, ...port }) === undefined).toBe(passes);
});
