// The `fame` command: finds the verb, checks its arguments, runs it, and converts every failure to one message and an exit
// code. The verbs are listed in verbs.ts; each has a file in verbs/.
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import {
  closestMatch,
  EXIT,
  escapeControls,
  exitCodeOf,
  explainError,
  isTracingRequested,
  naylenceWarnings,
} from '@fame-fabric/shared/internal';
import { overview, verbHelp } from './help.ts';
import { isNodeRecent, MIN_NODE_VERSION, nodeAdvice } from './node-version.ts';
import { writeMessage } from './output.ts';
import { UsageError, type VerbInput } from './verb.ts';
import { type Flag, VERBS, type Verb } from './verbs.ts';

/** Commands whose sentinel and agents report the variables without an effect in the format of their log. */
const LOGGING = new Set(['sentinel', 'doors', 'agent', 'up', 'dev']);

/** Commands whose processes start their traces themselves. */
const TRACED_BY_PROCESS = new Set(['sentinel', 'agent', 'up', 'dev']);

async function main([name, ...rest]: readonly string[]): Promise<number> {
  if (!isNodeRecent()) {
    return fail(
      `fame needs Node ${MIN_NODE_VERSION} or newer; this is ${process.versions.node}. ${nodeAdvice()}`,
    );
  }
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    const [about] = rest;
    if (about !== undefined && !Object.hasOwn(VERBS, about)) return unknownCommand(about);
    process.stdout.write(about === undefined ? overview() : verbHelp(about));
    return EXIT.ok;
  }
  const word = name === '--version' || name === '-v' ? 'version' : name;
  if (!Object.hasOwn(VERBS, word)) return unknownCommand(word);
  const verb = VERBS[word]!;
  try {
    const input = readInput(word, verb, rest);
    if (input.flags.help || (verb.isHelpAlone && input.positionals.length === 0)) {
      process.stdout.write(verbHelp(word));
      return EXIT.ok;
    }
    if (!LOGGING.has(word)) for (const line of naylenceWarnings(input.env)) writeMessage(line);
    const { run } = await verb.load();
    if (TRACED_BY_PROCESS.has(word) || !isTracingRequested(input.env)) return await run(input);
    const { startTracing } = await import('@fame-fabric/shared/telemetry');
    const traces = await startTracing(input.env, { service: word === 'doors' ? 'fame-doors' : 'fame' });
    try {
      return await run(input);
    } finally {
      await traces?.stop();
    }
  } catch (error) {
    if (error instanceof UsageError) {
      return fail(
        `${error.message}\nUsage: ${verb.usage}\nRun \`npx fame-fabric ${word} --help\` for details.`,
      );
    }
    return fail(explainError(error), exitCodeOf(error));
  }
}

function unknownCommand(word: string): number {
  const match = closestMatch(word, Object.keys(VERBS));
  const hint = match
    ? `Did you mean \`npx fame-fabric ${match}\`?`
    : '`npx fame-fabric help` lists the commands.';
  return fail(`fame has no command "${word}". ${hint}`);
}

function fail(message: string, code: number = EXIT.usage): number {
  process.stderr.write(`${escapeControls(message)}\n`);
  return code;
}

/** Parses the arguments of a verb and loads the .env file. @throws {UsageError} */
function readInput(word: string, verb: Verb, args: readonly string[]): VerbInput {
  const flags = { ...verb.flags, help: { type: 'boolean', short: 'h', about: 'show this help' } as const };
  const options = Object.fromEntries(
    Object.entries<Flag>(flags).map(([flag, { type, short, isRepeatable }]) => [
      flag,
      { type, ...(short ? { short } : {}), ...(isRepeatable ? { multiple: true } : {}) },
    ]),
  );
  let parsed: { values: VerbInput['flags']; positionals: string[] };
  try {
    parsed = parseArgs({ args: [...args], options, allowPositionals: true }) as typeof parsed;
  } catch (error) {
    throw new UsageError(flagErrorText(error, Object.keys(flags)));
  }
  const { values, positionals } = parsed;
  if (!values.help) {
    if (verb.maxPositionals !== undefined && positionals.length > verb.maxPositionals) {
      throw new UsageError(`${word} takes no argument "${positionals[verb.maxPositionals]}"`);
    }
    if (existsSync('.env')) process.loadEnvFile('.env');
  }
  return { positionals, flags: values, env: process.env };
}

// The message of parseArgs about an unknown flag is long, and suggests no flag.
function flagErrorText(error: unknown, known: readonly string[]): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ERR_PARSE_ARGS_INVALID_OPTION_VALUE') {
    const flag = /'(?:-\w, )?(--[\w-]+)/.exec(message)?.[1];
    if (flag === undefined) return message;
    return /ambiguous/.test(message)
      ? `${flag} takes a value that does not begin with a dash. To pass such a value, write ${flag}=VALUE`
      : /does not take/.test(message)
        ? `${flag} takes no value`
        : `${flag} takes a value`;
  }
  if (code !== 'ERR_PARSE_ARGS_UNKNOWN_OPTION') return message;
  const given = /'(-[^']+)'/.exec(message)?.[1] ?? '';
  const match = closestMatch(given.replace(/^-+/, ''), known);
  return `There is no flag ${given}.${match ? ` Did you mean --${match}?` : ''}`;
}

// Exit when the reader of stdout is gone, as in `fame doctor | head -1`. A verb with its own listener handles the error itself.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  if (process.stdout.listenerCount('error') === 1) process.exit(EXIT.ok);
});

const code = await main(process.argv.slice(2));
// Open handles must not keep the process alive, and a slow reader must still receive all output.
process.stdout.write('', () => process.exit(code));
