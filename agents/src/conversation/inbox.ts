// Admission of turns. Turns of one conversation run one at a time and in order; turns of different conversations run concurrently.
// The number of waiting turns is bounded.
import { FabricError } from '@fame-fabric/shared';
import { type KeyedJob, KeyedQueue } from '@fame-fabric/shared/internal';

/** Rule for a turn that arrives while another one of its conversation runs. */
export type TurnPolicy = 'queue' | 'reject' | 'interrupt';

export interface InboxOptions {
  /**
   * Maximum turns that run at once, each in a conversation of its own. A turn mostly waits for its model, so memory is the bound
   * and not CPU. A turn that waits for a person does not count.
   * @default 2_000
   */
  maxRunning?: number | undefined;
  /** Maximum size of the windows of the turns that run at once, in characters. A larger one runs alone. @default 268_435_456 */
  maxRunningChars?: number | undefined;
  /** Maximum turns that wait in one conversation. @default 16 */
  maxWaitingEach?: number | undefined;
  /** Maximum turns that wait in all conversations together. @default 4_096 */
  maxWaiting?: number | undefined;
}

/** A turn in the inbox. Its key is the conversation; `run` must settle soon after `cancel` was called. */
export interface InboxEntry extends KeyedJob {
  readonly key: string;
  /** Size of the window that the turn starts with, in characters. */
  readonly weight: number;
  /** Ends the turn early, running or waiting. */
  cancel(reason: FabricError): void;
}

export class Inbox {
  readonly #maxWaitingEach: number;
  readonly #maxWaiting: number;
  /** Bounded by `check`: a resumed turn is taken without one, because it was accepted already. */
  readonly #queue: KeyedQueue<InboxEntry>;

  constructor(options: InboxOptions = {}) {
    const { maxRunning = 2_000, maxRunningChars = 268_435_456 } = options;
    const { maxWaitingEach = 16, maxWaiting = 4_096 } = options;
    this.#queue = new KeyedQueue({ maxRunning, maxRunningWeight: maxRunningChars });
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
      throw new FabricError(
        'TURN_IN_PROGRESS',
        'Another turn of this conversation is running. Wait for its answer.',
      );
    }
    const waiting = this.#queue.waitingOf(conversationId).length;
    if (isBusy && policy === 'queue' && waiting >= this.#maxWaitingEach) {
      throw new FabricError(
        'TURN_QUEUE_FULL',
        `The queue of this conversation is full (${waiting} turns). Wait for an answer before sending more.`,
      );
    }
    if (this.waiting >= this.#maxWaiting) {
      throw new FabricError(
        'TURN_QUEUE_FULL',
        `The queue of this agent is full (${this.waiting} turns). Try again later.`,
      );
    }
  }

  /** Accepts a turn. It runs as soon as its conversation and a slot are free. `interrupt` cancels the turns before it. */
  put(entry: InboxEntry, policy: TurnPolicy = 'queue'): void {
    if (policy === 'interrupt') {
      const reason = superseded();
      for (const earlier of this.#queue.waitingOf(entry.key)) earlier.cancel(reason);
      this.#queue.runningOf(entry.key)?.cancel(reason);
    }
    this.#queue.add(entry);
  }

  /** Frees the slot of a running turn, but not for other turns of its conversation. */
  suspend(entry: InboxEntry): void {
    this.#queue.suspend(entry);
  }

  /** Resolves when a suspended turn has a slot again. */
  resume(entry: InboxEntry): Promise<void> {
    return this.#queue.resume(entry);
  }

  /** Removes a waiting turn. Returns false if it already runs or is unknown. */
  withdraw(entry: InboxEntry): boolean {
    return this.#queue.remove(entry);
  }
}

/** The reason to cancel a turn under `interrupt`. */
export const superseded = (): FabricError =>
  new FabricError('TURN_CANCELLED', 'A newer message of this conversation replaced this turn.');
