// The routes by which a page signs in: the session of the request, the exchange of a one-time code or a key for a session cookie, and
// the links with such codes.
import type { Clock, Principal } from '@fame-fabric/shared';
import {
  type ClientAddresses,
  type Doors,
  FabricError,
  refusalBody,
  tableCode,
} from '@fame-fabric/shared/router';
import { type Access, ANONYMOUS_CALLER, type Granted, isKeyed } from '../access/access.ts';
import { credentialOf } from '../access/credential.ts';
import type { Guard } from '../access/guard.ts';
import { SignInLimit } from '../access/sign-in-limit.ts';
import { SignInLinks } from '../access/sign-in-links.ts';
import type { Identity } from '../identity.ts';
import type { FastifyInstance, FastifyReply } from './fastify.ts';

export const SESSION_PATH = '/fame/v1/session';
const SIGN_IN_LINKS_PATH = '/fame/v1/sign-in-links';

/** A key has at most 8,192 bytes, and a longer one than 2,800 does not fit into a cookie. */
const MAX_BODY_BYTES = 10_240;
const MAX_CODE_CHARS = 64;

export interface SessionRoutesDeps {
  access: Access;
  guard: Guard;
  identity: Identity;
  clients: ClientAddresses;
  clock: Clock;
  /** @default the port has no doors */
  doors: Doors | undefined;
}

/** @param isEncrypted true if the port serves TLS */
export function sessionRoutes(app: FastifyInstance, deps: SessionRoutesDeps, isEncrypted: boolean): void {
  const { access, clients, clock, doors, guard, identity } = deps;
  const { cookies } = access;
  if (cookies === undefined) return;
  const links = new SignInLinks(clock);
  const limit = new SignInLimit(clock);

  const may = (principal: Principal, action: 'Connect' | 'Watch' | 'Admin', page?: string): boolean =>
    guard.permissions.decide(principal, action, page).isAllowed;

  /** True if the principal may attach, or read the list of nodes. */
  const isAdmitted = (principal: Principal): boolean =>
    may(principal, 'Connect') || may(principal, 'Watch', 'nodes');

  const view = (granted: Granted | undefined) => {
    const principal = granted?.principal;
    const isSignedIn = principal !== undefined && isKeyed(principal);
    // The names of the fabric are for those who may attach to it.
    const isKnown = principal !== undefined && isAdmitted(principal);
    return {
      principal: isSignedIn ? { id: principal.id, roles: principal.roles } : null,
      isSignedIn,
      isCredentialNeeded: access.isCredentialNeeded,
      may: {
        watch: principal !== undefined && may(principal, 'Watch', 'nodes'),
        admin: principal !== undefined && may(principal, 'Admin'),
      },
      sentinel: {
        version: identity.version,
        ...(isKnown ? { id: identity.id, path: identity.path } : {}),
      },
      ...(isKnown ? { chatAddress: doors?.chatAddress } : {}),
      doors: doors?.names ?? [],
    };
  };

  app.get(SESSION_PATH, async (request, reply) => {
    reply.header('cache-control', 'no-store');
    const result = await access.authenticate(request);
    if (result.ok) {
      const isRefused = isKeyed(result.principal) && !isAdmitted(result.principal);
      return isRefused ? refuse(reply, NOT_ADMITTED) : view(result);
    }
    const { code } = result.fault;
    // A page whose session has ended signs in again. Any other faulty credential is refused, also a client certificate.
    const isEndedSession =
      code === 'AUTH_INVALID' &&
      credentialOf(request.headers).kind === 'none' &&
      cookies.open(request) !== undefined;
    if (code !== 'AUTH_MISSING' && !isEndedSession) return refuse(reply, result.fault);
    if (cookies.has(request) && cookies.isOwn(request)) {
      reply.header('set-cookie', cookies.clearingHeader(request));
    }
    return view(access.isCredentialNeeded ? undefined : ANONYMOUS_CALLER);
  });

  app.post(SESSION_PATH, { bodyLimit: MAX_BODY_BYTES }, async (request, reply) => {
    reply.header('cache-control', 'no-store');
    if (!cookies.isOwn(request)) return refuse(reply, FOREIGN_PAGE);
    const remote = clients.of(request);
    const waitMs = limit.waitMs(remote);
    if (waitMs !== undefined) {
      reply.header('retry-after', String(Math.ceil(waitMs / 1_000)));
      return refuse(reply, TOO_MANY);
    }
    const given = signInOf(request.body);
    if (given === undefined) return refuse(reply, INVALID_BODY);
    const token = 'code' in given ? links.redeem(given.code) : given.key;
    const result = token === undefined ? undefined : await access.verify(token);
    if (token === undefined || result === undefined || !result.ok) {
      const fault = result?.ok === false && !('code' in given) ? result.fault : UNKNOWN_CODE;
      if (fault.code !== 'AUTH_UNAVAILABLE') limit.failed(remote);
      guard.signIn('refused', { remote });
      return refuse(reply, fault);
    }
    if (!isAdmitted(result.principal)) {
      guard.signIn('refused', { principal: result.principal.id, remote });
      return refuse(reply, NOT_ADMITTED);
    }
    const header = cookies.header(token, request, result.expiresAt);
    if (header === undefined) return refuse(reply, TOO_LONG);
    guard.signIn('allowed', { principal: result.principal.id, remote });
    reply.header('set-cookie', header);
    return view(result);
  });

  app.delete(SESSION_PATH, async (request, reply) => {
    if (!cookies.isOwn(request)) return refuse(reply, FOREIGN_PAGE);
    return reply.code(204).header('set-cookie', cookies.clearingHeader(request)).send();
  });

  // Only Admin reaches this route.
  app.post(SIGN_IN_LINKS_PATH, async (request, reply) => {
    if (doors?.names?.includes('console') !== true) return refuse(reply, NO_CONSOLE);
    const credential = credentialOf(request.headers);
    const token = credential.kind === 'bearer' ? credential.token : cookies.open(request)?.token;
    if (token === undefined) return refuse(reply, NO_TOKEN);
    const { code, expiresAt } = links.create(token);
    const base = doors.publicUrl ?? `${isEncrypted ? 'https' : 'http'}://${request.headers.host}`;
    reply.code(201).header('cache-control', 'no-store');
    // The fragment of a URL is not sent to servers, so no log of a proxy has the code.
    return { url: `${base}/console/#code=${code}`, expiresAt: new Date(expiresAt).toISOString() };
  });
}

