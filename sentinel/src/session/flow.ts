// Credit of one flow on one connection, in both directions, and its messages that wait for credit.
import { Fifo } from '@fame-fabric/shared/internal';
import { LIMITS } from '@fame-fabric/shared/router';

/**
 * Memory overhead of a queued message. It also bounds the number of messages in a queue of small ones.
 */
export const MESSAGE_COST = 256;
/** Smaller messages are kept as text of one byte a character. A small Buffer would pin the 8 KB slab that it is a slice of. */
const MIN_BUFFER_BYTES = 4_096;
/** Holds a small message while it is sent. A transport copies what it sends. */
const unqueued = Buffer.alloc(MIN_BUFFER_BYTES);

/** The side that grants a sender its credit again. */
export interface CreditGranter {
  grantCredit(flow: Flow): void;
}

/** A grant that waits until a congested flow is half empty. */
export interface WithheldGrant {
  readonly granter: CreditGranter;
  readonly flow: Flow;
}

/** Measures when a queued message leaves. */
export interface Probe {
  /** Messages that leave until then, with the measured one. */
  ahead: number;
  readonly onSent: () => void;
}

export class Flow {
  readonly id: string;
  /** Messages that we may still send. */
  credit: number;
  /** Messages that we received and have not granted credit for. */
  received = 0;
  /** Bytes of the messages in `received`. */
  receivedBytes = 0;
  /** Messages that the sender may still send. A surplus stays here: only the sender knows how much its window cut off. */
  allowance: number = LIMITS.creditWindow;
  /** Credit is due to the sender, but a congested flow elsewhere holds it back. */
  isGrantWithheld = false;
  /** The sender sent more messages than it was granted. */
  isOverrun = false;
  /** The stream that this flow belonged to has ended. */
  hasEnded = false;
  /** Bytes that this flow may send before it is the turn of the next one. Negative after a large message. */
  deficit = 0;
  /** Grants to the senders of this flow that wait for it to drain. */
  withheldGrants: WithheldGrant[] | undefined;
  /** The message of this flow that is measured. Usually none. */
  probe: Probe | undefined;
  #queue: Fifo<string | Uint8Array> | undefined;
  #queuedBytes = 0;

  constructor(id: string, credit: number) {
    this.id = id;
    this.credit = credit;
  }

  /** Number of queued messages. */
  get queued(): number {
    return this.#queue === undefined ? 0 : this.#queue.size;
  }

  /** Queued bytes, with `MESSAGE_COST` for each message. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Counts a message that left, for the probe. */
  passProbe(): void {
    const { probe } = this;
    if (probe === undefined || --probe.ahead > 0) return;
    this.probe = undefined;
    probe.onSent();
  }

  /** Queues a copy of a message. */
  push(bytes: Uint8Array): void {
    const { byteLength } = bytes;
    this.#queue ??= new Fifo();
    this.#queue.push(byteLength < MIN_BUFFER_BYTES ? viewOf(bytes).toString('latin1') : Buffer.from(bytes));
    this.#queuedBytes += byteLength + MESSAGE_COST;
  }

  /** Removes and returns the oldest message. Its bytes are valid until the next call, of any flow. */
  shift(): Uint8Array | undefined {
    const message = this.#queue?.shift();
    if (message === undefined) return undefined;
    this.#queuedBytes -= message.length + MESSAGE_COST;
    if (typeof message !== 'string') return message;
    unqueued.write(message, 'latin1');
    return unqueued.subarray(0, message.length);
  }
}

const viewOf = (bytes: Uint8Array): Buffer =>
  bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** Flow count that triggers the first eviction. */
const SOFT_MAX_FLOWS = 1_024;
/** Flow count beyond which flows are evicted regardless of the loss. */
const MAX_FLOWS = 16_384;

/** The flows of one session, by id, bounded. */
export class FlowTable {
  readonly #granter: CreditGranter;
  readonly #flows = new Map<string, Flow>();
  #evictAt = SOFT_MAX_FLOWS;

  constructor(granter: CreditGranter) {
    this.#granter = granter;
  }

  get(flowId: string): Flow | undefined {
    return this.#flows.get(flowId);
  }

  values(): Iterable<Flow> {
    return this.#flows.values();
  }

  add(flowId: string, credit: number): Flow {
    if (this.#flows.size >= this.#evictAt) this.#evict();
    const flow = new Flow(flowId, credit);
    this.#flows.set(flowId, flow);
    return flow;
  }

  delete(flow: Flow): void {
    this.#flows.delete(flow.id);
  }

  // Evicts the cheapest loss first: flows that have ended or have a full window, then those with some credit. A flow that
  // comes back starts with a full window. So one without credit, whose reader does not read, stays until `MAX_FLOWS`. The
  // threshold doubles with the flows that are left, so that the cost stays linear.
  #evict(): void {
    const flows = this.#flows;
    this.#evictUntil(0, ({ hasEnded, credit }) => hasEnded || credit >= LIMITS.creditWindow);
    if (flows.size >= SOFT_MAX_FLOWS) this.#evictUntil(SOFT_MAX_FLOWS / 2, ({ credit }) => credit > 0);
    if (flows.size >= MAX_FLOWS) this.#evictUntil(MAX_FLOWS / 2, () => true);
    this.#evictAt = Math.max(SOFT_MAX_FLOWS, Math.min(2 * flows.size, flows.size + MAX_FLOWS / 2));
  }

  // Evicts the oldest matching flows without queued messages until `count` flows are left.
  #evictUntil(count: number, matches: (flow: Flow) => boolean): void {
    for (const flow of this.#flows.values()) {
      if (this.#flows.size <= count) return;
      if (flow.queued > 0 || flow.isGrantWithheld || !matches(flow)) continue;
      // The count of received messages is lost with the flow. Grant credit for them, or their sender could wait forever.
      if (flow.received > 0) this.#granter.grantCredit(flow);
      this.#flows.delete(flow.id);
    }
  }
}
