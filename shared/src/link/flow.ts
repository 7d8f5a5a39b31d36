// Credits, per neighbour and per flow. A flow may have 32 messages on the way; the receiver pays with CreditUpdate after
// 24. Frames of the control plane never wait for credit, and credit that arrives is booked in the message event itself:
// two nodes that wait for each other's credit behind each other's messages never wake up again.

import { Fifo } from '../async/fifo.ts';
import type { Envelope } from '../protocol/envelope.ts';
import { LIMITS } from '../protocol/limits.ts';

/** Whoever sent a message that had to wait. */
export interface Sender {
  /** The message is no longer wanted and is skipped. */
  readonly isOver: boolean;
  /** The message left. */
  onSent(): void;
  /** The message will never leave. */
  onDropped(error: Error): void;
}

export interface Waiting {
  readonly bytes: Uint8Array;
  readonly envelope: Envelope;
  readonly sender: Sender | undefined;
}

/** The sending side of one flow: what it may still send, and what waits for credit or for a connection. */
export class SendFlow {
  readonly id: string;
  credit: number = LIMITS.creditWindow;
  /** Number of the next message; streams number their items so that the caller notices a gap. */
  seq = 0;
  /** Goes as soon as nothing waits in it. */
  isClosing = false;
  readonly waiting = new Fifo<Waiting>();

  constructor(id: string) {
    this.id = id;
  }
}

/** Flows of others that are counted at once. A flow that is let go is paid, so its sender never waits for a lost count. */
const MAX_COUNTED_FLOWS = 1_024;

/** The receiving side: messages taken and not paid for, per flow. */
export class ReceivedFlows {
  /** Messages of a flow after which it is paid. */
  grantAfter: number = LIMITS.creditReturnAfter;
  readonly #sinceGrant = new Map<string, number>();
  readonly #grant: (flowId: string) => void;

  constructor(grant: (flowId: string) => void) {
    this.#grant = grant;
  }

  get size(): number {
    return this.#sinceGrant.size;
  }

  /** Counts one message and pays when it is due. */
  count(flowId: string): void {
    const ungranted = (this.#sinceGrant.get(flowId) ?? 0) + 1;
    if (ungranted >= this.grantAfter) {
      this.#sinceGrant.set(flowId, 0);
      this.#grant(flowId);
      return;
    }
    if (ungranted === 1 && this.#sinceGrant.size >= MAX_COUNTED_FLOWS) this.#evictOldest();
    this.#sinceGrant.set(flowId, ungranted);
  }

  #evictOldest(): void {
    for (const [flowId, ungranted] of this.#sinceGrant) {
      this.#sinceGrant.delete(flowId);
      if (ungranted > 0) this.#grant(flowId);
      return;
    }
  }
}
