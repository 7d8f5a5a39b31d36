// Fills `%{token}` in directives and in the descriptions of functions, in one pass: values are not scanned again, so a customer's
// name cannot inject a token. `%%{` is an escaped `%{`.
import { FabricError } from '@fame-fabric/shared';

/** Context of a value. */
export interface RunContext {
  readonly agent: string;
  readonly hop: number;
  readonly conversationId: string | undefined;
  readonly signal: AbortSignal;
}

type InterpolationValue = string | number | boolean;
/** Values by token. A function is called only if its token occurs, once each time an agent gets its turn. */
export type Interpolations = Readonly<
  Record<
    string,
    InterpolationValue | ((context: RunContext) => InterpolationValue | Promise<InterpolationValue>)
  >
>;

const TOKEN = /%?%\{([^{}\s]+)\}/g;
/** Prefix of tokens with the arguments that the previous agent handed over, such as `%{handoff.sentiment}`. */
export const HANDOFF_PREFIX = 'handoff.';

/** The tokens of a text, each once. */
export function tokensIn(text: string): string[] {
  const tokens = [...text.matchAll(TOKEN)]
    .filter(([whole]) => !whole.startsWith('%%'))
    .map(([, token]) => token!);
  return [...new Set(tokens)];
}

/** Values of the tokens for one agent. Each is computed at most once, however many texts use it. */
export class TokenValues {
  readonly #sources: readonly Interpolations[];
  readonly #extras: Readonly<Record<string, unknown>>;
  readonly #context: RunContext;
  readonly #values = new Map<string, Promise<string>>();

  /** The first of `sources` that has a token wins. */
  constructor(
    sources: readonly Interpolations[],
    extras: Readonly<Record<string, unknown>>,
    context: RunContext,
  ) {
    this.#sources = sources;
    this.#extras = extras;
    this.#context = context;
  }

  /** `text` with every token replaced; a token without a value becomes nothing. */
  async fill(text: string): Promise<string> {
    const tokens = tokensIn(text);
    const values = await Promise.all(tokens.map((token) => this.#value(token)));
    const byToken = new Map(tokens.map((token, i) => [token, values[i]!]));
    return text.replace(TOKEN, (whole, token: string) =>
      whole.startsWith('%%') ? whole.slice(1) : (byToken.get(token) ?? ''),
    );
  }

  #value(token: string): Promise<string> {
    let value = this.#values.get(token);
    if (!value) {
      value = this.#read(token);
      this.#values.set(token, value);
    }
    return value;
  }

  async #read(token: string): Promise<string> {
    if (token.startsWith(HANDOFF_PREFIX)) {
      const name = token.slice(HANDOFF_PREFIX.length);
      const value = Object.hasOwn(this.#extras, name) ? this.#extras[name] : undefined;
      if (value === undefined || value === null) return '';
      return typeof value === 'object' ? JSON.stringify(value) : String(value);
    }
    const source = this.#sources.find((one) => Object.hasOwn(one, token));
    const given = source?.[token];
    const value = typeof given === 'function' ? await given(this.#context) : given;
    if (value === undefined || value === null) return '';
    if (typeof value === 'object' || typeof value === 'function') {
      throw new FabricError(
        'TEAM_CONFIG',
        `The value of %{${token}} is neither a text, a number nor a boolean`,
      );
    }
    return String(value);
  }
}
