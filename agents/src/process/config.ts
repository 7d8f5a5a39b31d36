// The one place where agent processes read the environment: everything is checked, every fault is reported at once, and
// what comes out is frozen. Secrets are never repeated, not even in a fault. docs/configuration.md is held to
// AGENT_VARIABLES by a test.
import { FabricError, LOG_LEVELS, type LogLevel, tryParseAddress } from '@fame-fabric/shared';

export interface AgentConfig {
  /** Admission URL of the sentinel, without the node's id. */
  readonly admissionUrl: string;
  readonly admissionToken: string | undefined;
  /** Stable id of this node; absent: a random one for each process. */
  readonly nodeId: string | undefined;
  readonly connectTimeoutMs: number;
  readonly drainMs: number;
  readonly deliveryProfile: 'at-most-once' | 'at-least-once';
  readonly logLevel: LogLevel;
  readonly showEnvelopes: boolean;
  readonly dataDir: string;
  /** Days that a conversation is kept after its last change; 0 keeps for ever. */
  readonly conversationTtlDays: number;
  /** Most bytes of the store of conversations; 0 for no limit. */
  readonly storeMaxBytes: number;
  /** Most tokens that one conversation may spend; 0 for no limit. */
  readonly conversationMaxTokens: number;
  readonly maxAnswerTokens: number;
  readonly chatAddress: string;
  /** Names of the agents to serve where none are named. */
  readonly agents: readonly string[];
  /** Which tools the chat agent offers its model. */
  readonly tools: 'standard' | 'none';
  readonly maxConcurrent: number;
  readonly model: ModelConfig;
}

/** With neither key nor base URL, agents use the built-in model. */
export interface ModelConfig {
  readonly name: string;
  readonly apiKey: string | undefined;
  readonly baseUrl: string | undefined;
  readonly organization: string | undefined;
  readonly project: string | undefined;
  readonly timeoutMs: number;
}

export interface AgentVariable {
  readonly name: string;
  readonly type: 'url' | 'integer' | 'text' | 'choice' | 'address' | 'path' | 'list';
  readonly unit?: string;
  readonly default: string;
  readonly description: string;
  /** Its value is never printed. */
  readonly secret: boolean;
}

/** The agents that come with the fabric. `main.ts` makes them. */
export const AGENT_NAMES: readonly string[] = Object.freeze(['chat', 'refine', 'team', 'echo', 'math']);

const variable = (
  name: string,
  type: AgentVariable['type'],
  fallback: string,
  description: string,
  more: { unit?: string; secret?: boolean } = {},
): AgentVariable => Object.freeze({ name, type, default: fallback, description, secret: false, ...more });

