// Reads FAME_MCP_SERVERS, a JSON file with MCP servers in the format of editors, and connects to the servers.
import { readFile } from 'node:fs/promises';
import { FabricError, type Logger } from '@fame-fabric/shared';
import { type Environment, errorMessage, printable } from '@fame-fabric/shared/internal';
import { z } from 'zod';
import {
  compareDefinitions,
  type DefinitionChanges,
  type McpDefinition,
} from '../tools/mcp/mcp-definitions.ts';
import { checkMcpOptions, type McpToolsOptions } from '../tools/mcp/mcp-options.ts';
import { pinFileIn, readPins, writePins } from '../tools/mcp/mcp-pins.ts';
import { McpServer } from '../tools/mcp/mcp-server.ts';
import { openMcpSession } from '../tools/mcp/mcp-session.ts';
import { type McpToolSet, mcpTools } from '../tools/mcp/mcp-tools.ts';
import type { AgentConfig } from './config.ts';

/** A server of the file. */
export type NamedMcpServer = McpToolsOptions & { readonly name: string; readonly pinFile: string };

const MAX_FILE_CHARS = 1_048_576;
const MAX_SERVERS = 32;

const names = z.array(z.string().min(1).max(128)).max(128);
const milliseconds = z.number().int().min(1).max(86_400_000);
const ServerEntry = z.object({
  command: z.string().min(1).optional(),
  args: z.array(z.string()).optional(),
  env: z.record(z.string(), z.string()).optional(),
  cwd: z.string().min(1).optional(),
  url: z.string().min(1).optional(),
  headers: z.record(z.string(), z.string()).optional(),
  /** Editors set this for a server that is switched off. */
  disabled: z.boolean().optional(),
  /** Settings of Fame Fabric, beside those of editors. */
  fame: z
    .strictObject({
      tools: names.optional(),
      prefix: z.string().optional(),
      approve: z.union([z.literal(true), names]).optional(),
      timeoutMs: milliseconds.optional(),
      startTimeoutMs: milliseconds.optional(),
      maxResultChars: z.number().int().min(100).max(200_000).optional(),
    })
    .optional(),
});
const NAME = /^[^\p{C}]{1,64}$/u;
const ServersFile = z.object({
  mcpServers: z
    .record(z.string(), ServerEntry)
    .refine((servers) => Object.keys(servers).length <= MAX_SERVERS, `has more than ${MAX_SERVERS} servers`),
});

/**
 * Reads the servers of the file, without those that are switched off. `${NAME}` in a value stands for a variable of `env`.
 * @throws {CONFIG_INVALID} with every fault
 */
export async function readMcpServersFile(
  { mcpServersFile, dataDir }: Pick<AgentConfig, 'mcpServersFile' | 'dataDir'>,
  env: Environment,
): Promise<readonly NamedMcpServer[]> {
  if (mcpServersFile === undefined) return [];
  const parsed = ServersFile.safeParse(await jsonOf(mcpServersFile));
  if (!parsed.success) {
    const faults = parsed.error.issues.map(
      ({ path, message }) => `${path.join('.') || 'the file'}: ${message}`,
    );
    throw invalid(`has faults:\n${faults.join('\n')}`, faults);
  }
  const faults: string[] = [];
  const servers: NamedMcpServer[] = [];
  for (const [name, entry] of Object.entries(parsed.data.mcpServers)) {
    if (entry.disabled) continue;
    if (!NAME.test(name)) {
      faults.push(`${printable(name)}: a name has 1 to 64 characters, none of them hidden`);
      continue;
    }
    const filled = (text: string): string =>
      text.replace(/\$\{(?:env:)?([A-Za-z_]\w*)\}/g, (_, variable: string) => {
        const value = env[variable];
        if (value === undefined) faults.push(`${name}: the variable ${variable} is not set`);
        return value ?? '';
      });
    try {
      servers.push(optionsOf(name, entry, filled, dataDir));
    } catch (error) {
      faults.push(`${name}: ${errorMessage(error)}`);
    }
  }
  if (faults.length > 0) throw invalid(`has faults:\n${faults.join('\n')}`, faults);
  return servers;
}

