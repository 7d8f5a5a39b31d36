// The programs of docs/guides/openai.md, as they are shown, against the door of the test.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { Proc, ROOT } from '../../kit/processes.ts';
import { type DoorsFabric, doorsFabric } from '../fabric.ts';
import { CLIENTS, ensurePython } from './installed.ts';

/** The URL in the guide. */
const SHOWN = 'http://127.0.0.1:8000';
const guide = readFileSync(join(ROOT, 'docs/guides/openai.md'), 'utf8');
/** The programs that run here. LangChain is not installed. */
const blocks = [...guide.matchAll(/^```(js|python|sh)\n([\s\S]*?)^```/gm)]
  .map(([, language, text]) => ({ language: language!, text: text!, name: nameOf(text!) }))
  .filter(({ name }) => name !== 'langchain');

/** The client of a program. */
function nameOf(text: string): string {
  const clients = ['curl', 'openai-compatible', 'litellm', 'langchain', 'openai'];
  return clients.find((client) => text.includes(client))!;
}

/** A folder where programs find the installed clients. */
const FOLDER = join(CLIENTS, 'node_modules/.guide');

const runners: Readonly<Record<string, (text: string, name: string) => [string, string[]]>> = {
  js(text, name) {
    const file = join(FOLDER, `${name}.mjs`);
    writeFileSync(file, text);
    return [process.execPath, [file]];
  },
  python: (text) => [ensurePython(), ['-c', text]],
  sh: (text) => ['bash', ['-euc', text.replaceAll('curl ', 'curl -sSf ')]],
};

const run = async (
  fabric: DoorsFabric,
  { language, name, text }: (typeof blocks)[number],
): Promise<string> => {
  expect(text).toContain(SHOWN);
  const [command, args] = runners[language]!(text.replaceAll(SHOWN, fabric.url), name);
  const proc = new Proc(command, args, { name: `${language} ${name}` });
  const { code } = await proc.exited;
  if (code !== 0) throw proc.failure('failed');
  return proc.output;
};

describe('docs/guides/openai.md', () => {
  beforeAll(() => {
    mkdirSync(FOLDER, { recursive: true });
    ensurePython();
  }, 300_000);

  test('has a program for each client that the tests install', () => {
    const names = blocks.map(({ language, name }) => `${language} ${name}`);
    expect(names).toEqual([
      'sh curl',
      'js openai',
      'python openai',
      'js openai-compatible',
      'python litellm',
      'sh curl',
    ]);
  });

  test.each(blocks.map((block, i) => ({ ...block, i })))('program $i: $language $name', async (block) => {
    await using fabric = await doorsFabric({
      respond: ({ messages }) => `You said: ${messages.map(({ content }) => content).join(' / ')}`,
    });
    const output = await run(fabric, block);
    expect(output).toContain('You said: ');
    expect(output).toContain(block.text.includes('Ada') ? 'My name is Ada' : 'Hello');
  });
});
