// Configuration of the sentinel. No other file of the package reads the environment. A test compares docs/configuration.md
// with SENTINEL_VARIABLES.
import type { LogLevel } from '@fame-fabric/shared';
import {
  checkNaylenceVariables,
  type Environment,
  type EnvReader,
  ISSUER_VARIABLES,
  LOG_FORMATS,
  type LogFormat,
  printable,
  readEnv,
  readTokenSettings,
  type TokenSettings,
  type Variable,
} from '@fame-fabric/shared/internal';
import {
  DEFAULT_CONNECTIONS_PER_ADDRESS,
  isFabricError,
  isHostName,
  isNetwork,
  isOrigin,
  LOG_LEVELS,
  LOOPBACK_PAGES,
} from '@fame-fabric/shared/router';
import { defaultKeysFile, keysOf, readKeysFile } from './access/keys-file.ts';
import { needsCredential, type SecurityProfile } from './access/needs-credential.ts';
import { readTokenRules, TOKEN_VARIABLES, type TokenRules } from './access/tokens/token-rules.ts';
import { type ClusterSettings, readClusterSettings } from './cluster/settings.ts';
import type { TlsFiles } from './door/tls.ts';
import { isNodeId, isSystemId } from './identity.ts';
import { systemMemoryBytes } from './memory-ceiling.ts';

export interface SentinelConfig {
  readonly port: number;
  readonly host: string;
  /** Stable id of this sentinel. @default kept in the data directory */
  readonly nodeId: string | undefined;
  readonly dataDir: string;
  /** @default `keys` in the data directory */
  readonly keysFile: string;
  /** True if requests without a credential are refused: the profile is `gated` or `overlay` with tokens, or the profile is not `open` and there is a key or a CA of client certificates. */
  readonly isCredentialNeeded: boolean;
  /** Token to send to the parent and to peers. */
  readonly uplinkToken: TokenSettings;
  /** `gated` refuses requests without a credential, `open` admits them. @default decided by the configured credentials */
  readonly securityProfile: SecurityProfile | undefined;
  /** True if the sentinel verifies signed Data messages that it forwards; only with the profile `overlay`. */
  readonly verifiesData: boolean;
  /** Rules for tokens. Without them tokens are refused. */
  readonly tokenRules: TokenRules | undefined;
  /** Policy file. @default roles decide */
  readonly authPolicyPath: string | undefined;
  /** File of the audit log. @default none */
  readonly auditLogPath: string | undefined;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  readonly resumeWindowMs: number;
  /** Time for which an address without a node belongs to the key of its last holder. */
  readonly addressHoldMs: number;
  readonly drainMs: number;
  readonly maxSessions: number;
  readonly maxAddressesPerNode: number;
  /** Limit of open calls and grants of one node; a parent or peer may have 16 times as many. */
  readonly maxOpenCallsPerNode: number;
  readonly queueBytes: number;
  readonly queueTotalBytes: number;
  readonly memoryLimitBytes: number;
  readonly allowedOrigins: readonly string[];
  readonly allowedHosts: readonly string[];
  /** Files of a port with TLS. */
  readonly tls: TlsFiles | undefined;
  readonly parentUrl: string | undefined;
  readonly peerUrls: readonly string[];
  /** Ids of sentinels that may attach as peers, besides those at `peerUrls`. */
  readonly peerIds: readonly string[];
  readonly connectTimeoutMs: number;
  /** The cluster of this sentinel. @default none */
  readonly cluster: ClusterSettings | undefined;
  /** Networks of proxies whose X-Forwarded-For is believed. */
  readonly trustedProxies: readonly string[];
  /** Connections of one client address that have not attached. */
  readonly maxConnectionsPerAddress: number;
}

/** The variables of an issuer for the tokens of uplinks, without those that `TOKEN_VARIABLES` has. */
const UPLINK_ISSUER_VARIABLES = ISSUER_VARIABLES.filter(
  ({ name }) => !TOKEN_VARIABLES.some((variable) => variable.name === name),
);

