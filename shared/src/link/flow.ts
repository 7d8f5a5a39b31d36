// Credits, per neighbor and per flow. A flow may have 32 messages in flight, and the receiver grants new credit after 24.
// Control frames need no credit, and received credit is booked in the message event itself. Two nodes that queued each
// other's credit behind messages that need credit would deadlock.
import { Fifo } from '../async/fifo.ts';
import type { Waiters } from '../async/waiters.ts';
import type { Envelope } from '../protocol/envelope.ts';
import { LIMITS } from '../protocol/limits.ts';

/** The sender of a queued message. */
export interface Sender {
  /** True if the message is no longer needed. It is skipped then. */
  readonly isOver: boolean;
  /** Called when the message was sent. */
  onSent(): void;
  /** Called when the message was dropped. */
  onDropped(error: Error): void;
}

export interface QueuedMessage {
  readonly id: string;
  readonly bytes: Uint8Array;
  /** Set if messages are traced. */
  readonly envelope: Envelope | undefined;
  readonly sender: Sender | undefined;
}

/** A received request that starts as soon as its caller has read enough of its answers. */
export interface HeldCall {
  readonly isOver: boolean;
  start(): void;
}

/** The sending side of one flow: its credit, and the messages that wait for credit or for a connection. */
export class SendFlow {
  readonly id: string;
  credit: number = LIMITS.creditWindow;
  /** Bytes of messages whose credit was not returned, for a neighbor that grants credit by bytes. */
  inFlightBytes = 0;
  /** Sizes of those messages, in order. */
  inFlight: Fifo<number> | undefined;
  /** Number of the next message. Streams number their items, so that the caller detects a gap. */
  seq = 0;
  /** True if the flow is removed as soon as its queue is empty. */
  isClosing = false;
  /** The interval between heartbeats in which the flow was last used. */
  usedIn = 0;
  readonly waiting = new Fifo<QueuedMessage>();
  /** The pair flow whose bound applies: that of the caller for the flow of a stream, otherwise the flow itself. */
  readonly pair: SendFlow;
  /** Of a pair flow: the bytes that wait here and on the flows of its streams. */
  queuedBytes = 0;
  /** Of a pair flow: open calls of the caller. */
  serving = 0;
  /** Of a pair flow: requests of the caller that wait until its answers have been sent. */
  held: Fifo<{ readonly call: HeldCall; readonly cost: number }> | undefined;
  heldBytes = 0;
  /** Of a pair flow: some of these requests were just started, and others follow. */
  isStarting = false;
  /** Of a pair flow: waiters for room in its queue. */
  roomWaiters: Waiters | undefined;

  constructor(id: string, pair?: SendFlow) {
    this.id = id;
    this.pair = pair ?? this;
  }

  /**
   * True if nothing is queued, no call is open, and the receiver has returned the credit. A flow that replaces this one starts
   * with a full window.
   */
  get isIdle(): boolean {
    return (
      this.serving === 0 &&
      this.queuedBytes === 0 &&
      this.credit > LIMITS.creditWindow - LIMITS.creditReturnAfter
    );
  }
}

/** Maximum number of counted flows. Evicting a flow grants its credit, so that its sender does not wait for a lost count. */
const MAX_COUNTED_FLOWS = 1_024;

/** The receiving side: the number of messages of each flow since its last credit grant. */
export class ReceivedFlows {
  /** Messages of a flow after which credit is granted. */
  grantAfter: number = LIMITS.creditReturnAfter;
  readonly #received = new Map<string, number>();
  readonly #grant: (flowId: string) => void;

  constructor(grant: (flowId: string) => void) {
    this.#grant = grant;
  }

  get size(): number {
    return this.#received.size;
  }

  /** Counts one message, and grants credit when it is due. */
  count(flowId: string): void {
    const received = (this.#received.get(flowId) ?? 0) + 1;
    if (received >= this.grantAfter) {
      this.#received.set(flowId, 0);
      this.#grant(flowId);
      return;
    }
    if (received === 1 && this.#received.size >= MAX_COUNTED_FLOWS) this.#evictOldest();
    this.#received.set(flowId, received);
  }

  #evictOldest(): void {
    for (const [flowId, received] of this.#received) {
      this.#received.delete(flowId);
      if (received > 0) this.#grant(flowId);
      return;
    }
  }
}
