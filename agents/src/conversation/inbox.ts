// Requests on their way to conversations: within one conversation turns run one at a time and in order, across
// conversations many run at once, and whatever waits is counted and bounded. It knows nothing of models or messages;
// `conversation-host.ts` decides what a turn is.
import { FabricError } from '@fame-fabric/shared';

/** What happens to a turn that arrives while another one of its conversation runs. */
export type TurnPolicy = 'queue' | 'reject' | 'interrupt';

export interface InboxOptions {
  /**
   * Turns that run at once, each in a conversation of its own. A turn mostly waits for its model, so the bound is memory,
   * not CPU; 200 conversations with a model that takes 1 s are through in 2 s.
   * @default 256
   */
  maxRunning?: number;
  /** Turns that may wait in one conversation. @default 16 */
  maxWaitingEach?: number;
  /** Turns that may wait in all. @default 4096 */
  maxWaiting?: number;
}

/** A turn as the inbox sees it. `run` must settle soon after `cancel` was called. */
export interface InboxTurn {
  run(): Promise<void>;
  /** Ends the turn early, running or waiting. */
  cancel(reason: FabricError): void;
}

interface Mailbox {
  running: InboxTurn | undefined;
  waiting: InboxTurn[];
}

export class Inbox {
  readonly #maxRunning: number;
  readonly #maxWaitingEach: number;
  readonly #maxWaiting: number;
  readonly #boxes = new Map<string, Mailbox>();
  /** Conversations that wait for a free place, in order. */
  readonly #line = new Set<string>();
  #running = 0;
  #waiting = 0;

  constructor(options: InboxOptions = {}) {
    this.#maxRunning = options.maxRunning ?? 256;
    this.#maxWaitingEach = options.maxWaitingEach ?? 16;
    this.#maxWaiting = options.maxWaiting ?? 4096;
  }

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Whether a turn of the conversation runs or waits. */
  isBusy(conversationId: string): boolean {
    return this.#boxes.has(conversationId);
  }

  /**
   * Whether one more turn would be taken. Ask before anything about the turn is written down.
   * @throws {TURN_IN_PROGRESS} under `reject`, when a turn runs or waits
   * @throws {TURN_QUEUE_FULL} when too many wait
   */
  check(conversationId: string, policy: TurnPolicy): void {
    const box = this.#boxes.get(conversationId);
    if (box && policy === 'reject') {
      throw new FabricError('TURN_IN_PROGRESS', 'Another turn of this conversation is running.');
    }
    if (box && policy === 'queue' && box.waiting.length >= this.#maxWaitingEach) {
      throw new FabricError(
        'TURN_QUEUE_FULL',
        `${this.#maxWaitingEach} turns of this conversation are waiting already.`,
      );
    }
    if (this.#waiting >= this.#maxWaiting) {
      throw new FabricError(
        'TURN_QUEUE_FULL',
        `${this.#maxWaiting} turns are waiting at this agent already.`,
      );
    }
  }

  /** Takes a turn: runs it now, or when its conversation and a place are free. Under `interrupt` it ends those before it. */
  put(conversationId: string, turn: InboxTurn, policy: TurnPolicy = 'queue'): void {
    let box = this.#boxes.get(conversationId);
    if (box && policy === 'interrupt') {
      const reason = placeTaken();
      for (const earlier of [...box.waiting]) earlier.cancel(reason);
      box.running?.cancel(reason);
      box = this.#boxes.get(conversationId);
    }
    if (!box) {
      box = { running: undefined, waiting: [] };
      this.#boxes.set(conversationId, box);
    }
    box.waiting.push(turn);
    this.#waiting += 1;
    this.#stepUp(conversationId, box);
    this.#startNext();
  }

  /** Takes back a turn that waits. `false` when it runs already or is not here. */
  withdraw(conversationId: string, turn: InboxTurn): boolean {
    const box = this.#boxes.get(conversationId);
    const index = box?.waiting.indexOf(turn) ?? -1;
    if (!box || index < 0) return false;
    box.waiting.splice(index, 1);
    this.#waiting -= 1;
    this.#dropIfEmpty(conversationId, box);
    return true;
  }

  // A conversation stands in the line once, however many of its turns wait: so no conversation can fill the line.
  #stepUp(conversationId: string, box: Mailbox): void {
    if (!box.running && box.waiting.length > 0) this.#line.add(conversationId);
  }

  #startNext(): void {
    for (const conversationId of this.#line) {
      if (this.#running >= this.#maxRunning) return;
      this.#line.delete(conversationId);
      const box = this.#boxes.get(conversationId);
      const turn = box?.waiting.shift();
      if (!box || !turn) continue;
      this.#waiting -= 1;
      box.running = turn;
      this.#running += 1;
      // A turn answers its callers itself; what it throws has been dealt with there.
      turn.run().then(
        () => this.#ended(conversationId, box),
        () => this.#ended(conversationId, box),
      );
    }
  }

  #ended(conversationId: string, box: Mailbox): void {
    box.running = undefined;
    this.#running -= 1;
    this.#stepUp(conversationId, box);
    this.#dropIfEmpty(conversationId, box);
    this.#startNext();
  }

  #dropIfEmpty(conversationId: string, box: Mailbox): void {
    if (box.running || box.waiting.length > 0) return;
    this.#boxes.delete(conversationId);
    this.#line.delete(conversationId);
  }
}

/** Why a turn is cancelled under `interrupt`. */
export const placeTaken = (): FabricError =>
  new FabricError('TURN_CANCELLED', 'A newer message of this conversation took its place.');
