// Outbound queue of one session: messages that wait for credit or for the socket, within its bounds. It also counts what the
// node sends, because a grant of credit to one node may depend on the queue of another (docs/decisions/0018).
//
// Invariants: I1 messages of one flow leave in the order in which they were enqueued. I2 a message that was accepted is never
// dropped while the session lasts. I3 a withheld grant is made at the latest when its flow is empty, or the queue detaches or
// closes; one that the rate of a principal holds back, at the latest after two seconds. I4 flows that have credit share the socket by bytes: a flow with much to send does not delay a small one.
import { FLOW, LIMITS, newId } from '@fame-fabric/shared/router';
import type { CoarseClock } from './coarse-clock.ts';
import { type CreditGranter, type Flow, FlowTable, MESSAGE_COST } from './flow.ts';
import type { NodeTransport } from './node-transport.ts';
import type { QueueRoom } from './queue-budget.ts';

/** Bounds of one flow and of the sentinel's own messages. The bounds of a queue in bytes are in `QueueBudget`. */
export const QUEUE = Object.freeze({
  /**
   * Queued messages of a flow above which its senders get no credit, until half of them are left. A slow stream delays only itself.
   * Two windows keep both ends busy; more would only wait here long enough to be promoted to the old generation.
   */
  highMessages: 64,
  /** The same in bytes: this share of the bound of a queue, and at most `highBytes`. */
  highShare: 1 / 8,
  highBytes: 1_048_576,
  /** Share of its bound above which a queue is busy: it slows the senders of every flow, and refuses those it cannot slow. */
  busyShare: 1 / 2,
  /** Share that requests and plain messages may fill. The rest is for answers, because their calls cannot be repeated. */
  requestShare: 3 / 4,
  /** Bytes of the sentinel's own messages that are always accepted, so that a full queue does not lose a NACK. */
  controlBytes: 262_144,
  /** Bytes of a flow that leave before it is the turn of the next one. */
  quantumBytes: 16_384,
});

/** Flow id of the sentinel's own messages. No node can use it, and it needs no credit. */
const CONTROL = '';

/** Credit that an honest sender may have left, in messages. A sender that exceeds it counts as one that ignores its credit. */
const MAX_ALLOWANCE = 32 * LIMITS.creditWindow;

/** Declarations of a node about the credit that it spends. */
export interface CreditTerms {
  /** True if the node spends credit for each message of a flow, and for nothing else. */
  readonly hasPairFlows: boolean;
  readonly hasByteCredit: boolean;
}

/** Withholds grants for a time of its own. */
export interface GrantHolder {
  hold(granter: CreditGranter, flow: Flow): void;
}

export class OutboundQueue implements CreditGranter {
  readonly #time: CoarseClock;
  readonly #budget: QueueRoom;
  /** The connection; absent while detached. */
  #transport: NodeTransport | undefined;
  #flows: FlowTable | undefined;
  /** Flows with messages and credit, which wait only for the socket, in the order of their turns. */
  #ready: Set<Flow> | undefined;
  /** Messages of other nodes that were given to the connection. */
  sent = 0;
  sentBytes = 0;
  #messages = 0;
  #bytes = 0;
  #withheldGrants = 0;
  /** Count of flows on which the node sent more messages than it was granted. */
  #overruns = 0;
  /** True if the node spends credit for exactly those messages that are counted here. */
  #isExact = false;
  /** True if credit is granted after some bytes of a flow, too. */
  #grantsByBytes = false;
  #movedAt: number;
  #isSaturated = false;
  #isClosed = false;
  #onEmpty: (() => void) | undefined;
  /** Called when the node has credit again on every flow on which it had sent too much. */
  onRecovered: (() => void) | undefined;

  constructor(time: CoarseClock, budget: QueueRoom) {
    this.#time = time;
    this.#budget = budget;
    this.#movedAt = time.now;
  }

  get messages(): number {
    return this.#messages;
  }

  /** Bytes of the queued messages, with the overhead of each (`MESSAGE_COST`). */
  get bytes(): number {
    return this.#bytes;
  }

  /** Count of senders' flows whose credit this queue withholds. */
  get withheldGrants(): number {
    return this.#withheldGrants;
  }

