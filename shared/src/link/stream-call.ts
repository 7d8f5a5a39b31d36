// A call with many answers, as its consumer sees it: items in order, without gaps, then the end or an error. It holds what
// the consumer has not taken, within bounds, and returns the credit of its own flow as items are taken.

import { Fifo } from '../async/fifo.ts';
import { FabricError } from '../errors/error.ts';
import type { Envelope } from '../protocol/envelope.ts';
import { LIMITS } from '../protocol/limits.ts';
import { errorOfReply, type RpcReply } from '../protocol/rpc.ts';
import { OpenCall } from './open-call.ts';

/**
 * What a stream may hold for a consumer that is behind. Above `hold`, the credit of its own flow waits for the consumer; a
 * held flow still gets one message every `trickleMs`, since a sentinel gives up a node whose queue does not move. Above
 * `most`, the stream fails: that is for flows which others share, where holding credit back would harm them.
 */
export const STREAM_BUFFER = Object.freeze({
  holdItems: 256,
  holdBytes: 1_048_576,
  mostItems: 10_000,
  mostBytes: 8_388_608,
  /** An own flow may have a window of the largest items on its way when it is held. */
  mostOwnBytes: 16_777_216,
  trickleMs: 4_000,
});

interface Item {
  readonly value: unknown;
  readonly size: number;
}
interface Taker {
  resolve(result: IteratorResult<unknown>): void;
  reject(error: unknown): void;
}

const DONE: IteratorResult<unknown> = Object.freeze({ value: undefined, done: true });

export class StreamCall extends OpenCall {
  readonly isStream = true;
  readonly #buffer = new Fifo<Item>();
  readonly #takers = new Fifo<Taker>();
  #bufferedBytes = 0;
  /** Messages of the stream's own flow that were taken and not paid for. */
  #sinceGrant = 0;
  #nextSeq = 0;
  #error: unknown;
  #hasError = false;

  /** Items that wait for the consumer. */
  get buffered(): number {
    return this.#buffer.size;
  }

  /**
   * Whether the credit of this envelope's flow is this stream's to return: a flow named after the call carries the call's
   * items alone, so holding its credit back slows its sender and nobody else.
   */
  ownsFlow(envelope: Envelope): boolean {
    return envelope.flowId === this.corrId && this.neighbor?.mayWithholdCredit === true;
  }

  onReply(reply: RpcReply, size: number, envelope: Envelope): void {
    if (this.ownsFlow(envelope)) {
      this.#sinceGrant++;
      if (this.#isNext(envelope.seqId)) this.#take(reply, size, STREAM_BUFFER.mostOwnBytes);
      if (!this.isOver) this.#grantWhenDue();
    } else this.#take(reply, size, STREAM_BUFFER.mostBytes);
  }

  #take(reply: RpcReply, size: number, mostBytes: number): void {
    if (reply.error != null) {
      this.fail(errorOfReply(reply.error));
      return;
    }
    if (reply.result == null) {
      this.finish();
      for (let taker = this.#takers.shift(); taker; taker = this.#takers.shift()) taker.resolve(DONE);
      return;
    }
    const taker = this.#takers.shift();
    if (taker) {
      this.deadline = this.owner.now() + this.timeoutMs;
      taker.resolve({ value: reply.result, done: false });
      return;
    }
    this.#buffer.push({ value: reply.result, size });
    this.#bufferedBytes += size;
    // While items wait for their consumer it is not the callee that is late.
    if (this.#buffer.size === 1) this.deadline = Number.POSITIVE_INFINITY;
    this.#checkBuffer(mostBytes);
  }

  // Items of an own flow are numbered; what was on its way when a connection broke shows as a gap, and what is sent again
  // after a reconnect was here before.
  #isNext(seqId: number | undefined): boolean {
    if (seqId === undefined) return true;
    if (seqId === this.#nextSeq) {
      this.#nextSeq++;
      return true;
    }
    if (seqId > this.#nextSeq) {
      const lost = seqId - this.#nextSeq;
      this.fail(
        new FabricError('LINK_CLOSED', `${lost} items of the stream were lost when the connection broke`),
        'items-lost',
      );
    }
    return false;
  }

  #checkBuffer(mostBytes: number): void {
    if (this.#buffer.size <= STREAM_BUFFER.mostItems && this.#bufferedBytes <= mostBytes) return;
    const what = `${this.#buffer.size} items (${this.#bufferedBytes} bytes)`;
    this.fail(
      new FabricError('NODE_BUSY', `The stream is not read fast enough: ${what} wait`),
      'slow-reader',
    );
  }

  #grantWhenDue(): void {
    if (this.#sinceGrant < LIMITS.creditReturnAfter) return;
    const { holdItems, holdBytes, trickleMs } = STREAM_BUFFER;
    if (this.#buffer.size > holdItems || this.#bufferedBytes > holdBytes) {
      if (this.deadline !== Number.POSITIVE_INFINITY) return;
      this.deadline = this.owner.now() + trickleMs;
      this.owner.deadlineMoved(this);
      return;
    }
    this.#sinceGrant = 0;
    this.neighbor?.grantCredit(this.corrId, LIMITS.creditWindow);
  }

  /** Nothing came for too long; or, while items wait for the consumer, the held flow gets its next message. */
  override onDue(): void {
    if (this.#buffer.size === 0) {
      this.timeOut();
      return;
    }
    this.deadline = this.owner.now() + STREAM_BUFFER.trickleMs;
    this.neighbor?.grantCredit(this.corrId, 1);
  }

  next(): Promise<IteratorResult<unknown>> {
    const item = this.#buffer.shift();
    if (item) {
      this.#bufferedBytes -= item.size;
      if (!this.isOver) this.#onTaken();
      return Promise.resolve({ value: item.value, done: false });
    }
    if (this.#hasError) {
      this.#hasError = false;
      return Promise.reject(this.#error);
    }
    if (this.isOver) return Promise.resolve(DONE);
    return new Promise((resolve, reject) => this.#takers.push({ resolve, reject }));
  }

  #onTaken(): void {
    this.#grantWhenDue();
    if (this.#buffer.size > 0) return;
    this.deadline = this.owner.now() + this.timeoutMs;
    this.owner.deadlineMoved(this);
  }

  /** The consumer left the loop. */
  leave(): void {
    this.#buffer.clear();
    this.#hasError = false;
    if (this.isOver) return;
    this.finish('left');
    for (let taker = this.#takers.shift(); taker; taker = this.#takers.shift()) taker.resolve(DONE);
  }

  protected settle(error: unknown): void {
    const taker = this.#takers.shift();
    if (!taker) {
      this.#error = error;
      this.#hasError = true;
      return;
    }
    taker.reject(error);
    for (let next = this.#takers.shift(); next; next = this.#takers.shift()) next.resolve(DONE);
  }
}
