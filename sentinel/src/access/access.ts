// The check of credentials, for WebSocket upgrades and HTTP requests alike. Each kind of credential has a source, and the first
// source that accepts a token decides about it. A request without a credential is anonymous, unless this sentinel asks for
// credentials. A credential that is wrong or cannot be read is refused, so that a mistake is noticed.
import type { Clock, Principal } from '@fame-fabric/shared';
import { ANONYMOUS } from '@fame-fabric/shared/internal';
import { FabricError, isFabricError, systemClock } from '@fame-fabric/shared/router';
import { certificateOf } from './certificate.ts';
import type { ClientAuthorities } from './client-authorities.ts';
import { type CredentialHeaders, credentialOf } from './credential.ts';
import type { CookieRequest, SessionCookies } from './session-cookies.ts';

/** A principal, and the wall time in ms since the epoch at which its credential expires. @default it does not expire */
export interface Granted {
  readonly ok: true;
  readonly principal: Principal;
  readonly expiresAt?: number | undefined;
  /** Returns the fault of a node with this id that attaches with the credential. @default the credential is for any node */
  readonly nodeFault?: ((systemId: string) => FabricError | undefined) | undefined;
}

export type Authentication = Granted | { readonly ok: false; readonly fault: FabricError };

/** A pending result never rejects. */
export type MaybePending = Authentication | Promise<Authentication>;

/** True for the principal of a credential that was revoked. */
export type Revocations = (principal: Principal) => boolean;

/** One kind of credential. */
export interface CredentialSource {
  /** Name of its credentials in the startup line, such as `the local key`. Empty if it has none. */
  readonly label: string;
  /** True if the token has the format of this source. Later sources then never see it. */
  accepts(token: string): boolean;
  /** Verifies a token: at once, or with a promise if that needs input or output. */
  authenticate(token: string): MaybePending;
  /**
   * Reads the current state of the source. Returns a check that is true for a principal of this source whose credential was
   * revoked. It is the same function until a credential is revoked. Absent if credentials of this source only expire.
   */
  revocations?(): Revocations;
}

export interface AccessRequest {
  /** @default a method that changes state */
  readonly method?: string | undefined;
  readonly headers: CredentialHeaders & CookieRequest['headers'];
  /** The connection, which may have a client certificate. @default none */
  readonly socket?: object | undefined;
}

export interface AccessOptions {
  /** The first one that accepts a token decides about it. */
  readonly sources: readonly CredentialSource[];
  /** Refuses requests without a credential. @default false */
  readonly isCredentialNeeded?: boolean | undefined;
  /** Issuers of client certificates. @default the port asks clients for no certificate */
  readonly authorities?: ClientAuthorities | undefined;
  /** Session cookies of this port. @default cookies are no credentials */
  readonly cookies?: SessionCookies | undefined;
  /** Clock for the expiry of certificates. @default that of the system */
  readonly clock?: Pick<Clock, 'now'> | undefined;
}

export const ANONYMOUS_CALLER: Granted = Object.freeze({ ok: true, principal: ANONYMOUS });
/** The fix at the end of errors about a missing or wrong key. */
export const KEY_ADVICE =
  "Send the key in the file `token` of this sentinel's data directory (FAME_DATA_DIR, .fame by default), or one of `npx fame-fabric key add`, as `Authorization: Bearer KEY`";

export class Access {
  /** True if requests without a credential are refused. */
  readonly isCredentialNeeded: boolean;
  readonly #unknownKey: Authentication;
  readonly #sources: readonly CredentialSource[];
  /** Undefined if the port asks clients for no certificate. */
  readonly authorities: ClientAuthorities | undefined;
  /** Undefined if cookies are no credentials. */
  readonly cookies: SessionCookies | undefined;
  readonly #clock: Pick<Clock, 'now'>;
  #checks: readonly Revocations[] = [];
  #isRevoked: Revocations = () => false;

  constructor(options: AccessOptions) {
    const { sources, isCredentialNeeded = false, authorities, cookies, clock = systemClock } = options;
    this.#sources = sources;
    this.authorities = authorities;
    this.cookies = cookies;
    this.#clock = clock;
    this.isCredentialNeeded = isCredentialNeeded;
    this.#unknownKey = isCredentialNeeded ? UNKNOWN_KEY : UNKNOWN_KEY_OPEN;
  }

