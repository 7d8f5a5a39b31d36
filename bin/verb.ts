// The contract between `fame` and its verbs.
import type { Environment } from '@fame-fabric/shared/internal';

export interface VerbInput {
  readonly positionals: readonly string[];
  readonly flags: Readonly<Record<string, string | boolean | readonly string[] | undefined>>;
  /** The environment of the process, with the variables of the .env file. */
  readonly env: Environment;
}

/** A fault in the command line. Printed with the usage of the verb; exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
