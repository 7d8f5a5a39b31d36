// Wiring of the built-in agents. `fame agent [NAME...]` serves the named ones, or those of FAME_AGENTS. Only this file selects the
// model and tools of an agent. `run-agents.ts` handles signals and exit codes.
import { fileURLToPath } from 'node:url';
import { FabricError } from '@fame-fabric/shared';
import { closestMatch, cutText, EXIT } from '@fame-fabric/shared/internal';
import type { Agent } from '../agent/agent-types.ts';
import type { ChatModel } from '../model/model.ts';
import type { ToolSet } from '../tools/tool-set.ts';
import { AGENT_NAMES, readAgentConfig } from './config.ts';
import type { Prices } from './prices-file.ts';
import type { AgentSource, ProcessContext, RunOptions } from './run-agents.ts';
import { runAgents, writeStderr } from './run-agents.ts';

/** Dependencies of an agent with conversations. */
interface ConversationDeps {
  readonly context: ProcessContext;
  readonly model: ChatModel;
  /** Prices of models, for the cost of turns; empty without FAME_PRICES_FILE. */
  readonly prices: Partial<Prices>;
}

/** Agents with conversations. They serve the same operations, so one client works with all of them. */
const CONVERSATION_AGENTS: Readonly<Record<string, (deps: ConversationDeps) => Promise<Agent>>> = {
  async chat({ context: { config }, model, prices }) {
    const { ChatAgent } = await import('../conversation/chat-agent.ts');
    const {
      chatAddress: address,
      conversationMaxTokens: maxTokens,
      maxAnswerTokens,
      maxMessageChars,
    } = config;
    const budget = { ...prices, ...(maxTokens > 0 ? { conversation: { maxTokens } } : {}) };
    // The built-in model has one name.
    const models = model.name === 'offline' ? [] : config.models;
    const tools = await toolsOf(config);
    return new ChatAgent({ address, model, models, budget, maxAnswerTokens, maxMessageChars, tools });
  },
  async refine({ context: { config }, model, prices }) {
    const { RefineAgent } = await import('../refine/refine-agent.ts');
    return new RefineAgent({
      models: { default: model, smart: model },
      prices,
      maxMessageChars: config.maxMessageChars,
    });
  },
  async team({ context: { config, log }, model, prices }) {
    const { loadTeam } = await import('../team/load-team.ts');
    const { TeamAgent } = await import('../team/team-agent.ts');
    // The file may name several models, but this process has one.
    const team = await loadTeam(SUPPORT_TEAM, { models: () => model, log });
    return new TeamAgent({
      team,
      address: 'team@fame.fabric',
      budget: prices,
      maxMessageChars: config.maxMessageChars,
    });
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
  const sources: AgentSource[] = [];
  for (const name of new Set(args.length > 0 ? args : namesIn(options.env ?? process.env))) {
    if (Object.hasOwn(CONVERSATION_AGENTS, name)) sources.push(conversationAgent(name));
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

const conversationAgent =
  (name: string): AgentSource =>
  async (context) => {
    const model = await defaultModel(context);
    const prices = await pricesOf(context.config);
    const agent = await CONVERSATION_AGENTS[name]!({ context, model, prices });
    return { agent, note: `model: ${model.name}` };
  };

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
  return (await import('./configured-models.ts')).configuredModels(model, log);
}
