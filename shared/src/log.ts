// The logging port. A log line describes an outcome, with its facts as fields: ids, codes, counts and sizes, never payloads.
// `pino-log.ts` implements it.

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';
export type LogFields = Record<string, unknown>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** Returns a logger that adds these fields to every line. */
  with(fields: LogFields): Logger;
}

const discard = (): void => {};

/** A logger that discards every line. */
export const silentLog: Logger = {
  debug: discard,
  info: discard,
  warn: discard,
  error: discard,
  with: () => silentLog,
};

/** Log levels by the names that FAME_LOG_LEVEL accepts, in any case. Other Fame nodes use `warning` and `critical`. */
export const LOG_LEVELS: Readonly<Record<string, LogLevel>> = Object.freeze({
  trace: 'trace',
  debug: 'debug',
  info: 'info',
  warn: 'warn',
  warning: 'warn',
  error: 'error',
  critical: 'error',
  silent: 'silent',
});
