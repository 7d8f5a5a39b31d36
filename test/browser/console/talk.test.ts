// The Talk screen in Chromium, against a sentinel, an agent and its journal: a conversation from the first message on, two tabs, reloads,
// kills of the sentinel and the agent, and texts of an agent that must stay inert.
import { callTools, gate, type Scripted } from '@fame-fabric/agents/testing';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Proc } from '../../kit/processes.ts';
import { temporaryDirectory } from '../../kit/sentinel.ts';
import { lastUserText } from '../../kit/stack.ts';
import { connected, startConsole, type TestConsole } from './kit.ts';

let console_: TestConsole;
let agent: Proc;
const dataDir = temporaryDirectory();
const env = { FAME_APPROVE_TOOLS: 'clock' };
/** The replies to a message of the user, in order. Without one the model repeats the message. */
const replies = new Map<string, Scripted[]>();

beforeAll(async () => {
  console_ = await startConsole({
    respond: (request) => {
      const text = lastUserText(request);
      return replies.get(text)?.shift() ?? `re: ${text}`;
    },
    sentinel: { env: { FAME_RESUME_WINDOW_MS: '500' } },
  });
  agent = await console_.startAgent({ dataDir, env });
});
afterAll(async () => {
  await console_.close();
});

async function send(page: Page, text: string): Promise<void> {
  await page.getByLabel('Message', { exact: true }).fill(text);
  await page.getByLabel('Message', { exact: true }).press('Enter');
}
const turnOf = (page: Page, state: string) => page.locator(`.turn[data-state=${state}]`);
/** Waits until the text of the last answer is `text`. */
const answered = (page: Page, text: string, state = 'completed') =>
  expect
    .poll(() => turnOf(page, state).last().locator('.message-answer .markdown').allInnerTexts())
    .toEqual([text]);
const openNew = (): Promise<Page> => console_.open('#/talk');
/** Opens the conversation of `page` once more, in the same browser. */
async function openTab(page: Page): Promise<Page> {
  const tab = await console_.openTab(page.context());
  await tab.goto(page.url());
  await connected(tab);
  return tab;
}

