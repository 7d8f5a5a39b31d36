// Reads one turn to its end, in several attempts if necessary. After a loss of the agent or the sentinel it requests the same
// turn id from the last event on, so no event is yielded twice and no work is done twice.
import { type Clock, FabricError, isErrorCode, isFabricError } from '@fame-fabric/shared';
import { Backoff, pause } from '@fame-fabric/shared/internal';
import type { ChatOperations, TurnRequest } from './chat-operations.ts';
import { isAwayCode, type TurnEvent } from './turn-event.ts';

export interface TurnReaderOptions {
  /** `seq` of the last event that the caller already has. */
  after: number;
  /** Longest absence of the agent, in ms. */
  reconnectTimeoutMs: number;
  clock: Clock;
  /** Called once each time that the reader starts to wait for the agent. */
  onAgentAway: () => void;
}

const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 2_000;

/** The reader of one turn. */
export class TurnReader {
  readonly #operations: ChatOperations;
  readonly #request: TurnRequest;
  readonly #options: TurnReaderOptions;
  readonly #backoff = new Backoff({ minMs: RETRY_MIN_MS, maxMs: RETRY_MAX_MS });
  #text = '';
  /** `seq` of the last event. Stays 0 for agents that do not number events. */
  #lastSeq: number;
  #awaySince: number | undefined;

  constructor(operations: ChatOperations, request: TurnRequest, options: TurnReaderOptions) {
    this.#operations = operations;
    this.#request = request;
    this.#options = options;
    this.#lastSeq = options.after;
  }

  /** Yields the events of the turn; the last one is `done`. @throws the error that ended the turn, or the last attempt */
  async *events(): AsyncGenerator<TurnEvent, void> {
    if (this.#operations.canStream) {
      try {
        yield* this.#streamedEvents();
        return;
      } catch (error) {
        if (!isFabricError(error, 'METHOD_NOT_FOUND')) throw error;
        this.#operations.canStream = false;
      }
    }
    yield { type: 'done', text: await this.#operations.runTurn(this.#request) };
  }

  async *#streamedEvents(): AsyncGenerator<TurnEvent, void> {
    let after = this.#lastSeq;
    for (;;) {
      const seqBefore = this.#lastSeq;
      try {
        const hasEnded = yield* this.#attempt(after);
        if (hasEnded) return;
        // No event follows the last one, so the turn has ended, but `done` was not received. Request the whole turn again.
        after = 0;
        continue;
      } catch (error) {
        this.#checkRetry(error, this.#lastSeq !== seqBefore);
        after = this.#lastSeq;
      }
      await pause(this.#options.clock, this.#backoff.nextDelayMs(), this.#request.signal);
    }
  }

  /** @throws `error` if another attempt is pointless */
  #checkRetry(error: unknown, hasProgressed: boolean): void {
    const { clock, reconnectTimeoutMs, onAgentAway } = this.#options;
    const now = clock.monotonic();
    if (hasProgressed || this.#awaySince === undefined) {
      this.#awaySince = now;
      this.#backoff.reset();
    }
    if (!this.#isAway(error, hasProgressed) || now - this.#awaySince >= reconnectTimeoutMs) throw error;
    if (this.#backoff.attempt === 0) onAgentAway();
  }

  // True if the agent, or the connection to it, is temporarily lost.
  #isAway(error: unknown, hasProgressed: boolean): boolean {
    if (!isFabricError(error)) return false;
    const { connection, hasAnswered } = this.#operations;
    if (connection.state === 'closed' || connection.state === 'draining') return false;
    if (error.code === 'NO_ROUTE') return hasAnswered;
    // An agent of version 0.1 also reports NODE_BUSY for a reader that is too slow. Another attempt would not make it faster.
    if (error.code === 'NODE_BUSY') return hasAnswered && !hasProgressed;
    return isAwayCode(error.code);
  }

  /**
   * Yields the new events of one attempt. Returns true if the turn ended in it. Reads the stream to its end even after `done`,
   * because leaving it early would cancel the call.
   * @throws the error of an error event
   */
  async *#attempt(after: number): AsyncGenerator<TurnEvent, boolean> {
    let isDone = false;
    let count = 0;
    try {
      for await (const item of this.#operations.runTurnStream(this.#request, after)) {
        const event = item as { type?: unknown; [field: string]: unknown };
        count++;
        if (event.type === 'error') throw errorOf(event);
        if (typeof event.seq === 'number') {
          if (event.seq <= this.#lastSeq && event.type !== 'done') continue;
          this.#lastSeq = event.seq;
        }
        if (event.type === 'text' && typeof event.text === 'string') this.#text += event.text;
        if (event.type === 'restart' && typeof event.keep === 'number') {
          this.#text = this.#text.slice(0, event.keep);
        }
        isDone ||= event.type === 'done';
        yield event as TurnEvent;
      }
    } catch (error) {
      if (!isDone) throw error; // after `done` the answer is complete, whatever happens to the connection
    }
    if (isDone) return true;
    if (count === 0 && this.#lastSeq > 0) return false;
    yield { type: 'done', text: this.#text };
    return true;
  }
}

const errorOf = ({ code, message, retryable }: { [field: string]: unknown }): FabricError =>
  new FabricError(isErrorCode(code) ? code : 'INTERNAL', String(message), {
    retryable: typeof retryable === 'boolean' ? retryable : undefined,
  });
