// Canonical JSON: the text that payload digests and signatures cover. Keys are sorted, and there are no blanks. The two languages
// of the peer write some values differently, so a signature is checked against both forms.

/**
 * `js` is the form of naylence for TypeScript: integer keys come first, in numeric order, and numbers are those of JavaScript.
 * `python` is that of naylence for Python: all keys are sorted as text, and floats are those of Python.
 */
export type CanonicalForm = 'js' | 'python';

/** A float as Python writes it. */
class FloatText {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** Writes a value as canonical JSON. Values without a JSON form are omitted, as by JSON.stringify. @throws if it is cyclic */
export function canonicalJson(value: unknown, form: CanonicalForm = 'js'): string {
  return write(value, form) ?? '';
}

function write(given: unknown, form: CanonicalForm): string | undefined {
  const value = hasToJson(given) ? given.toJSON() : given;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (value instanceof FloatText) return value.text;
  if (Array.isArray(value)) return `[${value.map((item) => write(item, form) ?? 'null').join(',')}]`;
  const members: string[] = [];
  for (const key of sortedKeys(value, form)) {
    const text = write((value as Record<string, unknown>)[key], form);
    if (text !== undefined) members.push(`${JSON.stringify(key)}:${text}`);
  }
  return `{${members.join(',')}}`;
}

const hasToJson = (value: unknown): value is { toJSON(): unknown } =>
  typeof value === 'object' && value !== null && 'toJSON' in value && typeof value.toJSON === 'function';

const INTEGER_KEY = /^(?:0|[1-9]\d{0,9})$/;
const MAX_INTEGER_KEY = 4_294_967_294;
const isIntegerKey = (key: string): boolean => INTEGER_KEY.test(key) && Number(key) <= MAX_INTEGER_KEY;

function sortedKeys(value: object, form: CanonicalForm): readonly string[] {
  const keys = Object.keys(value);
  // JavaScript lists integer keys first, in numeric order.
  if (form === 'python' || keys.length === 0 || !isIntegerKey(keys[0]!)) return keys.sort();
  const integers = keys.filter(isIntegerKey);
  return [...integers, ...keys.slice(integers.length).sort()];
}

/** Parses JSON so that `canonicalJson` in the form `python` returns the text that Python writes for the same value. */
export function parseForPython(text: string): unknown {
  // The third argument is newer than the type library.
  const reviver = (_key: string, value: unknown, context?: { source?: string }): unknown => {
    if (typeof value !== 'number' || context?.source === undefined) return value;
    const { source } = context;
    return /[.eE]/.test(source) ? new FloatText(pythonFloat(value)) : new FloatText(source);
  };
  return JSON.parse(text, reviver as (key: string, value: unknown) => unknown);
}

/** The text of a float in Python: always with a point or an exponent, and with exponents outside of 1e-4 to 1e16. */
function pythonFloat(value: number): string {
  const [digits = '', exponentText = '0'] = value.toExponential().split('e');
  const exponent = Number(exponentText);
  if (exponent < -4 || exponent >= 16) {
    return `${digits}e${exponent < 0 ? '-' : '+'}${String(Math.abs(exponent)).padStart(2, '0')}`;
  }
  const sign = Object.is(value, -0) ? '-' : '';
  const text =
    exponent < 0 ? value.toFixed(digits.replace(/[-.]/g, '').length - 1 - exponent) : String(value);
  return text.includes('.') ? text : `${sign}${text}.0`;
}
