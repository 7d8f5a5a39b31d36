// G8: TLS and client certificates by the sentinel itself.
import { X509Certificate } from 'node:crypto';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type ConnectionOptions,
  connect as connectTls,
  getCACertificates,
  setDefaultCACertificates,
} from 'node:tls';
import { connect as connectClient } from '@fame-fabric/client/node';
import type { SentinelOptions } from '@fame-fabric/sentinel';
import { wsDialWith } from '@fame-fabric/shared/node';
import { CaptureLog } from '@fame-fabric/shared/testing';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { speaksTls } from '../../bin/local/port-owner.ts';
import { type Certificate, TestAuthority } from '../kit/certificates.ts';
import { embeddedSentinels } from '../kit/embedded-sentinel.ts';
import { closeLinks, connectLink, serviceOf } from '../kit/our-node.ts';
import { RawNodes } from '../kit/raw-node.ts';

const directory = mkdtempSync(join(tmpdir(), 'fame-test-tls-'));
const ours = new TestAuthority(directory);
const foreign = new TestAuthority(directory, 'foreign');
const server = ours.issue('server', { subject: '/CN=sentinel', altNames: 'DNS:localhost,IP:127.0.0.1' });
const ada = ours.issue('ada', { subject: '/O=Example/CN=ada' });
const spiffe = ours.issue('spiffe', { subject: '/CN=x', altNames: 'URI:spiffe://example.org/agent/chat' });

beforeAll(() => setDefaultCACertificates([...getCACertificates('default'), readFileSync(ours.file, 'utf8')]));
afterAll(() => rmSync(directory, { recursive: true }));

const sentinels = embeddedSentinels();
afterEach(closeLinks);

const start = (options: Partial<SentinelOptions> = {}, client?: string) =>
  sentinels.start({ tls: { certFile: server.cert, keyFile: server.key, clientCaFile: client }, ...options });

const attach = (url: string, certificate?: Certificate, token?: string) => {
  const files = certificate && { certFile: certificate.cert, keyFile: certificate.key };
  return connectLink(url, { dial: wsDialWith(files), token, connectTimeoutMs: 3_000 });
};

const echo = serviceOf({ any: ([value]) => value });

/** The certificate that the port shows to a new connection. */
const shown = (port: number, options: ConnectionOptions = {}): Promise<string | undefined> =>
  new Promise((resolve, reject) => {
    const socket = connectTls({ port, host: '127.0.0.1', ...options }, () => {
      resolve(socket.getPeerX509Certificate()?.fingerprint256);
      socket.destroy();
    });
    socket.once('error', reject);
  });

/** The status of a page that needs the role admin, and whether the request used an open connection. */
const statusOf = (port: number, agent: Agent): Promise<[status: number | undefined, isReused: boolean]> =>
  new Promise((resolve, reject) => {
    const asked = request({ port, host: '127.0.0.1', path: '/fame/v1/nodes', agent }, (response) => {
      response.resume().once('end', () => resolve([response.statusCode, asked.reusedSocket]));
    });
    asked.once('error', reject).end();
  });

const fingerprintOf = (file: string): string => new X509Certificate(readFileSync(file)).fingerprint256;

