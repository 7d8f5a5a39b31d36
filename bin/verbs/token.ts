// `fame token`: a token issuer for development. `serve` runs it on this machine, `issue` prints one token with its key.
import { FabricError, systemClock } from '@fame-fabric/shared';
import { EXIT } from '@fame-fabric/shared/internal';
import { readDevIssuerConfig } from '../config.ts';
import { readLifetime, readPort, textFlag } from '../flags.ts';
import { aborted, onInterrupt } from '../interrupt.ts';
import { writeNote, writeOut } from '../output.ts';
import { readRole } from '../role-flag.ts';
import { issuerUrl, issueToken, startDevIssuer } from '../token/dev-issuer.ts';
import { clientSecretFile, openClientSecret, openIssuerKey } from '../token/issuer-key.ts';
import { UsageError, type VerbInput } from '../verb.ts';

/** The port of naylence's development server. */
const DEFAULT_PORT = 8099;
const DEFAULT_LIFETIME_MS = 3_600_000;
const LOOPBACK = ['127.0.0.1', '::1', 'localhost'];
/** Flags that only one action takes. */
const FLAGS: Readonly<Record<string, string>> = { sub: 'issue', scope: 'issue', role: 'issue', aud: 'issue' };

export async function run(input: VerbInput): Promise<number> {
  const [action, ...others] = input.positionals;
  if (action !== 'serve' && action !== 'issue') {
    throw new UsageError(`the actions of token are serve and issue, not "${action}"`);
  }
  if (others.length > 0) throw new UsageError(`token ${action} takes no argument, such as "${others[0]}"`);
  for (const [flag, owner] of Object.entries(FLAGS)) {
    if (input.flags[flag] !== undefined && owner !== action)
      throw new UsageError(`token ${action} takes no --${flag}`);
  }
  const host = textFlag(input, 'host') ?? '127.0.0.1';
  if (!LOOPBACK.includes(host)) {
    throw new UsageError(
      `--host takes a loopback address (${LOOPBACK.join(', ')}), not "${host}": this issuer is for development on one machine`,
    );
  }
  const port = readPort(input) ?? DEFAULT_PORT;
  const lifetimeMs = readLifetime(textFlag(input, 'expires'), '--expires') ?? DEFAULT_LIFETIME_MS;
  return action === 'serve' ? serve(input, host, port, lifetimeMs) : issue(input, host, port, lifetimeMs);
}

async function serve({ env }: VerbInput, host: string, port: number, lifetimeMs: number): Promise<number> {
  const { audience, clientId, clientSecret, dataDir } = readDevIssuerConfig(env);
  const issuer = await startDevIssuer({
    key: openIssuerKey(dataDir),
    host,
    port,
    clientId,
    clientSecret: clientSecret ?? openClientSecret(dataDir),
    audience,
    lifetimeMs,
  });
  const secret =
    clientSecret === undefined
      ? `FAME_ADMISSION_CLIENT_SECRET_FILE=${clientSecretFile(dataDir)}`
      : 'FAME_ADMISSION_CLIENT_SECRET=... (the value of FAME_JWT_CLIENT_SECRET)';
  writeNote(
    `The token issuer answers at ${issuer.url}; Ctrl-C ends it. It is for development on this machine.

Settings of a sentinel:
  FAME_SECURITY_PROFILE=gated
  FAME_JWT_TRUSTED_ISSUER=${issuer.url}
  FAME_JWT_ALGORITHM=EdDSA
  FAME_JWT_AUDIENCE=${audience}

Settings of agents and clients:
  FAME_ADMISSION_TOKEN_URL=${issuer.url}/oauth/token
  FAME_ADMISSION_CLIENT_ID=${clientId}
  ${secret}
  FAME_JWT_AUDIENCE=${audience}
`,
  );
  const { signal, release } = onInterrupt();
  await aborted(signal);
  release();
  await issuer.close();
  return EXIT.ok;
}

async function issue(input: VerbInput, host: string, port: number, lifetimeMs: number): Promise<number> {
  const sub = textFlag(input, 'sub');
  if (sub === undefined || sub === '')
    throw new UsageError('token issue needs --sub, the subject of the token');
  if (port === 0)
    throw new FabricError('CONFIG_INVALID', '--port takes the port of `fame token serve`, not 0');
  const { audience, dataDir } = readDevIssuerConfig(input.env);
  const text = textFlag(input, 'role');
  const role = text === undefined ? undefined : readRole(text);
  const request = {
    issuer: issuerUrl(host, port),
    audience: textFlag(input, 'aud') ?? audience,
    lifetimeMs,
    claims: {
      sub,
      scope: textFlag(input, 'scope') ?? 'node.connect',
      ...(role === undefined ? {} : { roles: [role] }),
    },
  };
  writeOut(`${issueToken(openIssuerKey(dataDir), request, systemClock)}\n`);
  return EXIT.ok;
}
