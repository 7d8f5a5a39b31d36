// Configuration of agent processes. No other file of this workspace reads single variables. Secrets are never repeated, not even
// in a fault. A test holds docs/configuration.md to AGENT_VARIABLES.
import { LOG_LEVELS, type LogLevel, tryParseAddress } from '@fame-fabric/shared';
import type { SpendingLimits } from '@fame-fabric/shared/internal';
import {
  ADMISSION_VARIABLES,
  ATTACH_PATH,
  BOOLEANS,
  type ClientCertificate,
  checkNaylenceVariables,
  type Environment,
  type EnvReader,
  errorMessage,
  LOG_FORMATS,
  type LogFormat,
  readAdmissionUrls,
  readClientCertificate,
  readEnv,
  readTokenSettings,
  type TokenSettings,
  type Variable,
} from '@fame-fabric/shared/internal';
import {
  fileVariableOf,
  type NodeSecurityProfile,
  readNodeSecurityProfile,
  readSecret,
} from '@fame-fabric/shared/node';
import { MASTER_KEY_FORM, readMasterKeys } from '../agent/state/state-keys.ts';
import { OPENAI_BASE_URL } from '../model/openai/base-url.ts';
import { parseStoreUrl } from '../store/postgres/store-url.ts';

export interface AgentConfig {
  /** Admission URL of the sentinel, without the node's id. */
  readonly admissionUrl: string;
  /** Admission URLs of other sentinels of the same cluster. */
  readonly otherAdmissionUrls: readonly string[];
  readonly admissionToken: TokenSettings;
  readonly clientCertificate: ClientCertificate | undefined;
  /** With `overlay`, messages are signed. */
  readonly securityProfile: NodeSecurityProfile;
  /** Stable id of this node; undefined for a random one per process. */
  readonly nodeId: string | undefined;
  readonly connectTimeoutMs: number;
  readonly drainMs: number;
  readonly deliveryProfile: 'at-most-once' | 'at-least-once';
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
  readonly showEnvelopes: boolean;
  readonly dataDir: string;
  /** URL of the PostgreSQL database with the conversations; undefined for a file in `dataDir`. It may contain a password. */
  readonly storeUrl: string | undefined;
  /** File whose time of change shows that the agents are served; undefined for none. */
  readonly healthFile: string | undefined;
  /** Port of `/metrics`; undefined for none. */
  readonly metricsPort: number | undefined;
  readonly metricsHost: string;
  /** Master keys of the state of agents, the one that encrypts first, separated by commas. */
  readonly stateKey: string | undefined;
  /** Retention of a conversation after its last change, in days; 0 keeps it forever. */
  readonly conversationTtlDays: number;
  /** Size limit of the conversation store, in bytes; 0 for no limit. */
  readonly storeMaxBytes: number;
  /** Limits of each principal. A missing one is no limit. */
  readonly quotas: SpendingLimits;
  /** Limits of each owner of conversations, except `local`; 0 for no limit. */
  readonly storeMaxBytesPerOwner: number;
  readonly maxConversationsPerOwner: number;
  /** Token budget of one conversation; 0 for no limit. */
  readonly conversationMaxTokens: number;
  readonly maxAnswerTokens: number;
  /** Longest message of a user, in characters. */
  readonly maxMessageChars: number;
  readonly chatAddress: string;
  /** Agents to serve when the command names none. */
  readonly agents: readonly string[];
  /** Tools that the chat agent offers its model. */
  readonly tools: 'standard' | 'none';
  /** Tools of the chat agent that need the approval of a person. */
  readonly approveTools: readonly string[];
  /** File with the MCP servers of the chat agent. */
  readonly mcpServersFile: string | undefined;
  readonly maxConcurrent: number;
  /** Maximum bytes of queued answers to one caller, and of queued requests to one callee. */
  readonly queueBytes: number;
  /** File with the prices of models. */
  readonly pricesFile: string | undefined;
  /** Models that callers of the chat agent may choose beside its own. */
  readonly models: readonly string[];
  readonly model: ModelConfig;
}

/** Model server. With neither a key nor a base URL, agents use the built-in offline model. */
export interface ModelConfig {
  readonly name: string;
  readonly apiKey: string | undefined;
  readonly baseUrl: string | undefined;
  readonly organization: string | undefined;
  readonly project: string | undefined;
  readonly timeoutMs: number;
}