  /**
   * Returns the principal that the credential of a request belongs to, or a fault. A key or token comes before a session cookie, and that
   * before a certificate.
   */
  authenticate(request: AccessRequest): MaybePending {
    const { headers, socket } = request;
    const credential = credentialOf(headers);
    if (credential.kind === 'none') {
      const session = headers.cookie === undefined ? undefined : this.cookies?.open(request);
      if (session !== undefined) return withSession(this.verify(session.token), session.expiresAt);
      const certificate =
        this.authorities !== undefined && socket !== undefined
          ? certificateOf(socket, this.#clock.now(), this.authorities)
          : undefined;
      if (certificate !== undefined) return certificate;
      return this.isCredentialNeeded ? CREDENTIAL_MISSING : ANONYMOUS_CALLER;
    }
    if (credential.kind === 'unreadable') return refused(credential.reason);
    return this.verify(credential.token);
  }

  /** Returns the principal of a token, or a fault. */
  verify(token: string): MaybePending {
    for (const source of this.#sources) {
      if (!source.accepts(token)) continue;
      const result = source.authenticate(token);
      if (result instanceof Promise) return result.catch(unverified);
      return result === UNKNOWN_KEY ? this.#unknownKey : result;
    }
    return this.#unknownKey;
  }

  /**
   * Reads the current credentials. Returns a check that is true for the principal of a revoked one. It is the same function until
   * a credential is revoked.
   */
  revocations(): Revocations {
    const checks = [...this.#sources, this.authorities].flatMap((source) => source?.revocations?.() ?? []);
    if (checks.some((check, i) => check !== this.#checks[i])) {
      this.#checks = checks;
      this.#isRevoked = (principal) => checks.some((check) => check(principal));
    }
    return this.#isRevoked;
  }

  /** States the checks of this sentinel in one line. `isEncrypted` is true if it serves TLS. */
  summary(isEncrypted = false): string {
    const labels = this.#sources.flatMap(({ label }) => (label === '' ? [] : label));
    if (this.authorities !== undefined) labels.push('a client certificate');
    const accepted = labels.join(', or ') || 'a key (there is none)';
    const others = 'owners of addresses, Origin and Host of web pages.';
    const encryption = isEncrypted ? '' : ' Connections are not encrypted.';
    return this.isCredentialNeeded
      ? `A credential is needed to attach and call: ${accepted}. Checked: credentials, ${others}${encryption}`
      : `No credential is needed to attach and call (open mode). Checked: ${accepted} for ps, trace and metrics, ${others} Not checked: callers.${encryption}`;
  }

  /** True if the credential expired or was revoked. `now` is wall time in ms since the epoch. */
  hasEnded({ principal, expiresAt }: Granted, now: number): boolean {
    return (expiresAt !== undefined && now >= expiresAt) || this.revocations()(principal);
  }
}

/** Time until the credential expires, in ms; `now` is wall time. Undefined if it does not expire. */
export const expiresInMs = ({ expiresAt }: Pick<Granted, 'expiresAt'>, now: number): number | undefined =>
  expiresAt === undefined ? undefined : Math.max(1, Math.ceil(expiresAt - now));

/** The part of a principal that is sent to agents. */
export const agentView = ({ id, roles, claims, rights }: Principal): Principal => ({
  id,
  roles,
  claims,
  rights,
});

/** True if the principal sent a credential. */
export const isKeyed = ({ id }: Pick<Principal, 'id'>): boolean => id !== ANONYMOUS.id;

/** True if both principals sent the same credential. */
export const haveSameKey = (a: Pick<Principal, 'id'>, b: Pick<Principal, 'id'>): boolean =>
  isKeyed(a) && a.id === b.id;

export const refused = (reason: string): Authentication => ({
  ok: false,
  fault: new FabricError('AUTH_INVALID', reason),
});

/** Result for an unknown key. It is the same for every kind of key, so that a guess reveals nothing. */
export const UNKNOWN_KEY = refused(`The key is not one of this sentinel. ${KEY_ADVICE}`);

/** The same for a sentinel that needs no key. */
const UNKNOWN_KEY_OPEN = refused(`The key is not one of this sentinel. ${KEY_ADVICE}, or no key at all`);

const CREDENTIAL_MISSING: Authentication = Object.freeze({
  ok: false,
  fault: new FabricError('AUTH_MISSING', `This sentinel asks for a key. ${KEY_ADVICE}`),
});

const SESSION_ENDED = refused('The session has ended. Sign in again');

/** The result for a session cookie: the credential in it, until the session expires. */
const withSession = (result: MaybePending, expiresAt: number): MaybePending => {
  if (result instanceof Promise) return result.then((settled) => withSession(settled, expiresAt));
  if (!result.ok) return result.fault.code === 'AUTH_UNAVAILABLE' ? result : SESSION_ENDED;
  return { ...result, expiresAt: Math.min(expiresAt, result.expiresAt ?? expiresAt) };
};

const unverified = (error: unknown): Authentication => ({
  ok: false,
  fault: isFabricError(error)
    ? error
    : new FabricError('AUTH_INVALID', 'The credential could not be verified', { cause: error }),
});