/** Every variable that sentinels read. */
export const SENTINEL_VARIABLES: readonly Variable[] = Object.freeze<Variable[]>([
  {
    name: 'FAME_LISTENER_PORT',
    type: 'integer',
    default: '8000',
    description: 'Port of the sentinel; 0 picks a free one.',
  },
  {
    name: 'FAME_LISTENER_HOST',
    type: 'text',
    default: '127.0.0.1',
    description:
      'Interface to listen on. Any other than loopback needs credentials, such as a key in FAME_KEYS_FILE, or FAME_OPEN_ON_ALL_INTERFACES=true.',
  },
  {
    name: 'FAME_OPEN_ON_ALL_INTERFACES',
    type: 'boolean',
    default: 'false',
    description: 'Confirms that other machines may reach a sentinel that admits every node.',
  },
  {
    name: 'FAME_SECURITY_PROFILE',
    type: 'choice',
    default: '(none)',
    description:
      'gated admits only nodes with a credential, such as a token of FAME_JWT_TRUSTED_ISSUER; overlay requires signed envelopes, and a token if FAME_JWT_TRUSTED_ISSUER is set; open admits every node. Unset: nodes need a credential if FAME_KEYS_FILE has a key or FAME_TLS_CLIENT_CA_FILE is set.',
  },
  {
    name: 'FAME_VERIFY_FORWARDED_DATA',
    type: 'boolean',
    default: 'true',
    description:
      'With the profile overlay: false leaves the signatures of forwarded messages to their receivers, which verify them in any case.',
  },
  ...TOKEN_VARIABLES,
  {
    name: 'FAME_AUTH_POLICY_PATH',
    type: 'path',
    default: '(none)',
    description:
      'Policy in YAML or JSON: which principals may attach, call, bind, advertise and watch. Read again when it changes and on SIGHUP.',
  },
  {
    name: 'FAME_AUDIT_LOG',
    type: 'path',
    default: '(none)',
    description:
      'File of the audit log: each refusal, attach and change of the policy, as one JSON object per line. Opened again on SIGHUP.',
  },
  {
    name: 'FAME_NODE_ID',
    type: 'text',
    default: 'kept in the data directory',
    description: 'Id of this node; for a sentinel it is the first segment of every path.',
  },
  {
    name: 'FAME_DATA_DIR',
    type: 'path',
    default: '.fame',
    description: 'Directory for data that outlives the process.',
  },
  {
    name: 'FAME_KEYS_FILE',
    type: 'path',
    default: 'keys in FAME_DATA_DIR',
    description:
      'File with the keys of `npx fame-fabric key add`. If it has a key at the start, nodes and clients need a credential. Changes apply within 5 s.',
  },
  {
    name: 'FAME_ADMISSION_TOKEN',
    type: 'text',
    default: '',
    description: 'Key or token to send to a parent and to peers.',
    secret: true,
  },
  {
    name: 'FAME_ADMISSION_TOKEN_FILE',
    type: 'path',
    default: '',
    description: 'File with that key or token, read for each attempt to attach.',
  },
  ...UPLINK_ISSUER_VARIABLES,
  {
    name: 'FAME_LOG_LEVEL',
    type: 'choice',
    default: 'info',
    description:
      'trace, debug, info, warn, error or silent; the upper-case names of other Fame nodes work too.',
  },
  {
    name: 'FAME_LOG_FORMAT',
    type: 'choice',
    default: 'auto',
    description: 'json, text, or auto: text on a terminal, else one JSON object per line.',
  },
  {
    name: 'FAME_RESUME_WINDOW_MS',
    type: 'integer',
    unit: 'ms',
    default: '5000',
    description:
      'How long a disconnected node may take to return before its callers receive NODE_GONE and its addresses are free; 0 ends its session at once. Above 15000 it counts as 15000.',
  },
  {
    name: 'FAME_ADDRESS_HOLD_MS',
    type: 'integer',
    unit: 'ms',
    default: '60000',
    description:
      'How long an address that was bound with a key belongs to that key after its node has left; 0 frees it at once.',
  },
  {
    name: 'FAME_DRAIN_MS',
    type: 'integer',
    unit: 'ms',
    default: '10000',
    description: 'How long calls in flight may take to finish after SIGTERM.',
  },
  {
    name: 'FAME_MAX_SESSIONS',
    type: 'integer',
    default: '20000',
    description: 'Maximum number of sessions. A quarter of them is reserved for nodes with the local key.',
  },
  {
    name: 'FAME_MAX_ADDRESSES_PER_NODE',
    type: 'integer',
    default: '1024',
    description: 'Maximum number of addresses that one node may bind.',
  },
  {
    name: 'FAME_MAX_OPEN_CALLS_PER_NODE',
    type: 'integer',
    default: '4096',
    description:
      'Maximum number of open calls of one node. Beyond it the oldest idle call ends; if none is idle, new calls are refused.',
  },
  {
    name: 'FAME_MAX_CONNECTIONS_PER_IP',
    type: 'integer',
    default: '200',
    description:
      'Maximum number of connections of one client address that have not attached. For IPv6 the limit applies to the 64-bit network. Loopback has no limit.',
  },
  {
    name: 'FAME_TRUSTED_PROXIES',
    type: 'list',
    default: '(none)',
    description:
      'Addresses and networks of proxies, such as 10.0.0.0/8. For connections from them, the client is the last other address in X-Forwarded-For, for the limit of connections and in logs.',
  },
  {
    name: 'FAME_QUEUE_BYTES',
    type: 'integer',
    unit: 'bytes',
    default: '8388608',
    description:
      'Maximum size of the outbound queue of one node, 1 to 64 MiB. Each queued message counts 256 bytes of overhead.',
  },
  {
    name: 'FAME_QUEUE_TOTAL_BYTES',
    type: 'integer',
    unit: 'bytes',
    default: '33554432, or twice FAME_QUEUE_BYTES if that is more',
    description:
      'Maximum size of all outbound queues together, including the bytes in their sockets; at most a quarter of FAME_MEMORY_LIMIT_BYTES. One queue can use only the space that the others leave. A quarter is reserved for nodes with the local key.',
  },
  {
    name: 'FAME_MEMORY_LIMIT_BYTES',
    type: 'integer',
    unit: 'bytes',
    default: 'the limit of the container, else the memory of the machine',
    description:
      'Memory that the sentinel may use. Above 60 % of it, the sentinel refuses attaches, then closes the nodes with the largest queues.',
  },
  {
    name: 'FAME_ALLOWED_ORIGINS',
    type: 'list',
    default: '(none)',
    description:
      'Web origins whose pages may attach, such as http://localhost:5173; loopback allows every page of localhost, 127.0.0.0/8 and [::1].',
  },
  {
    name: 'FAME_ALLOWED_HOSTS',
    type: 'list',
    default: '(none)',
    description:
      'Host names by which clients may reach this sentinel, besides localhost and loopback addresses.',
  },
  {
    name: 'FAME_TLS_CERT_FILE',
    type: 'path',
    default: '(none)',
    description:
      'PEM file with the certificate of the sentinel and those of its issuers. The port then speaks TLS: wss:// and https://. Read again when it changes.',
  },
  {
    name: 'FAME_TLS_KEY_FILE',
    type: 'path',
    default: '(none)',
    description: 'PEM file with the private key of FAME_TLS_CERT_FILE.',
  },
  {
    name: 'FAME_TLS_CLIENT_CA_FILE',
    type: 'path',
    default: '(none)',
    description:
      'PEM file with the issuers of client certificates. Nodes then need a credential, and a certificate of these issuers is one: its SPIFFE id or its subject names the principal. Read again when it changes.',
  },
  {
    name: 'FAME_PARENT_URL',
    type: 'url',
    default: '(none)',
    description: 'Admission URL of a parent sentinel, ending in /downstream.',
  },
  {
    name: 'FAME_PEER_URLS',
    type: 'list',
    default: '(none)',
    description:
      'Admission URLs of peer sentinels, each ending in /peer. These sentinels may attach to this one as peers too.',
  },
  {
    name: 'FAME_PEER_IDS',
    type: 'list',
    default: '(none)',
    description:
      'Ids of sentinels that may attach to this one as peers, besides those at FAME_PEER_URLS. Others are refused.',
  },
  {
    name: 'FAME_CLUSTER',
    type: 'text',
    default: '(none)',
    description:
      'Name of the cluster of this sentinel. Sentinels with the same name on the same NATS servers reach the nodes of each other. Needs FAME_CLUSTER_NATS.',
  },
  {
    name: 'FAME_CLUSTER_NATS',
    type: 'list',
    default: '(none)',
    description:
      'URLs of the NATS servers of the cluster, such as nats://127.0.0.1:4222; tls:// encrypts. Put a user and password, or a token, before the host: nats://USER:PASSWORD@HOST:4222.',
    secret: true,
  },
  {
    name: 'FAME_CLUSTER_NATS_CREDS_FILE',
    type: 'path',
    default: '(none)',
    description: 'Credentials file for the NATS servers.',
  },
  {
    name: 'FAME_CONNECT_TIMEOUT_MS',
    type: 'integer',
    unit: 'ms',
    default: '30000',
    description: 'How long the first attach keeps trying.',
  },
]);

