// A neighbor of a link: the sentinel, or the link itself for the addresses that it serves (`loopTransport`). It outlives its
// connections and queues messages that wait for credit or for a connection, in order and within bounds. Independent of calls:
// `calls.ts` and `serving.ts` pass envelopes to it.
import { Fifo } from '../async/fifo.ts';
import { Waiters } from '../async/waiters.ts';
import { FabricError } from '../errors/error.ts';
import { newId } from '../ids.ts';
import { encode } from '../protocol/codec.ts';
import { type Envelope, FLOW, makeEnvelope } from '../protocol/envelope.ts';
import { LIMITS } from '../protocol/limits.ts';
import { type HeldCall, type QueuedMessage, ReceivedFlows, type Sender, SendFlow } from './flow.ts';
import type { LinkOptions } from './link-types.ts';
import type { Transport } from './transport.ts';
import { withoutSecrets } from './without-secrets.ts';

/** Default bound of the messages that wait for one callee or caller, in bytes. */
const QUEUE_BYTES = 8_388_608;

const BOUNDS = Object.freeze({
  /** Bound of all waiting messages. A pair may use what the others leave of it, so that a new pair always finds room. */
  totalBytes: 100_663_296,
  /** Answers that wait for a caller above which its requests are held. */
  holdBytes: 1_048_576,
  /** Maximum size of the queued answers to one caller, as a multiple of the queue bound. */
  answerShare: 4,
  /** Overhead that is counted for each message. */
  messageBytes: 512,
  /** Size of an error reply for which there is further room, so that a caller without its answer gets an error. */
  errorBytes: 8_192,
  totalErrorBytes: 16_777_216,
});

/**
 * The room that a message may take. Requests fill a queue up to its bound. Answers may fill it up to four times
 * the bound, because what was running when the bound was reached must still be answered. Error replies have further room.
 */
export type Room = 'request' | 'answer' | 'error';

const SENT: Promise<void> = Promise.resolve();

/** Number of held requests of a caller that start at once. */
const STARTED_AT_ONCE = 16;
/** Maximum number of pair flows. Further pairs share the main flow. */
const MAX_PAIR_FLOWS = 16_384;
/** Number of the oldest pair flows among which an idle one is evicted at that maximum. */
const EVICTION_CANDIDATES = 16;

export class Neighbor {
  /** The flow of control frames. Without pair flows, also of requests and unary answers. */
  readonly main: SendFlow;
  readonly received: ReceivedFlows;
  transport: Transport | undefined;
  /** True if the neighbor keeps flows apart, so that withholding the credit of one flow does not block others. */
  mayWithholdCredit = false;
  /** True if `flowTo` returns a flow for each pair of caller and callee. */
  hasPairFlows = false;
  /**
   * Bytes of one flow in flight above which the flow waits for credit. Finite if the neighbor grants credit by bytes: 32 large
   * answers to each of many callers would fill its memory.
   */
  byteWindow = Number.POSITIVE_INFINITY;
  readonly #flows = new Map<string, SendFlow>();
  /** Pair flows by the callee's address or by the caller's path. They are in `#flows` as well. */
  readonly #pairs = new Map<string, SendFlow>();
  /** Number of the current interval between heartbeats. */
  #interval = 0;
  readonly #trace: LinkOptions['trace'];
  readonly #sign: ((envelope: Envelope) => void) | undefined;
  readonly #later: (fn: () => void) => void;
  readonly #queueBytes: number;
  readonly #totalBytes: number;
  #waiting = 0;
  #waitingBytes = 0;
  #heldBytes = 0;
  #held = 0;
  readonly #emptyWaiters = new Waiters();

  /**
   * @param later calls a function when the answers of requests that were just started are ready, if they take no time
   * @param sign signs an envelope in place
   */
  constructor(
    mainFlowId: string,
    trace: LinkOptions['trace'],
    queueBytes = QUEUE_BYTES,
    later: (fn: () => void) => void = queueMicrotask,
    sign?: ((envelope: Envelope) => void) | undefined,
  ) {
    this.#sign = sign;
    this.#later = later;
    this.#queueBytes = queueBytes;
    this.#totalBytes = Math.max(BOUNDS.totalBytes, 2 * queueBytes);
    this.main = new SendFlow(mainFlowId);
    this.#flows.set(mainFlowId, this.main);
    this.#trace = trace;
    this.received = new ReceivedFlows((flowId) => this.grantCredit(flowId, LIMITS.creditWindow));
  }

