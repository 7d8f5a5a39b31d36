// Restricts access by web pages, on WebSocket upgrades and on HTTP routes. Without the check any page that a person visits
// could use a port on their machine: as a foreign origin, or through a DNS name that points at this machine. A browser sends
// that name as Host, and the origin of the page as Origin. Both are compared as parsed, never as text.
import { isLoopbackHost } from '../link/loopback.ts';

/** Entry of FAME_ALLOWED_ORIGINS for every page of a loopback host: localhost, 127.0.0.0/8 and [::1], http or https, any port. */
export const LOOPBACK_PAGES = 'loopback';

export interface OriginOptions {
  /** Origins, or `LOOPBACK_PAGES`. */
  readonly allowedOrigins: readonly string[];
  readonly allowedHosts: readonly string[];
  /** True if the port serves TLS, so that the sentinel's own pages are https. @default false */
  readonly isEncrypted?: boolean | undefined;
}

/** The headers that the check reads. */
export interface OriginHeaders {
  readonly origin?: string | undefined;
  readonly host?: string | undefined;
}

/** `host` or `host:port`. Excludes user info, paths, and characters that a URL parser decodes or drops. */
const AUTHORITY = /^(?:\[[\da-f:.]+\]|[\w.-]+)(?::\d{1,5})?$/i;
const WEB_ORIGIN = /^(https?):\/\/(.+)$/i;

/** The last Host header, the scheme of its port, and its URL. Most nodes send the same Host, and parsing takes a twentieth of an attach. */
let lastHost = '';
let lastIsEncrypted = false;
let lastHostUrl: URL | undefined;

/** Parses a Host header: lower case, IPv6 in its short form, without the default port of `scheme`. */
const parseHost = (host: string, scheme = 'http'): URL | undefined =>
  AUTHORITY.test(host) ? (URL.parse(`${scheme}://${host}`) ?? undefined) : undefined;

function ownHost(host: string, isEncrypted = false): URL | undefined {
  if (host !== lastHost || isEncrypted !== lastIsEncrypted) {
    lastHostUrl = parseHost(host, isEncrypted ? 'https' : 'http');
    lastHost = host;
    lastIsEncrypted = isEncrypted;
  }
  return lastHostUrl;
}

function parseOrigin(origin: string): URL | undefined {
  const [, scheme, host] = WEB_ORIGIN.exec(origin) ?? [];
  return host === undefined ? undefined : parseHost(host, scheme);
}

/** True for an origin as browsers send it: a scheme, a host and no path, such as `http://localhost:5173`. */
export const isOrigin = (text: string): boolean =>
  WEB_ORIGIN.test(text)
    ? parseOrigin(text) !== undefined
    : /^[a-z][a-z\d+.-]*:\/\/[\w.-]+(?::\d{1,5})?$/i.test(text);

/** True for a host name or address without a scheme, port or path. */
export const isHostName = (text: string): boolean =>
  parseHost(text)?.port === '' && !/:\d+$/.test(text.replace(/^\[.*\]/, ''));

/** True if other machines cannot reach a listener on `address`, an interface or `localhost`. */
export const isLoopback = (address: string): boolean =>
  isLoopbackHost(address.includes(':') ? `[${address}]` : address);

/**
 * Returns why a request is refused, or undefined if it may pass. Its Host must be a loopback address, localhost or an allowed
 * host, with any port. Its Origin, if present, must be an allowed origin or that of the sentinel itself, with the scheme of its port.
 */
export function originFault(
  { origin, host }: OriginHeaders,
  { allowedOrigins, allowedHosts, isEncrypted }: OriginOptions,
): string | undefined {
  const own = ownHost(host ?? '', isEncrypted);
  const isOwnHost =
    own &&
    (isLoopbackHost(own.hostname) || allowedHosts.some((name) => parseHost(name)?.host === own.hostname));
  if (!isOwnHost)
    return `The host "${host?.slice(0, 120) ?? ''}" is not allowed: add it to FAME_ALLOWED_HOSTS`;
  if (origin === undefined) return undefined;
  // The origin of a URL contains scheme, host and port.
  const page = parseOrigin(origin);
  const isAllowed =
    page?.origin === own.origin || allowedOrigins.some((allowed) => matchesPage(allowed, origin, page));
  if (isAllowed) return undefined;
  return `The origin "${origin.slice(0, 120)}" is not allowed: add it to FAME_ALLOWED_ORIGINS`;
}

function matchesPage(allowed: string, origin: string, page: URL | undefined): boolean {
  if (allowed === LOOPBACK_PAGES) return page !== undefined && isLoopbackHost(page.hostname);
  return allowed === origin || (page !== undefined && parseOrigin(allowed)?.origin === page.origin);
}

/** Returns the setting that would allow a refused page. Undefined if none does, as for the origin `null` or an unknown Host. */
export function settingForPage(
  { origin = '', host }: OriginHeaders,
  options: OriginOptions,
): string | undefined {
  if (origin.length > 120 || !isOrigin(origin)) return undefined;
  const origins = [...options.allowedOrigins, origin];
  const isEnough = originFault({ origin, host }, { ...options, allowedOrigins: origins }) === undefined;
  return isEnough ? `FAME_ALLOWED_ORIGINS=${origins.join(',')}` : undefined;
}

/**
 * True if a page of the port itself sent the request, with the Host of its own Origin. A proxy may terminate TLS, so a page may be https
 * although the port is not. False without an Origin. Call it after the check of Origin and Host.
 */
export function isOwnPage({ origin, host }: OriginHeaders, isEncrypted = false): boolean {
  const [, scheme = '', authority = ''] = WEB_ORIGIN.exec(origin ?? '') ?? [];
  if (isEncrypted && scheme.toLowerCase() !== 'https') return false;
  const page = parseHost(authority, scheme);
  return page !== undefined && page.host === parseHost(host ?? '', scheme)?.host;
}

/** The options of `requestFault`. */
export interface RequestOriginOptions extends OriginOptions {
  /** True if other machines reach the port. */
  readonly isOpen: boolean;
  /** True if requests without a credential are refused. */
  readonly isCredentialNeeded: boolean;
}

/**
 * Returns why a plain HTTP request is refused. Programs send no Origin, and may use any name of a machine that others reach. A browser
 * leaves Origin out of some GET requests. So a GET request needs a known Host, an IP address as Host, or a port that asks for credentials:
 * a page under a foreign DNS name that points here has no credential.
 */
export function requestFault(
  headers: OriginHeaders,
  method: string,
  options: RequestOriginOptions,
): string | undefined {
  const { origin, host = '' } = headers;
  const fault = originFault(headers, options);
  if (fault === undefined || origin !== undefined || !options.isOpen) return fault;
  const own = ownHost(host, options.isEncrypted);
  if (own === undefined) return fault;
  const sendsOrigin = method !== 'GET' && method !== 'HEAD';
  return sendsOrigin || options.isCredentialNeeded || isIpAddress(own.hostname) ? undefined : fault;
}

const isIpAddress = (hostname: string): boolean => hostname.startsWith('[') || /^[\d.]+$/.test(hostname);

/**
 * Returns why a WebSocket upgrade is refused. Programs send no Origin, browsers always do. On an interface that other machines
 * reach (`isOpen`), programs may use any name of this machine, such as a service name or that of a proxy.
 */
export function upgradeFault(
  headers: OriginHeaders,
  options: OriginOptions,
  isOpen: boolean,
): string | undefined {
  const isProgram = isOpen && headers.origin === undefined && ownHost(headers.host ?? '') !== undefined;
  return isProgram ? undefined : originFault(headers, options);
}
