// N3: the page of `packages/react/examples/web`, in React's strict mode, and the page without a build, in Chromium against a sentinel
// and an agent as processes. Both pages run the published code, the `dist` of the packages.
import { join } from 'node:path';
import { type ControlledGate, callTools, gate, type Scripted } from '@fame-fabric/agents/testing';
import type { Browser, BrowserContext, Page, WebSocket } from 'playwright-core';
import { build } from 'vite';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { startChromium } from '../kit/chromium.ts';
import { freePort, ROOT, stopAll } from '../kit/processes.ts';
import { admissionUrl, type OurSentinel, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';
import { lastUserText, startAgent, startModel, stopStack } from '../kit/stack.ts';
import { type StaticFiles, serveFiles } from '../kit/static-files.ts';

let browser: Browser;
let pages: StaticFiles;
let port: number;
let context: BrowserContext;

beforeAll(async () => {
  port = await freePort();
  const outDir = temporaryDirectory();
  const building = build({
    root: join(ROOT, 'packages/react/examples/web'),
    logLevel: 'warn',
    build: { outDir, emptyOutDir: true, minify: false },
    define: {
      'import.meta.env.VITE_FAME_URL': JSON.stringify(admissionUrl(port)),
      // React mounts twice in its development version only.
      'process.env.NODE_ENV': '"development"',
    },
  });
  [browser] = await Promise.all([startChromium(), building]);
  pages = await serveFiles(outDir);
});
afterEach(async () => {
  await context.close();
  await stopStack();
});
afterAll(async () => {
  await browser.close();
  await pages.close();
});

interface Fabric {
  sentinel: OurSentinel;
  /** Starts the agent, or its successor, with the same conversations. */
  startAgent: (env?: Record<string, string>) => ReturnType<typeof startAgent>;
  prompts: () => number;
}

/** Starts a sentinel that allows the origin of the pages, and an agent whose model is scripted. */
async function startFabric(
  respond: (text: string, index: number) => Scripted,
  { origin = pages.origin, agentEnv = {} }: { origin?: string; agentEnv?: Record<string, string> } = {},
): Promise<Fabric> {
  const env = { FAME_ALLOWED_ORIGINS: origin, FAME_RESUME_WINDOW_MS: '500' };
  const sentinel = await startOurSentinel({ port, env });
  const model = await startModel({ respond: (request, index) => respond(lastUserText(request), index) });
  const dataDir = temporaryDirectory();
  // With the key a successor gets the address at once.
  const key = { FAME_ADMISSION_TOKEN_FILE: join(sentinel.dataDir, 'token') };
  const start = (extra = {}) =>
    startAgent(sentinel.url, { model, dataDir, env: { ...key, ...agentEnv, ...extra } });
  return { sentinel, startAgent: start, prompts: () => model.count };
}

/** Opens the page in a browser without data; `openTab` opens it once more beside it. */
async function openPage(): Promise<Page> {
  context = await browser.newContext();
  return openTab();
}
async function openTab(): Promise<Page> {
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  await page.goto(pages.origin);
  await page.getByRole('status').getByText('Connected').waitFor();
  return page;
}

async function send(page: Page, text: string): Promise<void> {
  await page.getByLabel('Message', { exact: true }).fill(text);
  await page.getByLabel('Message', { exact: true }).press('Enter');
}
/** Waits until the whole text of the last answer is `text`. */
const answered = (page: Page, text: string, state = 'completed') =>
  expect
    .poll(() => page.locator(`.assistant[data-state=${state}]`).last().locator('.text').allInnerTexts())
    .toEqual([text]);

test('strict mode opens one connection; text is shown while it streams, and tools with their state', async () => {
  const half = gate();
  const { startAgent: agent } = await startFabric((text, index) => {
    if (index === 0) return callTools([{ name: 'clock', arguments: {} }], { text: 'Let me see. ' });
    return text === 'What time is it?' ? ['It is ', half, 'late.'] : 'Yes.';
  });
  await agent();
  context = await browser.newContext();
  const page = await context.newPage();
  const sockets: WebSocket[] = [];
  page.on('websocket', (socket) => sockets.push(socket));
  const faults: string[] = [];
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') faults.push(message.text());
  });
  page.on('pageerror', (error) => faults.push(error.message));
  await page.goto(pages.origin);
  await page.getByRole('status').getByText('Connected').waitFor();
  await page.getByRole('button', { name: 'What time is it?' }).click();
  await half.reached;
  const answer = page.locator('.assistant');
  await answer.getByText('It is', { exact: true }).waitFor();
  await expect.poll(() => answer.getAttribute('data-state')).toBe('running');
  expect(await page.getByLabel('Tool clock').getByText('done').isVisible()).toBe(true);
  half.open();
  await expect.poll(() => answer.locator('.text').allInnerTexts()).toEqual(['Let me see. ', 'It is late.']);
  expect(sockets).toHaveLength(1);
  // Another conversation has a connection of its own, and the first one is closed.
  await page.getByRole('button', { name: 'New chat' }).click();
  await expect.poll(() => sockets.map((socket) => socket.isClosed())).toEqual([true, false]);
  await expect.poll(() => answer.count()).toBe(0);
  expect(faults).toEqual([]);
});

