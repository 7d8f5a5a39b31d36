// P23. A trap listens on every loopback address, and none of the tricks below may reach it. These tests allow its port and
// plain http, so only the address check protects the trap.
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Clock, FabricError } from '@fame-fabric/shared';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { isPublicAddress } from './public-address.ts';
import { createSafeFetch, type SafeFetchOptions } from './safe-fetch.ts';

let trap: Server;
let port: number;
let connections = 0;
let answer: (request: IncomingMessage) => {
  status?: number;
  headers?: Record<string, string>;
  body?: string;
};
const seen: { method: string | undefined; host: string | undefined; body: string; to: string | undefined }[] =
  [];

beforeAll(async () => {
  trap = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      seen.push({
        method: request.method,
        host: request.headers.host,
        body: Buffer.concat(chunks).toString(),
        to: request.socket.localAddress,
      });
      const { status = 200, headers = {}, body = '' } = answer(request);
      response.writeHead(status, headers).end(body);
    });
  });
  trap.on('connection', () => connections++);
  await new Promise<void>((resolve) => trap.listen(0, '::', resolve));
  port = (trap.address() as AddressInfo).port;
});
afterAll(() => {
  trap.closeAllConnections();
  trap.close();
});
beforeEach(() => {
  connections = 0;
  seen.length = 0;
  answer = () => ({ body: 'ok' });
});

const lookups: Record<string, string[]> = {
  'rebind.example.com': ['127.0.0.1'],
  'mixed.example.com': ['93.184.215.14', '127.0.0.1'],
  'six.example.com': ['::1'],
  'mapped.example.com': ['::ffff:127.0.0.1'],
  'private.example.com': ['10.0.0.5'],
  'metadata.example.com': ['169.254.169.254'],
  'zero.example.com': ['0.0.0.0'],
  'empty.example.com': [],
  'garbage.example.com': ['not-an-address'],
  'cgnat.example.com': ['100.100.100.200'],
};
const resolve = async (hostname: string) =>
  (lookups[hostname.replace(/\.$/, '')] ?? []).map((address) => ({
    address,
    family: address.includes(':') ? 6 : 4,
  }));
const open = (options: SafeFetchOptions = {}) =>
  createSafeFetch({ allowHttp: true, ports: [port], resolve, ...options });

