// Traces of a process with agents. Their code loads only if the environment names a collector.
import type { Logger } from '@fame-fabric/shared';
import { type Environment, isTracingRequested, tracing } from '@fame-fabric/shared/internal';
import type { TurnObserver } from '../telemetry/turn-observer.ts';

/** The traces of this process. */
export interface AgentTelemetry {
  readonly observers: readonly TurnObserver[];
  /** Exports the last spans. */
  stop(): Promise<void>;
}

/** Returns undefined if the process does not trace. @throws {CONFIG_INVALID} */
export async function startTelemetry(env: Environment, log: Logger): Promise<AgentTelemetry | undefined> {
  if (!isTracingRequested(env)) return undefined;
  const { readTelemetryConfig, startTracing } = await import('@fame-fabric/shared/telemetry');
  const started = await startTracing(env, { service: 'fame-agents', log });
  // The sentinel of the same process may have started them.
  if (!tracing) return undefined;
  const { TurnSpans } = await import('../telemetry/turn-spans.ts');
  const hasContent = readTelemetryConfig(env)?.hasContent ?? false;
  return {
    observers: [new TurnSpans(tracing, { hasContent })],
    stop: async () => started?.stop(),
  };
}
