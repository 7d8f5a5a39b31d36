// Context of one running call. Most operations never read their signal or log, so both are created on first use.
import type { Caller, IncomingCall, Logger } from '@fame-fabric/shared';
import { cutText } from '@fame-fabric/shared/internal';
import type { OperationContext, Outbound } from './operation.ts';

export class CallScope implements OperationContext {
  readonly link: Outbound;
  readonly #call: IncomingCall;
  readonly #agentLog: Logger;
  #log: Logger | undefined;
  #controller: AbortController | undefined;
  #stopped: { readonly reason: unknown } | undefined;

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
  get caller(): Promise<Caller | undefined> {
    return this.#call.caller;
  }
  get isStream(): boolean {
    return this.#call.isStream;
  }

  get log(): Logger {
    this.#log ??= this.#agentLog.with({ method: cutText(this.#call.method, 64), callId: this.#call.id });
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
    this.#stopped = { reason };
    this.#controller?.abort(reason);
  }

  /** Stops listening to the call's signal. */
  dispose(): void {
    if (this.#controller) this.#call.signal.removeEventListener('abort', this.#onCancel);
  }
}