const TRICKS: readonly (readonly [string, string])[] = [
  ['loopback', 'http://127.0.0.1:PORT/'],
  ['loopback over https', 'https://127.0.0.1:PORT/'],
  ['another loopback', 'http://127.1.2.3:PORT/'],
  ['the last loopback', 'http://127.255.255.254:PORT/'],
  ['localhost', 'http://localhost:PORT/'],
  ['LOCALHOST', 'http://LOCALHOST:PORT/'],
  ['localhost with a final dot', 'http://localhost.:PORT/'],
  ['a name below localhost', 'http://foo.localhost:PORT/'],
  ['a name below .local', 'http://printer.local:PORT/'],
  ['an internal name', 'http://metadata.google.internal:PORT/'],
  ['a name without a dot', 'http://metadata:PORT/'],
  ['a decimal number', 'http://2130706433:PORT/'],
  ['a hexadecimal number', 'http://0x7f000001:PORT/'],
  ['an octal number', 'http://017700000001:PORT/'],
  ['octal parts', 'http://0177.0.0.01:PORT/'],
  ['hexadecimal parts', 'http://0x7f.0x0.0x0.0x1:PORT/'],
  ['mixed parts', 'http://0x7f.0.1:PORT/'],
  ['two parts', 'http://127.1:PORT/'],
  ['full-width digits', 'http://１２７.０.０.１:PORT/'],
  ['circled digits', 'http://①②⑦.⓪.⓪.①:PORT/'],
  ['full-width dots', 'http://127。0。0。1:PORT/'],
  ['an encoded host', 'http://%31%32%37.0.0.1:PORT/'],
  ['an address with a final dot', 'http://127.0.0.1.:PORT/'],
  ['zero', 'http://0.0.0.0:PORT/'],
  ['zero, short', 'http://0:PORT/'],
  ['this network', 'http://0.1.2.3:PORT/'],
  ['private 10', 'http://10.0.0.1:PORT/'],
  ['private 172.16', 'http://172.16.0.1:PORT/'],
  ['private 172.31', 'http://172.31.255.255:PORT/'],
  ['private 192.168', 'http://192.168.1.1:PORT/'],
  ['carrier-grade NAT', 'http://100.64.0.1:PORT/'],
  ['link-local', 'http://169.254.0.1:PORT/'],
  ['cloud metadata', 'http://169.254.169.254:PORT/latest/meta-data/'],
  ['cloud metadata as a number', 'http://2852039166:PORT/'],
  ['Azure host', 'http://168.63.129.16:PORT/'],
  ['benchmark network', 'http://198.18.0.1:PORT/'],
  ['documentation network', 'http://192.0.2.1:PORT/'],
  ['protocol assignments', 'http://192.0.0.192:PORT/'],
  ['multicast', 'http://224.0.0.1:PORT/'],
  ['reserved', 'http://240.0.0.1:PORT/'],
  ['broadcast', 'http://255.255.255.255:PORT/'],
  ['IPv6 loopback', 'http://[::1]:PORT/'],
  ['IPv6 loopback, long', 'http://[0:0:0:0:0:0:0:1]:PORT/'],
  ['IPv6 unspecified', 'http://[::]:PORT/'],
  ['IPv4-mapped loopback', 'http://[::ffff:127.0.0.1]:PORT/'],
  ['IPv4-mapped in hexadecimal', 'http://[::ffff:7f00:1]:PORT/'],
  ['IPv4-mapped public', 'http://[::ffff:93.184.215.14]:PORT/'],
  ['IPv4-compatible loopback', 'http://[::127.0.0.1]:PORT/'],
  ['NAT64 of loopback', 'http://[64:ff9b::7f00:1]:PORT/'],
  ['6to4 of loopback', 'http://[2002:7f00:1::]:PORT/'],
  ['Teredo', 'http://[2001:0:53aa:64c::1]:PORT/'],
  ['unique local', 'http://[fd00::1]:PORT/'],
  ['AWS metadata over IPv6', 'http://[fd00:ec2::254]:PORT/'],
  ['IPv6 link-local', 'http://[fe80::1]:PORT/'],
  ['IPv6 multicast', 'http://[ff02::1]:PORT/'],
  ['a user name that looks like a host', 'http://example.com@127.0.0.1:PORT/'],
  ['credentials', 'https://user:pass@six.example.com:PORT/'],
  ['a backslash', 'http:\\\\127.0.0.1:PORT\\'],
  ['a tab in the host', 'http://127.0.\t0.1:PORT/'],
  ['a name that resolves to loopback', 'http://rebind.example.com:PORT/'],
  ['a name with a final dot that resolves to loopback', 'http://rebind.example.com.:PORT/'],
  ['a name with one public and one loopback address', 'http://mixed.example.com:PORT/'],
  ['a name that resolves to IPv6 loopback', 'http://six.example.com:PORT/'],
  ['a name that resolves to mapped loopback', 'http://mapped.example.com:PORT/'],
  ['a name that resolves to a private address', 'http://private.example.com:PORT/'],
  ['a name that resolves to metadata', 'http://metadata.example.com:PORT/'],
  ['a name that resolves to zero', 'http://zero.example.com:PORT/'],
  ['a name that resolves to carrier-grade NAT', 'http://cgnat.example.com:PORT/'],
  ['a name that resolves to no address', 'http://garbage.example.com:PORT/'],
  ['a file', 'file:///etc/passwd'],
  ['ftp', 'ftp://127.0.0.1:PORT/'],
  ['gopher', 'gopher://127.0.0.1:PORT/_x'],
  ['data', 'data:text/plain,x'],
  ['javascript', 'javascript:alert(1)'],
  ['a web socket', 'ws://127.0.0.1:PORT/'],
  ['a unix socket', 'http+unix://%2Fvar%2Frun%2Fdocker.sock/'],
  ['no scheme', '//127.0.0.1:PORT/'],
  ['nothing', ''],
];