const MiB = 1_048_576;
/** A bind of a reserved address waits for the window, and nodes of other implementations wait 20 s for the ack. */
const MAX_RESUME_WINDOW_MS = 15_000;
export const DEFAULT_ADDRESS_HOLD_MS = 60_000;

// An expired key counts: a sentinel must not open because time has passed.
function hasKeys(env: EnvReader, file: string): boolean {
  try {
    return keysOf(readKeysFile(file)).length > 0;
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    env.faults.push(
      isFabricError(error)
        ? message
        : `FAME_KEYS_FILE is "${printable(file)}", which cannot be read: ${code || message}`,
    );
    return false;
  }
}

const LOOPBACK = new Set(['127.0.0.1', '::1', 'localhost']);

const admission = (ending: string) => ({
  protocols: ['ws:', 'wss:'],
  example: `ws://host:8000/fame/v1/attach/ws${ending}`,
  ending,
});

function readTlsFiles(env: EnvReader): TlsFiles | undefined {
  const certFile = env.text('FAME_TLS_CERT_FILE');
  const keyFile = env.text('FAME_TLS_KEY_FILE');
  const clientCaFile = env.text('FAME_TLS_CLIENT_CA_FILE');
  if (certFile !== undefined && keyFile !== undefined) return { certFile, keyFile, clientCaFile };
  const set = {
    FAME_TLS_CERT_FILE: certFile,
    FAME_TLS_KEY_FILE: keyFile,
    FAME_TLS_CLIENT_CA_FILE: clientCaFile,
  };
  for (const [name, file] of Object.entries(set)) {
    if (file === undefined) continue;
    const others = ['FAME_TLS_CERT_FILE', 'FAME_TLS_KEY_FILE'].filter((other) => other !== name);
    env.check(name, file, false, `${others.join(' and ')} to be set too`);
    break;
  }
  return undefined;
}

