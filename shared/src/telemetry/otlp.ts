// The SDK of OpenTelemetry with an exporter over OTLP. The only file that imports them; a process loads it only to trace.
import { DiagLogLevel, diag } from '@opentelemetry/api';
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
} from '@opentelemetry/resources';
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import { systemClock } from '../async/clock.ts';
import type { TelemetryConfig } from './config.ts';

/** Longest time that the export of the last spans delays the exit of a process, in ms. */
const FLUSH_MS = 3_000;

export interface OtlpOptions extends Pick<TelemetryConfig, 'protocol'> {
  /** `service.name`, unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES has one. */
  readonly service: string;
  readonly version: string;
  /** Called when an export failed. */
  onFailure(): void;
}

/** Registers the provider of this process. Returns a function that exports the last spans and unregisters it. */
export async function registerProvider({
  protocol,
  service,
  version,
  onFailure,
}: OtlpOptions): Promise<() => Promise<void>> {
  const ignore = (): void => {};
  diag.setLogger(
    { error: onFailure, warn: ignore, info: ignore, debug: ignore, verbose: ignore },
    { logLevel: DiagLogLevel.ERROR, suppressOverrideMessage: true },
  );
  const { OTLPTraceExporter } =
    protocol === 'http/json'
      ? await import('@opentelemetry/exporter-trace-otlp-http')
      : await import('@opentelemetry/exporter-trace-otlp-proto');
  const provider = new NodeTracerProvider({
    // Not the detectors of the process and the host: command lines may have secrets.
    resource: defaultResource()
      .merge(resourceFromAttributes({ 'service.name': service, 'service.version': version }))
      .merge(detectResources({ detectors: [envDetector] })),
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())],
  });
  provider.register();
  return async () => {
    const late = Promise.withResolvers<void>();
    const timer = systemClock.after(FLUSH_MS, late.resolve, { keepAlive: true });
    await Promise.race([provider.shutdown().catch(onFailure), late.promise]);
    timer.stop();
  };
}
