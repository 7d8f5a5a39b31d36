// A receiver of OTLP over HTTP with JSON, for tests of traces. It keeps the spans and the bodies that it received.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { eventually } from './eventually.ts';

type SpanValue = string | number | boolean | readonly string[];

export interface ReceivedSpan {
  readonly service: string;
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for the first span of a trace. */
  readonly parentSpanId: string;
  readonly kind: 'internal' | 'server' | 'client';
  readonly attributes: Readonly<Record<string, SpanValue>>;
  /** Names of the types of the values: `stringValue`, `intValue`, `doubleValue`, `boolValue` or `arrayValue`. */
  readonly types: Readonly<Record<string, string>>;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly isError: boolean;
  readonly ms: number;
}

interface JsonValue {
  readonly [type: string]: unknown;
}
interface JsonAttribute {
  readonly key: string;
  readonly value: JsonValue;
}
interface JsonSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly JsonAttribute[];
  readonly links?: readonly { traceId: string; spanId: string }[];
  readonly status?: { code?: number };
}
interface JsonBody {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly JsonAttribute[] };
    readonly scopeSpans: readonly { readonly spans: readonly JsonSpan[] }[];
  }[];
}

const KINDS = ['internal', 'internal', 'server', 'client'] as const;

export class OtlpReceiver {
  readonly spans: ReceivedSpan[] = [];
  /** The requests as text, for searches. */
  text = '';
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const body = Buffer.concat(chunks).toString('utf8');
        this.text += `${body}\n`;
        if (request.headers['content-type'] === 'application/json')
          this.spans.push(...spansOf(JSON.parse(body) as JsonBody));
        response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
      });
    });
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  /** Variables with which a process sends its spans here, after 50 ms. */
  get env(): Record<string, string> {
    return {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      OTEL_BSP_SCHEDULE_DELAY: '50',
    };
  }

  /** Waits for a span. */
  async span(found: (span: ReceivedSpan) => boolean): Promise<ReceivedSpan> {
    return eventually(async () => {
      const span = this.spans.find(found);
      if (!span) throw new Error(`no such span among ${this.spans.map(({ name }) => name).join(', ')}`);
      return span;
    });
  }

  /** The spans of one trace. */
  trace(traceId: string): ReceivedSpan[] {
    return this.spans.filter((span) => span.traceId === traceId);
  }

  /** Waits for the parents of all spans of a trace, and for a span of each service. Processes export their spans at different times. */
  async connectedTrace(
    traceId: string,
    { services, known = [] }: { services: readonly string[]; known?: readonly string[] },
  ): Promise<ReceivedSpan[]> {
    return eventually(() => {
      const trace = this.trace(traceId);
      const missing = services.filter((name) => !trace.some(({ service }) => service === name));
      const orphans = orphansOf(trace, known).map(({ name }) => name);
      if (missing.length + orphans.length > 0)
        throw new Error(
          `services without spans: [${missing.join(', ')}]; spans without parents: [${orphans.join(', ')}]`,
        );
      return trace;
    });
  }

  close(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }
}

/** The spans of a trace whose parents are not among them, but for those of `known` parents. */
export const orphansOf = (trace: readonly ReceivedSpan[], known: readonly string[] = []): ReceivedSpan[] => {
  const ids = new Set([...trace.map(({ spanId }) => spanId), ...known]);
  return trace.filter(({ parentSpanId }) => parentSpanId !== '' && !ids.has(parentSpanId));
};

const spansOf = ({ resourceSpans }: JsonBody): ReceivedSpan[] =>
  resourceSpans.flatMap(({ resource, scopeSpans }) => {
    const service = String(valuesOf(resource.attributes)['service.name']);
    return scopeSpans.flatMap(({ spans }) => spans.map((span) => spanOf(service, span)));
  });

const spanOf = (service: string, span: JsonSpan): ReceivedSpan => ({
  service,
  name: span.name,
  traceId: span.traceId,
  spanId: span.spanId,
  parentSpanId: span.parentSpanId ?? '',
  kind: KINDS[span.kind]!,
  attributes: valuesOf(span.attributes),
  types: Object.fromEntries(span.attributes.map(({ key, value }) => [key, Object.keys(value)[0]!])),
  links: span.links ?? [],
  isError: span.status?.code === 2,
  ms: Number(BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano)) / 1e6,
});

const valuesOf = (attributes: readonly JsonAttribute[]): Record<string, SpanValue> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, plainOf(value)]));

function plainOf(value: JsonValue): SpanValue {
  const [type, inner] = Object.entries(value)[0]!;
  if (type === 'arrayValue')
    return (inner as { values: JsonValue[] }).values.map((one) => String(plainOf(one)));
  return type === 'intValue' ? Number(inner) : (inner as SpanValue);
}
