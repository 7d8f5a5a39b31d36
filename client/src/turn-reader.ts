// Reads one turn to its end, in several attempts if necessary. After a loss of the agent or the sentinel it requests the same
// turn id from the last event on, so no event is yielded twice and no work is done twice.
import { type Clock, type FabricError, isFabricError } from '@fame-fabric/shared';
import { errorOfCode } from '@fame-fabric/shared/internal';
import { AwayRetry } from './away-retry.ts';
import type { ChatOperations, TurnRequest } from './chat-operations.ts';
import { eventAfter, isReset } from './cursor.ts';
import { type DoneEvent, isProgress, type TurnEvent } from './turn-event.ts';

export interface TurnReaderOptions {
  /** Cursor of the last event that the caller already has. */
  after: number;
  /** Longest absence of the agent, in ms. */
  reconnectTimeoutMs: number;
  clock: Clock;
  /** Called once each time that the reader starts to wait for the agent. */
  onAgentAway: () => void;
}

interface WireEvent {
  readonly type?: unknown;
  readonly [field: string]: unknown;
}

/** The reader of one turn. */
export class TurnReader {
  readonly #operations: ChatOperations;
  readonly #request: TurnRequest;
  readonly #retry: AwayRetry;
  #text = '';
  /** Cursor of the last event. Stays 0 for agents that do not number events. */
  #lastSeq: number;
  /** Ids of the approvals that the turn waits for. */
  readonly #approvals = new Set<string>();

  constructor(operations: ChatOperations, request: TurnRequest, options: TurnReaderOptions) {
    this.#operations = operations;
    this.#request = request;
    this.#lastSeq = options.after;
    this.#retry = new AwayRetry({
      connection: operations.connection,
      hasAnswered: () => operations.hasAnswered,
      reconnectTimeoutMs: options.reconnectTimeoutMs,
      clock: options.clock,
      onAway: options.onAgentAway,
    });
  }

  /** Yields the events of the turn; the last one is `done`. @throws the error that ended the turn, or the last attempt */
  async *events(): AsyncGenerator<TurnEvent, void> {
    await this.#retry.until(() => this.#operations.checkExtras(this.#request.extras), this.#request.signal);
    if (this.#operations.canStream) {
      try {
        yield* this.#streamedEvents();
        return;
      } catch (error) {
        if (!isFabricError(error, 'METHOD_NOT_FOUND')) throw error;
        this.#operations.canStream = false;
      }
    }
    yield { type: 'done', text: await this.#operations.runTurn(this.#request) } satisfies DoneEvent;
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
      } catch (error) {
        after = this.#lastSeq;
        // A person may take days to answer. The turn waits as long, so its silence does not end it.
        if (this.#approvals.size > 0 && isFabricError(error, 'CALL_TIMEOUT')) continue;
        await this.#retry.wait(error, this.#lastSeq !== seqBefore, this.#request.signal);
      }
    }
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
        const event = this.#unread(item as WireEvent);
        if (!event) {
          count++;
          continue;
        }
        if (isProgress(event)) {
          yield event as TurnEvent;
          continue;
        }
        count++;
        if (event.type === 'error') throw errorOf(event);
        if (typeof event.seq === 'number') this.#lastSeq = event.seq;
        if (event.type === 'text' && typeof event.text === 'string') this.#text += event.text;
        if (event.type === 'restart' && typeof event.keep === 'number') {
          this.#text = this.#text.slice(0, event.keep);
        }
        if (event.type === 'approval') this.#approvals.add(String(event.id));
        if (event.type === 'approval_answer') this.#approvals.delete(String(event.id));
        isDone ||= event.type === 'done';
        yield event as TurnEvent;
      }
    } catch (error) {
      if (!isDone) throw error; // after `done` the answer is complete, even if the connection fails
    }
    if (isDone) return true;
    if (count === 0 && this.#lastSeq > 0) return false;
    yield { type: 'done', text: this.#text };
    return true;
  }

  /** Returns the part of an event that the caller does not have. Events of other implementations have no numbers. */
  #unread(event: WireEvent): WireEvent | undefined {
    const { type, seq } = event;
    if (typeof seq !== 'number' || type === 'error' || type === 'done' || isReset(event)) return event;
    return eventAfter(event as WireEvent & { readonly seq: number }, this.#lastSeq);
  }
}

const errorOf = ({ code, message, retryable }: { [field: string]: unknown }): FabricError =>
  errorOfCode(code, String(message), {
    retryable: typeof retryable === 'boolean' ? retryable : undefined,
  });
