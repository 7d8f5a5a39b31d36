import { expect, it } from 'vitest';
import { runAgentProcess } from './main.ts';

async function run(args: string[], env: Record<string, string> = {}) {
  const lines: string[] = [];
  const code = await runAgentProcess(args, { env, write: (line) => lines.push(line) });
  return { code, lines };
}

it.each([
  [['chat', 'refin'], 'There is no agent "refin". Did you mean refine?'],
  [['constructor'], 'There is no agent "constructor".'],
])('says which there are when a name is wrong: %j', async (args, message) => {
  const { code, lines } = await run(args);
  expect(code).toBe(2);
  expect(lines).toEqual([`${message} There are: chat, refine, team, echo, math`]);
});

it('tells every fault of the configuration once', async () => {
  const { code, lines } = await run([], { FAME_TOOLS: 'some', FAME_MAX_CONCURRENT: 'many' });
  expect(code).toBe(2);
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(/2 faults:\n.*FAME_TOOLS is "some".*\n.*FAME_MAX_CONCURRENT is "many"/);
});
