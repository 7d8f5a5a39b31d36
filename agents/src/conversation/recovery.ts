// Recovery of the turns that earlier processes left open. It runs concurrently with new turns. It loads few conversations at a time,
// and the next ones when their turns have ended, so thousands of open turns neither delay the agent nor fill its memory.
import type { Logger } from '@fame-fabric/shared';
import type { ConversationStore } from '../store/store.ts';
import type { Conversation } from './loaded-conversation.ts';
import type { LoadedConversations } from './loaded-conversations.ts';

/** Conversations that are recovered at the same time. The other slots of the inbox are for new turns. */
const AT_ONCE = 64;
/** Number of ids that one search of the store returns. */
const PAGE = 1_024;

export interface RecoveryDeps {
  readonly store: ConversationStore;
  readonly agent: string;
  readonly conversations: LoadedConversations;
  readonly log: Logger;
}

export class Recovery {
  readonly #deps: RecoveryDeps;
  #running: Promise<void> | undefined;
  #recovering = 0;
  /** Called when a conversation has been recovered. */
  #onFree: (() => void) | undefined;
  #state: 'open' | 'closed' = 'open';

  constructor(deps: RecoveryDeps) {
    this.#deps = deps;
  }

  /**
   * Loads every conversation with open turns that no process holds. Resolves when all of their turns have been started. Concurrent
   * calls share one run. @throws {STORE_UNAVAILABLE}
   */
  run(): Promise<void> {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  close(): void {
    this.#state = 'closed';
    this.#onFree?.();
  }

  async #run(): Promise<void> {
    const { store, agent, conversations, log } = this.#deps;
    const loads = new Map<string, Promise<unknown>>();
    let failed = 0;
    for (;;) {
      // The next page starts with those that could not be acquired.
      const ids = await store.unfinished(agent, PAGE + failed);
      const fresh = ids.filter((id) => {
        // An idle copy in memory is older than the open turn of another process.
        return !loads.has(id) && (conversations.get(id)?.open.length ?? 0) === 0;
      });
      if (fresh.length === 0) break;
      log.info('unfinished turns found', { conversations: fresh.length });
      for (const id of fresh) {
        while (this.#recovering >= AT_ONCE && this.#state === 'open') await this.#freePlace();
        if (this.#state === 'closed') return;
        const load = this.#recover(id).then((isLoaded) => {
          if (!isLoaded) failed += 1;
        });
        loads.set(id, load);
      }
      await Promise.all(loads.values());
    }
  }

  /** Loads one conversation, which takes a slot until its turns have ended. Resolves to false if it could not be loaded. */
  async #recover(id: string): Promise<boolean> {
    const { conversations, log } = this.#deps;
    this.#recovering += 1;
    let conversation: Conversation;
    try {
      conversation = await conversations.acquire(id, 0);
    } catch (error) {
      // Another process was faster, or the conversation is gone. Both are fine.
      log.debug('a conversation could not be acquired', { conversationId: id, error });
      this.#leave();
      return false;
    }
    const ended = Promise.all(conversation.open.map((turn) => turn.outcome));
    // A turn that waits for a person may wait for days.
    void Promise.race([ended, conversation.firstWait.promise]).then(() => this.#leave());
    return true;
  }

  #leave(): void {
    this.#recovering -= 1;
    this.#onFree?.();
  }

  #freePlace(): Promise<void> {
    return new Promise((resolve) => {
      this.#onFree = resolve;
    });
  }
}
