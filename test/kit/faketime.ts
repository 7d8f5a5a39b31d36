// Wall clocks of processes that a test sets, while the monotonic clock runs as it is. Needs libfaketime (Debian's package
// `libfaketime`), which is unpacked into `node_modules/.cache` if the machine does not have it.
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DebianPackage } from './debian-package.ts';
import { temporaryDirectory } from './sentinel.ts';

const PACKAGE = new DebianPackage('libfaketime', 'usr/lib/*/faketime/libfaketime.so.1');

export const ensureFaketime = (): void => PACKAGE.ensure();

/** True if processes can have clocks of their own. In CI the tests that need them always run. */
export const hasFaketime = (): boolean => PACKAGE.isUsable;

/** The wall clock of one or several processes. */
export class FakeWallClock {
  readonly #file = join(temporaryDirectory(), 'offset');
  #seconds = 0;

  /** @param seconds offset from the clock of the machine at the start */
  constructor(seconds = 0) {
    this.set(seconds);
  }

  /** Environment of a process that has this clock. */
  get env(): Record<string, string> {
    return {
      LD_PRELOAD: PACKAGE.path!,
      FAKETIME_TIMESTAMP_FILE: this.#file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      NO_FAKE_STAT: '1',
    };
  }

  /** Sets the clock forwards by `seconds`, or back if negative, at once. */
  step(seconds: number): void {
    this.set(this.#seconds + seconds);
  }

  /** Sets the clock to an offset from that of the machine, at once. */
  set(seconds: number): void {
    this.#seconds = seconds;
    // The process may read the file at any time.
    writeFileSync(`${this.#file}.new`, seconds < 0 ? `${seconds}` : `+${seconds}`);
    renameSync(`${this.#file}.new`, this.#file);
  }
}
