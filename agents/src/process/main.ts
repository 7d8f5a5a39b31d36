// Wiring of the built-in agents. `fame agent [NAME...]` serves the named ones, or those of FAME_AGENTS. Only this file selects the
// model and tools of an agent. `run-agents.ts` handles signals and exit codes.
import { fileURLToPath } from 'node:url';
import { FabricError, type Logger } from '@fame-fabric/shared';
import { closestMatch, cutText, type Environment, EXIT } from '@fame-fabric/shared/internal';
import type { Agent } from '../agent/agent-types.ts';
import type { ChatModel } from '../model/model.ts';
import type { McpToolSet } from '../tools/mcp/mcp-tools.ts';
import type { AnyTool } from '../tools/tool.ts';
import type { ToolSet } from '../tools/tool-set.ts';
import { AGENT_NAMES, readAgentConfig } from './config.ts';
import type { Prices } from './prices-file.ts';
import type { AgentSource, NamedAgent, ProcessContext, RunOptions } from './run-agents.ts';
import { runAgents, writeStderr } from './run-agents.ts';

/** Dependencies of an agent with conversations. */
interface ConversationDeps {
  readonly context: ProcessContext;
  readonly model: ChatModel;
  /** Prices of models, for the cost of turns; empty without FAME_PRICES_FILE. */
  readonly prices: Partial<Prices>;
}

/** Agents with conversations. They serve the same operations, so one client works with all of them. */
const CONVERSATION_AGENTS: Readonly<Record<string, (deps: ConversationDeps) => Promise<Agent | NamedAgent>>> =
  {
    async chat({ context, model, prices }) {
      const { config } = context;
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
      const { tools, note, close } = await toolsOf(context);
      try {
        const options = { address, model, models, budget, maxAnswerTokens, maxMessageChars, tools };
        return { agent: new ChatAgent(options), note, close };
      } catch (error) {
        await close();
        throw error;
      }
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
    const made = await CONVERSATION_AGENTS[name]!({ context, model, prices });
    const { agent, note, close }: NamedAgent = 'agent' in made ? made : { agent: made };
    return {
      agent,
      note: [`model: ${model.name}`, ...(note ? [note] : [])].join('; '),
      ...(close ? { close } : {}),
    };
  };

async function pricesOf({ pricesFile }: ProcessContext['config']): Promise<Partial<Prices>> {
  if (pricesFile === undefined) return {};
  return (await import('./prices-file.ts')).readPricesFile(pricesFile);
}

/** The tools of the chat agent, and a function that closes their MCP servers. */
interface ChatTools {
  readonly tools: ToolSet | undefined;
  /** Lists the MCP servers for the start line. @default there are none */
  readonly note?: string | undefined;
  close(): Promise<void>;
}

/** @throws {CONFIG_INVALID} when a tool that needs approval does not exist, or two tools have one name; {MCP_UNAVAILABLE} */
async function toolsOf({ config, log, env }: ProcessContext): Promise<ChatTools> {
  const { tools, approveTools, mcpServersFile } = config;
  const { ToolSet } = await import('../tools/tool-set.ts');
  const { standardTools } = await import('../tools/standard/standard-tools.ts');
  const all: AnyTool[] = tools === 'none' ? [] : [...standardTools()];
  const servers = mcpServersFile === undefined ? [] : await openServers(config, log, env);
  const close = async (): Promise<void> => {
    await Promise.all(servers.map((server) => server.close()));
  };
  try {
    for (const server of servers) all.push(...server.tools);
    const unknown = approveTools.find((name) => !all.some((one) => one.name === name));
    if (unknown !== undefined) {
      const names = all.map(({ name }) => name).join(', ') || 'none';
      throw new FabricError(
        'CONFIG_INVALID',
        `FAME_APPROVE_TOOLS names "${cutText(unknown, 64)}", which is not a tool of the chat agent. Tools: ${names}.`,
      );
    }
    const twice = all.find(({ name }, at) => all.findIndex((one) => one.name === name) < at);
    if (twice) {
      throw new FabricError(
        'CONFIG_INVALID',
        `Two tools of the chat agent are named "${twice.name}". Give one of the MCP servers in FAME_MCP_SERVERS another prefix.`,
      );
    }
    const set = new ToolSet(
      all.map((one) => (approveTools.includes(one.name) ? { ...one, approval: 'always' as const } : one)),
    );
    const listed = servers.map(({ server, size }) => `${server} (${countText(size, 'tool')})`);
    return {
      tools: all.length === 0 ? undefined : set,
      ...(listed.length > 0 ? { note: `MCP servers: ${listed.join(', ')}` } : {}),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function openServers(
  config: ProcessContext['config'],
  log: Logger,
  env: Environment,
): Promise<readonly McpToolSet[]> {
  const { openMcpServers, readMcpServersFile } = await import('./mcp-servers-file.ts');
  return openMcpServers(await readMcpServersFile(config, env), log);
}

const countText = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`;

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
}: Pick<ProcessContext, 'config' | 'log'>): Promise<(name: string) => ChatModel> {
  return (await import('./configured-models.ts')).configuredModels(model, log);
}
