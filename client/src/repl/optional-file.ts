// A file that the prompt does not depend on, such as its history. The first failure is reported; after it, nothing is written.
import { readFileSync } from 'node:fs';
import { errorMessage } from '@fame-fabric/shared/internal';

export class OptionalFile {
  readonly path: string;
  readonly #onFault: (reason: string) => void;
  #hasFailed = false;

  /** @param onFault called once if the file cannot be used */
  constructor(path: string, onFault: (reason: string) => void) {
    this.path = path;
    this.#onFault = onFault;
  }

  get hasFailed(): boolean {
    return this.#hasFailed;
  }

  /** Returns the content, or `undefined` if there is no file. Call it inside `attempt`. */
  read(): string | undefined {
    try {
      return readFileSync(this.path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Runs `operation` and returns its result, or `fallback` if it throws. */
  attempt<T>(operation: () => T, fallback: T): T {
    try {
      return operation();
    } catch (error) {
      if (!this.#hasFailed) this.#onFault(errorMessage(error));
      this.#hasFailed = true;
      return fallback;
    }
  }
}
