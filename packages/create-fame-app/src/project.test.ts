import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MODELS, type Model, TEMPLATES, type Template } from './options.ts';
import { createProject, folderFault, NODE_PACKAGES, VERSION } from './project.ts';

const ROOT = join(import.meta.dirname, '../../..');
let parent: string;
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'create-fame-app-'));
});
afterEach(() => rmSync(parent, { recursive: true }));

interface Manifest {
  name: string;
  engines: { node: string };
  scripts: Record<string, string>;
  dependencies: Record<string, string>;
  devDependencies: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}

const create = (template: Template, model: Model = 'offline', nodeVersion = '24.0.0') => {
  const path = createProject({ folder: join(parent, 'my-app'), template, model, nodeVersion });
  const read = (name: string): string => readFileSync(join(path, name), 'utf8');
  return { path, read, manifest: JSON.parse(read('package.json')) as Manifest };
};

test.each(Object.keys(TEMPLATES) as Template[])('%s: all files, and no placeholder is left', (template) => {
  const { path, read, manifest } = create(template);
  const files = globSync('**/{*,.*}', { cwd: path }).filter((name) => statSync(join(path, name)).isFile());
  expect(files).toEqual(
    expect.arrayContaining([
      '.dockerignore',
      '.env',
      '.env.example',
      '.gitignore',
      'Dockerfile',
      'README.md',
      'docker-compose.yml',
      'package.json',
      'src/agent.test.ts',
      'src/agent.ts',
      'tsconfig.json',
    ]),
  );
  for (const file of files) expect(read(file)).not.toContain('{{');
  expect(manifest.name).toBe('my-app');
  const address = /address: '?(\S+@fame\.fabric)/.exec(
    read('src/agent.ts') + (files.includes('src/team.yaml') ? read('src/team.yaml') : ''),
  )![1];
  expect(manifest.scripts.chat).toBe(`fame chat ${address}`);
  expect(manifest.dependencies['@fame-fabric/agents']).toBe(`^${VERSION}`);
});

test.each(Object.keys(MODELS) as Model[])(
  'the settings of %s are in .env, which only its owner reads and git ignores',
  (model) => {
    const { path, read } = create('chat', model);
    expect(statSync(join(path, '.env')).mode & 0o077).toBe(0);
    expect(read('.gitignore').split('\n')).toContain('.env');
    const isSet = (name: string): boolean => new RegExp(`^${name}=.`, 'm').test(read('.env'));
    expect([isSet('OPENAI_BASE_URL'), isSet('MODEL_NAME')]).toEqual([
      model === 'ollama',
      model !== 'offline',
    ]);
    expect(isSet('OPENAI_API_KEY')).toBe(false);
  },
);

test('docker-compose.yml passes the settings of .env to the containers', () => {
  const { read } = create('web', 'ollama');
  const names = [...read('.env').matchAll(/^([A-Z_]+)=/gm)].map(([, name]) => name!);
  expect(names).toEqual(expect.arrayContaining(['FAME_ALLOWED_ORIGINS', 'OPENAI_BASE_URL']));
  for (const name of names) expect(read('docker-compose.yml')).toContain(`${name}: \${${name}:-}`);
});

test('a name that YAML would read as a number is quoted in docker-compose.yml', () => {
  const path = createProject({ folder: join(parent, '2048'), template: 'chat', model: 'offline' });
  expect(readFileSync(join(path, 'docker-compose.yml'), 'utf8')).toContain("image: '2048'\n");
});

test('an older Node gets Node 24 for the project, in the packages that the repository uses', () => {
  const { manifest } = create('chat', 'offline', '20.20.2');
  const { optionalDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  expect(manifest.optionalDependencies).toEqual(optionalDependencies);
  expect(NODE_PACKAGES).toEqual(optionalDependencies);
  expect(manifest.engines.node).toBe('>=20');
});

test('Node 24 needs no such package', () => {
  const { manifest } = create('chat', 'offline', '24.0.0');
  expect(manifest.optionalDependencies).toBeUndefined();
  expect(manifest.engines.node).toBe('>=24');
});

test('the versions of libraries are those of this repository', () => {
  const { manifest } = create('web');
  const files = [
    'package.json',
    'agents/package.json',
    'packages/react/package.json',
    'packages/react/examples/web/package.json',
  ];
  const manifests = files.map((file) => JSON.parse(readFileSync(join(ROOT, file), 'utf8')) as Manifest);
  const known = Object.fromEntries(
    manifests.flatMap(({ dependencies, devDependencies }) =>
      Object.entries({ ...dependencies, ...devDependencies }),
    ),
  );
  const { concurrently, ...others } = { ...manifest.dependencies, ...manifest.devDependencies };
  expect(concurrently).toMatch(/^\^\d/);
  for (const [name, version] of Object.entries(others)) {
    if (!/^(@fame-fabric\/|fame-fabric$)/.test(name))
      expect({ [name]: version }).toEqual({ [name]: known[name] });
  }
});

test('a folder that is not empty, a file and an impossible name are refused with the reason', () => {
  const inside = (name: string): string => join(parent, name);
  mkdirSync(inside('full'));
  writeFileSync(inside('full/notes.txt'), '');
  writeFileSync(inside('file'), '');
  mkdirSync(inside('new-repository/.git'), { recursive: true });
  expect(folderFault(inside('full'))).toContain('is not empty');
  expect(folderFault(inside('file'))).toContain('is a file');
  expect(folderFault(inside('My App'))).toContain('"My App" cannot be the name of a package');
  expect(folderFault(inside('new-repository'))).toBeUndefined();
  expect(() => createProject({ folder: inside('full'), template: 'chat', model: 'offline' })).toThrow(
    'is not empty',
  );
  expect(globSync('*', { cwd: inside('full') })).toEqual(['notes.txt']);
});
