// The principal of a client certificate. The names are as Node prints them.
import type { X509Certificate } from 'node:crypto';
import { ManualClock } from '@fame-fabric/shared/testing';
import { describe, expect, test } from 'vitest';
import { Access } from './access.ts';
import { certificateOf } from './certificate.ts';
import { ClientAuthorities } from './client-authorities.ts';

const VALID_TO = 'Dec 31 00:00:00 2026 GMT';
const END = Date.parse(VALID_TO);
type Names = Partial<Pick<X509Certificate, 'subject' | 'subjectAltName'>>;
const connection = (names: Names): object => ({
  authorized: true,
  getPeerX509Certificate: () => ({ validTo: VALID_TO, ...names }),
});
const idOf = (names: Names): string => {
  const result = certificateOf(connection(names), 0, new ClientAuthorities())!;
  return result.ok ? result.principal.id : result.fault.message;
};

describe('the id', () => {
  test.each([
    [{ subject: 'O=Example\nCN=ada' }, 'cert:O=Example,CN=ada'],
    // A comma in a name is escaped, so that one name cannot look like two.
    [{ subject: 'CN=ada\\,O=Example' }, 'cert:CN=ada\\,O=Example'],
    [{ subject: 'CN=ada + O=Example' }, 'cert:CN=ada + O=Example'],
    [
      { subject: 'CN=ada', subjectAltName: 'DNS:a, URI:spiffe://example.org/ada' },
      'spiffe://example.org/ada',
    ],
    [{ subject: 'CN=ada', subjectAltName: 'DNS:"x\\u002c URI:spiffe://example.org/eve"' }, 'cert:CN=ada'],
    [{ subject: 'CN=ada', subjectAltName: 'URI:https://example.org/ada' }, 'cert:CN=ada'],
  ])('of %j is %s', (names, id) => {
    expect(idOf(names)).toBe(id);
  });

  test('is refused if there are several SPIFFE ids', () => {
    const subjectAltName = 'URI:spiffe://example.org/ada, URI:spiffe://example.org/eve';
    expect(idOf({ subject: 'CN=ada', subjectAltName })).toMatch(/several SPIFFE ids/);
  });
});

test('a certificate that expired on an open connection is refused', () => {
  const clock = new ManualClock(END - 1);
  const access = new Access({ sources: [], authorities: new ClientAuthorities(), clock });
  const request = { headers: {}, socket: connection({ subject: 'CN=ada' }) };
  expect(access.authenticate(request)).toMatchObject({ ok: true, expiresAt: END });
  clock.advance(1);
  expect(access.authenticate(request)).toMatchObject({ ok: false, fault: { code: 'AUTH_EXPIRED' } });
});
