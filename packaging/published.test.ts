// The packages as a user gets them: packed, checked by publint and are-the-types-wrong, installed from their tarballs into an
// empty folder, compiled against in each module style, and run there. Needs the npm registry for the packages of others.
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, globSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, delimiter, dirname, join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ensurePackagingTools, machineEnvironment } from '../test/kit/install-packages.ts';
import { cleanEnv, type Exit, freePort, Proc } from '../test/kit/processes.ts';
import { admissionUrl, temporaryDirectory } from '../test/kit/sentinel.ts';
import { publintFindings, typesFindings } from './checkers.ts';
import { type PackedPackage, packPackages } from './pack.ts';
import { ROOT, readPackages } from './packages.ts';
import { Registry } from './test-registry.ts';

const CONSUMERS = join(import.meta.dirname, 'consumers');
const PACKAGES = readPackages();
const NAMES = PACKAGES.map(({ manifest }) => manifest.name);
// The console exports a page, which has no types.
const LIBRARIES = PACKAGES.filter(({ manifest }) => Object.keys(manifest.exports ?? {}).includes('.')).map(
  ({ manifest }) => manifest.name,
);

let packed: PackedPackage[];
/** A folder with the installed packages, and nothing of this repository. */
let app: string;
const packageOf = (name: string): PackedPackage => packed.find((one) => one.name === name)!;

