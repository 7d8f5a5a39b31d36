// Loads a team from its files, or reports all of their faults, each with file, line and column. It asks no model.
import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve, sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  type ConfigPath,
  type Diagnostic,
  type DiagnosticCode,
  TeamConfigError,
} from '../yaml/diagnostic.ts';
import { schemaFaults, YamlFile } from '../yaml/yaml-file.ts';
import { type AbilityDef, type AbilityFn, type AbilityModule, abilitiesOf } from './ability.ts';
import { analyzeTeam } from './analyze-team.ts';
import { Team, type TeamDeps, type TeamSource } from './team.ts';
import {
  AgentConfig,
  type AgentConfigT,
  agentKeysAt,
  TeamConfig,
  type TeamConfigInput,
  type TeamConfigT,
  teamKeysAt,
  writtenPath,
} from './team-config.ts';
import { teamGraph } from './team-graph.ts';

export interface ReadTeamOptions {
  /** Abilities beside those of the modules that the team file names. Functions are not checked when there are neither. */
  abilities?: readonly AbilityModule[];
  /** Tokens that get a value when the team runs. Without it code may still fill them, so unknown ones are warnings. */
  tokens?: Iterable<string>;
}
export interface LoadTeamOptions extends TeamDeps {
  abilities?: readonly AbilityModule[];
}

/** Tokens that always have a value. */
const BUILT_IN_TOKENS = ['today'];

/** Loads a team from its file, or from the same content in code. @throws {TEAM_CONFIG} with all faults */
export async function loadTeam(source: string | TeamConfigInput, options: LoadTeamOptions): Promise<Team> {
  const { abilities, ...deps } = options;
  const read = await readTeam(source, {
    abilities: abilities ?? [],
    tokens: Object.keys(options.interpolations ?? {}),
  });
  if (read.diagnostics.some((one) => one.level === 'error')) throw new TeamConfigError(read.diagnostics);
  return new Team(read, deps);
}

/** Reads and checks a team. Its faults are in `diagnostics`; they are not thrown. */
export async function readTeam(
  source: string | TeamConfigInput,
  options: ReadTeamOptions = {},
): Promise<TeamSource> {
  const read = await readAll(source, options);
  return { ...read, diagnostics: read.diagnostics.toSorted(byPlace) };
}

/** Team first, then the agents by name; places from the top. */
const byPlace = (a: Diagnostic, b: Diagnostic): number =>
  (a.agent ?? '').localeCompare(b.agent ?? '') ||
  (a.place?.line ?? 0) - (b.place?.line ?? 0) ||
  (a.place?.column ?? 0) - (b.place?.column ?? 0);

async function readAll(source: string | TeamConfigInput, options: ReadTeamOptions): Promise<TeamSource> {
  const files = new Map<string, YamlFile>();
  const found: Diagnostic[] = [];
  const config =
    typeof source === 'string' ? await readTeamFile(source, files, found) : checkTeam(source, found);
  if (!config) return { ...NOTHING, diagnostics: found };

  const agents =
    typeof config.agents !== 'string'
      ? Object.entries(config.agents).map(([name, agent]) => ({ name, ...agent }))
      : await readAgentFiles(folderOf(source), config.agents, files, found);
  const fileAbilities = await importAbilities(folderOf(source), config.abilities ?? [], files, found);
  const abilities = abilitiesOf([...fileAbilities, ...(options.abilities ?? [])]);

  // Faults of one file would appear again as unknown names, so the team is analyzed only if its files are valid.
  if (found.some((one) => one.level === 'error')) {
    return { config, agents, abilities, graph: teamGraph(agents, config), diagnostics: found };
  }
  const { graph, diagnostics } = analyzeTeam(agents, config.start, {
    team: config,
    ...(options.abilities || config.abilities ? { abilities: new Set(abilities.keys()) } : {}),
    tokens: new Set([
      ...BUILT_IN_TOKENS,
      ...Object.keys(config.interpolations ?? {}),
      ...(options.tokens ?? []),
    ]),
  });
  const placed = diagnostics.map((one): Diagnostic => {
    const isOpen = one.code === 'TEAM_TOKEN_UNKNOWN' && options.tokens === undefined;
    return withPlace(isOpen ? { ...one, level: 'warning' } : one, files);
  });
  if (config.limits?.max_usd !== undefined && !config.prices) {
    const message = 'limits.max_usd needs prices to count with';
    placed.push(withPlace(fault('TEAM_VALUE', ['limits', 'max_usd'], message), files));
  }
  return { config, agents, abilities, graph, diagnostics: placed };
}

const NOTHING: TeamSource = {
  config: { start: '', agents: {} },
  agents: [],
  abilities: new Map(),
  graph: { start: '', agents: [], edges: [], cycles: [] },
  diagnostics: [],
};

const TEAM = '';
const fault = (code: DiagnosticCode, path: ConfigPath, message: string): Diagnostic => ({
  code,
  level: 'error',
  path,
  message,
});

