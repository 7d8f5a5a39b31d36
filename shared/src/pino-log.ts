// Logging through pino: JSON lines on stderr, or text on a terminal. Masks secrets by field name, cuts long texts and escapes
// controls. The only file that imports pino.
import { isatty } from 'node:tty';
import { pino } from 'pino';
import { escapeJson } from './cli/escape-controls.ts';
import { isJsonLog, type LogFormat, textOfLogLine } from './cli/log-format.ts';
import type { LogFields, Logger, LogLevel } from './log.ts';
import { activeLogFields } from './log-context.ts';
import { tracing } from './telemetry/tracing.ts';
import { cutText } from './text/cut-text.ts';

/** Names of fields whose values are masked, at the top level of a line and one level below. */
export const SECRET_FIELDS = ['authorization', 'apiKey', 'api_key', 'token', 'password', 'secret', 'cookie'];

const MAX_TEXT_CHARS = 512;
const MAX_STACK_CHARS = 2_048;

// The texts of errors are cut: stacks are long, and a message may quote another node.
const errorFields = (error: unknown): LogFields => {
  if (!(error instanceof Error)) return { message: cutText(String(error), MAX_TEXT_CHARS, '') };
  const { code } = error as { code?: unknown };
  return {
    name: error.name,
    code,
    message: cutText(error.message, MAX_TEXT_CHARS, ''),
    stack: error.stack && cutText(error.stack, MAX_STACK_CHARS, ''),
    cause: error.cause === undefined ? undefined : errorFields(error.cause),
  };
};

const cutFields = (fields: LogFields): LogFields => {
  const safe: LogFields = {};
  for (const [key, value] of Object.entries(fields)) {
    if (key === 'error') safe[key] = errorFields(value);
    else safe[key] = typeof value === 'string' ? cutText(value, MAX_TEXT_CHARS) : value;
  }
  return safe;
};

// The trace of the active span, in processes that trace: `00-TRACE-SPAN-FLAGS`.
const activeTrace = (): LogFields | undefined => {
  const traceparent = tracing?.active();
  return traceparent === undefined ? undefined : { trace_id: traceparent.slice(3, 35) };
};

/** Creates a logger that writes lines to `fd`. @default fd 2 (stderr) @default format text on a terminal, else JSON */
export function createLog(name: string, level: LogLevel, fd = 2, format: LogFormat = 'auto'): Logger {
  const toLine = isJsonLog(format, isatty(fd)) ? escapeJson : textOfLogLine;
  const destination = pino.destination({ fd, sync: true });
  const root = pino(
    {
      name,
      level,
      base: { name, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`]), censor: '[secret]' },
    },
    // Lines are escaped whole: names of fields, child fields and messages alike.
    { write: (line: string) => void destination.write(toLine(line)) },
  );
  // The fields of a line replace those of its logger, which replace those of the work. Child loggers of pino would write a field twice.
  const wrap = (own: LogFields): Logger => {
    const all = (fields?: LogFields): LogFields =>
      cutFields({ ...activeTrace(), ...activeLogFields(), ...own, ...fields });
    return {
      debug(message, fields) {
        if (root.isLevelEnabled('debug')) root.debug(all(fields), message);
      },
      info(message, fields) {
        if (root.isLevelEnabled('info')) root.info(all(fields), message);
      },
      warn(message, fields) {
        if (root.isLevelEnabled('warn')) root.warn(all(fields), message);
      },
      error(message, fields) {
        if (root.isLevelEnabled('error')) root.error(all(fields), message);
      },
      with: (fields) => wrap({ ...own, ...fields }),
    };
  };
  return wrap({});
}
