// The Conversations screen in Chromium: the list over all agents, a conversation as a timeline, forks, comparison and export.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { callTools, gate, type Scripted } from '@fame-fabric/agents/testing';
import type { Client } from '@fame-fabric/client';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Proc } from '../../kit/processes.ts';
import { localKey, temporaryDirectory } from '../../kit/sentinel.ts';
import { CHAT, lastUserText, openClient } from '../../kit/stack.ts';
import { startConsole, type TestConsole } from './kit.ts';

let console_: TestConsole;
let agent: Proc;
let client: Client;
const dataDir = temporaryDirectory();
const replies = new Map<string, Scripted[]>();
const prices = join(dataDir, 'prices.yaml');
const env = { FAME_PRICES_FILE: prices };

beforeAll(async () => {
  writeFileSync(prices, PRICES);
  console_ = await startConsole({
    respond: (request) => {
      const text = lastUserText(request);
      return replies.get(text)?.shift() ?? `re: ${text}`;
    },
  });
  agent = await console_.startAgent({ dataDir, env });
  const { url, dataDir: keyDir } = console_.sentinel;
  client = await openClient(url, { token: localKey(keyDir) });
});
afterAll(async () => {
  await console_.close();
});

const PRICES = `currency: USD
prices:
  - { model: "*", input: 1000, output: 1000 }
`;

/** Starts a conversation with one turn for each message, and opens its timeline. */
async function timelineOf(id: string, ...messages: string[]): Promise<Page> {
  const conversation = client.conversation(CHAT, { id });
  for (const message of messages) await conversation.ask(message).catch(() => undefined);
  return console_.open(`#/conversations/${CHAT}/${id}`);
}
const turn = (page: Page, number: number) => page.getByLabel(`Turn ${number}`, { exact: true });
const rowsOf = (page: Page, number: number) =>
  turn(page, number)
    .locator('.bars tr')
    .evaluateAll((rows: { querySelector(name: string): { innerText: string } }[]) =>
      rows.map((row) => [row.querySelector('th').innerText, row.querySelector('.bar-figures').innerText]),
    );

test('a conversation is a timeline with bars for the inbox, models, tools and the journal', async () => {
  replies.set('What is 6 times 7?', [
    callTools([{ name: 'calculator', arguments: { expression: '6*7' } }], { text: 'Let me see. ' }),
    'It is 42.',
  ]);
  const page = await timelineOf('timeline', 'What is 6 times 7?');
  await turn(page, 1).getByText('completed').waitFor();
  const rows = await rowsOf(page, 1);
  expect(rows.map(([name]) => name!.split(/\s/)[0])).toEqual(['Inbox', 'Model', 'Tool', 'Model', 'Journal']);
  expect(rows[1]![1]).toMatch(/^[\d.]+ m?s · first token [\d.]+ m?s · \d+ in, \d+ out · [\d.]+ USD$/);
  expect(rows[2]![0]).toContain('calculator');
  // The text as the user saw it, beside the prompt of each model call.
  await turn(page, 1).getByRole('button', { name: 'Details' }).click();
  const prompt = turn(page, 1).getByLabel('As the model received it');
  await prompt.getByText('matches the recorded digest').waitFor();
  await expect
    .poll(() => prompt.locator('.prompt').innerText())
    .toMatch(/user\s+What is 6 times 7\?[\s\S]*tool\s+[\s\S]*42/);
  await expect
    .poll(() => turn(page, 1).getByLabel('As the user saw it').innerText())
    .toMatch(/Let me see\.\s+It is 42\./);
  await prompt.getByLabel('Model call').selectOption('1');
  await expect.poll(() => prompt.locator('.prompt').innerText()).not.toContain('42');
  await turn(page, 1)
    .getByText(/^Raw events/)
    .click();
  await turn(page, 1).getByText('"type":"model_reply"').waitFor();
});

