// An incoming call, as its service sees it. The first of `reply`, `fail` and `end` ends it; later ones have no effect. The
// items of a stream travel on their own flow, named after the call, whose credits are the backpressure.
import type { Caller } from '../access/principal.ts';
import { FabricError, isFabricError } from '../errors/error.ts';
import { newId } from '../ids.ts';
import {
  type DataFrame,
  type Envelope,
  expects,
  makeEnvelope,
  RTYPE,
  type WhoIsAck,
} from '../protocol/envelope.ts';
import { type RpcReply, type RpcRequest, rpcError, rpcIdOf, rpcRefusal, rpcResult } from '../protocol/rpc.ts';
import { errorTypeOf, type TraceSpan } from '../telemetry/tracing.ts';
import type { Callers } from './callers.ts';
import { Deliveries } from './deliveries.ts';
import type { Sender, SendFlow } from './flow.ts';
import type { IncomingCall } from './link-types.ts';
import type { Neighbor } from './neighbor.ts';
import type { NodeIdentity } from './node-identity.ts';

/** Items of one stream that may wait for credit if its producer does not await `push`. */
const MAX_WAITING_ITEMS = 1_000;

const SENT: Promise<void> = Promise.resolve();

// A producer need not await `push`, since `signal` reports the end. Its unhandled rejections must not end the process.
const ignore = (): void => {};
const rejected = (error: unknown): Promise<never> => {
  const promise = Promise.reject(error);
  promise.catch(ignore);
  return promise;
};

/** The table of calls, as one call uses it. */
export interface IncomingOwner {
  readonly identity: NodeIdentity;
  /** Set for at-least-once delivery. */
  readonly deliveries: Deliveries | undefined;
  readonly callers: Callers;
  finished(call: Incoming): void;
  /** Called when a reply could be neither sent nor queued. */
  undeliverable(call: Incoming, error: unknown): void;
}

export class Incoming implements IncomingCall {
  readonly address: string;
  readonly id: string;
  readonly method: string;
  readonly params: unknown;
  readonly isStream: boolean;
  /** Empty for a call without an answer, such as a notification: no id, no corrId, no requested reply. */
  readonly replyTo: string;
  readonly traceId: string | undefined;
  readonly meta: Record<string, unknown> | undefined;
  readonly ttl: number | undefined;
  readonly corrId: string;
  /** The flow of unary answers to the caller. */
  readonly pair: SendFlow;
  /** The neighbor that the call came from, and that its answers go to. */
  readonly neighbor: Neighbor;
  readonly #owner: IncomingOwner;
  readonly #rpcId: string | number;
  acknowledge: (() => void) | undefined;
  /** True after the service has acknowledged the request. */
  isAcknowledged = false;
  /** Span of the call, if this process traces. */
  span: TraceSpan | undefined;
  #isOver = false;
  #flow: SendFlow | undefined;
  #abort: AbortController | undefined;
  #cancelReason: Error | undefined;
  #caller: Promise<Caller | undefined> | undefined;
  readonly stated: WhoIsAck | undefined;

