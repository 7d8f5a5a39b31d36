// Recovery of the turns that earlier processes left open. It runs concurrently with new turns. It loads few conversations at a time,
// and the next ones when their turns have ended, so thousands of open turns neither delay the agent nor fill its memory.
//
// The replicas of an agent recover the turns of one that has died at the same time. Each takes a few random conversations, pauses, and
// searches again, so the turns are spread over the replicas and few acquisitions are refused.
import { randomInt } from 'node:crypto';
import type { Clock, Logger, Timer } from '@fame-fabric/shared';
import { backoffDelayMs, pause } from '@fame-fabric/shared/internal';
import type { ConversationStore } from '../store/store.ts';
import type { Conversation } from './loaded-conversation.ts';
import type { LoadedConversations } from './loaded-conversations.ts';

/** Conversations that are recovered at the same time. The other slots of the inbox are for new turns. */
const AT_ONCE = 64;
/** Number of ids that one search of the store returns. */
const PAGE = 1_024;

/** The same limits for one of several replicas: their users wait for the turns. */
const SHARED_AT_ONCE = 512;
const SHARED_PAGE = 256;
/** Part of the found conversations that a replica takes before it pauses, and the maximum number of them. */
const SHARE = 1 / 4;
const BATCH = 16;
/** Longest pause between two batches, and longest wait after a notification of the store, in ms. */
const PAUSE_MS = 150;
/** Longest pause between two searches, in ms. The replica that finds the turns first must not have taken all of them by then. */
const SEARCH_MS = 500;

export interface RecoveryDeps {
  readonly store: ConversationStore;
  readonly agent: string;
  readonly conversations: LoadedConversations;
  readonly log: Logger;
  readonly clock: Clock;
  /** True if other replicas recover the same turns. */
  readonly isShared: boolean;
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

  /** Searches periodically, and when the store reports a release. Stop the returned timer at the end. */
  repeat(onError: (error: unknown) => void): Timer {
    const { clock, store } = this.#deps;
    let timer: Timer | undefined;
    const search = (): void => {
      timer?.stop();
      timer = undefined;
      this.run()
        .catch(onError)
        .then(() => schedule(varied(SEARCH_MS)));
    };
    const schedule = (ms: number): void => {
      if (this.#state === 'open') timer ??= clock.after(ms, search);
    };
    const stopListening = store.onRelease?.(() => {
      timer?.stop();
      timer = undefined;
      schedule(varied(PAUSE_MS));
    });
    schedule(varied(SEARCH_MS));
    return {
      stop: () => {
        stopListening?.();
        timer?.stop();
      },
    };
  }

  close(): void {
    this.#state = 'closed';
    this.#onFree?.();
  }

  async #run(): Promise<void> {
    const { store, agent, conversations, log, clock, isShared } = this.#deps;
    const atOnce = isShared ? SHARED_AT_ONCE : AT_ONCE;
    const page = isShared ? SHARED_PAGE : PAGE;
    const loads = new Map<string, Promise<unknown>>();
    let failed = 0;
    for (;;) {
      // The next page starts with those that could not be acquired.
      const ids = await store.unfinished(agent, page + failed);
      const fresh = ids.filter((id) => {
        // An idle copy in memory is older than the open turn of another process.
        return !loads.has(id) && (conversations.get(id)?.open.length ?? 0) === 0;
      });
      if (fresh.length === 0) break;
      if (loads.size === 0 || !isShared) log.info('unfinished turns found', { conversations: fresh.length });
      for (const id of isShared ? someOf(fresh, Math.min(BATCH, Math.ceil(fresh.length * SHARE))) : fresh) {
        while (this.#recovering >= atOnce && this.#state === 'open') await this.#freePlace();
        if (this.#state === 'closed') return;
        const load = this.#recover(id).then((isLoaded) => {
          if (!isLoaded) failed += 1;
        });
        loads.set(id, load);
      }
      await Promise.all(loads.values());
      if (isShared) await pause(clock, varied(PAUSE_MS));
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

/** Half of a pause is random, so that the replicas do not search together. */
const varied = (ms: number): number => backoffDelayMs(0, { minMs: ms, maxMs: ms });

/** Returns `count` random items. */
function someOf<T>(items: readonly T[], count: number): readonly T[] {
  const left = [...items];
  const some: T[] = [];
  while (some.length < count && left.length > 0) {
    some.push(...left.splice(randomInt(left.length), 1));
  }
  return some;
}
