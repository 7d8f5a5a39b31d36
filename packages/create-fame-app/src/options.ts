// The command line of create-fame-app.
import { parseArgs } from 'node:util';

export const TEMPLATES = {
  chat: 'a chat agent with a tool',
  team: 'narrow agents that share one address, wired in YAML',
  web: 'the chat agent, and a React page that talks to it',
} as const;
export type Template = keyof typeof TEMPLATES;

export const MODELS = {
  offline: 'the small built-in model, without an API key',
  openai: 'OpenAI, with the key that you write into .env',
  ollama: 'a local model, served by Ollama',
} as const;
export type Model = keyof typeof MODELS;

/** The values of the command line. Missing values are asked for at a terminal, and have defaults elsewhere. */
export interface Options {
  readonly folder: string | undefined;
  readonly template: Template | undefined;
  readonly model: Model | undefined;
  readonly asksNothing: boolean;
  readonly installs: boolean;
  readonly wants: 'project' | 'help' | 'version';
}

/** The command line is wrong. The message says how to correct it. */
export class UsageError extends Error {}

/** @throws {UsageError} */
export function readOptions(args: readonly string[]): Options {
  const { values, positionals } = parse(args);
  if (positionals.length > 1) {
    throw new UsageError(`Expected one folder; remove "${positionals[1]}". Run with --help for the options.`);
  }
  return {
    folder: positionals[0],
    template: oneOf('--template', values.template, TEMPLATES),
    model: oneOf('--model', values.model, MODELS),
    asksNothing: values.yes ?? false,
    installs: !values['no-install'],
    wants: values.help ? 'help' : values.version ? 'version' : 'project',
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        template: { type: 'string', short: 't' },
        model: { type: 'string', short: 'm' },
        yes: { type: 'boolean', short: 'y' },
        'no-install': { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
        version: { type: 'boolean', short: 'v' },
      },
    });
  } catch (error) {
    const [sentence] = (error as Error).message.split('. ');
    throw new UsageError(`${sentence}. Run with --help for the options.`);
  }
}

function oneOf<Name extends string>(
  flag: string,
  value: string | undefined,
  known: Readonly<Record<Name, string>>,
): Name | undefined {
  if (value === undefined || Object.hasOwn(known, value)) return value as Name | undefined;
  throw new UsageError(`${flag} is one of ${Object.keys(known).join(', ')}, not "${value}".`);
}

const list = (values: Readonly<Record<string, string>>): string =>
  Object.entries(values)
    .map(([name, about]) => `    ${name.padEnd(9)} ${about}`)
    .join('\n');

export const HELP = `Creates a project with a Fame Fabric agent of your own.

Usage: npm create fame-app@latest [FOLDER] -- [OPTIONS]

  -t, --template NAME
${list(TEMPLATES)}
  -m, --model NAME
${list(MODELS)}
  -y, --yes      ask nothing; defaults: folder fame-app, template chat, model offline
  --no-install   create the files only
  -h, --help     show this help
  -v, --version  show the version

With npx, the options need no --: npx create-fame-app my-agent --template team
`;
