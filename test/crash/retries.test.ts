// O3, short form: one turn and one answer for requests under one retry key, while the agent and the sentinel are killed.
// `npm run retries` runs more rounds.
import { afterAll, expect, test } from 'vitest';
import { stopStack } from '../kit/stack.ts';
import { runRetries } from './retries.ts';

afterAll(stopStack);

test.each([
  { requests: 1, rounds: 2 },
  { requests: 3, rounds: 3 },
  { requests: 50, rounds: 2 },
])(
  'O3: $requests requests under one retry key, sent while agent and sentinel are killed, are one turn with one answer',
  { timeout: 180_000, retry: 0 },
  async (options) => {
    const report = await runRetries(options);
    const { answers, kills, resumed, mostAttempts, seconds } = report;
    console.info(
      `O3: ${options.requests} requests, ${options.rounds} rounds: ${answers} answers, ${kills} kills, ${resumed} turns resumed, at most ${mostAttempts} model calls a step, ${seconds} s`,
    );
    expect(report.faults).toEqual([]);
    expect(answers).toBe(options.requests * options.rounds);
  },
);
