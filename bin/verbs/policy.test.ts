import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test, vi } from 'vitest';
import { run } from './policy.ts';

const folder = mkdtempSync(join(tmpdir(), 'fame-policy-'));
afterAll(() => rmSync(folder, { recursive: true }));

async function check(text: string) {
  const path = join(folder, 'policy.yaml');
  writeFileSync(path, text);
  const write = vi.spyOn(process.stdout, 'write').mockReturnValue(true);
  const code = await run({ positionals: ['check', path], flags: {}, env: {} });
  const out = write.mock.calls.map(([line]) => String(line).replaceAll(`${folder}/`, '')).join('');
  write.mockRestore();
  return { code, out };
}

test('a valid policy is counted, and the output states which actions it decides', async () => {
  expect(await check('rules:\n  - { effect: allow, action: Call }')).toEqual({
    code: 0,
    out: 'policy.yaml: 1 rule, 0 errors, 0 warnings. It decides about every action.\n',
  });
  expect(await check('rules: []')).toEqual({
    code: 0,
    out: 'policy.yaml: 0 rules, 0 errors, 0 warnings. It decides about Connect and messages, as in naylence. Roles decide about Bind, Advertise, Watch, Admin and Conversations.\n',
  });
});

test('faults are printed with line, column and the nearest word, and the exit code is 1', async () => {
  expect(await check('rules:\n  - effect: allow\n    actoin: "\u001b[31m"')).toEqual({
    code: 1,
    out: 'policy.yaml:3:5 error: unknown key "actoin"; did you mean "action"?\npolicy.yaml: 1 error, 0 warnings\n',
  });
});

test('a file that cannot be read exits with 1, wrong usage is an error', async () => {
  const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  const input = { flags: {}, env: {} };
  expect(await run({ ...input, positionals: ['check', join(folder, 'none.yaml')] })).toBe(1);
  expect(write.mock.calls.join()).toContain('none.yaml cannot be read: there is no such file');
  await expect(run({ ...input, positionals: ['chekc', 'x'] })).rejects.toThrow('Did you mean check?');
  await expect(run({ ...input, positionals: ['check'] })).rejects.toThrow('takes the file of a policy');
});
