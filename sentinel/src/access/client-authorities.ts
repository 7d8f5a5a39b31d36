// The current issuers of client certificates, from FAME_TLS_CLIENT_CA_FILE. TLS verifies a certificate when a connection begins. After a
// change of the file, this module checks the certificates of older connections again: a certificate whose issuer was removed is revoked.
// Node.js does not expose the intermediate certificates of a verified connection. So any change revokes the certificates of intermediate
// issuers, and their nodes attach again with a new connection.
import { X509Certificate } from 'node:crypto';
import type { Principal } from '@fame-fabric/shared';

const PEM_BLOCK = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** A client certificate that was accepted. */
interface Accepted {
  readonly certificate: X509Certificate;
  readonly connection: object;
}

export class ClientAuthorities {
  #pem = '';
  #authorities: readonly X509Certificate[] = [];
  /** Generation of the current issuers; 1 at the start. */
  #generation = 0;
  /** By connection, the generation of the issuers with which TLS verified its certificate. */
  readonly #verified = new WeakMap<object, number>();
  readonly #accepted = new WeakMap<Principal, Accepted>();
  #isRevoked: (principal: Principal) => boolean = () => false;

  /** Generation of the current issuers. It grows with each change. */
  get generation(): number {
    return this.#generation;
  }

  /** Replaces the issuers by the certificates of a PEM file. */
  replace(pem: string): void {
    if (pem === this.#pem) return;
    this.#pem = pem;
    this.#authorities = (pem.match(PEM_BLOCK) ?? []).map((block) => new X509Certificate(block));
    this.#generation++;
    if (this.#generation === 1) return;
    // A new function tells the sweeper to check all sessions.
    this.#isRevoked = (principal) => {
      const accepted = this.#accepted.get(principal);
      return accepted !== undefined && !this.trusts(accepted.connection, accepted.certificate);
    };
  }

  /** Records the issuers with which TLS has verified the certificate of a connection. */
  verified(connection: object, generation: number): void {
    this.#verified.set(connection, generation);
  }

  /** True if a current issuer still accepts the certificate of the connection, which TLS has accepted. */
  trusts(connection: object, certificate: X509Certificate): boolean {
    if (this.#generation <= 1 || this.#verified.get(connection) === this.#generation) return true;
    return this.#authorities.some(
      (issuer) =>
        issuer.fingerprint256 === certificate.fingerprint256 ||
        (certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)),
    );
  }

  /** Records the certificate of a principal, so that it can be revoked. */
  accepted(principal: Principal, connection: object, certificate: X509Certificate): void {
    this.#accepted.set(principal, { certificate, connection });
  }

  /** The check of `CredentialSource`. */
  revocations(): (principal: Principal) => boolean {
    return this.#isRevoked;
  }
}
