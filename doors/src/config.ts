// Names, paths and settings of the doors. Imports neither fastify nor the link, because every sentinel loads this file at its start.
import type { LogLevel } from '@fame-fabric/shared';
import {
  closestMatch,
  type Environment,
  type EnvReader,
  LOG_FORMATS,
  type LogFormat,
  readEnv,
  type Variable,
} from '@fame-fabric/shared/internal';
import {
  DEFAULT_CONNECTIONS_PER_ADDRESS,
  isHostName,
  isNetwork,
  isOrigin,
  LOG_LEVELS,
  LOOPBACK_PAGES,
  tryParseAddress,
} from '@fame-fabric/shared/router';

/** The paths of each door. A path belongs to a door if it is one of these, or below one of them. */
export const DOOR_PATHS = Object.freeze({
  openai: ['/v1'],
  a2a: ['/.well-known/agent-card.json', '/.well-known/agent.json', '/a2a'],
  mcp: ['/mcp'],
  http: ['/agents', '/openapi.json', '/fame/v1/gateway'],
  console: ['/console'],
} as const satisfies Record<string, readonly string[]>);

export type DoorName = keyof typeof DOOR_PATHS;

/** The common name of each door's protocol, and the path to give to a client. The console is a page, and has no clients. */
const DOOR_LABELS: Readonly<Partial<Record<DoorName, string>>> = Object.freeze({
  openai: 'OpenAI at /v1',
  a2a: 'A2A at /a2a',
  mcp: 'MCP at /mcp',
  http: 'HTTP at /agents',
});

/** Describes the doors for clients of other protocols in one line, such as `OpenAI at /v1, MCP at /mcp`. Empty if there are none. */
export const doorsText = (names: readonly DoorName[]): string =>
  names.flatMap((name) => DOOR_LABELS[name] ?? []).join(', ');

export const DOOR_NAMES = Object.keys(DOOR_PATHS) as readonly DoorName[];

/** Doors that a separate process can serve. The console needs the routes of the sentinel on its port. */
const REMOTE_DOOR_NAMES: readonly DoorName[] = DOOR_NAMES.filter((name) => name !== 'console');

/** Settings of the doors, in the process of a sentinel or in a separate process. */
export interface DoorSettings {
  readonly names: readonly DoorName[];
  /** Address of the agent that a door talks to if a client names none. */
  readonly chatAddress: string;
  /** URL under which clients reach the port, without a slash at its end. @default the Host of each request */
  readonly publicUrl: string | undefined;
}

