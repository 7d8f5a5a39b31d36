// An append-only file, the cheapest journal that survives a power cut: entries that arrive during a write share the next write and its
// sync. A floor for the cost of durable conversations.
import { fdatasync, openSync, write } from 'node:fs';

export class AppendLog {
  readonly #file: number;
  #lines: string[] = [];
  #waiting: { resolve: () => void; reject: (error: Error) => void }[] = [];
  #isWriting = false;

  constructor(path: string) {
    this.#file = openSync(path, 'a');
  }

  /** Appends an entry; resolves when it is on the disk. */
  append(entry: object): Promise<void> {
    this.#lines.push(`${JSON.stringify(entry)}\n`);
    const written = new Promise<void>((resolve, reject) => this.#waiting.push({ resolve, reject }));
    if (!this.#isWriting) {
      this.#isWriting = true;
      // Entries of one tick share a write.
      queueMicrotask(() => this.#writeNext());
    }
    return written;
  }

  #writeNext(): void {
    const waiting = this.#waiting;
    const text = this.#lines.join('');
    this.#waiting = [];
    this.#lines = [];
    const settle = (error: Error | null): void => {
      for (const { resolve, reject } of waiting) {
        if (error) reject(error);
        else resolve();
      }
      if (this.#waiting.length > 0) this.#writeNext();
      else this.#isWriting = false;
    };
    write(this.#file, text, (error) => {
      if (error) settle(error);
      else fdatasync(this.#file, settle);
    });
  }
}
