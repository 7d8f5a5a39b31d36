// Session cookies, the carrier of a credential for pages of the port itself. The cookie contains the credential, encrypted with a key
// that only the sentinel has. So its expiry, its revocation and the policy apply as they do to the credential, and the sentinel stores no
// sessions.
//
// Invariants: I1 a cookie counts only for requests of the sentinel's own pages: every port of a host shares its cookies, and
// SameSite=Strict admits pages of other ports. I2 a cookie that cannot be opened is no credential: it may be that of another program.
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import type { Clock } from '@fame-fabric/shared';
import { isOwnPage } from '@fame-fabric/shared/router';

/** Lifetime of a session. */
const LIFETIME_MS = 14 * 24 * 3_600_000;
/** Browsers drop a cookie of more than 4,096 bytes, with its name and attributes. */
const MAX_VALUE_CHARS = 3_900;
/** Cookies of the same name that are tried. A page of another port may have set one. */
const MAX_TRIED = 4;

const CIPHER = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const CONTEXT = Buffer.from('fame session 1');

/** The parts of a request that the check of a cookie reads. */
export interface CookieRequest {
  /** @default a method that changes state */
  readonly method?: string | undefined;
  readonly headers: {
    readonly cookie?: string | undefined;
    readonly origin?: string | undefined;
    readonly host?: string | undefined;
    readonly upgrade?: string | undefined;
    readonly 'sec-fetch-site'?: string | string[] | undefined;
  };
}

/** The credential in a cookie. */
export interface CookieSession {
  readonly token: string;
  /** Wall time in ms since the epoch. */
  readonly expiresAt: number;
}

export interface SessionCookiesOptions {
  /** True if the port serves TLS. */
  readonly isEncrypted: boolean;
}

export class SessionCookies {
  readonly #openKey: () => Buffer;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #isEncrypted: boolean;
  #loaded: { readonly key: Buffer; readonly name: string } | undefined;

  /** @param openKey returns the key of 32 bytes; called with the first cookie */
  constructor(openKey: () => Buffer, clock: Pick<Clock, 'now'>, { isEncrypted }: SessionCookiesOptions) {
    this.#openKey = openKey;
    this.#clock = clock;
    this.#isEncrypted = isEncrypted;
  }

  // The name depends on the key, so that sentinels on several ports of a machine have a cookie each.
  get #seal(): { readonly key: Buffer; readonly name: string } {
    if (this.#loaded === undefined) {
      const key = this.#openKey();
      const digest = createHash('sha256').update(CONTEXT).update(key).digest('hex');
      this.#loaded = { key, name: `fame_session_${digest.slice(0, 8)}` };
    }
    return this.#loaded;
  }

  /** Returns the session of a request, or undefined if its cookie is no credential (I1, I2). */
  open(request: CookieRequest): CookieSession | undefined {
    const values = this.#valuesOf(request.headers.cookie);
    if (values.length === 0 || !this.isOwn(request)) return undefined;
    const now = this.#clock.now();
    for (const value of values) {
      const session = this.#decrypt(value);
      if (session !== undefined && now < session.expiresAt) return session;
    }
    return undefined;
  }

  /** True if the request has a cookie with the name of this sentinel's sessions. */
  has({ headers }: CookieRequest): boolean {
    return this.#valuesOf(headers.cookie).length > 0;
  }

  /**
   * True if a page of this port sent the request. Browsers leave Origin out of most GET requests, and tell where they come from in
   * Sec-Fetch-Site. Requests that change state, and upgrades, need an Origin.
   */
  isOwn({ method, headers }: CookieRequest): boolean {
    if (headers.origin !== undefined) return isOwnPage(headers, this.#isEncrypted);
    if ((method !== 'GET' && method !== 'HEAD') || headers.upgrade !== undefined) return false;
    const site = headers['sec-fetch-site'] ?? 'none';
    return site === 'same-origin' || site === 'none';
  }

  /**
   * Returns the header `Set-Cookie` of a new session, or undefined if the token is too long for a cookie. The cookie ends with the
   * credential, and after 14 days.
   */
  header(
    token: string,
    { headers }: CookieRequest,
    credentialExpiresAt = Number.POSITIVE_INFINITY,
  ): string | undefined {
    const now = this.#clock.now();
    const expiresAt = Math.min(now + LIFETIME_MS, credentialExpiresAt);
    const value = this.#encrypt({ token, expiresAt });
    if (value.length > MAX_VALUE_CHARS) return undefined;
    const maxAgeSeconds = Math.max(0, Math.floor((expiresAt - now) / 1_000));
    return `${this.#seal.name}=${value}; Max-Age=${maxAgeSeconds}${this.#attributes(headers.origin)}`;
  }

  /** Returns the header `Set-Cookie` that removes the cookie. */
  clearingHeader({ headers }: CookieRequest): string {
    return `${this.#seal.name}=; Max-Age=0${this.#attributes(headers.origin)}`;
  }

  #attributes(origin = ''): string {
    const isSecure = this.#isEncrypted || /^https:/i.test(origin);
    return `; Path=/; HttpOnly; SameSite=Strict${isSecure ? '; Secure' : ''}`;
  }

  #valuesOf(header: string | undefined): string[] {
    if (header === undefined || !header.includes('fame_session_')) return [];
    const prefix = `${this.#seal.name}=`;
    return header
      .split(';')
      .map((pair) => pair.trim())
      .filter((pair) => pair.startsWith(prefix))
      .slice(0, MAX_TRIED)
      .map((pair) => pair.slice(prefix.length));
  }

  #encrypt({ token, expiresAt }: CookieSession): string {
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, this.#seal.key, nonce).setAAD(CONTEXT);
    const sealed = Buffer.concat([cipher.update(JSON.stringify([expiresAt, token])), cipher.final()]);
    return Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString('base64url');
  }

  #decrypt(value: string): CookieSession | undefined {
    if (value.length > MAX_VALUE_CHARS) return undefined;
    const bytes = Buffer.from(value, 'base64url');
    if (bytes.length <= NONCE_BYTES + TAG_BYTES) return undefined;
    const [nonce, tag, sealed] = [
      bytes.subarray(0, NONCE_BYTES),
      bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES),
      bytes.subarray(NONCE_BYTES + TAG_BYTES),
    ];
    const decipher = createDecipheriv(CIPHER, this.#seal.key, nonce).setAAD(CONTEXT).setAuthTag(tag);
    try {
      const text = Buffer.concat([decipher.update(sealed), decipher.final()]).toString();
      const [expiresAt, token] = JSON.parse(text) as [number, string];
      return { expiresAt, token };
    } catch {
      return undefined; // not of this sentinel, or altered
    }
  }
}
