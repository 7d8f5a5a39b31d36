// A tool call in one line that a person can read: `[get_current_weather Paris]`.
import { inert } from '../inert-text.ts';

const MAX_CHARS = 100;

/** The call with the values of its arguments, made inert and cut to about a line. */
export function toolLine({ name = 'a tool', args = {} }: { name?: string; args?: object }): string {
  const values = Object.values(args).map((value: unknown) =>
    typeof value === 'string' ? value : JSON.stringify(value),
  );
  const text = [name, values.join(', ')].filter(Boolean).join(' ').replace(/\s+/g, ' ');
  return `[${inert(text.length > MAX_CHARS ? `${text.slice(0, MAX_CHARS).toWellFormed()}…` : text)}]`;
}
