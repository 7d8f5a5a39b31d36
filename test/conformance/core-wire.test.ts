// The core-wire suite against the sentinel at FAME_CONFORMANCE_URL, by default ours.
import { beforeAll } from 'vitest';
import { startOurSentinel } from '../kit/sentinel.ts';
import { coreWire, PEER_ID, type Target } from './core-wire.ts';

const given = process.env.FAME_CONFORMANCE_URL;
let target: Target;

beforeAll(async () => {
  target = given ? { url: given } : await startOurSentinel({ env: { FAME_PEER_IDS: PEER_ID } });
});

coreWire(given ?? 'our sentinel', () => target);
