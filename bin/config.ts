// The settings of the commands that connect to a fabric or start one. The only file of bin that reads the environment.
import { tryParseAddress } from '@fame-fabric/shared';
import {
  ADMISSION_VARIABLES,
  admissionUrl,
  type ClientCertificate,
  checkNaylenceVariables,
  type Environment,
  isJsonLog,
  LOG_FORMATS,
  readAdmissionUrls,
  readClientCertificate,
  readEnv,
  readLocalListener,
  readTokenSettings,
  type TokenSettings,
  type Variable,
} from '@fame-fabric/shared/internal';
import { AdmissionToken, type NodeSecurityProfile, readNodeSecurityProfile } from '@fame-fabric/shared/node';
import type { SentinelHttp } from './sentinel-http.ts';

/** Every variable that the commands read; docs/configuration.md lists them. */
export const CLIENT_VARIABLES: readonly Variable[] = Object.freeze([
  ...ADMISSION_VARIABLES,
  {
    name: 'FAME_CONNECT_TIMEOUT_MS',
    type: 'integer',
    unit: 'ms',
    default: '30000',
    description: 'Time limit of the first attach, retries included.',
  },
  {
    name: 'FAME_TURN_TIMEOUT_MS',
    type: 'integer',
    unit: 'ms',
    default: '600000',
    description: 'How long a turn may take, and how long a streamed turn may be silent.',
  },
  {
    name: 'FAME_SHOW_ENVELOPES',
    type: 'choice',
    default: 'false',
    description:
      'true prints the metadata of every envelope on stderr; full prints whole envelopes, user text included.',
  },
  {
    name: 'FAME_SHOW_REASONING',
    type: 'boolean',
    default: 'false',
    description: 'true shows the reasoning of the model before its answers; false shows only that it thinks.',
  },
  {
    name: 'FAME_SYSTEM_PROMPT',
    type: 'text',
    default: '',
    description: 'System prompt of new conversations; unset leaves the choice to the agent.',
  },
  {
    name: 'FAME_CHAT_ADDRESS',
    type: 'address',
    default: 'chat@fame.fabric',
    description: 'The agent that `npx fame-fabric chat` talks to.',
  },
  {
    name: 'FAME_DRAIN_MS',
    type: 'integer',
    unit: 'ms',
    default: '10000',
    description: 'Time that `make stop` gives running calls to finish; 10 s later it kills the processes.',
  },
  {
    name: 'FAME_DATA_DIR',
    type: 'path',
    default: '.fame',
    description: 'Directory for history, logs and pid files.',
  },
  {
    name: 'FAME_KEYS_FILE',
    type: 'path',
    default: 'keys in FAME_DATA_DIR',
    description:
      'File that `npx fame-fabric key` changes. Without FAME_DATA_DIR it is in the nearest .fame of this and the parent directories.',
  },
  {
    name: 'FAME_JWT_CLIENT_ID',
    type: 'text',
    default: 'dev',
    description: 'Client id that `npx fame-fabric token serve` accepts.',
  },
  {
    name: 'FAME_JWT_CLIENT_SECRET',
    type: 'text',
    default: 'kept in the data directory',
    description: 'Client secret that `npx fame-fabric token serve` accepts.',
    secret: true,
  },
  { name: 'NO_COLOR', type: 'text', default: '', description: 'Any value switches colours off.' },
] as const satisfies Variable[]);

type ShowEnvelopes = 'off' | 'metadata' | 'full';

/** Host, port and URLs of a sentinel on this machine. */
export interface LocalSentinel {
  readonly host: string;
  readonly port: number;
  readonly hasTls: boolean;
  readonly url: string;
  readonly httpUrl: string;
}

export interface ClientConfig {
  /** Admission URL. */
  readonly url: string;
  /** Admission URLs of other sentinels of the same cluster. */
  readonly otherUrls: readonly string[];
  /** URL of the HTTP side of the same sentinel, without a slash at its end. */
  readonly httpUrl: string;
  readonly local: LocalSentinel;
  readonly token: TokenSettings;
  readonly certificate: ClientCertificate | undefined;
  readonly securityProfile: NodeSecurityProfile;
  readonly connectTimeoutMs: number;
  readonly turnTimeoutMs: number;
  readonly showEnvelopes: ShowEnvelopes;
  readonly showsReasoning: boolean;
  readonly systemPrompt: string | undefined;
  readonly chatAddress: string;
  readonly drainMs: number;
  readonly dataDir: string;
  readonly keysFile: string | undefined;
  /** False if the user has switched colours off. */
  readonly hasColours: boolean;
}

const DAY_MS = 86_400_000;

const SHOW_ENVELOPES: Readonly<Record<string, ShowEnvelopes>> = {
  true: 'metadata',
  1: 'metadata',
  yes: 'metadata',
  on: 'metadata',
  full: 'full',
  false: 'off',
  0: 'off',
  no: 'off',
  off: 'off',
};