test('a turn grows while it runs; restarts and cancels are marked', async () => {
  const [half, rest] = [gate(), gate()];
  replies.set('Long', [
    ['Lost ', half, 'text'],
    ['Kept', rest, ' text'],
  ]);
  const page = await timelineOf('marked', 'First');
  const conversation = client.conversation(CHAT, { id: 'marked', isResumed: true });
  const running = conversation.ask('Long', { turnId: 'long' }).catch(() => undefined);
  await half.reached;
  await turn(page, 2).getByText('running').waitFor();
  await turn(page, 2).getByText('Details', { exact: true }).click();
  await turn(page, 2).getByText('Lost').waitFor();
  await agent.kill();
  half.open();
  agent = await console_.startAgent({ dataDir, env });
  await rest.reached;
  await turn(page, 2)
    .getByText(/Agent restarted after .*, attempt 1; 5 characters were withdrawn/)
    .waitFor();
  await conversation.cancel('long');
  await running;
  rest.open();
  await turn(page, 2).getByText('cancelled', { exact: true }).waitFor();
  expect(
    (await rowsOf(page, 2)).filter(([name]) => name!.startsWith('Model')).map(([, figures]) => figures),
  ).toEqual([expect.stringContaining('no reply'), expect.stringContaining('no reply')]);
});

test('a fork from a turn opens in Talk, and both are compared side by side', async () => {
  const page = await timelineOf('origin', 'One', 'Two', 'Three');
  await turn(page, 1).getByRole('button', { name: 'Fork from here' }).click();
  await page.waitForURL(/#\/talk\//);
  await page.getByText('Forked from').waitFor();
  await page.getByLabel('Message', { exact: true }).fill('Other');
  await page.getByLabel('Message', { exact: true }).press('Enter');
  await page.getByText('re: Other').waitFor();
  await page.getByRole('link', { name: 'Timeline' }).click();
  await page.getByRole('link', { name: 'compare' }).click();
  await page.getByText('1 exchange in common').waitFor();
  await expect.poll(() => page.locator('.compare-row').count()).toBe(2);
  const [first, second] = await page.locator('.compare-row').allInnerTexts();
  expect(first).toMatch(/Other\s+re: Other[\s\S]*Two\s+re: Two/);
  expect(second).toMatch(/No further turn\.[\s\S]*Three/);
  // From the origin, the fork is offered.
  await page.goto(`${console_.sentinel.http}/console/#/conversations/${CHAT}/origin`);
  await page.getByText('a fork', { exact: true }).waitFor();
});

test('the export has every event, and the messages as Markdown', async () => {
  const page = await timelineOf('exported', 'Hello');
  const download = async (name: string): Promise<string> => {
    const [file] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('button', { name }).click(),
    ]);
    return readFileSync(await file.path(), 'utf8');
  };
  const { events } = JSON.parse(await download('Export JSON'));
  expect(events.map(({ type }: { type: string }) => type)).toEqual(
    expect.arrayContaining(['started', 'turn', 'model_call', 'text', 'model_reply', 'done']),
  );
  expect(await download('Export Markdown')).toContain('## Agent, completed\n\n    re: Hello');
});

test('the list has the conversations of all owners, filtered, latest first', async () => {
  await client.conversation(CHAT, { id: 'listed' }).ask('A rare word');
  const page = await console_.open('#/conversations');
  const ids = () => page.locator('tbody tr td:first-child a').allInnerTexts();
  await expect.poll(async () => (await ids())[0]).toBe('listed');
  expect((await ids()).length).toBeGreaterThanOrEqual(5);
  await page.getByLabel('Search').fill('RARE');
  await page.getByLabel('Search').press('Enter');
  await expect.poll(ids).toEqual(['listed']);
  await page.getByRole('button', { name: 'Clear' }).click();
  await page.getByLabel('Owner').fill('somebody');
  await page.getByLabel('Owner').press('Enter');
  await page.getByText('No conversation matches the filter').waitFor();
  await page.getByLabel('Owner').fill('local');
  await page.getByLabel('Owner').press('Enter');
  await expect.poll(async () => (await ids()).length).toBeGreaterThanOrEqual(5);
  await page.getByLabel('Cost from').fill('1000');
  await page.getByLabel('Cost from').press('Enter');
  await page.getByText('No conversation matches the filter').waitFor();
  // Without a credential there is no list.
  const anonymous = await console_.open('#/conversations', { isSignedIn: false });
  await anonymous.getByText('The list needs a credential').waitFor();
});
