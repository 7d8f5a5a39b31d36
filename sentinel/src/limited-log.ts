// A log that a remote node cannot flood: most lines of a sentinel report what a node did, and a node may repeat it without end.
// In each second it writes a bounded number of lines of one kind, about one node, and in total; one further line counts the rest.
import type { Clock, LogFields, Logger, Timer } from '@fame-fabric/shared';

export interface LogLimits {
  /** Lines with the same message. */
  readonly perKind: number;
  /** Lines about the same node: the same `path`, or the same `remote` of a connection that has not attached. */
  readonly perNode: number;
  readonly total: number;
}

const LOG_LIMITS: LogLimits = Object.freeze({ perKind: 10, perNode: 10, total: 30 });

const WINDOW_MS = 1_000;
/** A node is recognized by the end of its path: lines about bad frames have no more of it. */
const NODE_CHARS = 24;

/** Lines of the current window. Only written lines have an entry in `byNode`, so its size is bounded too. */
class Window {
  readonly byKind = new Map<string, number>();
  readonly byNode = new Map<string, number>();
  /** Suppressed lines by their message. Messages are constant texts. */
  readonly suppressed = new Map<string, number>();
  sum = 0;

  /** Counts a line; returns `false` if it must not be written. */
  take(message: string, node: string | undefined, limits: LogLimits): boolean {
    const ofKind = this.byKind.get(message) ?? 0;
    const ofNode = node === undefined ? 0 : (this.byNode.get(node) ?? 0);
    if (ofKind >= limits.perKind || ofNode >= limits.perNode || this.sum >= limits.total) {
      this.suppressed.set(message, (this.suppressed.get(message) ?? 0) + 1);
      return false;
    }
    this.byKind.set(message, ofKind + 1);
    if (node !== undefined) this.byNode.set(node, ofNode + 1);
    this.sum++;
    return true;
  }
}

/** Limits `info`, `warn` and `error`; `debug` is for an operator who wants every line. A message is a constant text. */
export class LimitedLog implements Logger {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #limits: LogLimits;
  #window: Window | undefined;
  // A window ends by its timer, so a wall clock that is set back does not prolong it.
  #timer: Timer | undefined;

  constructor({ clock, log }: { clock: Clock; log: Logger }, limits: LogLimits = LOG_LIMITS) {
    this.#clock = clock;
    this.#log = log;
    this.#limits = limits;
  }

  debug(message: string, fields?: LogFields): void {
    this.#log.debug(message, fields);
  }

  info(message: string, fields?: LogFields): void {
    if (this.#take(message, fields)) this.#log.info(message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    if (this.#take(message, fields)) this.#log.warn(message, fields);
  }

  error(message: string, fields?: LogFields): void {
    if (this.#take(message, fields)) this.#log.error(message, fields);
  }

  with(fields: LogFields): Logger {
    return {
      debug: (message, more) => this.debug(message, { ...fields, ...more }),
      info: (message, more) => this.info(message, { ...fields, ...more }),
      warn: (message, more) => this.warn(message, { ...fields, ...more }),
      error: (message, more) => this.error(message, { ...fields, ...more }),
      with: (more) => this.with({ ...fields, ...more }),
    };
  }

  /** Reports the lines that were suppressed since the last report, and begins a new window. */
  flush(): void {
    this.#timer?.stop();
    const suppressed = this.#window?.suppressed;
    this.#window = undefined;
    this.#timer = undefined;
    if (suppressed === undefined || suppressed.size === 0) return;
    let lines = 0;
    for (const count of suppressed.values()) lines += count;
    this.#log.warn('suppressed log lines', { lines, byMessage: Object.fromEntries(suppressed) });
  }

  #take(message: string, { path, remote }: LogFields = {}): boolean {
    this.#window ??= new Window();
    this.#timer ??= this.#clock.after(WINDOW_MS, () => this.flush());
    const node = path ?? remote;
    const end = typeof node === 'string' ? node.slice(-NODE_CHARS) : undefined;
    return this.#window.take(message, end, this.#limits);
  }
}
