// The issuers of client certificates, as FAME_TLS_CLIENT_CA_FILE has them now. TLS verifies a certificate when a connection begins. After
// a change of the file, the certificates of older connections are checked again here: one whose issuer was removed is revoked. Node does
// not reveal the intermediate certificates of a verified connection. So a certificate of an intermediate issuer is revoked by any
// change, and its node returns with a new connection.
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
  /** Number of the issuers in force; 1 for those of the start. */
  #generation = 0;
  /** By connection, the issuers by which TLS verified its certificate. */
  readonly #verified = new WeakMap<object, number>();
  readonly #accepted = new WeakMap<Principal, Accepted>();
  #isRevoked: (principal: Principal) => boolean = () => false;

  /** Number of the issuers in force. It grows with each change. */
  get generation(): number {
    return this.#generation;
  }

  /** Puts the certificates of a PEM file in force. */
  replace(pem: string): void {
    if (pem === this.#pem) return;
    this.#pem = pem;
    this.#authorities = (pem.match(PEM_BLOCK) ?? []).map((block) => new X509Certificate(block));
    this.#generation++;
    if (this.#generation === 1) return;
    // Another function tells the sweeper that sessions must be checked.
    this.#isRevoked = (principal) => {
      const accepted = this.#accepted.get(principal);
      return accepted !== undefined && !this.trusts(accepted.connection, accepted.certificate);
    };
  }

  /** Notes the issuers by which TLS has verified the certificate of a connection. */
  verified(connection: object, generation: number): void {
    this.#verified.set(connection, generation);
  }

  /** True if the certificate of the connection, which TLS accepted, is still one of an issuer in force. */
  trusts(connection: object, certificate: X509Certificate): boolean {
    if (this.#generation <= 1 || this.#verified.get(connection) === this.#generation) return true;
    return this.#authorities.some(
      (issuer) =>
        issuer.fingerprint256 === certificate.fingerprint256 ||
        (certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)),
    );
  }

  /** Remembers the certificate of a principal, so that it can be revoked. */
  accepted(principal: Principal, connection: object, certificate: X509Certificate): void {
    this.#accepted.set(principal, { certificate, connection });
  }

  /** The check of `CredentialSource`. */
  revocations(): (principal: Principal) => boolean {
    return this.#isRevoked;
  }
}