const folderOf = (source: string | TeamConfigInput): string =>
  typeof source === 'string' ? dirname(source) : '.';

function withPlace(one: Diagnostic, files: ReadonlyMap<string, YamlFile>): Diagnostic {
  const file = files.get(one.agent ?? TEAM);
  if (!file) return one;
  const path = writtenPath(one.path, file.data);
  const place = one.part === undefined ? file.placeOf(path) : file.placeOfText(path, one.part);
  return { ...one, place };
}

async function readText(path: string, found: Diagnostic[]): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'there is no such file' : message;
    found.push({ ...fault('TEAM_FILE', [], why), place: { file: path, line: 1, column: 1 } });
    return undefined;
  }
}

async function readTeamFile(
  path: string,
  files: Map<string, YamlFile>,
  found: Diagnostic[],
): Promise<TeamConfigT | undefined> {
  const text = await readText(path, found);
  if (text === undefined) return undefined;
  const file = new YamlFile(path, text, { rubySpelling: true });
  files.set(TEAM, file);
  found.push(...file.faults);
  return file.isReadable ? checkTeam(file.data, found, file) : undefined;
}

function checkTeam(data: unknown, found: Diagnostic[], file?: YamlFile): TeamConfigT | undefined {
  const checked = TeamConfig.safeParse(data);
  if (checked.success) return checked.data;
  found.push(...schemaFaults(checked.error, teamKeysAt, file ? { file } : {}));
  return undefined;
}

/** Parses the text of an agent file. Exported for programs that store agents elsewhere than in files. */
export function parseAgentFile(
  name: string,
  fileName: string,
  text: string,
): { agent: AgentConfigT | undefined; file: YamlFile; diagnostics: Diagnostic[] } {
  const file = new YamlFile(fileName, text, { rubySpelling: true });
  const faults = file.faults.map((one) => ({ ...one, agent: name }));
  if (!file.isReadable) return { agent: undefined, file, diagnostics: faults };
  const checked = AgentConfig.safeParse(file.data);
  if (checked.success) return { agent: { name, ...checked.data }, file, diagnostics: faults };
  const diagnostics = [...faults, ...schemaFaults(checked.error, agentKeysAt, { agent: name, file })];
  return { agent: undefined, file, diagnostics };
}

/** Excludes the hidden files that macOS (`._desk.yaml`) and editors create. */
const AGENT_FILE = /^[^.].*\.ya?ml$/i;

async function readAgentFiles(
  folder: string,
  agents: string,
  files: Map<string, YamlFile>,
  found: Diagnostic[],
): Promise<AgentConfigT[]> {
  const path = join(folder, agents);
  let names: string[];
  try {
    names = (await readdir(path)).filter((name) => AGENT_FILE.test(name)).sort();
  } catch {
    found.push(withPlace(fault('TEAM_FILE', ['agents'], `the folder ${path} cannot be read`), files));
    return [];
  }
  const read: AgentConfigT[] = [];
  for (const fileName of names) {
    const name = basename(fileName, extname(fileName));
    const text = await readText(join(path, fileName), found);
    if (text === undefined) continue;
    const { agent, file, diagnostics } = parseAgentFile(name, join(path, fileName), text);
    if (files.has(name)) {
      found.push({
        ...fault('TEAM_FILE', [], `another file names the agent "${name}" too`),
        place: file.placeOf([]),
      });
      continue;
    }
    files.set(name, file);
    found.push(...diagnostics);
    if (agent) read.push(agent);
  }
  return read;
}

// The modules that a team file names are code, so they must be in its folder: a team file cannot load other code.
async function importAbilities(
  folder: string,
  paths: readonly string[],
  files: ReadonlyMap<string, YamlFile>,
  found: Diagnostic[],
): Promise<AbilityModule[]> {
  const root = resolve(folder);
  const modules: AbilityModule[] = [];
  for (const [i, path] of paths.entries()) {
    const full = resolve(root, path);
    try {
      if (!full.startsWith(root + sep)) throw new Error('it must lie in the folder of the team file');
      const exported = (await import(pathToFileURL(full).href)) as Record<string, unknown>;
      const { default: main, ...named } = exported;
      const all = { ...named, ...(typeof main === 'object' && main !== null ? main : {}) };
      const usable = Object.entries(all).filter(([, value]) => isAbility(value));
      modules.push(Object.fromEntries(usable) as AbilityModule);
    } catch (error) {
      const message = `the module ${path} cannot be loaded: ${(error as Error).message}`;
      found.push(withPlace(fault('TEAM_FILE', ['abilities', i], message), files));
    }
  }
  return modules;
}

const isAbility = (value: unknown): value is AbilityFn | AbilityDef =>
  typeof value === 'function' ||
  (typeof value === 'object' && value !== null && typeof (value as AbilityDef).execute === 'function');
