// Structured logs. Every line tells an outcome, with its facts as fields. This is the port; `pino-log.ts` is the one file
// that knows pino. Nothing here ever receives a payload: fields are ids, codes, counts and sizes.

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent';
export type LogFields = Record<string, unknown>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that adds these fields to every line. */
  with(fields: LogFields): Logger;
}

const nothing = (): void => {};

export const silentLog: Logger = {
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  with: () => silentLog,
};

/** The names that FAME_LOG_LEVEL accepts, in any case; TRACE to CRITICAL are the spellings of other Fame nodes. */
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
