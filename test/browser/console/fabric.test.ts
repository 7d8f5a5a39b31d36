// The screens Fabric and Health against a real sentinel: nodes that come, work, lose their connection and leave; 2,000 nodes; use
// with the keyboard only.
import type { Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { RawNodes } from '../../kit/raw-node.ts';
import { localKey } from '../../kit/sentinel.ts';
import { openClient } from '../../kit/stack.ts';
import { startConsole, type TestConsole } from './kit.ts';

let fabric: TestConsole;
let page: Page;
const nodes = new RawNodes(() => fabric.sentinel.url);
const options = () => ({
  ws: { headers: { authorization: `Bearer ${localKey(fabric.sentinel.dataDir)}` } },
});

beforeAll(async () => {
  fabric = await startConsole({ sentinel: { env: { FAME_RESUME_WINDOW_MS: '3000' } } });
  page = await fabric.open('#/fabric');
});
afterAll(async () => {
  await nodes.closeAll();
  await fabric.close();
});

/** Pixels by which the screen is wider than its window. */
const OVERFLOW = "document.querySelector('main').scrollWidth - document.querySelector('main').clientWidth";
/** Keeps the length of the longest task of the page's thread, in ms, in `longestTask`. */
const WATCH_TASKS = `
  globalThis.longestTask = 0;
  new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) longestTask = Math.max(longestTask, duration);
  }).observe({ type: 'longtask' });`;

const card = (text: string): Locator => page.locator('.fabric-card').filter({ hasText: text });
const panel = (): Locator => page.locator('.fabric-panel');
const fact = (name: string): Locator =>
  panel()
    .locator('dl > div')
    .filter({ has: page.getByText(name, { exact: true }) })
    .locator('dd');

test('without an agent the screen shows the line that starts one; the agent then appears', async () => {
  await page.getByRole('heading', { name: 'No agent is attached' }).waitFor();
  const line = `FAME_LISTENER_PORT=${fabric.sentinel.port} npx fame-fabric agent`;
  await expect.poll(() => page.getByLabel('Command', { exact: true }).innerText()).toBe(line);
  await fabric.startAgent();
  await card('chat@fame.fabric').waitFor();
  await page.getByRole('heading', { name: 'No agent is attached' }).waitFor({ state: 'detached' });
  await expect.poll(() => card('This page').count()).toBe(1);
});

test('the keyboard reaches a card, opens its panel, and returns to it', async () => {
  await page.getByLabel('Search nodes').focus();
  await page.keyboard.press('Tab');
  await page.keyboard.press('Home');
  const focused = page.locator(':focus');
  await expect.poll(() => focused.innerText()).toContain('chat');
  await page.keyboard.press('Enter');
  await panel().getByRole('heading', { name: 'chat@fame.fabric' }).waitFor();
  await expect.poll(() => fact('Addresses').innerText()).toBe('chat@fame.fabric');
  await expect.poll(() => fact('Principal').innerText()).toBe('local');
  await expect.poll(() => fact('Software').innerText()).toContain('fame-fabric');
  await expect.poll(() => fact('Path').innerText()).toMatch(/^\/.+\/.+/);
  await expect.poll(() => fact('Queue').innerText()).toMatch(/^0 B of \d+ MiB, 0 messages$/);
  await expect.poll(() => fact('Open calls').innerText()).toMatch(/^0 of [\d,]+$/);
  await page.keyboard.press('Escape');
  await panel().waitFor({ state: 'detached' });
  await expect.poll(() => focused.innerText()).toContain('chat');
  await page.keyboard.press('ArrowRight');
  await expect.poll(() => focused.innerText()).not.toContain('chat@');
});

test('calls show on the edge, on the card and in the panel; a refusal shows with its code', async () => {
  await nodes.echo('echo@fame.fabric', options());
  const caller = await nodes.attached(options());
  await card('echo@fame.fabric').click();
  await panel().getByText('None.').waitFor();
  await expect
    .poll(
      async () => {
        await Promise.all(Array.from({ length: 20 }, () => caller.call('echo@fame.fabric', 'echo')));
        return await card('echo@fame.fabric').locator('.fabric-rate').count();
      },
      { interval: 100 },
    )
    .toBe(1);
  await expect.poll(() => page.locator('.fabric-flow').count()).toBeGreaterThan(1);
  await panel()
    .locator('.fabric-spark strong', { hasText: /[1-9].* messages\/s/ })
    .waitFor();
  // A reply address that is not below the path of the caller is refused.
  caller.sendCall('echo@fame.fabric', 'echo', {}, { replyTo: 'x@/elsewhere' });
  await card(caller.path.slice(caller.path.lastIndexOf('/') + 1)).click();
  await expect.poll(() => panel().locator('.fabric-refusals .tag').allInnerTexts()).toHaveLength(1);
  await expect.poll(() => panel().locator('.fabric-refusals .tag').innerText()).toMatch(/^[A-Z_]+$/);
});

test('a node whose connection is cut is away until its resume window ends, and then gone', async () => {
  const node = await nodes.attached(options());
  await node.serve('fragile@fame.fabric');
  await card('fragile').waitFor();
  await node.cut();
  await card('fragile')
    .getByText(/^away, [1-3] s left$/)
    .waitFor();
  await expect.poll(() => card('fragile').getAttribute('data-state')).toBe('gone');
});

test('a node is disconnected after a confirmation only', async () => {
  const node = await nodes.attached(options());
  await node.serve('target@fame.fabric');
  await card('target').click();
  const dialog = page.getByRole('dialog', { name: 'Disconnect target@fame.fabric' });
  await panel().getByRole('button', { name: 'Disconnect…' }).press('Enter');
  await dialog.waitFor();
  await page.keyboard.press('Escape');
  await dialog.waitFor({ state: 'hidden' });
  await expect.poll(() => panel().count()).toBe(1);
  expect(node.isClosed).toBe(false);
  await panel().getByRole('button', { name: 'Disconnect…' }).click();
  await dialog.getByRole('button', { name: 'Disconnect', exact: true }).click();
  await node.closed;
  await dialog.waitFor({ state: 'hidden' });
});

test('two thousand nodes are shown in groups, and searching in them does not block the page', async () => {
  for (let start = 0; start < 2_000; start += 100) {
    await Promise.all(
      Array.from({ length: 100 }, async (_, index) => {
        const node = await nodes.attached(options());
        const number = start + index;
        if (number % 2 === 0)
          await node.serve(`${number % 4 === 0 ? 'worker' : 'index'}-${number}@fame.fabric`);
      }),
    );
  }
  await card('worker-*@fame.fabric').getByText('500 nodes').waitFor();
  await card('index-*@fame.fabric').getByText('500 nodes').waitFor();
  await expect.poll(() => page.locator('.fabric-card').count()).toBeLessThanOrEqual(60);
  // The best of three tries: another process may delay one, but a search that blocks the page does so in all.
  const longest: number[] = [];
  for (let tries = 0; tries < 3; tries++) longest.push(await longestTaskOfSearch());
  console.log(`longest task: ${longest.map((ms) => Math.round(ms)).join(', ')} ms`);
  expect(Math.min(...longest)).toBeLessThan(400);
});

/** Searches for nodes and opens them, first among all and then in a group. Returns the longest task of the page's thread, in ms. */
async function longestTaskOfSearch(): Promise<number> {
  await page.evaluate(WATCH_TASKS);
  await page.getByLabel('Search nodes').pressSequentially('worker-1996');
  await expect.poll(() => page.locator('.fabric-card').count()).toBe(1);
  await card('worker-1996@fame.fabric').click();
  await panel().getByRole('heading', { name: 'worker-1996@fame.fabric' }).waitFor();
  await page.getByLabel('Search nodes').fill('');
  await card('worker-*@fame.fabric').click();
  await panel().getByText('The first 100 of 500 nodes. Search to see others.').waitFor();
  await panel().getByLabel('Search in this group').fill('1992');
  await panel().getByRole('button', { name: 'worker-1992@fame.fabric' }).click();
  await panel().getByRole('heading', { name: 'worker-1992@fame.fabric' }).waitFor();
  return page.evaluate<number>('longestTask');
}

test.each([
  [360, 740],
  [3_840, 2_160],
])('nothing is cut off at %i px', async (width, height) => {
  await page.setViewportSize({ width, height });
  for (const hash of ['#/fabric', '#/health']) {
    await page.evaluate(`location.hash = '${hash}'`);
    await page.getByRole('heading', { level: 1 }).waitFor();
    await expect.poll(() => page.evaluate<number>(OVERFLOW), { message: hash }).toBeLessThanOrEqual(0);
  }
  await page.setViewportSize({ width: 1_280, height: 800 });
});

test('Health shows the traffic of the sentinel, and says that the agent has had no turn', async () => {
  await page.evaluate("location.hash = '#/health'");
  const messages = page.getByRole('figure', { name: 'Messages' });
  await messages
    .getByRole('img', { name: /^Messages: messages .*Highest in \d+ minutes?: [\d.]+k?\/s\.$/ })
    .waitFor();
  await expect.poll(() => messages.getByRole('img').getAttribute('aria-label')).not.toContain(': 0/s.');
  const nodeChart = page.getByRole('figure', { name: 'Attached nodes' });
  await expect.poll(() => nodeChart.locator('.chart-legend').innerText()).toMatch(/2,\d{3}$/);
  await messages.getByText('Values').press('Enter');
  await messages.getByRole('columnheader', { name: 'Time' }).waitFor();
  await page.getByRole('heading', { name: 'No turns yet' }).waitFor();
});

test('after a turn Health shows turns, tokens and the time to the first token', async () => {
  const talk = await openClient(fabric.sentinel.url);
  expect(await talk.conversation('chat@fame.fabric').ask('Hello')).toBe('re: Hello');
  await page.getByRole('figure', { name: 'Time to first token' }).waitFor();
  await expect.poll(() => page.getByRole('figure').allInnerTexts()).not.toContain('NaN');
});

test('a page without a credential shows how to sign in', async () => {
  const stranger = await fabric.open('#/fabric', { isSignedIn: false });
  await stranger.getByText('npx fame-fabric console').first().waitFor();
});

test('the pages had no errors', () => {
  expect(fabric.faults).toEqual([]);
});
