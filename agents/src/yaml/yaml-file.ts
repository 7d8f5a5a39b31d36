// A YAML file as plain data, with the position of every key and value. A duplicate key is a fault. Agent files may use the Ruby
// spelling, in which keys and names start with a colon (`:agent: :leaf`).
import { closestMatch } from '@fame-fabric/shared/internal';
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  type Scalar,
  visit,
} from 'yaml';
import type { z } from 'zod';
import type { ConfigPath, Diagnostic, Place } from './diagnostic.ts';

/** Size limit of a file, far more than an agent needs. */
const MAX_YAML_CHARS = 1_048_576;

export class YamlFile {
  readonly name: string;
  /** Syntax faults. */
  readonly faults: readonly Diagnostic[];
  /** The content; `null` if the file is empty or cannot be parsed. */
  readonly data: unknown;
  /** True if `data` is the content of the file. */
  readonly isReadable: boolean;
  readonly #text: string;
  readonly #document: Document.Parsed;
  readonly #lines = new LineCounter();

  /** `name` appears in messages. */
  constructor(name: string, text: string, options: { rubySpelling?: boolean | undefined } = {}) {
    this.name = name;
    this.#text = text.length > MAX_YAML_CHARS ? '' : text;
    this.#document = parseDocument(this.#text, {
      lineCounter: this.#lines,
      prettyErrors: false,
      // `<<: *base` of YAML 1.1, with which people share settings between agents.
      merge: true,
    });
    const faults = this.#document.errors
      .filter((error) => error.code !== 'DUPLICATE_KEY')
      .map((error) => this.#fault(error.message.split('\n')[0]!, error.pos[0]));
    if (faults.length > 0) faults.push(...this.#strangeBlanks());
    if (text.length > MAX_YAML_CHARS) {
      faults.push(this.#fault(`the file is longer than ${MAX_YAML_CHARS} characters`, 0));
    }
    // With duplicate keys the rest of the file can still be checked.
    this.isReadable =
      text.length <= MAX_YAML_CHARS && this.#document.errors.every((error) => error.code === 'DUPLICATE_KEY');
    if (options.rubySpelling && this.isReadable) this.#dropColons();
    if (this.isReadable) faults.push(...this.#keyFaults());
    this.data = this.isReadable ? this.#read(faults) : null;
    this.faults = faults;
  }

  /** Returns the position of the key or value at `path`, or of its nearest existing ancestor. */
  placeOf(path: ConfigPath): Place {
    let node: unknown = this.#document.contents;
    let offset = rangeOf(node);
    for (const key of path) {
      if (isAlias(node)) node = node.resolve(this.#document);
      if (isMap(node)) {
        const pair = node.items.find((item) => keyOf(item) === String(key));
        if (!pair) break;
        offset = rangeOf(pair.key) ?? offset;
        node = pair.value;
      } else if (isSeq(node)) {
        const item = node.items[Number(key)];
        if (item === undefined) break;
        offset = rangeOf(item) ?? offset;
        node = item;
      } else break;
    }
    return this.#at(offset ?? 0);
  }

  /** Returns the position of `text` inside the value at `path`, or of the value if the text is not found. */
  placeOfText(path: ConfigPath, text: string): Place {
    const node = this.#document.getIn(path, true) as Node | undefined;
    const range = node?.range;
    const found = range ? this.#text.slice(range[0], range[1]).indexOf(text) : -1;
    return range && found >= 0 ? this.#at(range[0] + found) : this.placeOf(path);
  }

  #at(offset: number): Place {
    const { line, col } = this.#lines.linePos(offset);
    return { file: this.name, line: Math.max(1, line), column: Math.max(1, col) };
  }

  #fault(message: string, offset: number): Diagnostic {
    return { code: 'TEAM_SYNTAX', level: 'error', message, path: [], place: this.#at(offset) };
  }

  #read(faults: Diagnostic[]): unknown {
    try {
      return this.#document.toJS({ maxAliasCount: 100 });
    } catch (error) {
      faults.push(this.#fault((error as Error).message, 0));
      return null;
    }
  }

  #dropColons(): void {
    visit(this.#document, {
      Scalar: (_, node) => {
        if (node.type === 'PLAIN' && typeof node.value === 'string') node.value = withoutColon(node.value);
      },
    });
  }

  /** Reports duplicate keys, and keys that YAML reads differently from how they are written. */
  #keyFaults(): Diagnostic[] {
    const faults: Diagnostic[] = [];
    visit(this.#document, {
      Map: (_, map) => {
        const first = new Map<string, number>();
        for (const item of map.items) {
          const key = keyOf(item);
          const offset = rangeOf(item.key) ?? rangeOf(map) ?? 0;
          const before = first.get(key);
          if (before !== undefined) {
            const { line } = this.#at(before);
            faults.push(this.#fault(`the key "${key}" occurs twice; it is also in line ${line}`, offset));
            continue;
          }
          first.set(key, offset);
          const misread = misreadKey(item.key);
          if (misread !== undefined) faults.push(this.#fault(misread, offset));
        }
      },
    });
    return faults;
  }

  /** Reports characters that look like a space where YAML requires a space. They come from pasted text. */
  #strangeBlanks(): Diagnostic[] {
    return [...this.#text.matchAll(STRANGE_BLANK)].slice(0, MAX_STRANGE_BLANKS).map((found) => {
      const offset = found.index + found[0].length - 1;
      return this.#fault(`${nameOfBlank(found[0].at(-1)!)} is in the place of a space`, offset);
    });
  }
}