test('a conversation streams, shows its tool and its figures, and survives a reload and a second tab', async () => {
  const half = gate();
  replies.set('What is 6 times 7?', [
    callTools([{ name: 'calculator', arguments: { expression: '6*7' } }], { text: 'Let me see. ' }),
    ['It is ', half, '**42**.'],
  ]);
  const page = await openNew();
  await page.waitForURL(/#\/talk\/chat%40fame\.fabric\/\w+/);
  await page.getByText('System prompt', { exact: true }).click();
  await page.getByLabel('System prompt of this conversation').fill('Speak like a pirate.');
  await send(page, 'What is 6 times 7?');
  await half.reached;
  await page.locator('.markdown').getByText('It is', { exact: true }).waitFor();
  const tab = await openTab(page);
  await tab.locator('.markdown').getByText('It is', { exact: true }).waitFor();
  half.open();
  for (const one of [page, tab]) {
    await expect.poll(() => one.locator('.markdown').allInnerTexts()).toEqual(['Let me see.', 'It is 42.']);
    await expect.poll(() => one.locator('.markdown strong').innerText()).toBe('42');
  }
  await page.reload();
  await expect.poll(() => page.locator('.markdown').allInnerTexts()).toEqual(['Let me see.', 'It is 42.']);
  const tool = page.getByLabel('Tool calculator');
  await tool.locator('summary').click();
  await expect.poll(() => tool.innerText()).toMatch(/done[\s\S]*"expression": "6\*7"[\s\S]*Result\s+.*42/);
  await expect.poll(() => page.locator('.turn footer').innerText()).toMatch(/first token .*ms[\s\S]* tokens/);
  await page.getByText('System prompt', { exact: true }).click();
  await page.getByText('Speak like a pirate.').waitFor();
  // Either tab sends, and both show it.
  await send(tab, 'Thanks');
  for (const one of [page, tab]) await answered(one, 're: Thanks');
});

test('a call waits for approval in both tabs, and the answer of one serves both', async () => {
  replies.set('What time is it?', [callTools([{ name: 'clock', arguments: {} }]), 'It is late.']);
  const page = await openNew();
  await send(page, 'What time is it?');
  await page.getByRole('button', { name: 'Approve clock' }).waitFor();
  const tab = await openTab(page);
  await tab.getByRole('button', { name: 'Approve clock' }).click();
  for (const one of [page, tab]) {
    await answered(one, 'It is late.');
    await expect.poll(() => one.getByRole('button', { name: 'Approve clock' }).count()).toBe(0);
  }
});

test('a conversation needs no mouse', async () => {
  const page = await openNew();
  // The field for the message has the focus at first.
  await expect.poll(() => page.evaluate('document.activeElement.ariaLabel')).toBe('Message');
  await page.keyboard.type('First line');
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.type('second line');
  await page.reload();
  await expect
    .poll(() => page.getByLabel('Message', { exact: true }).inputValue())
    .toBe('First line\nsecond line');
  await expect.poll(() => page.evaluate('document.activeElement.ariaLabel')).toBe('Message');
  await page.keyboard.press('Enter');
  await answered(page, 're: First line\nsecond line');
  for (let presses = 0; presses < 20; presses++) {
    if ((await page.evaluate('document.activeElement.ariaLabel')) === 'Edit the message in a fork') break;
    await page.keyboard.press('Shift+Tab');
  }
  await page.keyboard.press('Enter');
  await page.getByLabel('Edited message').waitFor();
  await page.keyboard.press('Escape');
  await page.getByLabel('Edited message').waitFor({ state: 'detached' });
});

test('an answer is stopped by a key and sent again', async () => {
  const held = gate();
  replies.set('Count', [['One', held], 'One, two.']);
  const page = await openNew();
  await send(page, 'Count');
  await held.reached;
  await page.locator('.markdown').getByText('One', { exact: true }).waitFor();
  await page.getByLabel('Message', { exact: true }).press('Escape');
  await turnOf(page, 'cancelled').getByText('Stopped.').waitFor();
  held.open();
  await page.getByRole('button', { name: 'Retry' }).click();
  await answered(page, 'One, two.');
});

test('an edited message and another answer go to forks, and the conversation stays', async () => {
  const page = await openNew();
  await send(page, 'First');
  await answered(page, 're: First');
  await send(page, 'Second');
  await answered(page, 're: Second');
  const origin = page.url();
  await page.getByRole('button', { name: 'Edit the message in a fork' }).last().click();
  await page.getByLabel('Edited message').fill('Third');
  await page.getByLabel('Edited message').press('Enter');
  await answered(page, 're: Third');
  expect(page.url()).not.toBe(origin);
  const texts = () => page.locator('.messages .plain-text').allInnerTexts();
  await expect.poll(texts).toEqual(expect.arrayContaining(['First', 'Third']));
  await expect.poll(texts).not.toContain('Second');
  replies.set('Third', ['Another one.']);
  await page.getByRole('button', { name: 'Another answer' }).click();
  await answered(page, 'Another one.');
  await expect.poll(() => page.locator('.turn').count()).toBe(1);
  await page.goto(origin);
  await answered(page, 're: Second');
});

test('an answer during which the sentinel is killed arrives once and completely', async () => {
  const half = gate();
  replies.set('Tell me', [['One, ', half, 'two, three.']]);
  const page = await openNew();
  await send(page, 'Tell me');
  await half.reached;
  await page.locator('.markdown').getByText('One,').waitFor();
  await console_.sentinel.proc.kill();
  await page.getByRole('status').getByText('Reconnecting').waitFor({ state: 'attached' });
  half.open();
  await console_.restartSentinel({ env: { FAME_RESUME_WINDOW_MS: '500' } });
  await answered(page, 'One, two, three.');
  await send(page, 'And now?');
  await answered(page, 're: And now?');
});

test('an answer during which the agent is killed continues, and the restart is marked', async () => {
  const half = gate();
  replies.set('Go on', [['Lost ', half, 'text'], 'The whole answer.']);
  const page = await openNew();
  await send(page, 'Go on');
  await half.reached;
  await page.locator('.markdown').getByText('Lost').waitFor();
  await agent.kill();
  half.open();
  agent = await console_.startAgent({ dataDir, env });
  await answered(page, 'The whole answer.');
  await turnOf(page, 'completed')
    .getByText(/The agent was restarted/)
    .waitFor();
});

describe('texts of an agent', () => {
  const FRAMES = 'https://evil.example/frame';
  const HOSTILE = [
    '<script>window.hit = 1</script>',
    '<img src=x onerror="window.hit = 1">',
    '<svg onload="window.hit = 1"><circle r=9 /></svg>',
    `<iframe src="${FRAMES}"></iframe>`,
    '<body onload="window.hit = 1">',
    '<a href="javascript:window.hit = 1">click</a>',
    '<form action="https://evil.example"><button>Send</button></form>',
    '<style>body { display: none }</style>',
    '<link rel=stylesheet href=https://evil.example/x.css>',
    '<meta http-equiv=refresh content="0;url=https://evil.example">',
    '<base href="https://evil.example/">',
    '<object data="https://evil.example/x"></object>',
    '<input autofocus onfocus="window.hit = 1">',
    '<details open ontoggle="window.hit = 1">x</details>',
    '<math><mtext><img src=x onerror="window.hit = 1"></mtext></math>',
    '![pixel](https://evil.example/pixel.png)',
    '![x](x" onerror="window.hit = 1)',
    '[click](javascript:window.hit=1)',
    '[click](JAVASCRIPT:window.hit=1)',
    '[click](data:text/html,<script>window.hit=1</script>)',
    '[click](//evil.example/)',
    '[click](/fame/v1/session)',
    '[good](https://good.example/page "title\\" onclick=\\"window.hit=1")',
    '<https://good.example/auto>',
    'Invoice \u202egpj.exe\u202c and \u2066hidden\u2069',
    '\u001b[31mred\u001b[0m \u001b]0;title\u0007 \u009b2J',
    'Z\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308'.repeat(200),
    `${'>'.repeat(5_000)} deep`,
    'x'.repeat(200_000),
    `| ${'a | '.repeat(300)}\n|${'-|'.repeat(301)}\n${`| ${'b | '.repeat(300)}\n`.repeat(10)}`,
    '```html\n<script>window.hit = 1</script>\n```',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a template of another language
    '${window.hit = 1} {{window.hit = 1}} &lt;img src=x onerror=window.hit=1&gt;',
  ];

  interface Found {
    /** True if code of a text ran. */
    hit: boolean;
    /** Names of all elements in answers. */
    names: string[];
    handlers: string[];
    links: string[][];
    text: string;
    nodes: number;
    /** Width of the page beyond the window, in pixels. */
    overflow: number;
  }
  /** Runs in the page. */
  const FIND = `(() => {
    const answers = [...document.querySelectorAll('.message-answer')];
    const elements = answers.flatMap((answer) => [...answer.querySelectorAll('*')]);
    const attributes = elements.flatMap((element) => element.getAttributeNames());
    return {
      hit: 'hit' in window,
      names: [...new Set(elements.map(({ localName }) => localName))],
      handlers: attributes.filter((name) => name.startsWith('on')),
      links: elements.filter(({ localName }) => localName === 'a').map(({ href, target, rel }) => [href, target, rel]),
      text: answers.map(({ textContent }) => textContent).join('\\n'),
      nodes: elements.length,
      overflow: document.documentElement.scrollWidth - innerWidth,
    };
  })()`;

  test(`${HOSTILE.length} hostile texts are inert`, async () => {
    expect(HOSTILE.length).toBeGreaterThanOrEqual(30);
    const page = await openNew();
    const outside: string[] = [];
    page.on('request', (request) => {
      if (new URL(request.url()).host !== new URL(page.url()).host) outside.push(request.url());
    });
    const opened: string[] = [];
    page.on('dialog', (dialog) => void dialog.dismiss().then(() => opened.push('dialog')));
    page.context().on('page', (other) => opened.push(other.url()));
    page.on('framenavigated', (frame) => {
      if (frame !== page.mainFrame()) opened.push(frame.url());
    });
    for (const [index, text] of HOSTILE.entries()) {
      replies.set(`text ${index}`, [text]);
      await send(page, `text ${index}`);
      await expect.poll(() => turnOf(page, 'completed').count()).toBe(index + 1);
    }
    const found = await page.evaluate<Found>(FIND);
    expect(found.hit).toBe(false);
    expect(found.handlers).toEqual([]);
    const forbidden = 'script img svg iframe body form style link meta base object math details input'.split(
      ' ',
    );
    expect(found.names.filter((name) => forbidden.includes(name))).toEqual([]);
    const rel = 'noopener noreferrer nofollow ugc';
    expect(found.links).toEqual([
      ['https://evil.example/pixel.png', '_blank', rel],
      ['https://good.example/page', '_blank', rel],
      ['https://good.example/auto', '_blank', rel],
    ]);
    expect(found.text).toContain('<script>window.hit = 1</script>');
    expect(found.text).toContain('Invoice \\u202egpj.exe\\u202c');
    expect(found.text).not.toMatch(/[\u001b\u0007\u009b\u202e\u2066]/);
    expect(found.nodes).toBeLessThan(12_000);
    expect(found.overflow).toBeLessThanOrEqual(0);
    expect(outside).toEqual([]);
    expect(opened).toEqual([]);
  });
});
