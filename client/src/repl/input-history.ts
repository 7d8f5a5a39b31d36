// The messages that the arrow keys and Ctrl-R recall. An entry is a whole message, which may have several lines.

/** Maximum number of entries. */
const MAX_ENTRIES = 1_000;

export class InputHistory {
  /** Newest first. */
  readonly #entries: string[];
  /** Index of the recalled entry; -1 for the text that the user was typing. */
  #index = -1;
  #draft = '';

  constructor(entries: readonly string[] = []) {
    this.#entries = entries.slice(0, MAX_ENTRIES);
  }

  /** Adds a message and ends the recall. An equal older entry is removed. */
  add(message: string): void {
    this.#index = -1;
    if (message.trim() === '') return;
    const known = this.#entries.indexOf(message);
    if (known >= 0) this.#entries.splice(known, 1);
    this.#entries.unshift(message);
    this.#entries.splice(MAX_ENTRIES);
  }

  /** Returns the next older entry, or `undefined` at the oldest. `text` is what the user has typed. */
  older(text: string): string | undefined {
    if (this.#index + 1 >= this.#entries.length) return undefined;
    if (this.#index < 0) this.#draft = text;
    return this.#entries[++this.#index];
  }

  /** Returns the next newer entry, at the end the text that the user had typed; `undefined` behind it. */
  newer(): string | undefined {
    if (this.#index < 0) return undefined;
    this.#index--;
    return this.#index < 0 ? this.#draft : this.#entries[this.#index];
  }

  /** Returns the index of the newest entry from index `from` that contains `query`, or -1. Ignores case. */
  find(query: string, from: number): number {
    const wanted = query.toLowerCase();
    return this.#entries.findIndex((entry, index) => index >= from && entry.toLowerCase().includes(wanted));
  }

  entry(index: number): string | undefined {
    return this.#entries[index];
  }
}
