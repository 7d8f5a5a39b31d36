// Context of one running call. Most operations never use their signal, log or link, so they are created on first use. A call with
// a deadline aborts when the deadline passes.
import {
  type Caller,
  type Clock,
  FabricError,
  type IncomingCall,
  type Logger,
  type Timer,
} from '@fame-fabric/shared';
import { type Behalf, cutText, LONGEST_TIMER_MS, timeoutOf } from '@fame-fabric/shared/internal';
import type { ContextLink, Delivery, OperationContext, Outbound } from './operation.ts';
import { type LinkScope, ScopedLink } from './scoped-link.ts';
import type { AgentState } from './state/agent-state.ts';

export interface CallScopeDeps {
  link: Outbound;
  log: Logger;
  clock: Clock;
  /** Returns the state of the agent. @throws if the agent does not declare it */
  state(): AgentState;
  /** For durable operations. */
  delivery?: Delivery | undefined;
  /** Remaining time of the call, in ms. @default that of its metadata */
  timeoutMs?: number | undefined;
}

/** The call that an operation serves. A durable request may have outlived it. */
export type ScopedCall = Pick<
  IncomingCall,
  | 'id'
  | 'method'
  | 'address'
  | 'replyTo'
  | 'isStream'
  | 'traceId'
  | 'meta'
  | 'ttl'
  | 'signal'
  | 'caller'
  | 'callerServes'
  | 'corrId'
  | 'acknowledge'
>;

export class CallScope implements OperationContext, LinkScope {
  readonly #call: ScopedCall;
  readonly #deps: CallScopeDeps;
  /** Monotonic, in ms. Infinity if the call has no deadline. */
  readonly #deadline: number;
  #timer: Timer | undefined;
  #link: ScopedLink | undefined;
  #log: Logger | undefined;
  #controller: AbortController | undefined;
  #stopped: { readonly reason: unknown } | undefined;

  constructor(call: ScopedCall, deps: CallScopeDeps) {
    this.#call = call;
    this.#deps = deps;
    const timeoutMs = deps.timeoutMs ?? timeoutOf(call.meta);
    if (timeoutMs === undefined) {
      this.#deadline = Number.POSITIVE_INFINITY;
      return;
    }
    this.#deadline = deps.clock.monotonic() + timeoutMs;
    this.#timer = deps.clock.after(Math.min(timeoutMs, LONGEST_TIMER_MS), () => {
      this.abort(new FabricError('CALL_TIMEOUT', 'The time limit of the call has passed'));
    });
  }

  /** The call that calls on behalf of its caller name. */
  get behalf(): Behalf | undefined {
    const { corrId, replyTo } = this.#call;
    return corrId === undefined || replyTo === '' ? undefined : { corrId, replyTo };
  }

  get link(): ContextLink {
    this.#link ??= new ScopedLink(this.#deps.link, this);
    return this.#link;
  }

  leftMs(): number {
    return this.#deadline - this.#deps.clock.monotonic();
  }

  get callId(): string {
    return this.#call.id;
  }
  get traceId(): string | undefined {
    return this.#call.traceId;
  }
  get ttl(): number | undefined {
    return this.#call.ttl;
  }
  get meta(): Readonly<Record<string, unknown>> | undefined {
    return this.#call.meta;
  }
  get address(): string {
    return this.#call.address;
  }
  get replyTo(): string {
    return this.#call.replyTo;
  }
  get caller(): Promise<Caller | undefined> {
    return this.#call.caller;
  }
  callerServes(address: string): Promise<boolean> {
    return this.#call.callerServes(address);
  }
  acknowledge(): void {
    this.#call.acknowledge?.();
  }
  get isStream(): boolean {
    return this.#call.isStream;
  }
  get state(): AgentState {
    return this.#deps.state();
  }
  get delivery(): Delivery | undefined {
    return this.#deps.delivery;
  }

  get log(): Logger {
    this.#log ??= this.#deps.log.with({ method: cutText(this.#call.method, 64), callId: this.#call.id });
    return this.#log;
  }

  // Not AbortSignal.any: a long-lived signal must not keep a listener of a call.
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      const { signal } = this.#call;
      if (this.#stopped) this.#controller.abort(this.#stopped.reason);
      else if (signal.aborted) this.#controller.abort(signal.reason);
      else signal.addEventListener('abort', this.#onCancel, { once: true });
    }
    return this.#controller.signal;
  }

  readonly #onCancel = (): void => this.#controller?.abort(this.#call.signal.reason);

  get isAborted(): boolean {
    return this.#stopped !== undefined || this.#call.signal.aborted;
  }

  /** Aborts the operation from the agent's side. */
  abort(reason: unknown): void {
    if (this.#stopped) return;
    this.#stopped = { reason };
    this.#controller?.abort(reason);
  }

  /** Stops the timer and no longer listens to the call's signal. */
  dispose(): void {
    this.#timer?.stop();
    if (this.#controller) this.#call.signal.removeEventListener('abort', this.#onCancel);
  }
}
