// One running call, as its operation sees it. Most operations are over before anybody gives them up and never look at
// their signal or log, so both are made when they are first asked for.
import type { IncomingCall, Logger } from '@fame-fabric/shared';
import type { OperationContext, Outbound } from './operation.ts';

export class CallScope implements OperationContext {
  readonly link: Outbound;
  readonly #call: IncomingCall;
  readonly #agentLog: Logger;
  #log: Logger | undefined;
  #controller: AbortController | undefined;
  #isStopped = false;
  #stopReason: unknown;

  constructor(call: IncomingCall, link: Outbound, log: Logger) {
    this.#call = call;
    this.link = link;
    this.#agentLog = log;
  }

  get callId(): string {
    return this.#call.id;
  }
  get traceId(): string | undefined {
    return this.#call.traceId;
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
  get isStream(): boolean {
    return this.#call.isStream;
  }

  get log(): Logger {
    this.#log ??= this.#agentLog.with({ method: this.#call.method.slice(0, 64), callId: this.#call.id });
    return this.#log;
  }

  // A controller of its own rather than AbortSignal.any: no long-lived signal ever carries a listener of a call.
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      const { signal } = this.#call;
      if (this.#isStopped) this.#controller.abort(this.#stopReason);
      else if (signal.aborted) this.#controller.abort(signal.reason);
      else signal.addEventListener('abort', this.#onGivenUp, { once: true });
    }
    return this.#controller.signal;
  }

  readonly #onGivenUp = (): void => this.#controller?.abort(this.#call.signal.reason);

  get isAborted(): boolean {
    return this.#isStopped || this.#call.signal.aborted;
  }

  /** Stops the operation from this side. */
  abort(reason: unknown): void {
    this.#isStopped = true;
    this.#stopReason = reason;
    this.#controller?.abort(reason);
  }

  /** Lets go of the call's signal. */
  dispose(): void {
    if (this.#controller) this.#call.signal.removeEventListener('abort', this.#onGivenUp);
  }
}
