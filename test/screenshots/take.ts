// Makes the pictures of docs/console.md, or writes them to the folder that is named: `npm run screenshots [FOLDER]`. A sentinel, agents with
// the built-in model and a client that calls them run as processes, and Chromium opens each screen in light and in dark. It fails if a
// page reports an error.
import { deepStrictEqual } from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Client } from '@fame-fabric/client';
import type { Page } from 'playwright-core';
import { startConsole, type TestConsole } from '../browser/console/kit.ts';
import { type Proc, ROOT } from '../kit/processes.ts';
import { localKey, temporaryDirectory } from '../kit/sentinel.ts';
import { CHAT, openClient } from '../kit/stack.ts';
import { smallPng } from './png.ts';

const TEAM = 'team@fame.fabric';
const MATH = 'math@fame.fabric';
const SCHEMES = ['light', 'dark'] as const;
/** Time that charts, numbers and animations need after a change of the colours, in ms. */
const SETTLE_MS = 700;
/** Pause between two calls of the client in the background, in ms. */
const CALL_MS = 60;
/** Samples of 5 s that the charts of Health show at least. */
const SAMPLES = 10;
/** The built-in model is free. These prices make the cost of a turn visible. */
const PRICES = 'currency: USD\nprices:\n  - { model: "*", input: 0.4, output: 1.6 }\n';

const wait = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

/** A conversation of each kind, so that the list of conversations has several states. */
async function talk(client: Client): Promise<string> {
  const first = client.conversation(CHAT);
  await first.start();
  for (const text of ['Hello! My name is Ada.', "What's the weather in Paris?"]) await first.ask(text);
  for (const text of ['Write a poem about a message', 'Count to 20.']) {
    const conversation = client.conversation(CHAT);
    await conversation.start();
    await conversation.ask(text);
  }
  const team = client.conversation(TEAM);
  await team.start();
  await team.ask('Which lamp is good for a desk?');
  return first.id;
}

/** Calls an agent until `signal` aborts. Now and then an address without an agent is called, so that there are refusals. */
async function call(client: Client, signal: AbortSignal): Promise<void> {
  for (let count = 1; !signal.aborted; count++) {
    await client.call(MATH, 'add', { x: count, y: 1 });
    if (count % 40 === 0) await client.call('nowhere@fame.fabric', 'add').catch(() => undefined);
    if (count % 100 === 0) {
      const conversation = client.conversation(CHAT);
      await conversation.start();
      await conversation.ask(`What is ${count} times 7?`);
      await conversation.end();
    }
    await wait(CALL_MS + 40 * Math.sin(count / 40));
  }
}

