// The calls that this node makes, from `call()` to the answer. A request goes over the loop if this link serves the address,
// otherwise to the sentinel. It waits here without a connection, and at the limit of calls in flight.
// Credits and queues are in `neighbor.ts`; the calls that this node serves are in `serving.ts`.
import { backoffDelayMs } from '../async/backoff.ts';
import type { Clock } from '../async/clock.ts';
import { Waiters } from '../async/waiters.ts';
import { FabricError, isFabricError } from '../errors/error.ts';
import { newId } from '../ids.ts';
import { decode } from '../protocol/codec.ts';
import { TIMEOUT_META, timeoutOf } from '../protocol/deadline.ts';
import {
  type DataFrame,
  type DeliveryAck,
  type Envelope,
  makeEnvelope,
  RTYPE,
} from '../protocol/envelope.ts';
import { LIMITS } from '../protocol/limits.ts';
import { isRpcReply, rpcRequest } from '../protocol/rpc.ts';
import { callSpan } from '../telemetry/call-spans.ts';
import { TRACEPARENT, tracing } from '../telemetry/tracing.ts';
import { Deliveries } from './deliveries.ts';
import type { CallOptions, CallTarget } from './link-types.ts';
import { nackError } from './nack-error.ts';
import type { Neighbor } from './neighbor.ts';
import type { NodeIdentity } from './node-identity.ts';
import { type CallOwner, type OpenCall, UnaryCall } from './open-call.ts';
import { Pending } from './pending.ts';
import { StreamCall } from './stream-call.ts';
import { checkMs, checkTarget, targetText } from './target.ts';

/** Default time limit of a call. */
export const CALL_TIMEOUT_MS = 30_000;

/** Delays before a request is repeated that was refused with NODE_BUSY. */
const REPEAT_DELAYS = Object.freeze({ minMs: 20, maxMs: 1_000 });

/**
 * Maximum number of calls in flight at a foreign sentinel. Such a sentinel waits for credit inside its receive loop, so more
 * answers in flight than the window of 32 can deadlock it. Measured in 14 runs of 400 calls: 3 deadlocks at 48; 1 at 32 with
 * credit granted after 24 messages; none with credit granted after each message.
 */
export const FOREIGN_MAX_IN_FLIGHT = 24;

export interface CallsDeps {
  clock: Clock;
  identity: NodeIdentity;
  uplink: Neighbor;
  loop: Neighbor;
  /** True if this link serves the target. */
  isLocal: (target: CallTarget) => boolean;
  /** Set for at-least-once delivery. */
  deliveries?: Deliveries | undefined;
}

export class Calls implements CallOwner {
  readonly #deps: CallsDeps;
  readonly #open: Pending<OpenCall>;
  /** Calls that have not been passed to a neighbor, in order. */
  readonly #waiting = new Set<OpenCall>();
  /** Number of unanswered requests at the sentinel. */
  #inFlight = 0;
  /** Limit of `#inFlight`: that of the sentinel, or ours at a foreign one. */
  maxInFlight = Number.POSITIVE_INFINITY;
  readonly #idleWaiters = new Waiters();

  constructor(deps: CallsDeps) {
    this.#deps = deps;
    this.#open = new Pending(deps.clock);
  }

  get size(): number {
    return this.#open.size;
  }

