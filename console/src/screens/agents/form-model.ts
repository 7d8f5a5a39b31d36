// The form of an operation, from the JSON Schema of its parameters. The form keeps drafts: texts as a person types them. `readForm` turns
// drafts into parameters, and `draftsOf` turns parameters into drafts. Parameters that a form cannot show are a field with JSON text.
import {
  alternatives,
  type Fault,
  faultsOf,
  isNull,
  isObject,
  resolve,
  type Schema,
  typesOf,
} from './schema.ts';

/** The text of a field, or the drafts inside it. An empty text is a parameter that is left out, unless it is a required text. */
export type Draft = string | readonly Draft[] | { readonly [name: string]: Draft };

interface Common {
  /** Name of the parameter; for one with a position only, its number from 1. */
  readonly name: string;
  readonly isRequired: boolean;
  readonly description?: string;
  /** The value that the agent uses without this parameter. */
  readonly fallback?: unknown;
  /** Limits, such as `1 to 100`. */
  readonly limits?: string;
}
export type FormField =
  | (Common & { readonly kind: 'text'; readonly isLong: boolean })
  | (Common & { readonly kind: 'number' | 'json' })
  | (Common & { readonly kind: 'choice'; readonly choices: readonly unknown[] })
  | (Common & { readonly kind: 'list'; readonly item: FormField })
  | (Common & { readonly kind: 'group'; readonly fields: readonly FormField[] });

export interface Form {
  readonly schema: Schema;
  readonly fields: readonly FormField[];
  /** True if the parameters have positions and no names. */
  readonly isPositional: boolean;
  /** True if the schema also permits parameters that are not listed. */
  readonly isOpen: boolean;
}

/** Parameters of a call as JSON: an object by name, an array by position. */
export type Reading = { readonly params: unknown } | { readonly faults: readonly Fault[] };

const MAX_FIELDS = 200;
const MAX_CHOICES = 200;
const MAX_DEPTH = 4;
/** Names of parameters that usually have several lines. */
const LONG_NAMES = /message|prompt|text|content|body|description|note/i;

/** Builds the form of the parameters of an operation. */
export function formOf(params: unknown): Form {
  const schema = isObject(params) ? params : {};
  const { prefixItems, minItems } = schema;
  if (Array.isArray(prefixItems)) {
    const least = typeof minItems === 'number' ? minItems : prefixItems.length;
    const fields = prefixItems
      .slice(0, MAX_FIELDS)
      .map((one, i) => fieldOf(String(i + 1), one, i < least, { root: schema, depth: 0 }));
    return {
      schema,
      fields,
      isPositional: true,
      isOpen: schema.items !== undefined && schema.items !== false,
    };
  }
  return {
    schema,
    fields: fieldsOf(schema, { root: schema, depth: 0 }),
    isPositional: false,
    isOpen: schema.additionalProperties !== false,
  };
}

interface Place {
  readonly root: Schema;
  readonly depth: number;
}

function fieldsOf({ properties, required }: Schema, place: Place): FormField[] {
  const needed = new Set(Array.isArray(required) ? required : []);
  const named = Object.entries(isObject(properties) ? properties : {}).slice(0, MAX_FIELDS);
  return named.map(([name, one]) => fieldOf(name, one, needed.has(name), place));
}

