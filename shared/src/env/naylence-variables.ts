// The environment variables of naylence's packages, and the effect of each one here. A value that asks for a protection that is not
// built is refused: the fabric would start without it. Variables without an effect are reported. docs/naylence.md has the list.
import { BOOLEANS, type EnvReader } from './read-env.ts';
import type { Environment } from './variable.ts';

export interface NaylenceVariable {
  readonly name: string;
  /** True if sentinels, agents or commands read it. @default false */
  readonly isRead?: boolean | undefined;
  /** Accepted values, in lower case: they match the behaviour here. @default none */
  readonly same?: readonly string[] | undefined;
  /** Values, in lower case, that are refused; `others` refuses all except `same`. Other values have no effect. @default none */
  readonly refuses?: 'others' | readonly string[] | undefined;
  /** The alternative, or the behaviour here; one sentence. */
  readonly note: string;
  /** True if faults must not quote its value. @default false */
  readonly isSecret?: boolean | undefined;
}

const FALSE = Object.keys(BOOLEANS).filter((text) => !BOOLEANS[text]);
const TRUE = Object.keys(BOOLEANS).filter((text) => BOOLEANS[text]);

const withNote = (note: string, ...names: string[]): NaylenceVariable[] =>
  names.map((name) => ({ name, note }));

const read = (note: string, names: readonly string[]): NaylenceVariable[] =>
  names.map((name) => ({ name, isRead: true, note }));

const PROFILES =
  "Other profiles need authentication, signatures or encryption that this release does not have: start naylence's own sentinel for them.";

