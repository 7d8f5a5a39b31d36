// Dispatches incoming requests and messages to the service of their address. Keeps the table of open calls, so that a
// CallCancel finds its call. Acknowledges messages that request it, and refuses messages to addresses that it does not serve.
import type { Clock } from '../async/clock.ts';
import { isThenable } from '../async/thenable.ts';
import { Waiters } from '../async/waiters.ts';
import { type ErrorCode, tableCode } from '../errors/codes.ts';
import { FabricError, isFabricError } from '../errors/error.ts';
import { newId } from '../ids.ts';
import type { Logger } from '../log.ts';
import { type DataFrame, type Envelope, expects, FLOW, makeEnvelope, RTYPE } from '../protocol/envelope.ts';
import { claimsRpc, isRpcAnswer, isRpcRequest, rpcIdOf } from '../protocol/rpc.ts';
import { servedSpan } from '../telemetry/call-spans.ts';
import { type Tracing, tracing } from '../telemetry/tracing.ts';
import type { Binding, Bindings } from './bindings.ts';
import type { Callers } from './callers.ts';
import type { Deliveries } from './deliveries.ts';
import { Incoming, type IncomingOwner, replyError } from './incoming.ts';
import type { Neighbor } from './neighbor.ts';
import type { NodeIdentity } from './node-identity.ts';
import { SeenIds } from './seen-ids.ts';

/** Limit of the open calls of one caller, held ones included: as many as a sentinel tracks. */
const MAX_OPEN_PER_CALLER = 4_096;
/** Limit of all open calls. */
const MAX_OPEN = 32_768;

/**
 * Time in which a caller returns for the answer to its call after the sentinel lost this node's session, in ms: it attaches
 * again and sends the same request. A call that was not requested again by then is cancelled.
 */
const RETURN_MS = 30_000;

export interface ServingDeps {
  clock: Clock;
  callers: Callers;
  identity: NodeIdentity;
  bindings: Bindings;
  log: Logger;
  /** Set for at-least-once delivery. */
  deliveries?: Deliveries | undefined;
}

export class Serving implements IncomingOwner {
  readonly identity: NodeIdentity;
  readonly deliveries: Deliveries | undefined;
  readonly callers: Callers;
  readonly #bindings: Bindings;
  readonly #log: Logger;
  /** Open calls by corrId. If an open call of another caller has the same corrId: by corrId and replyTo. */
  readonly #open = new Map<string, Incoming>();
  /** Number of calls under the longer key. */
  #sharedIds = 0;
  /** Calls whose callers may return, in one set for each loss of a session. */
  readonly #abandoned = new Set<Set<Incoming>>();
  readonly #clock: Clock;
  readonly #seen = new SeenIds(10_000);
  readonly #idleWaiters = new Waiters();
  /** True while the link drains. New calls are refused then. */
  isDraining = false;

  constructor({ clock, identity, bindings, log, deliveries, callers }: ServingDeps) {
    this.#clock = clock;
    this.callers = callers;
    this.identity = identity;
    this.deliveries = deliveries;
    this.#bindings = bindings;
    this.#log = log;
  }

  get size(): number {
    return this.#open.size;
  }

  /** Handles a Data frame that is not an answer. */
  onData(neighbor: Neighbor, envelope: Envelope<DataFrame>, size: number): void {
    const { to, capabilities, replyTo } = envelope;
    const wantsAck = expects(envelope, RTYPE.ack) && replyTo !== undefined;
    let binding: Binding | undefined;
    if (to !== undefined) binding = this.#bindings.find(to);
    else if (capabilities !== undefined) binding = this.#bindings.findCapable(capabilities);
    if (!binding) {
      // An answer whose call has ended. A refusal could reach another call with the same corrId.
      if (to !== undefined && to === this.identity.replyAddress) {
        if (wantsAck) this.acknowledge(neighbor, envelope);
        return;
      }
      const target = to ?? `[${capabilities?.join(', ') ?? ''}]`;
      this.refuse(neighbor, envelope, 'NO_ROUTE', `No service for ${target} on this node`);
      return;
    }
    const { payload } = envelope.frame;
    const isDurable = !isRpcAnswer(payload) && (binding.service.isDurable?.(payload) ?? false);
    if (wantsAck && !isDurable) {
      const isMessage = !isRpcRequest(payload) && !isRpcAnswer(payload);
      if (isMessage && !awaitsAnswer(envelope)) {
        this.#onAcknowledged(neighbor, binding, envelope);
        return;
      }
      if (!this.acknowledge(neighbor, envelope)) return;
    }
    const later =
      wantsAck && isDurable
        ? new LaterAcknowledgement(() => void this.acknowledge(neighbor, envelope))
        : undefined;
    if (isRpcRequest(payload)) {
      const call = new Incoming(this, neighbor, to ?? binding.address, envelope, payload);
      if (later)
        call.acknowledge = () => {
          if (!call.isAcknowledged) later.send();
          call.isAcknowledged = true;
        };
      this.#onRequest(binding, call, size);
    } else if (isRpcAnswer(payload)) {
      this.#log.debug('an answer does not have the form of a JSON-RPC reply', { address: to });
    } else this.#onMessage(neighbor, binding, envelope, later);
  }

