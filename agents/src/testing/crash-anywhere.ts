// Runs a turn through crashes of its process. Each process writes to the journal until its store crashes, and the last process
// completes the turn.
import { ManualClock, settle } from '@fame-fabric/shared/testing';
import type { ConversationEvent } from '../conversation/conversation.ts';
import { ConversationHost } from '../conversation/host.ts';
import { MemoryStore } from '../store/memory-store.ts';
import type { Append, JournalEvent } from '../store/store.ts';
import type { TurnRunner } from '../turn/turn.ts';

/** A store that crashes at an append: before the append is durable, or right after. */
export class CrashingStore extends MemoryStore {
  /** Events until the crash. */
  eventsLeft = Number.POSITIVE_INFINITY;
  /** True if the append that crashes is durable. */
  isDurable = true;

  override async append(append: Append): Promise<void> {
    this.eventsLeft -= append.events.length;
    if (this.eventsLeft > 0) return super.append(append);
    if (this.isDurable && this.eventsLeft > -append.events.length) await super.append(append);
    await this.close();
    return new Promise(() => {});
  }
}

/** Makes a clock that advances by 50 ms with each reading, and whose short timers fire at once, so that each piece of text is a row. */
export function tickingClock(): ManualClock {
  const clock = new ManualClock();
  const [now, monotonic] = [clock.now.bind(clock), clock.monotonic.bind(clock)];
  let readings = 0;
  clock.now = () => now() + 50 * readings++;
  clock.monotonic = () => monotonic() + 50 * readings++;
  const after = clock.after.bind(clock);
  clock.after = (ms, job) => {
    if (ms > 1_000) return after(ms, job);
    let isStopped = false;
    queueMicrotask(() => {
      if (!isStopped) job();
    });
    return {
      stop: () => {
        isStopped = true;
      },
    };
  };
  return clock;
}

interface CrashOptions {
  /** Makes the runner of the process with that number, from 0. */
  runner(process: number): TurnRunner;
  userMessage: string;
  /** For each process that crashes, the number of its event that crashes it. One more process completes the turn. */
  crashesAt: readonly number[];
  /** True if the event that crashes a process is durable. */
  isDurable: boolean;
}

export interface Survived {
  /** The text that a follower of all processes received. */
  readonly streamed: string;
  /** The text of the recorded outcome. */
  readonly recorded: string;
  readonly journal: readonly JournalEvent[];
  /** The messages that the model receives in the next turn. */
  readonly messages: readonly unknown[];
}

/** Runs a turn through the crashes, and approves its calls. @throws {Error} when the turn does not complete, or its events have a gap */
export async function surviveCrashes(options: CrashOptions): Promise<Survived> {
  const { runner, userMessage, crashesAt, isDurable } = options;
  const seen: ConversationEvent[] = [];
  const asked = new Set<string>();
  let store = new CrashingStore();
  for (const [process, eventsLeft] of [...crashesAt, Number.POSITIVE_INFINITY].entries()) {
    const host = new ConversationHost(
      { runner: runner(process), store, agent: 'crash@fame.fabric', clock: tickingClock() },
      {},
    );
    if (process === 0) {
      const settings = { systemPrompt: 'Be brief.', maxHistoryLength: 10, turnPolicy: 'queue' as const };
      await host.start({ id: 'c', callId: 'start', options: settings });
    }
    store.eventsLeft = eventsLeft;
    store.isDurable = isDurable;
    const current = store;
    const follow = async (): Promise<void> => {
      await host.recover();
      const turn = await host.turn({ conversationId: 'c', userMessage, turnId: 't' });
      const approve = (callId: string): void => {
        const answer = { conversationId: 'c', callId, approve: true, principal: 'local' };
        // An answer that a crash lost is given again to the next process.
        void host.answerApproval(answer).catch(() => undefined);
      };
      for (const callId of asked) approve(callId);
      for await (const event of turn.follow(seen.at(-1)?.seq ?? 0)) {
        // A crashed process sends nothing. The error that its host sends here is an artifact of the test.
        if (current.eventsLeft <= 0 || event.type === 'error') continue;
        seen.push(event);
        if (event.type !== 'approval') continue;
        asked.add(event.id);
        approve(event.id);
      }
    };
    if (process < crashesAt.length) {
      void follow().catch(() => undefined);
      for (let i = 0; i < 12; i++) await settle();
      await store.close();
      store = new CrashingStore({ sharedWith: store });
      continue;
    }
    await follow();
    const journal = await store.read('c', { limit: 10_000 });
    const messages = await host.reads.messages('c');
    await host.close();
    const last = seen.at(-1);
    if (last?.type !== 'done')
      throw new Error(`the turn did not complete: ${JSON.stringify(journal.at(-1))}`);
    if (journal.some(({ seq }, index) => seq !== index + 1)) throw new Error('the journal has a gap');
    return { streamed: textSeen(seen), recorded: last.text, journal, messages };
  }
  throw new Error('not reached');
}

/** Returns the text that a follower has at the end, with restarts applied. */
export const textSeen = (events: readonly ConversationEvent[]): string =>
  events.reduce((text, event) => {
    if (event.type === 'text') return text + event.text;
    return event.type === 'restart' ? text.slice(0, event.keep) : text;
  }, '');
