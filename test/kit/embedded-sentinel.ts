// Our sentinel inside the test process, on a free port, for tests that need its clock or its parts.
import { type RunningSentinel, type SentinelOptions, startSentinel } from '@fame-fabric/sentinel';
import { afterEach } from 'vitest';
import { RawNodes } from './raw-node.ts';

export interface EmbeddedSentinels {
  /** Starts a sentinel with generous limits. */
  start(options?: Partial<SentinelOptions>): Promise<RunningSentinel>;
  /** Nodes of the sentinel that was started last. */
  nodes: RawNodes;
}

/** Starts a sentinel with generous limits, which the caller closes. */
export const startEmbedded = (options: Partial<SentinelOptions> = {}): Promise<RunningSentinel> =>
  startSentinel({
    port: 0,
    host: '127.0.0.1',
    resumeWindowMs: 5_000,
    drainMs: 1_000,
    maxSessions: 1_000,
    maxAddressesPerNode: 1_024,
    maxOpenCallsPerNode: 1_000,
    queueBytes: 8_388_608,
    queueTotalBytes: 50_331_648,
    memoryLimitBytes: 4_294_967_296,
    allowedOrigins: [],
    allowedHosts: [],
    parentUrl: undefined,
    peerUrls: [],
    connectTimeoutMs: 1_000,
    ...options,
  });

/** Sentinels and nodes that live for one test of the file. */
export function embeddedSentinels(): EmbeddedSentinels {
  const running: RunningSentinel[] = [];
  const nodes = new RawNodes(() => running.at(-1)!.url);
  afterEach(async () => {
    await nodes.closeAll();
    await Promise.all(running.splice(0).map((sentinel) => sentinel.close()));
  });
  const start = async (options: Partial<SentinelOptions> = {}): Promise<RunningSentinel> => {
    const sentinel = await startEmbedded(options);
    running.push(sentinel);
    return sentinel;
  };
  return { start, nodes };
}