  /** Acknowledges a message. Returns false if the message was received before. */
  acknowledge(neighbor: Neighbor, envelope: Envelope): boolean {
    const { id, replyTo } = envelope;
    this.#sendTo(neighbor, envelope, replyTo, { type: 'DeliveryAck', ok: true, refId: id });
    return id === '' || this.#seen.add(seenKey(envelope));
  }

  // A plain message whose sender waits for the acknowledgement. A message that the service refuses is not acknowledged.
  #onAcknowledged(neighbor: Neighbor, binding: Binding, envelope: Envelope<DataFrame>): void {
    const { service } = binding;
    if (this.#seen.has(seenKey(envelope))) {
      this.acknowledge(neighbor, envelope);
      return;
    }
    if (!service.onMessage) {
      const reason = `${binding.address} does not handle messages that are not calls`;
      this.refuse(neighbor, envelope, 'OPERATION_UNSUPPORTED', reason);
      return;
    }
    try {
      const value = service.onMessage(envelope.frame.payload, envelope);
      this.acknowledge(neighbor, envelope);
      this.#answerLater(neighbor, binding, envelope, value);
    } catch (error) {
      if (isFabricError(error)) {
        this.refuse(neighbor, envelope, tableCode(error.code), error.message);
        return;
      }
      this.acknowledge(neighbor, envelope);
      this.#messageFailed(neighbor, binding, envelope, error);
    }
  }

  #onRequest(binding: Binding, call: Incoming, size: number): void {
    const key = this.#keyFor(call);
    // A repetition of an open request. The answer to the first one answers both.
    if (key === undefined) {
      const first = this.#returned(call);
      // The first acknowledgement was lost, or the service has not accepted the request yet.
      if (first?.isAcknowledged) call.acknowledge?.();
      return;
    }
    if (key !== call.corrId) this.#sharedIds++;
    this.#open.set(key, call);
    const { neighbor, pair } = call;
    pair.serving++;
    // Without pair flows, callers are not distinguished.
    const isOverQuota = pair !== neighbor.main && pair.serving > MAX_OPEN_PER_CALLER;
    if (isOverQuota || this.#open.size > MAX_OPEN) {
      const whose = isOverQuota ? `You have ${MAX_OPEN_PER_CALLER}` : `This node serves ${MAX_OPEN}`;
      // An open stream may last, so waiting for its end is pointless.
      const code = call.isStream ? 'QUOTA_EXCEEDED' : 'NODE_BUSY';
      call.refuse(new FabricError(code, `${whose} open calls; call again when some of them have ended`));
      return;
    }
    if (!neighbor.mustHold(pair)) {
      this.#dispatch(binding, call);
      return;
    }
    const held = {
      get isOver() {
        return call.isOver;
      },
      start: () => this.#dispatch(binding, call),
    };
    if (neighbor.hold(pair, held, size)) return;
    call.refuse(
      new FabricError('NODE_BUSY', 'Too many of your requests wait until you have read their answers'),
    );
  }

  #dispatch(binding: Binding, call: Incoming): void {
    if (this.isDraining) {
      call.fail(new FabricError('LINK_DRAINING', 'This node is draining and accepts no new calls'));
      return;
    }
    try {
      // A service may return a promise despite its type. Its rejection must not end the process.
      const returned: unknown = tracing
        ? served(tracing, binding.service, call)
        : binding.service.onCall(call);
      if (isThenable(returned)) returned.then(undefined, (error: unknown) => this.#failed(call, error));
    } catch (error) {
      this.#failed(call, error);
    }
  }

  #keyFor(call: Incoming): string | undefined {
    const { corrId, replyTo } = call;
    const open = this.#open.get(corrId);
    if (!open) return corrId;
    if (open.replyTo === replyTo) return undefined;
    const key = longKey(corrId, replyTo);
    return this.#open.has(key) ? undefined : key;
  }

  // The caller of a repeated request waits for its answer. Returns the call of the first one.
  #returned({ corrId, replyTo }: Incoming): Incoming | undefined {
    const open = this.#open.get(corrId);
    const call = open?.replyTo === replyTo ? open : this.#open.get(longKey(corrId, replyTo));
    if (call) for (const calls of this.#abandoned) calls.delete(call);
    return call;
  }

  /** Cancels the open calls that came through `neighbor` after a time, unless their callers send the requests again. */
  abandonAll(neighbor: Neighbor): void {
    const calls = new Set<Incoming>();
    for (const call of this.#open.values()) if (call.neighbor === neighbor) calls.add(call);
    if (calls.size === 0) return;
    this.#abandoned.add(calls);
    this.#clock.after(RETURN_MS, () => {
      this.#abandoned.delete(calls);
      for (const call of [...calls]) call.cancel('caller-gone');
    });
  }

  #failed(call: Incoming, error: unknown): void {
    if (isFabricError(error)) {
      call.fail(error);
      return;
    }
    const logId = newId();
    this.#log.error('a service failed', { logId, address: call.address, method: call.method, error });
    call.fail(error, logId);
  }

  #onMessage(
    neighbor: Neighbor,
    binding: Binding,
    envelope: Envelope<DataFrame>,
    later: LaterAcknowledgement | undefined,
  ): void {
    const { service } = binding;
    const { payload } = envelope.frame;
    // A faulty request or a batch is not a plain message: a handler would take it for data.
    if (!service.onMessage || (claimsRpc(payload) && awaitsAnswer(envelope))) {
      this.#log.debug('a message has no handler', { address: envelope.to });
      this.#refuseMessage(neighbor, binding, envelope);
      return;
    }
    if (later) {
      void this.#onDurable(neighbor, binding, envelope, later);
      return;
    }
    let value: unknown;
    try {
      value = service.onMessage(payload, envelope);
    } catch (error) {
      this.#messageFailed(neighbor, binding, envelope, error);
      return;
    }
    this.#answerLater(neighbor, binding, envelope, value);
  }

  // The sender waits for the acknowledgement, so it learns that the service did not take the message.
  async #onDurable(
    neighbor: Neighbor,
    binding: Binding,
    envelope: Envelope<DataFrame>,
    later: LaterAcknowledgement,
  ): Promise<void> {
    try {
      const value = await binding.service.onMessage?.(envelope.frame.payload, envelope, later.send);
      this.#answerLater(neighbor, binding, envelope, value);
    } catch (error) {
      if (!later.isSent && !awaitsAnswer(envelope) && isFabricError(error))
        this.refuse(neighbor, envelope, tableCode(error.code), error.message);
      else this.#messageFailed(neighbor, binding, envelope, error);
    }
  }

  #answerLater(neighbor: Neighbor, binding: Binding, envelope: Envelope<DataFrame>, value: unknown): void {
    if (isThenable(value)) {
      value.then(
        (later) => this.#answerMessage(neighbor, binding, envelope, later),
        (error: unknown) => this.#messageFailed(neighbor, binding, envelope, error),
      );
    } else this.#answerMessage(neighbor, binding, envelope, value);
  }

  #answerMessage(neighbor: Neighbor, binding: Binding, envelope: Envelope<DataFrame>, value: unknown): void {
    const { replyTo, corrId, traceId } = envelope;
    if (value === undefined || value === null) {
      this.#refuseMessage(neighbor, binding, envelope);
      return;
    }
    if (replyTo === undefined) return;
    try {
      // Without replyTo, so that a handler at the other end does not answer the answer.
      const flow = neighbor.flowTo(replyTo);
      const header = this.identity.header({ traceId, to: replyTo, corrId, flowId: flow.id });
      const answer = makeEnvelope<DataFrame>({ type: 'Data', payload: value }, header);
      neighbor.send(flow, answer, undefined, 'answer');
    } catch (error) {
      const fault = isFabricError(error, 'NODE_BUSY') ? replyError(error, 'the message handler') : error;
      this.#messageFailed(neighbor, binding, envelope, fault);
    }
  }

  #messageFailed(neighbor: Neighbor, binding: Binding, envelope: Envelope<DataFrame>, error: unknown): void {
    const isAwaited = awaitsAnswer(envelope);
    const logId = newId();
    // A FabricError is an answer, and no fault of the handler.
    if (!isAwaited || !isFabricError(error)) {
      this.#log.error('a message handler failed', { logId, address: binding.address, error });
    }
    if (isAwaited) this.#callOf(neighbor, binding, envelope).fail(error, logId);
  }

  /** Answers a message that has no other answer with an error, if its sender waits for one. */
  #refuseMessage(neighbor: Neighbor, binding: Binding, envelope: Envelope<DataFrame>): void {
    if (!awaitsAnswer(envelope)) return;
    const reason = Array.isArray(envelope.frame.payload)
      ? 'The payload is a list; send each JSON-RPC 2.0 request in its own envelope'
      : 'The payload is not a JSON-RPC 2.0 request: expected {"jsonrpc":"2.0","id":...,"method":"..."}';
    this.#callOf(neighbor, binding, envelope).fail(new FabricError('REQUEST_INVALID', reason));
  }

  // Only for the error reply: a message is not one of the open calls.
  #callOf(neighbor: Neighbor, binding: Binding, envelope: Envelope<DataFrame>): Incoming {
    const id = rpcIdOf(envelope.frame.payload) ?? envelope.corrId ?? '';
    const request = { jsonrpc: '2.0', id, method: 'message' } as const;
    return new Incoming(this, neighbor, envelope.to ?? binding.address, envelope, request);
  }

  /** Sends a negative DeliveryAck to the caller of this envelope, if there is one. */
  refuse(neighbor: Neighbor, envelope: Partial<Envelope>, code: ErrorCode, reason: string): void {
    const { replyTo, corrId, id } = envelope;
    if (replyTo === undefined || corrId === undefined) return;
    this.#sendTo(
      neighbor,
      envelope,
      replyTo,
      { type: 'DeliveryAck', ok: false, code, reason, refId: id ?? '' },
      FLOW.reset,
    );
  }

  #sendTo(
    neighbor: Neighbor,
    { corrId, traceId }: Partial<Envelope>,
    to: string | undefined,
    frame: Envelope['frame'],
    flowFlags?: number,
  ): void {
    neighbor.sendControl(makeEnvelope(frame, this.identity.header({ traceId, to, corrId, flowFlags })));
  }

  /**
   * Cancels the call of `corrId`. If several callers use that corrId and `replyTo` does not identify one of them, no call is
   * cancelled: wasted work is better than a wrong cancellation.
   */
  onCancel(corrId: string, replyTo: string | undefined, reason: string): void {
    const call = this.#open.get(corrId);
    if (replyTo !== undefined) {
      const caller = call?.replyTo === replyTo ? call : this.#open.get(longKey(corrId, replyTo));
      caller?.cancel(reason);
    } else if (this.#sharedIds === 0) call?.cancel(reason);
    else {
      const candidates = [...this.#open.values()].filter((open) => open.corrId === corrId);
      if (candidates.length === 1) candidates[0]!.cancel(reason);
    }
  }

  finished(call: Incoming): void {
    const { corrId, pair, replyTo } = call;
    const isShared = this.#open.get(corrId) !== call;
    const key = isShared ? longKey(corrId, replyTo) : corrId;
    // An error reply to a message is not one of the open calls.
    if (this.#open.get(key) !== call) return;
    this.#open.delete(key);
    if (isShared) this.#sharedIds--;
    pair.serving--;
    for (const calls of this.#abandoned) calls.delete(call);
    if (this.#open.size === 0) this.#idleWaiters.release();
  }

  undeliverable(call: Incoming, error: unknown): void {
    this.#log.warn('could not send a reply', { to: call.replyTo, method: call.method, error });
  }

  /** Cancels every open call, or only those that came through `neighbor`. */
  cancelAll(reason: string, neighbor?: Neighbor): void {
    for (const call of [...this.#open.values()]) {
      if (neighbor === undefined || call.neighbor === neighbor) call.cancel(reason);
    }
  }

  whenIdle(): Promise<void> {
    return this.#open.size === 0 ? Promise.resolve() : this.#idleWaiters.wait();
  }
}

/** Passes a request to its service, in a span that ends with the call. */
function served(tracer: Tracing, service: Binding['service'], call: Incoming): unknown {
  const span = servedSpan(tracer, call);
  call.span = span;
  return span.run(() => service.onCall(call));
}

/** The acknowledgement of a message that its service journals. */
class LaterAcknowledgement {
  isSent = false;
  readonly #acknowledge: () => void;

  constructor(acknowledge: () => void) {
    this.#acknowledge = acknowledge;
  }

  readonly send = (): void => {
    this.isSent = true;
    this.#acknowledge();
  };
}

/**
 * True if the sender of a message that is not a request waits for an answer: by its `rtype`, or by the id of a faulty
 * request or of a batch. A faulty notification is not answered.
 */
const awaitsAnswer = (envelope: Envelope<DataFrame>): boolean => {
  const { replyTo, frame } = envelope;
  if (replyTo === undefined) return false;
  if (expects(envelope, RTYPE.reply | RTYPE.stream)) return true;
  const { payload } = frame;
  if (!claimsRpc(payload)) return false;
  return Array.isArray(payload)
    ? payload.some((item) => !isRpcAnswer(item) && rpcIdOf(item) !== undefined)
    : rpcIdOf(payload) !== undefined;
};

// Ids are unique per sender only. A resent message has the same mailbox.
const seenKey = ({ id, replyTo }: Envelope): string => `${replyTo} ${id}`;

const longKey = (corrId: string, replyTo: string): string => `${corrId}\n${replyTo}`;
