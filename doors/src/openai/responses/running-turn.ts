// A turn that a request for a response runs or joins. A repeated request joins the turn of the first one, which may be in another
// conversation.
import type { Conversation, TurnEvent } from '@fame-fabric/client';
import { FabricError } from '@fame-fabric/shared';
import type { Visitor } from '../../fabric/door-fabric.ts';
import { firstTurn } from '../../shared/first-turn.ts';
import { type Retry, readTurnId } from '../../shared/retry-key.ts';
import type { CreateRequest } from './create-request.ts';
import { echoOf, turnOptions } from './echo.ts';
import type { ResponseHead, TurnPlace } from './resource.ts';
import { type ResponseRef, responseId } from './response-ids.ts';
import { type Place, type PlaceContext, placeOf } from './turn-place.ts';

export class RunningTurn {
  readonly visitor: Visitor;
  readonly request: CreateRequest;
  readonly #retry: Retry;
  readonly #place: Place;
  readonly #createdAt: number;
  readonly #echo: ResponseHead['echo'];
  readonly #events: AsyncIterator<TurnEvent, void>;
  readonly #reading = new AbortController();
  #first: Promise<IteratorResult<TurnEvent, void>> | undefined;
  #conversation: Conversation;
  #turn: string;

  private constructor(
    visitor: Visitor,
    request: CreateRequest,
    { retry, place, now }: { retry: Retry; place: Place; now: number },
  ) {
    this.visitor = visitor;
    this.request = request;
    this.#retry = retry;
    this.#place = place;
    this.#createdAt = now;
    this.#conversation = place.conversation;
    this.#turn = place.turn;
    const { raw } = place.card;
    const taken = Array.isArray(raw.options) ? (raw.options as unknown[]) : undefined;
    const options = turnOptions({ ...request, systemMessage: place.systemMessage }, (name) =>
      taken ? taken.includes(name) : false,
    );
    this.#echo = echoOf(options, request);
    const { text, results } = request.input;
    const { conversation, start } = place;
    const stream = () =>
      conversation.stream(text, {
        turnId: place.turn,
        // Agents of other implementations refuse unsupported options.
        ...(taken ? { retryKey: retry.key, retryCount: retry.count } : {}),
        ...(options ? { options } : {}),
        ...(results.length > 0 ? { toolResults: results } : {}),
        onLeave: request.isBackground ? 'continue' : 'release',
        signal: this.#reading.signal,
      });
    this.#events = start ? firstTurn(stream, start) : stream();
  }

  /** Finds the place of the request and starts its turn. @throws the errors of `placeOf` */
  static async start(
    visitor: Visitor,
    request: CreateRequest,
    { retry, now, ...context }: { retry: Retry; now: number } & PlaceContext,
  ): Promise<RunningTurn> {
    const place = await placeOf(visitor, request, retry, context);
    return new RunningTurn(visitor, request, { retry, place, now });
  }

  /** The place of the turn. Final after `first`, or from the start for a request that is not repeated. */
  get ref(): ResponseRef & TurnPlace {
    const { isStored, isBackground } = this.request;
    const { address } = this.#place.card;
    return {
      agent: address,
      conversation: this.#conversation.id,
      turn: this.#turn,
      isStored,
      isBackground,
    };
  }

  get head(): ResponseHead {
    return {
      id: responseId(this.ref),
      model: this.#place.card.address,
      createdAt: this.#createdAt,
      echo: this.#echo,
      hasSteps: this.request.hasSteps,
    };
  }

  get isRepeated(): boolean {
    return this.#retry.count > 0;
  }

  /** Waits for the first event. @throws the error of a turn that was refused, or that failed before any other event */
  async first(): Promise<void> {
    this.#first ??= this.#events.next().finally(() => this.#place.release?.());
    const { value } = await this.#first;
    if (value) this.#locate(value);
  }

  /** Yields the events. @throws the error that ended the turn, or its reading */
  async *events(): AsyncGenerator<TurnEvent, void> {
    await this.first();
    for (let next = await this.#first!; !next.done; next = await this.#events.next()) yield next.value;
  }

  /** Ends the reading. A turn in the background continues; another turn is cancelled unless another call follows it. */
  leave(): void {
    this.#reading.abort();
  }

  /** Ends the conversation of a response that is not stored, so that the agent deletes it. */
  async dispose(): Promise<void> {
    if (this.request.isStored) return;
    const release = this.visitor.hold();
    await this.#conversation
      .end()
      .catch(() => {}) // its agent may be gone; the retention of the agent removes it later
      .finally(release);
  }

  /** Takes over the place of the joined turn. @throws {REQUEST_CONFLICT} if the turn belongs to another request with the same key */
  #locate(event: TurnEvent): void {
    const { turn_id: id } = event as { turn_id?: unknown };
    if (typeof id !== 'string' || id === this.#turn) return;
    this.#turn = id;
    const joined = readTurnId(id);
    if (joined && joined.body !== this.#retry.body) {
      this.leave();
      throw new FabricError(
        'REQUEST_CONFLICT',
        'The Idempotency-Key was used for another request. Use a new one.',
        {
          retryable: false,
          details: { param: 'Idempotency-Key' },
        },
      );
    }
    const { conversation, isNew, card } = this.#place;
    const { visitor } = this;
    if (joined?.hasHistory && joined.random !== conversation.id) {
      this.#conversation = visitor.client.conversation(card.address, { id: joined.random, isResumed: true });
      const release = visitor.hold();
      // The conversation that this request started is not needed.
      if (isNew)
        void conversation
          .end()
          .catch(() => {})
          .finally(release);
      else release();
    }
  }
}
