// The health file of an agent process, for health checks that start no Node process. Its modification time is recent while the agents
// are served: the process runs its event loop, and the sentinel answers its heartbeats. A check compares that time with the clock.
import { rmSync, writeFileSync } from 'node:fs';
import { type Clock, type LinkState, type Logger, systemClock, type Timer } from '@fame-fabric/shared';

/** Time between two writes, in ms. */
const WRITE_MS = 5_000;

export interface HealthFileDeps {
  readonly link: { readonly state: LinkState };
  readonly log: Logger;
  readonly clock?: Clock | undefined;
}

export class HealthFile {
  readonly #path: string;
  readonly #link: HealthFileDeps['link'];
  readonly #log: Logger;
  readonly #timer: Timer;
  #hasFailed = false;

  /** Writes the file now, and then every 5 s while the link is attached. */
  constructor(path: string, { link, log, clock = systemClock }: HealthFileDeps) {
    this.#path = path;
    this.#link = link;
    this.#log = log;
    this.#write();
    this.#timer = clock.every(WRITE_MS, () => this.#write());
  }

  /** Stops writing and removes the file: the agents are no longer served. A file that cannot be removed becomes too old. */
  remove(): void {
    this.#timer.stop();
    try {
      rmSync(this.#path, { force: true });
    } catch (error) {
      this.#log.warn('cannot remove the health file (FAME_HEALTH_FILE)', { path: this.#path, error });
    }
  }

  #write(): void {
    if (this.#link.state !== 'attached') return;
    try {
      writeFileSync(this.#path, `${process.pid}\n`, { mode: 0o600 });
      this.#hasFailed = false;
    } catch (error) {
      if (!this.#hasFailed)
        this.#log.warn('cannot write the health file (FAME_HEALTH_FILE)', { path: this.#path, error });
      this.#hasFailed = true;
    }
  }
}