  /** True if the messages to this neighbor are signed, and those from it must be. */
  get isSigned(): boolean {
    return this.#sign !== undefined;
  }

  /** Signs an envelope, if this neighbor requires that, and encodes it. @throws {MESSAGE_TOO_LARGE | PROTO_MALFORMED} */
  encode(envelope: Envelope): Uint8Array {
    this.#sign?.(envelope);
    return encode(envelope);
  }

  get isAttached(): boolean {
    return this.transport !== undefined;
  }

  /** Number of flows that this end sends on, without the pair flows. */
  get flowCount(): number {
    return this.#flows.size - this.#pairs.size;
  }

  get pairCount(): number {
    return this.#pairs.size;
  }

  /** Number of messages that wait for credit or for a connection. */
  get waitingCount(): number {
    return this.#waiting;
  }

  /** Bytes of those messages, with 512 bytes of overhead for each. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /**
   * The flow of messages to `target`: an address, or the text of the required capabilities. All addresses at one path share a
   * flow, because a caller may use a mailbox per call.
   */
  flowTo(target: string): SendFlow {
    if (!this.hasPairFlows) return this.main;
    const atPath = target.indexOf('@/');
    const key = atPath < 0 ? target : target.slice(atPath + 1);
    const flow = this.#pairs.get(key) ?? this.#openPair(key);
    flow.usedIn = this.#interval;
    return flow;
  }

  #openPair(key: string): SendFlow {
    if (this.#pairs.size >= MAX_PAIR_FLOWS && !this.#evictPair()) return this.main;
    const flow = new SendFlow(newId());
    this.#pairs.set(key, flow);
    this.#flows.set(flow.id, flow);
    return flow;
  }

