// The text of a policy as plain data, with the position of every key and value. The only file of the sentinel that imports `yaml`; a
// sentinel without a policy does not load it. JSON is YAML, so policies in JSON load too.
import { type Document, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';

/** Keys and list positions from the top. */
export type PolicyPath = readonly (string | number)[];

export interface Place {
  /** From 1. */
  readonly line: number;
  readonly column: number;
}

export interface PolicyFault extends Place {
  readonly level: 'error' | 'warning';
  readonly message: string;
}

const MAX_ALIASES = 100;

export class PolicyYaml {
  /** The content; undefined if the text cannot be read. */
  readonly data: unknown;
  readonly faults: readonly PolicyFault[];
  readonly #document: Document.Parsed;
  readonly #lines = new LineCounter();

  constructor(text: string) {
    this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false });
    const faults = this.#document.errors.map(({ message, pos }) =>
      this.#fault(message.split('\n')[0]!, pos[0]),
    );
    try {
      this.data = faults.length === 0 ? this.#document.toJS({ maxAliasCount: MAX_ALIASES }) : undefined;
    } catch (error) {
      faults.push(this.#fault((error as Error).message, 0));
    }
    this.faults = faults;
  }

  /** Position of the key or value at `path`, or of its nearest ancestor that exists. */
  placeOf(path: PolicyPath): Place {
    let node: unknown = this.#document.contents;
    let offset = offsetOf(node);
    for (const key of path) {
      if (isMap(node)) {
        const pair = node.items.find(
          (item) => String(isScalar(item.key) ? item.key.value : item.key) === key,
        );
        if (pair === undefined) break;
        offset = offsetOf(pair.key) ?? offset;
        node = pair.value;
      } else if (isSeq(node)) {
        node = node.items[Number(key)];
        offset = offsetOf(node) ?? offset;
      } else break;
    }
    return this.#at(offset ?? 0);
  }

  #at(offset: number): Place {
    const { line, col } = this.#lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  }

  #fault(message: string, offset: number): PolicyFault {
    return { level: 'error', message, ...this.#at(offset) };
  }
}

const offsetOf = (node: unknown): number | undefined => (node as Node | null | undefined)?.range?.[0];
