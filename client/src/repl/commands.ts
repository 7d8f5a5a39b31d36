// The words that begin with a slash. A line that begins with two slashes is a message that begins with one.
import { nearest } from '../nearest.ts';

export interface Command {
  readonly name: string;
  readonly argument?: string;
  readonly about: string;
}

export const COMMANDS: readonly Command[] = [
  { name: 'help', about: 'this list' },
  { name: 'system', argument: 'TEXT', about: 'start a new conversation with this system prompt' },
  { name: 'new', about: 'start a new conversation' },
  { name: 'retry', about: 'ask the last message again' },
  { name: 'history', about: 'show this conversation' },
  { name: 'model', about: 'show which model answers' },
  { name: 'agents', about: 'list who is attached' },
  { name: 'trace', argument: 'on|off', about: 'print the metadata of every envelope' },
  { name: 'leave', about: 'leave; npx fame chat --resume goes on with the conversation' },
  { name: 'exit', about: 'end the conversation (also exit, quit or Ctrl-D)' },
];

/** What a line of input asks for. */
export type Line =
  | { kind: 'message'; text: string }
  | { kind: 'nothing' }
  | { kind: 'command'; name: string; argument: string }
  | { kind: 'unknown'; name: string; suggestion: string | undefined };

const NAMES = COMMANDS.map(({ name }) => name);

export function readLine(input: string): Line {
  const text = input.trim();
  if (text === '') return { kind: 'nothing' };
  if (/^(?:exit|quit)$/i.test(text)) return { kind: 'command', name: 'exit', argument: '' };
  if (!text.startsWith('/')) return { kind: 'message', text };
  if (text.startsWith('//')) return { kind: 'message', text: text.slice(1) };
  const [, word = '', argument = ''] = /^\/(\S*)\s*([\s\S]*)$/.exec(text) ?? [];
  const name = word.toLowerCase() === 'quit' ? 'exit' : word.toLowerCase();
  if (NAMES.includes(name)) return { kind: 'command', name, argument: argument.trim() };
  return { kind: 'unknown', name: word, suggestion: nearest(name, NAMES) };
}

export function helpText(): string {
  const rows = COMMANDS.map(({ name, argument, about }) => {
    const usage = `/${name}${argument ? ` ${argument}` : ''}`;
    return `  ${usage.padEnd(16)} ${about}`;
  });
  return `${rows.join('\n')}
  Ctrl-C stops the answer that is being written; twice leaves.
  Several lines can be pasted as one message. A message that begins with "/" is written "//".`;
}
