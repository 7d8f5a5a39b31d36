// Writes the events of a response. The name of an event is its type, events have no id, and `[DONE]` ends the stream.
import type { DoorDeps } from '../../door.ts';
import type { FastifyReply } from '../../fastify.ts';
import { type EventStream, sse } from '../../shared/sse.ts';
import type { StreamEvent } from './response-builder.ts';

export class EventWriter {
  readonly #stream: EventStream;

  /** Starts the response. */
  constructor(reply: FastifyReply, { options, clock }: Pick<DoorDeps, 'options' | 'clock'>) {
    this.#stream = sse(reply, { heartbeatMs: options.heartbeatMs, clock });
  }

  /** Aborts when the reader has left. */
  get signal(): AbortSignal {
    return this.#stream.signal;
  }

  async send(events: readonly StreamEvent[]): Promise<void> {
    for (const event of events) await this.#stream.send({ event: event.type, data: JSON.stringify(event) });
  }

  async endWith(event: StreamEvent): Promise<void> {
    await this.send([event]);
    this.done();
  }

  done(): void {
    void this.#stream.send({ data: '[DONE]' });
    this.#stream.end();
  }
}
