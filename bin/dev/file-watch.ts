// Watches files by their directories, because editors replace a file instead of writing to it. Several changes within a short time
// count as one.
import { type FSWatcher, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import { type Clock, systemClock, type Timer } from '@fame-fabric/shared';

const QUIET_MS = 80;

export class FileWatch {
  readonly #onChange: (path: string) => void;
  readonly #clock: Clock;
  readonly #files = new Set<string>();
  readonly #directories = new Map<string, FSWatcher>();
  #timer: Timer | undefined;

  /** `onChange` receives the last file that changed. */
  constructor(onChange: (path: string) => void, clock: Clock = systemClock) {
    this.#onChange = onChange;
    this.#clock = clock;
  }

  get size(): number {
    return this.#files.size;
  }

  /** Watches the file at an absolute path. A missing file is watched if its directory exists. */
  add(path: string): void {
    if (this.#files.has(path)) return;
    this.#files.add(path);
    const directory = dirname(path);
    if (this.#directories.has(directory)) return;
    try {
      const watcher = watch(directory, (_event, name) => this.#changed(directory, name));
      watcher.on('error', () => this.#forget(directory)); // the directory is gone
      this.#directories.set(directory, watcher);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      this.#files.delete(path);
    }
  }

  close(): void {
    this.#timer?.stop();
    for (const directory of [...this.#directories.keys()]) this.#forget(directory);
  }

  #changed(directory: string, name: string | null): void {
    const path = [...this.#files].find(
      (file) => dirname(file) === directory && (name === null || basename(file) === name),
    );
    if (path === undefined) return;
    this.#timer?.stop();
    this.#timer = this.#clock.after(QUIET_MS, () => this.#onChange(path));
  }

  #forget(directory: string): void {
    this.#directories.get(directory)?.close();
    this.#directories.delete(directory);
  }
}
