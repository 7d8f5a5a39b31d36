// The principal of a client certificate. TLS verifies the certificate against FAME_TLS_CLIENT_CA_FILE; this reads the name in it.
import type { TLSSocket } from 'node:tls';
import type { Principal } from '@fame-fabric/shared';
import { FabricError } from '@fame-fabric/shared/router';
import type { ClientAuthorities } from './client-authorities.ts';

/** Result of the check of a certificate. */
type CheckedCertificate =
  | { readonly ok: true; readonly principal: Principal; readonly expiresAt: number }
  | { readonly ok: false; readonly fault: FabricError };

/** The part of a connection that has the certificate of its client. */
type CertifiedSocket = Pick<TLSSocket, 'authorized' | 'authorizationError' | 'getPeerX509Certificate'>;

/** A longer name in a certificate is refused. */
const MAX_NAME_CHARS = 250;
const SPIFFE = /(?:^|, )URI:(spiffe:\/\/[^,\s]+)/g;
const ROLES = Object.freeze(['client', 'agent'] as const);

/**
 * Returns the principal of the certificate that a client sent: its SPIFFE id, or `cert:` and its subject, such as
 * `cert:CN=ada,O=Example`. Returns undefined for a connection without TLS or without a certificate. `now` is wall time in ms. TLS
 * checks the validity and the issuer only when a connection begins, so both are checked here again.
 */
export function certificateOf(
  socket: object,
  now: number,
  authorities: ClientAuthorities,
): CheckedCertificate | undefined {
  if (!('getPeerX509Certificate' in socket)) return undefined;
  const { authorized, authorizationError } = socket as CertifiedSocket;
  const certificate = (socket as CertifiedSocket).getPeerX509Certificate();
  if (certificate === undefined) return undefined;
  if (!authorized) {
    const code = String(
      (authorizationError as NodeJS.ErrnoException | undefined)?.code ?? authorizationError,
    );
    return code === 'CERT_HAS_EXPIRED' ? EXPIRED : issuerUnknown(code);
  }
  if (!authorities.trusts(socket, certificate))
    return issuerUnknown('the issuers changed after this connection began; connect again');
  const { subject, subjectAltName, validTo } = certificate;
  const expiresAt = Date.parse(validTo);
  if (now >= expiresAt) return EXPIRED;
  const [spiffeId, ...others] = [...(subjectAltName ?? '').matchAll(SPIFFE)].map(([, id]) => id);
  if (others.length > 0)
    return refusedBy('AUTH_INVALID', 'The client certificate has several SPIFFE ids, and may have one');
  const names = subject?.split('\n').filter((name) => name !== '') ?? [];
  const id = spiffeId ?? (names.length > 0 ? `cert:${names.join(',')}` : '');
  if (id === '' || id.length > MAX_NAME_CHARS)
    return refusedBy(
      'AUTH_INVALID',
      `The client certificate has neither a SPIFFE id nor a subject of at most ${MAX_NAME_CHARS} characters`,
    );
  const principal = principalNamed(id);
  authorities.accepted(principal, socket, certificate);
  return { ok: true, principal, expiresAt };
}

const principalNamed = (id: string): Principal => Object.freeze({ id, roles: ROLES });

const refusedBy = (code: 'AUTH_INVALID' | 'AUTH_EXPIRED', reason: string): CheckedCertificate => ({
  ok: false,
  fault: new FabricError(code, reason),
});

const issuerUnknown = (why: string): CheckedCertificate =>
  refusedBy(
    'AUTH_INVALID',
    `The client certificate is not accepted (${why}): its issuer must be in FAME_TLS_CLIENT_CA_FILE of the sentinel`,
  );

const EXPIRED = refusedBy('AUTH_EXPIRED', 'The client certificate has expired. Attach with a new one.');