  call(target: CallTarget, method: string, params: unknown, options: CallOptions): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#check(target, options);
      const { deadlineMs = Number.POSITIVE_INFINITY, id = newId() } = options;
      const timeoutMs = Math.min(options.timeoutMs ?? CALL_TIMEOUT_MS, deadlineMs);
      const request = { target, method, params, options };
      this.#start(new UnaryCall(this, id, request, timeoutMs, resolve, reject));
    });
  }

  stream(target: CallTarget, method: string, params: unknown, options: CallOptions): StreamCall {
    this.#check(target, options);
    const { id = newId(), timeoutMs = CALL_TIMEOUT_MS } = options;
    const call = new StreamCall(this, id, { target, method, params, options }, timeoutMs);
    this.#start(call);
    return call;
  }

  #check(target: CallTarget, { deadlineMs, id, signal, timeoutMs, ttl }: CallOptions): void {
    if (signal?.aborted) throw signal.reason;
    checkMs('timeoutMs', timeoutMs);
    checkMs('deadlineMs', deadlineMs);
    if (ttl !== undefined && ttl <= 0) {
      const text = `The call to ${targetText(target)} was not sent: agents call each other in a circle or a long chain`;
      throw new FabricError('HOPS_EXCEEDED', text);
    }
    checkTarget(target);
    if (id === '') throw new FabricError('REQUEST_INVALID', 'The id of a call must not be empty');
    if (id !== undefined && this.#open.has(id)) {
      throw new FabricError('REQUEST_INVALID', `A call with the id "${id}" is already open`);
    }
  }

  #start(call: OpenCall): void {
    this.#open.add(call);
    if (tracing) call.span = callSpan(tracing, call);
    this.#sendOrWait(call);
  }

  #sendOrWait(call: OpenCall): void {
    const { loop, uplink, isLocal } = this.#deps;
    if (isLocal(call.request.target)) this.#send(call, loop);
    else if (uplink.isAttached && this.#inFlight < this.maxInFlight && this.#waiting.size === 0) {
      this.#send(call, uplink);
    } else this.#wait(call);
  }

  #wait(call: OpenCall): void {
    if (call.bytes !== undefined) {
      this.#waiting.add(call);
      return;
    }
    // Copied, because the caller may change its object before the request is sent.
    const { request } = call;
    try {
      if (request.params !== undefined) request.params = JSON.parse(JSON.stringify(request.params));
    } catch (cause) {
      call.fail(new FabricError('PROTO_MALFORMED', 'The parameters cannot be serialized as JSON', { cause }));
      return;
    }
    this.#waiting.add(call);
  }

  #send(call: OpenCall, neighbor: Neighbor): void {
    const flow = neighbor.flowTo(targetText(call.request.target));
    call.neighbor = neighbor;
    call.refusal = undefined;
    if (neighbor === this.#deps.uplink && !call.isInFlight) {
      call.isInFlight = true;
      this.#inFlight++;
    }
    try {
      const isNew = call.bytes === undefined || call.isRead;
      const envelope = call.bytes
        ? this.#again(call, call.bytes, neighbor, flow.id)
        : this.#envelope(call, flow.id);
      call.isRead = false;
      call.bytes = neighbor.encode(envelope);
      call.isQueued = !neighbor.sendEncoded(flow, envelope, call.bytes, call);
      // An undelivered request ends with the deadline of its call.
      if (isNew)
        this.#deps.deliveries?.watch(neighbor, envelope, { isOver: () => call.isOver }).catch(() => {});
    } catch (error) {
      if (isFabricError(error, 'NODE_BUSY')) call.refused(error, call.isRead);
      else call.fail(error);
    }
  }

  // The same request. The id is new if the callee has read the earlier one, because it ignores a repeated id. A receiver of
  // signed envelopes ignores every repeated id.
  #again(call: OpenCall, bytes: Uint8Array, neighbor: Neighbor, flowId: string): Envelope {
    const { deliveries, identity } = this.#deps;
    const envelope = decode(bytes);
    if (timeoutOf(envelope.meta) !== undefined) envelope.meta = this.#metaOf(call);
    if (call.isRead || (neighbor.isSigned && !deliveries)) envelope.id = newId();
    envelope.flowId = flowId;
    envelope.replyTo = identity.replyAddress;
    if (identity.sid !== undefined) envelope.sid = identity.sid;
    return envelope;
  }

  /** Sends the request again after a delay, until its deadline. */
  repeat(call: OpenCall, refusal: FabricError, isRead: boolean): void {
    call.refusal = refusal;
    call.isRead = isRead;
    // The callee holds nothing of the call that could be cancelled, or be lost with the connection.
    call.neighbor = undefined;
    if (call.isInFlight) this.#endFlight(call);
    this.#deps.clock.after(backoffDelayMs(call.refusals++, REPEAT_DELAYS), () => {
      if (!call.isOver) this.#sendOrWait(call);
    });
  }

  #envelope(call: OpenCall, flowId: string): Envelope<DataFrame> {
    const { identity } = this.#deps;
    const { corrId, request } = call;
    const { target, method, params, options } = request;
    return makeEnvelope<DataFrame>(
      { type: 'Data', payload: rpcRequest(corrId, method, params) },
      identity.header({
        traceId: options.traceId ?? call.span?.traceId ?? newId(),
        to: typeof target === 'string' ? target : undefined,
        replyTo: identity.replyAddress,
        capabilities: typeof target === 'string' ? undefined : [...target.capabilities],
        rtype: this.#rtypeOf(call),
        corrId,
        flowId,
        ttl: options.ttl,
        meta: this.#metaOf(call),
      }),
    );
  }

  // The deadline travels in the metadata. A sentinel ends a call without one after 15 minutes.
  #metaOf({ deadline, isStream, request, span, timeoutMs }: OpenCall): Record<string, unknown> | undefined {
    const { deadlineMs } = request.options;
    const meta = span ? { ...request.options.meta, [TRACEPARENT]: span.traceparent } : request.options.meta;
    const isLong = !isStream && timeoutMs > LIMITS.idleCallMs && Number.isFinite(timeoutMs);
    if (deadlineMs === undefined && !isLong) return meta;
    const leftMs = isStream ? deadlineMs! : deadline - this.#deps.clock.monotonic();
    return { ...meta, [TIMEOUT_META]: Math.max(1, Math.ceil(leftMs)) };
  }

  #rtypeOf({ isStream }: OpenCall): number {
    const rtype = isStream ? RTYPE.stream : RTYPE.reply;
    return this.#deps.deliveries ? Deliveries.mark(rtype) : rtype;
  }

  /** Sends waiting requests until the connection is lost or `maxInFlight` is reached. */
  pump(): void {
    const { uplink } = this.#deps;
    for (const call of this.#waiting) {
      if (!uplink.isAttached || this.#inFlight >= this.maxInFlight) return;
      this.#waiting.delete(call);
      this.#send(call, uplink);
    }
  }

  /** True if this envelope is an item of an open stream and arrived on that stream's own flow. */
  isOnStreamFlow(envelope: Envelope): boolean {
    const { corrId } = envelope;
    if (corrId === undefined || envelope.flowId !== corrId) return false;
    const call = this.#open.get(corrId);
    return call instanceof StreamCall && call.ownsFlow(envelope);
  }

  /** Passes an answer or a stream item to its call. Ignores it if the call has ended. */
  onReply(envelope: Envelope<DataFrame>, size: number): void {
    const { payload } = envelope.frame;
    const call = envelope.corrId === undefined ? undefined : this.#open.get(envelope.corrId);
    if (call === undefined || !isRpcReply(payload)) return;
    call.onReply(payload, size, envelope);
    // A stream counts until its first item. From then on its credits limit it.
    if (call.isInFlight && call.isStream && !call.isOver) this.#endFlight(call);
  }

  /** Fails the call whose request was not delivered. */
  onDeliveryAck(envelope: Envelope<DeliveryAck>): void {
    if (envelope.frame.ok || envelope.corrId === undefined) return;
    // The NACK refuses an answer of this node, not a request: a call that it serves may have the same id.
    if (envelope.to !== undefined && envelope.to === this.#deps.identity.systemAddress) return;
    const call = this.#open.get(envelope.corrId);
    call?.refused(nackError(envelope.frame, targetText(call.request.target)), false);
  }

  /** Fails the call whose answer is unreadable. */
  onBadReply(corrId: string, error: FabricError): void {
    this.#open.get(corrId)?.fail(error, 'bad-reply');
  }

  monotonic(): number {
    return this.#deps.clock.monotonic();
  }

  deadlineMoved(call: OpenCall): void {
    this.#open.moved(call);
  }

  release(call: OpenCall, cancelReason?: string): void {
    this.#open.remove(call);
    if (this.#waiting.size > 0) this.#waiting.delete(call);
    if (this.#open.size === 0) this.#idleWaiters.release();
    if (cancelReason !== undefined && call.neighbor) this.#cancel(call, call.neighbor, cancelReason);
    if (call.isInFlight) this.#endFlight(call);
  }

  #endFlight(call: OpenCall): void {
    call.isInFlight = false;
    this.#inFlight--;
    if (this.#waiting.size > 0) this.pump();
  }

  #cancel(call: OpenCall, neighbor: Neighbor, reason: string): void {
    const { corrId } = call;
    const { identity } = this.#deps;
    neighbor.sendControl(
      makeEnvelope(
        { type: 'CallCancel', corrId, reason },
        identity.header({ replyTo: identity.replyAddress }),
      ),
    );
  }

  /**
   * Resumes after a reconnect. Resends the requests that allow it. If the session was lost, fails the others, because their
   * answers can no longer arrive. A stream that its caller continues by a new call fails in any case: its last items, and its
   * end, may have been lost with the connection. `isSessionLost` is true if the path changed, or if the sentinel no longer had
   * the session.
   */
  reattached(isSessionLost: boolean): void {
    const { uplink } = this.#deps;
    for (const call of [...this.#open.values()]) {
      if (call.neighbor !== uplink || call.isQueued) continue;
      if (call.mayBeResent) {
        this.#send(call, uplink);
      } else if (isSessionLost) {
        call.fail(new FabricError('LINK_CLOSED', 'The call was lost because the sentinel restarted'));
      } else if (call.request.options.resend === 'until-item') {
        const text = 'Items of the stream may have been lost with the connection';
        call.fail(new FabricError('LINK_CLOSED', text), 'items-lost');
      }
    }
  }

  closeAll(error: FabricError): void {
    this.#waiting.clear();
    this.#open.failAll(error);
  }

  whenIdle(): Promise<void> {
    return this.#open.size === 0 ? Promise.resolve() : this.#idleWaiters.wait();
  }
}
