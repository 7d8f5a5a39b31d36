// Tools of an MCP server as a tool set. The model receives the confirmed definitions. Results of calls are journaled like those of other
// tools, so a replay does not call the server.
import { FabricError, silentLog, systemClock } from '@fame-fabric/shared';
import { z } from 'zod';
import { type JsonSchemaObject, tidySchema, zodOfSchema } from '../schema/json-schema.ts';
import { type AnyTool, ToolError } from '../tool.ts';
import { ToolSet } from '../tool-set.ts';
import {
  compareDefinitions,
  type DefinitionChanges,
  isUnchanged,
  type McpDefinition,
} from './mcp-definitions.ts';
import {
  checkMcpOptions,
  DEFAULT_CALL_TIMEOUT_MS,
  DEFAULT_START_TIMEOUT_MS,
  type McpToolsOptions,
} from './mcp-options.ts';
import { readPins, writePins } from './mcp-pins.ts';
import { textOfResult } from './mcp-result.ts';
import { McpServer } from './mcp-server.ts';
import { type OpenMcpSession, openMcpSession } from './mcp-session.ts';

/** The tools of one MCP server. Close it after the agents that use it have stopped: it ends the process of the server. */
export class McpToolSet extends ToolSet implements AsyncDisposable {
  readonly #server: McpServer;
  readonly #tools: readonly AnyTool[];

  /** Use `mcpTools`. */
  constructor(server: McpServer, tools: readonly AnyTool[]) {
    super(tools);
    this.#server = server;
    this.#tools = tools;
  }

  /** Name of the server. */
  get server(): string {
    return this.#server.name;
  }

  /** The tools, to combine them with those of other sets: `new ToolSet([...mine, ...files.tools])`. */
  get tools(): readonly AnyTool[] {
    return this.#tools;
  }

