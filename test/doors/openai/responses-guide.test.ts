// The programs of docs/guides/responses.md, as they are shown, against the door of the test.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { Proc, ROOT } from '../../kit/processes.ts';
import { doorsFabric } from '../fabric.ts';
import { CLIENTS, ensurePython } from './installed.ts';

/** The URL in the guide. */
const SHOWN = 'http://127.0.0.1:8000';
const FOLDER = join(CLIENTS, 'node_modules/.guide');
const guide = readFileSync(join(ROOT, 'docs/guides/responses.md'), 'utf8');
const programs = [...guide.matchAll(/^```(sh|js|python)\n([\s\S]*?)^```/gm)].map(([, language, text], i) => ({
  i,
  language: language!,
  text: text!,
}));

/** The command that runs a program. */
function commandOf({ i, language }: (typeof programs)[number], text: string): [string, string[]] {
  if (language === 'sh') return ['bash', ['-euc', text.replaceAll('curl ', 'curl -sSf ')]];
  if (language === 'python') return [ensurePython(), ['-c', text]];
  mkdirSync(FOLDER, { recursive: true });
  const file = join(FOLDER, `responses-${i}.mjs`);
  writeFileSync(file, text);
  return [process.execPath, [file]];
}

test('docs/guides/responses.md has programs for each client', () => {
  expect(programs.map(({ language }) => language)).toEqual(['sh', 'js', 'python', 'js']);
});

test.each(programs)(
  'program $i of docs/guides/responses.md: $language',
  { timeout: 300_000 },
  async (program) => {
    await using fabric = await doorsFabric({
      respond: ({ messages }) => `You said: ${messages.map(({ content }) => content).join(' / ')}`,
    });
    const [command, args] = commandOf(program, program.text.replaceAll(SHOWN, fabric.url));
    const proc = new Proc(command, args, { name: program.language });
    const { code } = await proc.exited;
    if (code !== 0) throw proc.failure('failed');
    expect(proc.output).toContain('You said: ');
    expect(proc.output).toContain(program.text.includes('Ada') ? 'My name is Ada' : 'Hello');
  },
);
