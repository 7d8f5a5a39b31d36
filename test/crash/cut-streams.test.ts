// P6, the short form. `npm run cut-streams` cuts for five minutes.
import { afterAll, expect, test } from 'vitest';
import { stopStack } from '../kit/stack.ts';
import { runCutStreams } from './cut-streams.ts';

afterAll(stopStack);

test('P6: streams have no gap and no repeat while their connections are cut repeatedly', {
  timeout: 120_000,
  retry: 0,
}, async () => {
  const report = await runCutStreams({ seconds: 15, clients: 50 });
  console.info(
    `P6: ${report.cuts} cuts, ${report.agentCuts} of the agent, ${report.turns} turns, ${report.events} events, ${report.repeatedRequests} requests repeated`,
  );
  expect(report.faults).toEqual([]);
  expect(report.cuts).toBeGreaterThan(100);
  expect(report.turns).toBeGreaterThanOrEqual(50);
});
