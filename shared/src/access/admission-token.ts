// The token that a node or a command of this machine sends to its sentinel, and where it comes from. It is read for each attempt
// to attach, so a rotated key is found without a restart.
import { statSync } from 'node:fs';
import { searchDataDirs } from '../data-dir.ts';
import { printable } from '../env/read-env.ts';
import { ERRORS } from '../errors/codes.ts';
import { FabricError, isFabricError } from '../errors/error.ts';
import { reasonOf } from '../errors/reason-of.ts';
import type { TokenSettings } from '../link/admission-url.ts';
import { isLoopbackHost } from '../link/loopback.ts';
import type { TokenSource } from '../link/transport.ts';
import { cutText } from '../text/cut-text.ts';
import { redactUrl } from '../text/redact-url.ts';
import { IssuedTokens } from './issued-tokens.ts';
import { isTrusted, localKeyFile, readTokenFile } from './local-key-file.ts';
import { checkToken } from './secret.ts';

const MAX_REASON_CHARS = 120;
/** The part of a sentinel's message that names the expired credential. */
const EXPIRED = /The \w+(?: "[^"]*")? has expired/;

/** Details of an error whose message names its fix. */
const COMPLETE = { details: { fix: '' } } as const;

const MAX_DETAIL_CHARS = 300;
/** The message of a sentinel about a token (JWT), which names its own fix. */
const OF_TOKEN = /\b(?:The|A) (?:\w+ of the )?token\b.*/s;

/** The message of a sentinel about a client certificate. */
const OF_CERTIFICATE = /\bThe client certificate\b.*/s;

/** The message about an issuer that gave no token. */
const OF_ISSUER = /^The token issuer at /;

export class AdmissionToken implements TokenSource {
  readonly #url: string;
  readonly #settings: TokenSettings;
  readonly #onDropped: (message: string) => void;
  readonly #issued: IssuedTokens | undefined;
  /** Returns a fresh token of the issuer; undefined if the token does not come from one. */
  readonly renew: (() => Promise<string>) | undefined;
  /** True if the next `read` leaves out a found key, which the sentinel has just refused. */
  #leavesOut = false;
  /** True if the sentinel refused the found key. */
  #wasRefused = false;
  #hasNotified = false;
  /** The reason why a found key could not be read, such as `EACCES`. */
  #unreadable: string | undefined;

  /**
   * `url` is the admission URL of the sentinel. `onDropped` receives a message for people when a key that was only found is left
   * out: it could not be read, or it is that of another sentinel. The node then attaches without a key.
   */
  constructor(url: string, settings: TokenSettings, onDropped: (message: string) => void = () => {}) {
    this.#url = url;
    this.#settings = settings;
    this.#onDropped = onDropped;
    const issued = settings.issuer && new IssuedTokens(settings.issuer);
    this.#issued = issued;
    this.renew = issued && (() => issued.renew());
  }

