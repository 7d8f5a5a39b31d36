// The calls that this node makes: from `call()` to the answer. A request goes to the link itself when the address is
// served here, else to the sentinel; it waits here while there is no connection or while a foreign sentinel has enough.
// Not here: credits and queues (`neighbor.ts`), what others ask of us (`serving.ts`).
import type { Clock } from '../async/clock.ts';
import { type ErrorCode, isErrorCode } from '../errors/codes.ts';
import { FabricError } from '../errors/error.ts';
import { newId } from '../ids.ts';
import { tryParseAddress } from '../protocol/address.ts';
import {
  type DataFrame,
  type DeliveryAck,
  type Envelope,
  makeEnvelope,
  RTYPE,
} from '../protocol/envelope.ts';
import { isRpcReply, rpcRequest } from '../protocol/rpc.ts';
import { Deliveries } from './deliveries.ts';
import type { CallOptions, CallTarget } from './link-types.ts';
import type { Neighbor } from './neighbor.ts';
import type { NodeIdentity } from './node-identity.ts';
import { type CallOwner, type OpenCall, targetText, UnaryCall } from './open-call.ts';
import { Pending } from './pending.ts';
import { StreamCall } from './stream-call.ts';

const CALL_TIMEOUT_MS = 30_000;

/** Codes of foreign sentinels for a callee that is gone. */
const GONE_CODES = new Set(['CHILD_UNREACHABLE', 'ROUTE_CONNECTOR_CLOSED', 'PEER_UNREACHABLE']);

/**
 * Calls that a foreign sentinel gets at once. It waits for credit inside its receiving loop, so more answers on their way
 * than the window of 32 can make it wait for itself for good. Measured in 14 runs of 400 calls each: three wedged at 48,
 * one at 32 with credit paid after 24, none with credit paid for every message.
 */
export const FOREIGN_PACE = 24;

export interface CallsDeps {
  clock: Clock;
  identity: NodeIdentity;
  uplink: Neighbor;
  loop: Neighbor;
  /** Whether the target is served by this link. */
  isLocal: (target: CallTarget) => boolean;
  /** Requests are acknowledged, and sent again until they are. */
  deliveries?: Deliveries | undefined;
}

export class Calls implements CallOwner {
  readonly #deps: CallsDeps;
  readonly #open: Pending<OpenCall>;
  /** Calls that were not handed to a neighbor yet, in order. */
  readonly #waiting = new Set<OpenCall>();
  /** Requests at the sentinel that have no answer yet. */
  #inFlight = 0;
  /** Most requests that may be at the sentinel at once. */
  pace = Number.POSITIVE_INFINITY;
  #whenIdle: (() => void) | undefined;

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
      const { id = newId(), timeoutMs = CALL_TIMEOUT_MS } = options;
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

  #check(target: CallTarget, { id, signal, timeoutMs }: CallOptions): void {
    if (signal?.aborted) throw signal.reason;
    if (timeoutMs !== undefined && !(timeoutMs > 0)) {
      throw new FabricError('PARAMS_INVALID', 'timeoutMs must be larger than 0');
    }
    if (typeof target === 'string' ? !tryParseAddress(target) : target.capabilities.length === 0) {
      throw new FabricError(
        'ADDRESS_INVALID',
        `"${targetText(target)}" is not an address, such as chat@fame.fabric`,
      );
    }
    if (id !== undefined && (id === '' || this.#open.has(id))) {
      throw new FabricError('REQUEST_INVALID', `A call with the id "${id}" is open already`);
    }
  }

