// Wiring of the built-in agents. `fame agent [NAME...]` serves the named ones, or those of FAME_AGENTS. Only this file selects the
// model, tools and store of an agent. `run-agents.ts` handles signals and exit codes.
import { fileURLToPath } from 'node:url';
import { FabricError } from '@fame-fabric/shared';
import { closestMatch, cutText, EXIT } from '@fame-fabric/shared/internal';
import type { Agent } from '../agent/agent-types.ts';
import type { ChatModel } from '../model/model.ts';
import type { OpenedStore } from '../store/open-store.ts';
import type { ConversationStore } from '../store/store.ts';
import type { ToolSet } from '../tools/tool-set.ts';
import { AGENT_NAMES, readAgentConfig } from './config.ts';
import type { Prices } from './prices-file.ts';
import type { AgentSource, ProcessContext, RunOptions } from './run-agents.ts';
import { runAgents, writeStderr } from './run-agents.ts';

/** Dependencies of an agent with conversations. */
interface ConversationDeps {
  readonly context: ProcessContext;
  readonly model: ChatModel;
  readonly store: ConversationStore;
  /** Prices of models, for the cost of turns; empty without FAME_PRICES_FILE. */
  readonly prices: Partial<Prices>;
}

/** Agents with conversations. They serve the same operations, so one client works with all of them. */
const CONVERSATION_AGENTS: Readonly<Record<string, (deps: ConversationDeps) => Promise<Agent>>> = {
  async chat({ context: { config }, model, store, prices }) {
    const { ChatAgent } = await import('../conversation/chat-agent.ts');
    const { chatAddress: address, conversationMaxTokens: maxTokens, maxAnswerTokens } = config;
    const budget = { ...prices, ...(maxTokens > 0 ? { conversation: { maxTokens } } : {}) };
    // The built-in model has one name.
    const models = model.name === 'offline' ? [] : config.models;
    const tools = await toolsOf(config);
    return new ChatAgent({ address, model, models, store, budget, maxAnswerTokens, tools });
  },
  async refine({ model, store, prices }) {
    const { RefineAgent } = await import('../refine/refine-agent.ts');
    return new RefineAgent({ models: { default: model, smart: model }, store, prices });
  },
  async team({ context: { log }, model, store, prices }) {
    const { loadTeam } = await import('../team/load-team.ts');
    const { TeamAgent } = await import('../team/team-agent.ts');
    // The file may name several models, but this process has one.
    const team = await loadTeam(SUPPORT_TEAM, { models: () => model, log });
    return new TeamAgent({ team, store, address: 'team@fame.fabric', budget: prices });
  },
};

/** Agents without conversations, as examples. */
const PLAIN_AGENTS: Readonly<Record<string, () => Promise<Agent>>> = {
  echo: async () => (await import('../builtin/echo-agent.ts')).echoAgent(),
  math: async () => (await import('../builtin/math-agent.ts')).mathAgent(),
};

const SUPPORT_TEAM = fileURLToPath(new URL('../../examples/support-team/team.yaml', import.meta.url));

/**
 * Serves the named agents until a signal ends the process. Resolves to the exit code, as `runAgents` does, and to 2 for an
 * unknown name. @default args the agents of FAME_AGENTS
 */
export async function runAgentProcess(args: readonly string[], options: RunOptions = {}): Promise<number> {
  const write = options.write ?? writeStderr;
  const store = sharedStore();
  const sources: AgentSource[] = [];
  for (const name of new Set(args.length > 0 ? args : namesIn(options.env ?? process.env))) {
    if (Object.hasOwn(CONVERSATION_AGENTS, name)) sources.push(conversationAgent(name, store));
    else if (Object.hasOwn(PLAIN_AGENTS, name)) sources.push(await PLAIN_AGENTS[name]!());
    else {
      const near = closestMatch(name, AGENT_NAMES);
      const hint = near ? ` Did you mean ${near}?` : '';
      write(`Unknown agent "${cutText(name, 64)}".${hint} Known agents: ${AGENT_NAMES.join(', ')}`);
      return EXIT.usage;
    }
  }
  return runAgents(sources, options);
}

