// N6: the recording of README.md in Chromium: as an image it moves, its last frame has the whole answer, and readers who do not
// want animations see the last frame.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startChromium } from '../kit/chromium.ts';
import { ROOT } from '../kit/processes.ts';

const FILE = join(ROOT, 'docs/recording.svg');
const POEM = [
  'I sing to you of a message,',
  'that left when it was day,',
  'and asked of every crossing',
  'who knew the shorter way.',
  'The road was dark, the night was long,',
  'the answer far, and yet',
  'it carried home the one small thing',
  'that it was asked to get.',
].join(' ');

let browser: Browser;
beforeAll(async () => {
  browser = await startChromium();
});
afterAll(() => browser.close());

/** Text that is visible in the picture, from top to bottom. Code of the page is text here: these tests have no types of the DOM. */
const visibleText = (page: Page): Promise<string> =>
  page.evaluate(`[...document.querySelectorAll('text')]
    .filter((element) => getComputedStyle(element).visibility === 'visible')
    .map((element) => element.textContent)
    .join('\\n')`);

/** Stops the animations at a share of their time. */
const seek = (page: Page, share: number): Promise<void> =>
  page.evaluate(`for (const animation of document.getAnimations()) {
    animation.pause();
    animation.currentTime = ${share} * animation.effect.getComputedTiming().duration;
  }`);

/** The answer in the upper terminal, without the notes about the outages. */
function answerIn(text: string): string {
  const [, answer = ''] = /A>\s*([\s\S]*?)\nQ>\n/.exec(text) ?? [];
  return answer
    .split('\n')
    .filter((line) => !/^(?:Waiting for|Reconnecting|Connected again)/.test(line))
    .join(' ');
}

test('as an image it moves', async () => {
  const page = await browser.newPage({ viewport: { width: 900, height: 720 } });
  await page.setContent(`<img src="data:image/svg+xml;base64,${readFileSync(FILE).toString('base64')}">`);
  await page.waitForFunction('document.images[0]?.complete && document.images[0].naturalWidth > 0');
  const first = await page.screenshot();
  await expect.poll(async () => (await page.screenshot()).equals(first)).toBe(false);
  await page.close();
});

test('the first frame has no answer, and the last frame has the whole answer once', async () => {
  const page = await browser.newPage();
  await page.goto(pathToFileURL(FILE).href);
  await seek(page, 0);
  expect(await visibleText(page)).not.toContain('I sing');
  await seek(page, 0.999);
  const last = await visibleText(page);
  expect(answerIn(last)).toBe(POEM);
  expect(last.match(/I sing to you/g)).toHaveLength(1);
  await page.close();
});

test('without animations it shows the last frame', async () => {
  const page = await browser.newPage({ reducedMotion: 'reduce' });
  await page.goto(pathToFileURL(FILE).href);
  expect(await page.evaluate('document.getAnimations().length')).toBe(0);
  expect(answerIn(await visibleText(page))).toBe(POEM);
  await page.close();
});
