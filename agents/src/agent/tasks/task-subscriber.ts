// One listener of a task: a bounded line of events between the task, which never waits, and a caller that reads at its
// own pace.
import { FabricError, type TaskEvent } from '@fame-fabric/shared';

const MAX_BEHIND = 1000;

export class Subscriber {
  /** Who listens; `tasks/sendUnsubscribe` finds it by this. */
  readonly replyTo: string;
  #events: TaskEvent[] = [];
  #wake: (() => void) | undefined;
  #state: 'open' | 'ended' | 'overrun' = 'open';

  constructor(replyTo: string) {
    this.replyTo = replyTo;
  }

  /** Queues an event. The final one is the last that counts. */
  offer(event: TaskEvent): void {
    if (this.#state !== 'open') return;
    if (this.#events.length >= MAX_BEHIND) this.#state = 'overrun';
    else {
      this.#events.push(event);
      if ('final' in event && event.final) this.#state = 'ended';
    }
    this.#wake?.();
  }

  end(): void {
    if (this.#state === 'open') this.#state = 'ended';
    this.#wake?.();
  }

  /** The events in order, until the final one, `end` or an abort. @throws {QUOTA_EXCEEDED} when the reader fell behind */
  async *events(signal: AbortSignal): AsyncGenerator<TaskEvent> {
    const onAbort = (): void => {
      this.#events = [];
      this.end();
    };
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      for (;;) {
        const batch = this.#events;
        this.#events = [];
        yield* batch;
        if (this.#events.length > 0) continue;
        if (this.#state === 'overrun') {
          throw new FabricError(
            'QUOTA_EXCEEDED',
            `The subscriber fell ${MAX_BEHIND} events behind; tasks/resubscribe goes on from the current state`,
          );
        }
        if (this.#state === 'ended') return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }
}
