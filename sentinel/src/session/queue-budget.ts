// The memory that all outbound queues of the process share, including what their sockets hold. Each queue may grow up to the
// room that is left (a dynamic threshold, as in switches with shared memory): a few busy queues get much, many stalled ones
// get little each, and the sum never passes the total.

/** Bytes that a socket may hold before messages wait in the queue instead. */
const SOCKET_BYTES = 98_304;
/** The same while the budget is used up. Larger than a gather buffer, because a full one does not show a slow reader. */
const SHORT_SOCKET_BYTES = 32_768;

/** Share of the total that is reserved for the queues of nodes with a key, and of sentinels. */
const KEYED_SHARE = 1 / 4;

/** The budget as a queue sees it. */
export type QueueRoom = Pick<
  QueueBudget,
  'queueBytes' | 'queueBound' | 'socketBound' | 'countQueued' | 'noteSaturated'
>;

export interface QueueLimits {
  /** Largest queue of one node, in bytes. @default 8 MiB */
  readonly queueBytes: number;
  /** Bytes of all queues and sockets together. @default 32 MiB, or twice `queueBytes` if that is more */
  readonly queueTotalBytes: number;
}

export class QueueBudget implements QueueLimits {
  readonly queueBytes: number;
  readonly queueTotalBytes: number;
  /** The budget as the queues of nodes without a key see it. */
  readonly open: QueueRoom;
  /** Queued bytes, with the overhead of each message. */
  #queued = 0;
  /** Bytes that sockets hold because the system has not accepted them. */
  #held = 0;
  #hasSaturated = false;

  constructor({ queueBytes, queueTotalBytes }: QueueLimits) {
    this.queueBytes = queueBytes;
    this.queueTotalBytes = queueTotalBytes;
    this.open = new OpenRoom(this);
  }

  get queuedBytes(): number {
    return this.#queued;
  }

  get socketBytes(): number {
    return this.#held;
  }

  /** Bytes above the total. Only what sockets hold can exceed it. */
  get excessBytes(): number {
    return Math.max(0, this.#queued + this.#held - this.queueTotalBytes);
  }

  /** True if a sweep must look at all queues: some wait for credit or for their sockets, or have dropped messages of the sentinel. */
  get needsSweep(): boolean {
    return this.#queued > 0 || this.#held > 0 || this.#hasSaturated;
  }

  /** Size up to which one queue may grow now. Negative if the total is exceeded. */
  get queueBound(): number {
    return Math.min(this.queueBytes, this.queueTotalBytes - this.#queued - this.#held);
  }

  /** Bytes that one socket may hold now. */
  get socketBound(): number {
    return this.#queued + this.#held < this.queueTotalBytes ? SOCKET_BYTES : SHORT_SOCKET_BYTES;
  }

  /** Counts bytes that were added to a queue; a negative number counts removed ones. */
  countQueued(bytes: number): void {
    this.#queued += bytes;
  }

  /** Notes that a queue dropped messages of the sentinel, until `swept`. */
  noteSaturated(): void {
    this.#hasSaturated = true;
  }

  swept(): void {
    this.#hasSaturated = false;
  }

  /** Counts bytes that a socket began to hold; a negative number counts released ones. */
  countHeld(bytes: number): void {
    this.#held += bytes;
  }
}

class OpenRoom implements QueueRoom {
  readonly #budget: QueueBudget;

  constructor(budget: QueueBudget) {
    this.#budget = budget;
  }

  get queueBytes(): number {
    return this.#budget.queueBytes;
  }

  get #room(): number {
    const { queueTotalBytes, queuedBytes, socketBytes } = this.#budget;
    return queueTotalBytes * (1 - KEYED_SHARE) - queuedBytes - socketBytes;
  }

  get queueBound(): number {
    return Math.min(this.queueBytes, this.#room);
  }

  get socketBound(): number {
    return this.#room > 0 ? SOCKET_BYTES : SHORT_SOCKET_BYTES;
  }

  countQueued(bytes: number): void {
    this.#budget.countQueued(bytes);
  }

  noteSaturated(): void {
    this.#budget.noteSaturated();
  }
}
