// The samples in docs/naylence.md that need no Python: an unmodified client of naylence and our chat agent, and an unmodified agent of
// naylence and our client. `npm run interop-python` runs the Python sample, which needs a version of Python that not every machine has.
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runFame, startOurAgent } from '../kit/commands.ts';
import { ensureInstalled } from '../kit/naylence.ts';
import { closeLinks, connectLink } from '../kit/our-node.ts';
import { cleanEnv, Proc, ROOT, startNode } from '../kit/processes.ts';
import { type OurSentinel, startOurSentinel } from '../kit/sentinel.ts';

const SAMPLES = join(ROOT, 'test/interop/samples');
let sentinel: OurSentinel;
beforeAll(async () => {
  ensureInstalled();
  sentinel = await startOurSentinel();
  await startOurAgent(sentinel);
}, 120_000);
afterAll(closeLinks);

async function answersOf(command: string, sample: string): Promise<string[]> {
  const env = cleanEnv({ FAME_DIRECT_ADMISSION_URL: sentinel.url }) as Record<string, string>;
  const proc = new Proc(command, [join(SAMPLES, sample)], { name: sample, env });
  const lines: string[] = [];
  proc.onLine((line) => lines.push(line));
  const { code } = await proc.exited;
  if (code !== 0) throw proc.failure(`ended with ${code}`);
  return lines.filter((line) => line.includes('Ada'));
}

test('talk.mjs prints an answer to each of its two turns', async () => {
  expect(await answersOf(process.execPath, 'talk.mjs')).toHaveLength(2);
});

test('greeter.ts answers calls and streams of our callers', async () => {
  const env = { FAME_DIRECT_ADMISSION_URL: sentinel.url };
  const greeter = startNode([join(SAMPLES, 'greeter.ts')], { name: 'greeter.ts', env });
  await greeter.waitFor(/agent_live/);
  const { stdout, code } = await runFame(sentinel, ['call', 'greeter@fame.fabric', 'greet', '["Ada"]']);
  expect({ stdout, code }).toEqual({ stdout: 'Hello, Ada!\n', code: 0 });
  const link = await connectLink(sentinel.url);
  expect(await link.call('greeter@fame.fabric', 'greet', { args: ['Ada'] })).toBe('Hello, Ada!');
  const items: unknown[] = [];
  for await (const item of link.stream('greeter@fame.fabric', 'count', { args: [3] })) items.push(item);
  expect(items).toEqual([1, 2, 3]);
});
