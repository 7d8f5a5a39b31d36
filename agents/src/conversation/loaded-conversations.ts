// The conversations that this process has in memory and may write. A conversation is acquired at its creation or on demand, and kept
// until another process acquires it. Renewed leases protect it while its turns run. The least recently used idle ones are evicted;
// the store can load them again at any time.
import { type Clock, FabricError, isFabricError, type Logger } from '@fame-fabric/shared';
import { pause } from '@fame-fabric/shared/internal';
import type { AcquiredConversation, ConversationStore } from '../store/store.ts';
import type { TurnObserver } from '../telemetry/turn-observer.ts';
import { TurnReleased } from './live-turn.ts';
import { Conversation } from './loaded-conversation.ts';

export interface LoadedDeps {
  store: ConversationStore;
  agent: string;
  clock: Clock;
  log: Logger;
  observer: TurnObserver;
  /** Called with each loaded conversation before any caller gets it. */
  onLoaded(conversation: Conversation, acquired: AcquiredConversation): void;
}

export interface LoadedOptions {
  leaseMs: number;
  /** Longest wait for another process to release a conversation, in ms. */
  leaseWaitMs: number;
  maxIdle: number;
  maxIdleChars: number;
  maxWindowTokens: number | undefined;
}

/** Pause between two attempts to acquire a conversation that another process holds, in ms. */
const POLL_MS = 250;

export class LoadedConversations {
  readonly #deps: LoadedDeps;
  readonly #options: LoadedOptions;
  readonly #loaded = new Map<string, Conversation>();
  /** The same, by owner and public id. */
  readonly #owned = new Map<string, Conversation>();
  /** Conversations without open turns, the least recently used first. Some may have become busy since. */
  readonly #idle = new Set<Conversation>();
  /** Characters of all loaded conversations, and each one's share of them. */
  #chars = 0;
  readonly #counted = new WeakMap<Conversation, number>();
  /** Acquisitions in progress. Each waits for another process until `until`, in monotonic ms. */
  readonly #loading = new Map<string, { until: number; readonly loaded: Promise<Conversation> }>();
  /** Callers that wait until a conversation is loaded, by its id. */
  readonly #watchers = new Map<string, Set<() => void>>();
  #state: 'open' | 'closed' = 'open';

