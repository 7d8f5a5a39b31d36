// `fame up`: a sentinel and the chat agent in one process, for a first look and for small machines. They still talk over
// the sentinel's port, exactly as two processes do.
import { runAgentProcess } from '@fame-fabric/agents/main';
import type { RunningSentinel } from '@fame-fabric/sentinel';
import { runSentinelProcess } from '@fame-fabric/sentinel/main';

/** Runs until a signal ends both; resolves to the exit code. */
export async function runUp(): Promise<number> {
  const { promise: listening, resolve: onListening } = Promise.withResolvers<RunningSentinel>();
  const sentinelEnded = runSentinelProcess({ onListening });
  const sentinel = await Promise.race([listening, sentinelEnded]);
  if (typeof sentinel === 'number') return sentinel;
  process.env.FAME_DIRECT_ADMISSION_URL = `ws://127.0.0.1:${sentinel.port}/fame/v1/attach/ws/downstream`;
  const code = await runAgentProcess([]);
  await sentinel.drain();
  return code;
}