  /** True if the queue is half full. */
  get isBusy(): boolean {
    return this.#bytes > 0 && this.#bytes >= this.#budget.queueBound * QUEUE.busyShare;
  }

  /** True if messages of the sentinel were dropped, because the node does not read, or does not come back for them. */
  get isSaturated(): boolean {
    return this.#isSaturated;
  }

  /** True if the node sent more messages of a flow than it was granted. */
  get hasOverrun(): boolean {
    return this.#overruns > 0;
  }

  /** Time since the queue last moved, in ms; 0 when it is empty. */
  get stalledMs(): number {
    return this.#messages === 0 ? 0 : this.#time.now - this.#movedAt;
  }

  get #highBytes(): number {
    return Math.min(QUEUE.highBytes, this.#budget.queueBytes * QUEUE.highShare);
  }

  #isHigh({ queued, queuedBytes }: Flow): boolean {
    return queued >= QUEUE.highMessages || queuedBytes >= this.#highBytes || this.isBusy;
  }

  // True if the senders of this flow may get credit again.
  #isLow({ queued, queuedBytes }: Flow): boolean {
    if (queued === 0) return true;
    return queued * 2 <= QUEUE.highMessages && queuedBytes * 2 <= this.#highBytes && !this.isBusy;
  }

  /**
   * Sends one message of a flow at once if it has credit and the socket has room, else queues it in order. Returns `false`
   * if the queue is at its bound: the message was neither sent nor queued. Answers of calls may use the whole bound.
   */
  enqueue(bytes: Uint8Array, flowId: string, isAnswer: boolean): boolean {
    const flow = this.#flows?.get(flowId) ?? this.#addFlow(flowId);
    const transport = this.#transport;
    if (
      transport !== undefined &&
      flow.credit > 0 &&
      flow.queued === 0 &&
      transport.bufferedBytes < this.#budget.socketBound
    ) {
      flow.credit--;
      this.sent++;
      this.sentBytes += bytes.byteLength;
      transport.send(bytes);
      return true;
    }
    const bound = this.#budget.queueBound;
    return this.#push(flow, bytes, isAnswer ? bound : bound * QUEUE.requestShare);
  }

  /** True if `enqueue` would send a message of this flow at once, also after a message of the sentinel itself. */
  sendsAtOnce(flowId: string): boolean {
    const flow = this.#flows?.get(flowId);
    if (flow !== undefined && (flow.credit <= 0 || flow.queued > 0)) return false;
    const transport = this.#transport;
    return transport !== undefined && transport.bufferedBytes < this.#budget.socketBound / 2;
  }

  /**
   * Sends a message of the sentinel itself, which needs no credit; while detached it waits for the node to come back. A
   * node that sends requests and does not read the replies gets none beyond the last bound, and the sweeper closes it.
   */
  sendControl(bytes: Uint8Array): void {
    const transport = this.#transport;
    const bound = Math.max(QUEUE.controlBytes, this.#budget.queueBound);
    if (transport !== undefined) {
      if (transport.bufferedBytes > bound) this.#saturate();
      else transport.send(bytes);
    } else if (!this.#isClosed) {
      const flow = this.#flows?.get(CONTROL) ?? this.#addFlow(CONTROL);
      if (!this.#push(flow, bytes, Math.max(bound, this.#bytes - flow.queuedBytes + QUEUE.controlBytes))) {
        this.#saturate();
      }
    }
  }

  #saturate(): void {
    this.#isSaturated = true;
    this.#budget.noteSaturated();
  }

  /**
   * Calls `onSent` when the last message of a flow has been given to the connection, which may be at once. One call at a time waits
   * in a flow; others are dropped.
   */
  whenSent(flowId: string, onSent: () => void): void {
    const flow = this.#flows?.get(flowId);
    if (flow === undefined || flow.queued === 0) onSent();
    else flow.probe ??= { ahead: flow.queued, onSent };
  }

  #push(flow: Flow, bytes: Uint8Array, bound: number): boolean {
    const before = flow.queuedBytes;
    if (this.#bytes + bytes.byteLength + MESSAGE_COST > bound) return false;
    if (this.#messages === 0) this.#movedAt = this.#time.now;
    // The bytes are a view of a buffer that the next read overwrites.
    flow.push(bytes);
    this.#messages++;
    this.#count(flow.queuedBytes - before);
    if (flow.credit > 0) this.#addReady(flow);
    return true;
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    this.#budget.countQueued(bytes);
  }

  #addReady(flow: Flow): void {
    this.#ready ??= new Set();
    this.#ready.add(flow);
  }

  /** Adds credit that the node granted. Returns `false` if the flow is unknown or its window was full: nothing was granted. */
  addCredit(flowId: string, credits: number): boolean {
    const flow = this.#flows?.get(flowId);
    if (flow === undefined || flow.credit >= LIMITS.creditWindow) return false;
    flow.credit = Math.min(LIMITS.creditWindow, flow.credit + credits);
    if (flow.queued === 0 || flow.credit <= 0) return true;
    this.#addReady(flow);
    this.flush();
    return true;
  }

  /** Sends what credit and the socket allow, round robin over the flows; call it when the socket has drained. */
  flush(): void {
    const ready = this.#ready;
    const transport = this.#transport;
    if (ready === undefined || transport === undefined) return;
    // The set yields a flow again that is deleted and added during the iteration.
    for (const flow of ready) {
      if (flow.deficit <= 0) flow.deficit += QUEUE.quantumBytes;
      if (!this.#serve(flow, transport)) return;
      ready.delete(flow);
      if (flow.queued > 0 && flow.credit > 0) ready.add(flow);
      else flow.deficit = 0;
    }
  }

  // Sends messages of a flow until its turn ends; returns `false` if the socket is full.
  #serve(flow: Flow, transport: NodeTransport): boolean {
    while (flow.deficit > 0 && flow.credit > 0) {
      if (transport.bufferedBytes >= this.#budget.socketBound) return false;
      const before = flow.queuedBytes;
      const bytes = flow.shift();
      if (bytes === undefined) break;
      flow.credit--;
      flow.deficit -= bytes.byteLength;
      this.sent++;
      this.sentBytes += bytes.byteLength;
      this.#messages--;
      this.#count(flow.queuedBytes - before);
      this.#movedAt = this.#time.now;
      transport.send(bytes);
      if (flow.probe !== undefined) flow.passProbe();
      if (flow.withheldGrants !== undefined && this.#isLow(flow)) this.#releaseGrants(flow);
    }
    if (flow.queued === 0) {
      if (flow.hasEnded) this.#flows?.delete(flow);
      if (this.#messages === 0) this.#onEmpty?.();
    }
    return true;
  }

  /** Resolves once the queue is empty or the node is detached. For one waiter, the drain. */
  async whenEmpty(): Promise<void> {
    if (this.#messages === 0 || this.#transport === undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onEmpty = resolve;
    await promise;
    this.#onEmpty = undefined;
  }

  /**
   * Counts one message of `size` bytes of a flow received from the node. Credit is granted after 24 messages, to nodes with
   * credit by bytes also after 256 KiB. It is withheld while that flow is congested in the queue of `receiver`; without a receiver
   * it is granted in any case. With `holder`, the principal of the node is above its rate: the grant waits there. Returns `true` if
   * the node has just sent more than it was granted.
   */
  countReceived(
    flowId: string,
    size: number,
    receiver: OutboundQueue | undefined,
    holder?: GrantHolder,
  ): boolean {
    const flow = this.#flows?.get(flowId) ?? this.#addFlow(flowId);
    if (flow.isGrantWithheld) {
      // A refused message spends credit too: the grant returns it.
      if (--flow.allowance >= 0 || receiver === undefined || flow.isOverrun) return false;
      flow.isOverrun = true;
      this.#overruns++;
      return true;
    }
    flow.allowance--;
    flow.receivedBytes += size;
    const isDue =
      ++flow.received >= LIMITS.creditReturnAfter ||
      (this.#grantsByBytes && flow.receivedBytes >= LIMITS.creditReturnBytes);
    if (!isDue) return false;
    if (holder !== undefined) {
      flow.isGrantWithheld = true;
      holder.hold(this, flow);
      return false;
    }
    if (receiver === undefined || !receiver.#withholdGrant(this, flow)) this.grantCredit(flow);
    return false;
  }

  /** Counts one link-local frame. It needs no credit, so none is spent while credit is withheld. */
  countLinkLocal(flowId: string, size: number): void {
    if (!this.#flows?.get(flowId)?.isGrantWithheld) this.countReceived(flowId, size, undefined);
  }

  // Returns `false` if the flow is not congested here. One without queued messages is not: nothing would release its grant.
  #withholdGrant(granter: CreditGranter, received: Flow): boolean {
    const flow = this.#flows?.get(received.id);
    if (flow === undefined || flow.queued === 0 || !this.#isHigh(flow)) return false;
    received.isGrantWithheld = true;
    flow.withheldGrants ??= [];
    flow.withheldGrants.push({ granter, flow: received });
    this.#withheldGrants++;
    return true;
  }

  /**
   * Grants the node credit for a flow that it sends: as much as it spent, or a whole window if it may have spent more than was
   * counted. Whole windows add up to more than a window in flight, if the node reads them late.
   */
  grantCredit(flow: Flow): void {
    const { creditWindow } = LIMITS;
    const credits = this.#isExact ? Math.min(creditWindow, creditWindow - flow.allowance) : creditWindow;
    flow.isGrantWithheld = false;
    flow.received = 0;
    flow.receivedBytes = 0;
    flow.allowance = Math.min(MAX_ALLOWANCE, flow.allowance + credits);
    if (flow.hasEnded && flow.queued === 0) this.#flows?.delete(flow);
    if (flow.isOverrun) this.#recover(flow);
    // All windows start full on the next connection.
    if (this.#transport === undefined) return;
    const id = JSON.stringify(flow.id);
    this.sendControl(
      Buffer.from(
        `{"version":"1.0","id":"${newId()}","flowId":${id},"seqId":0,"flowFlags":${FLOW.ack},"frame":{"type":"CreditUpdate","flowId":${id},"credits":${credits}}}`,
      ),
    );
  }

  #recover(flow: Flow): void {
    flow.isOverrun = false;
    if (--this.#overruns === 0) this.onRecovered?.();
  }

  #releaseGrants(flow: Flow): void {
    const grants = flow.withheldGrants;
    if (grants === undefined) return;
    flow.withheldGrants = undefined;
    this.#withheldGrants -= grants.length;
    for (const grant of grants) grant.granter.grantCredit(grant.flow);
  }

  #releaseAllGrants(): void {
    if (this.#withheldGrants === 0) return;
    for (const flow of this.#flows?.values() ?? []) this.#releaseGrants(flow);
  }

  /** Marks the stream of a flow as ended; its state is deleted once its queue is empty. */
  endFlow(flowId: string): void {
    const flow = this.#flows?.get(flowId);
    if (flow === undefined) return;
    flow.hasEnded = true;
    if (flow.queued === 0 && !flow.isGrantWithheld) this.#flows!.delete(flow);
  }

  #addFlow(flowId: string): Flow {
    this.#flows ??= new FlowTable(this);
    return this.#flows.add(flowId, flowId === CONTROL ? Number.POSITIVE_INFINITY : LIMITS.creditWindow);
  }

  /**
   * Sends through a new connection; all windows start full. Call `flush` once the attach is acknowledged.
   */
  attach(transport: NodeTransport, { hasPairFlows, hasByteCredit }: CreditTerms): void {
    this.#transport = transport;
    this.#isExact = hasPairFlows;
    this.#grantsByBytes = hasByteCredit;
    this.#movedAt = this.#time.now;
    for (const flow of this.#flows?.values() ?? []) {
      if (flow.id !== CONTROL) flow.credit = LIMITS.creditWindow;
      flow.received = 0;
      flow.receivedBytes = 0;
      flow.allowance = LIMITS.creditWindow;
      if (flow.isOverrun) this.#recover(flow);
      if (flow.queued > 0) this.#addReady(flow);
    }
  }

  /** Keeps the queued messages, and releases the senders that waited for this queue. */
  detach(): void {
    this.#transport = undefined;
    this.#releaseAllGrants();
    this.#onEmpty?.();
  }

  /** Drops all messages, now and from now on. */
  close(): void {
    this.#isClosed = true;
    this.detach();
    this.#flows = undefined;
    this.#ready = undefined;
    this.#messages = 0;
    this.#count(-this.#bytes);
  }
}
