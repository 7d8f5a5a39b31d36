// Admission of turns: within one conversation they run one at a time and in order, across conversations many run at once, and
// whatever waits is counted and bounded. It knows nothing of models or messages; `host.ts` decides what a turn is.
import { FabricError } from '@fame-fabric/shared';
import { type KeyedJob, KeyedQueue } from '@fame-fabric/shared/internal';

/** Rule for a turn that arrives while another one of its conversation runs. */
export type TurnPolicy = 'queue' | 'reject' | 'interrupt';

export interface InboxOptions {
  /**
   * Turns that run at once, each in a conversation of its own. A turn mostly waits for its model, so memory is the bound and
   * not CPU; 200 conversations with a model that takes 1 s are through in 2 s.
   * @default 256
   */
  maxRunning?: number | undefined;
  /** Turns that may wait in one conversation. @default 16 */
  maxWaitingEach?: number | undefined;
  /** Turns that may wait in all. @default 4096 */
  maxWaiting?: number | undefined;
}

/** A turn in the inbox. Its key is the conversation; `run` must settle soon after `cancel` was called. */
export interface InboxEntry extends KeyedJob {
  readonly key: string;
  /** Ends the turn early, running or waiting. */
  cancel(reason: FabricError): void;
}

export class Inbox {
  readonly #maxWaitingEach: number;
  readonly #maxWaiting: number;
  /** Bounded by `check`: a resumed turn is taken without one, because it was accepted already. */
  readonly #queue: KeyedQueue<InboxEntry>;

  constructor({ maxRunning = 256, maxWaitingEach = 16, maxWaiting = 4096 }: InboxOptions = {}) {
    this.#queue = new KeyedQueue({ maxRunning });
    this.#maxWaitingEach = maxWaitingEach;
    this.#maxWaiting = maxWaiting;
  }

  get running(): number {
    return this.#queue.running;
  }

  get waiting(): number {
    return this.#queue.waiting;
  }

  /** True if a turn of the conversation runs or waits. */
  isBusy(conversationId: string): boolean {
    return this.#queue.has(conversationId);
  }

  /**
   * Checks that one more turn would be taken. Call it before anything about the turn is written.
   * @throws {TURN_IN_PROGRESS} under `reject`, when a turn runs or waits
   * @throws {TURN_QUEUE_FULL} when too many wait
   */
  check(conversationId: string, policy: TurnPolicy): void {
    const isBusy = this.isBusy(conversationId);
    if (isBusy && policy === 'reject') {
      throw new FabricError('TURN_IN_PROGRESS', 'Another turn of this conversation is running.');
    }
    const waiting = this.#queue.waitingOf(conversationId).length;
    if (isBusy && policy === 'queue' && waiting >= this.#maxWaitingEach) {
      throw new FabricError('TURN_QUEUE_FULL', `${waiting} turns of this conversation are waiting already.`);
    }
    if (this.waiting >= this.#maxWaiting) {
      throw new FabricError('TURN_QUEUE_FULL', `${this.waiting} turns are waiting at this agent already.`);
    }
  }

  /** Takes a turn: runs it now, or when its conversation and a place are free. `interrupt` cancels the turns before it. */
  put(entry: InboxEntry, policy: TurnPolicy = 'queue'): void {
    if (policy === 'interrupt') {
      const reason = placeTaken();
      for (const earlier of this.#queue.waitingOf(entry.key)) earlier.cancel(reason);
      this.#queue.runningOf(entry.key)?.cancel(reason);
    }
    this.#queue.add(entry);
  }

  /** Takes back a turn that waits. False if it runs already or is not here. */
  withdraw(entry: InboxEntry): boolean {
    return this.#queue.remove(entry);
  }
}

/** The reason to cancel a turn under `interrupt`. */
export const placeTaken = (): FabricError =>
  new FabricError('TURN_CANCELLED', 'A newer message of this conversation took its place.');
