// Starts the traces of a process whose environment asks for them. Everything else of OpenTelemetry loads from here, on demand.
import { readFileSync } from 'node:fs';
import { systemClock } from '../async/clock.ts';
import type { Environment } from '../env/variable.ts';
import { FabricError } from '../errors/error.ts';
import type { Logger } from '../log.ts';
import { readTelemetryConfig } from './config.ts';
import { setTracing, tracing } from './tracing.ts';

export interface TracingOptions {
  /** `service.name` of the spans, unless the environment names one. */
  readonly service: string;
  /** Receives one line when an export fails, at most once a minute. @default none */
  readonly log?: Pick<Logger, 'warn'> | undefined;
}

/** The traces of a process. */
export interface RunningTracing {
  /** Exports the last spans, for at most 3 s, and stops tracing. */
  stop(): Promise<void>;
}

/** Minimum time between two lines about failed exports, in ms. */
const LINE_EVERY_MS = 60_000;

/**
 * Starts to trace if OTEL_EXPORTER_OTLP_ENDPOINT is set. Returns undefined if it is not, and if the process traces already.
 * @throws {CONFIG_INVALID} if a variable has a fault, or the SDK is not installed
 */
export async function startTracing(
  env: Environment,
  { service, log }: TracingOptions,
): Promise<RunningTracing | undefined> {
  const config = readTelemetryConfig(env);
  if (!config || tracing) return undefined;
  const version = packageVersion();
  let warnedAt = Number.NEGATIVE_INFINITY;
  const onFailure = (): void => {
    const now = systemClock.monotonic();
    if (now - warnedAt < LINE_EVERY_MS) return;
    warnedAt = now;
    log?.warn('traces could not be exported; check the collector at OTEL_EXPORTER_OTLP_ENDPOINT');
  };
  const { registerProvider } = await load(() => import('./otlp.ts'));
  const unregister = await load(() => registerProvider({ ...config, service, version, onFailure }));
  const { otelTracing } = await import('./otel-tracing.ts');
  setTracing(otelTracing(version));
  return {
    async stop() {
      setTracing(undefined);
      await unregister();
    },
  };
}

/** @throws {CONFIG_INVALID} if a package is not installed */
async function load<T>(loading: () => Promise<T>): Promise<T> {
  try {
    return await loading();
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw cause;
    const text =
      'OTEL_EXPORTER_OTLP_ENDPOINT is set, and the SDK of OpenTelemetry is not installed. Install it: npm install @opentelemetry/sdk-trace-node@2 @opentelemetry/resources@2 @opentelemetry/exporter-trace-otlp-proto @opentelemetry/exporter-trace-otlp-http';
    throw new FabricError('CONFIG_INVALID', text, { cause });
  }
}

const packageVersion = (): string =>
  (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string })
    .version;