beforeAll(() => {
  ensurePackagingTools();
  packed = packPackages({ output: temporaryDirectory(), repository: 'https://github.com/example/example' });
  app = temporaryDirectory();
  writeFileSync(join(app, 'package.json'), '{ "name": "app", "private": true, "type": "module" }\n');
  const flags = ['--ignore-scripts', '--no-fund', '--no-audit', '--prefer-offline', '--loglevel=error'];
  const tarballs = packed.map(({ tarball }) => tarball);
  execFileSync('npm', ['install', ...flags, ...tarballs, '@types/node@24'], {
    cwd: app,
    env: machineEnvironment(),
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}, 300_000);

describe('the packed packages', () => {
  test.each(NAMES)('%s: publint finds nothing', async (name) => {
    expect(await publintFindings(packageOf(name).folder)).toEqual([]);
  });

  test.each(LIBRARIES)('%s: are-the-types-wrong finds nothing', async (name) => {
    expect(await typesFindings(packageOf(name).tarball)).toEqual([]);
  });

  test.each(NAMES)('%s contains its entry points, README and licence, and no tests or sources', (name) => {
    const { folder } = packageOf(name);
    const files = globSync('**', { cwd: folder }).filter((file) => /\.\w+$|LICENSE/.test(file));
    expect(files).toEqual(expect.arrayContaining(['LICENSE', 'README.md', 'package.json']));
    expect(
      files.filter(
        (file) => /\.(test|conformance)\.|\.map$|(?<!\.d)\.ts$/.test(file) && !file.startsWith('templates/'),
      ),
    ).toEqual([]);
    const code = files.filter((file) => /\.(js|d\.ts)$/.test(file)).map((file) => join(folder, file));
    const texts = code.map((file) => readFileSync(file, 'utf8'));
    expect(texts.filter((text) => text.includes('sourceMappingURL'))).toEqual([]);
    expect(texts.filter((text) => /from '\.{1,2}\/[^']*\.ts'/.test(text))).toEqual([]);
  });

  test('only entry points that are for users or for our other packages are installed', () => {
    const manifest = readFileSync(join(app, 'node_modules/@fame-fabric/sentinel/package.json'), 'utf8');
    const { exports, private: isPrivate } = JSON.parse(manifest) as { exports: object; private?: boolean };
    expect(Object.keys(exports)).toEqual(['.', './internal', './policy', './memory']);
    expect(isPrivate).toBeUndefined();
    expect(manifest).not.toContain('fame-source');
  });
});

describe('publish-packages', { timeout: 180_000 }, () => {
  let registry: Registry;
  beforeEach(async () => {
    registry = await Registry.start();
    return () => registry.close();
  });

  const npmEnvironment = (): Record<string, string> => {
    const userConfig = join(temporaryDirectory(), 'npmrc');
    writeFileSync(userConfig, `//127.0.0.1:${registry.port}/:_authToken=test\n`);
    return {
      NPM_CONFIG_REGISTRY: registry.url,
      NPM_CONFIG_USERCONFIG: userConfig,
      NPM_CONFIG_CACHE: temporaryDirectory(),
    };
  };
  const publish = (...args: string[]) =>
    finish(start(process.execPath, [join(import.meta.dirname, 'publish.ts'), ...args], npmEnvironment()));

  test('publishes each package after those that it depends on, and only versions that the registry lacks', async () => {
    expect(await publish()).toMatchObject({ code: 0 });
    expect(registry.published).toEqual(NAMES);
    const again = await publish();
    expect(again).toMatchObject({ code: 0, output: expect.stringContaining('is published already') });
    expect(registry.published).toEqual(NAMES);
  });

  test('once published, `npx fame-fabric` runs in an empty folder, or says which Node it needs', async () => {
    expect(await publish()).toMatchObject({ code: 0 });
    registry.upstream = 'https://registry.npmjs.org';
    const { PATH = '' } = machineEnvironment();
    const args = ['--yes', '--ignore-scripts', 'fame-fabric', 'version'];
    const npx = new Proc('npx', args, { cwd: temporaryDirectory(), env: { ...npmEnvironment(), PATH } });
    const { output, code } = await finish(npx);
    const [, node] = /^v(.*)\n$/.exec(
      execFileSync('node', ['--version'], { encoding: 'utf8', env: { PATH } }),
    )!;
    const isRecent = Number.parseInt(node!, 10) >= 24;
    const text = isRecent
      ? `fame-fabric ${packed[0]!.version} (Node ${node})`
      : `fame needs Node 24 or newer; this is ${node}. Install Node`;
    expect({ output, code }).toEqual({ output: expect.stringContaining(text), code: isRecent ? 0 : 2 });
  });

  test('publishes nothing in a rehearsal, or for a tag of another version', async () => {
    expect(await publish('--dry-run')).toMatchObject({ code: 0 });
    const mistaken = await publish('--tag', 'v9.9.9');
    expect(mistaken).toMatchObject({ code: 1, output: expect.stringContaining('The tag is v9.9.9, but ') });
    expect(registry.published).toEqual([]);
  });
});

describe('programs that use the packages', () => {
  const STYLES = [
    { module: 'nodenext', moduleResolution: 'nodenext', programs: ['esm.mts', 'require.cts', 'import.cts'] },
    { module: 'node16', moduleResolution: 'node16', programs: ['esm.mts', 'import.cts'] },
    { module: 'esnext', moduleResolution: 'bundler', programs: ['esm.mts'] },
  ];
  const COMPILERS = [
    ['TypeScript 7', join(ROOT, 'node_modules/typescript/bin/tsc')],
    ['TypeScript 6', join(import.meta.dirname, 'node_modules/typescript/bin/tsc')],
  ] as const;

  /** Compiles the programs and the samples of the READMEs in a folder below the installed packages. */
  function compile(compiler: string, style: (typeof STYLES)[number], label: string): string {
    const folder = join(app, label);
    cpSync(CONSUMERS, folder, {
      recursive: true,
      filter: (file) => !/ts$/.test(file) || style.programs.includes(basename(file)),
    });
    for (const { folder: source } of PACKAGES.filter(({ manifest }) => manifest.exports)) {
      const readme = readFileSync(join(ROOT, source, 'README.md'), 'utf8');
      for (const [index, [, code]] of [...readme.matchAll(/^```ts\n([\s\S]*?)^```/gm)].entries()) {
        writeFileSync(join(folder, `${source.replace('/', '-')}-${index}.mts`), code!);
      }
    }
    const { module, moduleResolution } = style;
    const compilerOptions = {
      ...{
        module,
        moduleResolution,
        target: 'es2024',
        lib: ['es2024', 'esnext.disposable'],
        types: ['node'],
      },
      ...{ strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false, outDir: 'out', rootDir: '.' },
    };
    writeFileSync(
      join(folder, 'tsconfig.json'),
      JSON.stringify({ compilerOptions, include: ['*.mts', '*.cts'] }),
    );
    const { status, stdout } = spawnSync(process.execPath, [compiler, '--project', folder], {
      encoding: 'utf8',
    });
    expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
    return join(folder, 'out');
  }

  describe.each(COMPILERS)('%s', (name, compiler) => {
    test.each(STYLES)('compiles them with `moduleResolution: $moduleResolution`', (style) => {
      compile(compiler, style, `${name}-${style.moduleResolution}`.replace(' ', ''));
    });
  });

  test('they run in ES modules, with `require` and with `import()`', async () => {
    const { url } = await startFabric();
    const out = compile(COMPILERS[0][1], STYLES[0]!, 'running');
    const outputs = ['esm.mjs', 'require.cjs', 'import.cjs'].map(async (file) => {
      const { output, code } = await finish(start(process.execPath, [join(out, file), url]));
      return { file, output, code };
    });
    expect(await Promise.all(outputs)).toEqual([
      { file: 'esm.mjs', output: '6 * 7 = 42.\nNO_ROUTE\n', code: 0 },
      { file: 'require.cjs', output: '6 * 7 = 42.\n', code: 0 },
      { file: 'import.cjs', output: '6 * 7 = 42.\n', code: 0 },
    ]);
  });
});

describe('the command in a folder that has installed it', () => {
  test('both names run this version', async () => {
    const { version } = packageOf('fame-fabric');
    for (const name of ['fame', 'fame-fabric']) {
      const { output, code } = await finish(start(bin(name), ['version']));
      expect({ output, code }).toEqual({
        output: `fame-fabric ${version} (Node ${process.versions.node})\n`,
        code: 0,
      });
    }
    const npx = await finish(start('npx', ['--no', 'fame-fabric', 'version']));
    expect(npx.output).toContain(`fame-fabric ${version} `);
  });

  test('the first steps of the README: start, chat, and call your own agent', async () => {
    const { url } = await startFabric();
    const env = { FAME_DIRECT_ADMISSION_URL: url };
    const chat = await finish(start(bin('fame-fabric'), ['chat', '-m', 'What is 6 times 7?'], env));
    expect(chat).toMatchObject({ code: 0, output: expect.stringContaining('6 * 7 = 42.') });

    cpSync(join(ROOT, 'agents/examples/weather-agent.ts'), join(app, 'weather-agent.ts'));
    const agent = start(process.execPath, ['weather-agent.ts'], env);
    await agent.waitFor(/weather@fame\.fabric is served through/);
    const args = [
      'call',
      'weather@fame.fabric',
      'forecast',
      '{"city": "Lima", "days": 1}',
      '--stream',
      '--json',
    ];
    const call = await finish(start(bin('fame-fabric'), args, env));
    expect(call).toMatchObject({ code: 0, output: expect.stringContaining('"Lima"') });
    expect((await finish(start(bin('fame-fabric'), ['ps'], env))).output).toContain('weather@fame.fabric');

    const team = start(bin('fame-fabric'), ['agent', 'team'], env);
    await team.waitFor(/team@fame\.fabric is served through/);

    await agent.stop();
    const dev = start(bin('fame-fabric'), ['dev', 'weather-agent.ts'], env);
    await dev.waitFor(/weather@fame\.fabric is served through/);
  });

  test('it prefers the Node that the project has installed', async () => {
    const node = join(app, 'node_modules/.bin/node');
    writeFileSync(node, `#!/bin/sh\necho chosen\nexec '${process.execPath}' "$@"\n`, {
      mode: 0o755,
      flag: 'wx',
    });
    expect((await finish(start(bin('fame'), ['version']))).output).toMatch(/^chosen\nfame-fabric /);
  });
});

const bin = (name: string): string => join(app, 'node_modules/.bin', name);

/** Starts a program in the folder of the installed packages, with the Node that runs the tests. */
function start(command: string, args: readonly string[], env: Record<string, string> = {}): Proc {
  const path = [dirname(process.execPath), cleanEnv().PATH].join(delimiter);
  return new Proc(command, args, {
    cwd: app,
    env: { PATH: path, FAME_DATA_DIR: join(app, '.fame'), ...env },
  });
}

async function finish(proc: Proc): Promise<Exit & { output: string }> {
  proc.child.stdin?.end();
  const exit = await proc.exited;
  return { ...exit, output: proc.output };
}

async function startFabric(): Promise<{ url: string }> {
  const port = await freePort();
  const fabric = start(bin('fame-fabric'), ['up', '--port', String(port)]);
  await fabric.waitFor(/chat@fame\.fabric is served through/);
  return { url: admissionUrl(port) };
}
