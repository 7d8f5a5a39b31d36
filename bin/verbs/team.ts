// `fame team check|diagram|run FILE`: looks at the files of a team, draws them, or runs them. Which models there are is decided
// by `main.ts`; how an agent process lives and ends, by `run-agents.ts`.

import { readFile } from 'node:fs/promises';
import { type Agent, type ConversationStore, runAgents } from '@fame-fabric/agents';
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
import { closestMatch, EXIT } from '@fame-fabric/shared/internal';
import type { Environment, VerbInput } from '../verb.ts';

export interface TeamCommandOptions extends RunOptions {
  env: Environment;
  /** Takes what the command is asked for. @default stdout */
  print?: (text: string) => void;
  /** The models of this process, by name. */
  models: (context: ProcessContext) => Promise<ModelResolver>;
  /** Where a served agent keeps its conversations. */
  store: (context: ProcessContext) => Promise<OpenedStore>;
}

const VERBS = ['check', 'diagram', 'run'] as const;
const USAGE = 'Usage: npx fame team check|diagram|run FILE [MESSAGE]';

export const run = ({ positionals, env }: VerbInput): Promise<number> =>
  runTeamCommand(positionals, {
    env,
    models: modelsOf,
    store: ({ config, log }) => openStore(config, log),
  });

/**
 * Runs one command; resolves to its exit code: 0, 1 when the files have faults or the turn failed, 2 for a wrong usage or
 * configuration, 69 when no sentinel can be reached.
 */
export async function runTeamCommand(args: readonly string[], options: TeamCommandOptions): Promise<number> {
  const print = options.print ?? ((text) => void process.stdout.write(text));
  const write = options.write ?? ((line) => void process.stderr.write(`${line}\n`));
  const [verb, path, ...words] = args;
  if (verb === undefined || !VERBS.some((one) => one === verb) || path === undefined) {
    write(`${usageFault(verb)}\n${USAGE}`);
    return EXIT.usage;
  }
  try {
    if (await isRefineFile(path)) return await refineCommand(verb, path, words, { ...options, print, write });
    if (verb === 'check') return await check(path, print);
    if (verb === 'diagram') return await diagram(path, print, write);
    return await runTeam(path, words.join(' '), { ...options, print, write });
  } catch (error) {
    if (!isFabricError(error)) throw error;
    write(error.code === 'TEAM_CONFIG' ? error.message : `${error.message} (${error.code})`);
    return error.code === 'CONFIG_INVALID' ? EXIT.usage : EXIT.failure;
  }
}

function usageFault(verb: string | undefined): string {
  if (verb === undefined) return 'team takes check, diagram or run, and the file of a team.';
  if (VERBS.some((one) => one === verb)) return `team ${verb} takes the file of a team.`;
  const near = closestMatch(verb, VERBS);
  return `team has no action "${verb.slice(0, 64)}".${near ? ` Did you mean ${near}?` : ''}`;
}

type Deps = TeamCommandOptions & Required<Pick<TeamCommandOptions, 'print' | 'write'>>;

/** A file that cannot be read is a team file with a fault: the check says what is wrong with it. */
async function isRefineFile(path: string): Promise<boolean> {
  const text = await readFile(path, 'utf8').catch(() => '');
  const { data } = new YamlFile(path, text);
  return typeof data === 'object' && data !== null && (data as { kind?: unknown }).kind === 'refine';
}

function report(diagnostics: readonly Diagnostic[], print: (text: string) => void): number {
  for (const one of diagnostics) print(`${formatDiagnostic(one)}\n`);
  return diagnostics.some((one) => one.level === 'error') ? EXIT.failure : EXIT.ok;
}

async function check(path: string, print: (text: string) => void): Promise<number> {
  const { diagnostics, graph } = await readTeam(path);
  const code = report(diagnostics, print);
  const count = (what: number, one: string): string => `${what} ${one}${what === 1 ? '' : 's'}`;
  const errors = diagnostics.filter((one) => one.level === 'error').length;
  const parts = [
    count(graph.agents.length, 'agent'),
    count(graph.edges.length, 'route'),
    count(errors, 'error'),
    count(diagnostics.length - errors, 'warning'),
  ];
  print(`${path}: ${parts.join(', ')}\n`);
  return code;
}

async function diagram(
  path: string,
  print: (text: string) => void,
  write: (line: string) => void,
): Promise<number> {
  const { diagnostics, graph } = await readTeam(path);
  const code = report(diagnostics, (text) => write(text.trimEnd()));
  if (code === EXIT.ok) print(teamDiagram(graph));
  return code;
}

async function runTeam(path: string, message: string, options: Deps): Promise<number> {
  if (message !== '') {
    const context = { config: readAgentConfig(options.env), log: silentLog };
    return await askOnce(await loadTeam(path, { models: await options.models(context) }), message, options);
  }
  return serve(options, async (context, store) => {
    const { log } = context;
    const team = await loadTeam(path, { models: await options.models(context), log });
    return { agent: new TeamAgent({ team, store }), model: team.defaultModel.name };
  });
}

/** One turn, without a sentinel: what a person types to try a team. */
async function askOnce(team: Team, message: string, { print, write }: Deps): Promise<number> {
  let said = false;
  const turn = team.run(message, { turnId: newId() });
  for await (const event of turn) {
    if (event.type === 'text') {
      said = true;
      print(event.text);
    }
  }
  const result = await turn.result;
  if (said) print('\n');
  const { calls, total_tokens } = result.usage.total;
  const end = result.kind === 'ignored' ? `ignored: ${result.reason}` : result.kind;
  const asked = `${calls} model ${calls === 1 ? 'call' : 'calls'}`;
  write(`${result.path.join(' → ')} (${end}; ${asked}, ${total_tokens} tokens, ${result.model})`);
  return EXIT.ok;
}

async function refineCommand(
  verb: string,
  path: string,
  words: readonly string[],
  options: Deps,
): Promise<number> {
  const { print, write } = options;
  if (verb === 'diagram' || words.length > 0) {
    write(`${path} describes a refining dialogue; it can be checked, and run without a message`);
    return EXIT.usage;
  }
  if (verb === 'run') {
    return serve(options, async (context, store) => {
      const models = await options.models(context);
      return { agent: await loadRefineAgent(path, { models, store }), model: models('default').name };
    });
  }
  const { diagnostics } = await readRefineFile(path);
  const code = report(diagnostics, print);
  print(
    `${path}: a refining dialogue, ${diagnostics.length} ${diagnostics.length === 1 ? 'error' : 'errors'}\n`,
  );
  return code;
}

function serve(
  options: Deps,
  make: (context: ProcessContext, store: ConversationStore) => Promise<{ agent: Agent; model: string }>,
): Promise<number> {
  const { env, write } = options;
  const source = async (context: ProcessContext): Promise<NamedAgent> => {
    const { store, close } = await options.store(context);
    try {
      const { agent, model } = await make(context, store);
      return { agent, note: `model: ${model}`, close };
    } catch (error) {
      await close();
      throw error;
    }
  };
  return runAgents([source], { write, ...(env ? { env } : {}) });
}
