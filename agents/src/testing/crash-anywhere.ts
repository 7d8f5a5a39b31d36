// Lives a turn through deaths of its process: each process writes to the journal until its store dies, and the last one lives.
import { ManualClock, settle } from '@fame-fabric/shared/testing';
import type { ConversationEvent } from '../conversation/conversation.ts';
import { ConversationHost } from '../conversation/host.ts';
import { MemoryStore } from '../store/memory-store.ts';
import type { Append, JournalEvent } from '../store/store.ts';
import type { TurnRunner } from '../turn/turn.ts';

/** A store whose process dies at an append: before it is durable, or right after. */
export class DyingStore extends MemoryStore {
  /** Events until its death. */
  left = Number.POSITIVE_INFINITY;
  isWritten = true;

  override async append(append: Append): Promise<void> {
    this.left -= append.events.length;
    if (this.left > 0) return super.append(append);
    if (this.isWritten && this.left > -append.events.length) await super.append(append);
    await this.close();
    return new Promise(() => {});
  }
}

/** A clock by which 50 ms pass at every look, so that each piece of text is written by itself. */
export function hastyClock(): ManualClock {
  const clock = new ManualClock();
  const now = clock.now.bind(clock);
  let looks = 0;
  clock.now = () => now() + 50 * looks++;
  return clock;
}

export interface CrashOptions {
  /** Makes the runner of the process with that number, from 0. */
  runner(process: number): TurnRunner;
  userMessage: string;
  /** At which of its events each process dies; another one follows that lives. */
  deaths: readonly number[];
  /** True if the event at which a process dies is durable. */
  isWritten: boolean;
}

export interface Survived {
  /** The text that a follower of all processes put together. */
  readonly streamed: string;
  /** The text of the recorded outcome. */
  readonly recorded: string;
  readonly journal: readonly JournalEvent[];
  /** The messages that the model is shown in the next turn. */
  readonly messages: readonly unknown[];
}

/** @throws {Error} when the turn does not complete, or its events leave a gap */
export async function surviveCrashes(options: CrashOptions): Promise<Survived> {
  const { runner, userMessage, deaths, isWritten } = options;
  const lives = [...deaths, Number.POSITIVE_INFINITY];
  const seen: ConversationEvent[] = [];
  let store = new DyingStore();
  for (const [process, life] of lives.entries()) {
    const host = new ConversationHost(
      { runner: runner(process), store, agent: 'crash@fame.fabric', clock: hastyClock() },
      {},
    );
    if (process === 0) {
      const settings = { systemPrompt: 'Be brief.', maxHistoryLength: 10, turnPolicy: 'queue' as const };
      await host.start({ id: 'c', callId: 'start', options: settings });
    }
    store.left = life;
    store.isWritten = isWritten;
    const living = store;
    const follow = async (): Promise<void> => {
      await host.recover();
      const turn = await host.turn({ conversationId: 'c', userMessage, turnId: 't' });
      for await (const event of turn.follow(seen.at(-1)?.seq ?? 0)) {
        // The dead send nothing; an error here is only how the host ends its callers.
        if (living.left > 0 && event.type !== 'error') seen.push(event);
      }
    };
    if (process < deaths.length) {
      void follow().catch(() => undefined);
      for (let i = 0; i < 12; i++) await settle();
      await store.close();
      store = new DyingStore({ sharedWith: store });
      continue;
    }
    await follow();
    const journal = await store.read('c', { limit: 10_000 });
    const messages = await host.messages('c');
    await host.close();
    const last = seen.at(-1);
    if (last?.type !== 'done')
      throw new Error(`the turn did not complete: ${JSON.stringify(journal.at(-1))}`);
    if (journal.some(({ seq }, index) => seq !== index + 1)) throw new Error('the journal has a gap');
    return { streamed: textSeen(seen), recorded: last.text, journal, messages };
  }
  throw new Error('not reached');
}

/** The text that a follower ends up with, whatever was taken back on the way. */
export const textSeen = (events: readonly ConversationEvent[]): string =>
  events.reduce((text, event) => {
    if (event.type === 'text') return text + event.text;
    return event.type === 'restart' ? text.slice(0, event.keep) : text;
  }, '');