/** Built-in agents. `main.ts` creates them. */
export const AGENT_NAMES: readonly string[] = Object.freeze(['chat', 'refine', 'team', 'echo', 'math']);

/** Returns the addresses of the agents that a process serves when its command names none. */
export const addressesOf = ({ agents, chatAddress }: AgentConfig): string[] =>
  [...new Set(agents)].map((name) => (name === 'chat' ? chatAddress : `${name}@fame.fabric`));

const API_KEY: Variable = {
  name: 'OPENAI_API_KEY',
  type: 'text',
  default: '',
  description:
    'Key of the model server. With neither a key nor OPENAI_BASE_URL the built-in offline model answers.',
  secret: true,
};

const STORE_URL: Variable = {
  name: 'FAME_STORE_URL',
  type: 'text',
  default: '',
  description:
    'PostgreSQL database for the conversations and the state of agents: postgres://USER:PASSWORD@HOST:PORT/DATABASE. Several agent processes may share it. Unset: a SQLite file in FAME_DATA_DIR. Name the server itself, not a pooler in transaction mode.',
  secret: true,
};

const STATE_KEY: Variable = {
  name: 'FAME_STATE_MASTER_KEY',
  type: 'text',
  default: '',
  description:
    'Encrypts the state of agents and their durable requests, not conversations: 32 random bytes in base64 or hexadecimal. Further keys after commas only decrypt.',
  secret: true,
};

