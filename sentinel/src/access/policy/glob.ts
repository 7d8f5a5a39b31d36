// Globs over addresses, scopes and ids of principals: `*` stops at `.`, `/` and `@`, `**` does not, `?` is one character other than
// these. A match follows all positions of the pattern at once, so its time is bounded by text times pattern, without backtracking.

/** Longest glob, in characters. */
const MAX_GLOB_CHARS = 256;

export interface Glob {
  /** The pattern as it was written. */
  readonly text: string;
  matches(value: string): boolean;
}

const STAR = 1;
const GLOBSTAR = 2;
const ONE = 3;
/** A character of the text, or one of the wildcards above. */
type Token = string | typeof STAR | typeof GLOBSTAR | typeof ONE;

const isSeparator = (char: string): boolean => char === '.' || char === '/' || char === '@';

/** Describes why `text` is no glob; `undefined` if it is one. */
export function globFault(text: string): string | undefined {
  if (text.startsWith('^')) return 'regular expressions are not supported: write a glob with *, ** and ?';
  return text.length > MAX_GLOB_CHARS ? `longer than ${MAX_GLOB_CHARS} characters` : undefined;
}

/** Compiles a glob, for which `globFault` found no fault. */
export function compileGlob(text: string): Glob {
  if (/^\*\*+$/.test(text) && text.length % 2 === 0) return { text, matches: () => true };
  if (!/[*?]/.test(text)) return { text, matches: (value) => value === text };
  const tokens = tokensOf(text);
  return { text, matches: (value) => run(tokens, value) };
}

function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  for (let i = 0; i < text.length; i++) {
    const char = text[i]!;
    if (char === '?') tokens.push(ONE);
    else if (char !== '*') tokens.push(char);
    else if (text[i + 1] === '*') {
      tokens.push(GLOBSTAR);
      i++;
    } else tokens.push(STAR);
  }
  return tokens;
}

const canBeEmpty = (token: Token | undefined): boolean => token === STAR || token === GLOBSTAR;

function run(tokens: readonly Token[], value: string): boolean {
  const end = tokens.length;
  // `reached[i]` is 1 if the text so far matches the first i tokens.
  let reached = new Uint8Array(end + 1);
  let next = new Uint8Array(end + 1);
  reached[0] = 1;
  for (let i = 0; i < end && canBeEmpty(tokens[i]); i++) reached[i + 1] = 1;
  for (let at = 0; at < value.length; at++) {
    const char = value[at]!;
    const separates = isSeparator(char);
    let isAlive = false;
    next.fill(0);
    for (let i = 0; i < end; i++) {
      const token = tokens[i]!;
      // A wildcard may match nothing, so the position after it is reached too.
      if (next[i] === 1 && canBeEmpty(token)) next[i + 1] = 1;
      if (reached[i] !== 1) continue;
      if (token === GLOBSTAR || (token === STAR && !separates)) {
        next[i] = 1;
        next[i + 1] = 1;
      } else if (token === char || (token === ONE && !separates)) next[i + 1] = 1;
      else continue;
      isAlive = true;
    }
    if (!isAlive) return false;
    [reached, next] = [next, reached];
  }
  return reached[end] === 1;
}
