// JSON Schema, as far as forms use it: resolving local references, and checking values. Another node sent the schema, so its keywords
// may have any type, and depth and counts are limited. Regular expressions of a schema are not run, because a hostile one could stop
// the page; the agent checks them.

export type Schema = Readonly<Record<string, unknown>>;

/** A fault of a value. `path` has the keys from the parameters to the value, separated by dots; empty for the parameters. */
export interface Fault {
  readonly path: string;
  readonly message: string;
}

const MAX_DEPTH = 8;
const MAX_FAULTS = 50;
const MAX_REFERENCES = 16;

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Follows `$ref` to a definition in `root`. A reference that cannot be followed accepts any value. */
export function resolve(schema: unknown, root: Schema): Schema {
  let found = schema;
  for (let i = 0; i < MAX_REFERENCES; i++) {
    if (!isObject(found)) return {};
    if (typeof found.$ref !== 'string') return found;
    found = definition(found.$ref, root);
  }
  return {};
}

function definition(reference: string, root: Schema): unknown {
  if (!reference.startsWith('#')) return {};
  let found: unknown = root;
  for (const key of reference.slice(1).split('/').filter(Boolean)) {
    const name = key.replaceAll('~1', '/').replaceAll('~0', '~');
    found = isObject(found) && Object.hasOwn(found, name) ? found[name] : {};
  }
  return found;
}

/** The alternatives of a schema; `undefined` if it has none. */
export function alternatives({ anyOf, oneOf }: Schema): readonly unknown[] | undefined {
  if (Array.isArray(anyOf) && anyOf.length > 0) return anyOf;
  return Array.isArray(oneOf) && oneOf.length > 0 ? oneOf : undefined;
}

export const typesOf = ({ type }: Schema): readonly string[] =>
  (Array.isArray(type) ? type : [type]).filter((one): one is string => typeof one === 'string');

const isType = (value: unknown, type: string): boolean => {
  switch (type) {
    case 'null':
      return value === null;
    case 'array':
      return Array.isArray(value);
    case 'object':
      return isObject(value);
    case 'integer':
      return Number.isInteger(value);
    case 'string':
    case 'number':
    case 'boolean':
      return typeof value === type;
    default:
      return true;
  }
};

/** Returns the faults of a value; empty if it fits the schema as far as the keywords are known here. */
export function faultsOf(schema: Schema, value: unknown): Fault[] {
  const faults: Fault[] = [];
  check(schema, value, { root: schema, path: [], depth: 0, faults });
  return faults;
}

interface Check {
  readonly root: Schema;
  readonly path: readonly (string | number)[];
  readonly depth: number;
  readonly faults: Fault[];
}

function check(given: unknown, value: unknown, at: Check): void {
  if (at.depth > MAX_DEPTH || at.faults.length >= MAX_FAULTS) return;
  const schema = resolve(given, at.root);
  const report = (message: string): void => void at.faults.push({ path: at.path.join('.'), message });
  const types = typesOf(schema);
  if (types.length > 0 && !types.some((type) => isType(value, type))) {
    report(`must be ${types.map(typeName).join(' or ')}`);
    return;
  }
  if (Object.hasOwn(schema, 'const') && !isSame(schema.const, value))
    report(`must be ${JSON.stringify(schema.const)}`);
  if (Array.isArray(schema.enum) && !schema.enum.some((one) => isSame(one, value)))
    report(
      `must be one of ${schema.enum
        .slice(0, 20)
        .map((one) => JSON.stringify(one))
        .join(', ')}`,
    );
  const options = alternatives(schema);
  if (options && !options.some((one) => fits(one, value, at))) {
    const only = options.length === 2 ? options.find((one) => !isNull(resolve(one, at.root))) : undefined;
    // Of "a value or null" the faults of the value help more than "fits no alternative".
    if (only && options.some((one) => isNull(resolve(one, at.root)))) check(only, value, at);
    else report('fits none of the alternatives');
  }
  if (Array.isArray(schema.allOf)) {
    for (const one of schema.allOf) check(one, value, { ...at, depth: at.depth + 1 });
  }
  if (typeof value === 'number') for (const message of numberFaults(schema, value)) report(message);
  if (typeof value === 'string') for (const message of textFaults(schema, value)) report(message);
  if (Array.isArray(value)) checkItems(schema, value, at, report);
  if (isObject(value)) checkProperties(schema, value, at);
}

