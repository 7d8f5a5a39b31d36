// Verifies the tokens (JWT) of configured issuers. Everything that decides about a token comes from the configuration: its issuer,
// the URL of the keys, the audience and the algorithms. The header and the unverified claims of a token only select among these, so
// no URL of a token (`iss`, `jku`, `x5u`) is ever requested, and no algorithm of a token is ever used that is not on the list.
import type { Clock, ErrorCode, Logger, Principal } from '@fame-fabric/shared';
import type { requestIssuer } from '@fame-fabric/shared/internal';
import { FabricError, isFabricError, LIMITS } from '@fame-fabric/shared/router';
import { decodeJwt, errors, type JWTPayload, jwtVerify } from 'jose';
import type { Authentication, CredentialSource } from '../access.ts';
import { allowedClaims, CONNECT_SCOPE, isWelcomeToken, principalIdOf, rolesOf, scopesOf } from './claims.ts';
import { IssuerKeys } from './issuer-keys.ts';
import { isIdOfSubject, subjectFingerprint } from './node-identity.ts';
import type { TokenRules } from './token-rules.ts';

/** Three parts in base64url. */
const TOKEN = /^[\w-]+\.[\w-]+\.[\w-]*$/;
/** Allowed difference between the clocks of the issuer and of this machine, in s: for `nbf` and `iat`. `exp` counts exactly. */
const MAX_SKEW_S = 60;

export interface TokenSourceDeps {
  readonly clock: Clock;
  readonly log: Logger;
  /** Physical path of this sentinel: the audience of tokens that are only for it. It changes with the parent. */
  readonly path: () => string;
  /** Requests key sets. @default an HTTP request */
  readonly request?: typeof requestIssuer | undefined;
}

export class TokenCredentials implements CredentialSource {
  readonly #rules: TokenRules;
  readonly #deps: TokenSourceDeps;
  readonly #keysOf: ReadonlyMap<string, IssuerKeys>;

