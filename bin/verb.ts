// The contract between `fame` and its verbs, and what most verbs use: arguments and settings in, text and an exit code out.
import { FabricError } from '@fame-fabric/shared';
import { type Environment, escapeControls, onAbort, printableJson } from '@fame-fabric/shared/internal';

export interface VerbInput {
  readonly positionals: readonly string[];
  readonly flags: Readonly<Record<string, string | boolean | undefined>>;
  /** The environment of the process, completed by its .env file. */
  readonly env: Environment;
}

/** A mistake in the command line. It is printed with the usage of its verb; exit code 2. */
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

/** The value of `--port`, `undefined` if it was not given. @throws {UsageError} */
export function readPort(input: VerbInput): number | undefined {
  const text = textFlag(input, 'port');
  if (text === undefined) return undefined;
  if (/^\d+$/.test(text) && Number(text) <= 65_535) return Number(text);
  throw new UsageError(`--port takes a port, a whole number from 0 to 65535, not "${text}"`);
}

/** The settings, with `--port` in place of FAME_LISTENER_PORT if it was given. @throws {UsageError} */
export function envWithPort(input: VerbInput): Environment {
  const port = readPort(input);
  return port === undefined ? input.env : { ...input.env, FAME_LISTENER_PORT: String(port) };
}

/** The value of a text flag, `undefined` if it was not given. */
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

export const writeJson = (value: unknown): void => writeOut(`${printableJson(value, 2)}\n`);

/** Writes one message of an agent process to stderr. */
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
