// All packages have one version, and depend on each other at exactly that version.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { SOFTWARE } from '@fame-fabric/sentinel';
import { expect, test } from 'vitest';
import { ROOT, readPackages } from './packages.ts';

const packages = readPackages();
const { version } = packages.at(-1)!.manifest;

test('the root package comes last, after everything that it depends on', () => {
  expect(packages.at(-1)!.manifest.name).toBe('fame-fabric');
  expect(packages[0]!.manifest.name).toBe('@fame-fabric/shared');
});

test('all packages, the sentinel and the lock file have one version', () => {
  for (const { manifest } of packages)
    expect([manifest.name, manifest.version]).toEqual([manifest.name, version]);
  expect(SOFTWARE).toBe(`fame-fabric/${version}`);
  const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as { version: string };
  expect(lock.version).toBe(version);
});

test('they depend on each other at exactly that version', () => {
  const names = packages.map(({ manifest }) => manifest.name);
  for (const { manifest } of packages) {
    const dependencies = Object.entries({ ...manifest.dependencies, ...manifest.peerDependencies });
    const ours = dependencies.filter(([name]) => names.includes(name));
    for (const [name, range] of ours)
      expect([manifest.name, name, range]).toEqual([manifest.name, name, version]);
  }
});

test('`npm publish` in a folder of this repository is refused', () => {
  for (const { manifest } of packages) expect(manifest.private, manifest.name).toBe(true);
});
