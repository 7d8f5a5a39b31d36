import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';

test('a folder that cannot be created is reported in one line, with exit code 1', () => {
  const parent = mkdtempSync(join(tmpdir(), 'create-fame-app-'));
  onTestFinished(() => rmSync(parent, { recursive: true }));
  writeFileSync(join(parent, 'file'), '');
  const folder = join(parent, 'file', 'my-app');
  const program = join(import.meta.dirname, 'main.ts');
  const args = ['--disable-warning=ExperimentalWarning', program, folder, '--yes', '--no-install'];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  expect({ status, stdout, stderr }).toEqual({
    status: 1,
    stdout: '',
    stderr: expect.stringMatching(/^ENOTDIR: .*\n$/),
  });
});
