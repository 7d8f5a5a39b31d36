// Parameters of a function, declared as a zod object, as JSON Schema, or as the old list of `{ name, type }`. All three become one
// JSON Schema for the wire and one zod schema that checks the model's arguments.
import { z } from 'zod';

export type JsonValue = null | boolean | number | string | JsonValue[] | { [key: string]: JsonValue };
export type JsonObject = { [key: string]: JsonValue };

/** A JSON Schema of type object. */
export interface JsonSchemaObject {
  type: 'object';
  properties: Record<string, Record<string, unknown>>;
  required?: readonly string[];
  [keyword: string]: unknown;
}

/** One parameter of the list form. `float` is read as `number`. */
export interface PropertyDef {
  name: string;
  type: string;
  description?: string;
  /** @default true */
  required?: boolean;
  enum?: readonly JsonValue[];
  default?: JsonValue;
  minimum?: number;
  maximum?: number;
  items?: Record<string, unknown>;
}

const TYPES: Readonly<Record<string, string>> = {
  float: 'number',
  int: 'integer',
  str: 'string',
  bool: 'boolean',
  list: 'array',
  dict: 'object',
};

/** Keywords whose value is a schema or a list of schemas. */
const SCHEMA_KEYWORDS = new Set(
  'items prefixItems contains additionalProperties anyOf oneOf allOf not if then else'.split(' '),
);
/** Keywords whose value maps names to schemas. */
const NAMED_SCHEMA_KEYWORDS = new Set(
  'properties patternProperties dependentSchemas $defs definitions'.split(' '),
);

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const knownType = (type: unknown): unknown =>
  typeof type === 'string' && Object.hasOwn(TYPES, type) ? TYPES[type] : type;

/** Translates the names of types in a schema and all schemas inside it. */
function withKnownTypes(schema: Record<string, unknown>): Record<string, unknown> {
  const inner = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(inner);
    return isObject(value) ? withKnownTypes(value) : value;
  };
  const entries = Object.entries(schema).map(([key, value]): [string, unknown] => {
    if (key === 'type') return [key, Array.isArray(value) ? value.map(knownType) : knownType(value)];
    if (SCHEMA_KEYWORDS.has(key)) return [key, inner(value)];
    if (!NAMED_SCHEMA_KEYWORDS.has(key) || !isObject(value)) return [key, value];
    return [key, Object.fromEntries(Object.entries(value).map(([name, one]) => [name, inner(one)]))];
  });
  return Object.fromEntries(entries);
}

/** Builds the JSON Schema of a list of parameters. */
export function schemaOfList(list: readonly PropertyDef[]): JsonSchemaObject {
  const properties = list.map(({ name, required: _, ...rest }) => [name, withKnownTypes(rest)] as const);
  const required = list.filter((one) => one.required !== false && one.default === undefined);
  return {
    type: 'object',
    properties: Object.fromEntries(properties),
    ...(required.length > 0 ? { required: required.map((one) => one.name) } : {}),
  };
}

/** Returns the names in `required` that are not declared as properties. */
export const undeclaredRequired = (schema: JsonSchemaObject): string[] =>
  (schema.required ?? []).filter((name) => !Object.hasOwn(schema.properties ?? {}, name));

/** Normalizes a schema for the wire: known type names, and `required` without undeclared names. */
export function tidySchema(schema: JsonSchemaObject): JsonSchemaObject {
  const known = withKnownTypes(schema) as JsonSchemaObject;
  // Schemas of MCP tools without arguments have no properties.
  const { required, $schema: _, properties = {}, ...rest } = known as Partial<JsonSchemaObject>;
  const declared = (required ?? []).filter((name) => Object.hasOwn(properties, name));
  return { ...rest, properties, ...(declared.length > 0 ? { required: declared } : {}) } as JsonSchemaObject;
}

/**
 * Converts a zod object to its wire form. Keys with a default are optional for the model, so the schema is that of the input.
 * @throws {TypeError} for types that JSON Schema cannot express, such as a date
 */
export function schemaOfZod(name: string, parameters: z.ZodObject): JsonSchemaObject {
  try {
    return tidySchema(z.toJSONSchema(parameters, { io: 'input' }) as unknown as JsonSchemaObject);
  } catch (cause) {
    throw new TypeError(
      `The parameters of "${name}" cannot be sent to a model: ${(cause as Error).message}`,
      { cause },
    );
  }
}

/** Finds enum values that do not have the type of their property. YAML reads 1.10 as the number 1.1. */
export function mistypedEnums(schema: JsonSchemaObject): { path: string[]; value: unknown; type: string }[] {
  const found: { path: string[]; value: unknown; type: string }[] = [];
  const walk = (one: unknown, path: string[]): void => {
    if (!isObject(one)) return;
    const { type, enum: values, properties, items } = one;
    if (typeof type === 'string' && Array.isArray(values)) {
      for (const value of values) if (!hasType(value, type)) found.push({ path, value, type });
    }
    walk(items, path);
    if (isObject(properties))
      for (const [key, inner] of Object.entries(properties)) walk(inner, [...path, key]);
  };
  walk(schema, []);
  return found;
}

const hasType = (value: unknown, type: string): boolean => {
  if (type === 'integer' || type === 'number') return typeof value === 'number';
  return type === 'string' || type === 'boolean' ? typeof value === type : true;
};

/** Builds the zod object that validates against a JSON Schema. @throws {TypeError} when the schema uses what zod cannot check */
export function zodOfSchema(name: string, schema: JsonSchemaObject): z.ZodObject {
  try {
    return z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0]) as unknown as z.ZodObject;
  } catch (cause) {
    throw new TypeError(`The parameters of "${name}" are not a JSON Schema: ${(cause as Error).message}`, {
      cause,
    });
  }
}

const typeName = (schema: Record<string, unknown>): string => {
  if (Array.isArray(schema.enum)) return schema.enum.map((value) => JSON.stringify(value)).join(' | ');
  if (schema.type === 'array') {
    const items = schema.items as Record<string, unknown> | undefined;
    const inner = items ? typeName(items) : 'any';
    return inner.includes(' | ') ? `(${inner})[]` : `${inner}[]`;
  }
  return typeof schema.type === 'string' ? schema.type : 'any';
};

/** Signature of a function in one line, such as `solve(a: number, unit?: string)`. */
export function signatureOf(name: string, schema: JsonSchemaObject): string {
  const required = new Set(schema.required ?? []);
  const list = Object.entries(schema.properties).map(
    ([key, value]) => `${key}${required.has(key) ? '' : '?'}: ${typeName(value)}`,
  );
  return `${name}(${list.join(', ')})`;
}