function optionsOf(
  name: string,
  { command, args, env, cwd, url, headers, fame = {} }: z.output<typeof ServerEntry>,
  filled: (text: string) => string,
  dataDir: string,
): NamedMcpServer {
  const filledAll = (given: Record<string, string> | undefined) =>
    given && Object.fromEntries(Object.entries(given).map(([key, value]) => [key, filled(value)]));
  const address = {
    ...(command === undefined
      ? {}
      : { command, args: args?.map(filled), env: filledAll(env), cwd: cwd && filled(cwd) }),
    ...(url === undefined ? {} : { url: filled(url), headers: filledAll(headers) }),
  } as McpToolsOptions;
  const prefix = `${name.replace(/[^A-Za-z0-9_-]/g, '_').slice(0, 31)}_`;
  const options = { ...address, prefix, ...fame, name, pinFile: pinFileIn(dataDir, name) };
  checkMcpOptions(options);
  return options;
}

async function jsonOf(path: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw invalid(`cannot be read: ${errorMessage(error)}`);
  }
  if (text.length > MAX_FILE_CHARS) throw invalid(`is longer than ${MAX_FILE_CHARS} characters`);
  try {
    return JSON.parse(text);
  } catch (error) {
    // The message of the parser quotes the text, which may be a secret.
    const at = / at position \d+(?: \(line \d+ column \d+\))?/.exec(errorMessage(error))?.[0] ?? '';
    throw invalid(`is not JSON${at}`);
  }
}

const invalid = (what: string, faults?: readonly string[]): FabricError =>
  new FabricError('CONFIG_INVALID', `FAME_MCP_SERVERS ${what}`, faults ? { details: { faults } } : {});

/** The state of a server, for `fame mcp` and `fame doctor`. */
export interface McpInspection {
  /** Confirmed definitions; undefined if none have been confirmed. */
  readonly confirmed: readonly McpDefinition[] | undefined;
  readonly listed: readonly McpDefinition[];
  readonly refused: readonly { readonly name: string; readonly reason: string }[];
  /** Differences of the list from the confirmed definitions. */
  readonly changes: DefinitionChanges;
}

/** Connects to a server once, and compares its list with the confirmed definitions. @throws {MCP_UNAVAILABLE | CONFIG_INVALID} */
export async function inspectMcpServer(
  server: NamedMcpServer,
  deps: { readonly clock: ConstructorParameters<typeof McpServer>[1]['clock']; readonly logger: Logger },
): Promise<McpInspection> {
  const confirmed = readPins(server.pinFile);
  const connection = new McpServer(
    { ...server, startTimeoutMs: server.startTimeoutMs ?? 30_000 },
    { ...deps, open: openMcpSession },
  );
  try {
    const { definitions, refused } = await connection.list();
    return {
      confirmed,
      listed: definitions,
      refused,
      changes: compareDefinitions(confirmed ?? [], definitions),
    };
  } finally {
    await connection.close();
  }
}

/** Confirms the definitions of an inspection. @throws {CONFIG_INVALID} if the file cannot be written */
export const confirmMcpServer = (server: NamedMcpServer, { listed }: McpInspection): void =>
  writePins(server.pinFile, listed);

/** Connects to all servers of the file concurrently. If one fails, the others are closed. @throws as `mcpTools` */
export async function openMcpServers(
  servers: readonly NamedMcpServer[],
  logger: Logger,
): Promise<readonly McpToolSet[]> {
  const opened = await Promise.allSettled(servers.map((server) => mcpTools({ ...server, logger })));
  const failed = opened.find((one) => one.status === 'rejected');
  const sets = opened.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  if (!failed) return sets;
  await Promise.all(sets.map((set) => set.close()));
  throw failed.reason;
}
