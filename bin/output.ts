// Output of the verbs: results go to stdout, messages for people to stderr.
import { escapeControls, printableJson } from '@fame-fabric/shared/internal';

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

/** Calls `onClosed` when the reader of stdout has gone, as in `fame trace | head -1`. */
export function onStdoutClosed(onClosed: () => void): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    onClosed();
  });
}
