// Watches files by their directories, because editors replace a file instead of writing to it. Several changes within a short time
// count as one.
import { type FSWatcher, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import { type Clock, systemClock, type Timer } from '@fame-fabric/shared';

const QUIET_MS = 80;

export interface FileWatchOptions {
  /** Receives the last file that changed. */
  onChange: (path: string) => void;
  /** Receives the error of a directory that cannot be watched. */
  onError: (error: Error) => void;
  clock?: Clock | undefined;
}

export class FileWatch {
  readonly #options: FileWatchOptions;
  readonly #clock: Clock;
  readonly #files = new Set<string>();
  /** `undefined` for a directory that cannot be watched. */
  readonly #directories = new Map<string, FSWatcher | undefined>();
  #timer: Timer | undefined;

  constructor(options: FileWatchOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** Watches the file at an absolute path. A missing file is watched if its directory exists. */
  add(path: string): void {
    if (this.#files.has(path)) return;
    this.#files.add(path);
    const directory = dirname(path);
    if (this.#directories.has(directory)) return;
    try {
      const watcher = watch(directory, (_event, name) => this.#changed(directory, name));
      watcher.on('error', (error) => this.#fail(directory, error));
      this.#directories.set(directory, watcher);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') this.#files.delete(path);
      else this.#fail(directory, error as Error);
    }
  }

  /**
   * Drops the changes so far, and watches the same files anew. A directory that was removed and created again, for example by
   * `git checkout`, needs a new watcher.
   */
  renew(): void {
    const files = [...this.#files];
    this.close();
    for (const file of files) this.add(file);
  }

  close(): void {
    this.#timer?.stop();
    for (const watcher of this.#directories.values()) watcher?.close();
    this.#directories.clear();
    this.#files.clear();
  }

  #changed(directory: string, name: string | null): void {
    const path = [...this.#files].find(
      (file) => dirname(file) === directory && (name === null || basename(file) === name),
    );
    if (path === undefined) return;
    this.#timer?.stop();
    this.#timer = this.#clock.after(QUIET_MS, () => this.#options.onChange(path));
  }

  #fail(directory: string, error: Error): void {
    this.#directories.get(directory)?.close();
    this.#directories.set(directory, undefined);
    this.#options.onError(error);
  }
}
