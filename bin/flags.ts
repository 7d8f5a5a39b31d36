// Flags that several verbs have in common.
import type { Environment } from '@fame-fabric/shared/internal';
import { UsageError, type VerbInput } from './verb.ts';

/** Reads `500ms`, `30s`, `2m` or a plain number of seconds as milliseconds. @throws {UsageError} */
export function readDuration(text: string, flag: string): number {
  const [, number, unit = 's'] = /^(\d+(?:\.\d+)?)(ms|s|m)?$/.exec(text) ?? [];
  const ms = Number(number) * { ms: 1, s: 1_000, m: 60_000 }[unit as 'ms' | 's' | 'm'];
  if (!(ms >= 1 && ms <= 86_400_000)) {
    throw new UsageError(`${flag} takes a duration such as 500ms, 30s or 2m, not "${text}"`);
  }
  return ms;
}

/** Returns the value of `--port`, or `undefined` without the flag. @throws {UsageError} */
export function readPort(input: VerbInput): number | undefined {
  const text = textFlag(input, 'port');
  if (text === undefined) return undefined;
  if (/^\d+$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw new UsageError(`--port takes a port, a whole number from 0 to 65535, not "${text}"`);
}

/** Returns the environment. `--port` takes precedence over FAME_LISTENER_PORT. @throws {UsageError} */
export function envWithPort(input: VerbInput): Environment {
  const port = readPort(input);
  return port === undefined ? input.env : { ...input.env, FAME_LISTENER_PORT: String(port) };
}

/** Returns the value of a text flag, or `undefined` without the flag. */
export const textFlag = ({ flags }: VerbInput, name: string): string | undefined => {
  const value = flags[name];
  return typeof value === 'string' ? value : undefined;
};

/** Returns the values of a repeatable flag. */
export const textFlags = ({ flags }: VerbInput, name: string): readonly string[] => {
  const values = flags[name];
  return Array.isArray(values) ? values : [];
};

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const MAX_LIFETIME_MS = 3_650 * 86_400_000;

/** Reads a lifetime such as `30s`, `90m`, `12h` or `30d` as milliseconds; a unit is required. @throws {UsageError} */
export function readLifetime(text: string | undefined, flag: string): number | undefined {
  if (text === undefined) return undefined;
  const [, number, unit = ''] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  const ms = Number(number) * (UNITS[unit] ?? Number.NaN);
  if (ms > 0 && ms <= MAX_LIFETIME_MS) return ms;
  throw new UsageError(`${flag} takes a time such as 90m, 12h or 30d, at most 3650d, not "${text}"`);
}
