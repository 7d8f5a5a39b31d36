// The fence around pino. JSON lines on stderr, secrets masked by field name, long texts cut.
import { pino } from 'pino';
import type { LogFields, Logger, LogLevel } from './log.ts';

/** Fields whose value is never written, wherever they stand in a line's first two levels. */
export const SECRET_FIELDS = ['authorization', 'apiKey', 'api_key', 'token', 'password', 'secret', 'cookie'];

const LONGEST_TEXT = 512;

// Causes carry stacks and may quote what a stranger sent: a line keeps the name, the code and a cut message.
const errorFields = (error: unknown): LogFields => {
  if (!(error instanceof Error)) return { message: String(error).slice(0, LONGEST_TEXT) };
  const { code } = error as { code?: unknown };
  return {
    name: error.name,
    ...(code === undefined ? {} : { code }),
    message: error.message.slice(0, LONGEST_TEXT),
    ...(error.stack ? { stack: error.stack.slice(0, 2048) } : {}),
    ...(error.cause === undefined ? {} : { cause: errorFields(error.cause) }),
  };
};

const cut = (fields: LogFields): LogFields => {
  const safe: LogFields = {};
  for (const [key, value] of Object.entries(fields)) {
    if (typeof value === 'string' && value.length > LONGEST_TEXT)
      safe[key] = `${value.slice(0, LONGEST_TEXT)}…`;
    else if (key === 'error') safe[key] = errorFields(value);
    else safe[key] = value;
  }
  return safe;
};

/** A logger that writes JSON lines to `fd`. @default fd 2 (stderr) */
export function createLog(name: string, level: LogLevel, fd = 2): Logger {
  const root = pino(
    {
      name,
      level,
      base: { name, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: { paths: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`]), censor: '[secret]' },
    },
    pino.destination({ fd, sync: true }),
  );
  const wrap = (log: pino.Logger): Logger => ({
    debug: (message, fields) => log.debug(fields ? cut(fields) : {}, message),
    info: (message, fields) => log.info(fields ? cut(fields) : {}, message),
    warn: (message, fields) => log.warn(fields ? cut(fields) : {}, message),
    error: (message, fields) => log.error(fields ? cut(fields) : {}, message),
    with: (fields) => wrap(log.child(cut(fields))),
  });
  return wrap(root);
}
