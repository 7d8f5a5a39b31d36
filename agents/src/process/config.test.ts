import { isFabricError } from '@fame-fabric/shared';
import { type Environment, NAYLENCE_VARIABLES } from '@fame-fabric/shared/internal';
import { describe, expect, it } from 'vitest';
import { AGENT_VARIABLES, readAgentConfig } from './config.ts';

const faultsOf = (env: Environment): string[] => {
  try {
    readAgentConfig(env);
  } catch (error) {
    if (isFabricError(error, 'CONFIG_INVALID')) {
      const faults = error.details?.faults as string[];
      for (const fault of faults) expect(error.message).toContain(fault);
      return faults;
    }
    throw error;
  }
  return [];
};

const DEFAULTS = {
  admissionUrl: 'ws://127.0.0.1:8000/fame/v1/attach/ws/downstream',
  otherAdmissionUrls: [],
  admissionToken: { token: undefined, tokenFile: undefined, dataDir: undefined },
  nodeId: undefined,
  connectTimeoutMs: 30_000,
  drainMs: 10_000,
  deliveryProfile: 'at-most-once',
  logLevel: 'info',
  logFormat: 'auto',
  showEnvelopes: false,
  dataDir: '.fame',
  metricsPort: undefined,
  metricsHost: '127.0.0.1',
  conversationTtlDays: 30,
  storeMaxBytes: 1_073_741_824,
  storeMaxBytesPerOwner: 0,
  maxConversationsPerOwner: 20_000,
  quotas: { turnsPerMinute: undefined, tokensPerDay: undefined, moneyPerDay: undefined },
  conversationMaxTokens: 0,
  maxAnswerTokens: 4_096,
  maxMessageChars: 65_536,
  chatAddress: 'chat@fame.fabric',
  agents: ['chat'],
  tools: 'standard',
  approveTools: [],
  maxConcurrent: 64,
  queueBytes: 8_388_608,
  securityProfile: 'open',
  pricesFile: undefined,
  models: [],
  model: {
    name: 'gpt-4.1-mini',
    apiKey: undefined,
    baseUrl: undefined,
    organization: undefined,
    project: undefined,
    timeoutMs: 60_000,
  },
};

