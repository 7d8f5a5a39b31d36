// The one place where the sentinel reads the environment: everything is checked, every fault is reported at once, and
// what comes out is frozen. docs/configuration.md is held to VARIABLES by a test.
import { FabricError, LOG_LEVELS, type LogLevel } from '@fame-fabric/shared';

export interface SentinelConfig {
  readonly port: number;
  readonly host: string;
  /** Stable id of this sentinel; absent: kept in the data directory. */
  readonly nodeId: string | undefined;
  readonly dataDir: string;
  readonly logLevel: LogLevel;
  readonly resumeWindowMs: number;
  readonly drainMs: number;
  readonly maxSessions: number;
  readonly maxAddressesPerNode: number;
  /** Open calls that are remembered for a caller; beyond it the oldest is forgotten. */
  readonly maxOpenCallsPerNode: number;
  readonly allowedOrigins: readonly string[];
  readonly allowedHosts: readonly string[];
  readonly parentUrl: string | undefined;
  readonly peerUrls: readonly string[];
  readonly connectTimeoutMs: number;
}

export interface Variable {
  readonly name: string;
  readonly type: 'integer' | 'boolean' | 'string' | 'url' | 'list' | 'choice';
  readonly unit?: string;
  readonly default: string;
  readonly description: string;
  readonly secret?: boolean;
}

export const VARIABLES: readonly Variable[] = [
  {
    name: 'FAME_LISTENER_PORT',
    type: 'integer',
    default: '8000',
    description: 'Port of the sentinel; 0 picks a free one.',
  },
  {
    name: 'FAME_LISTENER_HOST',
    type: 'string',
    default: '127.0.0.1',
    description: 'Interface to listen on. Anything but loopback also needs FAME_OPEN_ON_ALL_INTERFACES=true.',
  },
  {
    name: 'FAME_OPEN_ON_ALL_INTERFACES',
    type: 'boolean',
    default: 'false',
    description: 'Confirms that a sentinel without admission profile may be reached from other machines.',
  },
  {
    name: 'FAME_NODE_ID',
    type: 'string',
    default: 'kept in the data directory',
    description: 'Id of this node; for a sentinel it is the first segment of every path.',
  },
  {
    name: 'FAME_DATA_DIR',
    type: 'string',
    default: '.fame',
    description: 'Directory for what outlives the process.',
  },
  {
    name: 'FAME_LOG_LEVEL',
    type: 'choice',
    default: 'info',
    description:
      'trace, debug, info, warn, error or silent; the upper-case names of other Fame nodes work too.',
  },
  {
    name: 'FAME_RESUME_WINDOW_MS',
    type: 'integer',
    unit: 'ms',
    default: '5000',
    description:
      'How long a node that lost its connection may come back before its callers are told NODE_GONE; 0 is at once.',
  },
  {
    name: 'FAME_DRAIN_MS',
    type: 'integer',
    unit: 'ms',
    default: '10000',
    description: 'How long calls in flight get to finish after SIGTERM.',
  },
  {
    name: 'FAME_MAX_SESSIONS',
    type: 'integer',
    default: '20000',
    description: 'Most nodes that may be attached.',
  },
  {
    name: 'FAME_MAX_ADDRESSES_PER_NODE',
    type: 'integer',
    default: '1024',
    description: 'Most addresses that one node may bind.',
  },
  {
    name: 'FAME_MAX_OPEN_CALLS_PER_NODE',
    type: 'integer',
    default: '4096',
    description:
      'Open calls of one caller that the sentinel watches; beyond it the oldest is no longer watched.',
  },
  {
    name: 'FAME_ALLOWED_ORIGINS',
    type: 'list',
    default: '(none)',
    description: 'Web origins whose pages may attach, such as http://localhost:5173.',
  },
  {
    name: 'FAME_ALLOWED_HOSTS',
    type: 'list',
    default: '(none)',
    description:
      'Host names under which browsers may reach this sentinel, beside localhost and loopback addresses.',
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
    description: 'Admission URLs of peer sentinels, each ending in /peer.',
  },
  {
    name: 'FAME_CONNECT_TIMEOUT_MS',
    type: 'integer',
    unit: 'ms',
    default: '30000',
    description: 'How long the first attach keeps trying.',
  },
];

const LOOPBACK = new Set(['127.0.0.1', '::1', 'localhost']);
const ID = /^[A-Za-z0-9._-]{1,64}$/;

