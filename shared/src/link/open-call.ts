// An outgoing call that has not ended, with one answer (`UnaryCall`) or many (`StreamCall`, in `stream-call.ts`). It holds the
// caller's side; `calls.ts` sends, queues and cancels.
import { FabricError } from '../errors/error.ts';
import type { Envelope } from '../protocol/envelope.ts';
import { errorOfReply, isRefusal, type RpcReply } from '../protocol/rpc.ts';
import { errorTypeOf, type TraceSpan } from '../telemetry/tracing.ts';
import { timeText } from '../text/time-text.ts';
import type { Sender } from './flow.ts';
import type { CallOptions, CallTarget } from './link-types.ts';
import type { Neighbor } from './neighbor.ts';
import type { Waiter } from './pending.ts';
import { targetText } from './target.ts';

/** The table of open calls, as one call uses it. */
export interface CallOwner {
  /** Monotonic time, in ms. */
  monotonic(): number;
  /** Removes a call that has ended. With `cancelReason`, cancels it at the callee. */
  release(call: OpenCall, cancelReason?: string): void;
  /** Sends a request that was refused again, after a delay. `isRead` is true if the callee itself refused it. */
  repeat(call: OpenCall, refusal: FabricError, isRead: boolean): void;
  /** Reschedules the timeout after the deadline of a call has moved. */
  deadlineMoved(call: OpenCall): void;
}

export interface CallRequest {
  readonly target: CallTarget;
  readonly method: string;
  params: unknown;
  readonly options: CallOptions;
}

export abstract class OpenCall implements Waiter, Sender {
  readonly corrId: string;
  readonly request: CallRequest;
  readonly timeoutMs: number;
  abstract readonly isStream: boolean;
  deadline: number;
  isOver = false;
  /** The neighbor that the request was passed to; `undefined` while it waits in `calls.ts`, at first or to be repeated. */
  neighbor: Neighbor | undefined;
  /** The encoded request, once it was sent. It is a copy: the caller may change its parameters meanwhile. */
  bytes: Uint8Array | undefined;
  /** Number of times that the request was refused. */
  refusals = 0;
  /** True if the callee read the refused request. */
  isRead = false;
  /** The refusal of a request that waits to be repeated. */
  refusal: FabricError | undefined;
  /** True while the request waits in its neighbor for credit or for a connection. */
  isQueued = false;
  /** Span of the call, if this process traces. */
  span: TraceSpan | undefined;
  /** True while the call counts against `maxInFlight`. */
  isInFlight = false;
  protected readonly owner: CallOwner;

  constructor(owner: CallOwner, corrId: string, request: CallRequest, timeoutMs: number) {
    this.owner = owner;
    this.corrId = corrId;
    this.request = request;
    this.timeoutMs = timeoutMs;
    this.deadline = owner.monotonic() + timeoutMs;
    request.options.signal?.addEventListener('abort', this);
  }

  /**
   * Handles the refusal of the request: nothing was executed. A busy callee is asked again until the deadline; any other refusal
   * fails the call.
   */
  refused(error: FabricError, isRead: boolean): void {
    if (error.code === 'NODE_BUSY' && !this.hasReceived) this.owner.repeat(this, error, isRead);
    else this.fail(error);
  }

  /** True if a part of the answer was received. The request is not repeated then. */
  abstract readonly hasReceived: boolean;
  abstract onReply(reply: RpcReply, size: number, envelope: Envelope): void;
  protected abstract settle(error: unknown): void;

  /** True if a reconnected link sends the request again. */
  get mayBeResent(): boolean {
    const { resend } = this.request.options;
    return resend === true || (resend === 'until-item' && !this.hasReceived);
  }

  /** Ends the call with an error. With `cancelReason`, cancels it at the callee. */
  fail(error: unknown, cancelReason?: string): void {
    if (this.isOver) return;
    this.span?.end(errorTypeOf(error));
    this.finish(cancelReason);
    this.settle(error);
  }

  protected finish(cancelReason?: string): void {
    this.isOver = true;
    this.span?.end();
    this.request.options.signal?.removeEventListener('abort', this);
    this.owner.release(this, cancelReason);
  }

  /** Called when the caller's signal aborts. */
  handleEvent(): void {
    this.fail(this.request.options.signal?.reason, this.leaveReason('aborted'));
  }

  /** The reason that the callee receives when the caller leaves: `explicit`, unless the operation should continue. */
  protected leaveReason(explicit: string): string {
    return this.request.options.onLeave === 'continue' ? 'caller-gone' : explicit;
  }

  onSent(): void {
    this.isQueued = false;
  }

  onDropped(error: Error): void {
    this.isQueued = false;
    if (!this.mayBeResent) this.fail(error);
  }

  onDue(): void {
    this.timeOut();
  }

  protected timeOut(): void {
    if (this.refusal) {
      this.fail(this.refusal);
      return;
    }
    const { target, method } = this.request;
    this.fail(
      new FabricError(
        'CALL_TIMEOUT',
        `No ${this.isStream ? 'item' : 'answer'} from ${targetText(target)} to ${method} within ${timeText(this.timeoutMs)}`,
        { details: { method, timeoutMs: this.timeoutMs } },
      ),
      'timeout',
    );
  }
}

export class UnaryCall extends OpenCall {
  readonly isStream = false;
  readonly hasReceived = false;
  readonly #resolve: (result: unknown) => void;
  readonly #reject: (error: unknown) => void;

  constructor(
    owner: CallOwner,
    corrId: string,
    request: CallRequest,
    timeoutMs: number,
    resolve: (result: unknown) => void,
    reject: (error: unknown) => void,
  ) {
    super(owner, corrId, request, timeoutMs);
    this.#resolve = resolve;
    this.#reject = reject;
  }

  onReply(reply: RpcReply): void {
    if (reply.error != null) {
      const error = errorOfReply(reply.error);
      if (isRefusal(reply.error)) this.refused(error, true);
      else this.fail(error);
      return;
    }
    this.finish();
    this.#resolve(reply.result ?? null);
  }

  protected settle(error: unknown): void {
    this.#reject(error);
  }
}