/** Reads the settings of the commands. @throws {CONFIG_INVALID} with one line for each fault */
export const readClientConfig = (env: Environment): ClientConfig =>
  readEnv(env, (reader) => {
    checkNaylenceVariables(reader);
    const local = localSentinel(readLocalListener(reader));
    const { url, otherUrls } = readAdmissionUrls(reader, local.url);
    const chatAddress = reader.text('FAME_CHAT_ADDRESS') ?? 'chat@fame.fabric';
    const isAddress = tryParseAddress(chatAddress) !== undefined;
    reader.check('FAME_CHAT_ADDRESS', chatAddress, isAddress, 'an address such as chat@fame.fabric');
    return {
      url,
      otherUrls,
      httpUrl: httpUrlOf(url),
      local,
      token: readTokenSettings(reader),
      certificate: readClientCertificate(reader),
      securityProfile: readNodeSecurityProfile(reader),
      connectTimeoutMs: reader.integer('FAME_CONNECT_TIMEOUT_MS', 30_000, 1, DAY_MS),
      turnTimeoutMs: reader.integer('FAME_TURN_TIMEOUT_MS', 600_000, 1, DAY_MS),
      showEnvelopes: reader.choice('FAME_SHOW_ENVELOPES', 'off', SHOW_ENVELOPES, 'true, false or full'),
      showsReasoning: reader.boolean('FAME_SHOW_REASONING', false),
      systemPrompt: reader.text('FAME_SYSTEM_PROMPT'),
      chatAddress,
      drainMs: reader.integer('FAME_DRAIN_MS', 10_000, 0, 600_000),
      dataDir: reader.text('FAME_DATA_DIR') ?? '.fame',
      keysFile: reader.text('FAME_KEYS_FILE'),
      hasColours: wantsColours(env),
    };
  });

/** Settings of the development issuer. */
export interface DevIssuerConfig {
  readonly dataDir: string;
  readonly clientId: string;
  /** @default one in the data directory */
  readonly clientSecret: string | undefined;
  readonly audience: string;
}

/** Reads the settings of the development issuer. @throws {CONFIG_INVALID} with one line for each fault */
export const readDevIssuerConfig = (env: Environment): DevIssuerConfig =>
  readEnv(env, (reader) => ({
    dataDir: reader.text('FAME_DATA_DIR') ?? '.fame',
    clientId: reader.secret('FAME_JWT_CLIENT_ID') ?? 'dev',
    clientSecret: reader.secret('FAME_JWT_CLIENT_SECRET'),
    audience: reader.unquoted('FAME_JWT_AUDIENCE') ?? 'fame.fabric',
  }));

/** The sentinel of these settings, for HTTP requests. */
export const sentinelOf = ({ url, httpUrl, token }: ClientConfig): SentinelHttp => ({
  httpUrl,
  token: new AdmissionToken(url, token),
});

/**
 * The sentinel that was started here, for HTTP requests. Uses the key of the data directory, because the token variables may
 * belong to another sentinel.
 */
export const localSentinelOf = (
  { dataDir }: Pick<ClientConfig, 'dataDir'>,
  { url, httpUrl }: LocalSentinel,
): SentinelHttp => ({
  httpUrl,
  token: new AdmissionToken(url, { token: undefined, tokenFile: undefined, dataDir }),
});

/** True if a process with this environment logs JSON. A faulty FAME_LOG_FORMAT, which the process reports, counts as unset. */
export const logsJson = (env: Environment): boolean =>
  isJsonLog(
    LOG_FORMATS[env.FAME_LOG_FORMAT?.trim().toLowerCase() ?? ''] ?? 'auto',
    Boolean(process.stderr.isTTY),
  );

/** True unless the user has switched colours off. */
export const wantsColours = (env: Environment): boolean => !env.NO_COLOR?.trim() && env.TERM !== 'dumb';

/** Derives the URLs of a sentinel on this machine from its host, its port, and whether it serves TLS. */
export function localSentinel({
  host,
  port,
  hasTls,
}: Pick<LocalSentinel, 'host' | 'port' | 'hasTls'>): LocalSentinel {
  const url = admissionUrl(host, port, hasTls);
  return Object.freeze({ host, port, hasTls, url, httpUrl: httpUrlOf(url) });
}

// A sentinel serves HTTP on the host and port of its WebSocket. A proxy may serve both below a path. The result for an invalid
// URL is empty; `readEnv` reports it.
function httpUrlOf(url: string): string {
  const parsed = URL.parse(url);
  if (!parsed) return '';
  const base = /^(.*?)\/fame\/v1\/attach\//.exec(parsed.pathname)?.[1] ?? '';
  return `${parsed.protocol === 'wss:' ? 'https:' : 'http:'}//${parsed.host}${base}`;
}
