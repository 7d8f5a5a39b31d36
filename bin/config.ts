// What the client processes read from the environment, and nothing else does: checked as a whole, every fault reported at
// once, frozen. An empty string counts as unset, so that `VAR=` in a compose file or a .env file means "the default".
import { FabricError, tryParseAddress } from '@fame-fabric/shared';

/** One variable, as docs/configuration.md lists it. */
export interface ClientVariable {
  readonly name: string;
  readonly type: 'url' | 'integer' | 'text' | 'choice' | 'address' | 'path';
  readonly unit?: string;
  readonly default: string;
  readonly description: string;
}

/** Every variable that the client reads. */
export const CLIENT_VARIABLES: readonly ClientVariable[] = Object.freeze([
  {
    name: 'FAME_DIRECT_ADMISSION_URL',
    type: 'url',
    default: 'ws://127.0.0.1:<FAME_LISTENER_PORT>/fame/v1/attach/ws/downstream',
    description: 'Where the sentinel admits nodes; ws:// or wss://.',
  },
  {
    name: 'FAME_LISTENER_PORT',
    type: 'integer',
    default: '8000',
    description: 'Port of the sentinel on this machine; used when FAME_DIRECT_ADMISSION_URL is not set.',
  },
  {
    name: 'FAME_LISTENER_HOST',
    type: 'text',
    default: '127.0.0.1',
    description: 'Interface of the sentinel on this machine; used as FAME_LISTENER_PORT is.',
  },
  {
    name: 'FAME_ADMISSION_TOKEN',
    type: 'text',
    default: '',
    description: 'Bearer token offered when attaching.',
    secret: true,
  },
  {
    name: 'FAME_CONNECT_TIMEOUT_MS',
    type: 'integer',
    unit: 'ms',
    default: '30000',
    description: 'How long the first attach keeps trying.',
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
    name: 'FAME_SYSTEM_PROMPT',
    type: 'text',
    default: '',
    description: 'System prompt of new conversations; unset leaves the choice to the agent.',
  },
  {
    name: 'FAME_CHAT_ADDRESS',
    type: 'address',
    default: 'chat@fame.fabric',
    description: 'The agent that `npx fame chat` talks to.',
  },
  {
    name: 'FAME_DRAIN_MS',
    type: 'integer',
    unit: 'ms',
    default: '10000',
    description: 'How long `make stop` lets running calls finish; 10 s later what still runs is ended.',
  },
  {
    name: 'FAME_DATA_DIR',
    type: 'path',
    default: '.fame',
    description: 'Where history, logs and pid files are kept.',
  },
  { name: 'NO_COLOR', type: 'text', default: '', description: 'Any value switches colours off.' },
]);

export type ShowEnvelopes = 'off' | 'metadata' | 'full';

/** A sentinel on this machine. */
export interface LocalSentinel {
  readonly host: string;
  readonly port: number;
  readonly url: string;
  readonly httpUrl: string;
}

export interface ClientConfig {
  /** Admission URL that the client uses. */
  readonly url: string;
  /** The same sentinel's HTTP side. */
  readonly httpUrl: string;
  /** Where a sentinel on this machine is reached. */
  readonly local: LocalSentinel;
  readonly token: string | undefined;
  readonly connectTimeoutMs: number;
  readonly turnTimeoutMs: number;
  readonly showEnvelopes: ShowEnvelopes;
  readonly systemPrompt: string | undefined;
  readonly chatAddress: string;
  readonly drainMs: number;
  readonly dataDir: string;
  readonly hasColours: boolean;
}

