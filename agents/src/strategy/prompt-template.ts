// A template with placeholders, `{{ name }}`, that is filled in any number of steps. Each step returns a new template. Filled-in
// values are not scanned for placeholders, so a user's braces cannot inject another value.
import { FabricError } from '@fame-fabric/shared';

const PLACEHOLDER = /\{\{\s*(\w+)\s*\}\}/g;

type Part = string | { readonly name: string };

export class PromptTemplate {
  readonly #parts: readonly Part[];

  constructor(source: string | readonly Part[]) {
    this.#parts = typeof source === 'string' ? partsOf(source) : source;
  }

  /** Fills in the given values. Names without a placeholder are ignored. */
  render(values: Readonly<Record<string, string | number | boolean>>): PromptTemplate {
    const fill = (part: Part): Part =>
      typeof part !== 'string' && Object.hasOwn(values, part.name) ? String(values[part.name]) : part;
    return new PromptTemplate(this.#parts.map(fill));
  }

  /** Names of the open placeholders, each once, in the order of the text. */
  get unfilled(): readonly string[] {
    return [...new Set(this.#parts.flatMap((part) => (typeof part === 'string' ? [] : part.name)))];
  }

  get isFilled(): boolean {
    return this.unfilled.length === 0;
  }

  /** The whole text. @throws {PROMPT_UNFILLED} while a placeholder is open */
  get text(): string {
    const { unfilled } = this;
    if (unfilled.length > 0) {
      throw new FabricError(
        'PROMPT_UNFILLED',
        `The prompt has no value for ${unfilled.join(', ')}. Pass it to render().`,
        {
          details: { unfilled: [...unfilled] },
        },
      );
    }
    return this.#parts.join('');
  }

  /** Formats the text with open placeholders as `{{ name }}`. */
  toString(): string {
    return this.#parts.map((part) => (typeof part === 'string' ? part : `{{ ${part.name} }}`)).join('');
  }
}

function partsOf(source: string): Part[] {
  const parts: Part[] = [];
  let at = 0;
  for (const match of source.matchAll(PLACEHOLDER)) {
    if (match.index > at) parts.push(source.slice(at, match.index));
    parts.push({ name: match[1]! });
    at = match.index + match[0].length;
  }
  if (at < source.length) parts.push(source.slice(at));
  return parts;
}