  constructor(deps: LoadedDeps, options: LoadedOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  get(id: string): Conversation | undefined {
    return this.#loaded.get(id);
  }

  /** Returns the conversation of an owner with a public id. */
  owned(principal: string, publicId: string): Conversation | undefined {
    return this.#owned.get(ownedKey({ principal, publicId }));
  }

  /** Conversations with turns that run or wait. */
  get busy(): Conversation[] {
    return [...this.#loaded.values()].filter((conversation) => conversation.open.length > 0);
  }

  /**
   * Returns the conversation with the right to write it. `epoch` is what the store reported. If it is later than ours, another
   * process has acquired the conversation since. If it is earlier, the report is older than our own acquisition.
   * @throws {CONVERSATION_UNKNOWN} @throws {STORE_CONFLICT} when another process does not release it in time
   */
  async current(id: string, epoch: number): Promise<Conversation> {
    const loaded = this.#loaded.get(id);
    if (loaded && loaded.journal.epoch >= epoch && loaded.journal.failure === undefined) {
      if (this.#idle.delete(loaded)) this.#idle.add(loaded);
      return loaded;
    }
    if (loaded) this.releaseTurns(loaded);
    return this.acquire(id, this.#options.leaseWaitMs);
  }

  /**
   * Acquires the conversation from the store. While another process holds it, tries again for `waitMs`. Concurrent calls share one
   * acquisition, which ends for all of them when the last of their waits is over.
   * @throws {CONVERSATION_UNKNOWN} @throws {STORE_CONFLICT} when another process does not release it in time
   */
  acquire(id: string, waitMs: number): Promise<Conversation> {
    const until = this.#deps.clock.monotonic() + waitMs;
    const current = this.#loading.get(id);
    if (current) {
      current.until = Math.max(current.until, until);
      return current.loaded;
    }
    const loading = { until, loaded: this.#acquire(id, (): number => loading.until) };
    this.#loading.set(id, loading);
    return loading.loaded;
  }

  async #acquire(id: string, until: () => number): Promise<Conversation> {
    const { clock } = this.#deps;
    try {
      for (;;) {
        try {
          return await this.#load(id);
        } catch (error) {
          const isHeld = isFabricError(error, 'STORE_CONFLICT');
          if (!isHeld || clock.monotonic() >= until() || this.#state === 'closed') throw error;
          const { retryAfterMs } = error.details ?? {};
          const wait = Math.min(typeof retryAfterMs === 'number' ? retryAfterMs : POLL_MS, POLL_MS);
          await pause(clock, Math.max(1, wait));
        }
      }
    } finally {
      // Remove it in the step in which it settles, so that no call joins a failed acquisition.
      this.#loading.delete(id);
    }
  }

  async #load(id: string): Promise<Conversation> {
    const { store, agent } = this.#deps;
    const acquired = await store.acquire(id, this.#options.leaseMs);
    if (acquired?.record.agent !== agent) throw unknownConversation();
    if (this.#state === 'closed') throw new FabricError('NODE_GONE', 'The agent stopped.');
    return this.#add(acquired);
  }

  /** Adds a conversation that this process has created and acquired, unless another call has already acquired it again. */
  addCreated(acquired: AcquiredConversation): void {
    const { id } = acquired.record;
    if (this.#state === 'closed' || this.#loaded.has(id) || this.#loading.has(id)) return;
    this.evict(this.#add(acquired));
  }

  #add(acquired: AcquiredConversation): Conversation {
    const { store, clock, observer, onLoaded } = this.#deps;
    const { leaseMs, maxWindowTokens } = this.#options;
    const { id } = acquired.record;
    const conversation = new Conversation(acquired, store, {
      leaseMs,
      clock,
      observer,
      maxWindowTokens,
    });
    const older = this.#loaded.get(id);
    if (older) this.drop(older);
    this.#loaded.set(id, conversation);
    this.#owned.set(ownedKey(conversation), conversation);
    this.#idle.add(conversation);
    this.#count(conversation, conversation.chars);
    onLoaded(conversation, acquired);
    for (const watcher of this.#watchers.get(id) ?? []) watcher();
    return conversation;
  }

  /** Calls `watcher` each time that the conversation is loaded. Returns the function that removes it. */
  onLoad(id: string, watcher: () => void): () => void {
    const watchers = this.#watchers.get(id) ?? new Set();
    this.#watchers.set(id, watchers.add(watcher));
    return () => {
      watchers.delete(watcher);
      if (watchers.size === 0 && this.#watchers.get(id) === watchers) this.#watchers.delete(id);
    };
  }

  /**
   * Drops a conversation that can no longer be written. Its turns stop here and stay open in the journal. If they continued, they
   * would block their successors.
   */
  releaseTurns(conversation: Conversation, reason: TurnReleased = takenOver()): void {
    for (const turn of conversation.open) turn.abort(reason);
    this.drop(conversation);
  }

  /**
   * Releases a conversation that has nothing to do, so that another process can acquire it at once. Returns false while it has open
   * turns or is being loaded.
   */
  async handOver(id: string): Promise<boolean> {
    const conversation = this.#loaded.get(id);
    if (!conversation) return !this.#loading.has(id);
    if (conversation.open.length > 0 || conversation.phase === 'ending') return false;
    this.drop(conversation);
    await this.#release(conversation, false);
    return true;
  }

  /**
   * Releases the conversations that wait for a person and have no follower. They may wait for days, and any process can load them for
   * the answer.
   */
  releaseDormant(): void {
    for (const conversation of this.busy) {
      if (conversation.isWaiting && !conversation.isFollowed) this.#releaseWaiting(conversation);
    }
  }

  /** Releases all conversations that wait for a person. Their callers get the error that the agent stops. */
  releaseWaiting(): void {
    for (const conversation of this.busy) {
      if (conversation.isWaiting) this.#releaseWaiting(conversation, stopped());
    }
  }

  #releaseWaiting(conversation: Conversation, reason?: TurnReleased): void {
    this.releaseTurns(conversation, reason);
    void this.#release(conversation, true);
  }

  drop(conversation: Conversation): void {
    if (this.#loaded.get(conversation.id) !== conversation) return;
    this.#loaded.delete(conversation.id);
    const key = ownedKey(conversation);
    if (this.#owned.get(key) === conversation) this.#owned.delete(key);
    this.#idle.delete(conversation);
    conversation.journal.close();
    this.#count(conversation, 0);
  }

  /** Evicts the least recently used idle ones beyond `maxIdle` and `maxIdleChars`. Call it when a turn of `changed` ended or was refused. */
  evict(changed: Conversation): void {
    const { maxIdle, maxIdleChars } = this.#options;
    if (changed.journal.isSpent && changed.open.length === 0) this.drop(changed);
    if (this.#loaded.get(changed.id) === changed) {
      this.#count(changed, changed.chars);
      this.#idle.delete(changed);
      if (changed.open.length === 0) this.#idle.add(changed);
    }
    // Search the idle ones only, because most of the loaded ones may be busy.
    for (const conversation of this.#idle) {
      if (this.#idle.size <= maxIdle && this.#chars <= maxIdleChars) return;
      if (conversation.open.length === 0) this.drop(conversation);
      // It is added again at the end of its turn.
      else this.#idle.delete(conversation);
    }
  }

  #count(conversation: Conversation, chars: number): void {
    this.#chars += chars - (this.#counted.get(conversation) ?? 0);
    this.#counted.set(conversation, chars);
  }

  /** Renews the leases of busy conversations; releases the turns of those that another process has acquired. */
  async renew(): Promise<void> {
    const { busy } = this;
    if (busy.length === 0) return;
    try {
      const ids = busy.map((conversation) => conversation.id);
      const kept = new Set(await this.#deps.store.renew(ids, this.#options.leaseMs));
      for (const conversation of busy) {
        if (kept.has(conversation.id) || conversation.open.length === 0) continue;
        this.releaseTurns(conversation);
      }
    } catch (error) {
      this.#deps.log.warn('leases of conversations could not be renewed', { error });
    }
  }

  /** Releases running turns, open in the journal, and all conversations. */
  async close(): Promise<void> {
    this.#state = 'closed';
    const { busy } = this;
    // No answer can arrive while no process runs.
    const dormant = new Set(busy.filter(({ isWaiting }) => isWaiting));
    const open = busy.flatMap((conversation) => conversation.open);
    for (const turn of open) turn.abort(stopped());
    await Promise.all(open.map((turn) => turn.outcome));
    await Promise.all(busy.map((conversation) => this.#release(conversation, dormant.has(conversation))));
    for (const { journal } of this.#loaded.values()) journal.close();
    this.#loaded.clear();
    this.#owned.clear();
  }

  async #release({ id: conversationId, journal }: Conversation, isDormant: boolean): Promise<void> {
    try {
      await journal.append([], { release: true, isDormant });
    } catch (error) {
      const message = 'a conversation was not released; its lease expires by itself';
      this.#deps.log.debug(message, { conversationId, error });
    }
  }
}

const ownedKey = ({ principal, publicId }: Pick<Conversation, 'principal' | 'publicId'>): string =>
  JSON.stringify([principal, publicId]);

const stopped = (): TurnReleased =>
  new TurnReleased('NODE_GONE', 'The agent stopped. Ask again with the same turn id.');

const takenOver = (): TurnReleased =>
  new TurnReleased(
    'STORE_CONFLICT',
    'Another process has acquired the conversation. Ask again with the same turn id.',
  );

export const unknownConversation = (): FabricError =>
  new FabricError('CONVERSATION_UNKNOWN', 'There is no conversation with that id, or it has ended.');

export const unknownTurn = (): FabricError =>
  new FabricError('TURN_UNKNOWN', 'The conversation has no turn with that id.');
