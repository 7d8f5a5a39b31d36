// Runs the commands of every `console` block in the guides and in the pages for users of other frameworks, in order, with a
// sentinel and a chat agent, and compares the output. Also runs the programs that guides only mention.
import { globSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { npxDirectory, startOurAgent } from '../kit/commands.ts';
import { fameArgs, Proc, ROOT, startNode } from '../kit/processes.ts';
import { type OurSentinel, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';

let sentinel: OurSentinel;
let env: Record<string, string>;

beforeAll(async () => {
  sentinel = await startOurSentinel();
  await startOurAgent(sentinel);
  env = {
    PATH: `${npxDirectory()}${delimiter}${process.env.PATH}`,
    FAME_LISTENER_PORT: String(sentinel.port),
    FAME_DATA_DIR: temporaryDirectory(),
    FAME_LOG_FORMAT: 'text', // as on a terminal
  };
});

interface Typed {
  readonly command: string;
  readonly prints: string;
}
// The commands of project.md need the packages: packaging/create-app.test.ts installs them, and creates and runs projects.
const PAGES = globSync('docs/{guides,coming-from}/*.md', { cwd: ROOT, exclude: ['docs/guides/project.md'] });
const blocks = PAGES.flatMap((file) =>
  [...readFileSync(join(ROOT, file), 'utf8').matchAll(/^```console\n([\s\S]*?)^```/gm)].map(([, text]) => {
    const typed = text!
      .split(/^\$ /m)
      .slice(1)
      .map((part): Typed => {
        const end = part.indexOf('\n');
        return { command: part.slice(0, end), prints: part.slice(end + 1) };
      });
    return [`${file}: ${typed.at(-1)!.command}`, typed] as const;
  }),
);

/** Replaces times and the port, which differ in every run, and leaves out lines of the log. */
const plain = (text: string): string =>
  text
    .replace(/\b\d+ ms\b/g, 'N ms')
    .replaceAll(`:${sentinel.port}/`, ':8000/')
    .replace(/^\d\d:\d\d:\d\d\.\d{3} .*\n/gm, '');

/** Runs a command such as `kill -9 %1`: the number is that of a job of the block. Returns false for other commands. */
async function runKill(command: string, jobs: readonly Proc[]): Promise<boolean> {
  const [, number] = /^kill -9 %(\d+)$/.exec(command) ?? [];
  if (number === undefined) return false;
  expect(await jobs[Number(number) - 1]!.kill()).toEqual({ code: null, signal: 'SIGKILL' });
  return true;
}

describe('the guides and pages', () => {
  test('have commands', () => {
    expect(blocks.length).toBeGreaterThan(5);
  });

  test.each(blocks)('%s', async (_name, typed) => {
    const background: Proc[] = [];
    for (const { command, prints } of typed) {
      if (await runKill(command, background)) continue;
      const isBackground = command.endsWith(' &');
      const local = command.replaceAll('127.0.0.1:8000', `127.0.0.1:${sentinel.port}`);
      const shell = isBackground ? `exec ${local.slice(0, -2)}` : local;
      const proc = new Proc('/bin/sh', ['-c', shell], { name: command, env });
      if (isBackground) {
        background.push(proc);
        await proc.waitFor(/ is served through .*\n/);
      } else expect(await proc.exited, proc.output).toEqual({ code: 0, signal: null });
      expect(plain(proc.output)).toBe(plain(prints));
    }
    for (const proc of background.filter(({ alive }) => alive)) {
      expect(await proc.stop()).toMatchObject({ code: 0 });
    }
  });
});

const run = (file: string): Proc =>
  startNode([...fameArgs().slice(0, -1), join(ROOT, file)], { name: file, env });

test('the loop of the Agere tutorial runs with the built-in model', async () => {
  const loop = run('agents/examples/agere-loop.ts');
  for (const line of ["What's the weather in Paris?", 'What is 6 times 7?', 'exit']) loop.write(line);
  expect(await loop.exited).toEqual({ code: 0, signal: null });
  expect(plain(loop.output)).toMatch(
    /GPT:\nOne moment, please\.\nFunction call: get_current_weather\(location=Paris\)/,
  );
  expect(loop.output).toMatch(/In Paris it is 22 degrees Celsius\.\n/);
  expect(loop.output).toMatch(/6 \* 7 = 42\.\n/);
  expect(loop.output).toMatch(/QUIT\n$/);
});

test('the walk-through of the chat completion classes runs with the built-in model', async () => {
  const walk = run('agents/examples/afaas-walkthrough.ts');
  expect(await walk.exited).toEqual({ code: 0, signal: null });
  expect(walk.output).toMatch(/x = 2 or x = 1\ny = 7\n$/);
});