  /** Ends the connection and the process of the server. Later calls of its tools fail with MCP_UNAVAILABLE. */
  close(): Promise<void> {
    return this.#server.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Connects to an MCP server and returns its tools, for any agent. Needs the package `@modelcontextprotocol/client`.
 *
 * - A call fails with the code MCP_UNAVAILABLE while the server cannot be reached. A server that ended is started again by the next call,
 *   after repeated failures with delays of up to a minute.
 * - The definitions of the first start are kept: a tool whose definition has changed since is refused with MCP_TOOL_CHANGED. With
 *   `pinFile` they outlive the process, and the agent can start while the server is unavailable.
 * - Cancelling the turn, and the time limit, cancel the call at the server. A call that a crash of the agent interrupted is repeated only if
 *   the server declares the tool as read-only or idempotent.
 *
 * @throws {MCP_UNAVAILABLE} if the server cannot be reached and no definitions are kept; {CONFIG_INVALID} for invalid options, a name that is
 * not in the list of the server, a damaged `pinFile`, or a missing package
 */
export const mcpTools = (options: McpToolsOptions): Promise<McpToolSet> =>
  openMcpTools(options, openMcpSession);

/** As `mcpTools`, over connections of `open`. */
export async function openMcpTools(options: McpToolsOptions, open: OpenMcpSession): Promise<McpToolSet> {
  checkMcpOptions(options);
  const { name = 'mcp', logger = silentLog, clock = systemClock, pinFile } = options;
  const { startTimeoutMs = DEFAULT_START_TIMEOUT_MS } = options;
  const server = new McpServer({ ...options, name, startTimeoutMs }, { open, clock, logger });
  try {
    const pinned = pinFile === undefined ? undefined : readPins(pinFile);
    const confirmed = await confirmedDefinitions(server, pinned, options);
    return new McpToolSet(server, offeredTools(server, confirmed, options));
  } catch (error) {
    await server.close();
    throw error;
  }
}

async function confirmedDefinitions(
  server: McpServer,
  pinned: readonly McpDefinition[] | undefined,
  { logger = silentLog, pinFile }: McpToolsOptions,
): Promise<readonly McpDefinition[]> {
  const fields = { server: server.name };
  try {
    const { definitions, refused } = await server.list();
    for (const one of refused) logger.warn('tool of an MCP server is left out', { ...fields, ...one });
    if (!pinned) {
      if (pinFile !== undefined) writePins(pinFile, definitions);
      return definitions;
    }
    const changes = compareDefinitions(pinned, definitions);
    if (!isUnchanged(changes)) logger.warn(changesText(server.name, changes), fields);
  } catch (error) {
    if (!pinned || !(error instanceof FabricError) || error.code !== 'MCP_UNAVAILABLE') throw error;
    logger.warn('MCP server is unavailable; offering its confirmed tools', { ...fields, error });
  }
  return pinned;
}

/** Describes changes and how to confirm them. */
export function changesText(server: string, { changed, added, removed }: DefinitionChanges): string {
  const parts = [
    ...(changed.length > 0 ? [`changed ${changed.join(', ')}`] : []),
    ...(added.length > 0 ? [`added ${added.join(', ')}`] : []),
    ...(removed.length > 0 ? [`removed ${removed.join(', ')}`] : []),
  ];
  return `The MCP server "${server}" has ${parts.join('; ')} since its tools were confirmed. Calls of changed tools are refused, and new tools are not offered, until you run: npx fame-fabric mcp confirm ${server}`;
}

/** @throws {CONFIG_INVALID} if `tools` or `approve` names an unknown tool */
function offeredTools(
  server: McpServer,
  confirmed: readonly McpDefinition[],
  options: McpToolsOptions,
): AnyTool[] {
  const { tools: allowed, approve, logger = silentLog } = options;
  const known = new Set(confirmed.map(({ name }) => name));
  const wanted = [...(allowed ?? []), ...(approve === true ? [] : (approve ?? []))];
  const unknown = wanted.find((name) => !known.has(name));
  if (unknown !== undefined) {
    throw new FabricError(
      'CONFIG_INVALID',
      `The MCP server "${server.name}" has no confirmed tool "${unknown}". Tools: ${[...known].join(', ') || 'none'}.`,
    );
  }
  const offered = new Map<string, AnyTool>();
  for (const definition of confirmed) {
    if (allowed && !allowed.includes(definition.name)) continue;
    const one = toolOf(server, definition, options);
    if (offered.has(one.name)) {
      const reason = `another tool of the server has the name ${one.name}`;
      logger.warn('tool of an MCP server is left out', {
        server: server.name,
        name: definition.name,
        reason,
      });
    } else offered.set(one.name, one);
  }
  return [...offered.values()];
}

const MAX_NAME_CHARS = 64;

/** Name of a tool for models. Characters that model servers refuse become "_". */
const modelName = (prefix: string, name: string): string =>
  `${prefix}${name.replace(/[^A-Za-z0-9_-]/g, '_')}`.slice(0, MAX_NAME_CHARS);

function toolOf(server: McpServer, definition: McpDefinition, options: McpToolsOptions): AnyTool {
  const { prefix = '', approve, timeoutMs = DEFAULT_CALL_TIMEOUT_MS, maxResultChars } = options;
  const { description, inputSchema, isRepeatable } = definition;
  const name = modelName(prefix, definition.name);
  const schema = withOpenAlternatives(tidySchema(inputSchema as unknown as JsonSchemaObject));
  const needsApproval = approve === true || approve?.includes(definition.name);
  return Object.freeze({
    name,
    description,
    parameters: parametersOf(name, schema),
    schema,
    kit: server.name,
    timeoutMs,
    maxResultChars,
    idempotent: isRepeatable,
    ...(needsApproval ? { approval: 'always' as const } : {}),
    async execute(args: Record<string, unknown>, { signal }: { signal: AbortSignal }) {
      const result = await server.call(definition, args, signal);
      const text = textOfResult(result);
      if (result.isError === true) throw new ToolError(text);
      return text;
    },
  }) as AnyTool;
}

/** States that parameters outside of `properties` are allowed, if alternatives or references may declare some. */
function withOpenAlternatives(schema: JsonSchemaObject): JsonSchemaObject {
  const isOpen = ['$ref', 'anyOf', 'oneOf', 'allOf', 'if', 'patternProperties'].some((key) => key in schema);
  return isOpen && schema.additionalProperties === undefined
    ? { ...schema, additionalProperties: true }
    : schema;
}

/**
 * Builds the check of the arguments. The server checks patterns itself, because a pattern from another party can take exponential time. If
 * zod cannot check a schema, the server checks all of it.
 */
function parametersOf(name: string, schema: JsonSchemaObject): z.ZodObject {
  try {
    return zodOfSchema(name, withoutPatterns(schema) as JsonSchemaObject);
  } catch {
    return z.looseObject({});
  }
}

function withoutPatterns(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutPatterns);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(
    ([key, inner]) => !(key === 'pattern' && typeof inner === 'string') && key !== 'patternProperties',
  );
  return Object.fromEntries(entries.map(([key, inner]) => [key, withoutPatterns(inner)]));
}
