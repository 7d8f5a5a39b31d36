// Reads streams of events in tests.
import type { Readable } from 'node:stream';

export interface ReadEvent {
  readonly event?: string;
  readonly id?: string;
  readonly data: unknown;
}

/** Reads a response of `inject` with `payloadAsStream` to its end. */
export async function streamText(response: { stream(): Readable }): Promise<string> {
  return Buffer.concat(await response.stream().toArray()).toString();
}

/** Parses events. Data that is JSON is parsed too; comments are left out. */
export const eventsIn = (text: string): ReadEvent[] =>
  text.split('\n\n').flatMap((block) => {
    const lines = block.split('\n').filter((line) => line !== '' && !line.startsWith(':'));
    if (lines.length === 0) return [];
    const fields = Object.fromEntries(
      lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
    );
    return [{ ...fields, data: jsonOr(fields.data ?? '') }];
  });

function jsonOr(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
