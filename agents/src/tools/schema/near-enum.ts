// Corrects values that differ from an `enum` only in case, blanks or type, such as "Celsius " for "celsius" or "2" for 2. A value
// is replaced only if exactly one allowed value matches.
import type { JsonSchemaObject } from './json-schema.ts';

/** Normalizes a value for comparison. */
const foldValue = (value: string | number | boolean): string => String(value).trim().toLowerCase();

export const isScalar = (value: unknown): value is string | number | boolean =>
  typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';

/** Returns the only one of `values` that equals `value` except for case and blanks. An exact match takes precedence. */
export function nearestOf<T extends string | number | boolean>(
  value: unknown,
  values: readonly T[],
): T | undefined {
  if (!isScalar(value)) return undefined;
  const exact = values.filter((one) => String(one) === String(value));
  const near = exact.length > 0 ? exact : values.filter((one) => foldValue(one) === foldValue(value));
  return near.length === 1 ? near[0] : undefined;
}

/** Returns `args` with the values of enums corrected, in nested objects and lists too; the same object if nothing changed. */
export const withNearEnums = (
  schema: JsonSchemaObject,
  args: Record<string, unknown>,
): Record<string, unknown> => corrected(schema, args) as Record<string, unknown>;

function corrected(schema: unknown, value: unknown): unknown {
  if (typeof schema !== 'object' || schema === null) return value;
  const { enum: values, const: only, properties, items } = schema as Record<string, unknown>;
  if (isScalar(value)) {
    const allowed = Array.isArray(values) ? values : only === undefined ? [] : [only];
    return allowed.includes(value) ? value : (nearestOf(value, allowed.filter(isScalar)) ?? value);
  }
  if (Array.isArray(value)) {
    const list = value.map((one) => corrected(items, one));
    return list.every((one, i) => one === value[i]) ? value : list;
  }
  if (typeof value !== 'object' || value === null || typeof properties !== 'object' || properties === null) {
    return value;
  }
  const entries = Object.entries(value).map(
    ([key, one]) =>
      [key, Object.hasOwn(properties, key) ? corrected(properties[key as never], one) : one] as const,
  );
  const isSame = entries.every(([key, one]) => one === (value as Record<string, unknown>)[key]);
  return isSame ? value : Object.fromEntries(entries);
}
