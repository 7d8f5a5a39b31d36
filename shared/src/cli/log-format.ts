// The format of log lines: text for people at a terminal, JSON for files and supervisors.
import { systemClock } from '../async/clock.ts';
import { escapeControls, escapeJson, escapeLine } from './escape-controls.ts';

/** `auto` is text on a terminal, and JSON elsewhere. */
export type LogFormat = 'auto' | 'json' | 'text';

/** Formats by the values that FAME_LOG_FORMAT accepts. */
export const LOG_FORMATS: Readonly<Record<string, LogFormat>> = Object.freeze({
  auto: 'auto',
  json: 'json',
  text: 'text',
});

/** True if log lines are written as JSON. `isTerminal` is true if they go to a terminal. */
export const isJsonLog = (format: LogFormat, isTerminal: boolean): boolean =>
  format === 'json' || (format === 'auto' && !isTerminal);

/** Formats a line about the start or end of a process. Such lines do not depend on the log level. */
export function lifeLine(
  name: string,
  text: string,
  asJson: boolean,
  level: 'info' | 'warn' | 'error' = 'info',
): string {
  if (!asJson) return `${escapeControls(text)}\n`;
  const time = new Date(systemClock.now()).toISOString();
  return escapeJson(`${JSON.stringify({ level, time, name, pid: process.pid, msg: text })}\n`);
}

/** Formats a JSON line of the log as text: time, level, message and fields. Other lines are only escaped. */
export function textOfLogLine(line: string): string {
  const entry = entryOf(line);
  if (!entry) return `${escapeControls(line)}\n`;
  const { level, time, name: _name, pid: _pid, msg, ...fields } = entry;
  const shown = Object.entries(fields).map(([key, value]) => `${key}=${fieldText(value)}`);
  const head = `${String(time).slice(11, 23)} ${String(level).toUpperCase().padEnd(5)}`;
  return `${escapeControls(head)} ${escapeLine([String(msg), ...shown].join(' '))}\n`;
}

/** Returns the fields of a line of the log; `undefined` for other lines, such as those of a crash. */
function entryOf(line: string): Record<string, unknown> | undefined {
  try {
    const entry = JSON.parse(line) as unknown;
    return typeof entry === 'object' && entry !== null && 'msg' in entry ? { ...entry } : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

// Omits the stack of an error, which is for files.
function fieldText(value: unknown): string {
  if (typeof value === 'string') return /\s/.test(value) ? JSON.stringify(value) : value;
  const { message, stack } = (value ?? {}) as { message?: unknown; stack?: unknown };
  return JSON.stringify(typeof stack === 'string' ? message : value);
}
