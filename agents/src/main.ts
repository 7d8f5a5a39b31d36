// `fame agent [NAME...]`: the agents that come with the fabric, by name. The chat agent is served when none is named. This
// is the wiring file of the room: it alone decides which model an agent gets.

import type { ChatModel } from './model.ts';
import { nearestName } from './nearest-name.ts';
import type { AgentSource, ProcessContext, RunOptions } from './run-agents.ts';
import { EXIT, runAgents } from './run-agents.ts';

const AGENTS: Readonly<Record<string, () => Promise<AgentSource>>> = {
  chat: async () => {
    const { ChatAgent } = await import('./chat-agent.ts');
    const { openStore } = await import('./store/open-store.ts');
    return async (context) => {
      const { chatAddress: address, conversationMaxTokens: maxTokens, maxAnswerTokens } = context.config;
      const model = await modelOf(context);
      const { store, close } = await openStore(context.config, context.log);
      const budget = maxTokens > 0 ? { conversation: { maxTokens } } : {};
      const agent = new ChatAgent({ address, model, store, budget, maxAnswerTokens });
      context.log.info('conversations are kept', { store: store.place });
      return { agent, note: `model: ${model.name}`, close };
    };
  },
  echo: async () => (await import('./examples/echo-agent.ts')).echoAgent(),
  math: async () => (await import('./examples/math-agent.ts')).mathAgent(),
};

/** The names that `runAgentProcess` takes. */
export const AGENT_NAMES: readonly string[] = Object.freeze(Object.keys(AGENTS));

/**
 * Serves the named agents until a signal ends the process; resolves to its exit code: 0, 1 for a failure, 2 for a wrong name
 * or configuration, 69 when no sentinel can be reached. @default args ['chat']
 */
export async function runAgentProcess(args: readonly string[], options: RunOptions = {}): Promise<number> {
  const write = options.write ?? ((line) => void process.stderr.write(`${line}\n`));
  const names = args.length > 0 ? [...new Set(args)] : ['chat'];
  const sources: AgentSource[] = [];
  for (const name of names) {
    const load = Object.hasOwn(AGENTS, name) ? AGENTS[name] : undefined;
    if (!load) {
      const near = nearestName(name, AGENT_NAMES);
      const hint = near ? ` Did you mean ${near}?` : '';
      write(`There is no agent "${name.slice(0, 64)}".${hint} There are: ${AGENT_NAMES.join(', ')}`);
      return EXIT.usage;
    }
    sources.push(await load());
  }
  return runAgents(sources, options);
}

/**
 * `fame team check|diagram|run FILE`: teams and refining dialogues from their files. Resolves to the exit code, as
 * `runAgentProcess` does.
 */
export async function runTeamProcess(args: readonly string[], options: RunOptions = {}): Promise<number> {
  const { runTeamCommand } = await import('./team/command.ts');
  const { openStore } = await import('./store/open-store.ts');
  return runTeamCommand(args, {
    ...options,
    models: modelsOf,
    store: ({ config, log }) => openStore(config, log),
  });
}

/** The model that the configuration asks for. */
const modelOf = async (context: ProcessContext): Promise<ChatModel> => (await modelsOf(context))('default');

/**
 * The models of this process, by name, `default` being the one of the configuration: a server's when there is a key or a
 * base URL, else the built-in one, whatever its name.
 */
async function modelsOf({ config: { model }, log }: ProcessContext): Promise<(name: string) => ChatModel> {
  if (model.apiKey === undefined && model.baseUrl === undefined) {
    const { offlineModel } = await import('./offline-model.ts');
    const offline = offlineModel();
    return () => offline;
  }
  const { openaiModel } = await import('./openai-model.ts');
  const made = new Map<string, ChatModel>();
  return (wanted) => {
    const name = wanted === 'default' ? model.name : wanted;
    const known = made.get(name);
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
    made.set(name, fresh);
    return fresh;
  };
}
