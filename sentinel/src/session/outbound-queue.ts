// Outbound queue of one session: messages that wait for credit or for the socket, with its bounds. It also counts what
// the node sends, because a grant of credit to one node may depend on the queue of another (docs/decisions/0004).
//
// Invariants: I1 messages of one flow leave in the order in which they were enqueued. I2 nothing is dropped below the
// last bound. I3 a withheld grant is made as soon as its flow is half empty, or the queue detaches or closes.
import { FLOW, LIMITS, newId } from '@fame-fabric/shared';
import type { CoarseClock } from './coarse-clock.ts';
import { type CreditGranter, type Flow, FlowTable } from './flow.ts';
import type { NodeTransport } from './node-transport.ts';

/** Bounds of one queue. Messages and bytes count what waits here, not what the socket holds. */
export const QUEUE = Object.freeze({
  /**
   * Above it, the senders of a flow get no further credit; below half of it, they do. A slow stream holds up only itself.
   * Two windows keep both ends busy; more would only wait here long enough to be promoted to the old generation.
   */
  highMessages: 64,
  highBytes: 1_048_576,
  /** Above it, new calls to the node are refused with NODE_BUSY. */
  busyMessages: 4_096,
  busyBytes: 4_194_304,
  /** Above it, the node is closed with 4008: its senders ignored their credit, or it never reads. */
  closeMessages: 16_384,
  closeBytes: 8_388_608,
  /** Bytes that the socket may hold before messages wait here instead. */
  transportBytes: 262_144,
});

/** Flow id of the sentinel's own messages. No node can use it, and it needs no credit. */
const CONTROL = '';

export class OutboundQueue implements CreditGranter {
  readonly #time: CoarseClock;
  /** The connection; absent while detached. */
  #transport: NodeTransport | undefined;
  #flows: FlowTable | undefined;
  /** Flows with messages that wait, in the order in which they began to wait. */
  #waiting: Set<Flow> | undefined;
  #messages = 0;
  #bytes = 0;
  #movedAt: number;
  #isSaturated = false;
  #isClosed = false;
  #onEmpty: (() => void) | undefined;

  constructor(time: CoarseClock) {
    this.#time = time;
    this.#movedAt = time.now;
  }

