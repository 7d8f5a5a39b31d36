// One subscription to a task: a bounded queue of events. The task never waits, and the caller reads at its own pace.
import { FabricError, type TaskEvent } from '@fame-fabric/shared';
import { Channel, onAbort } from '@fame-fabric/shared/internal';

const MAX_BEHIND = 1_000;

export class Subscriber {
  /** Mailbox of the caller, by which `tasks/sendUnsubscribe` finds the subscription. */
  readonly replyTo: string;
  readonly #events = new Channel<TaskEvent>({
    name: 'the events of a task',
    limit: MAX_BEHIND,
    overflow: (limit) =>
      new FabricError(
        'QUOTA_EXCEEDED',
        `The subscriber is more than ${limit} events behind; tasks/resubscribe continues from the current state`,
      ),
  });

  constructor(replyTo: string) {
    this.replyTo = replyTo;
  }

  /** Queues an event. Events after the final one are dropped. */
  publish(event: TaskEvent): void {
    this.#events.push(event);
    if ('final' in event && event.final) this.end();
  }

  end(): void {
    this.#events.end();
  }

  /** Iterates over the events until the final one, `end` or an abort. @throws {QUOTA_EXCEEDED} if the reader falls behind */
  async *events(signal: AbortSignal): AsyncGenerator<TaskEvent> {
    const stopListening = onAbort(signal, () => void this.#events.return());
    try {
      yield* this.#events;
    } finally {
      stopListening();
    }
  }
}
