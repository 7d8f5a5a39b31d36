import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { packageOf, reachableFiles } from './reachable-files.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fame-reachable-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function write(files: Readonly<Record<string, string>>): void {
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), text);
  }
}

test('follows static and dynamic imports, and leaves out files that nothing imports', () => {
  write({
    'dist/index.js': "import { a } from './a.js';\nexport * from './deep/b.js';\nawait import('./c.js');\n",
    'dist/a.js': "import 'ws';\nimport { join } from 'node:path';\nimport { z } from 'zod/v4';\n",
    'dist/deep/b.js': "import '../a.js';\nimport('@scope/name/sub');\n",
    'dist/c.js': "// import './comment.js'\n/* from './comment.js' */\n",
    'dist/a.test.js': '',
  });
  const { files, imports } = reachableFiles(folder, ['dist/index.js']);
  expect([...files].sort()).toEqual(['dist/a.js', 'dist/c.js', 'dist/deep/b.js', 'dist/index.js']);
  expect([...imports].sort()).toEqual(['@scope/name/sub', 'ws', 'zod/v4']);
});

test('in declarations an import means a declaration', () => {
  write({
    'dist/index.d.ts': "export { A } from './a.ts';\nexport declare const b: import('./b.js').B;\n",
    'dist/a.d.ts': "import type { C } from 'c';\n",
    'dist/b.d.ts': '',
  });
  const { files, imports } = reachableFiles(folder, ['dist/index.d.ts']);
  expect([...files]).toEqual(['dist/index.d.ts', 'dist/a.d.ts', 'dist/b.d.ts']);
  expect([...imports]).toEqual(['c']);
});

test('packageOf drops the entry point', () => {
  expect(['zod/v4', '@scope/name/sub', 'ws'].map(packageOf)).toEqual(['zod', '@scope/name', 'ws']);
});

test('names the file that is missing and the file that needs it', () => {
  write({ 'dist/index.js': "import './gone.js';\n" });
  expect(() => reachableFiles(folder, ['dist/index.js'])).toThrow(
    `${join(folder, 'dist/index.js')} needs dist/gone.js, which does not exist. Run: npm run build`,
  );
});
