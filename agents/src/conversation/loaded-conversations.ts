// The conversations that this process has in memory and may write to. One is read from the store when it is needed, kept
// as long as nobody else took it, held on to while its turns run, and forgotten when it was idle longest; what it is comes
// from the store again at any time.

import { type Clock, FabricError, isFabricError, type Logger } from '@fame-fabric/shared';
import { pause } from '@fame-fabric/shared/internal';
import type { AcquiredConversation, ConversationStore } from '../store/store.ts';
import { TurnHandedOff } from './live-turn.ts';
import { Conversation } from './loaded-conversation.ts';

export interface HeldDeps {
  store: ConversationStore;
  agent: string;
  clock: Clock;
  log: Logger;
  /** Whether a turn of the conversation runs or waits. */
  isBusy(conversationId: string): boolean;
  /** Called for each conversation that was read, before anybody gets it. */
  onWoken(conversation: Conversation, waking: AcquiredConversation): void;
}

export interface HeldOptions {
  leaseMs: number;
  /** How long to wait for another process to let go, in ms. */
  leaseWaitMs: number;
  maxIdle: number;
  maxIdleChars: number;
  maxWindowTokens: number | undefined;
}

/** Pause between two looks at a conversation that another process holds, in ms. */
const POLL_MS = 250;

export class HeldConversations {
  readonly #deps: HeldDeps;
  readonly #options: HeldOptions;
  /** The longest unused first. */
  readonly #held = new Map<string, Conversation>();
  /** What those held take in memory, in characters, and what of it each was counted with. */
  #chars = 0;
  readonly #counted = new WeakMap<Conversation, number>();
  readonly #waking = new Map<string, Promise<Conversation>>();
  #isClosed = false;

  constructor(deps: HeldDeps, options: HeldOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  get(id: string): Conversation | undefined {
    return this.#held.get(id);
  }

  /** Those with turns that run or wait. */
  get busy(): Conversation[] {
    return [...this.#held.values()].filter((conversation) => conversation.open.length > 0);
  }

  /**
   * Returns the conversation, acquired for writing. `epoch` is what the store reported last: a later one than ours means
   * that another process acquired it since; an earlier one is a late answer from before our own acquisition.
   * @throws {CONVERSATION_UNKNOWN} @throws {STORE_CONFLICT} when another process does not let go in time
   */
  async hold(id: string, epoch: number): Promise<Conversation> {
    const held = this.#held.get(id);
    if (held && held.journal.epoch >= epoch && held.journal.failure === undefined) {
      // The latest used stands last.
      this.#held.delete(id);
      this.#held.set(id, held);
      return held;
    }
    if (held) this.leave(held);
    return this.wake(id, this.#options.leaseWaitMs);
  }

  /** Reads the conversation and takes it. Asked twice at one moment, it is read once. */
  wake(id: string, waitMs: number): Promise<Conversation> {
    let waking = this.#waking.get(id);
    if (!waking) {
      waking = this.#wake(id, waitMs).finally(() => this.#waking.delete(id));
      this.#waking.set(id, waking);
    }
    return waking;
  }

  async #wake(id: string, waitMs: number): Promise<Conversation> {
    const { clock } = this.#deps;
    const until = clock.now() + waitMs;
    for (;;) {
      try {
        return await this.#read(id);
      } catch (error) {
        const isHeld = isFabricError(error, 'STORE_CONFLICT');
        if (!isHeld || clock.now() >= until || this.#isClosed) throw error;
        const { retryAfterMs } = error.details ?? {};
        const wait = Math.min(typeof retryAfterMs === 'number' ? retryAfterMs : POLL_MS, POLL_MS);
        await pause(clock, Math.max(1, wait));
      }
    }
  }

  async #read(id: string): Promise<Conversation> {
    const { store, agent, clock, onWoken } = this.#deps;
    const { leaseMs, maxWindowTokens } = this.#options;
    const waking = await store.acquire(id, leaseMs);
    if (waking?.record.agent !== agent) throw unknownConversation();
    if (this.#isClosed) throw new FabricError('NODE_GONE', 'The agent stopped.');
    const conversation = new Conversation(waking, store, {
      leaseMs,
      now: () => clock.now(),
      maxWindowTokens,
    });
    const older = this.#held.get(id);
    if (older) this.drop(older);
    this.#held.set(id, conversation);
    this.#count(conversation, conversation.chars);
    onWoken(conversation, waking);
    return conversation;
  }

  /**
   * Drops a conversation that can no longer be written. Its turns stop here and stay open in the journal; they would hold
   * up whoever goes on with them.
   */
  leave(conversation: Conversation, reason: TurnHandedOff = takenOver()): void {
    for (const turn of conversation.open) turn.abort(reason);
    this.drop(conversation);
  }

  drop(conversation: Conversation): void {
    if (this.#held.get(conversation.id) !== conversation) return;
    this.#held.delete(conversation.id);
    this.#count(conversation, 0);
  }

  /** Forgets the longest unused ones beyond `maxIdle` and `maxIdleChars`; `changed` is the one that a turn has ended in. */
  evict(changed: Conversation): void {
    const { maxIdle, maxIdleChars } = this.#options;
    if (this.#held.get(changed.id) === changed) this.#count(changed, changed.chars);
    if (this.#held.size <= maxIdle && this.#chars <= maxIdleChars) return;
    for (const conversation of this.#held.values()) {
      if (!this.#deps.isBusy(conversation.id)) this.drop(conversation);
      if (this.#held.size <= maxIdle && this.#chars <= maxIdleChars) return;
    }
  }

  #count(conversation: Conversation, chars: number): void {
    this.#chars += chars - (this.#counted.get(conversation) ?? 0);
    this.#counted.set(conversation, chars);
  }

  /** Holds on to those that are worked on; leaves the turns of those that somebody else has taken. */
  async renew(): Promise<void> {
    const { busy } = this;
    if (busy.length === 0) return;
    try {
      const ids = busy.map((conversation) => conversation.id);
      const kept = new Set(await this.#deps.store.renew(ids, this.#options.leaseMs));
      for (const conversation of busy) {
        if (kept.has(conversation.id) || conversation.open.length === 0) continue;
        this.leave(conversation);
      }
    } catch (error) {
      this.#deps.log.warn('leases of conversations could not be renewed', { error });
    }
  }

  /** Leaves what runs, open in the journal, and lets go of everything. */
  async close(): Promise<void> {
    this.#isClosed = true;
    const { busy } = this;
    const open = busy.flatMap((conversation) => conversation.open);
    const reason = new TurnHandedOff('NODE_GONE', 'The agent stopped; ask again with the same turn id.');
    for (const turn of open) turn.abort(reason);
    await Promise.all(open.map((turn) => turn.outcome));
    await Promise.all(
      busy.map(async ({ id: conversationId, journal }) => {
        try {
          await journal.append([], { release: true });
        } catch (error) {
          const message = 'a conversation was not let go of; its lease ends by itself';
          this.#deps.log.debug(message, { conversationId, error });
        }
      }),
    );
    this.#held.clear();
  }
}

const takenOver = (): TurnHandedOff =>
  new TurnHandedOff('STORE_CONFLICT', 'Another process took the conversation over.');

export const unknownConversation = (): FabricError =>
  new FabricError('CONVERSATION_UNKNOWN', 'There is no conversation with that id, or it has ended.');
