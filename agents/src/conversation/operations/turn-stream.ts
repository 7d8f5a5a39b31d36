// The events of a turn for one call of `run_turn_stream`.
import type { ItemSource } from '../../agent/answer.ts';
import type { ConversationEvent } from '../conversation.ts';
import type { ConversationHost } from '../host.ts';
import type { LiveTurn } from '../live-turn.ts';
import type { ProgressEvent, ProgressKind } from '../turn-progress.ts';
import { checkNotMoved, onLeave } from './turn-calls.ts';

type TurnStreamEvent = ConversationEvent | ProgressEvent;

/** Follows a turn until its end. The caller counts as a follower from the construction until one of the two readings has ended. */
export class TurnStream implements ItemSource<TurnStreamEvent> {
  readonly #host: ConversationHost;
  readonly #turn: LiveTurn;
  readonly #signal: AbortSignal;
  readonly #after: number;
  readonly #include: readonly ProgressKind[];
  readonly #leaving: { stop(): void };

  constructor(
    host: ConversationHost,
    turn: LiveTurn,
    signal: AbortSignal,
    {
      after = 0,
      include = [],
    }: { after?: number | undefined; include?: readonly ProgressKind[] | undefined },
  ) {
    this.#host = host;
    this.#turn = turn;
    this.#signal = signal;
    this.#after = after;
    this.#include = include;
    this.#leaving = onLeave(host, turn, signal);
  }

  /** @throws {STORE_CONFLICT} for a turn that another replica continues */
  async deliver(
    take: (event: TurnStreamEvent) => Promise<unknown> | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const checkAndTake = (event: TurnStreamEvent): Promise<unknown> | undefined => {
      checkNotMoved(this.#host, this.#turn, event);
      return take(event);
    };
    try {
      if (this.#include.length === 0) {
        await this.#turn.deliver(this.#after, checkAndTake, signal);
        return;
      }
      for await (const event of this.#turn.follow(this.#after, signal, this.#include)) {
        await checkAndTake(event);
      }
    } finally {
      this.#leaving.stop();
    }
  }

  /** @throws {STORE_CONFLICT} for a turn that another replica continues */
  async *[Symbol.asyncIterator](): AsyncGenerator<TurnStreamEvent, void> {
    try {
      for await (const event of this.#turn.follow(this.#after, this.#signal, this.#include)) {
        checkNotMoved(this.#host, this.#turn, event);
        yield event;
      }
    } finally {
      this.#leaving.stop();
    }
  }
}
