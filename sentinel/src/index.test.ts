import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import * as surface from './index.ts';
import * as internal from './internal.ts';

test('the package exports these names and no others', () => {
  expect(Object.keys(surface).sort()).toEqual([
    'SOFTWARE',
    'readSentinelConfig',
    'runSentinelProcess',
    'startSentinel',
  ]);
  expect(Object.keys(internal).sort()).toEqual([
    'CLOSE',
    'KeysChange',
    'SENTINEL_VARIABLES',
    'defaultKeysFile',
    'keysOf',
    'nameFault',
    'patternFault',
    'readKeysFile',
    'readSentinelConfig',
  ]);
});

test('attach acks state the version of the package', () => {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
  expect(surface.SOFTWARE).toBe(`fame-fabric/${version}`);
});

test('an import has no side effect', () => {
  const program = `
    const state = () => JSON.stringify([
      process.eventNames(), process.getActiveResourcesInfo(), Object.keys(globalThis), Object.keys(process.env),
    ]);
    const v8 = (await import('node:v8')).default;
    const flags = [];
    // Node opens these streams when they are first read, which must not count as a change.
    process.stdout, process.stderr;
    v8.setFlagsFromString = (flag) => flags.push(flag);
    (await import('node:module')).syncBuiltinESMExports();
    const before = state();
    await import(${JSON.stringify(new URL('./index.ts', import.meta.url).href)});
    console.log(JSON.stringify({ isUnchanged: state() === before, flags }));
  `;
  const output = execFileSync(
    process.execPath,
    ['--conditions=fame-source', '--input-type=module', '--eval', program],
    { encoding: 'utf8' },
  );
  expect(JSON.parse(output)).toEqual({ isUnchanged: true, flags: [] });
});

test('an import loads no link, no uplinks and no undici, so that a sentinel starts fast', () => {
  const program = `
    const files = [];
    (await import('node:module')).registerHooks({
      load(url, context, nextLoad) {
        files.push(url);
        return nextLoad(url, context);
      },
    });
    await import(${JSON.stringify(new URL('./index.ts', import.meta.url).href)});
    console.log(JSON.stringify([...files, ...process.moduleLoadList]));
  `;
  const output = execFileSync(
    process.execPath,
    ['--conditions=fame-source', '--input-type=module', '--eval', program],
    { encoding: 'utf8' },
  );
  const files = JSON.parse(output) as string[];
  expect(files).toContain('NativeModule http');
  expect(files.some((file) => file.endsWith('/sentinel/src/route.ts'))).toBe(true);
  expect(
    files.filter((file) => /\/(?:link\/link|link\/calls|uplink\/uplink)\.ts$|\/undici$/.test(file)),
  ).toEqual([]);
});
