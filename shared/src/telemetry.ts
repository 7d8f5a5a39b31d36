// Traces of a process, for our own workspaces and for programs that export their traces themselves.
import './env/require-node.ts';

export { readTelemetryConfig } from './telemetry/config.ts';
export { type RunningTracing, startTracing, type TracingOptions } from './telemetry/start-tracing.ts';
