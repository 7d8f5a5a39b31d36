// Reads the configuration of a process from its environment: every variable is checked, all faults are reported at once, and
// the result is frozen. Values are trimmed, and an empty value counts as unset, so that `VAR=` means the default.
import { FabricError } from '../errors/error.ts';
import { isToken } from '../link/transport.ts';
import { cutText } from '../text/cut-text.ts';
import { redactUrl } from '../text/redact-url.ts';
import type { Environment } from './variable.ts';

export interface UrlOptions {
  /** Accepted protocols, such as `['ws:', 'wss:']`. */
  readonly protocols: readonly string[];
  /** A URL to show in a fault. */
  readonly example: string;
  /** Required ending of the URL, such as `/downstream`. */
  readonly ending?: string | undefined;
}

/** Spellings of true and false, ignoring case. */
export const BOOLEANS: Readonly<Record<string, boolean>> = Object.freeze({
  true: true,
  yes: true,
  on: true,
  1: true,
  false: false,
  no: false,
  off: false,
  0: false,
});

/** Reads variables one by one and collects their faults. In place of a faulty value it returns the fallback. */
export class EnvReader {
  readonly faults: string[] = [];
  readonly #env: Environment;

  constructor(env: Environment) {
    this.#env = env;
  }

  /** Reads any text. Returns `undefined` if unset. */
  text(name: string): string | undefined {
    return this.#env[name]?.trim() || undefined;
  }

  /** Reads a text without the pair of quotes around it, which `docker --env-file` keeps. Returns `undefined` if unset. */
  unquoted(name: string): string | undefined {
    const value = this.text(name);
    const [, inner] =
      /^(?:"([^"]*)"|'([^']*)')$/.exec(value ?? '')?.filter((part) => part !== undefined) ?? [];
    return inner === undefined ? value : inner.trim() || undefined;
  }

  /** Reads a whole number from `min` to `max`, in digits. */
  integer(name: string, fallback: number, min: number, max: number): number {
    const value = this.unquoted(name);
    if (value === undefined) return fallback;
    const number = Number(value);
    if (/^\d+$/.test(value) && number >= min && number <= max) return number;
    this.fault(name, value, `a whole number from ${min} to ${max}`);
    return fallback;
  }

  /** Reads a key of `choices`, ignoring case, and returns its entry. */
  choice<T>(
    name: string,
    fallback: T,
    choices: Readonly<Record<string, T>>,
    expected = `one of ${Object.keys(choices).join(', ')}`,
  ): T {
    const value = this.unquoted(name);
    if (value === undefined) return fallback;
    const key = value.toLowerCase();
    if (Object.hasOwn(choices, key)) return choices[key]!;
    this.fault(name, value, expected);
    return fallback;
  }

  /** Reads one of the spellings in `BOOLEANS`. */
  boolean(name: string, fallback: boolean): boolean {
    return this.choice(name, fallback, BOOLEANS, 'true or false');
  }

  /** Reads the items between separators, trimmed, without empty ones. @default separator a comma */
  list(name: string, separator: string | RegExp = ','): string[] {
    return (this.unquoted(name) ?? '')
      .split(separator)
      .map((item) => item.trim())
      .filter((item) => item !== '');
  }

  /** Reads a URL. Returns `undefined` if unset or faulty. */
  url(name: string, options: UrlOptions): string | undefined {
    const value = this.unquoted(name);
    return value !== undefined && this.checkUrl(name, value, options) ? value : undefined;
  }

  /** Checks that `value` is such a URL. Returns false and records a fault if it is not. */
  checkUrl(name: string, value: string, { protocols, example, ending = '' }: UrlOptions): boolean {
    const url = URL.parse(value);
    const hasEnding = value.endsWith(ending) && url?.pathname.endsWith(ending);
    const isValid = url?.hostname && protocols.includes(url.protocol) && hasEnding;
    const schemes = protocols.map((protocol) => `${protocol}//`).join(' or ');
    const end = ending ? ` and ends with ${ending}` : '';
    return this.check(
      name,
      value,
      Boolean(isValid),
      `a URL that begins with ${schemes}${end}, such as ${example}`,
    );
  }

  /** Reads a key or token: printable ASCII without blanks, since it goes into an HTTP header. Faults never quote its value. */
  secret(name: string): string | undefined {
    const value = this.unquoted(name);
    if (value === undefined || isToken(value)) return value;
    this.faults.push(`${name} contains a blank, a line break or a non-ASCII character; copy it again`);
    return undefined;
  }

  /** Reads the path in NAME_FILE. Records a fault if NAME is set, too. */
  fileOfSecret(name: string): string | undefined {
    const file = this.text(`${name}_FILE`);
    if (file !== undefined && this.text(name) !== undefined) {
      this.faults.push(`${name} and ${name}_FILE are both set; unset one of them`);
      return undefined;
    }
    return file;
  }

  /** Returns `isValid`, and records a fault if it is false. */
  check(name: string, value: string, isValid: boolean, expected: string): boolean {
    if (!isValid) this.fault(name, value, expected);
    return isValid;
  }

  /** Records that the value of a variable is not as expected. */
  fault(name: string, value: string, expected: string): void {
    this.faults.push(`${name} is "${printable(value)}"; expected ${expected}`);
  }
}

/**
 * Runs `read` and returns its result, deeply frozen.
 * @throws {CONFIG_INVALID} with every fault that the reader collected, also in `details.faults`
 */
export function readEnv<T extends object>(env: Environment, read: (reader: EnvReader) => T): Readonly<T> {
  const reader = new EnvReader(env);
  const config = read(reader);
  if (reader.faults.length > 0) throw configInvalid(reader.faults);
  return deepFreeze(config);
}

/** Creates the error for a configuration with these faults. */
export function configInvalid(faults: readonly string[]): FabricError {
  const count = faults.length === 1 ? 'a fault' : `${faults.length} faults`;
  return new FabricError('CONFIG_INVALID', `The configuration has ${count}:\n  ${faults.join('\n  ')}`, {
    details: { faults: [...faults] },
  });
}

// Users paste keys into the wrong variable, and keys must not reach a log. A value that may be a key is cut to its first
// characters.
export function printable(value: string): string {
  const safe = redactUrl(value);
  return /^[\w-]{24,}$/.test(safe) ? cutText(safe, 4) : cutText(safe, 120);
}

function deepFreeze<T extends object>(value: T): Readonly<T> {
  for (const part of Object.values(value)) if (typeof part === 'object' && part !== null) deepFreeze(part);
  return Object.freeze(value);
}
