// A file that the prompt can do without, such as its history. The first failure is reported; afterwards nothing is written.
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

  /** Its content, `undefined` if there is no file. Call it in `attempt`. */
  read(): string | undefined {
    try {
      return readFileSync(this.path, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Runs `operation`. Returns `fallback` if it fails. */
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
