// `fame team check|diagram|run FILE`: checks the files of a team, draws them, or runs them.
import { readFile } from 'node:fs/promises';
import type { Agent, ConversationStore } from '@fame-fabric/agents';
import {
  loadRefineAgent,
  type OpenedStore,
  openStore,
  readRefineFile,
  teamDiagram,
  YamlFile,
} from '@fame-fabric/agents/internal';
import {
  modelsOf,
  type NamedAgent,
  type ProcessContext,
  type RunOptions,
  readAgentConfig,
  runAgents,
} from '@fame-fabric/agents/process';
import {
  type Diagnostic,
  formatDiagnostic,
  loadTeam,
  type ModelResolver,
  readTeam,
  type Team,
  TeamAgent,
} from '@fame-fabric/agents/team';
import { isFabricError, newId, silentLog } from '@fame-fabric/shared';
import {
  closestMatch,
  cutText,
  type Environment,
  EXIT,
  escapeControls,
  escapeLine,
} from '@fame-fabric/shared/internal';
import { countText } from '../count-text.ts';
import { writeMessage, writeOut } from '../output.ts';
import type { VerbInput } from '../verb.ts';

export interface TeamCommandOptions extends RunOptions {
  env: Environment;
  /** Receives results. @default stdout */
  print?: (text: string) => void;
  /** Opens the models of this process, by name. */
  models: (context: ProcessContext) => Promise<ModelResolver>;
  /** Opens the store of a served agent. */
  store: (context: ProcessContext) => Promise<OpenedStore>;
}

type Deps = TeamCommandOptions & Required<Pick<TeamCommandOptions, 'print' | 'write'>>;

const ACTIONS = ['check', 'diagram', 'run'] as const;
type Action = (typeof ACTIONS)[number];
const USAGE = 'Usage: npx fame-fabric team check|diagram|run FILE [MESSAGE]';

export const run = ({ positionals, env }: VerbInput): Promise<number> =>
  runTeamCommand(positionals, {
    env,
    models: modelsOf,
    store: ({ config, log }) => openStore(config, log),
  });

/**
 * Runs one action. Resolves to its exit code: 0; 1 if the files have faults or the turn failed; 2 for wrong usage or
 * configuration; 69 if no sentinel can be reached.
 */
export async function runTeamCommand(args: readonly string[], options: TeamCommandOptions): Promise<number> {
  const { print = writeOut, write = writeMessage } = options;
  const [word, path, ...words] = args;
  const action = ACTIONS.find((one) => one === word);
  if (action === undefined || path === undefined) {
    write(`${usageFault(word)}\n${USAGE}`);
    return EXIT.usage;
  }
  const deps: Deps = { ...options, print: (text) => print(escapeControls(text)), write };
  try {
    const message = words.join(' ');
    return (await isRefineFile(path))
      ? await runRefineAction(action, path, message, deps)
      : await runTeamAction(action, path, message, deps);
  } catch (error) {
    if (!isFabricError(error)) throw error;
    const message = error.code === 'TEAM_CONFIG' ? error.message : `${error.message} (${error.code})`;
    write(escapeControls(message));
    return error.code === 'CONFIG_INVALID' ? EXIT.usage : EXIT.failure;
  }
}

function usageFault(word: string | undefined): string {
  if (word === undefined) return 'team takes check, diagram or run, and the file of a team.';
  if (ACTIONS.some((one) => one === word)) return `team ${word} takes the file of a team.`;
  const match = closestMatch(word, ACTIONS);
  return `team has no action "${escapeLine(cutText(word, 64))}".${match ? ` Did you mean ${match}?` : ''}`;
}

/** True for a file of a refining dialogue. An unreadable file counts as a team file, so that the check of teams reports it. */
async function isRefineFile(path: string): Promise<boolean> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const { data } = new YamlFile(path, text);
  return typeof data === 'object' && data !== null && (data as { kind?: unknown }).kind === 'refine';
}

