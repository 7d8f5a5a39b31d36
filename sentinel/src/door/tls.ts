// TLS of the port: reads the certificate, the key and the CA of client certificates from their files, creates the HTTPS server, and
// reads changed files again without a restart. Connections that are open keep the certificate that they began with. Loaded only if
// TLS is configured.
import { X509Certificate } from 'node:crypto';
import type { Server } from 'node:http';
import { createServer, type Server as HttpsServer, type ServerOptions } from 'node:https';
import type { Socket } from 'node:net';
import { createSecureContext } from 'node:tls';
import type { Clock, Logger } from '@fame-fabric/shared';
import { reasonOf } from '@fame-fabric/shared/internal';
import { FabricError, readBoundedFile } from '@fame-fabric/shared/router';
import type { ClientAuthorities } from '../access/client-authorities.ts';
import { fileVersion } from '../access/file-version.ts';
import { remoteOf } from './node-socket.ts';

export interface TlsFiles {
  /** PEM file with the certificate of the sentinel and those of its issuers. */
  readonly certFile: string;
  /** PEM file with its private key. */
  readonly keyFile: string;
  /** PEM file with the certificates whose clients are accepted. @default clients send no certificate */
  readonly clientCaFile?: string | undefined;
}

/** Time in which the handshake of a connection must end, in ms: that of an attach. */
const HANDSHAKE_WITHIN_MS = 4_800;
/** A larger file holds no certificates. */
const MAX_FILE_BYTES = 1_048_576;

interface TlsDeps {
  /** Receives the certificates of `clientCaFile`. */
  authorities: ClientAuthorities | undefined;
  clock: Clock;
  log: Logger;
}

interface Loaded {
  /** Identity of the files that were read. */
  readonly version: string;
  /** End of the validity of the certificate, wall time in ms. */
  readonly validTo: number;
  readonly context: { readonly cert: string; readonly key: string; readonly ca?: string };
}

export class Tls {
  readonly #files: TlsFiles;
  readonly #deps: TlsDeps;
  #loaded: Loaded;
  /** Version of files that could not be used; they are reported once. */
  #faulty = '';
  #server: HttpsServer | undefined;
  /** The issuers at the start of each connection, by its address and port: TLS wraps the socket in another object. */
  readonly #handshakes = new Map<string, number>();

  /** @throws {CONFIG_INVALID} when a file cannot be read, or key and certificate do not fit */
  constructor(files: TlsFiles, deps: TlsDeps) {
    this.#files = files;
    this.#deps = deps;
    this.#loaded = load(files, deps.clock);
    deps.authorities?.replace(this.#loaded.context.ca ?? '');
  }

  /** End of the validity of the certificate in use, wall time in ms since the epoch. */
  get validTo(): number {
    return this.#loaded.validTo;
  }

  /** Creates the HTTP server of the port. */
  createServer(options: ServerOptions, onRequest: NonNullable<Parameters<typeof createServer>[1]>): Server {
    const hasClientCa = this.#files.clientCaFile !== undefined;
    const server = createServer(
      {
        ...options,
        ...this.#loaded.context,
        minVersion: 'TLSv1.2',
        ALPNProtocols: ['http/1.1'],
        handshakeTimeout: HANDSHAKE_WITHIN_MS,
        requestCert: hasClientCa,
        // A certificate that is not accepted is refused with its reason, by the check of credentials.
        rejectUnauthorized: false,
      },
      onRequest,
    );
    const { authorities } = this.#deps;
    if (authorities !== undefined) this.#noteIssuers(server, authorities);
    // Scanners and clients that use plain HTTP. Node closes their connections.
    server.on('tlsClientError', (error, socket) => {
      this.#deps.log.debug('a TLS handshake failed', {
        code: (error as NodeJS.ErrnoException).code,
        remote: socket.remoteAddress,
      });
    });
    this.#server = server;
    return server;
  }

  // A handshake uses the files that were in use when its connection began.
  #noteIssuers(server: HttpsServer, authorities: ClientAuthorities): void {
    server.on('connection', (socket: Socket) => {
      const remote = remoteOf(socket);
      this.#handshakes.set(remote, authorities.generation);
      socket.once('close', () => this.#handshakes.delete(remote));
    });
    server.on('secureConnection', (socket) =>
      authorities.verified(socket, this.#handshakes.get(remoteOf(socket)) ?? 0),
    );
  }

  /** Reads the files again if one of them was changed. Faulty files are logged once, and the last good ones stay in use. */
  reload(): void {
    const version = versionOf(this.#files);
    if (version === this.#loaded.version || version === this.#faulty) return;
    try {
      this.#loaded = load(this.#files, this.#deps.clock);
      this.#server?.setSecureContext({ ...this.#loaded.context, minVersion: 'TLSv1.2' });
      this.#deps.authorities?.replace(this.#loaded.context.ca ?? '');
      const { validTo } = new X509Certificate(this.#loaded.context.cert);
      this.#deps.log.info('read the changed TLS files', { validTo });
    } catch (error) {
      this.#faulty = version;
      const { message } = error as Error;
      this.#deps.log.error('cannot use the changed TLS files; the last ones stay in use', {
        reason: message,
      });
    }
  }
}

/** @throws {CONFIG_INVALID} */
function load(files: TlsFiles, clock: Clock): Loaded {
  const { certFile, keyFile, clientCaFile } = files;
  const version = versionOf(files);
  const cert = readCertificates('FAME_TLS_CERT_FILE', certFile, clock);
  const key = read('FAME_TLS_KEY_FILE', keyFile);
  const ca =
    clientCaFile === undefined ? undefined : readCertificates('FAME_TLS_CLIENT_CA_FILE', clientCaFile, clock);
  const context = { cert, key, ...(ca !== undefined && { ca }) };
  try {
    createSecureContext(context);
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    // The text of OpenSSL names the kind of the fault, and has no part of the key.
    const why = code.includes('MISMATCH') ? 'it is not the key of the certificate' : message;
    throw fault('FAME_TLS_KEY_FILE', keyFile, why);
  }
  return { version, validTo: Date.parse(new X509Certificate(cert).validTo), context };
}

function readCertificates(variable: string, file: string, clock: Clock): string {
  const pem = read(variable, file);
  let validTo: string;
  try {
    ({ validTo } = new X509Certificate(pem));
  } catch {
    throw fault(variable, file, 'it has no certificate in PEM format');
  }
  if (Date.parse(validTo) < clock.now()) throw fault(variable, file, `its certificate expired on ${validTo}`);
  return pem;
}

function read(variable: string, file: string): string {
  try {
    return readBoundedFile(file, MAX_FILE_BYTES);
  } catch (error) {
    throw fault(variable, file, reasonOf(error));
  }
}

const fault = (variable: string, file: string, why: string): FabricError =>
  new FabricError('CONFIG_INVALID', `${variable} is "${file}", which cannot be used: ${why}`);

/** Identity of the files; that of a file which cannot be reached is empty. */
const versionOf = ({ certFile, keyFile, clientCaFile }: TlsFiles): string =>
  [certFile, keyFile, clientCaFile].map((file) => (file === undefined ? '' : fileVersion(file))).join();