const fits = (schema: unknown, value: unknown, at: Check): boolean => {
  const faults: Fault[] = [];
  check(schema, value, { ...at, depth: at.depth + 1, faults });
  return faults.length === 0;
};

export const isNull = (schema: Schema): boolean => schema.type === 'null' || schema.const === null;

const limit = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined);

function numberFaults(schema: Schema, value: number): string[] {
  const { minimum, maximum, exclusiveMinimum: above, exclusiveMaximum: below, multipleOf } = schema;
  const faults: string[] = [];
  if (value < (limit(minimum) ?? Number.NEGATIVE_INFINITY)) faults.push(`must be at least ${minimum}`);
  if (value > (limit(maximum) ?? Number.POSITIVE_INFINITY)) faults.push(`must be at most ${maximum}`);
  if (value <= (limit(above) ?? Number.NEGATIVE_INFINITY)) faults.push(`must be more than ${above}`);
  if (value >= (limit(below) ?? Number.POSITIVE_INFINITY)) faults.push(`must be less than ${below}`);
  const step = limit(multipleOf);
  if (step !== undefined && Number.isInteger(step) && step > 0 && value % step !== 0)
    faults.push(`must be a multiple of ${step}`);
  return faults;
}

function textFaults({ minLength, maxLength }: Schema, value: string): string[] {
  const { length } = [...value];
  if (length < (limit(minLength) ?? 0)) {
    return [length === 0 ? 'must not be empty' : `must have at least ${countOf(minLength, 'character')}`];
  }
  return length > (limit(maxLength) ?? Number.POSITIVE_INFINITY)
    ? [`has ${length} characters; at most ${maxLength} are allowed`]
    : [];
}

function checkItems(
  schema: Schema,
  value: readonly unknown[],
  at: Check,
  report: (message: string) => void,
): void {
  const { prefixItems, items, minItems, maxItems } = schema;
  const first = Array.isArray(prefixItems) ? prefixItems : [];
  if (value.length < (limit(minItems) ?? 0)) report(`must have at least ${countOf(minItems, 'item')}`);
  if (value.length > (limit(maxItems) ?? Number.POSITIVE_INFINITY))
    report(`must have at most ${countOf(maxItems, 'item')}`);
  for (const [i, item] of value.entries()) {
    const inner = { ...at, path: [...at.path, i], depth: at.depth + 1 };
    if (i < first.length) check(first[i], item, inner);
    else if (items === false) at.faults.push({ path: inner.path.join('.'), message: 'is one item too many' });
    else check(items, item, inner);
  }
}

function checkProperties(schema: Schema, value: Readonly<Record<string, unknown>>, at: Check): void {
  const properties = isObject(schema.properties) ? schema.properties : {};
  const inside = (name: string): Check => ({ ...at, path: [...at.path, name], depth: at.depth + 1 });
  const required = Array.isArray(schema.required) ? schema.required : [];
  for (const name of required) {
    if (typeof name === 'string' && !Object.hasOwn(value, name))
      at.faults.push({ path: inside(name).path.join('.'), message: 'is required' });
  }
  for (const [name, item] of Object.entries(value)) {
    if (Object.hasOwn(properties, name)) check(properties[name], item, inside(name));
    else if (schema.additionalProperties === false)
      at.faults.push({ path: inside(name).path.join('.'), message: 'is not a known parameter' });
    else check(schema.additionalProperties, item, inside(name));
  }
}

/** Compares JSON values. Keys of objects may have any order. */
function isSame(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (Array.isArray(a) || Array.isArray(b)) {
    return (
      Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((one, i) => isSame(one, b[i]))
    );
  }
  if (!isObject(a) || !isObject(b)) return false;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && isSame(a[key], b[key]))
  );
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  string: 'a text',
  number: 'a number',
  integer: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'an object',
  null: 'null',
};
const typeName = (type: string): string => TYPE_NAMES[type] ?? type;
const countOf = (count: unknown, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`;
