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
  /** Extended key usage, such as `serverAuth`. @default any */
  readonly usage?: string | undefined;
  /** Times in ms between which it is valid, in place of `days`. */
  readonly validity?: readonly [from: number, until: number] | undefined;
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

  /** Its own certificate, which it signed itself. */
  get own(): Certificate {
    return this.#files;
  }

  /** Makes a certificate that it signs. */
  issue(name: string, { subject, altNames, days = 2, usage, validity }: CertificateOptions): Certificate {
    this.#count += 1;
    const at = (ending: string): string => join(this.#directory, `${name}${ending}`);
    const [cert, key, request, extensions] = [at('.pem'), at('-key.pem'), at('.csr'), at('.ext')];
    openssl('req', '-new', ...KEY, '-subj', subject, '-keyout', key, '-out', request);
    const lines = [
      ...(altNames === undefined ? [] : [`subjectAltName=${altNames}`]),
      ...(usage === undefined ? [] : [`extendedKeyUsage=${usage}`]),
    ];
    writeFileSync(extensions, lines.map((line) => `${line}\n`).join(''));
    const { cert: authority, key: authorityKey } = this.#files;
    if (validity !== undefined) {
      this.#signBetween(validity, { request, extensions, cert });
      return { cert, key };
    }
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

  // `openssl x509` of OpenSSL 3.0 has no option for the times.
  #signBetween(
    validity: readonly [from: number, until: number],
    { request, extensions, cert }: { request: string; extensions: string; cert: string },
  ): void {
    const at = (name: string): string => join(this.#directory, `between-${this.#count}-${name}`);
    const [config, index, serial] = [at('ca.conf'), at('index.txt'), at('serial')];
    writeFileSync(index, '');
    writeFileSync(serial, (this.#count + 16).toString(16));
    writeFileSync(
      config,
      `[ca]\ndefault_ca=c\n[c]\ndatabase=${index}\nserial=${serial}\nnew_certs_dir=${this.#directory}\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\norganizationName=optional\n`,
    );
    const [from, until] = validity.map((ms) => new Date(ms).toISOString().replaceAll(/[-:T]|\.\d+/g, ''));
    const { cert: authority, key } = this.#files;
    const signed = ['-cert', authority, '-keyfile', key, '-startdate', from!, '-enddate', until!];
    const files = ['-extfile', extensions, '-in', request, '-out', cert];
    openssl('ca', '-batch', '-notext', '-config', config, ...signed, ...files);
  }
}
