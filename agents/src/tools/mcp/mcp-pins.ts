// The file with the confirmed definitions of one server. The model receives these definitions, and a tool whose definition has changed at
// the server is not called.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FabricError } from '@fame-fabric/shared';
import { reasonOf } from '@fame-fabric/shared/internal';
import { replacePrivateFile } from '@fame-fabric/shared/node';
import { z } from 'zod';
import { digestOf, MAX_TOOLS, type McpDefinition } from './mcp-definitions.ts';

const MAX_FILE_CHARS = 4_194_304;

const PinFile = z.object({
  version: z.literal(1),
  tools: z
    .array(
      z.object({
        sha256: z.string(),
        definition: z.object({
          name: z.string(),
          description: z.string(),
          inputSchema: z.looseObject({ type: z.literal('object') }),
          isRepeatable: z.boolean(),
        }),
      }),
    )
    .max(MAX_TOOLS),
});

/** Path of the file of a server in a data directory. */
export const pinFileIn = (dataDir: string, server: string): string =>
  join(dataDir, 'mcp', `${encodeURIComponent(server)}.json`);

/** Reads the confirmed definitions; undefined if none have been written. @throws {CONFIG_INVALID} if the file is damaged */
export function readPins(path: string): readonly McpDefinition[] | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw damaged(path, reasonOf(error));
  }
  const parsed = text.length <= MAX_FILE_CHARS ? PinFile.safeParse(parseJson(text)) : undefined;
  if (!parsed?.success) throw damaged(path, 'it is not a file of this program');
  return parsed.data.tools.map(({ sha256, definition }) => {
    if (digestOf(definition) !== sha256)
      throw damaged(path, `the definition of ${definition.name} does not match its hash`);
    return definition;
  });
}

/** Confirms definitions: replaces the file. @throws {CONFIG_INVALID} if it cannot be written */
export function writePins(path: string, definitions: readonly McpDefinition[]): void {
  const tools = definitions.map((definition) => ({ sha256: digestOf(definition), definition }));
  try {
    replacePrivateFile(path, `${JSON.stringify({ version: 1, tools }, null, 2)}\n`);
  } catch (error) {
    throw damaged(path, reasonOf(error), 'written');
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const damaged = (path: string, reason: string, action = 'read'): FabricError =>
  new FabricError(
    'CONFIG_INVALID',
    `The file of confirmed MCP tools ${path} cannot be ${action}: ${reason}. Delete it to confirm the tools again.`,
  );
