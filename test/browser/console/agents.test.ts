// The screen Agents: the catalogue, forms, calls and streams, and the same calls as code, which this test runs as it is shown.
import { execFile } from 'node:child_process';
import { symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fameArgs, ROOT } from '../../kit/processes.ts';
import { fetchWithKey, listNodes, temporaryDirectory } from '../../kit/sentinel.ts';
import { startConsole, type TestConsole } from './kit.ts';

let console: TestConsole;
let page: Page;
beforeAll(async () => {
  console = await startConsole();
  await console.startAgent({ names: ['math', 'chat', 'team'] });
  page = await console.open('#/agents');
});
afterAll(async () => {
  await console.close();
});

const openOperation = async (address: string, operation: string): Promise<void> => {
  await page.goto(`${console.sentinel.http}/console/#/agents/${address}/${operation}`);
  await page.getByRole('heading', { level: 2, name: operation }).waitFor();
};
const result = () => page.getByRole('region', { name: 'Result' }).first();
const button = (name: string) => page.getByRole('button', { name, exact: true });
const field = (name: string) => page.getByLabel(name, { exact: true });

test('cards show the agents, and a search finds operations', async () => {
  const cards = page.locator('.agents-card');
  await cards.filter({ hasText: 'Adds, multiplies and counts.' }).getByText('fib_stream').waitFor();
  await expect.poll(() => cards.count()).toBe(3);
  await cards.filter({ hasText: 'team@fame.fabric' }).getByText('team', { exact: true }).waitFor();
  await page.getByRole('searchbox').fill('multiply');
  await expect.poll(() => cards.count()).toBe(1);
  await page.getByRole('searchbox').fill('no such operation');
  await page.getByText('No agent and no operation contains').waitFor();
  await page.getByRole('searchbox').fill('');
});

test('a form checks its values and calls', async () => {
  await openOperation('math@fame.fabric', 'add');
  await button('Call').click();
  await expect.poll(() => page.getByText('is required').count()).toBe(2);
  await expect.poll(() => page.evaluate("document.activeElement.getAttribute('aria-invalid')")).toBe('true');
  await field('x *').fill('1.5');
  await field('y *').fill('two');
  await page.getByText('must be a number').waitFor();
  await field('y *').fill('2');
  await field('y *').press('Enter');
  await result().getByText('done').waitFor();
  await expect.poll(() => result().locator('code').innerText()).toBe('3.5');
});

test('parameters can be written as JSON, with the same checks', async () => {
  await openOperation('math@fame.fabric', 'multiply');
  await field('x *').fill('6');
  await field('y *').fill('7');
  await button('JSON').click();
  const json = page.getByLabel('Parameters as JSON');
  expect(JSON.parse(await json.inputValue())).toEqual({ x: 6, y: 7 });
  await json.fill('{"x": 6, "y": "7"}');
  await json.press('Control+Enter');
  await page.getByText('y: must be a number').waitFor();
  await json.fill('{"x": 6, "y": 8}');
  await json.press('Control+Enter');
  await result().getByText('48').waitFor();
  await button('JSON').click();
  await expect.poll(() => field('y *').inputValue()).toBe('8');
});

test('a stream shows its items and can be cancelled', async () => {
  await openOperation('math@fame.fabric', 'count');
  await field('from').fill('100');
  await field('everyMs').fill('5');
  await button('Stream').click();
  await page.getByRole('region', { name: 'Items' }).getByText('103', { exact: true }).waitFor();
  await button('Cancel').click();
  await result().getByText('cancelled').waitFor();
  const [count] = /\d+/.exec(
    await result()
      .getByText(/ items$/)
      .innerText(),
  )!;
  expect(Number(count)).toBeGreaterThan(3);
  // The agent has ended the call: it serves none.
  await expect
    .poll(async () => Math.max(...(await listNodes(console.sentinel)).map(({ serving }) => serving)))
    .toBe(0);
});

test('an error of the agent has its code and a fix', async () => {
  await openOperation('chat@fame.fabric', 'get_history');
  await field('conversation_id *').fill('none');
  await button('Call').click();
  const problem = result().getByRole('alert');
  await problem.getByText('CONVERSATION_UNKNOWN').waitFor();
  await expect.poll(() => problem.locator('p').count()).toBe(2);
});

test('each operation of the chat agent has a form', async () => {
  const { operations } = (await (await fetchWithKey(console.sentinel, '/agents/chat')).json()) as {
    operations: { name: string }[];
  };
  expect(operations.length).toBeGreaterThan(10);
  for (const { name } of operations) {
    await page
      .getByRole('navigation', { name: 'Operations' })
      .getByRole('link', { name, exact: true })
      .click();
    await page.getByRole('heading', { level: 2, name, exact: true }).waitFor();
    await page.getByRole('button', { name: /^(Call|Stream)$/ }).waitFor();
  }
});

const run = promisify(execFile);
const shown = async (title: string): Promise<string> => {
  await button(title).click();
  return page.getByRole('region', { name: `Call in ${title}` }).innerText();
};

test('the code of a call runs as it is shown', async () => {
  await openOperation('math@fame.fabric', 'add');
  await field('x *').fill('40');
  await field('y *').fill('2');
  const env = {
    ...process.env,
    PATH: `${join(ROOT, 'node_modules/.bin')}:${process.env.PATH}`,
    FAME_DATA_DIR: console.sentinel.dataDir,
  };
  const cwd = temporaryDirectory();
  const shell = async (text: string) => (await run('sh', ['-c', text], { cwd, env })).stdout.trim();
  expect(await shell(await shown('curl'))).toBe('42');
  const fame = (await shown('fame call')).replace(
    'npx fame-fabric',
    [process.execPath, ...fameArgs()].join(' '),
  );
  expect(await shell(fame)).toBe('42');
  symlinkSync(join(ROOT, 'node_modules'), join(cwd, 'node_modules'));
  const file = join(cwd, 'call.mts');
  expect(await runTypeScript(await shown('TypeScript'), file, env)).toBe('42');
  expect(await shown('Python')).toContain('print(await agent.add(x=40, y=2))');

  await openOperation('math@fame.fabric', 'fib_stream');
  await field('n *').fill('4');
  expect((await shell(await shown('curl'))).match(/^data: \d+$/gm)).toEqual([
    'data: 0',
    'data: 1',
    'data: 1',
    'data: 2',
  ]);
  expect(await runTypeScript(await shown('TypeScript'), file, env)).toBe('0\n1\n1\n2');
});

async function runTypeScript(text: string, file: string, env: NodeJS.ProcessEnv): Promise<string> {
  writeFileSync(file, text);
  return (await run(process.execPath, [file], { env })).stdout.trim();
}

test('the screen works at 360 px and has no faults', async () => {
  await page.setViewportSize({ width: 360, height: 740 });
  await openOperation('chat@fame.fabric', 'run_turn');
  expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(360);
  expect(console.faults).toEqual([]);
});