function fieldOf(name: string, given: unknown, isRequired: boolean, { root, depth }: Place): FormField {
  const outer = resolve(given, root);
  const options = alternatives(outer);
  const values = options?.map((one) => resolve(one, root)).filter((one) => !isNull(one));
  // "A value or null" is the field of the value, which may stay empty.
  const schema =
    values?.length === 1 ? { ...outer, anyOf: undefined, oneOf: undefined, ...values[0] } : outer;
  const types = typesOf(schema).filter((type) => type !== 'null');
  const type = types.length === 1 ? types[0] : undefined;
  const limits = limitsOf(schema);
  const common: Common = {
    name,
    isRequired,
    ...(typeof outer.description === 'string' ? { description: outer.description } : {}),
    ...(outer.default === undefined ? {} : { fallback: outer.default }),
    ...(limits === '' ? {} : { limits }),
  };
  const choices = choicesOf(schema, values);
  if (choices) return { ...common, kind: 'choice', choices };
  if (type === 'boolean') return { ...common, kind: 'choice', choices: [true, false] };
  if (type === 'number' || type === 'integer') return { ...common, kind: 'number' };
  if (type === 'string') return { ...common, kind: 'text', isLong: LONG_NAMES.test(name) };
  const inner = { root, depth: depth + 1 };
  if (depth < MAX_DEPTH && type === 'array' && isObject(schema.items) && schema.prefixItems === undefined)
    return { ...common, kind: 'list', item: fieldOf('', schema.items, true, inner) };
  if (depth < MAX_DEPTH && type === 'object' && schema.additionalProperties === false)
    return { ...common, kind: 'group', fields: fieldsOf(schema, inner) };
  return { ...common, kind: 'json' };
}

function choicesOf(schema: Schema, values: readonly Schema[] | undefined): readonly unknown[] | undefined {
  if (schema.const !== undefined) return [schema.const];
  if (Array.isArray(schema.enum)) return schema.enum.filter((one) => one !== null).slice(0, MAX_CHOICES);
  if (values && values.length > 1 && values.every((one) => one.const !== undefined))
    return values.map((one) => one.const).slice(0, MAX_CHOICES);
  return undefined;
}

/** Limits of integers that only mean "any integer". */
const isNoLimit = (value: number): boolean => Math.abs(value) >= Number.MAX_SAFE_INTEGER;

function limitsOf(schema: Schema): string {
  const { minimum, maximum, minLength, maxLength, minItems, maxItems, format } = schema;
  const range = (least: unknown, most: unknown, unit: string): string => {
    const from = typeof least === 'number' && !isNoLimit(least) ? least : undefined;
    const to = typeof most === 'number' && !isNoLimit(most) ? most : undefined;
    if (from !== undefined && to !== undefined) return `${from} to ${to}${unit}`;
    if (to !== undefined) return `at most ${to}${unit}`;
    return from === undefined || (unit !== '' && from <= 1) ? '' : `at least ${from}${unit}`;
  };
  const parts = [
    typesOf(schema).includes('integer') ? 'whole number' : '',
    range(minimum, maximum, ''),
    range(minLength === 1 ? undefined : minLength, maxLength, ' characters'),
    range(minItems, maxItems, ' items'),
    typeof format === 'string' ? format : '',
  ];
  return parts.filter(Boolean).join(', ');
}

/** The drafts of an empty form. Required choices start with their first value. */
export const emptyDrafts = (form: Form): readonly Draft[] => form.fields.map(emptyDraft);

export function emptyDraft(field: FormField): Draft {
  switch (field.kind) {
    case 'choice':
      return field.isRequired && field.fallback === undefined ? '0' : '';
    case 'list':
      return [];
    case 'group':
      return Object.fromEntries(field.fields.map((one) => [one.name, emptyDraft(one)]));
    default:
      return '';
  }
}

/** Reads the drafts of a form. The faults name fields by their path. */
export function readForm(form: Form, drafts: readonly Draft[]): Reading {
  const faults: Fault[] = [];
  const entries = form.fields.map((field, i) => {
    const path = form.isPositional ? String(i) : field.name;
    return [field.name, readDraft(field, drafts[i] ?? '', path, faults)] as const;
  });
  if (faults.length > 0) return { faults };
  const last = entries.findLastIndex(([, value]) => value !== undefined);
  const params = form.isPositional
    ? entries.slice(0, last + 1).map(([, value]) => value ?? null)
    : Object.fromEntries(entries.filter(([, value]) => value !== undefined));
  const found = faultsOf(form.schema, params);
  return found.length > 0 ? { faults: found } : { params };
}

