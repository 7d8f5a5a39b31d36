// What every verb of `fame` gets and gives: parsed flags and the streams of the process in, an exit code out.
import { FabricError } from '@fame-fabric/shared';

export type Environment = Readonly<Record<string, string | undefined>>;

export interface VerbInput {
  readonly positionals: readonly string[];
  readonly flags: Readonly<Record<string, string | boolean | undefined>>;
  /** The settings: the environment of the process and its .env file. */
  readonly env: Environment;
}

/** A mistake in how a command was typed: shown with the usage of its verb, exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Reads `500ms`, `30s`, `2m` or a plain number of seconds. @throws {UsageError} */
export function readDuration(text: string, flag: string): number {
  const [, number, unit = 's'] = /^(\d+(?:\.\d+)?)(ms|s|m)?$/.exec(text) ?? [];
  const ms = Number(number) * { ms: 1, s: 1_000, m: 60_000 }[unit as 'ms' | 's' | 'm'];
  if (!(ms >= 1 && ms <= 86_400_000)) {
    throw new UsageError(`${flag} takes a time such as 500ms, 30s or 2m, not "${text}"`);
  }
  return ms;
}

/** The port of `--port`, `undefined` when it was not given. @throws {UsageError} */
export function readPort(input: VerbInput): number | undefined {
  const text = textFlag(input, 'port');
  if (text === undefined) return undefined;
  if (/^\d+$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw new UsageError(`--port takes a port, a whole number from 0 to 65535, not "${text}"`);
}

/** The settings, with `--port` in place of FAME_LISTENER_PORT where it was given. @throws {UsageError} */
export function envWithPort(input: VerbInput): Environment {
  const port = readPort(input);
  return port === undefined ? input.env : { ...input.env, FAME_LISTENER_PORT: String(port) };
}

/** Text of a flag, `undefined` when it was not given. */
export const textFlag = ({ flags }: VerbInput, name: string): string | undefined => {
  const value = flags[name];
  return typeof value === 'string' ? value : undefined;
};

export const writeOut = (text: string): void => {
  process.stdout.write(text);
};
export const writeNote = (text: string): void => {
  process.stderr.write(text);
};
export const writeJson = (value: unknown): void => writeOut(`${JSON.stringify(value, null, 2)}\n`);

/** Why a verb ended that was interrupted; exit code 130. */
export const interrupted = (): FabricError => new FabricError('CALL_CANCELLED', 'Interrupted');

/** Aborts at the first SIGINT or SIGTERM; a verb that uses it ends by itself, with exit code 130. */
export function onInterrupt(): { signal: AbortSignal; release(): void } {
  const controller = new AbortController();
  const abort = (): void => controller.abort(interrupted());
  process.once('SIGINT', abort);
  process.once('SIGTERM', abort);
  return {
    signal: controller.signal,
    release() {
      process.removeListener('SIGINT', abort);
      process.removeListener('SIGTERM', abort);
    },
  };
}