describe('readAgentConfig', () => {
  it('has a default for every variable, and treats empty values as unset', () => {
    expect(readAgentConfig({})).toEqual(DEFAULTS);
    expect(readAgentConfig(Object.fromEntries(AGENT_VARIABLES.map(({ name }) => [name, ' '])))).toEqual(
      DEFAULTS,
    );
  });

  it('reads exactly the variables of AGENT_VARIABLES, and the checked ones of naylence', () => {
    const read = new Set<string>();
    const env = new Proxy({} as Environment, {
      get(_, name) {
        read.add(String(name));
        return undefined;
      },
    });
    readAgentConfig(env);
    const checked = NAYLENCE_VARIABLES.filter(({ refuses }) => refuses);
    const names = new Set([...AGENT_VARIABLES, ...checked].map(({ name }) => name));
    expect([...read].sort()).toEqual([...names].sort());
  });

  it('NF0: refuses a security profile that is not built', () => {
    expect(() => readAgentConfig({ FAME_SECURITY_PROFILE: 'strict-overlay' })).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        message: expect.stringContaining(
          'FAME_SECURITY_PROFILE is "strict-overlay"; expected open, none, noop, gated, overlay, or unset.',
        ),
      }),
    );
  });

  it('reads set variables', () => {
    const config = readAgentConfig({
      FAME_DIRECT_ADMISSION_URL: 'wss://fabric.example.com/fame/v1/attach/ws/downstream',
      FAME_ADMISSION_TOKEN: 'token',
      FAME_NODE_ID: 'agents-1',
      FAME_CONNECT_TIMEOUT_MS: '5000',
      FAME_DRAIN_MS: '0',
      FAME_LOG_LEVEL: 'WARNING',
      FAME_LOG_FORMAT: 'json',
      FAME_SHOW_ENVELOPES: 'true',
      FAME_DATA_DIR: '/var/lib/fame',
      FAME_METRICS_PORT: '9464',
      FAME_METRICS_HOST: '::1',
      FAME_CONVERSATION_TTL_DAYS: '0',
      FAME_STORE_MAX_BYTES: '5000000',
      FAME_STORE_MAX_BYTES_PER_OWNER: '1000000',
      FAME_MAX_CONVERSATIONS_PER_OWNER: '0',
      FAME_MAX_TURNS_PER_MINUTE: '30',
      FAME_MAX_TOKENS_PER_DAY: '1000000',
      FAME_MAX_COST_PER_DAY: '5',
      FAME_CONVERSATION_MAX_TOKENS: '100000',
      FAME_MAX_ANSWER_TOKENS: '512',
      FAME_MAX_MESSAGE_CHARS: '100000',
      FAME_CHAT_ADDRESS: 'talk@fame.fabric',
      FAME_AGENTS: 'chat, refine team',
      FAME_TOOLS: 'None',
      FAME_APPROVE_TOOLS: 'clock, calculator',
      FAME_MAX_CONCURRENT: '8',
      FAME_QUEUE_BYTES: '1048576',
      OPENAI_API_KEY: 'sk-x',
      OPENAI_BASE_URL: 'http://127.0.0.1:11434/v1',
      MODEL_NAME: 'llama',
      OPENAI_ORG_ID: 'org',
      OPENAI_PROJECT_ID: 'proj',
      FAME_DELIVERY_PROFILE: 'AT-LEAST-ONCE',
      FAME_SECURITY_PROFILE: 'overlay',
      FAME_MODEL_TIMEOUT_MS: '1000',
      FAME_MODELS: 'gpt-4.1, llama',
      FAME_PRICES_FILE: 'prices.yaml',
    });
    expect(config).toEqual({
      admissionUrl: 'wss://fabric.example.com/fame/v1/attach/ws/downstream',
      otherAdmissionUrls: [],
      admissionToken: { token: 'token', tokenFile: undefined, dataDir: '/var/lib/fame' },
      securityProfile: 'overlay',
      nodeId: 'agents-1',
      connectTimeoutMs: 5_000,
      deliveryProfile: 'at-least-once',
      drainMs: 0,
      logLevel: 'warn',
      logFormat: 'json',
      showEnvelopes: true,
      dataDir: '/var/lib/fame',
      metricsPort: 9_464,
      metricsHost: '::1',
      conversationTtlDays: 0,
      storeMaxBytes: 5_000_000,
      storeMaxBytesPerOwner: 1_000_000,
      maxConversationsPerOwner: 0,
      quotas: { turnsPerMinute: 30, tokensPerDay: 1_000_000, moneyPerDay: 5 },
      conversationMaxTokens: 100_000,
      maxAnswerTokens: 512,
      maxMessageChars: 100_000,
      chatAddress: 'talk@fame.fabric',
      agents: ['chat', 'refine', 'team'],
      tools: 'none',
      approveTools: ['clock', 'calculator'],
      maxConcurrent: 8,
      queueBytes: 1_048_576,
      models: ['gpt-4.1', 'llama'],
      pricesFile: 'prices.yaml',
      model: {
        name: 'llama',
        apiKey: 'sk-x',
        baseUrl: 'http://127.0.0.1:11434/v1',
        organization: 'org',
        project: 'proj',
        timeoutMs: 1_000,
      },
    });
    expect(Object.isFrozen(config) && Object.isFrozen(config.model)).toBe(true);
  });

  it('FAME_DIRECT_ADMISSION_URL may list the sentinels of a cluster', () => {
    const config = readAgentConfig({ FAME_DIRECT_ADMISSION_URL: 'wss://a/x, wss://b/x,wss://c/x' });
    expect(config).toMatchObject({
      admissionUrl: 'wss://a/x',
      otherAdmissionUrls: ['wss://b/x', 'wss://c/x'],
    });
    expect(() => readAgentConfig({ FAME_DIRECT_ADMISSION_URL: 'wss://a/x, http://b/x' })).toThrow(/http:/);
  });

  it('derives the admission URL from the variables of the local sentinel', () => {
    const urlOf = (env: Environment) => readAgentConfig(env).admissionUrl;
    expect(urlOf({ FAME_LISTENER_PORT: '8123' })).toMatch('ws://127.0.0.1:8123/');
    expect(urlOf({ FAME_LISTENER_HOST: '0.0.0.0' })).toMatch('ws://127.0.0.1:8000/');
    expect(urlOf({ FAME_LISTENER_HOST: '::' })).toMatch('ws://[::1]:8000/');
    expect(urlOf({ FAME_LISTENER_PORT: '8123', FAME_DIRECT_ADMISSION_URL: 'ws://a/b' })).toBe('ws://a/b');
  });

  it('reports every fault at once, with the variable, the value and what is expected', () => {
    const faults = faultsOf({
      FAME_DIRECT_ADMISSION_URL: 'http://sentinel:8000',
      FAME_LISTENER_PORT: '99999',
      FAME_NODE_ID: 'a/b',
      FAME_CONNECT_TIMEOUT_MS: '30s',
      FAME_DRAIN_MS: '-1',
      FAME_LOG_LEVEL: 'loud',
      FAME_SHOW_ENVELOPES: 'maybe',
      FAME_CHAT_ADDRESS: 'chat',
      FAME_AGENTS: ' , ',
      FAME_TOOLS: 'all',
      FAME_MAX_CONCURRENT: '0',
      OPENAI_BASE_URL: 'api.openai.com',
      FAME_MODEL_TIMEOUT_MS: '1e3',
    });
    expect(faults.length).toBe(13);
    expect(faults).toContain('FAME_CONNECT_TIMEOUT_MS is "30s"; expected a whole number from 1 to 86400000');
    expect(faults).toContain('FAME_CHAT_ADDRESS is "chat"; expected an address such as chat@fame.fabric');
    for (const fault of faults) expect(fault).toMatch(/^[A-Z_]+ is ".*"; expected /);
  });

  it('never repeats a secret, not even from a wrong variable', () => {
    const key = 'sk-proj-abcdefghijklmnopqrstuvwxyz0123456789';
    const faults = faultsOf({
      OPENAI_API_KEY: `${key}\nsecond line`,
      FAME_ADMISSION_TOKEN: `${key} x`,
      OPENAI_BASE_URL: `ftp://user:${key}@example.com/v1?key=${key}`,
      FAME_DIRECT_ADMISSION_URL: `http://user:${key}@example.com/?token=${key}`,
      FAME_LOG_LEVEL: key,
    });
    expect(faults.length).toBe(5);
    expect(faults.join('\n')).not.toContain('abcdef');
    expect(faults.join('\n')).toContain('FAME_DIRECT_ADMISSION_URL is "http://example.com/"');
  });

  it('checks FAME_STORE_URL without repeating its password', () => {
    const url = 'postgres://ada:hush@db/fame';
    expect(readAgentConfig({ FAME_STORE_URL: url }).storeUrl).toBe(url);
    const faulty = () => readAgentConfig({ FAME_STORE_URL: 'postgres://ada:hush@db/fame?sslmode=x' });
    expect(faulty).toThrow(/FAME_STORE_URL has an unknown sslmode/);
    expect(faulty).not.toThrow(/hush/);
  });

  it('marks secret variables', () => {
    expect(AGENT_VARIABLES.filter(({ secret }) => secret).map(({ name }) => name)).toEqual([
      'FAME_ADMISSION_TOKEN',
      'FAME_ADMISSION_CLIENT_SECRET',
      'FAME_STORE_URL',
      'FAME_STATE_MASTER_KEY',
      'FAME_STORAGE_MASTER_KEY',
      'OPENAI_API_KEY',
    ]);
  });
});