export type Environment = Readonly<Record<string, string | undefined>>;

/** Reads the environment. Empty values count as unset. @throws {CONFIG_INVALID} naming every fault */
export function readSentinelConfig(env: Environment): SentinelConfig {
  const faults: string[] = [];
  const text = (name: string): string | undefined => {
    const value = env[name]?.trim();
    return value === '' ? undefined : value;
  };
  const integer = (name: string, fallback: number, min: number, max: number): number => {
    const value = text(name);
    if (value === undefined) return fallback;
    const number = Number(value);
    if (/^\d+$/.test(value) && number >= min && number <= max) return number;
    faults.push(`${name} is "${value.slice(0, 40)}"; expected a whole number from ${min} to ${max}`);
    return fallback;
  };
  const list = (name: string): string[] =>
    (text(name) ?? '')
      .split(',')
      .map((item) => item.trim())
      .filter((item) => item !== '');
  const admissionUrl = (name: string, value: string, ending: string): string => {
    if (/^wss?:\/\/[^/]+\/.*$/.test(value) && URL.canParse(value) && value.endsWith(ending)) return value;
    faults.push(
      `${name} is "${value.slice(0, 120)}"; expected a WebSocket URL such as ws://host:8000/fame/v1/attach/ws${ending}`,
    );
    return value;
  };

  const host = text('FAME_LISTENER_HOST') ?? '127.0.0.1';
  const open = text('FAME_OPEN_ON_ALL_INTERFACES') ?? 'false';
  if (open !== 'true' && open !== 'false') {
    faults.push(`FAME_OPEN_ON_ALL_INTERFACES is "${open.slice(0, 40)}"; expected true or false`);
  } else if (open === 'false' && !LOOPBACK.has(host)) {
    faults.push(
      `FAME_LISTENER_HOST is "${host.slice(0, 60)}", which other machines can reach, and nothing checks who attaches; ` +
        'listen on 127.0.0.1, or set FAME_OPEN_ON_ALL_INTERFACES=true if that is meant',
    );
  }
  const nodeId = text('FAME_NODE_ID');
  if (nodeId !== undefined && !ID.test(nodeId)) {
    faults.push('FAME_NODE_ID may have 1 to 64 letters, digits, dots, underscores and hyphens');
  }
  const levelName = text('FAME_LOG_LEVEL') ?? 'info';
  const logLevel = LOG_LEVELS[levelName.toLowerCase()];
  if (!logLevel) {
    faults.push(
      `FAME_LOG_LEVEL is "${levelName.slice(0, 40)}"; expected one of ${Object.keys(LOG_LEVELS).join(', ')}`,
    );
  }
  const parent = text('FAME_PARENT_URL');
  const config: SentinelConfig = {
    port: integer('FAME_LISTENER_PORT', 8000, 0, 65_535),
    host,
    nodeId,
    dataDir: text('FAME_DATA_DIR') ?? '.fame',
    logLevel: logLevel ?? 'info',
    resumeWindowMs: integer('FAME_RESUME_WINDOW_MS', 5_000, 0, 600_000),
    drainMs: integer('FAME_DRAIN_MS', 10_000, 0, 600_000),
    maxSessions: integer('FAME_MAX_SESSIONS', 20_000, 1, 1_000_000),
    maxAddressesPerNode: integer('FAME_MAX_ADDRESSES_PER_NODE', 1_024, 1, 1_000_000),
    maxOpenCallsPerNode: integer('FAME_MAX_OPEN_CALLS_PER_NODE', 4_096, 1, 1_000_000),
    allowedOrigins: list('FAME_ALLOWED_ORIGINS'),
    allowedHosts: list('FAME_ALLOWED_HOSTS'),
    parentUrl: parent === undefined ? undefined : admissionUrl('FAME_PARENT_URL', parent, '/downstream'),
    peerUrls: list('FAME_PEER_URLS').map((url) => admissionUrl('FAME_PEER_URLS', url, '/peer')),
    connectTimeoutMs: integer('FAME_CONNECT_TIMEOUT_MS', 30_000, 100, 3_600_000),
  };
  if (faults.length > 0) {
    throw new FabricError(
      'CONFIG_INVALID',
      `The configuration has ${faults.length === 1 ? 'a fault' : `${faults.length} faults`}:\n  ${faults.join('\n  ')}`,
      {
        details: { faults },
      },
    );
  }
  return Object.freeze(config);
}
