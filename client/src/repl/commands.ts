// The slash commands of the prompt. To send a message that begins with a slash, the user types two slashes.
import { closestMatch } from '@fame-fabric/shared/internal';

const COMMANDS = [
  { name: 'help', about: 'show this list' },
  { name: 'system', argument: 'TEXT', about: 'start a new conversation with this system prompt' },
  { name: 'new', about: 'start a new conversation (also /clear)' },
  { name: 'resume', argument: '[N|ID]', about: 'list earlier conversations, or continue one' },
  { name: 'retry', about: 'replace the last answer: send the last message again' },
  { name: 'history', argument: '[N]', about: 'show this conversation, or its last N messages' },
  { name: 'save', argument: 'FILE', about: 'write this conversation to a new file' },
  { name: 'model', argument: '[NAME]', about: 'show which model answers, or choose one of the agent' },
  { name: 'tokens', about: 'show the tokens of the turns since the start of the prompt' },
  { name: 'agents', about: 'list the attached nodes' },
  { name: 'reasoning', argument: 'on|off', about: 'show the reasoning of the model before its answers' },
  { name: 'trace', argument: 'on|off', about: 'print a line for every envelope' },
  { name: 'leave', about: 'leave; keeps the conversation, also in a pipe' },
  { name: 'end', about: 'end the conversation and leave' },
  { name: 'exit', about: 'leave (also exit, quit or Ctrl-D); --resume continues the conversation' },
] as const satisfies readonly { name: string; argument?: string; about: string }[];

export type CommandName = (typeof COMMANDS)[number]['name'];

/** A parsed line of input. */
export type Line =
  | { kind: 'empty' }
  | { kind: 'message'; text: string }
  | { kind: 'command'; name: CommandName; argument: string }
  | { kind: 'unknown'; name: string; suggestion: string | undefined };

const NAMES: readonly string[] = COMMANDS.map(({ name }) => name);
/** Names of other programs for the same commands. */
const ALIASES: Readonly<Record<string, CommandName>> = {
  quit: 'exit',
  bye: 'exit',
  clear: 'new',
  '?': 'help',
};
const isCommand = (name: string): name is CommandName => NAMES.includes(name);

/** Parses a line of input. */
export function parseLine(input: string): Line {
  const text = input.trim();
  if (text === '') return { kind: 'empty' };
  if (/^(?:exit|quit)$/i.test(text)) return { kind: 'command', name: 'exit', argument: '' };
  if (!text.startsWith('/')) return { kind: 'message', text };
  if (text.startsWith('//')) return { kind: 'message', text: text.slice(1) };
  const [, word = '', argument = ''] = /^\/(\S*)\s*([\s\S]*)$/.exec(text) ?? [];
  const typed = word.toLowerCase();
  const name = Object.hasOwn(ALIASES, typed) ? ALIASES[typed]! : typed;
  if (isCommand(name)) return { kind: 'command', name, argument: argument.trim() };
  return { kind: 'unknown', name: word, suggestion: closestMatch(name, NAMES) };
}

/** True if the command takes an argument. */
export const takesArgument = (name: CommandName): boolean =>
  COMMANDS.some((command) => command.name === name && 'argument' in command);

/** Returns the commands that begin with `text`. */
export const completeCommand = (text: string): string[] =>
  NAMES.map((name) => `/${name}`).filter((name) => name.startsWith(text.toLowerCase()));

/** Returns the output of `/help`. */
export function helpText(): string {
  const rows = COMMANDS.map((command) => {
    const usage = `/${command.name}${'argument' in command ? ` ${command.argument}` : ''}`;
    return `  ${usage.padEnd(18)} ${command.about}`;
  });
  return `${rows.join('\n')}
  Ctrl-C stops the running answer; twice leaves.
  Alt-Enter, Ctrl-J or a backslash at the end of the line begins a new line of the message. A paste is one message.
  Tab completes commands, Ctrl-R searches earlier messages, Ctrl-Z suspends.
  A message that begins with "/" is written "//".`;
}
