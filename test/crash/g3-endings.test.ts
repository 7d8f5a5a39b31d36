// G3: everything that ends a permission ends the connection, the call or the trace that it allowed within 5 s, at a sentinel process
// with TLS. `gated.test.ts` has the renewals of tokens, which lose no call.
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { KeysChange } from '@fame-fabric/sentinel/internal';
import { TEST_AUDIENCE, TestIssuer } from '@fame-fabric/sentinel/testing';
import { systemClock } from '@fame-fabric/shared';
import { CANCEL_CAPABILITY } from '@fame-fabric/shared/internal';
import { expect, onTestFinished, test } from 'vitest';
import { type Certificate, TestAuthority } from '../kit/certificates.ts';
import { fameArgs, freePort, healthy, startNode } from '../kit/processes.ts';
import { RawNodes, type RawOptions } from '../kit/raw-node.ts';
import { temporaryDirectory } from '../kit/sentinel.ts';

const LIMIT_MS = 5_000;
const BEFORE = `
rules:
  - { id: operator, effect: allow, role: admin }
  - { id: all, effect: allow }
`;
const AFTER = `
rules:
  - { id: banned, effect: deny, principal: 'jwt:**/banned' }
  - { id: binds, effect: deny, action: Bind, principal: 'jwt:**/server' }
  - { id: calls, effect: deny, action: Call, principal: 'jwt:**/caller' }
  - { id: all, effect: allow }
`;

