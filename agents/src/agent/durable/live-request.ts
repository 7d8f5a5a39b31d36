// A durable request in this process, from its acceptance to its outcome.
import type { Caller, FabricError, RpcErrorBody } from '@fame-fabric/shared';

/** Outcome of a request: the part of a JSON-RPC reply that the store keeps. */
export type Outcome = { readonly result: unknown } | { readonly error: RpcErrorBody };

/** Receives the outcome of a request, or an error if this process cannot read it. */
export interface OutcomeListener {
  onOutcome(outcome: Outcome): void;
  onLost(error: FabricError): void;
}

/** The receiver of an answer, in a form that outlives the process. */
export interface AnswerTo {
  readonly replyTo: string;
  readonly corrId: string;
  /** True if the request is a message. */
  readonly isMessage?: boolean | undefined;
  readonly traceId?: string | undefined;
  /** Remaining hops of the request. */
  readonly ttl?: number | undefined;
  readonly meta?: Readonly<Record<string, unknown>> | undefined;
  /** The caller; undefined for a message, and for a call that expects no answer. */
  readonly caller?: Caller | undefined;
}

/** An end that does not come from the function of the request. */
export interface RequestStop {
  readonly state: 'cancelled' | 'failed';
  readonly error: FabricError;
}

/** One run of a request. */
export interface Run {
  readonly id: string;
  readonly attempt: number;
  readonly answerTo: AnswerTo;
  /** Remaining time, in ms; undefined for no limit. */
  readonly timeoutMs: number | undefined;
  readonly signal: AbortSignal;
}

/** The function of a request, with its parameters. */
export interface Prepared {
  /** Requests with the same key run in order. */
  readonly key: string | undefined;
  run(run: Run): unknown;
}

export class LiveRequest {
  readonly id: string;
  readonly prepared: Prepared;
  readonly controller = new AbortController();
  readonly listeners = new Set<OutcomeListener>();
  /** 0 before the first run. */
  attempt: number;
  /** True while its function runs. */
  isRunning = false;
  /** An end that was requested before the store recorded it. */
  stop: RequestStop | undefined;
  outcome: Outcome | undefined;

  constructor(id: string, attempt: number, prepared: Prepared) {
    this.id = id;
    this.attempt = attempt;
    this.prepared = prepared;
  }

  /** The signal by which a waiting request leaves the queue. */
  get signal(): AbortSignal {
    return this.controller.signal;
  }
}
