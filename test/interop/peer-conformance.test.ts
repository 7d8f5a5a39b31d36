// The core-wire suite against the unmodified peer: it fulfils what we require of any Fame sentinel.
import { beforeAll } from 'vitest';
import { coreWire } from '../conformance/core-wire.ts';
import { type PeerSentinel, startPeerSentinel } from '../kit/naylence.ts';

let peer: PeerSentinel;
beforeAll(async () => {
  peer = await startPeerSentinel();
}, 120_000);

coreWire('unmodified peer', () => peer);