/** Every variable that agent processes read. */
export const AGENT_VARIABLES: readonly AgentVariable[] = Object.freeze([
  variable(
    'FAME_DIRECT_ADMISSION_URL',
    'url',
    'ws://127.0.0.1:<FAME_LISTENER_PORT>/fame/v1/attach/ws/downstream',
    'Where the sentinel admits nodes; ws:// or wss://.',
  ),
  variable(
    'FAME_LISTENER_PORT',
    'integer',
    '8000',
    'Port of the sentinel on this machine; used when FAME_DIRECT_ADMISSION_URL is not set.',
  ),
  variable(
    'FAME_LISTENER_HOST',
    'text',
    '127.0.0.1',
    'Interface of the sentinel on this machine; used as FAME_LISTENER_PORT is.',
  ),
  variable('FAME_ADMISSION_TOKEN', 'text', '', 'Bearer token offered when attaching.', { secret: true }),
  variable(
    'FAME_NODE_ID',
    'text',
    'random for each process',
    'Id of this node; the last segment of its path.',
  ),
  variable('FAME_CONNECT_TIMEOUT_MS', 'integer', '30000', 'How long the first attach keeps trying.', {
    unit: 'ms',
  }),
  variable(
    'FAME_DRAIN_MS',
    'integer',
    '10000',
    'How long running calls and tasks get to finish after SIGTERM.',
    { unit: 'ms' },
  ),
  variable(
    'FAME_DELIVERY_PROFILE',
    'choice',
    'at-most-once',
    'at-least-once has requests and answers acknowledged, and sends them again until they are.',
  ),
  variable(
    'FAME_LOG_LEVEL',
    'choice',
    'info',
    'trace, debug, info, warn, error or silent; the upper-case names of other Fame nodes work too.',
  ),
  variable(
    'FAME_SHOW_ENVELOPES',
    'choice',
    'false',
    'true or full writes a log line for every envelope sent and received: its metadata, never its payload.',
  ),
  variable('FAME_DATA_DIR', 'path', '.fame', 'Directory for what outlives the process.'),
  variable(
    'FAME_CONVERSATION_TTL_DAYS',
    'integer',
    '30',
    'How long a conversation is kept after its last change; 0 keeps for ever.',
    { unit: 'days' },
  ),
  variable(
    'FAME_STORE_MAX_BYTES',
    'integer',
    '1073741824',
    'Size of the store of conversations above which no new turns are taken; 0 for no limit.',
    { unit: 'bytes' },
  ),
  variable(
    'FAME_CONVERSATION_MAX_TOKENS',
    'integer',
    '0',
    'Prompt and answer tokens that one conversation may spend in all; 0 for no limit.',
    { unit: 'tokens' },
  ),
  variable(
    'FAME_MAX_ANSWER_TOKENS',
    'integer',
    '4096',
    'Longest single answer that the model is asked for.',
    { unit: 'tokens' },
  ),
  variable('FAME_CHAT_ADDRESS', 'address', 'chat@fame.fabric', 'Where the chat agent is served.'),
  variable(
    'FAME_AGENTS',
    'list',
    'chat',
    `Agents to serve where none are named: ${AGENT_NAMES.join(', ')}; with commas or spaces between.`,
  ),
  variable(
    'FAME_TOOLS',
    'choice',
    'standard',
    'What the chat agent offers its model: standard (the weather of three cities, a clock, a calculator) or none.',
  ),
  variable(
    'FAME_MAX_CONCURRENT',
    'integer',
    '64',
    'Calls that one agent runs at once; others wait in order.',
    { unit: 'calls' },
  ),
  variable(
    'OPENAI_API_KEY',
    'text',
    '',
    'Key of the model server. With neither a key nor OPENAI_BASE_URL the built-in offline model answers.',
    { secret: true },
  ),
  variable(
    'OPENAI_BASE_URL',
    'url',
    'https://api.openai.com/v1',
    'A server that speaks the OpenAI Chat Completions API.',
  ),
  variable('MODEL_NAME', 'text', 'gpt-4.1-mini', 'The model to ask for.'),
  variable('OPENAI_ORG_ID', 'text', '', 'Organization that requests are counted for.'),
  variable('OPENAI_PROJECT_ID', 'text', '', 'Project that requests are counted for.'),
  variable(
    'FAME_MODEL_TIMEOUT_MS',
    'integer',
    '60000',
    'Longest wait for the first piece of an answer, and between two pieces.',
    { unit: 'ms' },
  ),
]);

export type Environment = Readonly<Record<string, string | undefined>>;

const ATTACH_PATH = '/fame/v1/attach/ws/downstream';
const NODE_ID = /^[A-Za-z0-9._-]{1,64}$/;
const YES = new Set(['true', 'full', '1', 'yes', 'on']);
const NO = new Set(['false', '0', 'no', 'off']);

