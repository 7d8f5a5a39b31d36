// The port of traces over the API of OpenTelemetry. The only file that imports the API. It uses the provider that the program has
// registered: the one of `otlp.ts`, or one of the program itself.
import {
  type Attributes as ApiAttributes,
  type Context,
  context,
  createContextKey,
  type Link,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { cutText } from '../text/cut-text.ts';
import { ATTRIBUTE } from './names.ts';
import { type Attributes, type SpanStart, type TraceSpan, type Tracing, traceparentIn } from './tracing.ts';

const KINDS = { internal: SpanKind.INTERNAL, client: SpanKind.CLIENT, server: SpanKind.SERVER };
/** Longest text of an attribute, in UTF-16 code units. Longer ones are cut. */
const MAX_TEXT = 256;
/** Attributes with content, which the operator has asked for, may be longer. */
const MAX_CONTENT = 65_536;
const CONTENT: ReadonlySet<string> = new Set([
  ATTRIBUTE.systemInstructions,
  ATTRIBUTE.inputMessages,
  ATTRIBUTE.outputMessages,
  ATTRIBUTE.toolArguments,
  ATTRIBUTE.toolResult,
]);
const CALLER = createContextKey('fame-fabric caller');

/** Creates the tracer of a process. `version` is that of our packages. */
export function otelTracing(version: string): Tracing {
  const tracer = trace.getTracer('fame-fabric', version);
  return {
    start: (name, options = {}) => startSpan(tracer, name, options),
    active: () => textOf(trace.getSpan(context.active())?.spanContext()),
    caller: () => context.active().getValue(CALLER) as string | undefined,
  };
}

function startSpan(tracer: Tracer, name: string, options: SpanStart): TraceSpan {
  const { kind = 'internal', attributes, parent = 'active', links = [], startedAt } = options;
  const parentContext = contextOf(parent);
  const span = tracer.startSpan(
    name,
    {
      kind: KINDS[kind],
      ...(attributes ? { attributes: valuesOf(attributes) } : {}),
      links: links.flatMap((one): Link[] => {
        const linked = spanContextOf(one);
        return linked ? [{ context: linked }] : [];
      }),
      ...(startedAt === undefined ? {} : { startTime: startedAt }),
    },
    parentContext,
  );
  return new OtelSpan(span, trace.setSpan(parentContext, span));
}

function contextOf(parent: string): Context {
  if (parent === 'active') return context.active();
  const remote = spanContextOf(parent);
  if (!remote) return ROOT_CONTEXT;
  return trace.setSpanContext(ROOT_CONTEXT, remote).setValue(CALLER, parent);
}

class OtelSpan implements TraceSpan {
  readonly #span: Span;
  readonly #context: Context;
  #isOver = false;

  constructor(span: Span, own: Context) {
    this.#span = span;
    this.#context = own;
  }

  get traceparent(): string {
    return textOf(this.#span.spanContext())!;
  }

  get traceId(): string {
    return this.#span.spanContext().traceId;
  }

  get isRecording(): boolean {
    return this.#span.isRecording();
  }

  set(attributes: Attributes): void {
    this.#span.setAttributes(valuesOf(attributes));
  }

  run<T>(work: () => T): T {
    return context.with(this.#context, work);
  }

  end(errorType?: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    if (errorType !== undefined) {
      this.#span.setAttribute(ATTRIBUTE.errorType, errorType);
      this.#span.setStatus({ code: SpanStatusCode.ERROR });
    }
    this.#span.end();
  }
}

function valuesOf(attributes: Attributes): ApiAttributes {
  const values: ApiAttributes = {};
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined) continue;
    if (typeof value !== 'string') values[name] = value as ApiAttributes[string];
    else values[name] = cutText(value, CONTENT.has(name) ? MAX_CONTENT : MAX_TEXT);
  }
  return values;
}

const textOf = (span: SpanContext | undefined): string | undefined =>
  span && `00-${span.traceId}-${span.spanId}-${(span.traceFlags & 0xff).toString(16).padStart(2, '0')}`;

function spanContextOf(text: string): SpanContext | undefined {
  if (traceparentIn({ traceparent: text }) === undefined) return undefined;
  const [, traceId, spanId, flags] = text.split('-') as [string, string, string, string];
  return { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & 1, isRemote: true };
}