/** The credential in the body of a sign-in. Undefined for any other body. */
function signInOf(body: unknown): { readonly code: string } | { readonly key: string } | undefined {
  if (typeof body !== 'object' || body === null) return undefined;
  const { code, key, remember } = body as Record<string, unknown>;
  if (typeof code === 'string' && key === undefined) {
    return code.length > 0 && code.length <= MAX_CODE_CHARS ? { code } : undefined;
  }
  return typeof key === 'string' && key !== '' && code === undefined && remember === true
    ? { key }
    : undefined;
}

function refuse(reply: FastifyReply, { code, message }: FabricError): FastifyReply {
  const status = STATUS[code] ?? 401;
  if (status === 401) reply.header('www-authenticate', 'Bearer');
  return reply.code(status).send(refusalBody(tableCode(code), message));
}

/** Status of a refusal, unless it is 401. */
const STATUS: Readonly<Record<string, number>> = {
  AUTH_FORBIDDEN: 403,
  AUTH_UNAVAILABLE: 503,
  QUOTA_EXCEEDED: 429,
  REQUEST_INVALID: 400,
  MESSAGE_TOO_LARGE: 413,
  OPERATION_UNSUPPORTED: 501,
};

const FOREIGN_PAGE = new FabricError(
  'AUTH_FORBIDDEN',
  'Only a page of this sentinel may sign in or out. The request needs the Origin of its Host',
);
const NOT_ADMITTED = new FabricError(
  'AUTH_FORBIDDEN',
  'This key may neither attach nor read the list of nodes. `npx fame-fabric why` explains the decision',
);
const TOO_MANY = new FabricError(
  'QUOTA_EXCEEDED',
  'Too many failed sign-ins from this address. Try again later',
);
const INVALID_BODY = new FabricError(
  'REQUEST_INVALID',
  'The body must be {"code": "..."} of a sign-in link, or {"key": "...", "remember": true}',
);
const UNKNOWN_CODE = new FabricError(
  'AUTH_INVALID',
  'The sign-in link was used, has expired or is not of this sentinel. Get another one: npx fame-fabric console',
);
const TOO_LONG = new FabricError(
  'MESSAGE_TOO_LARGE',
  'The key is too long for a cookie. Sign in without "remember", which keeps the key in the page',
);
const NO_CONSOLE = new FabricError(
  'OPERATION_UNSUPPORTED',
  'This sentinel serves no console. Add console to FAME_DOORS and restart it',
);
const NO_TOKEN = new FabricError(
  'OPERATION_UNSUPPORTED',
  'A sign-in link stands for the key or token that asks for it, and this request has a client certificate only',
);