class Photographer {
  readonly #folder: string;
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Takes the screen of a page in both colour schemes. */
  async take(page: Page, name: string): Promise<void> {
    for (const colorScheme of SCHEMES) {
      await page.emulateMedia({ colorScheme });
      await wait(SETTLE_MS);
      const file = smallPng(await page.screenshot());
      writeFileSync(join(this.#folder, `${name}-${colorScheme}.png`), file);
      console.log(`${name}-${colorScheme}.png ${Math.round(file.length / 1024)} KiB`);
    }
    await page.emulateMedia({ colorScheme: 'light' });
  }
}

async function takeAll(fabric: TestConsole, photographer: Photographer): Promise<void> {
  const prices = join(temporaryDirectory(), 'prices.yaml');
  writeFileSync(prices, PRICES);
  const env = { OPENAI_API_KEY: '', OPENAI_BASE_URL: '', FAME_PRICES_FILE: prices };
  const start = (name: string): Promise<Proc> => fabric.startAgent({ names: [name], env });
  const [echo] = await Promise.all(['echo', 'chat', 'team', 'math', 'refine'].map(start));
  const client = await openClient(fabric.sentinel.url, { token: localKey(fabric.sentinel.dataDir) });
  const page = await fabric.open('#/');
  const scene = { photographer, page, client, echo: echo!, url: `${fabric.sentinel.http}/console/#/` };
  await takeConversation(scene);
  await takeCalls(scene);
}

interface Scene {
  photographer: Photographer;
  page: Page;
  client: Client;
  /** Is killed, so that the fabric has a node that may return. */
  echo: Proc;
  /** URL of the console with the start of a route. */
  url: string;
}

async function go({ page, url }: Scene, ...segments: string[]): Promise<void> {
  await page.goto(url + segments.map(encodeURIComponent).join('/'));
  await page.getByRole('heading', { level: 1 }).waitFor();
}

/** Talk, Conversations and Trace, while nothing else passes the sentinel. */
async function takeConversation(scene: Scene): Promise<void> {
  const { page, client, photographer } = scene;
  const id = await talk(client);

  await go(scene, 'talk', CHAT, id);
  const message = page.getByLabel('Message', { exact: true });
  await message.fill('What is 6 times 7?');
  await message.press('Enter');
  const tool = page.getByLabel('Tool calculator').last();
  await tool.getByText('done').waitFor();
  await tool.locator('summary').click();
  await page.locator('.turn[data-state=completed]').nth(2).waitFor();
  await message.focus();
  await page.locator('.turn').last().scrollIntoViewIfNeeded();
  await photographer.take(page, 'talk');

  await go(scene, 'conversations', CHAT, id);
  await page.getByRole('article', { name: 'Turn 3' }).waitFor();
  await photographer.take(page, 'conversations');

  await go(scene, 'trace');
  const grid = page.getByRole('grid', { name: 'Messages' });
  await page.getByText('Live').waitFor();
  for (let x = 1; x < 4; x++) await client.call(MATH, 'add', { x, y: 1 });
  await client.call('nowhere@fame.fabric', 'add').catch(() => undefined);
  const count = client.conversation(CHAT);
  await count.start();
  await count.ask('Count to 5.');
  await grid.getByRole('row').filter({ hasText: CHAT }).last().click();
  await page.getByRole('heading', { name: 'Story of the call' }).waitFor();
  await photographer.take(page, 'trace');
}

/** The other screens, while a client calls agents. */
async function takeCalls(scene: Scene): Promise<void> {
  const stop = new AbortController();
  const screens = async (): Promise<void> => {
    try {
      await takeOthers(scene);
    } finally {
      stop.abort();
    }
  };
  await Promise.all([call(scene.client, stop.signal), screens()]);
}

async function takeOthers(scene: Scene): Promise<void> {
  const { page, echo, photographer } = scene;
  const started = Date.now();

  await go(scene, 'agents', MATH, 'add');
  await page.getByLabel('x *', { exact: true }).fill('6');
  await page.getByLabel('y *', { exact: true }).fill('7');
  await page.getByRole('button', { name: 'Call', exact: true }).click();
  await page.getByRole('region', { name: 'Result' }).first().getByText('done').waitFor();
  await photographer.take(page, 'agents');

  await go(scene, 'doctor');
  await page.locator('main').getByText(/\w/).nth(1).waitFor();
  await photographer.take(page, 'doctor');

  await go(scene, 'fabric');
  await echo.kill();
  const math = page
    .locator('[data-card]')
    .filter({ hasText: MATH.split('@')[0]! })
    .first();
  await page.locator('.fabric-legend').getByText('1 away').waitFor();
  await math.click();
  await wait(5_000);
  await photographer.take(page, 'fabric');

  await go(scene, 'health');
  await wait(Math.max(0, SAMPLES * 5_000 - (Date.now() - started)));
  await photographer.take(page, 'health');
  await go(scene, 'teams', TEAM);
  await page.getByLabel('Send a message to the team').fill('Where is my order 1042?');
  await page.keyboard.press('Enter');
  await page.getByRole('region', { name: 'Path of a message' }).getByText('done').waitFor();
  await photographer.take(page, 'teams');
}

const folder = resolve(ROOT, process.argv[2] ?? 'docs/console');
mkdirSync(folder, { recursive: true });
const fabric = await startConsole({ sentinel: { env: { FAME_RESUME_WINDOW_MS: '60000' } } });
try {
  await takeAll(fabric, new Photographer(folder));
  deepStrictEqual(fabric.faults, []);
} finally {
  await fabric.close();
}