/** Settings of doors in a separate process. */
export interface DoorProcessSettings extends DoorSettings {
  readonly port: number;
  readonly host: string;
  /** Addresses to list if the list of nodes cannot be read. */
  readonly addresses: readonly string[];
  readonly allowedOrigins: readonly string[];
  readonly allowedHosts: readonly string[];
  readonly trustedProxies: readonly string[];
  readonly maxConnectionsPerAddress: number;
  /** True if doors may serve other machines although the sentinel admits every node. */
  readonly mayBeOpen: boolean;
  readonly drainMs: number;
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

const CHAT_ADDRESS = 'chat@fame.fabric';

export const DOOR_VARIABLES: readonly Variable[] = Object.freeze([
  {
    name: 'FAME_DOORS',
    type: 'list',
    default: DOOR_NAMES.join(','),
    description:
      'Doors to serve: console is the page at /console/, the others let clients of other protocols call agents over HTTP. none switches them off.',
  },
  {
    name: 'FAME_CHAT_ADDRESS',
    type: 'address',
    default: CHAT_ADDRESS,
    description: 'The agent that a door calls if its client names none.',
  },
  {
    name: 'FAME_PUBLIC_URL',
    type: 'url',
    default: 'the Host of each request',
    description:
      'URL at which clients reach the doors, such as https://fame.example.org. Doors use it in cards and links.',
  },
  {
    name: 'FAME_DOORS_PORT',
    type: 'integer',
    default: '8001',
    description: '`npx fame-fabric doors`: port of the doors; 0 picks a free one.',
  },
  {
    name: 'FAME_DOORS_HOST',
    type: 'text',
    default: '127.0.0.1',
    description:
      '`npx fame-fabric doors`: interface to listen on. Any other than loopback needs a sentinel that asks for credentials, or FAME_OPEN_ON_ALL_INTERFACES=true.',
  },
  {
    name: 'FAME_DOORS_ADDRESSES',
    type: 'list',
    default: '(none)',
    description:
      '`npx fame-fabric doors`: agents to list, besides FAME_CHAT_ADDRESS, if the process has no key that may read the list of nodes.',
  },
] as const satisfies Variable[]);

/** Reads the names of the doors. @throws {CONFIG_INVALID} */
export const readDoorNames = (env: Environment): readonly DoorName[] =>
  readEnv(env, (reader) => namesIn(reader));

/** Reads the settings of the doors in the process of a sentinel. @throws {CONFIG_INVALID} with one line for each fault */
export const readDoorSettings = (env: Environment): DoorSettings =>
  readEnv(env, (reader) => settingsIn(reader, DOOR_NAMES));

/** Reads the settings of doors in a separate process. @throws {CONFIG_INVALID} with one line for each fault */
export const readDoorProcessSettings = (env: Environment): DoorProcessSettings =>
  readEnv(env, (reader) => {
    const settings = settingsIn(reader, REMOTE_DOOR_NAMES);
    const addresses = reader.list('FAME_DOORS_ADDRESSES');
    for (const address of addresses) checkAddress(reader, 'FAME_DOORS_ADDRESSES', address);
    const allowedOrigins = reader.list('FAME_ALLOWED_ORIGINS');
    for (const origin of allowedOrigins) {
      const expected = 'origins such as http://localhost:5173, separated by commas, or loopback';
      reader.check('FAME_ALLOWED_ORIGINS', origin, origin === LOOPBACK_PAGES || isOrigin(origin), expected);
    }
    const allowedHosts = reader.list('FAME_ALLOWED_HOSTS');
    for (const name of allowedHosts) {
      reader.check('FAME_ALLOWED_HOSTS', name, isHostName(name), 'host names, separated by commas');
    }
    const trustedProxies = reader.list('FAME_TRUSTED_PROXIES');
    for (const network of trustedProxies) {
      reader.check(
        'FAME_TRUSTED_PROXIES',
        network,
        isNetwork(network),
        'addresses or networks, separated by commas',
      );
    }
    return {
      ...settings,
      port: reader.integer('FAME_DOORS_PORT', 8001, 0, 65_535),
      host: reader.text('FAME_DOORS_HOST') ?? '127.0.0.1',
      addresses,
      allowedOrigins,
      allowedHosts,
      trustedProxies: trustedProxies.filter(isNetwork),
      maxConnectionsPerAddress: reader.integer(
        'FAME_MAX_CONNECTIONS_PER_IP',
        DEFAULT_CONNECTIONS_PER_ADDRESS,
        1,
        1_000_000,
      ),
      mayBeOpen: reader.boolean('FAME_OPEN_ON_ALL_INTERFACES', false),
      drainMs: reader.integer('FAME_DRAIN_MS', 10_000, 0, 600_000),
      logLevel: reader.choice<LogLevel>('FAME_LOG_LEVEL', 'info', LOG_LEVELS),
      logFormat: reader.choice<LogFormat>('FAME_LOG_FORMAT', 'auto', LOG_FORMATS),
    };
  });

function settingsIn(reader: EnvReader, available: readonly DoorName[]): DoorSettings {
  const chatAddress = reader.text('FAME_CHAT_ADDRESS') ?? CHAT_ADDRESS;
  checkAddress(reader, 'FAME_CHAT_ADDRESS', chatAddress);
  const publicUrl = reader.url('FAME_PUBLIC_URL', {
    protocols: ['http:', 'https:'],
    example: 'https://fame.example.org',
  });
  return { names: namesIn(reader, available), chatAddress, publicUrl: publicUrl?.replace(/\/+$/, '') };
}

function checkAddress(reader: EnvReader, name: string, value: string): void {
  reader.check(name, value, tryParseAddress(value) !== undefined, 'an address such as chat@fame.fabric');
}

function namesIn(reader: EnvReader, available = DOOR_NAMES): readonly DoorName[] {
  const given = reader.list('FAME_DOORS').map((name) => name.toLowerCase());
  if (given.length === 0) return available;
  if (given.length === 1 && given[0] === 'none') return [];
  for (const name of given) {
    const match = closestMatch(name, available);
    const expected = `doors of ${available.join(', ')}, separated by commas, or none`;
    reader.check(
      'FAME_DOORS',
      name,
      (available as readonly string[]).includes(name),
      match ? `${expected}. Did you mean ${match}?` : expected,
    );
  }
  return available.filter((name) => given.includes(name));
}

/** Returns the door that serves a path, one of the given doors. */
export const doorOfPath = (path: string, names: readonly DoorName[]): DoorName | undefined =>
  names.find((name) => DOOR_PATHS[name].some((own) => path === own || path.startsWith(`${own}/`)));
