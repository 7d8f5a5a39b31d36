// Set-up of test files at the wire: our sentinel for the whole file, with hand-written nodes and links that live for one test.
// `embedded-sentinel.ts` is the set-up with sentinels inside the test process.
import { afterEach, beforeAll, expect } from 'vitest';
import { closeLinks } from './our-node.ts';
import { type RawNode, RawNodes } from './raw-node.ts';
import { type OurSentinel, type OurSentinelOptions, startOurSentinel } from './sentinel.ts';

/** Starts a sentinel before the tests of the file, and closes nodes and links after each test. */
export function startWire(options: OurSentinelOptions = {}): { sentinel: OurSentinel; nodes: RawNodes } {
  // The hook fills it, so that a file can destructure the result.
  const sentinel = {} as OurSentinel;
  const nodes = new RawNodes(() => sentinel.url);
  beforeAll(async () => {
    Object.assign(sentinel, await startOurSentinel(options));
  });
  afterEach(async () => {
    await closeLinks();
    await nodes.closeAll();
  });
  return { sentinel, nodes };
}

/** Cuts the connection of a node, and waits until the sentinel has noticed. `other` is another node of the same sentinel. */
export async function lose(node: RawNode, other: RawNode): Promise<void> {
  await node.cut();
  await expect
    .poll(async () => {
      const { corrId } = other.sendCall(`x@${node.path}`, 'any');
      await other.heartbeat();
      return other.inbox.find((m) => m.corrId === corrId)?.frame.code;
    })
    .toBe('NODE_GONE');
}
