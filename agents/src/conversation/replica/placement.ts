// The process that holds a conversation, as a replica sees it.
import type { ConversationStore } from '../../store/store.ts';
import type { LoadedConversations } from '../loaded-conversations.ts';

export interface PlacementDeps {
  readonly store: ConversationStore;
  readonly conversations: LoadedConversations;
  /** Aborts when the agent begins to stop. */
  readonly stopping: AbortSignal;
}

export class Placement {
  readonly #deps: PlacementDeps;
  #replicaKey: Promise<string> | undefined;

  constructor(deps: PlacementDeps) {
    this.#deps = deps;
  }

  /** Id of the writer of this process. */
  get own(): string {
    return this.#deps.store.holder;
  }

  /** True once the agent begins to stop. It then releases the conversations that have nothing to do. */
  get isStopping(): boolean {
    return this.#deps.stopping.aborted;
  }

  /** True if this process has the conversation in memory and has not failed to write it. */
  isHere(id: string): boolean {
    const loaded = this.#deps.conversations.get(id);
    return loaded !== undefined && loaded.journal.failure === undefined;
  }

  /** Returns the id of the live writer that holds a conversation. @throws {STORE_UNAVAILABLE} */
  async holderOf(id: string): Promise<string | undefined> {
    return (await this.#deps.store.peek(id))?.holder;
  }

  /** Returns the id of the live writer that holds a conversation, if it is another one. @throws {STORE_UNAVAILABLE} */
  async elsewhere(id: string): Promise<string | undefined> {
    const holder = await this.holderOf(id);
    return holder === this.own ? undefined : holder;
  }

  /** Releases a conversation without open turns, so that another replica can acquire it at once. Returns false if it has some. */
  handOver(id: string): Promise<boolean> {
    return this.#deps.conversations.handOver(id);
  }

  /**
   * Returns the secret that the replicas share. It never changes, so the store is asked once: a node that is no replica must not cause a
   * write with each call. @throws {STORE_UNAVAILABLE}
   */
  async replicaKey(): Promise<string> {
    this.#replicaKey ??= this.#deps.store.replicaKey();
    const key = this.#replicaKey;
    try {
      return await key;
    } catch (error) {
      if (this.#replicaKey === key) this.#replicaKey = undefined;
      throw error;
    }
  }
}