/** Reads the environment. Empty values count as unset. @throws {CONFIG_INVALID} naming every fault */
export function readSentinelConfig(environment: Environment): SentinelConfig {
  return readEnv(environment, (env) => {
    checkNaylenceVariables(env);
    const dataDir = env.text('FAME_DATA_DIR') ?? '.fame';
    const keysFile = env.text('FAME_KEYS_FILE') ?? defaultKeysFile(dataDir);
    const hasKey = hasKeys(env, keysFile);
    const profile = env.unquoted('FAME_SECURITY_PROFILE')?.toLowerCase();
    const isStrict = profile === 'gated' || profile === 'overlay';
    const securityProfile = profile === undefined || isStrict ? profile : 'open';
    const hasTokens = securityProfile === 'gated' || env.list('FAME_JWT_TRUSTED_ISSUER').length > 0;
    const tls = readTlsFiles(env);
    const isCredentialNeeded = needsCredential({
      profile: securityProfile,
      hasKeys: hasKey,
      hasTokens,
      hasClientCa: tls?.clientCaFile !== undefined,
    });
    const host = env.text('FAME_LISTENER_HOST') ?? '127.0.0.1';
    const isOpen = env.boolean('FAME_OPEN_ON_ALL_INTERFACES', false);
    env.check(
      'FAME_LISTENER_HOST',
      host,
      isOpen || isCredentialNeeded || LOOPBACK.has(host),
      'a loopback address, since other machines could reach this one and every node is admitted. Add a key ' +
        '(npx fame-fabric key add NAME), or, if every node may attach, set FAME_OPEN_ON_ALL_INTERFACES=true',
    );
    const nodeId = env.text('FAME_NODE_ID');
    if (nodeId !== undefined) {
      env.check(
        'FAME_NODE_ID',
        nodeId,
        isNodeId(nodeId),
        '1 to 64 letters, digits, dots, underscores and hyphens',
      );
    }
    const peerUrls = env.list('FAME_PEER_URLS');
    const allowedOrigins = env.list('FAME_ALLOWED_ORIGINS');
    for (const origin of allowedOrigins) {
      const expected =
        'origins without a path and without wildcards, separated by commas, such as http://localhost:5173, or loopback';
      env.check('FAME_ALLOWED_ORIGINS', origin, origin === LOOPBACK_PAGES || isOrigin(origin), expected);
    }
    const allowedHosts = env.list('FAME_ALLOWED_HOSTS');
    for (const name of allowedHosts) {
      const expected =
        'host names without a scheme, port or wildcard, separated by commas, such as fame.example.org';
      env.check('FAME_ALLOWED_HOSTS', name, isHostName(name), expected);
    }
    const trustedProxies = env.list('FAME_TRUSTED_PROXIES');
    for (const network of trustedProxies) {
      const expected = 'addresses or networks, separated by commas, such as 127.0.0.1 or 10.0.0.0/8';
      env.check('FAME_TRUSTED_PROXIES', network, isNetwork(network), expected);
    }
    const queueBytes = env.integer('FAME_QUEUE_BYTES', 8 * MiB, MiB, 64 * MiB);
    const memoryLimitBytes = env.integer(
      'FAME_MEMORY_LIMIT_BYTES',
      systemMemoryBytes(),
      128 * MiB,
      Number.MAX_SAFE_INTEGER,
    );
    const queueTotalBytes = env.integer(
      'FAME_QUEUE_TOTAL_BYTES',
      Math.max(32 * MiB, 2 * queueBytes),
      2 * MiB,
      Number.MAX_SAFE_INTEGER,
    );
    for (const url of peerUrls) env.checkUrl('FAME_PEER_URLS', url, admission('/peer'));
    const peerIds = env.list('FAME_PEER_IDS');
    for (const id of peerIds) {
      env.check(
        'FAME_PEER_IDS',
        id,
        isSystemId(id),
        '1 to 128 letters, digits, dots, underscores and hyphens',
      );
    }
    return {
      port: env.integer('FAME_LISTENER_PORT', 8000, 0, 65_535),
      host,
      nodeId,
      dataDir,
      keysFile,
      isCredentialNeeded,
      uplinkToken: readTokenSettings(env),
      securityProfile,
      verifiesData: env.boolean('FAME_VERIFY_FORWARDED_DATA', true),
      tokenRules: hasTokens ? readTokenRules(env, env.boolean('FAME_ALLOW_HTTP_ISSUER', false)) : undefined,
      authPolicyPath: env.text('FAME_AUTH_POLICY_PATH') ?? defaultPolicyPath(env),
      auditLogPath: env.text('FAME_AUDIT_LOG'),
      logLevel: env.choice<LogLevel>('FAME_LOG_LEVEL', 'info', LOG_LEVELS),
      logFormat: env.choice<LogFormat>('FAME_LOG_FORMAT', 'auto', LOG_FORMATS),
      resumeWindowMs: Math.min(env.integer('FAME_RESUME_WINDOW_MS', 5_000, 0, 600_000), MAX_RESUME_WINDOW_MS),
      addressHoldMs: env.integer('FAME_ADDRESS_HOLD_MS', DEFAULT_ADDRESS_HOLD_MS, 0, 3_600_000),
      drainMs: env.integer('FAME_DRAIN_MS', 10_000, 0, 600_000),
      maxSessions: env.integer('FAME_MAX_SESSIONS', 20_000, 1, 1_000_000),
      maxAddressesPerNode: env.integer('FAME_MAX_ADDRESSES_PER_NODE', 1_024, 1, 1_000_000),
      maxOpenCallsPerNode: env.integer('FAME_MAX_OPEN_CALLS_PER_NODE', 4_096, 1, 1_000_000),
      trustedProxies: trustedProxies.filter(isNetwork),
      maxConnectionsPerAddress: env.integer(
        'FAME_MAX_CONNECTIONS_PER_IP',
        DEFAULT_CONNECTIONS_PER_ADDRESS,
        1,
        1_000_000,
      ),
      queueBytes,
      queueTotalBytes: Math.min(queueTotalBytes, Math.floor(memoryLimitBytes / 4)),
      memoryLimitBytes,
      allowedOrigins,
      allowedHosts,
      tls,
      parentUrl: env.url('FAME_PARENT_URL', admission('/downstream')),
      peerUrls,
      peerIds,
      connectTimeoutMs: env.integer('FAME_CONNECT_TIMEOUT_MS', 30_000, 100, 3_600_000),
      cluster: readClusterSettings(env, securityProfile),
    };
  });
}

/** With the profile of naylence that asks for a policy, its default file is read, so that no sentinel starts without the policy. */
function defaultPolicyPath(env: EnvReader): string | undefined {
  const profile = env.unquoted('FAME_AUTHORIZATION_PROFILE')?.toLowerCase();
  return profile?.startsWith('policy') ? './auth-policy.yaml' : undefined;
}
