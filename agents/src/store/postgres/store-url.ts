// The URL of a PostgreSQL store, as FAME_STORE_URL has it. It names one database and one or more hosts of it, of which one accepts
// writes. Errors and `place` never contain the password.
import { FabricError } from '@fame-fabric/shared';

/** A server that may have the database. */
export interface StoreHost {
  /** Name, address, or the directory of a Unix socket. */
  readonly host: string;
  readonly port: number;
}

export interface StoreAddress {
  /** At least one. They are tried in order. */
  readonly hosts: readonly StoreHost[];
  readonly database: string;
  readonly user: string;
  readonly password: string | undefined;
  /** `verify-full` checks the certificate and its name, `require` only encrypts. */
  readonly tls: 'disable' | 'require' | 'verify-full';
  /** False if the server may be on another machine and the URL has no `sslmode`, so that the connection is not encrypted. */
  readonly isProtected: boolean;
  /** File with the certificates that `verify-full` trusts; undefined for those of Node. */
  readonly tlsRootFile: string | undefined;
  /** Location for logs and errors, without user and password. */
  readonly place: string;
}

const DEFAULT_PORT = 5432;
const FORM = /^postgres(?:ql)?:\/\/(?:([^/?#]*)@)?([^/?#@]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/;
const PARAMETER = /^[a-z_]{1,40}$/;
const PARAMETERS = ['host', 'port', 'sslmode', 'sslrootcert', 'target_session_attrs', 'application_name'];
const TLS_MODES: Readonly<Record<string, StoreAddress['tls']>> = {
  disable: 'disable',
  require: 'require',
  'verify-full': 'verify-full',
};
const EXAMPLE = 'postgres://USER:PASSWORD@HOST:5432/DATABASE';

/**
 * Parses a URL such as `postgres://user:password@one:5432,two:5432/fame?sslmode=verify-full`. Parts are percent-encoded. `host` in the
 * query names the directory of a Unix socket.
 * @throws {CONFIG_INVALID} with the faulty part, and never with the password
 */
export function parseStoreUrl(url: string): StoreAddress {
  const match = FORM.exec(url);
  if (!match) throw invalid(`is not a URL such as ${EXAMPLE}`);
  const [, credentials = '', hostText = '', databaseText = '', query = ''] = match;
  const parameters = new URLSearchParams(query);
  for (const name of parameters.keys()) {
    if (PARAMETERS.includes(name)) continue;
    // A question mark in a password begins the query, so the name may be the rest of the password.
    const quoted = credentials !== '' && PARAMETER.test(name) ? ` "${name}"` : '';
    throw invalid(`has the unknown parameter${quoted}; expected ${PARAMETERS.join(', ')}`);
  }
  const [userText = '', ...passwordTexts] = credentials.split(':');
  const user = decode(userText, 'user');
  if (user === '') throw invalid(`names no user; expected ${EXAMPLE}`);
  const database = decode(databaseText, 'database') || user;
  const hosts = hostsOf(hostText, parameters);
  const tlsMode = parameters.get('sslmode') ?? 'disable';
  const tls = TLS_MODES[tlsMode];
  if (!tls) throw invalid(`has an unknown sslmode; expected one of ${Object.keys(TLS_MODES).join(', ')}`);
  return {
    hosts,
    database,
    user,
    password: passwordTexts.length === 0 ? undefined : decode(passwordTexts.join(':'), 'password'),
    tls,
    isProtected: parameters.has('sslmode') || hosts.every(isLocal),
    tlsRootFile: parameters.get('sslrootcert') ?? undefined,
    place: `postgres://${hosts.map(({ host, port }) => `${host}:${port}`).join(',')}/${database}`,
  };
}

/** True for a Unix socket and for loopback addresses. */
const isLocal = ({ host }: StoreHost): boolean => /^(\/|localhost$|127\.\d+\.\d+\.\d+$|::1$)/.test(host);

function hostsOf(hostText: string, parameters: URLSearchParams): StoreHost[] {
  const named = (hostText === '' ? (parameters.get('host') ?? 'localhost') : hostText).split(',');
  const port = parameters.get('port');
  return named.map((text) => {
    const [, host = '', ownPort] = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(text) ?? [];
    const value = Number(ownPort ?? port ?? DEFAULT_PORT);
    if (host === '' || !Number.isInteger(value) || value < 1 || value > 65_535)
      throw invalid('has a faulty host or port');
    return { host: decode(host.replace(/^\[|\]$/g, ''), 'host'), port: value };
  });
}

function decode(text: string, part: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalid(`has a faulty percent-encoding in its ${part}`);
  }
}

const invalid = (fault: string): FabricError => new FabricError('CONFIG_INVALID', `FAME_STORE_URL ${fault}.`);
