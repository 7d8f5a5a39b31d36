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
    this.#document = parseDocument(this.#text, { lineCounter: this.#lines, prettyErrors: false });
    const faults = this.#document.errors.map((error) => {
      const [first = ''] = error.message.split('\n');
      return this.#fault(error.code === 'DUPLICATE_KEY' ? 'duplicate key' : first, error.pos[0]);
    });
    if (text.length > MAX_YAML_CHARS) {
      faults.push(this.#fault(`the file is longer than ${MAX_YAML_CHARS} characters`, 0));
    }
    // With duplicate keys the rest of the file can still be checked.
    this.isReadable =
      text.length <= MAX_YAML_CHARS && this.#document.errors.every((error) => error.code === 'DUPLICATE_KEY');
    if (options.rubySpelling && this.isReadable) faults.push(...this.#dropColons());
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

  #dropColons(): Diagnostic[] {
    const faults: Diagnostic[] = [];
    visit(this.#document, {
      Scalar: (_, node) => {
        if (node.type === 'PLAIN' && typeof node.value === 'string') node.value = withoutColon(node.value);
      },
    });
    visit(this.#document, {
      Map: (_, map) => {
        const seen = new Set<string>();
        for (const item of map.items) {
          const key = keyOf(item);
          const isReported = this.#document.errors.some((error) => error.pos[0] === rangeOf(item.key));
          if (seen.has(key) && !isReported) faults.push(this.#fault('duplicate key', rangeOf(item.key) ?? 0));
          seen.add(key);
        }
      },
    });
    return faults;
  }
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