/** Names in FAME_AGENTS; none if the configuration is faulty, which `runAgents` reports. */
function namesIn(env: NonNullable<RunOptions['env']>): readonly string[] {
  try {
    return readAgentConfig(env).agents;
  } catch {
    return [];
  }
}

type StoreSource = (context: ProcessContext) => Promise<OpenedStore>;

const conversationAgent =
  (name: string, open: StoreSource): AgentSource =>
  async (context) => {
    const model = await defaultModel(context);
    const prices = await pricesOf(context.config);
    const { store, close } = await open(context);
    try {
      const agent = await CONVERSATION_AGENTS[name]!({ context, model, store, prices });
      return { agent, note: `model: ${model.name}`, close };
    } catch (error) {
      await close();
      throw error;
    }
  };

/** Opens one store for all agents of a process. It closes when the last agent has closed it. */
function sharedStore(): StoreSource {
  let opened: Promise<OpenedStore> | undefined;
  let openCount = 0;
  return async (context) => {
    opened ??= import('../store/open-store.ts').then(async ({ openStore }) => {
      const made = await openStore(context.config, context.log);
      context.log.info('conversation store opened', { store: made.store.place });
      return made;
    });
    const { store, close } = await opened;
    openCount += 1;
    return {
      store,
      async close() {
        openCount -= 1;
        if (openCount === 0) await close();
      },
    };
  };
}

async function pricesOf({ pricesFile }: ProcessContext['config']): Promise<Partial<Prices>> {
  if (pricesFile === undefined) return {};
  return (await import('./prices-file.ts')).readPricesFile(pricesFile);
}

/** @throws {CONFIG_INVALID} when a tool that needs approval does not exist */
async function toolsOf({ tools, approveTools }: ProcessContext['config']): Promise<ToolSet | undefined> {
  const { ToolSet } = await import('../tools/tool-set.ts');
  const { standardTools } = await import('../tools/standard/standard-tools.ts');
  const all = tools === 'none' ? [] : standardTools();
  const unknown = approveTools.find((name) => !all.some((one) => one.name === name));
  if (unknown !== undefined) {
    const names = all.map(({ name }) => name).join(', ') || 'none';
    throw new FabricError(
      'CONFIG_INVALID',
      `FAME_APPROVE_TOOLS names "${cutText(unknown, 64)}", which is not a tool of the chat agent. Tools: ${names}.`,
    );
  }
  if (all.length === 0) return undefined;
  return new ToolSet(
    all.map((one) => (approveTools.includes(one.name) ? { ...one, approval: 'always' as const } : one)),
  );
}

/** Returns the model of the configuration. */
const defaultModel = async (context: ProcessContext): Promise<ChatModel> =>
  (await modelsOf(context))('default');

/**
 * Returns the models of this process by name; `default` is the model of the configuration. They are models of the configured
 * server, or, with neither a key nor a base URL, always the built-in model.
 */
export async function modelsOf({
  config: { model },
  log,
}: ProcessContext): Promise<(name: string) => ChatModel> {
  if (model.apiKey === undefined && model.baseUrl === undefined) {
    const { offlineModel } = await import('../model/offline/offline-model.ts');
    const offline = offlineModel();
    return () => offline;
  }
  const { openaiModel } = await import('../model/openai/openai-model.ts');
  const models = new Map<string, ChatModel>();
  return (wanted) => {
    const name = wanted === 'default' ? model.name : wanted;
    const known = models.get(name);
    if (known) return known;
    const fresh = openaiModel({
      model: name,
      apiKey: model.apiKey,
      baseURL: model.baseUrl,
      organization: model.organization,
      project: model.project,
      timeoutMs: model.timeoutMs,
      log,
    });
    models.set(name, fresh);
    return fresh;
  };
}
