// `npm create fame-app`: from an empty folder to an answer of the agent's own tool, with nothing of this repository but a registry
// that serves its packages. Needs the npm registry for the packages of others.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { machineEnvironment } from '../test/kit/install-packages.ts';
import { cleanEnv, type Exit, freePort, Proc } from '../test/kit/processes.ts';
import { KEYS, ShellScreen } from '../test/kit/screen.ts';
import { temporaryDirectory } from '../test/kit/sentinel.ts';
import { Registry } from './test-registry.ts';

const machine = (...command: [string, ...string[]]): string =>
  execFileSync(command[0], command.slice(1), { encoding: 'utf8', env: machineEnvironment() }).trim();

let registry: Registry;
/** Settings of npm: our registry, and the certificates of the machine. */
let npmSettings: Record<string, string>;

beforeAll(async () => {
  registry = await Registry.start();
  const userConfig = join(temporaryDirectory(), 'npmrc');
  writeFileSync(userConfig, `//127.0.0.1:${registry.port}/:_authToken=test\n`);
  npmSettings = {
    NPM_CONFIG_REGISTRY: registry.url,
    NPM_CONFIG_USERCONFIG: userConfig,
    NPM_CONFIG_GLOBALCONFIG: machine('npm', 'config', 'get', 'globalconfig'),
    NPM_CONFIG_CACHE: temporaryDirectory(),
  };
  const publish = join(import.meta.dirname, 'publish.ts');
  const published = await finish(new Proc(process.execPath, [publish], { env: npmSettings }));
  expect(published, published.output).toMatchObject({ code: 0 });
  registry.upstream = machine('npm', 'config', 'get', 'registry').replace(/\/$/, '');
}, 300_000);
afterAll(() => registry.close());

/** The Node that runs the tests, and that of the machine if it is older than the agents need. */
const NODES = [
  ['Node 24', dirname(process.execPath)],
  ...(Number.parseInt(machine('node', '--version').slice(1), 10) < 24
    ? [['an older Node, and the packages with Node 24', dirname(machine('which', 'node'))] as const]
    : []),
] as const;

/** A user in a folder of their own. */
class User {
  readonly folder: string;
  readonly env: Record<string, string>;

  constructor(folder: string, node: string, env: Record<string, string> = {}) {
    this.folder = folder;
    const path = [node, dirname(machine('which', 'npm')), cleanEnv().PATH].join(delimiter);
    this.env = { ...npmSettings, PATH: path, ...env };
  }

  start(command: string, ...args: string[]): Proc {
    return new Proc(command, args, { cwd: this.folder, env: this.env });
  }

  run(command: string, ...args: string[]): Promise<Exit & { output: string }> {
    return finish(this.start(command, ...args));
  }
}

async function finish(proc: Proc): Promise<Exit & { output: string }> {
  proc.child.stdin?.end();
  const exit = await proc.exited;
  return { ...exit, output: proc.output };
}

describe.each(NODES)('with %s', (_name, node) => {
  test.each(['chat', 'team'])('template %s: created, tested, run and asked', async (template) => {
    const port = String(await freePort());
    const parent = new User(temporaryDirectory(), node);
    const created = await parent.run(
      'npm',
      'create',
      '--yes',
      'fame-app',
      'my-app',
      '--',
      '--yes',
      '--template',
      template,
    );
    expect(created).toMatchObject({ code: 0, output: expect.stringContaining('npm run dev') });

    const user = new User(join(parent.folder, 'my-app'), node, { FAME_LISTENER_PORT: port });
    expect(await user.run('npm', 'test')).toMatchObject({
      code: 0,
      output: expect.stringMatching(/fail 0\b/),
    });
    expect(await user.run('npm', 'run', 'check')).toMatchObject({ code: 0 });
    const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../package.json'), 'utf8'));
    expect((await user.run('npx', 'fame', 'version')).output).toContain(`fame-fabric ${version} (Node 24.`);

    const dev = await ShellScreen.open(user.env);
    dev.type(`cd '${user.folder}'; clear; npm run dev\r`);
    await dev.waitFor(/Try in another terminal/);
    const asked = await user.run('npm', 'run', 'chat', '--', '-m', 'Where is my order 1042?');
    expect(asked).toMatchObject({ code: 0, output: expect.stringContaining('on its way') });
    dev.type(KEYS.ctrlC);
    await dev.waitFor(/\n\$ $/);
  });
});

test('template web: created, tested, checked and built', async () => {
  const parent = new User(temporaryDirectory(), NODES[0][1]);
  expect(
    await parent.run('npm', 'create', '--yes', 'fame-app', 'my-page', '--', '--yes', '--template', 'web'),
  ).toMatchObject({ code: 0 });
  const user = new User(join(parent.folder, 'my-page'), NODES[0][1]);
  for (const script of ['test', 'check', 'build']) {
    const { code, output } = await user.run('npm', 'run', script);
    expect(code, output).toBe(0);
  }
  expect(existsSync(join(user.folder, 'dist/index.html'))).toBe(true);
});

test('at a terminal it asks for a name, a template and a model', async () => {
  const folder = temporaryDirectory();
  const program = join(import.meta.dirname, '../packages/create-fame-app/dist/main.js');
  const screen = await ShellScreen.open({ PATH: cleanEnv().PATH! });
  screen.type(`cd '${folder}'; clear; '${process.execPath}' '${program}' --no-install\r`);
  await screen.waitFor(/Name of the project/);
  screen.type('my-team\r');
  await screen.waitFor(/Template/);
  screen.type('\u001b[B\r');
  await screen.waitFor(/Model/);
  screen.type('\u001b[B\u001b[B\r');
  await screen.waitFor(/Created my-team \(template team, model ollama\)[\s\S]*npm run dev/);
  expect(existsSync(join(folder, 'my-team/src/team.yaml'))).toBe(true);
  screen.type(`'${process.execPath}' '${program}'\r`);
  await screen.waitFor(/Name of the project[\s\S]*Name of the project/);
  screen.type(KEYS.ctrlC);
  await screen.waitFor(/Nothing was created/);
  screen.type(`clear; '${process.execPath}' '${program}' my-team\r`);
  await screen.waitFor(/^my-team is not empty\. Choose another name/m);
});