  #evictPair(): boolean {
    let candidates = EVICTION_CANDIDATES;
    for (const [key, flow] of this.#pairs) {
      if (flow.isIdle) {
        this.#removePair(key, flow);
        return true;
      }
      if (--candidates === 0) break;
    }
    return false;
  }

  #removePair(key: string, flow: SendFlow): void {
    this.#pairs.delete(key);
    this.#flows.delete(flow.id);
  }

  /**
   * Removes the pair flows that were not used during the last complete interval between heartbeats. Its length keeps the order:
   * a message on a new flow cannot overtake one that was sent before.
   */
  removeIdleFlows(): void {
    for (const [key, flow] of this.#pairs) {
      if (flow.isIdle && flow.usedIn < this.#interval) this.#removePair(key, flow);
    }
    this.#interval++;
  }

  /** Number of requests that wait until their callers have read earlier answers. */
  get heldCount(): number {
    return this.#held;
  }

  /** Opens a flow for the items of one stream to the caller of `pair`. `closeFlow` releases it. */
  openFlow(id: string, otherId: () => string, pair: SendFlow): SendFlow {
    const flow = new SendFlow(this.#flows.has(id) ? otherId() : id, pair);
    this.#flows.set(flow.id, flow);
    return flow;
  }

  /** Releases a flow once its queue is empty. */
  closeFlow(flow: SendFlow): void {
    if (flow.waiting.size === 0) this.#flows.delete(flow.id);
    else flow.isClosing = true;
  }

  /** Releases a flow and drops its queue. */
  dropFlow(flow: SendFlow, error: Error): void {
    this.#dropQueue(flow, error);
    this.#flows.delete(flow.id);
    this.#drained(flow.pair);
  }

  // Returns the number of messages whose senders cannot be notified.
  #dropQueue(flow: SendFlow, error: Error): number {
    let lost = 0;
    for (let item = flow.waiting.shift(); item; item = flow.waiting.shift()) {
      this.#uncount(flow, item);
      if (item.sender) item.sender.onDropped(error);
      else lost++;
    }
    return lost;
  }

  /**
   * Sends a message on `flow`, or queues it if the flow has no credit. Returns true if it was sent at once.
   * @throws {MESSAGE_TOO_LARGE | PROTO_MALFORMED} from the codec
   * @throws {NODE_BUSY} when the queue is full
   */
  send(flow: SendFlow, envelope: Envelope, sender?: Sender, room: Room = 'request'): boolean {
    return this.sendEncoded(flow, envelope, this.encode(envelope), sender, room);
  }

  /** Sends the encoded bytes of an envelope. @throws {NODE_BUSY} when the queue is full */
  sendEncoded(
    flow: SendFlow,
    envelope: Envelope,
    bytes: Uint8Array,
    sender?: Sender,
    room: Room = 'request',
  ): boolean {
    if (this.transport !== undefined && flow.waiting.size === 0 && this.#maySend(flow)) {
      this.#spend(flow, bytes);
      this.#trace?.('sent', envelope);
      // If the transport has just closed, this message is lost like all others in flight; the close event follows.
      this.transport.send(bytes);
      return true;
    }
    const cost = costOf(bytes);
    this.#checkRoom(flow.pair, cost, room);
    flow.waiting.push({ id: envelope.id, bytes, envelope: this.#trace && envelope, sender });
    this.#waiting++;
    this.#waitingBytes += cost;
    flow.pair.queuedBytes += cost;
    return false;
  }

  /**
   * Sends a message again, unless it still waits. Uses the main flow if its own has been removed.
   * @throws the errors of `send`
   */
  resend(envelope: Envelope): void {
    const flow = this.#flows.get(envelope.flowId ?? '') ?? this.main;
    for (const { id } of flow.waiting) if (id === envelope.id) return;
    envelope.flowId = flow.id;
    this.send(flow, envelope);
  }

  /** Sends a control frame, which needs no credit and is never queued. Returns false if there is no connection. */
  sendControl(envelope: Envelope): boolean {
    if (this.transport === undefined) return false;
    const bytes = this.encode(envelope);
    this.#trace?.('sent', withoutSecrets(envelope));
    return this.transport.send(bytes);
  }

  /** Allows the neighbor to send `credits` more messages on a flow, up to the window. */
  grantCredit(flowId: string, credits: number): void {
    this.sendControl(
      makeEnvelope({ type: 'CreditUpdate', flowId, credits }, { flowId, flowFlags: FLOW.ack }),
    );
  }

  /** Books credit that the neighbor granted. */
  addCredit(flowId: string, credits: number): void {
    const flow = this.#flows.get(flowId);
    if (flow === undefined) return;
    flow.credit = Math.min(LIMITS.creditWindow, flow.credit + credits);
    if (flow.credit === LIMITS.creditWindow) resetBytes(flow);
    else for (let i = 0; i < credits; i++) flow.inFlightBytes -= flow.inFlight?.shift() ?? 0;
    this.#flush(flow);
  }

  #maySend({ credit, inFlightBytes }: SendFlow): boolean {
    return credit > 0 && inFlightBytes < this.byteWindow;
  }

  #spend(flow: SendFlow, { byteLength }: Uint8Array): void {
    flow.credit--;
    if (this.byteWindow === Number.POSITIVE_INFINITY) return;
    flow.inFlight ??= new Fifo();
    flow.inFlight.push(byteLength);
    flow.inFlightBytes += byteLength;
  }

  /** Takes a new connection and resets the credit windows. Queued messages are sent by `flush`. */
  attach(transport: Transport): void {
    this.transport = transport;
    for (const flow of this.#flows.values()) {
      flow.credit = LIMITS.creditWindow;
      resetBytes(flow);
    }
  }

  detach(): void {
    this.transport = undefined;
  }

  flush(): void {
    for (const flow of this.#flows.values()) this.#flush(flow);
  }

  #flush(flow: SendFlow): void {
    if (flow.waiting.size === 0) return;
    while (this.transport !== undefined && this.#maySend(flow)) {
      const item = flow.waiting.shift();
      if (item === undefined) break;
      this.#uncount(flow, item);
      if (item.sender?.isOver) continue;
      this.#spend(flow, item.bytes);
      if (item.envelope) this.#trace?.('sent', item.envelope);
      this.transport.send(item.bytes);
      item.sender?.onSent();
    }
    if (flow.isClosing && flow.waiting.size === 0) this.#flows.delete(flow.id);
    this.#drained(flow.pair);
  }

  /** Drops every queued message. Returns the number of those whose senders cannot be notified. */
  drop(error: Error): number {
    let dropped = 0;
    for (const flow of this.#flows.values()) {
      dropped += this.#dropQueue(flow, error);
      if (flow.isClosing) this.#flows.delete(flow.id);
      this.#drained(flow.pair);
    }
    return dropped;
  }

  #uncount({ pair }: SendFlow, { bytes }: QueuedMessage): void {
    const cost = costOf(bytes);
    this.#waiting--;
    this.#waitingBytes -= cost;
    pair.queuedBytes -= cost;
    if (this.#waiting === 0) this.#emptyWaiters.release();
  }

  /** Resolves when the queue is empty. */
  whenEmpty(): Promise<void> {
    return this.#waiting === 0 ? Promise.resolve() : this.#emptyWaiters.wait();
  }

  // Each pair is bounded by what the others leave. So the queues of slow pairs never take all of the room.
  get #freeBytes(): number {
    return Math.max(0, this.#totalBytes - this.#waitingBytes);
  }

  #checkRoom(pair: SendFlow, cost: number, room: Room): void {
    const bytes = pair.queuedBytes + cost;
    const limit = this.#queueBytes;
    if (bytes <= Math.min(room === 'request' ? limit : BOUNDS.answerShare * limit, this.#freeBytes)) return;
    const isSmallError = room === 'error' && cost <= BOUNDS.errorBytes;
    if (
      isSmallError &&
      bytes <= (BOUNDS.answerShare + 1) * limit &&
      this.#waitingBytes + cost <= this.#totalBytes + BOUNDS.totalErrorBytes
    ) {
      return;
    }
    throw new FabricError(
      'NODE_BUSY',
      `${pair.queuedBytes} bytes to this node are already queued, and ${this.#waitingBytes} in all`,
    );
  }

  /** Resolves when the next answer to the caller of `pair` may be sent. */
  whenRoom(pair: SendFlow): Promise<void> {
    if (this.#hasRoom(pair)) return SENT;
    pair.roomWaiters ??= new Waiters();
    return pair.roomWaiters.wait();
  }

  #hasRoom({ queuedBytes }: SendFlow): boolean {
    return queuedBytes === 0 || queuedBytes <= Math.min(this.#queueBytes, this.#freeBytes / 2);
  }

  #isCongested({ queuedBytes }: SendFlow): boolean {
    return queuedBytes > 0 && queuedBytes >= Math.min(BOUNDS.holdBytes, this.#freeBytes / 4);
  }

  /** True if requests of the caller of `pair` must be held, because it does not read the answers to earlier ones. */
  mustHold(pair: SendFlow): boolean {
    return this.#waiting > 0 && (pair.held !== undefined || this.#isCongested(pair));
  }

  /** Holds a request of `size` bytes until the caller has read enough. Returns false if too many are held. */
  hold(pair: SendFlow, call: HeldCall, size: number): boolean {
    const cost = size + BOUNDS.messageBytes;
    const limit = Math.min(this.#queueBytes, BOUNDS.totalBytes - this.#heldBytes);
    if (pair.heldBytes + cost > limit) return false;
    pair.held ??= new Fifo();
    pair.held.push({ call, cost });
    pair.heldBytes += cost;
    this.#heldBytes += cost;
    this.#held++;
    return true;
  }

  // Wakes what waited for the queue of a pair: producers of answers, and requests of its caller.
  #drained(pair: SendFlow): void {
    if (pair.roomWaiters !== undefined && this.#hasRoom(pair)) {
      pair.roomWaiters.release();
      pair.roomWaiters = undefined;
    }
    if (!pair.isStarting) this.#startHeld(pair);
  }

  // Starts a few requests and continues later: the answers of these do not count in the queue yet.
  #startHeld(pair: SendFlow): void {
    pair.isStarting = false;
    for (let started = 0; pair.held !== undefined && !this.#isCongested(pair); started++) {
      if (started === STARTED_AT_ONCE) {
        pair.isStarting = true;
        this.#later(() => this.#startHeld(pair));
        return;
      }
      const held = pair.held.shift();
      if (held === undefined) {
        pair.held = undefined;
        return;
      }
      pair.heldBytes -= held.cost;
      this.#heldBytes -= held.cost;
      this.#held--;
      if (!held.call.isOver) held.call.start();
    }
  }
}

function resetBytes(flow: SendFlow): void {
  flow.inFlight = undefined;
  flow.inFlightBytes = 0;
}

const costOf = (bytes: Uint8Array): number => bytes.byteLength + BOUNDS.messageBytes;
