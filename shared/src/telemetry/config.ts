// The standard variables of OpenTelemetry that this project reads itself. The SDK reads the others, such as those of the sampler, the
// batches, the headers and the resource.
import { type EnvReader, readEnv } from '../env/read-env.ts';
import type { Environment, Variable } from '../env/variable.ts';

/** Settings of the traces of a process. */
export interface TelemetryConfig {
  readonly protocol: 'http/protobuf' | 'http/json';
  /** True if spans have the texts of conversations and the arguments and results of tools. */
  readonly hasContent: boolean;
}

const PROTOCOLS = { 'http/protobuf': 'http/protobuf', 'http/json': 'http/json' } as const;
const CONTENT = {
  true: true,
  false: false,
  no_content: false,
  span_only: true,
  event_only: false,
  span_and_event: true,
};

const ENDPOINTS = ['OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'] as const;

/** True if the environment names a collector, so that the rest of the settings should be read. */
export const isTracingRequested = (env: Environment): boolean => ENDPOINTS.some((name) => env[name]?.trim());

/** Returns undefined if the process does not trace. @throws {CONFIG_INVALID} */
export function readTelemetryConfig(env: Environment): TelemetryConfig | undefined {
  const { config } = readEnv(env, (reader) => {
    const isOn =
      ENDPOINTS.filter((name) => isUrl(reader, name)).length > 0 &&
      !reader.boolean('OTEL_SDK_DISABLED', false) &&
      reader.choice('OTEL_TRACES_EXPORTER', true, { otlp: true, none: false });
    if (!isOn) return { config: undefined };
    const all = reader.choice('OTEL_EXPORTER_OTLP_PROTOCOL', PROTOCOLS['http/protobuf'], PROTOCOLS);
    const config: TelemetryConfig = {
      protocol: reader.choice('OTEL_EXPORTER_OTLP_TRACES_PROTOCOL', all, PROTOCOLS),
      hasContent: reader.choice('OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT', false, CONTENT),
    };
    return { config };
  });
  return config;
}

const isUrl = (reader: EnvReader, name: string): boolean =>
  reader.url(name, { protocols: ['http:', 'https:'], example: 'http://127.0.0.1:4318' }) !== undefined;

/** The variables of this file, for docs/configuration.md. */
export const TELEMETRY_VARIABLES: readonly Variable[] = [
  {
    name: 'OTEL_EXPORTER_OTLP_ENDPOINT',
    type: 'url',
    default: '',
    description:
      'Collector that receives traces over HTTP, such as `http://127.0.0.1:4318`. Unset, nothing is traced.',
  },
  {
    name: 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT',
    type: 'url',
    default: 'OTEL_EXPORTER_OTLP_ENDPOINT with `/v1/traces`',
    description: 'Whole URL for traces.',
  },
  {
    name: 'OTEL_EXPORTER_OTLP_PROTOCOL',
    type: 'choice',
    default: 'http/protobuf',
    description: 'Encoding: `http/protobuf` or `http/json`.',
  },
  {
    name: 'OTEL_EXPORTER_OTLP_TRACES_PROTOCOL',
    type: 'choice',
    default: 'OTEL_EXPORTER_OTLP_PROTOCOL',
    description: 'Encoding of traces.',
  },
  {
    name: 'OTEL_TRACES_EXPORTER',
    type: 'choice',
    default: 'otlp',
    description: '`otlp` or `none`.',
  },
  {
    name: 'OTEL_SDK_DISABLED',
    type: 'boolean',
    default: 'false',
    description: 'Turns traces off.',
  },
  {
    name: 'OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT',
    type: 'choice',
    default: 'false',
    description:
      '`true` or `span_only` adds prompts, answers, and the arguments and results of tools to spans. They may have personal data.',
  },
];