  /**
   * Reads the token: that of the issuer at FAME_ADMISSION_TOKEN_URL, else FAME_ADMISSION_TOKEN, else the file
   * FAME_ADMISSION_TOKEN_FILE, else the local key of the data directory. The local key is sent only to sentinels of this machine.
   * Returns undefined if there is none.
   * @throws {CONFIG_INVALID} when FAME_ADMISSION_TOKEN_FILE cannot be read
   * @throws {AUTH_UNAVAILABLE | AUTH_INVALID} when the issuer gives no token; the promise rejects
   */
  read(): string | undefined | Promise<string> {
    if (this.#issued !== undefined) return this.#issued.read();
    const { token, tokenFile } = this.#settings;
    if (token !== undefined) return token;
    if (tokenFile !== undefined) return readSetFile(tokenFile);
    const leavesOut = this.#leavesOut;
    this.#leavesOut = false;
    return leavesOut ? undefined : this.#readFound();
  }

  onRefused(): boolean {
    if (this.#issued !== undefined) return this.#issued.onRefused();
    const { token, tokenFile } = this.#settings;
    if (token !== undefined || tokenFile !== undefined) return false;
    const file = this.#foundFile();
    if (file === undefined) return false; // the sentinel refused a client certificate
    this.#leavesOut = true;
    this.#wasRefused = true;
    this.#notify(`The key in ${file} is not that of this sentinel; attaching without a key`);
    return true;
  }

  /** Where the token comes from, for messages: a variable or a file. Undefined if there is none. */
  get source(): string | undefined {
    const { issuer, token, tokenFile } = this.#settings;
    if (issuer !== undefined) return redactUrl(issuer.tokenUrl);
    if (token !== undefined) return 'FAME_ADMISSION_TOKEN';
    return tokenFile ?? this.#foundFile();
  }

  /**
   * Error for a sentinel that refused the token, or that needs one and received none. States the source of the token and a fix.
   * `reason` is the message of the sentinel.
   */
  refusal(code: 'AUTH_INVALID' | 'AUTH_MISSING', reason = ''): FabricError {
    const sentinel = `The sentinel at ${redactUrl(this.#url)}`;
    const { fix } = ERRORS[code];
    if (code === 'AUTH_MISSING')
      return new FabricError(code, `${sentinel} needs a key for this, and ${this.#reasonForNone()}. ${fix}`);
    const certificate = OF_CERTIFICATE.exec(reason)?.[0];
    if (certificate !== undefined) {
      const text = cutText(certificate, MAX_DETAIL_CHARS);
      return new FabricError(code, `${sentinel} refused the attach: ${text}`, COMPLETE);
    }
    const detail = OF_TOKEN.exec(reason)?.[0];
    if (detail !== undefined) {
      const text = cutText(detail, MAX_DETAIL_CHARS);
      return new FabricError(code, `${sentinel} refused the token from ${this.source}: ${text}`, COMPLETE);
    }
    const expired = EXPIRED.exec(reason)?.[0];
    const why = expired === undefined ? '' : `: ${cutText(expired, MAX_REASON_CHARS)}`;
    return new FabricError(code, `${sentinel} refused the key from ${this.source}${why}. ${fix}`);
  }

  /** Returns the error of an attach, or a clearer one if the sentinel refused the token or needs one. */
  explain(error: unknown): unknown {
    // Errors of the issuer name their fix.
    if (this.#issued !== undefined && isFabricError(error, 'AUTH_INVALID') && OF_ISSUER.test(error.message))
      return error;
    if (isFabricError(error, 'AUTH_INVALID')) return this.refusal('AUTH_INVALID', error.message);
    if (isFabricError(error, 'AUTH_EXPIRED')) return new FabricError('AUTH_EXPIRED', error.message, COMPLETE);
    return isFabricError(error, 'AUTH_MISSING') ? this.refusal('AUTH_MISSING') : error;
  }

  #readFound(): string | undefined {
    const file = this.#foundFile();
    this.#unreadable = undefined;
    if (file === undefined) return undefined;
    try {
      return readTokenFile(file);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') return undefined; // it was just removed
      this.#unreadable = code ?? message;
      this.#notify(`The key in ${file} cannot be read (${this.#unreadable}); attaching without a key`);
      return undefined;
    }
  }

  #reasonForNone(): string {
    if (this.#wasRefused) return `the key in ${this.#foundFile()} is not that of this sentinel`;
    if (!isLoopbackUrl(this.#url)) return 'the local key of this machine is not sent to another one';
    if (this.#unreadable !== undefined) return `${this.#foundFile()} cannot be read (${this.#unreadable})`;
    const { dataDir } = this.#settings;
    return dataDir === undefined
      ? 'no file .fame/token was found in this directory or those above'
      : `there is no file ${localKeyFile(dataDir)}`;
  }

  #notify(message: string): void {
    if (!this.#hasNotified) this.#onDropped(message);
    this.#hasNotified = true;
  }

  #foundFile(): string | undefined {
    return isLoopbackUrl(this.#url) ? findLocalKey(this.#settings.dataDir) : undefined;
  }
}

/**
 * Finds the local key of this user: in `dataDir`, or without one in the nearest `.fame` of the directory `from` and those above.
 * Files of other users are ignored.
 */
export const findLocalKey = (dataDir: string | undefined, from?: string): string | undefined =>
  searchDataDirs(dataDir, (directory) => ownFile(localKeyFile(directory)), from);

function ownFile(file: string): string | undefined {
  try {
    return isTrusted(statSync(file).uid) ? file : undefined;
  } catch {
    return undefined; // there is none
  }
}

function readSetFile(file: string): string {
  const fault = (reason: string): FabricError =>
    new FabricError(
      'CONFIG_INVALID',
      `FAME_ADMISSION_TOKEN_FILE is "${printable(file)}", which cannot be used: ${reason}`,
    );
  try {
    return checkToken(readTokenFile(file));
  } catch (error) {
    throw fault(reasonOf(error));
  }
}

const isLoopbackUrl = (url: string): boolean => isLoopbackHost(URL.parse(url)?.hostname ?? '');
