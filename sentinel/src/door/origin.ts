// Which web pages may talk to the sentinel. Programs send no Origin and pass; a browser always sends one, and any page a
// person visits could otherwise reach a port on their machine, also through a name that was made to point at it.

export interface OriginOptions {
  readonly allowedOrigins: readonly string[];
  readonly allowedHosts: readonly string[];
}

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

const nameOf = (host: string): string => host.replace(/:\d+$/, '').toLowerCase();

/** Whether `host` (a Host header) names this machine or is allowed by name. */
export const isAllowedHost = (host: string | undefined, { allowedHosts }: OriginOptions): boolean => {
  if (host === undefined) return false;
  const name = nameOf(host);
  return LOOPBACK.test(name) || allowedHosts.some((allowed) => allowed.toLowerCase() === name);
};

/** Whether a WebSocket with this Origin may be opened. */
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
