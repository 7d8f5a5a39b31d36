import { expect, test } from 'vitest';
import type { Manifest } from './packages.ts';
import { faultyImports } from './stage.ts';

const manifests = new Map<string, Manifest>([
  ['@example/one', { name: '@example/one', version: '1.0.0', exports: { '.': './dist/index.js' } }],
  [
    '@example/two',
    { name: '@example/two', version: '1.0.0', dependencies: { '@example/one': '1.0.0', ws: '^8.0.0' } },
  ],
]);

test('an import of a package that is no dependency fails, and so does one of an entry point that is not published', () => {
  const imports = new Set([
    'ws',
    'ws/lib/frame.js',
    '@example/one',
    '@example/one/testing',
    'zod',
    '@example/two',
  ]);
  expect(faultyImports(imports, manifests, '@example/two')).toEqual(['@example/one/testing', 'zod']);
});
