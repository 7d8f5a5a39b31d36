// Replays the sessions in the README: the same input must give the same answers.
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, expect, test } from 'vitest';
import { runFame, startOurAgent } from '../kit/commands.ts';
import { cleanEnv, ROOT, startNode } from '../kit/processes.ts';
import { type OurSentinel, startOurSentinel } from '../kit/sentinel.ts';

const sessions = [
  ...readFileSync(join(ROOT, 'README.md'), 'utf8').matchAll(/^```console\n([\s\S]*?)^```/gm),
].map(([, text]) => text!);
const [conversation = '', ownAgent = '', team = '', overHttp = ''] = sessions;

let sentinel: OurSentinel;
beforeAll(async () => {
  sentinel = await startOurSentinel();
  await startOurAgent(sentinel);
});

test('the first conversation', async () => {
  const lines = conversation.split('\n');
  const questions = lines.filter((line) => line.startsWith('Q> ')).map((line) => line.slice(3));
  const answers = lines.filter((line) => line.startsWith('A> '));
  expect(questions.at(-1)).toBe('exit');
  expect(answers.length).toBeGreaterThan(2);
  const { code, stdout } = await runFame(sentinel, ['chat', '--lines'], `${questions.join('\n')}\n`);
  expect(stdout.trim().split('\n')).toEqual(answers);
  expect(code).toBe(0);
});

test('the same agent over HTTP', async () => {
  const [command = '', ...answer] = overHttp.trimEnd().split('\n');
  const line = command.replace('$ ', '').replace('http://127.0.0.1:8000', sentinel.http);
  const { stdout } = await promisify(execFile)('sh', ['-c', line]);
  expect(stdout.trimEnd()).toBe(answer.join('\n'));
});

test('the example agent, called from the command line', async () => {
  const [start, ...calls] = ownAgent.split(/^\$ /m).slice(1);
  const script = /^node_modules\/\.bin\/node (\S+) &\n/.exec(start!)?.[1];
  const env = cleanEnv({ FAME_DIRECT_ADMISSION_URL: sentinel.url }) as Record<string, string>;
  const agent = startNode(
    ['--conditions=fame-source', '--disable-warning=ExperimentalWarning', join(ROOT, script!)],
    { env },
  );
  await agent.waitFor(/weather@fame\.fabric is served through/);
  expect(calls).toHaveLength(2);
  for (const call of calls) {
    const [, address, method, params, flag, output] =
      /^npx fame-fabric call (\S+) (\S+) '([^']*)'(?: (--stream))?\n([\s\S]*)$/.exec(call) ?? [];
    const args = ['call', address!, method!, params!, ...(flag ? [flag] : [])];
    const { stdout, code } = await runFame(sentinel, args);
    if (stdout === '') expect(code).toBe(1);
    else expect(stdout).toBe(output);
  }
});

test('the team', async () => {
  const [, file, message, output] = /^\$ npx fame-fabric team run (\S+) "(.*)"\n([\s\S]*)$/.exec(team) ?? [];
  expect(await runFame(sentinel, ['team', 'run', join(ROOT, file!), message!])).toMatchObject({
    code: 0,
    output,
  });
});
