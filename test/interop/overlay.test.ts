// G12: the profile overlay, with unmodified nodes and sentinels of the peer: every envelope is signed, and verified by its receivers.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PeerClient, startPeerAgent } from '../kit/naylence.ts';
import { stopAll } from '../kit/processes.ts';
import { type OurSentinel, startOurSentinel } from '../kit/sentinel.ts';

/** The environment of the peer's nodes. Without an authorization profile they want a token. */
const PEER_ENV = { FAME_SECURITY_PROFILE: 'overlay', FAME_AUTHORIZATION_PROFILE: 'noop' };
const OUR_ENV = { FAME_SECURITY_PROFILE: 'overlay' };

const PEER_MATH = 'math@fame.fabric';

afterAll(stopAll);

describe('on our sentinel', () => {
  let sentinel: OurSentinel;
  let client: PeerClient;

  beforeAll(async () => {
    sentinel = await startOurSentinel({ env: OUR_ENV });
    [client] = await Promise.all([
      PeerClient.start({ ...sentinel, env: PEER_ENV }),
      startPeerAgent('math', { ...sentinel, env: PEER_ENV }),
    ]);
  });

  test('an agent of the peer answers a client of the peer', async () => {
    expect(await client.call(PEER_MATH, 'add', 3, 4)).toBe(7);
    const stream = { address: PEER_MATH, method: 'fib_stream', args: [8] };
    expect(await client.do('stream', stream)).toEqual([0, 1, 1, 2, 3, 5, 8, 13]);
    expect(await client.do('burst', { address: PEER_MATH, count: 50 })).toEqual({
      right: 50,
      errors: [],
      failed: 0,
    });
  });

  test('a refusal of the sentinel reaches a client of the peer at once', async () => {
    const answer = await client.ask('call', { address: 'unserved@fame.fabric', method: 'any' });
    expect(answer.error).toContain("code 'NO_ROUTE'");
    expect(answer.ms).toBeLessThan(2_000);
  });

  test('a node of the peer without the profile is refused with the fix', async () => {
    const env = { FAME_SESSION_MAX_INITIAL_ATTEMPTS: '1' };
    await expect(PeerClient.start({ ...sentinel, env })).rejects.toThrow(/FAME_SECURITY_PROFILE=overlay/);
  });
});
