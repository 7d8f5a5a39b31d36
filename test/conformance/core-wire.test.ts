// The core-wire suite against the sentinel at FAME_CONFORMANCE_URL, by default ours.
import { afterAll, beforeAll } from 'vitest';
import { stopAll } from '../kit/processes.ts';
import { startOurSentinel } from '../kit/sentinel.ts';
import { coreWire, type Target } from './core-wire.ts';

const given = process.env.FAME_CONFORMANCE_URL;
let target: Target;

beforeAll(async () => {
  target = given ? { url: given } : await startOurSentinel();
});
afterAll(stopAll);

coreWire(given ?? 'our sentinel', () => target);
