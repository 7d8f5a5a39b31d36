// Our sentinel inside the test process, on a free port, for tests that need its clock or its parts.
import { type RunningSentinel, type SentinelOptions, startSentinel } from '@fame-fabric/sentinel';

const running: RunningSentinel[] = [];

/** Starts a sentinel with generous limits. `closeSentinels` closes it. */
export async function startEmbedded(options: Partial<SentinelOptions> = {}): Promise<RunningSentinel> {
  const sentinel = await startSentinel({
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
  running.push(sentinel);
  return sentinel;
}

export async function closeSentinels(): Promise<void> {
  await Promise.all(running.splice(0).map((sentinel) => sentinel.close()));
}