  constructor(rules: TokenRules, deps: TokenSourceDeps) {
    this.#rules = rules;
    this.#deps = deps;
    this.#keysOf = new Map(
      rules.issuers.map(({ issuer, jwksUrl }) => [issuer, new IssuerKeys(jwksUrl, deps)]),
    );
  }

  get label(): string {
    return `a token of ${this.#rules.issuers.map(({ issuer }) => issuer).join(', ')}`;
  }

  accepts(token: string): boolean {
    return token.length <= LIMITS.maxTokenChars && TOKEN.test(token);
  }

  async authenticate(token: string): Promise<Authentication> {
    try {
      return this.#grant(await this.#verify(token));
    } catch (error) {
      return { ok: false, fault: this.#faultOf(error) };
    }
  }

  async #verify(token: string): Promise<JWTPayload> {
    const { algorithms, audience } = this.#rules;
    const { iss } = decodeJwt(token);
    const keys = typeof iss === 'string' ? this.#keysOf.get(iss) : undefined;
    if (iss === undefined || keys === undefined) {
      throw fault(
        'AUTH_INVALID',
        'The issuer of the token is not one of FAME_JWT_TRUSTED_ISSUER of this sentinel',
      );
    }
    const now = this.#deps.clock.now();
    const { payload } = await jwtVerify(token, keys.find, {
      issuer: iss,
      audience: audience === undefined ? this.#deps.path() : [audience, this.#deps.path()],
      algorithms: [...algorithms],
      requiredClaims: ['exp'],
      clockTolerance: MAX_SKEW_S,
      currentDate: new Date(now),
    });
    if (payload.exp! * 1_000 <= now) throw EXPIRED;
    if ((payload.iat ?? 0) * 1_000 > now + MAX_SKEW_S * 1_000) throw NOT_YET_VALID;
    return payload;
  }

  #grant(claims: JWTPayload): Authentication {
    const { claimNames, enforcesSubject, trustedScope } = this.#rules;
    const scopes = scopesOf(claims);
    const isWelcome = isWelcomeToken(claims);
    if (!isWelcome && !scopes.has(CONNECT_SCOPE)) {
      throw fault(
        'AUTH_FORBIDDEN',
        `The token does not have the scope ${CONNECT_SCOPE}. Request it from the issuer, in FAME_ADMISSION_TOKEN_SCOPE of nodes of this software`,
      );
    }
    const id = principalIdOf(claims);
    if (id === undefined) {
      throw fault(
        'AUTH_INVALID',
        'The token has no subject (sub) and no client_id, or a very long one. Get another token',
      );
    }
    const allowed = allowedClaims(claims, claimNames);
    const principal: Principal = Object.freeze({
      id,
      roles: rolesOf(claims, scopes, trustedScope),
      scopes: [...scopes],
      ...(allowed && { claims: allowed }),
    });
    const { sub } = claims;
    const nodeFault = (systemId: string): FabricError | undefined => {
      if (isWelcome) return systemId === claims.system_id ? undefined : OTHER_NODE;
      if (!enforcesSubject || scopes.has(trustedScope)) return undefined;
      return sub !== undefined && isIdOfSubject(systemId, sub) ? undefined : wrongId(sub);
    };
    return { ok: true, principal, expiresAt: claims.exp! * 1_000, nodeFault };
  }

  // Texts never repeat the token or a part of it.
  #faultOf(error: unknown): FabricError {
    if (isFabricError(error)) return error;
    if (error instanceof errors.JWTExpired) return EXPIRED;
    if (error instanceof errors.JOSEAlgNotAllowed) {
      const names = this.#rules.algorithms.join(', ');
      return fault(
        'AUTH_INVALID',
        `The algorithm of the token is not allowed. This sentinel accepts ${names} (FAME_JWT_ALGORITHM)`,
      );
    }
    if (error instanceof errors.JWTClaimValidationFailed) {
      if (error.claim === 'aud') {
        return fault(
          'AUTH_INVALID',
          'The token is for another audience. Request one with the audience FAME_JWT_AUDIENCE of this sentinel; without that variable, the audience is the path of the sentinel',
        );
      }
      if (error.claim === 'exp')
        return fault('AUTH_INVALID', 'The token does not expire (no exp). Get one that does');
      if (error.claim === 'nbf') return NOT_YET_VALID;
      return fault(
        'AUTH_INVALID',
        'A claim of the token has the wrong form. Get a new token from its issuer',
      );
    }
    if (error instanceof errors.JWSSignatureVerificationFailed) {
      return fault('AUTH_INVALID', 'The signature of the token is wrong. Get a new token from its issuer');
    }
    if (!(error instanceof errors.JOSEError)) this.#deps.log.error('the check of a token failed', { error });
    return fault('AUTH_INVALID', 'The token cannot be read. Get a new token from its issuer');
  }
}

const fault = (code: ErrorCode, message: string): FabricError => new FabricError(code, message);

const EXPIRED = fault(
  'AUTH_EXPIRED',
  'The token has expired. Get a new one from its issuer, or set FAME_ADMISSION_TOKEN_URL to have the node renew its tokens',
);
const NOT_YET_VALID = fault(
  'AUTH_INVALID',
  'The token is not valid yet. Set the clocks of this machine and of the issuer: they may differ by 60 s',
);
const OTHER_NODE = fault(
  'AUTH_FORBIDDEN',
  'The token is for a node with another id. Attach with the id that the welcome service assigned',
);

const wrongId = (sub: string | undefined): FabricError =>
  fault(
    'AUTH_FORBIDDEN',
    sub === undefined
      ? 'The token has no subject (sub), and this sentinel binds node ids to subjects (FAME_ENFORCE_TOKEN_SUBJECT_NODE_IDENTITY)'
      : `The id of a node with this token must begin with "${subjectFingerprint(sub)}-" (FAME_ENFORCE_TOKEN_SUBJECT_NODE_IDENTITY). Set FAME_NODE_ID, or FAME_NODE_IDENTITY_PROFILE=token-subject in nodes of naylence`,
  );
