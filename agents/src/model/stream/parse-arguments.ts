// Parses the complete argument text of one tool call. A fault has its offset and the expected token: the model receives them
// and repeats the call.
import type { FinishReason, ToolCall } from '../model.ts';
import { JsonTap } from './json-tap.ts';

export type ParsedToolCall =
  | {
      ok: true;
      /** Index of the call in the reply, from 0. */
      index: number;
      /** Unique in the reply. */
      id: string;
      name: string;
      /** The parsed arguments without the text for the user. */
      args: Record<string, unknown>;
      /** The argument text of the model. */
      rawArguments: string;
      /** The text for the user that was streamed from this call. */
      toUser?: string | undefined;
    }
  | {
      ok: false;
      index: number;
      id: string;
      name: string;
      rawArguments: string;
      toUser?: string | undefined;
      error: ArgumentsFault;
    };

/**
 * Parses a call of a whole reply. `toUserKey` names the argument with the text for the user, which is left out. `finish` is that
 * of the reply: one that was cut off may have a call whose arguments are incomplete.
 */
export function parseCall(
  { id, function: { name, arguments: rawArguments } }: ToolCall,
  index: number,
  toUserKey?: string | null,
  finish?: FinishReason,
): ParsedToolCall {
  const common = { index, id, name, rawArguments };
  if (finish === 'length' || finish === 'content_filter') {
    const scan = new JsonTap(null);
    scan.feed(rawArguments);
    if (!scan.closed) return { ok: false, ...common, error: truncatedFault(rawArguments) };
  }
  const parsed = parseArguments(rawArguments);
  if (!parsed.ok) return { ok: false, ...common, error: parsed.error };
  if (toUserKey) delete parsed.args[toUserKey];
  return { ok: true, ...common, args: parsed.args };
}

export interface ArgumentsFault {
  code: 'invalid_json' | 'not_an_object' | 'truncated' | 'too_large';
  message: string;
  /** Offset of the fault in `rawArguments`, in UTF-16 units. */
  at?: number;
}

/** Fault of a call in which the reply ended. */
export const truncatedFault = (rawArguments: string): ArgumentsFault => ({
  code: 'truncated',
  message:
    rawArguments.trim() === ''
      ? 'The reply was cut off before the arguments'
      : `The reply was cut off inside the arguments, after ${rawArguments.length} characters`,
  at: rawArguments.length,
});

/** Deepest nesting of arguments. Code that walks them recursively cannot exhaust the stack. */
export const MAX_ARGUMENT_DEPTH = 64;

// V8 up to 14.6 reads a key such as "\n" or "\u0061" as a backslash once it has seen an object of the same shape with a
// backslash as key (nodejs/node#63785). Therefore `readJson` reads texts with an escape in a key.
const ESCAPE_IN_KEY = /\\.[^"\\]*"[ \t\r\n]*:/s;

/**
 * Parses the argument text of a call. An empty text and `null` mean no arguments; a JSON string that holds an object is that
 * object. A caller that knows `hasEscapedKey` saves a scan of the text.
 */
export function parseArguments(
  text: string,
  hasEscapedKey?: boolean,
): { ok: true; args: Record<string, unknown> } | { ok: false; error: ArgumentsFault } {
  if (text.trim() === '') return { ok: true, args: {} };
  const read = parseJson(text, hasEscapedKey);
  if (!read.ok) {
    const message = `The arguments are not valid JSON at ${read.at}: expected ${read.expected}`;
    return { ok: false, error: { code: 'invalid_json', message, at: read.at } };
  }
  const value = read.value === null ? {} : unwrapped(read.value);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { ok: false, error: { code: 'not_an_object', message: 'The arguments must be one JSON object' } };
  }
  return { ok: true, args: value as Record<string, unknown> };
}

/** Some servers encode the arguments twice. */
function unwrapped(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  if (value.trim() === '') return {};
  const inner = parseJson(value);
  return inner.ok && !isTooDeep(value) ? inner.value : value;
}

/** The scanner of the outer text does not see the nesting of the inner text. */
function isTooDeep(text: string): boolean {
  const scan = new JsonTap(null);
  scan.feed(text);
  return scan.deepest > MAX_ARGUMENT_DEPTH;
}