  #start(call: OpenCall): void {
    this.#open.add(call);
    const { loop, uplink, isLocal } = this.#deps;
    if (isLocal(call.request.target)) this.#send(call, loop);
    else if (uplink.isAttached && this.#inFlight < this.pace && this.#waiting.size === 0) {
      this.#send(call, uplink);
    } else this.#wait(call);
  }

  #wait(call: OpenCall): void {
    // The caller may change its object while we wait; what is sent is what was given.
    const { request } = call;
    try {
      if (request.params !== undefined) request.params = JSON.parse(JSON.stringify(request.params));
    } catch (cause) {
      call.fail(new FabricError('PROTO_MALFORMED', 'The parameters cannot be written as JSON', { cause }));
      return;
    }
    this.#waiting.add(call);
  }

  #send(call: OpenCall, neighbor: Neighbor): void {
    const envelope = this.#envelope(call);
    call.neighbor = neighbor;
    if (call.request.options.resend) call.envelope = envelope;
    if (neighbor === this.#deps.uplink) {
      call.isPaced = true;
      this.#inFlight++;
    }
    try {
      call.isQueued = !neighbor.send(neighbor.main, envelope, call);
    } catch (error) {
      call.fail(error);
      return;
    }
    // Whether the call goes on is its own deadline's decision.
    this.#deps.deliveries?.watch(neighbor, envelope, () => call.isOver).catch(() => {});
  }

  #envelope(call: OpenCall): Envelope<DataFrame> {
    const { identity } = this.#deps;
    const { corrId, request } = call;
    const { target, method, params, options } = request;
    return makeEnvelope<DataFrame>(
      { type: 'Data', payload: rpcRequest(corrId, method, params) },
      identity.header({
        traceId: options.traceId ?? newId(),
        to: typeof target === 'string' ? target : undefined,
        replyTo: identity.replyAddress,
        capabilities: typeof target === 'string' ? undefined : [...target.capabilities],
        rtype: this.#rtypeOf(call),
        corrId,
        meta: options.meta,
      }),
    );
  }

  #rtypeOf({ isStream }: OpenCall): number {
    const rtype = isStream ? RTYPE.stream : RTYPE.reply;
    return this.#deps.deliveries ? Deliveries.mark(rtype) : rtype;
  }

  /** Sends what waits, as far as connection and pace allow. */
  pump(): void {
    const { uplink } = this.#deps;
    for (const call of this.#waiting) {
      if (!uplink.isAttached || this.#inFlight >= this.pace) return;
      this.#waiting.delete(call);
      this.#send(call, uplink);
    }
  }

  /** The live stream that this envelope is an item of, when its flow is that stream's own. */
  streamOwning(envelope: Envelope): boolean {
    const { corrId } = envelope;
    if (corrId === undefined || envelope.flowId !== corrId) return false;
    const call = this.#open.get(corrId);
    return call instanceof StreamCall && call.ownsFlow(envelope);
  }

  /** An answer, or an item of a stream, arrived. Those of calls that are over are late, and ignored. */
  onReply(envelope: Envelope<DataFrame>, size: number): void {
    const { payload } = envelope.frame;
    const call = envelope.corrId === undefined ? undefined : this.#open.get(envelope.corrId);
    if (call === undefined || !isRpcReply(payload)) return;
    call.onReply(payload, size, envelope);
    if (call.isPaced && call.isStream && !call.isOver) this.#unpace(call);
  }

  /** Somebody on the way says that the request did not arrive. */
  onDeliveryAck(envelope: Envelope<DeliveryAck>): void {
    const { ok, code, reason } = envelope.frame;
    if (ok || envelope.corrId === undefined) return;
    const call = this.#open.get(envelope.corrId);
    call?.fail(nackError(code, reason, targetText(call.request.target)));
  }

  /** An answer arrived that cannot be read. */
  onBadReply(corrId: string, error: FabricError): void {
    this.#open.get(corrId)?.fail(error, 'bad-reply');
  }

  now(): number {
    return this.#deps.clock.now();
  }

  deadlineMoved(call: OpenCall): void {
    this.#open.moved(call);
  }

  release(call: OpenCall, cancel?: string): void {
    this.#open.remove(call);
    if (this.#waiting.size > 0) this.#waiting.delete(call);
    if (this.#open.size === 0) this.#whenIdle?.();
    if (cancel !== undefined && call.neighbor) this.#cancel(call, call.neighbor, cancel);
    if (call.isPaced) this.#unpace(call);
  }

  // A stream counts until its first item: from then on it is paced by its credits.
  #unpace(call: OpenCall): void {
    call.isPaced = false;
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
   * The sentinel is there again. Requests that may be sent again are; of the others, those whose answer cannot come any
   * more (`isLost`: the path is another, or the sentinel has forgotten the session) fail now.
   */
  reattached(isLost: boolean): void {
    const { uplink } = this.#deps;
    for (const call of [...this.#open.values()]) {
      if (call.neighbor !== uplink || call.isQueued) continue;
      if (call.envelope) {
        this.#sendAgain(call, call.envelope);
      } else if (isLost) {
        call.fail(new FabricError('LINK_CLOSED', 'The sentinel was restarted; the call was lost'));
      }
    }
  }

  #sendAgain(call: OpenCall, envelope: Envelope): void {
    const { uplink, identity } = this.#deps;
    envelope.replyTo = identity.replyAddress;
    if (identity.sid !== undefined) envelope.sid = identity.sid;
    try {
      call.isQueued = !uplink.send(uplink.main, envelope, call);
    } catch (error) {
      call.fail(error);
    }
  }

  closeAll(error: FabricError): void {
    this.#waiting.clear();
    this.#open.failAll(error);
  }

  /** Resolves when no call is open any more. */
  whenIdle(): Promise<void> {
    if (this.#open.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#whenIdle = resolve;
    });
  }
}

/** The error that a negative DeliveryAck stands for. */
export function nackError(code: string | undefined, reason: string | undefined, target: string): FabricError {
  let known: ErrorCode = 'NO_ROUTE';
  if (isErrorCode(code)) known = code;
  else if (code !== undefined && GONE_CODES.has(code)) known = 'NODE_GONE';
  return new FabricError(
    known,
    reason || `The message to ${target} was not delivered (${code ?? 'no code'})`,
  );
}
