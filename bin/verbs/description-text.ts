// The answer to `describe` as text for a terminal. Another node sent it, so its fields may have any type, and its texts are escaped.
import type { AgentDescription, OperationDescription } from '@fame-fabric/shared';
import { cutText, escapeLine, printableJson } from '@fame-fabric/shared/internal';

/** A JSON Schema, or a part of one, as far as it is read here. */
interface Schema {
  type?: unknown;
  properties?: unknown;
  prefixItems?: unknown;
  minItems?: unknown;
  required?: unknown;
  default?: unknown;
  enum?: unknown;
  const?: unknown;
  items?: unknown;
  anyOf?: unknown;
  oneOf?: unknown;
  description?: unknown;
}

const MAX_TYPE_CHARS = 60;
/** Choices of a type that are read, and levels of types in types: a hostile schema may have thousands. */
const MAX_CHOICES = 16;
const MAX_DEPTH = 8;
const MAX_VALUE_CHARS = 40;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const textOf = (value: unknown): string => (typeof value === 'string' ? escapeLine(value) : '');

/** The operations in an answer to `describe`; `undefined` if it has no such list. */
export function operationsOf(description: unknown): OperationDescription[] | undefined {
  const operations = isObject(description) ? description.operations : undefined;
  if (!Array.isArray(operations)) return undefined;
  return operations.filter((one) => isObject(one) && typeof one.name === 'string') as OperationDescription[];
}

/** Formats the answer of the agent at `address`. Safe to print. */
export function descriptionText(address: string, description: unknown): string {
  const { description: about, truncated, tasks } = description as Partial<AgentDescription>;
  const operations = operationsOf(description) ?? [];
  const lines = [`${address}${about ? `: ${textOf(about)}` : ''}`, ''];
  for (const one of operations) lines.push(...operationLines(one));
  if (operations.length === 0) lines.push('It has no operations.');
  if (truncated) lines.push('It has more operations, which did not fit into its answer.');
  if (tasks) lines.push('It runs tasks: tasks/send, tasks/get, tasks/cancel and the other task methods.');
  if (operations.some(({ name }) => name === 'run_turn'))
    lines.push('', `To talk to it: npx fame-fabric chat ${address}`);
  else if (operations.length > 0) lines.push('', `For example: ${exampleCall(address, operations[0]!)}`);
  return `${lines.join('\n')}\n`;
}

/** The operation with its parameters on a line, and its description below. */
function operationLines({ name, description, params, streams, truncated }: OperationDescription): string[] {
  const shown = parametersOf(params).map(parameterText);
  const marks = [streams ? 'stream' : '', truncated ? 'schema too large to show' : ''].filter(Boolean);
  const line = `${textOf(name)}(${shown.join(', ')})${marks.length > 0 ? `  [${marks.join(', ')}]` : ''}`;
  const about = textOf(description);
  return about === '' ? [line] : [line, `    ${about}`];
}

interface Parameter {
  /** Absent for a parameter that has only a position. */
  name: string | undefined;
  schema: Schema;
  isRequired: boolean;
}

function parametersOf(params: unknown): Parameter[] {
  const { properties, prefixItems, minItems, required }: Schema = isObject(params) ? params : {};
  if (Array.isArray(prefixItems)) {
    const least = typeof minItems === 'number' ? minItems : prefixItems.length;
    return prefixItems.map((schema, i) => ({ name: undefined, schema, isRequired: i < least }));
  }
  const needed = new Set(Array.isArray(required) ? required : []);
  const named = Object.entries(isObject(properties) ? properties : {});
  return named.map(([name, schema]) => ({ name, schema: schema as Schema, isRequired: needed.has(name) }));
}

function parameterText({ name, schema, isRequired }: Parameter): string {
  const type = typeText(schema);
  const value = isObject(schema) ? schema.default : undefined;
  const rest = value === undefined ? '' : ` = ${cutText(printableJson(value), MAX_VALUE_CHARS)}`;
  const mark = isRequired || value !== undefined ? '' : '?';
  return name === undefined ? `${type}${mark}${rest}` : `${textOf(name)}${mark}: ${type}${rest}`;
}

/** The type of a schema in a few words, such as `string`, `"a" | "b"` or `integer[]`. */
function typeText(schema: unknown, depth = 0): string {
  if (!isObject(schema) || depth > MAX_DEPTH) return 'any';
  const { type, enum: values, anyOf, oneOf, items, const: only }: Schema = schema;
  const options = Array.isArray(anyOf) ? anyOf : Array.isArray(oneOf) ? oneOf : undefined;
  const text = (): string => {
    if (only !== undefined) return printableJson(only);
    if (Array.isArray(values))
      return values
        .slice(0, MAX_CHOICES)
        .map((value) => printableJson(value))
        .join(' | ');
    if (options)
      return [...new Set(options.slice(0, MAX_CHOICES).map((one) => typeText(one, depth + 1)))].join(' | ');
    if (type === 'array' && isObject(items)) {
      const item = typeText(items, depth + 1);
      return item.includes(' | ') ? `(${item})[]` : `${item}[]`;
    }
    if (Array.isArray(type)) return type.map(String).join(' | ');
    return typeof type === 'string' ? type : 'any';
  };
  const whole = escapeLine(text());
  return whole.length > MAX_TYPE_CHARS ? `${cutText(whole, MAX_TYPE_CHARS)}...` : whole;
}

const SAMPLES: Readonly<Record<string, unknown>> = {
  string: 'text',
  number: 1,
  integer: 1,
  boolean: true,
  array: [],
  object: {},
};

/** A command that calls the operation with its required parameters. */
export function exampleCall(address: string, { name, params, streams }: OperationDescription): string {
  const needed = parametersOf(params).filter(({ isRequired }) => isRequired);
  const isByPosition = needed.some((one) => one.name === undefined);
  const values = needed.map(({ schema }) => sampleOf(schema));
  const json = isByPosition
    ? values
    : Object.fromEntries(needed.map((one, i) => [one.name as string, values[i]]));
  const shown = needed.length === 0 ? '' : ` ${quoted(printableJson(json))}`;
  return `npx fame-fabric call ${address} ${quotedName(textOf(name))}${shown}${streams ? ' --stream' : ''}`;
}

function sampleOf(schema: unknown, depth = 0): unknown {
  if (!isObject(schema)) return null;
  const { type, enum: values, anyOf, oneOf, const: only, minimum }: Schema & { minimum?: unknown } = schema;
  if (only !== undefined) return only;
  if (Array.isArray(values)) return values[0];
  const options = Array.isArray(anyOf) ? anyOf : Array.isArray(oneOf) ? oneOf : undefined;
  if (options) return depth > MAX_DEPTH ? null : sampleOf(options[0], depth + 1);
  const one = Array.isArray(type) ? type[0] : type;
  if ((one === 'integer' || one === 'number') && typeof minimum === 'number' && minimum > 1) return minimum;
  return typeof one === 'string' && Object.hasOwn(SAMPLES, one) ? SAMPLES[one] : null;
}

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

const quotedName = (name: string): string => (/^[\w.-]+$/.test(name) ? name : quoted(name));