  get messages(): number {
    return this.#messages;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** True if new calls to the node must be refused. */
  get isBusy(): boolean {
    return this.#messages >= QUEUE.busyMessages || this.#bytes >= QUEUE.busyBytes;
  }

  /** True if control replies were dropped because the socket buffer is full. */
  get isSaturated(): boolean {
    return this.#isSaturated;
  }

  /** Time since the queue last moved, in ms; 0 when it is empty. */
  get stalledMs(): number {
    return this.#messages === 0 ? 0 : this.#time.now - this.#movedAt;
  }

  /** True if the senders of this flow must wait for it to drain. */
  isCongested(flowId: string): boolean {
    const flow = this.#flows?.get(flowId);
    if (flow === undefined || flow.queued === 0) return false;
    return flow.queued >= QUEUE.highMessages || flow.queuedBytes >= QUEUE.highBytes || this.isBusy;
  }

  /**
   * Sends one message of a flow at once if it has credit, else queues it in order. Returns `false` if the queue is at its
   * last bound: the message was not queued, and the session must be closed.
   */
  enqueue(bytes: Uint8Array, flowId: string): boolean {
    const flow = this.#flows?.get(flowId) ?? this.#addFlow(flowId);
    const transport = this.#transport;
    if (
      transport !== undefined &&
      flow.credit > 0 &&
      flow.queued === 0 &&
      transport.bufferedBytes < QUEUE.transportBytes
    ) {
      flow.credit--;
      transport.send(bytes);
      return true;
    }
    return this.#push(flow, bytes);
  }

  /**
   * Sends a message of the sentinel itself, which needs no credit; while detached it waits for the node to come back. A
   * node that sends requests and does not read the replies gets none beyond the last bound, and the sweeper closes it.
   */
  sendControl(bytes: Uint8Array): void {
    const transport = this.#transport;
    if (transport !== undefined) {
      if (transport.bufferedBytes > QUEUE.closeBytes) this.#isSaturated = true;
      else transport.send(bytes);
    } else if (!this.#isClosed) this.#push(this.#flows?.get(CONTROL) ?? this.#addFlow(CONTROL), bytes);
  }

  #push(flow: Flow, bytes: Uint8Array): boolean {
    if (this.#messages >= QUEUE.closeMessages || this.#bytes + bytes.byteLength > QUEUE.closeBytes) {
      return false;
    }
    if (this.#messages === 0) this.#movedAt = this.#time.now;
    // The bytes are a view of a buffer that the next read overwrites.
    flow.push(Buffer.from(bytes));
    this.#messages++;
    this.#bytes += bytes.byteLength;
    this.#waiting ??= new Set();
    this.#waiting.add(flow);
    return true;
  }

  /** Adds credit that the node granted. */
  addCredit(flowId: string, credits: number): void {
    const flow = this.#flows?.get(flowId);
    if (flow === undefined) return;
    flow.credit = Math.min(LIMITS.creditWindow, flow.credit + credits);
    if (flow.queued > 0) this.#flushFlow(flow);
  }

  /** Sends what credit and the socket allow; call it when the socket has drained. */
  flush(): void {
    if (this.#waiting === undefined) return;
    for (const flow of this.#waiting) if (!this.#flushFlow(flow)) break;
  }

  // Returns `false` when the socket is full, so that trying the next flow is pointless.
  #flushFlow(flow: Flow): boolean {
    const transport = this.#transport;
    if (transport === undefined) return false;
    let isFull = false;
    while (flow.credit > 0) {
      isFull = transport.bufferedBytes >= QUEUE.transportBytes;
      if (isFull) break;
      const bytes = flow.shift();
      if (bytes === undefined) break;
      flow.credit--;
      this.#messages--;
      this.#bytes -= bytes.byteLength;
      this.#movedAt = this.#time.now;
      transport.send(bytes);
    }
    if (flow.queued * 2 <= QUEUE.highMessages && flow.queuedBytes * 2 <= QUEUE.highBytes) {
      this.#releaseGrants(flow);
    }
    if (flow.queued === 0) {
      this.#waiting?.delete(flow);
      if (flow.hasEnded) this.#flows?.delete(flow);
      if (this.#messages === 0) this.#onEmpty?.();
    }
    return !isFull;
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
   * Counts one message of a flow received from the node. Credit is granted after 24, and withheld while that flow is
   * congested in `congested`, the queue of the receiver.
   */
  countReceived(flowId: string, congested: OutboundQueue | undefined): void {
    const flow = this.#flows?.get(flowId) ?? this.#addFlow(flowId);
    if (++flow.received < LIMITS.creditReturnAfter || flow.isGrantWithheld) return;
    if (congested === undefined || !congested.#withholdGrant(this, flow)) this.grantCredit(flow);
  }

  // Returns `false` if no message of the flow is queued here, so nothing would release the grant.
  #withholdGrant(granter: CreditGranter, received: Flow): boolean {
    const flow = this.#flows?.get(received.id);
    if (flow === undefined || flow.queued === 0) return false;
    received.isGrantWithheld = true;
    flow.withheldGrants ??= [];
    flow.withheldGrants.push({ granter, flow: received });
    return true;
  }

  /** Grants the node a new window of a flow that it sends. */
  grantCredit(flow: Flow): void {
    flow.isGrantWithheld = false;
    flow.received = 0;
    if (flow.hasEnded && flow.queued === 0) this.#flows?.delete(flow);
    const id = JSON.stringify(flow.id);
    this.sendControl(
      Buffer.from(
        `{"version":"1.0","id":"${newId()}","flowId":${id},"seqId":0,"flowFlags":${FLOW.ack},"frame":{"type":"CreditUpdate","flowId":${id},"credits":${LIMITS.creditWindow}}}`,
      ),
    );
  }

  #releaseGrants(flow: Flow): void {
    const grants = flow.withheldGrants;
    if (grants === undefined) return;
    flow.withheldGrants = undefined;
    for (const grant of grants) grant.granter.grantCredit(grant.flow);
  }

  #releaseAllGrants(): void {
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

  /** Sends through a new connection; all windows start full. Call `flush` once the attach is acknowledged. */
  attach(transport: NodeTransport): void {
    this.#transport = transport;
    this.#isSaturated = false;
    this.#movedAt = this.#time.now;
    for (const flow of this.#flows?.values() ?? []) {
      if (flow.id !== CONTROL) flow.credit = LIMITS.creditWindow;
      flow.received = 0;
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
    this.#waiting = undefined;
    this.#messages = 0;
    this.#bytes = 0;
  }
}