async function runTeamAction(action: Action, path: string, message: string, deps: Deps): Promise<number> {
  if (action === 'check') return checkTeam(path, deps);
  if (action === 'diagram') return drawTeam(path, deps);
  if (message === '') {
    return serve(deps, async (context, store) => {
      const team = await loadTeam(path, { models: await deps.models(context), log: context.log });
      return { agent: new TeamAgent({ team, store }), model: team.defaultModel.name };
    });
  }
  const context = { config: readAgentConfig(deps.env), log: silentLog, env: deps.env };
  return runTurn(await loadTeam(path, { models: await deps.models(context) }), message, deps);
}

async function checkTeam(path: string, { print }: Deps): Promise<number> {
  // As in `run`, no code adds values: a token that the files do not fill is an error.
  const { diagnostics, graph } = await readTeam(path, { tokens: [] });
  const code = report(diagnostics, print);
  const errors = diagnostics.filter((one) => one.level === 'error').length;
  const parts = [
    countText(graph.agents.length, 'agent'),
    countText(graph.edges.length, 'route'),
    countText(errors, 'error'),
    countText(diagnostics.length - errors, 'warning'),
  ];
  print(`${path}: ${parts.join(', ')}\n`);
  return code;
}

async function drawTeam(path: string, { print, write }: Deps): Promise<number> {
  const { diagnostics, graph } = await readTeam(path);
  const code = report(diagnostics, (text) => write(text.trimEnd()));
  if (code === EXIT.ok) print(teamDiagram(graph));
  return code;
}

/** Prints one line for each diagnostic. Returns the exit code. */
function report(diagnostics: readonly Diagnostic[], print: (text: string) => void): number {
  for (const one of diagnostics) print(`${escapeLine(formatDiagnostic(one))}\n`);
  return diagnostics.some((one) => one.level === 'error') ? EXIT.failure : EXIT.ok;
}

/** Runs one turn without a sentinel, to try a team. */
async function runTurn(team: Team, message: string, { print, write }: Deps): Promise<number> {
  let hasText = false;
  const turn = team.run(message, { turnId: newId() });
  for await (const event of turn) {
    if (event.type !== 'text') continue;
    hasText = true;
    print(event.text);
  }
  const result = await turn.result;
  if (hasText) print('\n');
  const { calls, total_tokens } = result.usage.total;
  const outcome = result.kind === 'ignored' ? `ignored: ${result.reason}` : result.kind;
  const cost = `${countText(calls, 'model call')}, ${total_tokens} tokens, ${result.model}`;
  write(escapeLine(`${result.path.join(' → ')} (${outcome}; ${cost})`));
  return EXIT.ok;
}

async function runRefineAction(action: Action, path: string, message: string, deps: Deps): Promise<number> {
  const { print, write } = deps;
  if (action === 'diagram' || message !== '') {
    write(`${path} describes a refining dialogue. It can be checked, and run without a message.`);
    return EXIT.usage;
  }
  if (action === 'run') {
    return serve(deps, async (context, store) => {
      const models = await deps.models(context);
      return { agent: await loadRefineAgent(path, { models, store }), model: models('default').name };
    });
  }
  const { diagnostics } = await readRefineFile(path);
  const code = report(diagnostics, print);
  print(`${path}: a refining dialogue, ${countText(diagnostics.length, 'error')}\n`);
  return code;
}

/** Serves the agent of a file until a signal ends the process. */
function serve(
  { env, write, store: openStoreOf }: Deps,
  make: (context: ProcessContext, store: ConversationStore) => Promise<{ agent: Agent; model: string }>,
): Promise<number> {
  const source = async (context: ProcessContext): Promise<NamedAgent> => {
    const { store, close } = await openStoreOf(context);
    try {
      const { agent, model } = await make(context, store);
      return { agent, note: `model: ${model}`, close };
    } catch (error) {
      await close();
      throw error;
    }
  };
  return runAgents([source], { write, env });
}