describe('tricks', () => {
  it('are at least 60, and the trap works', async () => {
    expect(TRICKS.length).toBeGreaterThanOrEqual(60);
    await open({ allowAddresses: ['127.0.0.1'] })(`http://127.0.0.1:${port}/`);
    expect(connections).toBe(1);
  });

  it.each(TRICKS)('%s: %s', async (_, trick) => {
    const url = trick.replaceAll('PORT', String(port));
    await expect(open()(url, { method: 'POST', body: '{}' })).rejects.toMatchObject({
      code: 'OUTBOUND_FORBIDDEN',
    });
    expect(connections).toBe(0);
  });

  it('refuses other ports and plain http unless the options allow them', async () => {
    const safeFetch = createSafeFetch({ resolve });
    for (const url of [
      'http://example.com/',
      'https://example.com:22/',
      `https://example.com:${port}/`,
      'https://example.com:0/',
    ]) {
      expect(() => safeFetch.check(url)).toThrow(expect.objectContaining({ code: 'OUTBOUND_FORBIDDEN' }));
    }
    for (const url of [
      'https://example.com/hook?x=1',
      'https://example.com:8443/',
      'https://93.184.215.14/',
    ]) {
      expect(() => safeFetch.check(url)).not.toThrow();
    }
    expect(() => safeFetch.check(`https://example.com/${'x'.repeat(2048)}`)).toThrow('longer');
  });

  it('never follows a redirect', async () => {
    answer = () => ({ status: 302, headers: { location: `http://127.0.0.3:${port}/secret` } });
    const { status, headers } = await open({ allowAddresses: ['127.0.0.2'] })(`http://127.0.0.2:${port}/`);
    expect(status).toBe(302);
    expect(headers.location).toContain('secret');
    expect(seen.length).toBe(1);
  });

  it('connects to the address that it checked, even if the name resolves differently later', async () => {
    const answers = ['127.0.0.2', '127.0.0.3', '127.0.0.3'];
    const changing = vi.fn(async () => [{ address: answers.shift() ?? '127.0.0.3', family: 4 }]);
    const safeFetch = open({ allowAddresses: ['127.0.0.2'], resolve: changing });
    const url = `http://changing.example.com:${port}/`;
    await safeFetch(url);
    expect(changing).toHaveBeenCalledTimes(1);
    expect(seen.map(({ to }) => to)).toEqual(['::ffff:127.0.0.2']);
    await expect(safeFetch(url)).rejects.toMatchObject({ code: 'OUTBOUND_FORBIDDEN' });
    expect(connections).toBe(1);
  });

  it('ignores the proxy variables of the environment', async () => {
    vi.stubEnv('NODE_USE_ENV_PROXY', '1');
    vi.stubEnv('HTTP_PROXY', `http://127.0.0.1:${port}`);
    vi.stubEnv('http_proxy', `http://127.0.0.1:${port}`);
    try {
      await expect(open()(`http://private.example.com:${port}/`)).rejects.toMatchObject({
        code: 'OUTBOUND_FORBIDDEN',
      });
      expect(connections).toBe(0);
    } finally {
      vi.unstubAllEnvs();
    }
  });
});