const VARIABLES: readonly NaylenceVariable[] = [
  { name: 'FAME_DELIVERY_PROFILE', isRead: true, note: 'Read by agents.' },
  {
    name: 'FAME_DIRECT_ADMISSION_URL',
    isRead: true,
    note: 'Read by agents and commands. A sentinel reads FAME_PARENT_URL.',
  },
  { name: 'FAME_LISTENER_PORT', isRead: true, note: 'Read by sentinels, agents and commands.' },
  { name: 'FAME_LOG_LEVEL', isRead: true, note: 'Read by sentinels and agents.' },
  { name: 'FAME_NODE_ID', isRead: true, note: 'Read by sentinels and agents.' },
  { name: 'FAME_SHOW_ENVELOPES', isRead: true, note: 'Read by agents and commands.' },
  ...read('Read by sentinels, agents and commands that get their tokens from an issuer.', [
    'FAME_ADMISSION_CLIENT_ID',
    'FAME_ADMISSION_CLIENT_SECRET',
    'FAME_ADMISSION_TOKEN_URL',
  ]),
  ...read('Read by sentinels.', [
    'FAME_AUTH_POLICY_PATH',
    'FAME_ENFORCE_TOKEN_SUBJECT_NODE_IDENTITY',
    'FAME_JWKS_URL',
    'FAME_JWT_ALGORITHM',
    'FAME_JWT_TRUSTED_ISSUER',
    'FAME_TRUSTED_CLIENT_SCOPE',
  ]),
  ...read('Read by sentinels, and by nodes that request tokens.', ['FAME_JWT_AUDIENCE']),
  ...read('Read by `npx fame-fabric token serve`.', ['FAME_JWT_CLIENT_ID', 'FAME_JWT_CLIENT_SECRET']),

  {
    name: 'FAME_SECURITY_PROFILE',
    same: ['open', 'none', 'noop', 'gated', 'overlay'],
    refuses: 'others',
    note: `A sentinel with \`gated\` admits only nodes with a credential. With \`overlay\`, set for all nodes and sentinels, envelopes are signed. ${PROFILES}`,
  },
  // `default` is another name of `jwt` in naylence.
  {
    name: 'FAME_AUTHORIZATION_PROFILE',
    same: ['noop', 'no-op', 'no_op', 'none', 'open', 'policy', 'policy-localfile', 'policy_localfile'],
    refuses: 'others',
    note: `With \`policy\` or \`policy-localfile\` a sentinel reads FAME_AUTH_POLICY_PATH. ${PROFILES}`,
  },
  {
    name: 'FAME_ADMISSION_PROFILE',
    same: ['open', 'none', 'noop', 'direct'],
    refuses: 'others',
    note: `Nodes get their tokens from FAME_ADMISSION_TOKEN_URL. ${PROFILES}`,
  },
  { name: 'FAME_NODE_IDENTITY_PROFILE', same: ['default'], refuses: 'others', note: PROFILES },
  {
    name: 'FAME_CONFIG',
    refuses: 'others',
    isSecret: true,
    note: 'A configuration of naylence may ask for protection, and it is not read: use the variables of docs/configuration.md.',
  },
  {
    name: 'FAME_STORAGE_PROFILE',
    same: ['sqlite'],
    refuses: ['encrypted-sqlite'],
    note: 'Agents keep conversations in a SQLite file in FAME_DATA_DIR, without encryption: encrypt the disk. FAME_STATE_MASTER_KEY encrypts the state of agents.',
  },
  {
    name: 'FAME_STORAGE_ENCRYPTED',
    same: FALSE,
    refuses: 'others',
    note: 'Conversations are not encrypted: encrypt the disk. FAME_STATE_MASTER_KEY encrypts the state of agents.',
  },

  { name: 'FAME_ROOT', same: ['fame.fabric'], note: 'Addresses may have any domain.' },
  { name: 'FAME_FLOW_CONTROL', same: ['1'], note: 'Flow control is always on.' },
  { name: 'FAME_LISTENER_WEBSOCKET_ENABLED', same: TRUE, note: 'The sentinel always serves WebSockets.' },
  { name: 'FAME_LISTENER_HTTP_ENABLED', same: FALSE, note: 'Nodes attach over WebSockets only.' },
  { name: 'FAME_LISTENER_AGENT_HTTP_GATEWAY_ENABLED', same: FALSE, note: 'There is no HTTP gateway.' },
  ...withNote(
    'FAME_LISTENER_PORT is the only port.',
    'FAME_LISTENER_AGENT_HTTP_GATEWAY_PORT',
    'FAME_LISTENER_HTTP_PORT',
    'FAME_LISTENER_WEBSOCKET_PORT',
    'FAME_WEBSOCKET_LISTENER_PORT',
  ),
  ...withNote(
    'The sentinel has no URL of its own: clients set FAME_DIRECT_ADMISSION_URL.',
    'FAME_PUBLIC_URL',
  ),
  ...withNote('Policies in YAML and in JSON are recognized.', 'FAME_AUTH_POLICY_FORMAT'),
  ...withNote('Use FAME_DATA_DIR.', 'FAME_STORAGE_DB_DIRECTORY'),
  {
    name: 'FAME_STORAGE_MASTER_KEY',
    isRead: true,
    isSecret: true,
    note: 'Encrypts the state of agents, like FAME_STATE_MASTER_KEY. Conversations are not encrypted.',
  },
  ...withNote(
    'The schedule of at-least-once deliveries is fixed.',
    'FAME_DELIVERY_BACKOFF_FACTOR',
    'FAME_DELIVERY_BASE_DELAY_MS',
    'FAME_DELIVERY_JITTER_MS',
    'FAME_DELIVERY_MAX_DELAY_MS',
    'FAME_DELIVERY_MAX_RETRIES',
  ),
  ...withNote('Use FAME_CONNECT_TIMEOUT_MS.', 'FAME_SESSION_MAX_INITIAL_ATTEMPTS'),
  ...withNote('Node ids are random, or those of FAME_NODE_ID.', 'FAME_NODE_ID_SALT'),
  ...withNote('There are no plugins.', 'FAME_PLUGINS', 'FAME_PLUGINS_DEBUG'),
  ...withNote('Use /metrics and the trace of the sentinel.', 'FAME_TELEMETRY_SERVICE_NAME'),
  ...withNote('Pages attach over WebSockets only.', 'FAME_DIRECT_INPAGE_CHANNEL'),
  ...withNote(
    'Use a key or FAME_ADMISSION_TOKEN_URL.',
    'FAME_ADMISSION_AUTHORIZE_URL',
    'FAME_ADMISSION_CLOCK_SKEW_SECONDS',
    'FAME_ADMISSION_CODE_CHALLENGE_METHOD',
    'FAME_ADMISSION_CODE_VERIFIER_LENGTH',
    'FAME_ADMISSION_LOGIN_HINT_PARAM',
    'FAME_ADMISSION_REDIRECT_URL',
    'FAME_ADMISSION_SERVICE_URL',
    // Misspelt in naylence.
    'FAME_ADMISSSION_TTL',
  ),
  ...withNote(
    'naylence reads it for the profiles that are refused here.',
    'FAME_CA_CERTS',
    'FAME_CRYPTO_ALGORITHM',
    'FAME_DEFAULT_ENCRYPTION_LEVEL',
    'FAME_HMAC_SECRET',
    'FAME_JWT_REVERSE_AUTH_AUDIENCE',
    'FAME_JWT_REVERSE_AUTH_TRUSTED_ISSUER',
  ),
  ...withNote(
    "For naylence's own token and welcome servers, which are not part of this fabric.",
    'FAME_APP_HOST',
    'FAME_APP_PORT',
    'FAME_JWKS_KEY_TYPES',
    'FAME_JWT_ALLOWED_SCOPES',
    'FAME_JWT_ISSUER',
    'FAME_OAUTH_ALLOW_PUBLIC_CLIENTS',
    'FAME_OAUTH_CODE_TTL_SEC',
    'FAME_OAUTH_DEV_PASSWORD',
    'FAME_OAUTH_DEV_USERNAME',
    'FAME_OAUTH_ENABLE_DEV_LOGIN',
    'FAME_OAUTH_ENABLE_PKCE',
    'FAME_OAUTH_LOGIN_TITLE',
    'FAME_OAUTH_SESSION_COOKIE_NAME',
    'FAME_OAUTH_SESSION_SECURE',
    'FAME_OAUTH_SESSION_TTL_SEC',
  ),
];