/** Every variable that agent processes read. */
export const AGENT_VARIABLES: readonly Variable[] = Object.freeze<Variable[]>([
  ...ADMISSION_VARIABLES,
  {
    name: 'FAME_NODE_ID',
    type: 'text',
    default: 'random for each process',
    description: 'Id of this node; the last segment of its path.',
  },
  {
    name: 'FAME_CONNECT_TIMEOUT_MS',
    type: 'integer',
    unit: 'ms',
    default: '30000',
    description: 'Time limit of the first attach, retries included.',
  },
  {
    name: 'FAME_DRAIN_MS',
    type: 'integer',
    unit: 'ms',
    default: '10000',
    description: 'Time that running calls and tasks get to finish after SIGTERM.',
  },
  {
    name: 'FAME_DELIVERY_PROFILE',
    type: 'choice',
    default: 'at-most-once',
    description: 'With at-least-once, requests and answers are acknowledged, and sent again until they are.',
  },
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
    name: 'FAME_SHOW_ENVELOPES',
    type: 'choice',
    default: 'false',
    description: 'true or full logs the metadata of every envelope sent and received, never its payload.',
  },
  {
    name: 'FAME_DATA_DIR',
    type: 'path',
    default: '.fame',
    description: 'Directory for data that outlives the process.',
  },
  STORE_URL,
  fileVariableOf(STORE_URL),
  STATE_KEY,
  fileVariableOf(STATE_KEY),
  {
    name: 'FAME_STORAGE_MASTER_KEY',
    type: 'text',
    default: '',
    description: 'The name that naylence gives FAME_STATE_MASTER_KEY.',
    secret: true,
  },
  {
    name: 'FAME_HEALTH_FILE',
    type: 'path',
    default: '',
    description:
      'File that is written every 5 s while the agents are served. A health check fails if it is missing or older than 30 s.',
  },
  {
    name: 'FAME_METRICS_PORT',
    type: 'integer',
    default: '',
    description:
      'Port that serves metrics in the Prometheus format at /metrics, without a key; 0 picks a free one. Without it there are no metrics.',
  },
  {
    name: 'FAME_METRICS_HOST',
    type: 'text',
    default: '127.0.0.1',
    description: 'Interface of the metrics port. Every program that reaches it can read the metrics.',
  },
  {
    name: 'FAME_CONVERSATION_TTL_DAYS',
    type: 'integer',
    unit: 'days',
    default: '30',
    description:
      'How long a conversation is kept after its last change. It then stays in the trash for 7 days. 0 keeps it forever.',
  },
  {
    name: 'FAME_STORE_MAX_BYTES',
    type: 'integer',
    unit: 'bytes',
    default: '1073741824',
    description:
      'Maximum size of the conversation store with its trash. A full store removes ended conversations and idle ones of anonymous callers. If there are none, it refuses new turns. 0 for no limit.',
  },
  {
    name: 'FAME_STORE_MAX_BYTES_PER_OWNER',
    type: 'integer',
    unit: 'bytes',
    default: '0',
    description:
      'Maximum size of the conversations of one owner, except `local`. At the limit the oldest ended conversations of that owner move to the trash, then idle ones. 0 for no limit.',
  },
  {
    name: 'FAME_MAX_CONVERSATIONS_PER_OWNER',
    type: 'integer',
    default: '20000',
    description:
      'Maximum number of open conversations of one owner, except `local`. At the limit the oldest idle conversation of that owner moves to the trash. 0 for no limit.',
  },
  {
    name: 'FAME_MAX_TURNS_PER_MINUTE',
    type: 'integer',
    default: '0',
    description:
      'Number of turns that one principal, except `local`, may run in a minute; 0 for no limit. Callers without a credential are one principal. Limits of a policy replace this one.',
  },
  {
    name: 'FAME_MAX_TOKENS_PER_DAY',
    type: 'integer',
    unit: 'tokens',
    default: '0',
    description:
      'Number of prompt and answer tokens that the turns of one principal, except `local`, may use in a day (UTC); 0 for no limit. Limits of a policy replace this one.',
  },
  {
    name: 'FAME_MAX_COST_PER_DAY',
    type: 'integer',
    unit: 'currency of FAME_PRICES_FILE',
    default: '0',
    description:
      'Maximum cost of the turns of one principal, except `local`, in a day (UTC); 0 for no limit. Needs FAME_PRICES_FILE; models without a price cost nothing. Limits of a policy replace this one, and may have decimals.',
  },
  {
    name: 'FAME_CONVERSATION_MAX_TOKENS',
    type: 'integer',
    unit: 'tokens',
    default: '0',
    description: 'Prompt and answer tokens that one conversation may spend in total; 0 for no limit.',
  },
  {
    name: 'FAME_MAX_ANSWER_TOKENS',
    type: 'integer',
    unit: 'tokens',
    default: '4096',
    description: 'Maximum tokens of one answer.',
  },
  {
    name: 'FAME_MAX_MESSAGE_CHARS',
    type: 'integer',
    unit: 'characters',
    default: '65536',
    description: 'Longest message of a user; at most 200000.',
  },
  {
    name: 'FAME_CHAT_ADDRESS',
    type: 'address',
    default: 'chat@fame.fabric',
    description:
      'Address of the chat agent. With the address of a pool, such as `chat@*.fame.fabric`, several processes serve the agent over one store.',
  },
  {
    name: 'FAME_AGENTS',
    type: 'list',
    default: 'chat',
    description: `Agents to serve when the command names none: ${AGENT_NAMES.join(', ')}; separated by commas or spaces.`,
  },
  {
    name: 'FAME_TOOLS',
    type: 'choice',
    default: 'standard',
    description:
      'Tools that the chat agent offers its model: standard (the weather of three cities, a clock, a calculator) or none.',
  },
  {
    name: 'FAME_APPROVE_TOOLS',
    type: 'list',
    default: '',
    description:
      'Tools of the chat agent that run only after a person has approved the call, separated by commas, such as clock,calculator.',
  },
  {
    name: 'FAME_MCP_SERVERS',
    type: 'path',
    default: '',
    description:
      'JSON file with MCP servers whose tools the chat agent offers its model, in the format of editors: {"mcpServers": {"files": {"command": "..."}}}.',
  },
  {
    name: 'FAME_MAX_CONCURRENT',
    type: 'integer',
    unit: 'calls',
    default: '64',
    description: 'Calls that one agent runs at once; others wait in order.',
  },
  {
    name: 'FAME_QUEUE_BYTES',
    type: 'integer',
    unit: 'bytes',
    default: '8388608',
    description:
      'Maximum size of the queued answers to one caller, and of the queued requests to one callee, in this process; at most 67108864.',
  },
  API_KEY,
  fileVariableOf(API_KEY),
  {
    name: 'OPENAI_BASE_URL',
    type: 'url',
    default: OPENAI_BASE_URL,
    description: 'A server that implements the OpenAI Chat Completions API.',
  },
  { name: 'MODEL_NAME', type: 'text', default: 'gpt-4.1-mini', description: 'Model to request.' },
  {
    name: 'FAME_MODELS',
    type: 'list',
    default: '',
    description:
      'Further models of the same server, which a turn may choose with options.model; separated by commas, at most 64.',
  },
  {
    name: 'FAME_PRICES_FILE',
    type: 'path',
    default: '',
    description: 'YAML file with the prices of models. Without it the cost of a turn is unknown.',
  },
  {
    name: 'OPENAI_ORG_ID',
    type: 'text',
    default: '',
    description: 'Organization that requests are billed to.',
  },
  {
    name: 'OPENAI_PROJECT_ID',
    type: 'text',
    default: '',
    description: 'Project that requests are billed to.',
  },
  {
    name: 'FAME_MODEL_TIMEOUT_MS',
    type: 'integer',
    unit: 'ms',
    default: '60000',
    description: 'Longest wait for the first chunk of an answer, and between two chunks.',
  },
]);

