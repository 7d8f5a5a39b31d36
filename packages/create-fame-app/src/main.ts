#!/usr/bin/env node
// `npm create fame-app`: asks three questions, writes a project and installs its packages. Runs on Node 20.12 too, and needs no
// other package of Fame Fabric.
import { spawnSync } from 'node:child_process';
import { relative } from 'node:path';
import { HELP, type Options, readOptions, UsageError } from './options.ts';
import { createProject, folderFault, type ProjectOptions, VERSION } from './project.ts';
import { ask, DEFAULTS } from './questions.ts';

async function main(args: readonly string[]): Promise<number> {
  const options = readOptions(args);
  if (options.wants === 'help') {
    process.stdout.write(HELP);
    return 0;
  }
  if (options.wants === 'version') {
    console.log(VERSION);
    return 0;
  }
  // Before the questions, so that no answer is lost.
  const fault = options.folder === undefined ? undefined : folderFault(options.folder);
  if (fault !== undefined) throw new UsageError(fault);
  const isTerminal = Boolean(process.stdin.isTTY && process.stdout.isTTY);
  const project = options.asksNothing || !isTerminal ? withDefaults(options) : await ask(options);
  if (!project) return 130;
  const path = createProject(project);
  const folder = relative('', path) || '.';
  console.log(`Created ${folder} (template ${project.template}, model ${project.model}).`);
  const manager = packageManager(process.env);
  const hasPackages = options.installs && install(path, manager);
  console.log(nextSteps(folder, project, manager, hasPackages));
  return options.installs && !hasPackages ? 1 : 0;
}

const withDefaults = ({ folder, template, model }: Options): ProjectOptions => ({
  folder: folder ?? DEFAULTS.folder,
  template: template ?? DEFAULTS.template,
  model: model ?? DEFAULTS.model,
});

/** The package manager that runs this program; npm if it was started by hand. */
const packageManager = ({ npm_config_user_agent: agent = '' }: NodeJS.ProcessEnv): string =>
  /^(pnpm|yarn|bun)\//.exec(agent)?.[1] ?? 'npm';

/** Returns true if the installation succeeded. Its output is shown. */
function install(path: string, manager: string): boolean {
  const quiet = manager === 'npm' ? ['--no-fund', '--no-audit', '--loglevel=error'] : [];
  console.log(`Installing packages (${manager} install)...`);
  const { status, error } = spawnSync(manager, ['install', ...quiet], {
    cwd: path,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  });
  if (error) console.error(`${manager} could not be started: ${error.message}`);
  return status === 0;
}

function nextSteps(
  folder: string,
  { template, model }: ProjectOptions,
  manager: string,
  hasPackages: boolean,
): string {
  const steps = [
    ...(folder === '.' ? [] : [`cd ${folder}`]),
    ...(hasPackages ? [] : [`${manager} install`]),
    ...(model === 'openai' ? ['# write your key into .env'] : []),
    `${manager} run dev`,
  ];
  const then =
    template === 'web'
      ? 'Then open the page that it prints, and ask: Where is my order 1042?'
      : `Then, in another terminal: ${manager} run chat, and ask: Where is my order 1042?`;
  return ['', 'Next:', ...steps.map((step) => `  ${step}`), then].join('\n');
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  const { message, syscall } = error as NodeJS.ErrnoException;
  const isUsage = error instanceof UsageError;
  // Errors of the file system, such as a folder that must not be written, have a `syscall`.
  if (!isUsage && syscall === undefined) throw error;
  console.error(message);
  process.exitCode = isUsage ? 2 : 1;
}
