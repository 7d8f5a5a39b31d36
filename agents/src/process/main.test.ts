import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { runAgentProcess } from './main.ts';

const directory = mkdtempSync(join(tmpdir(), 'fame-main-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function run(args: string[], env: Record<string, string> = {}) {
  const lines: string[] = [];
  const code = await runAgentProcess(args, { env, write: (line) => lines.push(line) });
  return { code, lines };
}

it.each([
  [['chat', 'refin'], 'Unknown agent "refin". Did you mean refine?'],
  [['constructor'], 'Unknown agent "constructor".'],
])('an unknown agent name is refused, with a list of the known ones: %j', async (args, message) => {
  const { code, lines } = await run(args);
  expect(code).toBe(2);
  expect(lines).toEqual([`${message} Known agents: chat, refine, team, echo, math`]);
});

it('a file of prices that cannot be read ends the process at its start', async () => {
  const { code, lines } = await run(['chat'], {
    FAME_PRICES_FILE: '/nowhere/prices.yaml',
    OPENAI_BASE_URL: 'http://127.0.0.1:9/v1',
  });
  expect(code).toBe(2);
  expect(lines).toEqual([expect.stringMatching(/^FAME_PRICES_FILE cannot be read: ENOENT/)]);
});

it('every fault of the configuration is reported once', async () => {
  const { code, lines } = await run([], { FAME_TOOLS: 'some', FAME_MAX_CONCURRENT: 'many' });
  expect(code).toBe(2);
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(/2 faults:\n.*FAME_TOOLS is "some".*\n.*FAME_MAX_CONCURRENT is "many"/);
});

it.each([
  ['standard', 'Tools: get_current_weather, clock, calculator.'],
  ['none', 'Tools: none.'],
])('a tool that needs approval must exist, with FAME_TOOLS=%s', async (tools, names) => {
  const { code, lines } = await run(['chat'], {
    FAME_TOOLS: tools,
    FAME_APPROVE_TOOLS: 'clok',
    FAME_DATA_DIR: directory,
    FAME_LOG_LEVEL: 'silent',
  });
  expect(code).toBe(2);
  expect(lines).toEqual([`FAME_APPROVE_TOOLS names "clok", which is not a tool of the chat agent. ${names}`]);
});
