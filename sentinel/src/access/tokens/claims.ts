// Reads the claims of a verified token: the principal, its roles and its scopes.
import type { ClaimValue, Principal, Role } from '@fame-fabric/shared';
import type { JWTPayload } from 'jose';
import { ROLES } from '../policy/actions.ts';

/** The scope that every node needs, as in naylence. */
export const CONNECT_SCOPE = 'node.connect';
/** The scope of sentinels that attach as children or peers, as in naylence. */
export const TRUSTED_SCOPE = 'node.trusted';

const MAX_ITEMS = 64;
const MAX_CHARS = 256;

/** Scopes are in one of four claims: a text with blanks or commas between them, or a list. */
export function scopesOf({ scope, scopes, scp, capabilities }: JWTPayload): ReadonlySet<string> {
  const found = [scope, scopes, scp, capabilities].flatMap(listOf);
  return new Set(found.slice(0, MAX_ITEMS));
}

/**
 * The id of the principal: `jwt:`, the issuer without its scheme, and the subject; the client for tokens without a subject, and the
 * node for tokens of a welcome service, which have neither. Undefined if there is none, or it is longer than 256 characters.
 */
export function principalIdOf(claims: JWTPayload): string | undefined {
  const { iss = '', sub, client_id: clientId, system_id: systemId } = claims;
  const subject = [sub, clientId, systemId].find((one) => typeof one === 'string' && one !== '') as
    | string
    | undefined;
  if (!subject?.isWellFormed()) return undefined;
  const id = `jwt:${withoutScheme(iss)}/${encodeURIComponent(subject)}`;
  return id.length <= MAX_CHARS ? id : undefined;
}

export const withoutScheme = (issuer: string): string => issuer.replace(/^[a-z][a-z\d+.-]*:\/\//i, '');

/** True for a token of a welcome service. It names one node of one sentinel, and has no subject and no scope. */
export const isWelcomeToken = ({ sub, client_id: clientId, system_id: systemId }: JWTPayload): boolean =>
  sub === undefined && clientId === undefined && typeof systemId === 'string' && systemId !== '';

/** Roles that the token names in `roles` or `role`; without any, those of its scopes. A node of naylence calls and serves. */
export function rolesOf(
  claims: JWTPayload,
  scopes: ReadonlySet<string>,
  trustedScope: string,
): readonly Role[] {
  const named = [claims.roles, claims.role].flatMap(listOf).filter(isRole);
  if (named.length > 0) return [...new Set(named)];
  return scopes.has(trustedScope) ? ['client', 'agent', 'sentinel'] : ['client', 'agent'];
}

/** The claims of the allow-list whose values are short. Undefined if there are none. */
export function allowedClaims(claims: JWTPayload, names: readonly string[]): Principal['claims'] {
  const found = names.flatMap((name): [string, ClaimValue][] => {
    const value = Object.hasOwn(claims, name) ? claims[name] : undefined;
    return isClaimValue(value) ? [[name, value]] : [];
  });
  return found.length > 0 ? Object.fromEntries(found) : undefined;
}

const isRole = (text: string): text is Role => (ROLES as readonly string[]).includes(text);

const isText = (value: unknown): value is string => typeof value === 'string' && value.length <= MAX_CHARS;

const isClaimValue = (value: unknown): value is ClaimValue =>
  isText(value) ||
  typeof value === 'boolean' ||
  Number.isFinite(value) ||
  (Array.isArray(value) && value.length <= MAX_ITEMS && value.every(isText));

const listOf = (value: unknown): string[] => {
  const items = typeof value === 'string' ? value.split(/[\s,]+/) : Array.isArray(value) ? value : [];
  return items
    .filter(isText)
    .map((item) => item.trim())
    .filter((item) => item !== '');
};
