// The Trace screen: the messages of a real turn, their story, filters, pause, and 100,000 rows.
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { CHAT, converse, openClient } from '../../kit/stack.ts';
import { startConsole, type TestConsole } from './kit.ts';

let fabric: TestConsole;
let page: Page;
beforeAll(async () => {
  fabric = await startConsole({ respond: () => ['One, ', 'two, ', 'three.'] });
  await fabric.startAgent();
});
afterEach(() => page.context().close());
afterAll(() => fabric.close());

const list = () => page.getByRole('grid', { name: 'Messages' });
const rows = () =>
  list()
    .getByRole('row')
    .filter({ hasNot: page.getByRole('columnheader') });
const status = () => page.locator('.trace-status').innerText();

/** One turn of another client, so that its messages pass the sentinel. */
async function runTurn(): Promise<void> {
  const conversation = await converse(await openClient(fabric.sentinel.url));
  await conversation.runTurn('Count');
}

test('a row opens the story of its call, from the request to the last answer', async () => {
  page = await fabric.open('#/trace');
  await page.getByText('No messages yet').waitFor();
  await page.getByText('Live').waitFor();
  await runTurn();
  await rows().filter({ hasText: CHAT }).first().waitFor();
  // The messages of a turn, in a list that the keyboard operates.
  await list().focus();
  await page.keyboard.press('Home');
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Story of the call' }).waitFor();
  await page.keyboard.press('End');
  await rows().filter({ hasText: CHAT }).last().click();
  const steps = page.locator('.trace-story ol li');
  await expect
    .poll(async () => (await steps.allInnerTexts()).join('\n'))
    .toMatch(new RegExp(`to ${CHAT}: Data, .*\\n(?:.*\\n)*.*${CHAT} to \\w+: Data`));
  // Acks may still arrive, so both are counted in one look at the page.
  await expect
    .poll(() =>
      page.evaluate(
        `document.querySelectorAll('.story-step').length - document.querySelectorAll('.trace-story ol li').length`,
      ),
    )
    .toBe(0);
  expect(await page.locator('.story-name').allTextContents()).toEqual(
    expect.arrayContaining([expect.stringContaining('sentinel'), expect.stringContaining(CHAT)]),
  );
  await page.goBack();
  await expect.poll(() => page.getByRole('heading', { name: 'Story of the call' }).count()).toBe(0);
});

test('the messages of Talk are in the trace when it opens', async () => {
  page = await fabric.open(`#/talk/${CHAT}`);
  await page.getByRole('textbox', { name: /^Message/ }).fill('Count');
  await page.keyboard.press('Enter');
  await page.getByText('One, two, three.').waitFor();
  await page.getByRole('link', { name: 'Trace' }).click();
  await rows().filter({ hasText: 'this page' }).filter({ hasText: CHAT }).first().waitFor();
});

test('filters select messages, and a paused trace does not grow', async () => {
  page = await fabric.open('#/trace');
  await page.getByText('Live').waitFor();
  await runTurn();
  await rows().first().waitFor();
  await page.getByLabel('Address').fill('nowhere@fame.fabric');
  await expect.poll(status).toMatch(/\b0 of \d/);
  const caller = await openClient(fabric.sentinel.url);
  await expect(caller.call('nowhere@fame.fabric', 'x')).rejects.toMatchObject({ code: 'NO_ROUTE' });
  await expect
    .poll(() => rows().allInnerTexts())
    .toEqual([expect.stringMatching(/nowhere@fame\.fabric[\s\S]*NO_ROUTE/)]);
  await page.getByLabel('Address').fill('');
  await page.getByLabel('Code').selectOption('NO_ROUTE');
  await expect.poll(() => rows().count()).toBe(1);
  await page.getByRole('button', { name: 'Clear filters' }).click();
  await page.getByLabel('Type').selectOption('Data');
  expect((await rows().allInnerTexts()).every((text) => text.includes('Data'))).toBe(true);
  await page.getByRole('button', { name: 'Pause' }).click();
  const [, before] = /of ([\d,]+)/.exec(await status())!;
  await runTurn();
  await expect.poll(status).toMatch(/Paused, [1-9]\d* not kept/);
  await expect.poll(status).toContain(`of ${before} messages`);
  await page.getByRole('button', { name: 'Pause' }).click();
  await runTurn();
  await expect
    .poll(async () => Number(/of ([\d,]+)/.exec(await status())![1]))
    .toBeGreaterThan(Number(before));
});