const MAX_STRANGE_BLANKS = 10;
/** A match ends with a blank that YAML does not know, in the indentation or after a colon or a dash. */
const STRANGE_BLANK = /(?:^[ \t]*|[:-][ \t]*)[\u00a0\u1680\u2000-\u200d\u202f\u205f\u2060\u3000\ufeff]/gm;
const IN_KEY = /[\u00a0\u1680\u2000-\u200d\u202f\u205f\u2060\u3000\ufeff]/;

const nameOfBlank = (char: string): string => {
  const code = `U+${char.codePointAt(0)!.toString(16).toUpperCase().padStart(4, '0')}`;
  return char === '\u00a0' ? `a no-break space (${code})` : `an invisible character (${code})`;
};

/** Describes a key that YAML reads differently from how it looks; `undefined` for other keys. */
function misreadKey(key: unknown): string | undefined {
  const { value, source } = isScalar(key) ? key : { value: key, source: undefined };
  if (value === null || value === undefined) {
    return source
      ? `the key ${source} means no value in YAML; write "${source}"`
      : 'a key is missing before ":"';
  }
  if (typeof value === 'number' && source !== undefined && source !== String(value)) {
    return `the key ${source} is the number ${value} in YAML; write "${source}"`;
  }
  const blank = typeof value === 'string' ? IN_KEY.exec(value) : null;
  return blank ? `the key "${value as string}" has ${nameOfBlank(blank[0])}` : undefined;
}

// Matches `:word`, `:words with blanks` and `:"quoted"`. A lone colon and `::` stay unchanged.
const withoutColon = (text: string): string =>
  /^:"(.*)"$/.exec(text)?.[1] ?? text.replace(/^:(?=[^\s:])/, '');

const keyOf = (pair: Pair): string => String(isScalar(pair.key) ? (pair.key as Scalar).value : pair.key);
const rangeOf = (node: unknown): number | undefined => (node as Node | null)?.range?.[0];

/** Converts the faults of a strict schema to diagnostics: unknown keys with a hint, wrong values with their path. */
export function schemaFaults(
  error: z.ZodError,
  known: (path: ConfigPath) => readonly string[],
  about: { agent?: string | undefined; file?: YamlFile | undefined },
): Diagnostic[] {
  const { agent, file } = about;
  const fault = (code: 'TEAM_KEY' | 'TEAM_VALUE', path: ConfigPath, message: string): Diagnostic => ({
    code,
    level: 'error',
    message,
    path,
    agent,
    place: file?.placeOf(path),
  });
  return error.issues.flatMap((issue) => {
    const path = issue.path as (string | number)[];
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => {
        const near = closestMatch(key, known(path));
        return fault(
          'TEAM_KEY',
          [...path, key],
          `unknown key "${key}"${near ? `; did you mean "${near}"?` : ''}`,
        );
      });
    }
    return [fault('TEAM_VALUE', path, `${path.join('.') || 'the file'}: ${issue.message}`)];
  });
}
