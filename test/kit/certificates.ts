// Certificates for tests of TLS: an authority, and certificates that it signs for servers and clients.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Certificate {
  /** PEM file with the certificate. */
  readonly cert: string;
  /** PEM file with its private key. */
  readonly key: string;
}

interface CertificateOptions {
  /** Such as `/CN=ada/O=Example`. */
  readonly subject: string;
  /** Such as `DNS:localhost,IP:127.0.0.1` or `URI:spiffe://example.org/ada`. @default none */
  readonly altNames?: string | undefined;
  /** Days until it expires; a negative number for one that has expired. @default 2 */
  readonly days?: number | undefined;
}

const openssl = (...args: string[]): void => void execFileSync('openssl', args, { stdio: 'pipe' });
const KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/** Makes a certificate authority in the directory. */
export class TestAuthority {
  readonly #directory: string;
  readonly #files: Certificate;
  #count = 0;

  constructor(directory: string, name = 'authority') {
    this.#directory = directory;
    this.#files = { cert: join(directory, `${name}.pem`), key: join(directory, `${name}-key.pem`) };
    const { cert, key } = this.#files;
    openssl('req', '-x509', ...KEY, '-days', '2', '-subj', `/CN=${name}`, '-keyout', key, '-out', cert);
  }

  /** PEM file with its own certificate, for NODE_EXTRA_CA_CERTS and FAME_TLS_CLIENT_CA_FILE. */
  get file(): string {
    return this.#files.cert;
  }

  /** Makes a certificate that it signs. */
  issue(name: string, { subject, altNames, days = 2 }: CertificateOptions): Certificate {
    this.#count += 1;
    const at = (ending: string): string => join(this.#directory, `${name}${ending}`);
    const [cert, key, request, extensions] = [at('.pem'), at('-key.pem'), at('.csr'), at('.ext')];
    openssl('req', '-new', ...KEY, '-subj', subject, '-keyout', key, '-out', request);
    writeFileSync(extensions, altNames === undefined ? '' : `subjectAltName=${altNames}\n`);
    const { cert: authority, key: authorityKey } = this.#files;
    const signed = ['-CA', authority, '-CAkey', authorityKey, '-set_serial', String(this.#count)];
    openssl(
      'x509',
      '-req',
      '-in',
      request,
      ...signed,
      '-days',
      String(days),
      '-extfile',
      extensions,
      '-out',
      cert,
    );
    return { cert, key };
  }
}
