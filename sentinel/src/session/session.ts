// One attached node as the router sees it: its path, its outbound queue with credits and bounds, and its open calls. A
// session outlives its connection by the resume window: then it is `detached`, keeps what was meant for it, and a
// connection of the same node picks it up. Not here: how nodes are let in (`admission.ts`), who owns which address
// (`bindings.ts`).
import { LIMITS, newId } from '@fame-fabric/shared';
import type { OpenCall } from '../open-calls.ts';
import { Flow } from './flow.ts';
import type { Wire } from './wire.ts';

/** Bounds of one session's outbound side. Messages and bytes count what waits here, not what the socket took. */
export const QUEUE = Object.freeze({
  /**
   * Above it, a flow towards the node gets no further credit; below half of it, it is paid. One slow stream holds up itself.
   * Two windows keep both ends busy; more would only lie here long enough to be moved to the old generation.
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
  wireBytes: 262_144,
});

/** Key of what the sentinel itself says; no node can use it as a flow id, and it needs no credit. */
const CONTROL = '';

/** Flow states kept for one session before some are let go. */
const USUAL_FLOWS = 1_024;
/** Flow states kept for one session, however much is lost with them. */
const MAX_FLOWS = 16_384;

export type SessionKind = 'node' | 'peer' | 'parent';
export type SessionState = 'attached' | 'detached' | 'gone';

export interface SessionOptions {
  path: string;
  systemId: string;
  instanceId: string;
  kind: SessionKind;
  ticker: Ticker;
}

/** The time that the sweeper last saw, in ms: good enough for seconds, and costs nothing per message. */
export interface Ticker {
  now: number;
}

export class Session {
  readonly path: string;
  readonly systemId: string;
  readonly kind: SessionKind;
  instanceId: string;
  /** Epoch that the node was told when it attached; its heartbeats must hear the same. */
  epoch = '';
  state: SessionState = 'attached';
  /** The connection; absent while detached. */
  wire: Wire | undefined;
  /** The node wants CallCancel frames. */
  takesCancel = false;
  /** The node gives every stream that it sends a flow of its own, which ends with the stream. */
  hasStreamFlows = false;
  /** Calls that this node made and that have no answer yet, by corrId. */
  calls: Map<string, OpenCall> | undefined;
  /** How many open calls this node is serving. */
  serving = 0;
  /** Addresses bound by this node. */
  addresses: Set<string> | undefined;
  /** Capabilities advertised by this node, each with the addresses that have it. */
  capabilities: Map<string, Set<string>> | undefined;
  /** The replyTo that was checked last: a caller uses one for all of its calls. */
  checkedReplyTo = '';
  /** When something was last received, by the ticker. */
  heardAt: number;
  /** When the queue last moved or began, by the ticker. */
  movedAt: number;
  readonly since: number;
  /** Bad frames, and when their minute began. */
  badFrames = 0;
  badSince = 0;
  queuedMessages = 0;
  queuedBytes = 0;
  /** Answers of the sentinel itself were not sent, because so many wait on the wire. */
  isDeaf = false;
  readonly #ticker: Ticker;
  #flows: Map<string, Flow> | undefined;
  /** So many flows, and it is time to let some go. */
  #tidyAt = USUAL_FLOWS;
  #waiting: Set<Flow> | undefined;
  #ping: Promise<boolean> | undefined;

  constructor(options: SessionOptions) {
    this.path = options.path;
    this.systemId = options.systemId;
    this.instanceId = options.instanceId;
    this.kind = options.kind;
    this.#ticker = options.ticker;
    this.since = options.ticker.now;
    this.heardAt = options.ticker.now;
    this.movedAt = options.ticker.now;
  }

  /** A flow towards this node must wait: so much of it is here already. */
  isHigh(flowId: string): boolean {
    const flow = this.#flows?.get(flowId);
    if (flow === undefined || flow.queued === 0) return false;
    return flow.queued >= QUEUE.highMessages || flow.queuedBytes >= QUEUE.highBytes || this.isBusy;
  }

  /** New calls to this node must be refused. */
  get isBusy(): boolean {
    return this.queuedMessages >= QUEUE.busyMessages || this.queuedBytes >= QUEUE.busyBytes;
  }

  /**
   * Hands one message of a flow to the node, at once when it has credit, else in order behind what waits. `false`: the
   * queue is over its last bound, nothing was taken, and the session must be closed.
   */
  enqueue(bytes: Uint8Array, flowId: string): boolean {
    const flow = this.#flows?.get(flowId) ?? this.#newFlow(flowId);
    const { wire } = this;
    if (wire !== undefined && flow.out > 0 && flow.queued === 0 && wire.bufferedBytes < QUEUE.wireBytes) {
      flow.out--;
      wire.send(bytes);
      return true;
    }
    return this.#hold(flow, bytes);
  }

  /**
   * Sends a message of the sentinel itself, which takes no credit; while detached it waits for the node to come back. A node
   * that asks and asks and does not read the answers gets none beyond the last bound, and the sweeper closes it.
   */
  sendControl(bytes: Uint8Array): void {
    const { wire } = this;
    if (wire !== undefined) {
      if (wire.bufferedBytes > QUEUE.closeBytes) this.isDeaf = true;
      else wire.send(bytes);
    } else if (this.state === 'detached')
      this.#hold(this.#flows?.get(CONTROL) ?? this.#newFlow(CONTROL), bytes);
  }

  #hold(flow: Flow, bytes: Uint8Array): boolean {
    if (
      this.queuedMessages >= QUEUE.closeMessages ||
      this.queuedBytes + bytes.byteLength > QUEUE.closeBytes
    ) {
      return false;
    }
    if (this.queuedMessages === 0) this.movedAt = this.#ticker.now;
    // What the socket delivered is a view of a buffer that the next read fills.
    flow.push(Buffer.from(bytes));
    this.queuedMessages++;
    this.queuedBytes += bytes.byteLength;
    this.#waiting ??= new Set();
    this.#waiting.add(flow);
    return true;
  }

  /** Credit came back from the node. */
  addCredit(flowId: string, credits: number): void {
    const flow = this.#flows?.get(flowId);
    if (flow === undefined) return;
    flow.out = Math.min(LIMITS.creditWindow, flow.out + credits);
    if (flow.queued > 0) this.#flush(flow);
  }

  /** The socket took what it held. */
  drained(): void {
    if (this.#waiting === undefined) return;
    for (const flow of this.#waiting) if (!this.#flush(flow)) break;
  }

  // `false` when the socket is full, so that there is no use in trying the next flow.
  #flush(flow: Flow): boolean {
    const { wire } = this;
    if (wire === undefined) return false;
    let isFull = false;
    while (flow.out > 0) {
      isFull = wire.bufferedBytes >= QUEUE.wireBytes;
      if (isFull) break;
      const bytes = flow.shift();
      if (bytes === undefined) break;
      flow.out--;
      this.queuedMessages--;
      this.queuedBytes -= bytes.byteLength;
      this.movedAt = this.#ticker.now;
      wire.send(bytes);
    }
    if (flow.queued * 2 <= QUEUE.highMessages && flow.queuedBytes * 2 <= QUEUE.highBytes)
      this.#payDebts(flow);
    if (flow.queued === 0) {
      this.#waiting?.delete(flow);
      if (flow.ended) this.#flows?.delete(flow.id);
    }
    return !isFull;
  }

  /** One message of a flow was received from the node; credit goes back after 24, unless `target` is full. */
  countReceived(flowId: string, target: Session | undefined): void {
    const flow = this.#flows?.get(flowId) ?? this.#newFlow(flowId);
    if (++flow.received < LIMITS.creditReturnAfter || flow.owed) return;
    if (target === undefined || !target.#owe(this, flow)) this.#pay(flow);
  }

  // Remembers whom to pay when this flow is half empty; `false` when there is nothing to wait for.
  #owe(session: Session, received: Flow): boolean {
    const flow = this.#flows?.get(received.id);
    if (flow === undefined || flow.queued === 0) return false;
    received.owed = true;
    flow.debts ??= [];
    flow.debts.push({ session, flow: received });
    return true;
  }

  #pay(flow: Flow): void {
    flow.owed = false;
    flow.received = 0;
    if (flow.ended && flow.queued === 0) this.#flows?.delete(flow.id);
    const id = JSON.stringify(flow.id);
    this.sendControl(
      Buffer.from(
        `{"version":"1.0","id":"${newId()}","flowId":${id},"seqId":0,"flowFlags":2,"frame":{"type":"CreditUpdate","flowId":${id},"credits":${LIMITS.creditWindow}}}`,
      ),
    );
  }

  #payDebts(flow: Flow): void {
    const { debts } = flow;
    flow.debts = undefined;
    for (const debt of debts ?? []) debt.session.#pay(debt.flow);
  }

  #payAllDebts(): void {
    for (const flow of this.#flows?.values() ?? []) this.#payDebts(flow);
  }

  /** The stream of this flow has ended: its state may go. */
  endFlow(flowId: string): void {
    const flow = this.#flows?.get(flowId);
    if (flow === undefined) return;
    flow.ended = true;
    if (flow.queued === 0 && !flow.owed) this.#flows!.delete(flowId);
  }

  #newFlow(flowId: string): Flow {
    this.#flows ??= new Map();
    if (this.#flows.size >= this.#tidyAt) this.#tidyFlows();
    const flow = new Flow(flowId, flowId === CONTROL ? Number.POSITIVE_INFINITY : LIMITS.creditWindow);
    this.#flows.set(flowId, flow);
    return flow;
  }

  // Lets flows go, in the order of what is lost with them: nothing with those that have ended or have their whole window. A
  // flow that comes back has a whole window again, so one whose window is used up, because its reader does not read, is let
  // go only when there are far too many. It is looked for them again when there are twice as many.
  #tidyFlows(): void {
    const flows = this.#flows!;
    this.#dropFlows(0, ({ ended, out }) => ended || out >= LIMITS.creditWindow);
    if (flows.size >= USUAL_FLOWS) this.#dropFlows(USUAL_FLOWS / 2, ({ out }) => out > 0);
    if (flows.size >= MAX_FLOWS) this.#dropFlows(MAX_FLOWS / 2, () => true);
    this.#tidyAt = Math.max(USUAL_FLOWS, Math.min(2 * flows.size, flows.size + MAX_FLOWS / 2));
  }

  // Drops the oldest flows of a kind that nothing waits in, until `left` are left.
  #dropFlows(left: number, isOfKind: (flow: Flow) => boolean): void {
    const flows = this.#flows!;
    for (const flow of flows.values()) {
      if (flows.size <= left) return;
      if (flow.queued > 0 || flow.owed || !isOfKind(flow)) continue;
      // What is counted but not paid would be lost with the state, and the sender could wait for it for ever.
      if (flow.received > 0) this.#pay(flow);
      flows.delete(flow.id);
    }
  }

  /** The connection is lost: what waits is kept, senders that waited for this queue are paid. */
  detach(): void {
    this.state = 'detached';
    this.wire = undefined;
    this.#payAllDebts();
  }

  /** A connection picks the session up. Call `drained()` once the attach is acknowledged. */
  resume(wire: Wire): void {
    this.state = 'attached';
    this.wire = wire;
    this.isDeaf = false;
    this.movedAt = this.#ticker.now;
    for (const flow of this.#flows?.values() ?? []) {
      if (flow.id !== CONTROL) flow.out = LIMITS.creditWindow;
      flow.received = 0;
    }
  }

  /** The session is over: everything it holds goes. */
  dispose(): void {
    this.state = 'gone';
    this.wire = undefined;
    this.#payAllDebts();
    this.#flows = undefined;
    this.#waiting = undefined;
    this.queuedMessages = 0;
    this.queuedBytes = 0;
  }

  /** Asks for a sign of life; who asks while a question is open gets the answer to that one. */
  ping(timeoutMs: number): Promise<boolean> {
    if (this.wire === undefined) return Promise.resolve(false);
    this.#ping ??= this.wire.ping(timeoutMs).finally(() => {
      this.#ping = undefined;
    });
    return this.#ping;
  }
}