describe('TLS', () => {
  test('nodes attach with wss, and messages of every size arrive', async () => {
    const sentinel = await start();
    expect(sentinel.url).toBe(`wss://127.0.0.1:${sentinel.port}/fame/v1/attach/ws/downstream`);
    const agent = await attach(sentinel.url);
    await agent.bind('echo@fame.fabric', echo);
    const client = await connectClient({ url: sentinel.url });
    for (const size of [1, 1_000, 70_000, 250_000]) {
      const text = 'x'.repeat(size);
      expect(await client.call('echo@fame.fabric', 'any', { text })).toEqual({ text });
    }
    await Promise.all(
      Array.from({ length: 200 }, async (_, n) => {
        expect(await client.call('echo@fame.fabric', 'any', { n })).toEqual({ n });
      }),
    );
    await client.close();
    const health = await fetch(`https://127.0.0.1:${sentinel.port}/healthz`);
    expect(await health.json()).toEqual({ status: 'ok' });
  });

  test('a certificate of an unknown issuer is named with the fix', async () => {
    const { cert, key } = foreign.issue('unknown', { subject: '/CN=x', altNames: 'IP:127.0.0.1' });
    const sentinel = await start({ tls: { certFile: cert, keyFile: key } });
    await expect(connectClient({ url: sentinel.url, connectTimeoutMs: 2_000 })).rejects.toMatchObject({
      code: 'LINK_REFUSED',
      message: expect.stringMatching(/certificate.*NODE_EXTRA_CA_CERTS/s),
    });
  });

  test('a node without TLS, and doctor, learn that the port speaks TLS', async () => {
    const { url, port } = await start();
    const plain = url.replace('wss:', 'ws:');
    await expect(connectClient({ url: plain, connectTimeoutMs: 1_000 })).rejects.toMatchObject({
      code: 'LINK_TIMEOUT',
      message: expect.stringContaining('If its port speaks TLS, the URL begins with wss://'),
    });
    expect(await speaksTls('127.0.0.1', port)).toBe(true);
    const open = await sentinels.start();
    expect(await speaksTls('127.0.0.1', open.port)).toBe(false);
  });

  test('TLS 1.1 and protocols other than HTTP/1.1 are refused', async () => {
    const { port } = await start();
    await expect(shown(port, { maxVersion: 'TLSv1.1', minVersion: 'TLSv1' })).rejects.toThrow();
    await expect(shown(port, { ALPNProtocols: ['h2'] })).rejects.toThrow();
  });

  test('a replaced certificate is used for new connections, and open calls continue', async () => {
    const certFile = join(directory, 'live.pem');
    const keyFile = join(directory, 'live-key.pem');
    copyFileSync(server.cert, certFile);
    copyFileSync(server.key, keyFile);
    const sentinel = await start({ tls: { certFile, keyFile } });
    const agent = await attach(sentinel.url);
    let answered = 0;
    await agent.bind('echo@fame.fabric', echo);
    const client = await connectClient({ url: sentinel.url });
    const states: string[] = [];
    client.onState((state) => states.push(state));
    const next = ours.issue('next', { subject: '/CN=sentinel', altNames: 'IP:127.0.0.1' });
    const calls = Array.from({ length: 300 }, async (_, n) => {
      if (n === 100) {
        copyFileSync(next.cert, certFile);
        copyFileSync(next.key, keyFile);
        sentinel.reload();
      }
      await client.call('echo@fame.fabric', 'any', { n });
      answered++;
    });
    await Promise.all(calls);
    expect(await shown(sentinel.port)).toBe(fingerprintOf(next.cert));
    expect([answered, states.filter((state) => state !== 'attached')]).toEqual([300, []]);
    await client.close();
  });
});

describe('faults of the files', () => {
  const expired = ours.issue('over', { subject: '/CN=over', days: -1 });
  test.each([
    [
      'a missing file',
      { certFile: join(directory, 'none.pem'), keyFile: server.key },
      'there is no such file',
    ],
    [
      'a key in place of the certificate',
      { certFile: server.key, keyFile: server.key },
      'it has no certificate',
    ],
    [
      'the key of another',
      { certFile: server.cert, keyFile: ada.key },
      'it is not the key of the certificate',
    ],
    [
      'an expired certificate',
      { certFile: expired.cert, keyFile: expired.key },
      'its certificate expired on',
    ],
    ['a directory', { certFile: server.cert, keyFile: directory }, 'it is not a file'],
  ])('%s is a fault that names the variable and no content', async (_, tls, reason) => {
    const failed = sentinels.start({ tls });
    await expect(failed).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(reason),
    });
    await expect(failed).rejects.toThrow(/^FAME_TLS_(CERT|KEY)_FILE is /);
    await expect(failed).rejects.not.toThrow('PRIVATE KEY');
  });

  test('changed files with a fault are logged once, and the last good ones stay in use', async () => {
    const certFile = join(directory, 'changing.pem');
    copyFileSync(server.cert, certFile);
    const log = new CaptureLog();
    const sentinel = await sentinels.start({ tls: { certFile, keyFile: server.key }, log });
    copyFileSync(ada.cert, certFile);
    sentinel.reload();
    sentinel.reload();
    expect(log.messages('error')).toEqual(['cannot use the changed TLS files; the last ones stay in use']);
    expect(await shown(sentinel.port)).toBe(fingerprintOf(server.cert));
  });

  test('a file that cannot be reached any more is logged, and the last one stays in use', async () => {
    const certFile = join(directory, 'unreachable.pem');
    copyFileSync(server.cert, certFile);
    const log = new CaptureLog();
    const sentinel = await sentinels.start({ tls: { certFile, keyFile: server.key }, log });
    rmSync(certFile);
    symlinkSync(certFile, certFile);
    sentinel.reload();
    sentinel.reload();
    expect(log.messages('error')).toEqual(['cannot use the changed TLS files; the last ones stay in use']);
    expect(await shown(sentinel.port)).toBe(fingerprintOf(server.cert));
    rmSync(certFile);
  });
});