  constructor(
    owner: IncomingOwner,
    neighbor: Neighbor,
    address: string,
    envelope: Envelope,
    request: RpcRequest,
  ) {
    this.#owner = owner;
    this.neighbor = neighbor;
    this.address = address;
    const rpcId = rpcIdOf(request);
    this.#rpcId = rpcId ?? envelope.corrId ?? '';
    this.id = String(this.#rpcId);
    this.corrId = envelope.corrId ?? (this.id === '' ? envelope.id : this.id);
    this.method = request.method;
    this.params = request.params;
    this.isStream = expects(envelope, RTYPE.stream);
    const isNotification =
      rpcId === undefined && envelope.corrId === undefined && !expects(envelope, RTYPE.reply | RTYPE.stream);
    this.replyTo = isNotification ? '' : (envelope.replyTo ?? '');
    this.pair = this.replyTo === '' ? neighbor.main : neighbor.flowTo(this.replyTo);
    this.traceId = envelope.traceId;
    this.ttl = envelope.ttl;
    const { meta } = envelope;
    this.meta = typeof meta === 'object' && meta !== null ? meta : undefined;
    this.stated = owner.callers.statedFor(this);
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  // Created on demand: most calls never use their signal, and a controller costs more than the rest of the call object.
  get signal(): AbortSignal {
    if (!this.#abort) {
      this.#abort = new AbortController();
      if (this.#cancelReason) this.#abort.abort(this.#cancelReason);
    }
    return this.#abort.signal;
  }

  get caller(): Promise<Caller | undefined> {
    this.#caller ??= this.#owner.callers.of(this);
    return this.#caller;
  }

  callerServes(address: string): Promise<boolean> {
    return this.#owner.callers.serves(this, address);
  }

  reply(result: unknown): Promise<void> {
    if (this.#isOver) return SENT;
    if (this.isStream) {
      // A unary operation that was called as a stream yields its result as the only item.
      if (result !== undefined && result !== null) {
        try {
          this.#sendItem(rpcResult(this.#rpcId, result));
        } catch (error) {
          this.#finish(rpcError(this.#rpcId, replyError(error, this.method)));
          return SENT;
        }
      }
      this.end();
    } else this.#finish(rpcResult(this.#rpcId, result));
    return this.neighbor.whenRoom(this.pair);
  }

  fail(error: unknown, logId?: string): void {
    if (this.#isOver) return;
    this.#finish(rpcError(this.#rpcId, error, logId));
  }

  refuse(error: FabricError): void {
    if (this.#isOver) return;
    this.#finish(rpcRefusal(this.#rpcId, error));
  }

  end(): void {
    if (this.#isOver) return;
    this.#finish(rpcResult(this.#rpcId, null));
  }

  push(item: unknown): Promise<void> {
    try {
      return this.pushNow(item) ?? SENT;
    } catch (error) {
      return rejected(error);
    }
  }

  pushNow(item: unknown): Promise<void> | undefined {
    if (this.#isOver) {
      throw this.#cancelReason ?? new FabricError('CALL_CANCELLED', 'The call has ended');
    }
    if (item === null || item === undefined) {
      throw new FabricError('PARAMS_INVALID', 'A stream cannot carry null, which is its end on the wire');
    }
    if (!this.isStream) {
      // A caller that expects one answer from a streaming operation gets the first item.
      return this.reply(item);
    }
    try {
      return this.#sendItem(rpcResult(this.#rpcId, item));
    } catch (error) {
      throw isFabricError(error, 'NODE_BUSY') ? replyError(error, this.method) : error;
    }
  }

  // Returns `undefined` if the item was sent at once.
  #sendItem(payload: RpcReply): Promise<void> | undefined {
    const flow = this.#ownFlow();
    if (flow.waiting.size >= MAX_WAITING_ITEMS) {
      throw new FabricError(
        'READER_TOO_SLOW',
        `The stream is read too slowly: ${flow.waiting.size} items are queued`,
      );
    }
    const item = new QueuedItem();
    const envelope = this.#envelope(payload, flow);
    const isSent = this.neighbor.send(flow, envelope, item, 'answer');
    // Counted only now, because an item that cannot be serialized takes no number.
    flow.seq++;
    // A resent item must not arrive after its successor, so the producer waits for the acknowledgement of each item.
    const arrived = this.#watch(envelope);
    if (arrived) return arrived;
    return isSent ? undefined : item.whenSent();
  }

  // Every answer of a stream travels on the stream's own flow, so that the sentinel can drop the flow with the stream.
  #ownFlow(): SendFlow {
    this.#flow ??= this.neighbor.openFlow(this.corrId, newId, this.pair);
    return this.#flow;
  }

  #finish(payload: RpcReply): void {
    this.#isOver = true;
    this.span?.end(payload.error ? errorTypeOf(payload.error.data) : undefined);
    try {
      this.#sendLast(payload);
    } catch (error) {
      try {
        this.#sendLast(rpcError(this.#rpcId, replyError(error, this.method)));
      } catch (second) {
        this.#owner.undeliverable(this, second);
      }
    }
    if (this.#flow) this.neighbor.closeFlow(this.#flow);
    this.#owner.finished(this);
  }

  #sendLast(payload: RpcReply): void {
    if (this.replyTo === '') return;
    const flow = this.isStream ? this.#ownFlow() : this.pair;
    const envelope = this.#envelope(payload, flow);
    this.neighbor.send(flow, envelope, undefined, payload.error ? 'error' : 'answer');
    this.#watch(envelope)?.catch((error: unknown) => this.#owner.undeliverable(this, error));
  }

  #watch(envelope: Envelope): Promise<void> | undefined {
    const arrived = this.#owner.deliveries?.watch(this.neighbor, envelope);
    arrived?.catch(ignore);
    return arrived;
  }

  #envelope(payload: RpcReply, flow: SendFlow): Envelope<DataFrame> {
    const { identity } = this.#owner;
    return makeEnvelope<DataFrame>(
      { type: 'Data', payload },
      identity.header({
        traceId: this.traceId,
        to: this.replyTo,
        replyTo: identity.systemAddress,
        corrId: this.corrId,
        rtype: this.#owner.deliveries ? Deliveries.mark(0) : undefined,
        flowId: flow.id,
        // A repeated call may have received items of an earlier process. An error in place of all items has no number, so it ends the
        // call anyway.
        seqId: this.isStream && !(payload.error && flow.seq === 0) ? flow.seq : undefined,
      }),
    );
  }

  /** Ends the call because its caller cancelled it or is unreachable. `signal` aborts, and `push` rejects. */
  cancel(reason: string): void {
    if (this.#isOver || this.#cancelReason) return;
    this.span?.end('CALL_CANCELLED');
    this.#cancelReason = new FabricError('CALL_CANCELLED', `The caller cancelled the call: ${reason}`, {
      details: { reason },
    });
    if (this.#flow) this.neighbor.dropFlow(this.#flow, this.#cancelReason);
    this.#flow = undefined;
    this.#isOver = true;
    this.#abort?.abort(this.#cancelReason);
    this.#owner.finished(this);
  }
}

/** Creates the error that the caller receives in place of an answer that could not be sent. */
export const replyError = (error: unknown, method: string): FabricError => {
  if (isFabricError(error, 'MESSAGE_TOO_LARGE')) {
    return new FabricError('MESSAGE_TOO_LARGE', `The answer of ${method} is too large: ${error.message}`, {
      details: error.details,
    });
  }
  if (isFabricError(error, 'NODE_BUSY')) {
    return new FabricError('READER_TOO_SLOW', `The answer of ${method} was dropped: ${error.message}`);
  }
  return new FabricError('INTERNAL', `The answer of ${method} cannot be serialized as JSON`, {
    cause: error,
  });
};

/** The promise of a producer for an item that waits for credit. */
class QueuedItem implements Sender {
  readonly isOver = false;
  #resolve: (() => void) | undefined;
  #reject: ((error: Error) => void) | undefined;

  whenSent(): Promise<void> {
    const sent = new Promise<void>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    sent.catch(ignore);
    return sent;
  }

  onSent(): void {
    this.#resolve?.();
  }

  onDropped(error: Error): void {
    this.#reject?.(error);
  }
}
