// P3, short form. `npm run power-cut` cuts 200 times.
import { afterAll, expect, test } from 'vitest';
import { stopStack } from '../kit/stack.ts';
import { runPowerCuts } from './power-cut.ts';

afterAll(stopStack);

test('P3: after a power cut the disk has every event that a client received, except streamed text, which is taken back', {
  timeout: 60_000,
  retry: 0,
}, async () => {
  const report = await runPowerCuts({ rounds: 20 });
  console.info(
    `P3: ${report.rounds} cuts, ${report.tornTails} with an unsynced tail, ${report.checked} conversations compared, ${report.continued} turns continued, ${report.takenBack} with text taken back`,
  );
  expect(report.faults).toEqual([]);
  expect(report.checked).toBeGreaterThan(100);
  expect(report.takenBack).toBeGreaterThan(20);
});