test('a call waits for the approval of a page, and both tabs show the same', async () => {
  const { startAgent: agent } = await startFabric(
    (_text, index) =>
      index === 0 ? callTools([{ name: 'calculator', arguments: { expression: '6*7' } }]) : 'It is 42.',
    { agentEnv: { FAME_APPROVE_TOOLS: 'calculator' } },
  );
  await agent();
  const first = await openPage();
  const second = await openTab();
  await send(first, 'What is 6 times 7?');
  await first.getByRole('button', { name: 'Approve calculator' }).waitFor();
  await second.getByRole('button', { name: 'Approve calculator' }).click();
  for (const page of [first, second]) {
    await answered(page, 'It is 42.');
    await page.getByLabel('Tool calculator').getByText('done').waitFor();
    await expect.poll(() => page.getByRole('button', { name: 'Approve' }).count()).toBe(0);
  }
});

test('a turn of one tab streams in the other, and continues while the first one is reloaded', async () => {
  const half = gate();
  const { startAgent: agent } = await startFabric((_text, index) =>
    index === 0 ? ['One, ', half, 'two.'] : 'Three.',
  );
  await agent();
  const first = await openPage();
  const second = await openTab();
  await send(first, 'Count');
  await second.locator('.user').getByText('Count').waitFor();
  await answered(second, 'One, ', 'running');
  await first.reload();
  await answered(first, 'One, ', 'running');
  half.open();
  for (const page of [first, second]) await answered(page, 'One, two.');
  await send(second, 'Go on');
  await answered(first, 'Three.');
  await expect.poll(() => first.locator('.log > li').count()).toBe(4);
});

test('an answer during which the sentinel is killed arrives once and completely', async () => {
  const half = gate();
  const fabric = await startFabric(() => ['first half, ', half, 'second half']);
  await fabric.startAgent();
  const page = await openPage();
  await send(page, 'Tell me');
  await answered(page, 'first half, ', 'running');
  await fabric.sentinel.proc.kill();
  await page.getByRole('status').getByText('Reconnecting').waitFor();
  half.open();
  await startOurSentinel({ ...fabric.sentinel, env: { FAME_ALLOWED_ORIGINS: pages.origin } });
  await answered(page, 'first half, second half');
  await page.getByRole('status').getByText('Connected').waitFor();
  expect(fabric.prompts()).toBe(1);
});

test('an answer during which the agent is killed continues, and no word of it is shown twice', async () => {
  const halves: ControlledGate[] = [gate(), gate()];
  const fabric = await startFabric((_text, index) => ['This sentence ', halves[index]!, 'goes on.']);
  const agent = await fabric.startAgent();
  const page = await openPage();
  await send(page, 'Say it');
  await answered(page, 'This sentence ', 'running');
  await agent.kill();
  await send(page, 'And then?'); // waits for the agent
  await page.getByRole('status').getByText('Reconnecting').waitFor();
  halves.push(gate());
  halves[1]!.open();
  halves[2]!.open();
  await fabric.startAgent();
  await page.getByRole('status').getByText('Connected').waitFor();
  await expect
    .poll(() => page.locator('.assistant[data-state=completed] .text').allInnerTexts())
    .toEqual(['This sentence goes on.', 'This sentence goes on.']);
  await expect.poll(() => page.locator('.user .text').allInnerTexts()).toEqual(['Say it', 'And then?']);
});

test('Stop and Escape cancel an answer, and a failed one can be sent again', async () => {
  const { startAgent: agent } = await startFabric((_text, index) =>
    index === 0 ? ['Well', gate()] : 'Done.',
  );
  await agent();
  const page = await openPage();
  await send(page, 'Go');
  await answered(page, 'Well', 'running');
  await page.getByLabel('Message', { exact: true }).press('Escape');
  await answered(page, 'Well', 'cancelled');
  await page.getByRole('button', { name: 'Try again' }).click();
  await answered(page, 'Done.');
});

test('a page whose origin is not allowed reports it', async () => {
  await startFabric(() => 'never', { origin: 'http://localhost:1' });
  context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(pages.origin);
  const notice = page.getByRole('alert');
  await notice.waitFor();
  await expect
    .poll(() => notice.innerText())
    .toContain(`FAME_ALLOWED_ORIGINS does not list the origin of this page, ${pages.origin}`);
});

test('the page without a build streams an answer through the bundle of the client', async () => {
  const half = gate();
  const files = await serveFiles(join(ROOT, 'client'));
  const { startAgent: agent, sentinel } = await startFabric(
    (_text, index) => (index === 0 ? callTools([{ name: 'clock', arguments: {} }]) : ['One, ', half, 'two.']),
    { origin: files.origin },
  );
  await agent();
  context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${files.origin}/examples/page.html?port=${sentinel.port}`);
  await page.getByRole('status').getByText('Connected').waitFor();
  await send(page, 'Count');
  const items = () => page.locator('#log li').allInnerTexts();
  await expect.poll(items).toEqual(['You: Count', 'Tool: clock {}', 'One, ']);
  half.open();
  await expect.poll(items).toEqual(['You: Count', 'Tool: clock {}', 'One, two.']);
  await stopAll();
  await page.getByRole('status').getByText('Reconnecting').waitFor();
  await files.close();
});