/** Parses JSON like JSON.parse, but explains faults, and reads escaped keys correctly. */
function parseJson(text: string, hasEscapedKey = ESCAPE_IN_KEY.test(text)): JsonRead {
  if (!hasEscapedKey) {
    try {
      return { ok: true, value: JSON.parse(text) };
    } catch {
      // JSON.parse does not always report the offset, so the text is read again below.
    }
  }
  return readJson(text);
}

/** A value, or the offset of the first fault and the token that was expected there. */
type JsonRead = { ok: true; value: unknown } | { ok: false; at: number; expected: string };

/** Returns the first fault of a text with its offset and the expected token, or undefined for valid JSON. */
export function findJsonFault(text: string): { at: number; expected: string } | undefined {
  const read = readJson(text);
  return read.ok ? undefined : { at: read.at, expected: read.expected };
}

const SPACE = /[ \t\r\n]*/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const STRING_BEGINNING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*/y;
const ATOM = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

/** One open object or array; `key` is the member that gets the next value. */
interface Container {
  readonly value: Record<string, unknown> | unknown[];
  key: string;
}

function put(container: Container, value: unknown): void {
  if (Array.isArray(container.value)) container.value.push(value);
  // An assignment would set the prototype; in JSON it is a plain member.
  else if (container.key === '__proto__') {
    const descriptor = { value, enumerable: true, configurable: true, writable: true };
    Object.defineProperty(container.value, container.key, descriptor);
  } else container.value[container.key] = value;
}

/** Parses JSON and explains a fault. Keeps its own stack, so that deep nesting cannot exhaust the call stack. */
export function readJson(text: string): JsonRead {
  let at = 0;
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found !== undefined) at = pattern.lastIndex;
    return found;
  };
  const fault = (expected: string): JsonRead => ({ ok: false, at, expected });
  /** Fault of a string, at the end of its longest valid prefix. */
  const stringFault = (): JsonRead => {
    take(STRING_BEGINNING);
    if (at >= text.length) return fault('the end of the string');
    return fault(text[at] === '\\' ? 'a valid escape' : 'control characters to be escaped');
  };
  const open: Container[] = [];
  let result: unknown;
  let wants: 'value' | 'value or ]' | 'key' | 'key or }' | 'comma' = 'value';
  const add = (value: unknown): void => {
    const inside = open.at(-1);
    if (inside) put(inside, value);
    else result = value;
    wants = 'comma';
  };
  for (;;) {
    take(SPACE);
    const c = text[at];
    if (wants === 'comma') {
      const inside = open.at(-1);
      if (inside === undefined)
        return c === undefined ? { ok: true, value: result } : fault('the end of the text');
      const close = Array.isArray(inside.value) ? ']' : '}';
      if (c !== ',' && c !== close) return fault(`"," or "${close}"`);
      at += 1;
      if (c === close) open.pop();
      else wants = close === '}' ? 'key' : 'value';
    } else if ((c === '}' && wants === 'key or }') || (c === ']' && wants === 'value or ]')) {
      at += 1;
      open.pop();
      wants = 'comma';
    } else if (wants === 'key' || wants === 'key or }') {
      if (c !== '"') return fault(wants === 'key' ? 'a key in quotes' : 'a key in quotes or "}"');
      const key = take(STRING);
      if (key === undefined) return stringFault();
      open.at(-1)!.key = JSON.parse(key) as string;
      take(SPACE);
      if (text[at] !== ':') return fault('":"');
      at += 1;
      wants = 'value';
    } else if (c === '{' || c === '[') {
      at += 1;
      const container: Container = { value: c === '{' ? {} : [], key: '' };
      add(container.value);
      open.push(container);
      wants = c === '{' ? 'key or }' : 'value or ]';
    } else if (c === '"') {
      const string = take(STRING);
      if (string === undefined) return stringFault();
      add(JSON.parse(string));
    } else {
      const atom = take(ATOM);
      if (atom === undefined) return fault(wants === 'value' ? 'a value' : 'a value or "]"');
      add(JSON.parse(atom));
    }
  }
}
