// The last bound on memory: a share of what the process may use. Above it the sentinel refuses attaches, and then closes the
// nodes with the largest queues. The sweeper checks it.
import { totalmem } from 'node:os';

/** Share of the limit above which load is shed. The rest is for garbage and for the system. */
const CEILING_SHARE = 0.6;

/** Memory of the container (cgroup) or, without a smaller limit, of the machine, in bytes. */
export function systemMemoryBytes(): number {
  const constrained = process.constrainedMemory();
  const total = totalmem();
  // 0 and a number beyond the memory of the machine both mean that there is no limit.
  return constrained > 0 && constrained < total ? constrained : total;
}

export class MemoryCeiling {
  /** In bytes of resident memory. */
  readonly ceilingBytes: number;
  readonly #rssBytes: () => number;
  #excessBytes = 0;

  /** @param rssBytes resident memory of the process now */
  constructor(
    { memoryLimitBytes }: { memoryLimitBytes: number },
    rssBytes: () => number = () => process.memoryUsage.rss(),
  ) {
    this.ceilingBytes = Math.floor(memoryLimitBytes * CEILING_SHARE);
    this.#rssBytes = rssBytes;
  }

  /** Measures the process; returns the bytes above the ceiling, 0 if there are none. */
  check(): number {
    this.#excessBytes = Math.max(0, this.#rssBytes() - this.ceilingBytes);
    return this.#excessBytes;
  }

  /** Resident memory of the process now, in bytes. */
  get usedBytes(): number {
    return this.#rssBytes();
  }

  /** True if the last check found the process above its ceiling. */
  get isExceeded(): boolean {
    return this.#excessBytes > 0;
  }
}
