// Parses the JSON that a model wrote as arguments of a call, and tolerates exactly three faults: a Markdown fence, prose around the
// outermost object, commas before a closing bracket. The model has to repair anything else: guessing would run functions with
// arguments that the model did not write.
import { findJsonFault } from '../../model/stream/parse-arguments.ts';

export type LenientJson =
  | { ok: true; value: unknown; repaired: boolean }
  | { ok: false; message: string /** Index in the text, where it is known. */; at?: number };

const tryParse = (text: string): { value: unknown } | undefined => {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined;
  }
};

/** Locates the fault in `text`. */
function faultOf(text: string): LenientJson {
  const fault = findJsonFault(text);
  if (!fault) return { ok: false, message: 'the text is not the JSON that was asked for' };
  return { ok: false, message: `not valid JSON at ${fault.at}: expected ${fault.expected}`, at: fault.at };
}

/** Finds the first `{...}` or `[...]` that closes, outside of strings. `isOnly` is false if another one follows. */
function outermost(text: string, open: '{' | '['): { span: string; isOnly: boolean } | undefined {
  const close = open === '{' ? '}' : ']';
  const start = text.indexOf(open);
  if (start < 0) return undefined;
  let depth = 0;
  let inString = false;
  for (let i = start; i < text.length; i++) {
    const char = text[i];
    if (inString) {
      if (char === '\\') i++;
      else if (char === '"') inString = false;
    } else if (char === '"') inString = true;
    else if (char === open) depth++;
    else if (char === close && --depth === 0) {
      return { span: text.slice(start, i + 1), isOnly: !text.slice(i + 1).includes(open) };
    }
  }
  return undefined;
}

function withoutTrailingCommas(text: string): string {
  let out = '';
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const char = text[i]!;
    if (inString) {
      out += char;
      if (char === '\\') out += text[++i] ?? '';
      else if (char === '"') inString = false;
      continue;
    }
    if (char === '"') inString = true;
    else if (char === ',' && /^\s*[}\]]/.test(text.slice(i + 1, i + 64))) continue;
    out += char;
  }
  return out;
}

const withoutFence = (text: string): string =>
  /^```[\w-]*\s*\n([\s\S]*?)\n?```$/.exec(text.trim())?.[1] ?? text;

/** Parses `text`; tolerates a fence, prose around one outermost value, and trailing commas. */
export function parseLenientJson(text: string, outer: 'object' | 'array' = 'object'): LenientJson {
  const plain = tryParse(text);
  if (plain) return { ok: true, ...plain, repaired: false };
  const bare = withoutFence(text);
  const found = outermost(bare, outer === 'object' ? '{' : '[');
  if (!found) return faultOf(text);
  if (!found.isOnly) return { ok: false, message: 'more than one JSON value' };
  const repaired = tryParse(found.span) ?? tryParse(withoutTrailingCommas(found.span));
  return repaired ? { ok: true, ...repaired, repaired: true } : faultOf(text);
}