/** Reads one draft; `undefined` for a parameter that is left out. */
function readDraft(field: FormField, draft: Draft, path: string, faults: Fault[]): unknown {
  const fault = (message: string): undefined => {
    faults.push({ path, message });
    return undefined;
  };
  if (field.kind === 'list') {
    const items = Array.isArray(draft) ? (draft as readonly Draft[]) : [];
    if (items.length === 0 && !field.isRequired) return undefined;
    return items.map((one, i) => readDraft(field.item, one, `${path}.${i}`, faults));
  }
  if (field.kind === 'group') {
    const inside = isObject(draft) ? (draft as Readonly<Record<string, Draft>>) : {};
    const given = field.fields.some((one) => !isEmpty(inside[one.name] ?? ''));
    if (!given && !field.isRequired) return undefined;
    const values = field.fields.map(
      (one) => [one.name, readDraft(one, inside[one.name] ?? '', `${path}.${one.name}`, faults)] as const,
    );
    return Object.fromEntries(values.filter(([, value]) => value !== undefined));
  }
  const text = typeof draft === 'string' ? draft : '';
  if (text === '' && !(field.kind === 'text' && field.isRequired)) {
    return field.isRequired ? fault('is required') : undefined;
  }
  switch (field.kind) {
    case 'text':
      return text;
    case 'choice':
      return field.choices[Number(text)];
    case 'number': {
      const value = Number(text.trim());
      return text.trim() === '' || !Number.isFinite(value) ? fault('must be a number') : value;
    }
    case 'json':
      try {
        return JSON.parse(text);
      } catch (error) {
        return fault(`must be JSON: ${(error as Error).message}`);
      }
  }
}

const isEmpty = (draft: Draft): boolean => {
  if (typeof draft === 'string') return draft === '';
  return Array.isArray(draft) ? draft.length === 0 : Object.values(draft).every(isEmpty);
};

/** The drafts of parameters; `undefined` if the form cannot show them without a loss. */
export function draftsOf(form: Form, params: unknown): readonly Draft[] | undefined {
  const values = form.isPositional ? params : isObject(params) ? params : undefined;
  if (values === undefined || (form.isPositional && !Array.isArray(values))) return undefined;
  const known = new Set(form.fields.map(({ name }) => name));
  const isComplete = form.isPositional
    ? (values as readonly unknown[]).length <= form.fields.length
    : Object.keys(values as object).every((name) => known.has(name));
  if (!isComplete) return undefined;
  return form.fields.map((field, i) => {
    const value = form.isPositional
      ? (values as readonly unknown[])[i]
      : (values as Readonly<Record<string, unknown>>)[field.name];
    return draftOf(field, value);
  });
}

function draftOf(field: FormField, value: unknown): Draft {
  if (value === undefined || (value === null && field.kind !== 'json'))
    return emptyDraft({ ...field, isRequired: false });
  switch (field.kind) {
    case 'text':
    case 'number':
      return typeof value === 'string' ? value : JSON.stringify(value);
    case 'choice': {
      const at = field.choices.findIndex((one) => JSON.stringify(one) === JSON.stringify(value));
      return at < 0 ? '' : String(at);
    }
    case 'list':
      return Array.isArray(value) ? value.map((one) => draftOf(field.item, one)) : [];
    case 'group': {
      const inside = isObject(value) ? value : {};
      return Object.fromEntries(field.fields.map((one) => [one.name, draftOf(one, inside[one.name])]));
    }
    case 'json':
      return JSON.stringify(value, undefined, 2);
  }
}

/** Reads parameters that were written as JSON. An empty text is a call without parameters. */
export function readJson(form: Form, text: string): Reading {
  let params: unknown = form.isPositional ? [] : {};
  if (text.trim() !== '') {
    try {
      params = JSON.parse(text);
    } catch (error) {
      return { faults: [{ path: '', message: `This is not JSON: ${(error as Error).message}` }] };
    }
  }
  const faults = faultsOf(form.schema, params);
  return faults.length > 0 ? { faults } : { params };
}
