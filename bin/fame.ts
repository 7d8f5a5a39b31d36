#!/usr/bin/env node
// The one command. It finds the verb, checks how it was typed, runs it, and turns whatever went wrong into one message and
// an exit code. What the verbs do stands in the rooms; which there are stands in verbs.ts.
import { existsSync } from 'node:fs';
import module from 'node:module';
import { parseArgs } from 'node:util';
import { EXIT, exitCodeOf, explain } from '@fame-fabric/client/exit-codes';
import { nearest } from '@fame-fabric/client/nearest';
import { overview, verbHelp } from './help.ts';
import { UsageError } from './verb.ts';
import { VERBS, type Verb } from './verbs.ts';

module.enableCompileCache?.();

const NODE_NEEDED = 24;

async function main([name, ...rest]: readonly string[]): Promise<number> {
  if (Number.parseInt(process.versions.node, 10) < NODE_NEEDED) {
    const found = `fame needs Node ${NODE_NEEDED} or newer, this is ${process.versions.node}.`;
    process.stderr.write(
      `${found} \`make\` uses the one that npm installed; so does \`npx node dist/fame.js\`.\n`,
    );
    return EXIT.usage;
  }
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    const about = rest[0] !== undefined && Object.hasOwn(VERBS, rest[0]) ? verbHelp(rest[0]) : overview();
    process.stdout.write(about);
    return EXIT.ok;
  }
  const word = name === '--version' || name === '-v' ? 'version' : name;
  if (!Object.hasOwn(VERBS, word)) {
    const near = nearest(word, Object.keys(VERBS));
    const hint = near ? `Did you mean \`npx fame ${near}\`?` : '`npx fame help` lists the commands.';
    process.stderr.write(`fame has no command "${word}". ${hint}\n`);
    return EXIT.usage;
  }
  const verb = VERBS[word]!;
  try {
    const input = readInput(word, verb, rest);
    if (input.flags.help) {
      process.stdout.write(verbHelp(word));
      return EXIT.ok;
    }
    if (existsSync('.env')) process.loadEnvFile('.env');
    const { run } = await verb.load();
    return await run(input);
  } catch (error) {
    if (error instanceof UsageError) {
      process.stderr.write(
        `${error.message}\nUsage: ${verb.usage}\n\`npx fame ${word} --help\` says more.\n`,
      );
      return EXIT.usage;
    }
    process.stderr.write(`${explain(error)}\n`);
    return exitCodeOf(error);
  }
}

/** @throws {UsageError} */
function readInput(word: string, verb: Verb, args: readonly string[]) {
  const flags = { ...verb.flags, help: { type: 'boolean', short: 'h', about: 'this text' } as const };
  const options = Object.fromEntries(
    Object.entries(flags).map(([flag, { type, short }]) => [flag, { type, ...(short ? { short } : {}) }]),
  );
  let parsed: { values: Record<string, string | boolean | undefined>; positionals: string[] };
  try {
    parsed = parseArgs({ args: [...args], options, allowPositionals: true }) as typeof parsed;
  } catch (error) {
    throw new UsageError(flagFault(error, Object.keys(flags)));
  }
  const { values, positionals } = parsed;
  if (!values.help && verb.most !== undefined && positionals.length > verb.most) {
    throw new UsageError(`${word} does not know what to do with "${positionals[verb.most]}"`);
  }
  return { positionals, flags: values, env: process.env };
}

// parseArgs explains itself at length; a person wants to know which flag, and which one it should have been.
function flagFault(error: unknown, known: readonly string[]): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code !== 'ERR_PARSE_ARGS_UNKNOWN_OPTION') return message;
  const given = /'(-[^']+)'/.exec(message)?.[1] ?? '';
  const near = nearest(given.replace(/^-+/, ''), known);
  return `There is no flag ${given}.${near ? ` Did you mean --${near}?` : ''}`;
}

// `fame doctor | head -1` ends when its reader does. A verb that listens itself has its own way to end.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  if (process.stdout.listenerCount('error') === 1) process.exit(EXIT.ok);
});

const code = await main(process.argv.slice(2));
// Open handles must not hold the process up, and what was written must still arrive where it is read slowly.
process.stdout.write('', () => process.exit(code));
