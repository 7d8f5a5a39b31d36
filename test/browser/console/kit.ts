// A console in Chromium: a sentinel and a chat agent as processes, with a scripted model, and pages that are signed in by a link.
// One file starts one console and checks much with it, since each start takes seconds.
import { join } from 'node:path';
import type { FakeOpenAI, Scripted, WireRequest } from '@fame-fabric/agents/testing';
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core';
import { startChromium } from '../../kit/chromium.ts';
import type { Proc } from '../../kit/processes.ts';
import {
  fetchWithKey,
  type OurSentinel,
  type OurSentinelOptions,
  startOurSentinel,
  temporaryDirectory,
} from '../../kit/sentinel.ts';
import { type AgentProcessOptions, startAgent, startModel, stopStack } from '../../kit/stack.ts';

export interface ConsoleOptions {
  /** The answers of the model. @default `re: <the user's text>` */
  respond?: (request: WireRequest, index: number) => Scripted;
  sentinel?: OurSentinelOptions;
}

export interface OpenOptions extends BrowserContextOptions {
  /** False opens the page without a credential. @default true */
  isSignedIn?: boolean;
}

/** A started console. `close()` ends everything that it started. */
export class TestConsole {
  readonly browser: Browser;
  readonly model: FakeOpenAI;
  sentinel: OurSentinel;
  readonly #contexts = new Set<BrowserContext>();
  /** Errors of all pages: uncaught ones, and those that the browser or the page wrote to its console. */
  readonly faults: string[] = [];

  constructor(browser: Browser, model: FakeOpenAI, sentinel: OurSentinel) {
    this.browser = browser;
    this.model = model;
    this.sentinel = sentinel;
  }

  /** Starts `fame agent` with the model of this console. It has the key of its sentinel, so a successor gets its addresses. */
  startAgent({ env, ...options }: AgentProcessOptions = {}, sentinel = this.sentinel): Promise<Proc> {
    const key = { FAME_ADMISSION_TOKEN_FILE: join(sentinel.dataDir, 'token') };
    return startAgent(sentinel.url, {
      model: this.model,
      dataDir: temporaryDirectory(),
      ...options,
      env: { ...key, ...env },
    });
  }

  /** Starts the sentinel again after it was killed, with the same port and data directory. */
  async restartSentinel(options: OurSentinelOptions = {}): Promise<void> {
    const { port, dataDir } = this.sentinel;
    this.sentinel = await startOurSentinel({ port, dataDir, ...options });
  }

  /** A one-time URL that signs in with the local key. */
  async signInLink(): Promise<string> {
    const answer = await fetchWithKey(this.sentinel, '/fame/v1/sign-in-links', { method: 'POST' });
    if (answer.status !== 201) throw new Error(`No sign-in link: ${answer.status} ${await answer.text()}`);
    return ((await answer.json()) as { url: string }).url;
  }

  /** Opens `hash`, such as `#/trace`, in a browser without data, and waits until the page is connected. */
  async open(hash: string, { isSignedIn = true, ...options }: OpenOptions = {}): Promise<Page> {
    const context = await this.browser.newContext({ viewport: { width: 1_280, height: 800 }, ...options });
    this.#contexts.add(context);
    const page = await this.openTab(context);
    if (isSignedIn) {
      await page.goto(await this.signInLink());
      await connected(page);
    }
    await goTo(page, `${this.sentinel.http}/console/${hash}`);
    return page;
  }

  /** Opens a page beside others of `context`. The caller loads its URL. */
  async openTab(context: BrowserContext): Promise<Page> {
    const page = await context.newPage();
    page.setDefaultTimeout(20_000);
    page.on('pageerror', (error) => this.faults.push(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error') this.faults.push(message.text());
    });
    return page;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#contexts].map((context) => context.close()));
    await this.browser.close();
    await stopStack();
  }
}

/** Starts a sentinel, a model and Chromium. Agents are started by the test. */
export async function startConsole({ respond, sentinel }: ConsoleOptions = {}): Promise<TestConsole> {
  const [browser, model, started] = await Promise.all([
    startChromium(),
    startModel(respond ? { respond } : {}),
    startOurSentinel(sentinel),
  ]);
  return new TestConsole(browser, model, started);
}

/** Waits until the client of the page is attached. */
export const connected = (page: Page): Promise<void> =>
  page.getByRole('status').getByText('Connected', { exact: true }).waitFor({ state: 'attached' });

/** Loads a URL of the console; within the same page only its hash changes. */
async function goTo(page: Page, url: string): Promise<void> {
  await page.goto(url);
  await page.getByRole('heading', { level: 1 }).waitFor();
}
