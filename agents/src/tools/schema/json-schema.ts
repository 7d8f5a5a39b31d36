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

const withKnownTypes = (schema: Record<string, unknown>): Record<string, unknown> => {
  const out: Record<string, unknown> = { ...schema };
  if (typeof out.type === 'string') out.type = TYPES[out.type] ?? out.type;
  if (typeof out.items === 'object' && out.items !== null && !Array.isArray(out.items)) {
    out.items = withKnownTypes(out.items as Record<string, unknown>);
  }
  if (typeof out.properties === 'object' && out.properties !== null) {
    const entries = Object.entries(out.properties as Record<string, Record<string, unknown>>);
    out.properties = Object.fromEntries(entries.map(([key, value]) => [key, withKnownTypes(value)]));
  }
  return out;
};

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
  (schema.required ?? []).filter((name) => !Object.hasOwn(schema.properties, name));

/** Normalizes a schema for the wire: known type names, and `required` without undeclared names. */
export function tidySchema(schema: JsonSchemaObject): JsonSchemaObject {
  const { required, $schema: _, ...rest } = withKnownTypes(schema) as JsonSchemaObject;
  const declared = (required ?? []).filter((name) => Object.hasOwn(rest.properties, name));
  return { ...rest, ...(declared.length > 0 ? { required: declared } : {}) } as JsonSchemaObject;
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
