// The port of traces, and the tracer of this process. Nothing here imports OpenTelemetry: `otel-tracing.ts` implements the port, and is
// loaded only in processes that trace. Call sites check `tracing` first, so a process without traces pays for one comparison.

/** A value of an attribute. Undefined leaves the attribute out. */
type AttributeValue = string | number | boolean | readonly string[] | undefined;
export type Attributes = Readonly<Record<string, AttributeValue>>;

export interface SpanStart {
  /** @default 'internal' */
  readonly kind?: 'internal' | 'client' | 'server' | undefined;
  readonly attributes?: Attributes | undefined;
  /**
   * Parent: a context in the form of the W3C header `traceparent`, `active` for the active span, or `none`. A text that is no
   * such context counts as none.
   * @default 'active'
   */
  readonly parent?: string | undefined;
  /** Contexts that the span links to, in the same form. */
  readonly links?: readonly string[] | undefined;
  /** Start, in ms since the epoch. @default now */
  readonly startedAt?: number | undefined;
}

/** A span that has begun. */
export interface TraceSpan {
  /** Context of the span for its children in other processes, in the form of the W3C header `traceparent`. */
  readonly traceparent: string;
  /** Id of the trace: 32 hexadecimal digits. */
  readonly traceId: string;
  /** False if the trace is not sampled. Attributes need not be computed then. */
  readonly isRecording: boolean;
  set(attributes: Attributes): void;
  /** Runs `work` with this span as the active one, in all that it awaits as well. */
  run<T>(work: () => T): T;
  /** Ends the span, once. `errorType` is a stable code; messages of errors may have content and are not recorded. */
  end(errorType?: string): void;
}

export interface Tracing {
  start(name: string, options?: SpanStart): TraceSpan;
  /** Context of the active span, if there is one. */
  active(): string | undefined;
  /** Context of the remote parent of the active span, if it has one. */
  caller(): string | undefined;
}

/** The tracer of this process; undefined if it does not trace. */
export let tracing: Tracing | undefined;

/** Sets or removes the tracer of this process. */
export function setTracing(next: Tracing | undefined): void {
  tracing = next;
}

/** Key of the metadata of an envelope, header of HTTP and key of MCP's `_meta`: the W3C trace context of the sender. */
export const TRACEPARENT = 'traceparent';

/** Length of a trace context of version 00. */
export const TRACEPARENT_CHARS = 55;

const FORM = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/** Returns the trace context among metadata or headers, if it has the form of version 00. */
export function traceparentIn(
  fields: Readonly<Record<string, unknown>> | null | undefined,
): string | undefined {
  const value = fields?.[TRACEPARENT];
  return typeof value === 'string' && FORM.test(value) ? value : undefined;
}

/** Code of an error for `error.type`: its stable code, else `_OTHER`. */
export function errorTypeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === 'string' && /^[A-Z][A-Z0-9_]{1,63}$/.test(code) ? code : '_OTHER';
}
