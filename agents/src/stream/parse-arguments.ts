// The argument text of one tool call, once it is whole: parsed by JSON.parse, or explained. The explanation is for the model,
// which is asked to write the call again, so it says where the fault is and what was expected there.

export type ParsedToolCall =
  | {
      ok: true;
      /** Place of the call in the reply, from 0. */
      index: number;
      /** Unique in the reply. */
      id: string;
      name: string;
      /** The parsed arguments without the text for the user. */
      args: Record<string, unknown>;
      /** The argument text as the model wrote it. */
      rawArguments: string;
      /** The text for the user that was streamed from this call, if there was any. */
      toUser?: string;
    }
  | {
      ok: false;
      index: number;
      id: string;
      name: string;
      rawArguments: string;
      toUser?: string;
      error: ArgumentsFault;
    };

export interface ArgumentsFault {
  code: 'invalid_json' | 'not_an_object' | 'truncated' | 'too_large';
  message: string;
  /** Offset of the fault in `rawArguments`, in UTF-16 units. */
  at?: number;
}

/** Nesting that arguments may have, so that whatever walks them later cannot run out of stack. */
export const MAX_ARGUMENT_DEPTH = 64;

/** Parses the argument text of a call. An empty text means no arguments. */
export function parseArguments(
  text: string,
): { ok: true; args: Record<string, unknown> } | { ok: false; error: ArgumentsFault } {
  if (text.trim() === '') return { ok: true, args: {} };
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const fault = findJsonFault(text);
    // The two readers of JSON agree on what is JSON; should they ever not, the one that builds the value is right.
    const { at, expected } = fault ?? { at: text.length, expected: (error as Error).message };
    const message = `The arguments are not valid JSON at ${at}: expected ${expected}`;
    return { ok: false, error: { code: 'invalid_json', message, at } };
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return { ok: false, error: { code: 'not_an_object', message: 'The arguments must be one JSON object' } };
  }
  return { ok: true, args: value as Record<string, unknown> };
}

const SPACE = /[ \t\r\n]*/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const STRING_PREFIX = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*/y;
const ATOM = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;

/** Where a text stops being JSON, and what would have had to stand there; undefined if it is JSON. Keeps its own stack. */
export function findJsonFault(text: string): { at: number; expected: string } | undefined {
  let at = 0;
  const take = (pattern: RegExp): boolean => {
    pattern.lastIndex = at;
    if (!pattern.test(text)) return false;
    at = pattern.lastIndex;
    return true;
  };
  /** What a string lacks: its fault lies after the longest good beginning. */
  const stringFault = (): { at: number; expected: string } => {
    take(STRING_PREFIX);
    if (at >= text.length) return { at, expected: 'the end of the string' };
    return text[at] === '\\'
      ? { at, expected: 'a valid escape' }
      : { at, expected: 'control characters to be escaped' };
  };
  const open: ('{' | '[')[] = [];
  let wants: 'value' | 'value or ]' | 'key' | 'key or }' | 'comma' = 'value';
  for (;;) {
    take(SPACE);
    const c = text[at];
    if (wants === 'comma') {
      const inside = open.at(-1);
      if (inside === undefined) return c === undefined ? undefined : { at, expected: 'the end of the text' };
      if (c === ',') {
        at += 1;
        wants = inside === '{' ? 'key' : 'value';
      } else if (c === (inside === '{' ? '}' : ']')) {
        at += 1;
        open.pop();
      } else {
        return { at, expected: inside === '{' ? '"," or "}"' : '"," or "]"' };
      }
    } else if (wants === 'key' || wants === 'key or }') {
      if (c === '}' && wants === 'key or }') {
        at += 1;
        open.pop();
        wants = 'comma';
        continue;
      }
      if (c !== '"') return { at, expected: wants === 'key' ? 'a key in quotes' : 'a key in quotes or "}"' };
      if (!take(STRING)) return stringFault();
      take(SPACE);
      if (text[at] !== ':') return { at, expected: '":"' };
      at += 1;
      wants = 'value';
    } else if (c === '{' || c === '[') {
      at += 1;
      open.push(c);
      wants = c === '{' ? 'key or }' : 'value or ]';
    } else if (c === ']' && wants === 'value or ]') {
      at += 1;
      open.pop();
      wants = 'comma';
    } else if (c === '"') {
      if (!take(STRING)) return stringFault();
      wants = 'comma';
    } else if (take(ATOM)) {
      wants = 'comma';
    } else {
      return { at, expected: wants === 'value' ? 'a value' : 'a value or "]"' };
    }
  }
}
