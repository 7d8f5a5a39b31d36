// Tool definitions of a server. Their texts go to the model, so sizes are limited and hidden characters removed. A digest covers every
// part that has an effect.
import { createHash } from 'node:crypto';
import { canonicalJson, cutText } from '@fame-fabric/shared/internal';

/** A JSON Schema of type object. */
type McpSchema = Readonly<Record<string, unknown>> & { readonly type: 'object' };

/** The parts of a definition that the agent uses. */
export interface McpDefinition {
  readonly name: string;
  readonly description: string;
  /** From the server, without hidden characters. */
  readonly inputSchema: McpSchema;
  /** True if the server declares that a repeated call is harmless: the tool is read-only or idempotent. */
  readonly isRepeatable: boolean;
}

/** A tool that is not offered. */
interface RefusedDefinition {
  readonly name: string;
  readonly reason: string;
}

export interface ListedDefinitions {
  readonly definitions: readonly McpDefinition[];
  readonly refused: readonly RefusedDefinition[];
}

export const MAX_TOOLS = 128;
const MAX_NAME_CHARS = 128;
const MAX_DESCRIPTION_CHARS = 8_192;
const MAX_SCHEMA_CHARS = 32_768;
const MAX_SCHEMA_DEPTH = 32;
/** Maximum characters of all definitions of a server. */
const MAX_TOTAL_CHARS = 262_144;

// Format and control characters: zero-width and bidirectional ones, and tags. They hide text from a person who reads the definition.
const HIDDEN = /[\p{Cf}\p{Co}\p{Cs}]|[^\P{Cc}\n\t]/gu;

const visible = (text: string): string => text.replace(HIDDEN, '');

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Reads the list of a server. Never throws: a tool that cannot be used is refused with the reason. */
export function readDefinitions(listed: readonly unknown[]): ListedDefinitions {
  const definitions: McpDefinition[] = [];
  const refused: RefusedDefinition[] = [];
  const names = new Set<string>();
  let chars = 0;
  for (const entry of listed) {
    const name = isObject(entry) && typeof entry.name === 'string' ? entry.name : '';
    const refuse = (reason: string): void => void refused.push({ name: cutText(name, 64), reason });
    if (definitions.length === MAX_TOOLS) {
      refuse(`the server has more than ${MAX_TOOLS} tools`);
      continue;
    }
    if (name === '' || name.length > MAX_NAME_CHARS || visible(name) !== name) {
      refuse(`its name is empty, longer than ${MAX_NAME_CHARS} characters, or has hidden characters`);
      continue;
    }
    if (names.has(name)) {
      refuse('the server lists another tool of that name');
      continue;
    }
    const read = readDefinition(name, entry as Record<string, unknown>);
    if (typeof read === 'string') {
      refuse(read);
      continue;
    }
    const size = JSON.stringify(read).length;
    if (chars + size > MAX_TOTAL_CHARS) {
      refuse(`the definitions of the server are longer than ${MAX_TOTAL_CHARS} characters`);
      continue;
    }
    chars += size;
    names.add(name);
    definitions.push(read);
  }
  return { definitions, refused };
}

/** Returns the definition, or the reason why it cannot be used. */
function readDefinition(name: string, entry: Record<string, unknown>): McpDefinition | string {
  const { description, inputSchema, annotations } = entry;
  if (!isObject(inputSchema) || inputSchema.type !== 'object') return 'its parameters are not an object';
  if (depthOf(inputSchema, MAX_SCHEMA_DEPTH) > MAX_SCHEMA_DEPTH)
    return `its parameters are nested deeper than ${MAX_SCHEMA_DEPTH} levels`;
  const schema = withVisibleTexts(inputSchema) as McpSchema;
  const { properties = {} } = schema;
  if (!isObject(properties) || !Object.values(properties).every(isObject))
    return 'its parameters are not a JSON Schema';
  if (schema.required !== undefined && !Array.isArray(schema.required))
    return 'its parameters are not a JSON Schema';
  if (JSON.stringify(schema).length > MAX_SCHEMA_CHARS)
    return `its parameters are longer than ${MAX_SCHEMA_CHARS} characters`;
  const { readOnlyHint, idempotentHint } = isObject(annotations) ? annotations : {};
  return {
    name,
    description: cutText(visible(typeof description === 'string' ? description : ''), MAX_DESCRIPTION_CHARS),
    inputSchema: schema,
    isRepeatable: readOnlyHint === true || idempotentHint === true,
  };
}

/** Returns a copy whose titles and descriptions have no hidden characters. Other values, such as enums, keep theirs. */
function withVisibleTexts(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withVisibleTexts);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key,
      typeof inner === 'string' && (key === 'description' || key === 'title')
        ? visible(inner)
        : withVisibleTexts(inner),
    ]),
  );
}

/** Returns the depth of nesting, or a number above `limit` if the value is nested deeper. */
function depthOf(value: unknown, limit: number): number {
  if (typeof value !== 'object' || value === null) return 0;
  if (limit === 0) return 1;
  return 1 + Math.max(0, ...Object.values(value).map((inner) => depthOf(inner, limit - 1)));
}

/** SHA-256 of a definition, in hex. */
export const digestOf = (definition: McpDefinition): string =>
  createHash('sha256').update(canonicalJson(definition)).digest('hex');

/** Differences between the confirmed definitions and the current ones, as names of tools. */
export interface DefinitionChanges {
  readonly changed: readonly string[];
  readonly added: readonly string[];
  readonly removed: readonly string[];
}

export function compareDefinitions(
  confirmed: readonly McpDefinition[],
  listed: readonly McpDefinition[],
): DefinitionChanges {
  const before = new Map(confirmed.map((one) => [one.name, digestOf(one)]));
  const now = new Map(listed.map((one) => [one.name, digestOf(one)]));
  return {
    changed: [...now.keys()].filter((name) => before.has(name) && before.get(name) !== now.get(name)),
    added: [...now.keys()].filter((name) => !before.has(name)),
    removed: [...before.keys()].filter((name) => !now.has(name)),
  };
}

/** True if the definitions are the same. */
export const isUnchanged = ({ changed, added, removed }: DefinitionChanges): boolean =>
  changed.length + added.length + removed.length === 0;
