// The TypeScript sample in docs/naylence.md: an unmodified client of naylence and our chat agent. `npm run interop-python` runs
// the Python sample, which needs a version of Python that not every machine has.
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { startOurAgent } from '../kit/commands.ts';
import { ensureInstalled } from '../kit/naylence.ts';
import { cleanEnv, Proc, ROOT } from '../kit/processes.ts';
import { type OurSentinel, startOurSentinel } from '../kit/sentinel.ts';

const SAMPLES = join(ROOT, 'test/interop/samples');
let sentinel: OurSentinel;
beforeAll(async () => {
  ensureInstalled();
  sentinel = await startOurSentinel();
  await startOurAgent(sentinel);
}, 120_000);

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
