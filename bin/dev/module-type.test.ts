import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { commonJsAdvice } from './module-type.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'fame-module-type-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

const IMPORT = "import { runAgents } from '@fame-fabric/agents';\n";

test('there is no advice without the file, or with a broken package.json', () => {
  const project = mkdtempSync(join(directory, 'broken-'));
  const file = join(project, 'agent.ts');
  writeFileSync(join(project, 'package.json'), '{');
  expect(commonJsAdvice(file)).toBeUndefined();
  writeFileSync(file, IMPORT);
  expect(commonJsAdvice(file)).toBeUndefined();
});

test.each([
  ['commonjs', 'agent.ts', IMPORT, true],
  ['commonjs', 'agent.mts', IMPORT, false],
  ['commonjs', 'agent.js', "const { runAgents } = require('@fame-fabric/agents');\n", false],
  ['module', 'agent.ts', IMPORT, false],
  [undefined, 'agent.ts', IMPORT, false],
])('a package of type %s with %s', (type, name, text, isAdvised) => {
  const project = mkdtempSync(join(directory, 'project-'));
  const manifest = join(project, 'package.json');
  writeFileSync(manifest, JSON.stringify({ type }));
  mkdirSync(join(project, 'src'));
  const file = join(project, 'src', name);
  writeFileSync(file, text);
  const advice = `Set "type": "module" in ${manifest}, because the file uses import.`;
  expect(commonJsAdvice(file)).toBe(isAdvised ? advice : undefined);
});
