// The contract between `fame` and its verbs, and the functions that most verbs share: flags, output, signals.
import { FabricError } from '@fame-fabric/shared';
import { type Environment, escapeControls, onAbort, printableJson } from '@fame-fabric/shared/internal';

export interface VerbInput {
  readonly positionals: readonly string[];
  readonly flags: Readonly<Record<string, string | boolean | undefined>>;
  /** The environment of the process, with the variables of the .env file. */
  readonly env: Environment;
}

/** A fault in the command line. Printed with the usage of the verb; exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

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

/** Writes a result to stdout. */
export const writeOut = (text: string): void => {
  process.stdout.write(text);
};

/** Writes a message for people to stderr. */
export const writeNote = (text: string): void => {
  process.stderr.write(text);
};

/** Writes a result to stdout as JSON. */
export const writeJson = (value: unknown): void => writeOut(`${printableJson(value, 2)}\n`);

/** Writes one escaped line to stderr. */
export const writeMessage = (message: string): void => writeNote(`${escapeControls(message)}\n`);

/** The reason of a verb that was interrupted; exit code 130. */
export const interrupted = (): FabricError => new FabricError('CALL_CANCELLED', 'Interrupted');

/** Aborts `signal` at the first SIGINT or SIGTERM. The verb ends by itself, with exit code 130. */
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

/** Resolves when `signal` aborts. */
export const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => void onAbort(signal, resolve));

/** Calls `onClosed` when the reader of stdout has gone, as in `fame trace | head -1`. */
export function onStdoutClosed(onClosed: () => void): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    onClosed();
  });
}