describe('an exchange', () => {
  const LOCAL = {
    allowAddresses: ['127.0.0.0/8'],
    resolve: async () => [{ address: '127.0.0.1', family: 4 }],
  };
  const url = () => `http://hooks.example.com:${port}/in`;

  it('sends the request and returns the response', async () => {
    answer = () => ({ status: 202, headers: { 'x-got': 'it' }, body: 'thanks' });
    const response = await open(LOCAL)(url(), { method: 'POST', body: '{"ü":1}' });
    expect(response).toMatchObject({ status: 202, headers: { 'x-got': 'it' }, body: 'thanks' });
    expect(seen).toMatchObject([{ method: 'POST', host: `hooks.example.com:${port}`, body: '{"ü":1}' }]);
  });

  it('reads and sends no more than 64 KiB', async () => {
    answer = () => ({ body: 'x'.repeat(65_536) });
    expect((await open(LOCAL)(url())).body.length).toBe(65_536);
    answer = () => ({ body: 'x'.repeat(65_537) });
    await expect(open(LOCAL)(url())).rejects.toMatchObject({ code: 'OUTBOUND_FAILED' });
    await expect(open(LOCAL)(url(), { method: 'POST', body: 'x'.repeat(65_537) })).rejects.toMatchObject({
      code: 'MESSAGE_TOO_LARGE',
    });
  });

  it('times out at any stage of the exchange', async () => {
    const slow = createServer((_, response) => void response.write('a beginning'));
    await new Promise<void>((done) => slow.listen(0, '127.0.0.1', done));
    const slowPort = (slow.address() as AddressInfo).port;
    let ring = (): void => {};
    const stop = vi.fn();
    const clock = {
      after: (ms: number, fn: () => void) => {
        expect(ms).toBe(5_000);
        ring = fn;
        return { stop };
      },
    } as unknown as Clock;
    const fetching = open({ ...LOCAL, ports: [slowPort], clock })(`http://hooks.example.com:${slowPort}/`);
    await new Promise((done) => slow.once('request', done));
    ring();
    await expect(fetching).rejects.toMatchObject({
      code: 'OUTBOUND_FAILED',
      message: expect.stringContaining('5 s'),
    });
    expect(stop).toHaveBeenCalled();
    slow.closeAllConnections();
    slow.close();
  });

  it('is cancelled by its signal, before and after it starts', async () => {
    const controller = new AbortController();
    answer = () => {
      controller.abort();
      return {};
    };
    await expect(open(LOCAL)(url(), { signal: controller.signal })).rejects.toMatchObject({
      code: 'CALL_CANCELLED',
    });
    await expect(open(LOCAL)(url(), { signal: controller.signal })).rejects.toMatchObject({
      code: 'CALL_CANCELLED',
    });
    expect(connections).toBe(1);
  });

  it('distinguishes a failed connection, lookup or header from a refused address', async () => {
    const closed = createServer();
    await new Promise<void>((done) => closed.listen(0, '127.0.0.1', done));
    const closedPort = (closed.address() as AddressInfo).port;
    await new Promise((done) => closed.close(done));
    const failing = { code: 'OUTBOUND_FAILED' };
    await expect(
      open({ ...LOCAL, ports: [closedPort] })(`http://a.example.com:${closedPort}/`),
    ).rejects.toMatchObject(failing);
    const noName = async () => Promise.reject(new Error('ENOTFOUND'));
    await expect(open({ ...LOCAL, resolve: noName })(url())).rejects.toMatchObject(failing);
    await expect(open({ ...LOCAL, resolve: async () => [] })(url())).rejects.toMatchObject(failing);
    await expect(open(LOCAL)(url(), { headers: { 'x-a': 'b\r\nx-c: d' } })).rejects.toMatchObject(failing);
    await expect(open(LOCAL)(url(), { method: 'PO ST' })).rejects.toBeInstanceOf(FabricError);
  });
});

it('is the only module that opens connections, apart from those to configured servers', () => {
  const room = fileURLToPath(new URL('../', import.meta.url));
  const opening =
    /import \{[^}]*\b(?:request|get|connect|createConnection)\b[^}]*\} from 'node:(?:http|https|http2|net|tls)'|\bfetch\(|from '(?:undici|axios)'/;
  const modules = readdirSync(room, { recursive: true, encoding: 'utf8' }).filter(
    (file) => file.endsWith('.ts') && !file.endsWith('.test.ts') && !file.startsWith('testing'),
  );
  expect(modules.length).toBeGreaterThan(20);
  expect(modules.filter((file) => opening.test(readFileSync(join(room, file), 'utf8'))).sort()).toEqual([
    'model/openai/node-fetch.ts',
    'net/safe-fetch.ts',
    'tools/mcp/bounded-fetch.ts',
  ]);
});

describe('isPublicAddress', () => {
  it.each([
    '1.1.1.1',
    '93.184.215.14',
    '100.63.255.255',
    '100.128.0.0',
    '172.15.0.1',
    '172.32.0.1',
    '223.255.255.255',
    '2606:4700::1111',
    '2a00:1450:4001:80b::200e',
  ])('accepts %s', (address) => expect(isPublicAddress(address)).toBe(true));
  it.each([
    '',
    'example.com',
    '1.2.3',
    '1.2.3.4.5',
    '2606:4700::1111%eth0',
    '::ffff:1.1.1.1',
    '4000::1',
    '3fff::1',
  ])('refuses %s', (address) => expect(isPublicAddress(address)).toBe(false));
});
