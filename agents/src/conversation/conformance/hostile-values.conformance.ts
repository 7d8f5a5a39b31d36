// Hostile values for the parameters of operations, by kind of parameter.

/** A parameter: a text or id with its longest length, a whole number with its range, or another kind. */
export type Field =
  | { kind: 'id' | 'text'; max: number }
  | { kind: 'int'; min: number; max?: number }
  | { kind: 'boolean' | 'object' | 'list' }
  | { kind: 'enum' };

/** JSON nested as deep as an envelope may be. */
export const deep = (depth = 60): unknown => (depth === 0 ? 'end' : { inner: deep(depth - 1) });

/** Values that the field must refuse. `null` is not included, because it means that the parameter is absent. */
export function badValues(field: Field): unknown[] {
  const wrong: Record<Field['kind'], unknown[]> = {
    id: ['', 7, true, [], ['x'], {}, deep()],
    text: [7, true, [], ['x'], {}, deep()],
    int: ['1', 1.5, true, [], {}, 1e308, -1e308, deep()],
    boolean: ['true', 1, 0, [], {}, deep()],
    object: ['x', 7, true, []],
    list: ['x', 7, true, {}, deep()],
    enum: ['', 'none-of-them', '\ud800', 7, true, [], {}, deep()],
  };
  const values = [...wrong[field.kind]];
  if ('max' in field && field.max !== undefined) {
    values.push(field.kind === 'int' ? field.max + 1 : 'x'.repeat(field.max + 1));
  }
  if (field.kind === 'int') values.push(field.min - 1);
  return values;
}

/** Valid texts that careless code would mishandle. */
export const ODD_TEXTS = [
  '\u0000',
  '\u202e\u001b[2J',
  '__proto__',
  'constructor',
  "'; DROP TABLE event; --",
  '%_\\*?[',
  ' ',
  '\n',
];