test('the filter by conversation selects the calls of its turns, also of later ones', async () => {
  page = await fabric.open('#/trace');
  await page.getByText('Live').waitFor();
  // The local key lets the page read conversations of others.
  const conversation = await converse(await openClient(fabric.sentinel.url));
  await conversation.runTurn('Count');
  await runTurn();
  const counts = async (): Promise<{ matching: number; total: number }> => {
    const [matching, total] = (await status()).match(/[\d,]+/g)!.map((text) => Number(text.replace(',', '')));
    return { matching: matching!, total: total! };
  };
  const isFiltered = async (): Promise<boolean> => {
    const { matching, total } = await counts();
    return matching >= 2 && matching < total;
  };
  await expect.poll(async () => (await counts()).total).toBeGreaterThan(8);
  await page.goto(`${fabric.sentinel.http}/console/#/trace/conversation/${CHAT}/${conversation.id}`);
  // All messages match until the page has read the calls of the conversation.
  await expect.poll(isFiltered).toBe(true);
  const first = (await counts()).matching;
  await conversation.runTurn('Again');
  await expect.poll(async () => (await counts()).matching).toBeGreaterThan(first);
  expect(await isFiltered()).toBe(true);
  await page.getByLabel('Conversation').fill(`${CHAT}/unknown`);
  await page.keyboard.press('Enter');
  await page.getByRole('alert').getByText('CONVERSATION_UNKNOWN').waitFor();
  await page.getByRole('button', { name: 'Clear filters' }).click();
  await expect
    .poll(async () => {
      const { matching, total } = await counts();
      return total - matching;
    })
    .toBe(0);
});

/** As many lines as the trace keeps, in the form of the sentinel. */
const manyLines = (count: number): string =>
  Array.from({ length: count }, (_, index) =>
    JSON.stringify({
      t: 1_700_000_000_000 + index,
      dir: index % 97 === 0 ? 'refuse' : 'forward',
      type: 'Data',
      from: `/s/node${index % 50}`,
      to: `agent${index % 20}@fame.fabric`,
      via: `/s/node${(index * 7) % 50}`,
      corrId: `call${index % 5_000}`,
      id: `m${index}`,
      bytes: 200 + (index % 3_000),
      ...(index % 97 === 0 && { code: 'NO_ROUTE' }),
    }),
  ).join('\n');

/** Jumps from the end of the list to its start and back. No row survives a jump. */
const JUMPS = 75;
const MAX_FRAME_MS = 50;

/** Maximum number of passes. Another process may disturb some jumps of a pass, but a slow row is slow in every pass. */
const MAX_PASSES = 20;

/**
 * Scrolls through the list in passes of the same jumps, until each jump was below the limit in one of them. The time of a jump is that
 * from its start to the end of the frame that shows its rows, in ms, and the shortest of all passes.
 * The page is no part of the types of the tests, so its code is text.
 */
async function scrollFrames(limitMs: number): Promise<{ p50: number; slowest: number; passes: number }> {
  const times = Array<number>(JUMPS).fill(Number.POSITIVE_INFINITY);
  let passes = 0;
  while (passes < MAX_PASSES && Math.max(...times) >= limitMs) {
    const ofPass = await page.evaluate<number[]>(PASS);
    for (const [jump, ms] of ofPass.entries()) times[jump] = Math.min(times[jump]!, ms);
    passes++;
  }
  times.sort((a, b) => a - b);
  return { p50: times[JUMPS >> 1]!, slowest: times.at(-1)!, passes };
}

const PASS = `(async () => {
  const box = document.querySelector('.virtual-list');
  const times = [];
  for (let jump = 0; jump < ${JUMPS}; jump++) {
    await new Promise(requestAnimationFrame);
    const start = performance.now();
    box.scrollTop = box.scrollHeight * Math.abs(1 - (2 * jump) / ${JUMPS});
    await new Promise(requestAnimationFrame);
    const { promise, resolve } = Promise.withResolvers();
    const channel = new MessageChannel();
    channel.port1.onmessage = resolve;
    channel.port2.postMessage(0);
    await promise;
    times.push(performance.now() - start);
  }
  return times;
})()`;

test('100,000 rows scroll in frames of less than 50 ms with a flat heap', async () => {
  page = await fabric.open('#/doctor');
  let isServed = false;
  await page.route('**/fame/v1/trace', async (route) => {
    if (isServed) return route.continue();
    isServed = true;
    await route.fulfill({ contentType: 'application/x-ndjson', body: `${manyLines(100_000)}\n` });
  });
  await page.getByRole('link', { name: 'Trace' }).click();
  await expect.poll(status).toMatch(/100,\d\d\d of 100,/);
  await rows().last().waitFor();
  const cdp = await page.context().newCDPSession(page);
  const heap = async (): Promise<number> => {
    await cdp.send('HeapProfiler.collectGarbage');
    return (await cdp.send('Runtime.getHeapUsage')).usedSize;
  };
  const before = await heap();
  const frames = await scrollFrames(MAX_FRAME_MS);
  const after = await heap();
  const megabytes = [before, after].map((bytes) => (bytes / 1e6).toFixed(1)).join(' -> ');
  console.log(
    `frames in ${frames.passes} passes: p50 ${frames.p50.toFixed(1)} ms, slowest jump ${frames.slowest.toFixed(1)} ms; heap ${megabytes} MB`,
  );
  expect(frames.slowest).toBeLessThan(MAX_FRAME_MS);
  expect(after).toBeLessThan(before * 1.05 + 1_000_000);
  // The rows that are rendered are the visible ones.
  await expect.poll(() => rows().count()).toBeLessThan(80);
  await list().focus();
  await page.keyboard.press('Home');
  await expect.poll(() => rows().first().getAttribute('aria-rowindex')).toBe('2');
  await page.getByLabel('Code').selectOption('*');
  await expect.poll(status).toMatch(/1,031 of/);
});

test('no page wrote an error', () => {
  expect(fabric.faults).toEqual([]);
});