const SHOW: Readonly<Record<string, ShowEnvelopes>> = {
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

/** Reads the client's variables. @throws {CONFIG_INVALID} with one line a fault. */
export function readClientConfig(env: Readonly<Record<string, string | undefined>>): ClientConfig {
  const faults: string[] = [];
  const text = (name: string): string | undefined => env[name]?.trim() || undefined;

  const integer = (name: string, fallback: number, least: number, most: number): number => {
    const given = text(name);
    if (given === undefined) return fallback;
    const value = Number(given);
    if (/^\d+$/.test(given) && value >= least && value <= most) return value;
    faults.push(`${name} must be a whole number from ${least} to ${most}, not "${given}"`);
    return fallback;
  };

  const port = integer('FAME_LISTENER_PORT', 8000, 1, 65_535);
  const host = reachable(text('FAME_LISTENER_HOST') ?? '127.0.0.1');
  const local = localSentinel(host, port);
  if (!URL.canParse(local.url))
    faults.push(`FAME_LISTENER_HOST must be a host name or an IP address, not "${host}"`);
  const url = text('FAME_DIRECT_ADMISSION_URL') ?? local.url;
  const parsed = URL.parse(url);
  if (!parsed || (parsed.protocol !== 'ws:' && parsed.protocol !== 'wss:')) {
    faults.push(`FAME_DIRECT_ADMISSION_URL must be a ws:// or wss:// URL, not "${shownUrl(url)}"`);
  }

  const shown = text('FAME_SHOW_ENVELOPES')?.toLowerCase() ?? 'false';
  const showEnvelopes = Object.hasOwn(SHOW, shown) ? SHOW[shown] : undefined;
  if (!showEnvelopes) faults.push(`FAME_SHOW_ENVELOPES must be true, false or full, not "${shown}"`);

  const chatAddress = text('FAME_CHAT_ADDRESS') ?? 'chat@fame.fabric';
  if (!tryParseAddress(chatAddress)) {
    faults.push(`FAME_CHAT_ADDRESS must be an address such as chat@fame.fabric, not "${chatAddress}"`);
  }

  const config: ClientConfig = {
    url,
    httpUrl: httpOrigin(url),
    local,
    token: text('FAME_ADMISSION_TOKEN'),
    connectTimeoutMs: integer('FAME_CONNECT_TIMEOUT_MS', 30_000, 1, 86_400_000),
    turnTimeoutMs: integer('FAME_TURN_TIMEOUT_MS', 600_000, 1, 86_400_000),
    showEnvelopes: showEnvelopes ?? 'off',
    systemPrompt: text('FAME_SYSTEM_PROMPT'),
    chatAddress,
    drainMs: integer('FAME_DRAIN_MS', 10_000, 0, 600_000),
    dataDir: text('FAME_DATA_DIR') ?? '.fame',
    hasColours: wantsColours(env),
  };
  if (faults.length > 0) {
    const count = faults.length === 1 ? 'a fault' : 'faults';
    throw new FabricError('CONFIG_INVALID', `The configuration has ${count}:\n  ${faults.join('\n  ')}`, {
      details: { faults },
    });
  }
  return Object.freeze(config);
}

/** Whether colours are wanted where there is a terminal. */
export const wantsColours = (env: Readonly<Record<string, string | undefined>>): boolean =>
  !env.NO_COLOR?.trim() && env.TERM !== 'dumb';

/** A URL as it may be printed: without user name, password and query. */
export const shownUrl = (url: string): string => url.replace(/\/\/[^/@]*@/, '//').replace(/[?#].*$/, '');

const ATTACH_PATH = '/fame/v1/attach/ws/downstream';

export function localSentinel(host: string, port: number): LocalSentinel {
  const url = `ws://${host.includes(':') ? `[${host}]` : host}:${port}${ATTACH_PATH}`;
  return Object.freeze({ host, port, url, httpUrl: httpOrigin(url) });
}

// A sentinel that listens on every interface is reached through loopback.
const reachable = (host: string): string => ({ '0.0.0.0': '127.0.0.1', '::': '::1' })[host] ?? host;

// The sentinel's HTTP side: same host and port as its WebSocket door. A URL with a fault is reported as such elsewhere.
function httpOrigin(url: string): string {
  const parsed = URL.parse(url);
  return parsed ? `${parsed.protocol === 'wss:' ? 'https:' : 'http:'}//${parsed.host}` : '';
}

/** Which model an agent that is started from this environment will use, in words. */
export function modelSource(env: Readonly<Record<string, string | undefined>>): string {
  const name = env.MODEL_NAME?.trim() || 'gpt-4.1-mini';
  if (env.OPENAI_BASE_URL?.trim()) return `${name} at OPENAI_BASE_URL, for agents started from here`;
  if (env.OPENAI_API_KEY?.trim()) return `${name}, OPENAI_API_KEY is set, for agents started from here`;
  return 'offline, the built-in one; OPENAI_API_KEY or OPENAI_BASE_URL chooses a real one for agents started from here';
}
