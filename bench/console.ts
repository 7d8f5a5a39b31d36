// `npm run bench-console [-- --quick]`: goal 20, the CPU time per message of a router with all that is on the port but idle, and with a
// page of the console that watches.
//
// 1. A sentinel whose doors and console are loaded and idle, to one with FAME_DOORS=none.
// 2. The same sentinel while a page reads the stream of nodes, the trace and the history, to FAME_DOORS=none.
//
// The reader of the page is a separate process, on the core of the load.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { answerCommands, Child } from './child.ts';
import { type Contestant, OURS, pin } from './contestants.ts';
import { median } from './median.ts';
import { compareRouters } from './rig.ts';

const { values: flags } = parseArgs({ options: { quick: { type: 'boolean', default: false } } });
const { quick } = flags;
/** Time between two reads of the history, in ms, as the page does it. */
const HISTORY_EVERY_MS = 5_000;

interface WatchCommand {
  readonly origin: string;
  readonly key: string;
}

async function readAll(url: string, headers: Record<string, string>): Promise<void> {
  const response = await fetch(url, { headers });
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  for await (const chunk of response.body!) void chunk;
}

// Resolves when both streams have begun.
answerCommands<WatchCommand>(async ({ origin, key }) => {
  const headers = { authorization: `Bearer ${key}` };
  const failed = (error: unknown): never => {
    console.error(error);
    process.exit(1);
  };
  for (const path of ['/fame/v1/nodes?follow=true', '/fame/v1/trace']) {
    const response = await fetch(`${origin}${path}`, { headers });
    if (!response.ok) throw new Error(`${path} answered ${response.status}`);
    (async () => {
      for await (const chunk of response.body!) void chunk;
    })().catch(failed);
  }
  await readAll(`${origin}/fame/v1/history`, headers);
  setInterval(() => void readAll(`${origin}/fame/v1/history`, headers).catch(failed), HISTORY_EVERY_MS);
});

const originOf = ({ url }: Contestant): string => `http://${new URL(url).host}`;

/** Sends one request to each door and to the console, so that they load. */
async function loadDoors(router: Contestant): Promise<void> {
  for (const path of ['/v1/models', '/.well-known/agent-card.json', '/mcp', '/agents', '/console/']) {
    const response = await fetch(`${originOf(router)}${path}`);
    await response.arrayBuffer();
    if (response.status >= 500 || (path === '/console/' && !response.ok))
      throw new Error(`${path} answered ${response.status}`);
  }
}

/** The ratio of a prepared sentinel to one with FAME_DOORS=none. */
async function ratioTo(prepare: (router: Contestant) => Promise<void>): Promise<number> {
  const without = { ...OURS, name: 'no doors', env: { ...OURS.env, FAME_DOORS: 'none' } };
  const ratios = await compareRouters(without, OURS, {
    sets: quick ? 1 : 3,
    rounds: quick ? 10 : 16,
    warmMessages: quick ? 15_000 : 40_000,
    prepare: async (router, nth) => {
      if (nth === 1) await prepare(router);
    },
  });
  return median(ratios);
}

let isBroken = false;

/** Prints a figure beside its goal. The run fails if its cost is above twice that of the goal, which leaves room for noise. */
function record(label: string, value: number, goal: number): void {
  if (value > 1 + 2 * (goal - 1)) isBroken = true;
  console.log(
    `  goal 20  ${label.padEnd(62)} ${value.toFixed(3)}x  (<= ${goal}x) ${value <= goal ? 'met' : 'MISSED'}`,
  );
}

if (process.send === undefined) {
  record('us/msg with doors and console loaded and idle, to FAME_DOORS=none', await ratioTo(loadDoors), 1.02);
  const pages: Child<WatchCommand>[] = [];
  const key = (): string => readFileSync(join(OURS.env!.FAME_DATA_DIR!, 'token'), 'utf8').trim();
  try {
    const watched = await ratioTo(async (router) => {
      await loadDoors(router);
      const page = new Child<WatchCommand>(fileURLToPath(import.meta.url));
      pages.push(page);
      pin(page.pid, 1);
      await page.request({ origin: originOf(router), key: key() });
    });
    record('us/msg while a page reads nodes, trace and history, to the same', watched, 1.05);
  } finally {
    for (const page of pages) page.stop();
  }
  process.exit(isBroken ? 1 : 0);
}