test('G3: expiry, removal and policy changes end the affected connections, calls and traces within 5 s', async () => {
  const dataDir = temporaryDirectory();
  const authority = new TestAuthority(dataDir);
  const server = authority.issue('server', { subject: '/CN=sentinel', altNames: 'IP:127.0.0.1' });
  const former = new TestAuthority(dataDir, 'former');
  const issuers = join(dataDir, 'issuers.pem');
  const pem = [authority, former].map(({ file }) => readFileSync(file, 'utf8'));
  writeFileSync(issuers, pem.join(''));
  setDefaultCACertificates([...getCACertificates('default'), readFileSync(authority.file, 'utf8')]);
  const keySet = createServer((_, response) =>
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: [issuer.publicJwk] })),
  );
  await new Promise<void>((resolve) => keySet.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void keySet.close());
  const issuerUrl = `http://127.0.0.1:${(keySet.address() as AddressInfo).port}`;
  const issuer = await TestIssuer.create({ issuer: issuerUrl });

  const keys = new KeysChange(join(dataDir, 'keys'), systemClock);
  const addKey = async (name: string, expiresAt?: number) =>
    (await keys.add({ name, role: 'admin', expiresAt })).token;
  const [removed, rotated, other] = [await addKey('removed'), await addKey('rotated'), await addKey('other')];
  const policy = join(dataDir, 'policy.yaml');
  const write = (rules: string): void => {
    writeFileSync(`${policy}.new`, rules);
    renameSync(`${policy}.new`, policy);
  };
  write(BEFORE);
  const port = await freePort();
  const sentinel = startNode(fameArgs('sentinel'), {
    name: 'sentinel',
    env: {
      FAME_LISTENER_PORT: String(port),
      FAME_DATA_DIR: dataDir,
      FAME_LOG_LEVEL: 'warn',
      FAME_TLS_CERT_FILE: server.cert,
      FAME_TLS_KEY_FILE: server.key,
      FAME_TLS_CLIENT_CA_FILE: issuers,
      FAME_SECURITY_PROFILE: 'gated',
      FAME_JWT_TRUSTED_ISSUER: issuerUrl,
      FAME_JWT_ALGORITHM: 'EdDSA',
      FAME_JWT_AUDIENCE: TEST_AUDIENCE,
      FAME_AUTH_POLICY_PATH: policy,
      NODE_EXTRA_CA_CERTS: authority.file,
    },
  });
  const http = `https://127.0.0.1:${port}`;
  await healthy(`${http}/readyz`, sentinel);
  const nodes = new RawNodes(() => `wss://127.0.0.1:${port}/fame/v1/attach/ws/downstream`);
  onTestFinished(() => nodes.closeAll());
  const bearer = (token: string): RawOptions => ({
    ws: { headers: { authorization: `Bearer ${token}` } },
    attach: { capabilities: [CANCEL_CAPABILITY] },
  });
  const attach = (token: string) => nodes.attached(bearer(token));
  const token = async (sub: string, expiresAt = systemClock.now() + 3_600_000): Promise<string> =>
    issuer.token(systemClock.now(), { sub, exp: Math.floor(expiresAt / 1_000) });

  // All credentials expire at about the same time, so that the test waits only once.
  const expiresAt = Math.ceil(systemClock.now() / 1_000) * 1_000 + 6_000;
  const brief = authority.issue('brief', {
    subject: '/CN=brief',
    validity: [systemClock.now() - 60_000, expiresAt],
  });
  const briefKey = await addKey('brief', expiresAt);
  const vault = await attach(other);
  await vault.serve('vault@fame.fabric');
  const ofFormer = former.issue('of-former', { subject: '/CN=of-former' });
  const withCertificate = ({ cert, key }: Certificate) =>
    nodes.attached({ ws: { cert: readFileSync(cert), key: readFileSync(key) } });
  const [ofBriefKey, ofToken, ofCertificate, ofIssuer, ofRemoved, ofRotated, banned, server2, caller] =
    await Promise.all([
      attach(briefKey),
      attach(await token('brief', expiresAt)),
      withCertificate(brief),
      withCertificate(ofFormer),
      attach(removed),
      attach(rotated),
      attach(await token('banned')),
      attach(await token('server')),
      attach(await token('caller')),
    ]);
  await server2.serve('other@fame.fabric');
  const call = caller.sendCall('vault@fame.fabric', 'wait');
  await vault.next(({ corrId }) => corrId === call.corrId);
  const traceOf = async (key: string) =>
    (await fetch(`${http}/fame/v1/trace`, { headers: { authorization: `Bearer ${key}` } })).text();
  const traces = { removed: traceOf(removed), brief: traceOf(briefKey) };

  const took: Record<string, number> = {};
  /** Waits for an end; notes the time since its cause. */
  const ends = async (name: string, from: number, ending: Promise<unknown>): Promise<unknown> => {
    const result = await ending;
    took[name] = Math.round(systemClock.now() - from);
    return result;
  };
  const code = ({ closed }: { closed: Promise<{ code: number }> }) => closed.then((end) => end.code);

  const removedAt = systemClock.now();
  await keys.remove('removed');
  await keys.rotate('rotated', { overlapMs: 0 });
  writeFileSync(issuers, pem[0]!);
  const byKeys = [
    ends('removed key', removedAt, code(ofRemoved)),
    ends('rotated key', removedAt, code(ofRotated)),
    ends('certificate of a removed issuer', removedAt, code(ofIssuer)),
    ends('trace of a removed key', removedAt, traces.removed),
  ];
  const byExpiry = [
    ends('expired key', expiresAt, code(ofBriefKey)),
    ends('expired token', expiresAt, code(ofToken)),
    ends('expired certificate', expiresAt, code(ofCertificate)),
    ends('trace of an expired key', expiresAt, traces.brief),
  ];
  expect((await Promise.all(byKeys)).slice(0, 3)).toEqual([4410, 4410, 4410]);
  expect((await Promise.all(byExpiry)).slice(0, 3)).toEqual([4410, 4410, 4410]);

  const changedAt = systemClock.now();
  write(AFTER);
  const byPolicy = await Promise.all([
    ends('session by the policy', changedAt, code(banned)),
    ends('address by the policy', changedAt, server2.closed),
    ends(
      'call by the policy',
      changedAt,
      caller.next(({ corrId }) => corrId === call.corrId),
    ),
  ]);
  expect(byPolicy[0]).toBe(4410);
  expect(byPolicy[2]).toMatchObject({ frame: { type: 'DeliveryAck', code: 'AUTH_FORBIDDEN' } });
  // Nothing else ended.
  expect([vault.isClosed, caller.isClosed]).toEqual([false, false]);

  console.info('G3: ms from the cause to the end', took);
  expect(Object.keys(took)).toHaveLength(11);
  for (const [name, ms] of Object.entries(took)) {
    expect({ name, isEarly: ms < 0, isLate: ms > LIMIT_MS }).toEqual({ name, isEarly: false, isLate: false });
  }
});