const NODE_ID = /^[A-Za-z0-9._-]{1,64}$/;

/** Reads the configuration of an agent process. @throws {CONFIG_INVALID} with one line for each fault */
export const readAgentConfig = (env: Environment): AgentConfig =>
  readEnv(env, (reader) => {
    checkNaylenceVariables(reader);
    const { url, otherUrls } = readAdmissionUrls(reader, `ws://sentinel:8000${ATTACH_PATH}`);
    return {
      admissionUrl: url,
      otherAdmissionUrls: otherUrls,
      admissionToken: readTokenSettings(reader),
      clientCertificate: readClientCertificate(reader),
      securityProfile: readNodeSecurityProfile(reader),
      nodeId: nodeId(reader),
      connectTimeoutMs: reader.integer('FAME_CONNECT_TIMEOUT_MS', 30_000, 1, 86_400_000),
      drainMs: reader.integer('FAME_DRAIN_MS', 10_000, 0, 600_000),
      deliveryProfile: reader.choice<AgentConfig['deliveryProfile']>(
        'FAME_DELIVERY_PROFILE',
        'at-most-once',
        {
          'at-most-once': 'at-most-once',
          'at-least-once': 'at-least-once',
        },
      ),
      logLevel: reader.choice('FAME_LOG_LEVEL', 'info', LOG_LEVELS),
      logFormat: reader.choice<LogFormat>('FAME_LOG_FORMAT', 'auto', LOG_FORMATS),
      showEnvelopes: reader.choice(
        'FAME_SHOW_ENVELOPES',
        false,
        { ...BOOLEANS, full: true },
        'true, false or full',
      ),
      dataDir: reader.text('FAME_DATA_DIR') ?? '.fame',
      storeUrl: storeUrl(reader),
      stateKey: stateKey(reader),
      healthFile: reader.text('FAME_HEALTH_FILE'),
      metricsPort: metricsPort(reader),
      metricsHost: reader.text('FAME_METRICS_HOST') ?? '127.0.0.1',
      conversationTtlDays: reader.integer('FAME_CONVERSATION_TTL_DAYS', 30, 0, 36_500),
      storeMaxBytes: reader.integer('FAME_STORE_MAX_BYTES', 1_073_741_824, 0, Number.MAX_SAFE_INTEGER),
      storeMaxBytesPerOwner: reader.integer('FAME_STORE_MAX_BYTES_PER_OWNER', 0, 0, Number.MAX_SAFE_INTEGER),
      maxConversationsPerOwner: reader.integer('FAME_MAX_CONVERSATIONS_PER_OWNER', 20_000, 0, 10_000_000),
      quotas: quotasOf(reader),
      conversationMaxTokens: reader.integer('FAME_CONVERSATION_MAX_TOKENS', 0, 0, Number.MAX_SAFE_INTEGER),
      maxAnswerTokens: reader.integer('FAME_MAX_ANSWER_TOKENS', 4_096, 1, 1_000_000),
      maxMessageChars: reader.integer('FAME_MAX_MESSAGE_CHARS', 65_536, 1, 200_000),
      chatAddress: chatAddress(reader),
      agents: agentNames(reader),
      tools: reader.choice<AgentConfig['tools']>('FAME_TOOLS', 'standard', {
        standard: 'standard',
        none: 'none',
      }),
      approveTools: reader.text('FAME_APPROVE_TOOLS') === undefined ? [] : reader.list('FAME_APPROVE_TOOLS'),
      mcpServersFile: reader.text('FAME_MCP_SERVERS'),
      maxConcurrent: reader.integer('FAME_MAX_CONCURRENT', 64, 1, 10_000),
      queueBytes: reader.integer('FAME_QUEUE_BYTES', 8_388_608, 1_048_576, 67_108_864),
      pricesFile: reader.text('FAME_PRICES_FILE'),
      models: modelNames(reader),
      model: {
        name: reader.unquoted('MODEL_NAME') ?? 'gpt-4.1-mini',
        apiKey: readSecret(reader, 'OPENAI_API_KEY'),
        baseUrl: reader.url('OPENAI_BASE_URL', {
          protocols: ['https:', 'http:'],
          example: OPENAI_BASE_URL,
        }),
        organization: reader.secret('OPENAI_ORG_ID'),
        project: reader.secret('OPENAI_PROJECT_ID'),
        timeoutMs: reader.integer('FAME_MODEL_TIMEOUT_MS', 60_000, 1, 86_400_000),
      },
    };
  });

