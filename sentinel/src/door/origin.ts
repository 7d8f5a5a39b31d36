// Restricts access by web pages. Programs send no Origin and pass. A browser always sends one; without the check any page
// that a person visits could reach a port on their machine, also through a DNS name that points at it.

export interface OriginOptions {
  readonly allowedOrigins: readonly string[];
  readonly allowedHosts: readonly string[];
}

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

const nameOf = (host: string): string => host.replace(/:\d+$/, '').toLowerCase();

/** True if `host`, a Host header, names this machine or an allowed host. */
export const isAllowedHost = (host: string | undefined, { allowedHosts }: OriginOptions): boolean => {
  if (host === undefined) return false;
  const name = nameOf(host);
  return LOOPBACK.test(name) || allowedHosts.some((allowed) => allowed.toLowerCase() === name);
};

/** True if a page of this Origin may open a WebSocket. */
export function isAllowedOrigin(
  origin: string | undefined,
  host: string | undefined,
  options: OriginOptions,
): boolean {
  if (origin === undefined) return true;
  if (options.allowedOrigins.includes(origin)) return true;
  if (!URL.canParse(origin)) return false;
  return new URL(origin).host === host?.toLowerCase() && isAllowedHost(host, options);
}
