// One neighbour of a link: the sentinel, or the link itself for addresses that it serves (`loopTransport`). A neighbor outlives
// its connections: what waits for credit or for a connection stays here, in order, within bounds. It knows nothing of
// calls; `calls.ts` and `serving.ts` hand it envelopes.
import { FabricError } from '../errors/error.ts';
import { encode } from '../protocol/codec.ts';
import { type Envelope, FLOW, makeEnvelope } from '../protocol/envelope.ts';
import { LIMITS } from '../protocol/limits.ts';
import { ReceivedFlows, type Sender, SendFlow } from './flow.ts';
import type { LinkOptions } from './link-types.ts';
import type { Transport } from './transport.ts';

/** What may wait: without a connection little, since it may never come back; with one, what credits hold up. */
const BOUNDS = Object.freeze({
  detachedMessages: 1_000,
  detachedBytes: 8_388_608,
  attachedBytes: 67_108_864,
});

export class Neighbor {
  /** The flow of calls, unary replies and control frames. */
  readonly main: SendFlow;
  readonly received: ReceivedFlows;
  transport: Transport | undefined;
  /** Credit of a stream's own flow may wait for the stream's consumer: the neighbour keeps flows apart. */
  mayWithholdCredit = false;
  readonly #flows = new Map<string, SendFlow>();
  readonly #trace: LinkOptions['trace'];
  #waiting = 0;
  #waitingBytes = 0;
  #whenEmpty: (() => void) | undefined;

  constructor(mainFlowId: string, trace: LinkOptions['trace']) {
    this.main = new SendFlow(mainFlowId);
    this.#flows.set(mainFlowId, this.main);
    this.#trace = trace;
    this.received = new ReceivedFlows((flowId) => this.grantCredit(flowId, LIMITS.creditWindow));
  }

  get isAttached(): boolean {
    return this.transport !== undefined;
  }

  /** Flows that this end sends. */
  get flowCount(): number {
    return this.#flows.size;
  }

  /** Messages that wait for credit or for a connection. */
  get waitingCount(): number {
    return this.#waiting;
  }

  /** A flow of its own, for the items of one stream. `closeFlow` lets it go. */
  openFlow(id: string, otherId: () => string): SendFlow {
    const flow = new SendFlow(this.#flows.has(id) ? otherId() : id);
    this.#flows.set(flow.id, flow);
    return flow;
  }

  /** Lets a flow go once what waits in it has left. */
  closeFlow(flow: SendFlow): void {
    if (flow.waiting.size === 0) this.#flows.delete(flow.id);
    else flow.isClosing = true;
  }

  /** Drops what waits in a flow. */
  dropFlow(flow: SendFlow, error: Error): void {
    for (let item = flow.waiting.shift(); item; item = flow.waiting.shift()) {
      this.#forget(item.bytes);
      item.sender?.onDropped(error);
    }
    this.#flows.delete(flow.id);
  }

  /**
   * Sends a message of `flow` when that has credit, else keeps it in order. `true` when it left at once.
   * @throws {MESSAGE_TOO_LARGE | PROTO_MALFORMED} from the codec. @throws {NODE_BUSY} when too much waits already.
   */
  send(flow: SendFlow, envelope: Envelope, sender?: Sender): boolean {
    const bytes = encode(envelope);
    if (this.transport !== undefined && flow.credit > 0 && flow.waiting.size === 0) {
      flow.credit--;
      this.#trace?.('sent', envelope);
      // A transport that closed under us loses it like any message on its way: the close event is next.
      this.transport.send(bytes);
      return true;
    }
    this.#checkRoom(bytes.byteLength);
    flow.waiting.push({ bytes, envelope, sender });
    this.#waiting++;
    this.#waitingBytes += bytes.byteLength;
    return false;
  }

  /** Sends a frame of the control plane, which never waits. `false`, and nothing is kept, without a connection. */
  sendControl(envelope: Envelope): boolean {
    if (this.transport === undefined) return false;
    const bytes = encode(envelope);
    this.#trace?.('sent', envelope);
    return this.transport.send(bytes);
  }

  /** Tells the neighbour that it may send so many more messages of a flow, up to the window. */
  grantCredit(flowId: string, credits: number): void {
    this.sendControl(
      makeEnvelope({ type: 'CreditUpdate', flowId, credits }, { flowId, flowFlags: FLOW.ack }),
    );
  }

  /** Credit came in. */
  addCredit(flowId: string, credits: number): void {
    const flow = this.#flows.get(flowId);
    if (flow === undefined) return;
    flow.credit = Math.min(LIMITS.creditWindow, flow.credit + credits);
    this.#flush(flow);
  }

  /** A connection is there: windows start anew. Nothing leaves before `flush`. */
  attach(transport: Transport): void {
    this.transport = transport;
    for (const flow of this.#flows.values()) flow.credit = LIMITS.creditWindow;
  }

  detach(): void {
    this.transport = undefined;
  }

  flush(): void {
    for (const flow of this.#flows.values()) this.#flush(flow);
  }

  #flush(flow: SendFlow): void {
    while (this.transport !== undefined && flow.credit > 0) {
      const item = flow.waiting.shift();
      if (item === undefined) break;
      this.#forget(item.bytes);
      if (item.sender?.isOver) continue;
      flow.credit--;
      this.#trace?.('sent', item.envelope);
      this.transport.send(item.bytes);
      item.sender?.onSent();
    }
    if (flow.isClosing && flow.waiting.size === 0) this.#flows.delete(flow.id);
  }

  /** Drops all that waits, such as when the path it names is gone. Returns how many messages nobody will hear about. */
  drop(error: Error): number {
    let dropped = 0;
    for (const flow of this.#flows.values()) {
      for (let item = flow.waiting.shift(); item; item = flow.waiting.shift()) {
        this.#forget(item.bytes);
        if (item.sender) item.sender.onDropped(error);
        else dropped++;
      }
      if (flow.isClosing) this.#flows.delete(flow.id);
    }
    return dropped;
  }

  #forget(bytes: Uint8Array): void {
    this.#waiting--;
    this.#waitingBytes -= bytes.byteLength;
    if (this.#waiting === 0) this.#whenEmpty?.();
  }

  /** Resolves when nothing waits any more. */
  whenEmpty(): Promise<void> {
    if (this.#waiting === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#whenEmpty = resolve;
    });
  }

  #checkRoom(size: number): void {
    const bytes = this.#waitingBytes + size;
    const fits = this.isAttached
      ? bytes <= BOUNDS.attachedBytes
      : this.#waiting < BOUNDS.detachedMessages && bytes <= BOUNDS.detachedBytes;
    if (!fits) {
      throw new FabricError('NODE_BUSY', `${this.#waiting} messages wait for the sentinel already`);
    }
  }
}