describe('client certificates', () => {
  test.each([
    ['a subject', ada, 'cert:O=Example,CN=ada'],
    ['a SPIFFE id', spiffe, 'spiffe://example.org/agent/chat'],
  ])('a certificate with %s names the principal, which agents see', async (_, certificate, principal) => {
    const sentinel = await start({}, ours.file);
    const agent = await attach(sentinel.url, spiffe);
    await agent.bind(
      'who@fame.fabric',
      serviceOf({ any: async (_, call) => (await call.caller)?.principal }),
    );
    const caller = await attach(sentinel.url, certificate);
    expect(await caller.call('who@fame.fabric', 'any', {})).toBe(principal);
  });

  test('without a certificate, or with a wrong one, a node is refused by name', async () => {
    const sentinel = await start({}, ours.file);
    const expired = ours.issue('expired', { subject: '/CN=late', days: -1 });
    const unknown = foreign.issue('mallory', { subject: '/CN=ada' });
    const refusal = (certificate?: Certificate, token?: string) =>
      attach(sentinel.url, certificate, token).catch(({ code }: { code: string }) => code);
    expect(await refusal()).toBe('AUTH_MISSING');
    expect(await refusal(expired)).toBe('AUTH_EXPIRED');
    expect(await refusal(unknown)).toBe('AUTH_INVALID');
    // A wrong key is not made good by a certificate.
    expect(await refusal(ada, 'wrong')).toBe('AUTH_INVALID');
  });

  test('a removed issuer ends the sessions of its certificates, and its open connections get no access', async () => {
    const issuers = join(directory, 'issuers.pem');
    const pem = [ours, foreign].map(({ file }) => readFileSync(file, 'utf8'));
    writeFileSync(issuers, pem.join(''));
    const sentinel = await start({}, issuers);
    const nodes = new RawNodes(() => sentinel.url);
    const former = foreign.issue('former', { subject: '/CN=former' });
    const attachRaw = ({ cert, key }: Certificate) =>
      nodes.attached({ ws: { cert: readFileSync(cert), key: readFileSync(key) } });
    const [kept, removed] = [await attachRaw(ada), await attachRaw(former)];
    const agent = new Agent({
      cert: readFileSync(former.cert),
      key: readFileSync(former.key),
      keepAlive: true,
    });
    const pageStatus = () => statusOf(sentinel.port, agent);
    expect(await pageStatus()).toEqual([403, false]);
    writeFileSync(issuers, pem[0]!);
    sentinel.reload();
    expect(await pageStatus()).toEqual([401, true]);
    expect((await removed.closed).code).toBe(4410);
    await expect(attachRaw(former)).rejects.toThrow('AUTH_INVALID');
    expect(kept.isClosed).toBe(false);
    await (await attachRaw(ada)).close();
    await nodes.closeAll();
    agent.destroy();
  });

  test('a page that needs the role admin is refused to a certificate', async () => {
    const { port } = await start({}, ours.file);
    const agent = new Agent({ cert: readFileSync(ada.cert), key: readFileSync(ada.key) });
    expect(await statusOf(port, agent)).toEqual([403, false]);
  });
});