/** Reads the environment; empty values count as unset. @throws {CONFIG_INVALID} with one line for each fault */
export function readAgentConfig(env: Environment): AgentConfig {
  const faults: string[] = [];
  const text = (name: string): string | undefined => env[name]?.trim() || undefined;
  const fault = (name: string, value: string, expected: string): void => {
    faults.push(`${name} is "${shown(value)}"; expected ${expected}`);
  };
  const integer = (name: string, fallback: number, least: number, most: number): number => {
    const value = text(name);
    if (value === undefined) return fallback;
    const number = Number(value);
    if (/^\d+$/.test(value) && number >= least && number <= most) return number;
    fault(name, value, `a whole number from ${least} to ${most}`);
    return fallback;
  };
  const url = (name: string, fallback: string | undefined, schemes: readonly string[], example: string) => {
    const value = text(name);
    if (value === undefined) return fallback;
    const { protocol, hostname } = URL.parse(value) ?? {};
    if (hostname && schemes.includes(`${protocol}//`)) return value;
    fault(name, value, `a URL that begins with ${schemes.join(' or ')}, such as ${example}`);
    return fallback;
  };
  // What goes into an HTTP header must be plain; the value itself is not repeated.
  const secret = (name: string): string | undefined => {
    const value = text(name);
    if (value === undefined || /^[\x21-\x7e]+$/.test(value)) return value;
    faults.push(`${name} has a blank, a line break or a character that is not ASCII in it; copy it again`);
    return undefined;
  };

  const port = integer('FAME_LISTENER_PORT', 8000, 1, 65_535);
  const host = reachable(text('FAME_LISTENER_HOST') ?? '127.0.0.1');
  const localUrl = `ws://${host.includes(':') ? `[${host}]` : host}:${port}${ATTACH_PATH}`;
  if (!URL.canParse(localUrl)) fault('FAME_LISTENER_HOST', host, 'a host name or an IP address');

  const nodeId = text('FAME_NODE_ID');
  if (nodeId !== undefined && !NODE_ID.test(nodeId)) {
    fault('FAME_NODE_ID', nodeId, '1 to 64 letters, digits, dots, underscores and hyphens');
  }
  const profile = (text('FAME_DELIVERY_PROFILE') ?? 'at-most-once').toLowerCase();
  if (profile !== 'at-most-once' && profile !== 'at-least-once')
    fault('FAME_DELIVERY_PROFILE', profile, 'at-most-once or at-least-once');
  const level = text('FAME_LOG_LEVEL') ?? 'info';
  const knownLevel = Object.hasOwn(LOG_LEVELS, level.toLowerCase());
  if (!knownLevel) fault('FAME_LOG_LEVEL', level, `one of ${Object.keys(LOG_LEVELS).join(', ')}`);
  const show = (text('FAME_SHOW_ENVELOPES') ?? 'false').toLowerCase();
  if (!YES.has(show) && !NO.has(show)) fault('FAME_SHOW_ENVELOPES', show, 'true, false or full');
  const chatAddress = text('FAME_CHAT_ADDRESS') ?? 'chat@fame.fabric';
  if (!tryParseAddress(chatAddress)?.host) {
    fault('FAME_CHAT_ADDRESS', chatAddress, 'an address such as chat@fame.fabric');
  }

  const agents = (text('FAME_AGENTS') ?? 'chat').split(/[\s,]+/).filter(Boolean);
  if (agents.length === 0 || agents.some((name) => !AGENT_NAMES.includes(name)))
    fault('FAME_AGENTS', text('FAME_AGENTS') ?? '', `names of agents among ${AGENT_NAMES.join(', ')}`);
  const tools = (text('FAME_TOOLS') ?? 'standard').toLowerCase();
  if (tools !== 'standard' && tools !== 'none') fault('FAME_TOOLS', tools, 'standard or none');

  const config: AgentConfig = {
    admissionUrl:
      url('FAME_DIRECT_ADMISSION_URL', undefined, ['ws://', 'wss://'], `ws://sentinel:8000${ATTACH_PATH}`) ??
      localUrl,
    admissionToken: secret('FAME_ADMISSION_TOKEN'),
    nodeId,
    connectTimeoutMs: integer('FAME_CONNECT_TIMEOUT_MS', 30_000, 1, 86_400_000),
    drainMs: integer('FAME_DRAIN_MS', 10_000, 0, 600_000),
    deliveryProfile: profile === 'at-least-once' ? profile : 'at-most-once',
    logLevel: LOG_LEVELS[knownLevel ? level.toLowerCase() : 'info']!,
    showEnvelopes: YES.has(show),
    dataDir: text('FAME_DATA_DIR') ?? '.fame',
    conversationTtlDays: integer('FAME_CONVERSATION_TTL_DAYS', 30, 0, 36_500),
    storeMaxBytes: integer('FAME_STORE_MAX_BYTES', 1_073_741_824, 0, Number.MAX_SAFE_INTEGER),
    conversationMaxTokens: integer('FAME_CONVERSATION_MAX_TOKENS', 0, 0, Number.MAX_SAFE_INTEGER),
    maxAnswerTokens: integer('FAME_MAX_ANSWER_TOKENS', 4_096, 1, 1_000_000),
    chatAddress,
    agents: Object.freeze(agents),
    tools: tools === 'none' ? 'none' : 'standard',
    maxConcurrent: integer('FAME_MAX_CONCURRENT', 64, 1, 10_000),
    model: Object.freeze({
      name: text('MODEL_NAME') ?? 'gpt-4.1-mini',
      apiKey: secret('OPENAI_API_KEY'),
      baseUrl: url('OPENAI_BASE_URL', undefined, ['https://', 'http://'], 'https://api.openai.com/v1'),
      organization: secret('OPENAI_ORG_ID'),
      project: secret('OPENAI_PROJECT_ID'),
      timeoutMs: integer('FAME_MODEL_TIMEOUT_MS', 60_000, 1, 86_400_000),
    }),
  };
  if (faults.length > 0) {
    const count = faults.length === 1 ? 'a fault' : `${faults.length} faults`;
    throw new FabricError('CONFIG_INVALID', `The configuration has ${count}:\n  ${faults.join('\n  ')}`, {
      details: { faults },
    });
  }
  return Object.freeze(config);
}

/** A URL as it may be printed: without user name, password and query. */
export const shownUrl = (url: string): string => url.replace(/\/\/[^/@]*@/, '//').replace(/[?#].*$/, '');

// People paste keys into the wrong variable: what could be one is cut to its first letters.
const shown = (value: string): string => {
  const safe = shownUrl(value);
  return /^[\w-]{24,}$/.test(safe) ? `${safe.slice(0, 4)}…` : safe.slice(0, 80);
};

// A sentinel that listens on every interface is reached through loopback.
const reachable = (host: string): string => ({ '0.0.0.0': '127.0.0.1', '::': '::1' })[host] ?? host;
