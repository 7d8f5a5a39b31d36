// The spans of calls between nodes: one at the caller, from the request to the answer, and one at the node that serves the call. The
// trace context travels in the metadata of the request. A caller of other software sends a `traceId` instead, which the span keeps.
import { ATTRIBUTE } from './names.ts';
import { type TraceSpan, type Tracing, traceparentIn } from './tracing.ts';

/** Longest method in a name, in UTF-16 code units. */
const MAX_METHOD = 64;

interface CallToTrace {
  readonly request: {
    readonly target: string | { readonly capabilities: readonly string[] };
    readonly method: string;
    readonly options: { readonly traceId?: string | undefined };
  };
}

/** Starts the span of a call at its caller. */
export function callSpan(tracing: Tracing, { request: { target, method, options } }: CallToTrace): TraceSpan {
  const address = typeof target === 'string' ? target : `[${target.capabilities.join(', ')}]`;
  return tracing.start(method.slice(0, MAX_METHOD), {
    kind: 'client',
    attributes: {
      [ATTRIBUTE.rpcSystem]: 'jsonrpc',
      [ATTRIBUTE.rpcMethod]: method.slice(0, MAX_METHOD),
      [ATTRIBUTE.address]: address,
      [ATTRIBUTE.traceId]: options.traceId,
    },
  });
}

interface CallToServe {
  readonly method: string;
  readonly address: string;
  readonly traceId: string | undefined;
  readonly meta: Readonly<Record<string, unknown>> | undefined;
}

/** Starts the span of a call at the node that serves it. */
export function servedSpan(tracing: Tracing, { method, address, traceId, meta }: CallToServe): TraceSpan {
  const parent = traceparentIn(meta);
  return tracing.start(method.slice(0, MAX_METHOD), {
    kind: 'server',
    parent: parent ?? 'none',
    // The trace id of a caller of other software joins the spans of one trace.
    links: parent === undefined && traceId !== undefined ? foreignLink(traceId) : [],
    attributes: {
      [ATTRIBUTE.rpcSystem]: 'jsonrpc',
      [ATTRIBUTE.rpcMethod]: method.slice(0, MAX_METHOD),
      [ATTRIBUTE.address]: address,
      [ATTRIBUTE.traceId]: traceId,
    },
  });
}

const TRACE_ID = /^(?!0{32})[0-9a-f]{32}$/;

/**
 * Links to the trace that has the `traceId` of an envelope, if that is a trace id of OpenTelemetry: a node of other software passes
 * on the one that it received. A link needs a span, and the id of the first one is unknown, so its number is 1.
 */
const foreignLink = (traceId: string): readonly string[] =>
  TRACE_ID.test(traceId) ? [`00-${traceId}-0000000000000001-01`] : [];