/** All variables that the packages of naylence for TypeScript and Python read, sorted by name. */
export const NAYLENCE_VARIABLES = Object.freeze(VARIABLES.toSorted((a, b) => (a.name < b.name ? -1 : 1)));

/** Effect of a value: read, accepted because it matches the behaviour here, refused, or without an effect. */
type Effect = 'read' | 'same' | 'refused' | 'none';

function effectOf({ isRead, same, refuses }: NaylenceVariable, value: string): Effect {
  if (isRead) return 'read';
  const text = value.toLowerCase();
  if (same?.includes(text)) return 'same';
  return refuses === 'others' || refuses?.includes(text) ? 'refused' : 'none';
}

/** Records a fault for each variable of naylence that asks for a protection that is not built. */
export function checkNaylenceVariables(reader: EnvReader): void {
  for (const variable of NAYLENCE_VARIABLES) {
    const { name, same, refuses, note, isSecret } = variable;
    if (!refuses) continue;
    const value = reader.unquoted(name);
    if (value === undefined || effectOf(variable, value) !== 'refused') continue;
    if (isSecret) reader.faults.push(`${name} is set; unset it. ${note}`);
    else reader.fault(name, value, `${same?.join(', ') ?? 'no value'}, or unset. ${note}`);
  }
}

/** Returns one line that names all variables of naylence that are set and have no effect; none if there are none. */
export function naylenceWarnings(env: Environment): string[] {
  const names = NAYLENCE_VARIABLES.filter((variable) => {
    const value = env[variable.name]?.trim();
    return value && effectOf(variable, value) === 'none';
  }).map(({ name }) => name);
  if (names.length === 0) return [];
  return [
    `These variables of naylence have no effect here: ${names.join(', ')}. docs/naylence.md lists the alternatives.`,
  ];
}

/** Returns the environment without the variables that `naylenceWarnings` names, for a part of a process that has reported them. */
export function withoutWarned(env: Environment): Environment {
  const warned = new Set(
    NAYLENCE_VARIABLES.filter(({ isRead, refuses }) => !isRead && refuses !== 'others').map(
      ({ name }) => name,
    ),
  );
  return Object.fromEntries(Object.entries(env).filter(([name]) => !warned.has(name)));
}