function metricsPort(reader: EnvReader): number | undefined {
  const port = reader.integer('FAME_METRICS_PORT', -1, 0, 65_535);
  return port < 0 ? undefined : port;
}

/** Reads the limits of principals; 0 is no limit. */
function quotasOf(reader: EnvReader): SpendingLimits {
  const limit = (name: string): number | undefined =>
    reader.integer(name, 0, 0, Number.MAX_SAFE_INTEGER) || undefined;
  return {
    turnsPerMinute: limit('FAME_MAX_TURNS_PER_MINUTE'),
    tokensPerDay: limit('FAME_MAX_TOKENS_PER_DAY'),
    moneyPerDay: limit('FAME_MAX_COST_PER_DAY'),
  };
}

function storeUrl(reader: EnvReader): string | undefined {
  const url = readSecret(reader, 'FAME_STORE_URL');
  if (url === undefined) return undefined;
  try {
    parseStoreUrl(url);
    return url;
  } catch (error) {
    reader.faults.push(errorMessage(error).replace(/\.$/, ''));
    return undefined;
  }
}

// The key in the variable of naylence has the same form.
function stateKey(reader: EnvReader): string | undefined {
  const own = readSecret(reader, 'FAME_STATE_MASTER_KEY');
  const key = own ?? reader.secret('FAME_STORAGE_MASTER_KEY');
  if (key === undefined || readMasterKeys(key)) return key;
  const name = own === undefined ? 'FAME_STORAGE_MASTER_KEY' : 'FAME_STATE_MASTER_KEY';
  reader.faults.push(`${name} does not have the form of a key; expected ${MASTER_KEY_FORM}`);
  return undefined;
}

function nodeId(reader: EnvReader): string | undefined {
  const id = reader.text('FAME_NODE_ID');
  const expected = '1 to 64 letters, digits, dots, underscores and hyphens';
  if (id !== undefined) reader.check('FAME_NODE_ID', id, NODE_ID.test(id), expected);
  return id;
}

function modelNames(reader: EnvReader): string[] {
  const text = reader.text('FAME_MODELS');
  if (text === undefined) return [];
  const names = reader.list('FAME_MODELS');
  const isValid = names.length <= 64 && names.every((name) => name.length <= 256);
  reader.check(
    'FAME_MODELS',
    text,
    isValid,
    'at most 64 names of models of 1 to 256 characters, separated by commas',
  );
  return names;
}

function chatAddress(reader: EnvReader): string {
  const address = reader.text('FAME_CHAT_ADDRESS') ?? 'chat@fame.fabric';
  const isValid = Boolean(tryParseAddress(address)?.host);
  reader.check('FAME_CHAT_ADDRESS', address, isValid, 'an address such as chat@fame.fabric');
  return address;
}

function agentNames(reader: EnvReader): string[] {
  const text = reader.text('FAME_AGENTS');
  if (text === undefined) return ['chat'];
  const names = reader.list('FAME_AGENTS', /[\s,]+/);
  const isValid = names.length > 0 && names.every((name) => AGENT_NAMES.includes(name));
  reader.check('FAME_AGENTS', text, isValid, `names of agents among ${AGENT_NAMES.join(', ')}`);
  return names;
}
