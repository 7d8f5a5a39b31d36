// A function that a model may call: its name, its schema, and the conversion of the model's argument text into typed arguments or
// a list of faults.
import type { z } from 'zod';
import type { ToolSpec } from '../../model/model.ts';
import {
  type JsonObject,
  type JsonSchemaObject,
  type PropertyDef,
  schemaOfList,
  schemaOfZod,
  signatureOf,
  tidySchema,
  zodOfSchema,
} from './json-schema.ts';
import { parseLenientJson } from './lenient-json.ts';
import { withNearEnums } from './near-enum.ts';

/** Fault of arguments. `message` names paths and positions, never values: it goes to the model and to logs. */
export interface ArgumentsError {
  code: 'invalid_json' | 'not_an_object' | 'invalid_args';
  message: string;
  issues: readonly { path: string; message: string }[];
  at?: number;
}
export type ParsedArguments<A> = { ok: true; value: A } | { ok: false; error: ArgumentsError };

export interface CompletionFunction<N extends string = string, A = unknown> {
  readonly name: N;
  readonly description: string | undefined;
  readonly schema: JsonSchemaObject;
  /** Checks arguments that have been parsed. */
  readonly parameters: z.ZodObject;
  /** The definition that is sent to the model. */
  readonly spec: ToolSpec;
  /** One line, such as `solve(a: number, b: number)`. */
  signature(): string;
  /** Parses the model's argument text, with the small repairs of `lenient-json.ts`. */
  parse(raw: string): ParsedArguments<A>;
}

const NAME = /^[A-Za-z0-9_-]{1,64}$/;

const failed = (code: ArgumentsError['code'], message: string, at?: number): ParsedArguments<never> => ({
  ok: false,
  error: { code, message, issues: [{ path: '', message }], ...(at === undefined ? {} : { at }) },
});

const pathOf = (path: readonly PropertyKey[]): string =>
  path
    .map((key) => (typeof key === 'number' ? `[${key}]` : `.${String(key)}`))
    .join('')
    .replace(/^\./, '');

/**
 * Checks parsed arguments. Unknown keys are refused unless the schema allows them. A value that differs from an `enum` only in case or
 * blanks is corrected. A `null` that the schema refuses counts as an omitted parameter.
 */
export function checkArguments<A>(
  parameters: z.ZodObject,
  schema: JsonSchemaObject,
  given: Record<string, unknown>,
): ParsedArguments<A> {
  const args = withNearEnums(schema, given);
  let result = parameters.safeParse(args);
  if (!result.success) {
    const present = withoutNulls(args, result.error.issues);
    const again = present && parameters.safeParse(present);
    if (again?.success) result = again;
  }
  const issues = result.success
    ? []
    : result.error.issues.map((issue) => ({ path: pathOf(issue.path), message: issue.message }));
  const isOpen = schema.additionalProperties !== undefined && schema.additionalProperties !== false;
  const isStrict = result.error?.issues.some((issue) => issue.code === 'unrecognized_keys') ?? false;
  if (!isOpen && !isStrict) {
    for (const key of Object.keys(args)) {
      if (!Object.hasOwn(schema.properties, key)) issues.push({ path: key, message: 'No such parameter' });
    }
  }
  if (result.success && issues.length === 0) return { ok: true, value: result.data as A };
  const message = issues
    .map((issue) => (issue.path ? `${issue.path}: ${issue.message}` : issue.message))
    .join('; ');
  return { ok: false, error: { code: 'invalid_args', message, issues } };
}

/** Returns a copy without the members that are `null` where the schema refuses it, or undefined if there are none. */
function withoutNulls(
  args: Record<string, unknown>,
  issues: readonly { readonly path: readonly PropertyKey[] }[],
): Record<string, unknown> | undefined {
  const copy = structuredClone(args);
  let hasRemoved = false;
  for (const { path } of issues) {
    let parent: unknown = copy;
    for (const key of path.slice(0, -1)) parent = memberOf(parent, key);
    const last = path.at(-1);
    if (last === undefined || Array.isArray(parent) || memberOf(parent, last) !== null) continue;
    delete (parent as Record<PropertyKey, unknown>)[last];
    hasRemoved = true;
  }
  return hasRemoved ? copy : undefined;
}

const memberOf = (value: unknown, key: PropertyKey): unknown =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, key)
    ? (value as Record<PropertyKey, unknown>)[key]
    : undefined;

function completionFunction<N extends string, A>(
  name: N,
  description: string | undefined,
  schema: JsonSchemaObject,
  parameters: z.ZodObject,
): CompletionFunction<N, A> {
  if (!NAME.test(name)) {
    throw new TypeError(`"${name}" is not a valid function name. Use 1 to 64 letters, digits, "_" and "-".`);
  }
  return Object.freeze({
    name,
    description,
    schema,
    parameters,
    spec: {
      type: 'function' as const,
      function: { name, ...(description ? { description } : {}), parameters: schema },
    },
    signature: () => signatureOf(name, schema),
    parse(raw: string): ParsedArguments<A> {
      const json = parseLenientJson(raw.trim() === '' ? '{}' : raw);
      if (!json.ok) return failed('invalid_json', `the arguments are ${json.message}`, json.at);
      if (typeof json.value !== 'object' || json.value === null || Array.isArray(json.value)) {
        return failed('not_an_object', 'the arguments are not a JSON object');
      }
      return checkArguments<A>(parameters, schema, json.value as Record<string, unknown>);
    },
  });
}

/** Declares a function by a zod object. @throws {TypeError} when the schema cannot be sent, or the name is invalid */
export function defineFunction<N extends string, S extends z.ZodObject>(d: {
  name: N;
  description?: string;
  parameters: S;
}): CompletionFunction<N, z.output<S>> {
  return completionFunction(d.name, d.description, schemaOfZod(d.name, d.parameters), d.parameters);
}

/** Declares a function by JSON Schema, or by the old list of `{ name, type }`. @throws {TypeError} as `defineFunction` */
export function functionFromJsonSchema<N extends string>(d: {
  name: N;
  description?: string;
  parameters: JsonSchemaObject | readonly PropertyDef[];
}): CompletionFunction<N, JsonObject> {
  const isList = Array.isArray(d.parameters);
  const given = isList
    ? schemaOfList(d.parameters as readonly PropertyDef[])
    : (d.parameters as JsonSchemaObject);
  const schema = tidySchema(given);
  return completionFunction(d.name, d.description, schema, zodOfSchema(d.name, schema));
}
