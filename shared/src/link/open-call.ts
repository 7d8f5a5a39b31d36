// A call that this node made and that is not over: one answer (`UnaryCall`) or many (`StreamCall`). It holds what its
// caller sees; sending, pacing and cancelling is the business of `calls.ts`.
import { FabricError } from '../errors.ts';
import type { Envelope } from '../protocol/envelope.ts';
import { LIMITS } from '../protocol/limits.ts';
import { errorOfReply, type RpcReply } from '../protocol/rpc.ts';
import { Fifo } from './fifo.ts';
import type { Sender } from './flow.ts';
import type { Hop } from './hop.ts';
import type { CallOptions, CallTarget } from './link-types.ts';
import type { Waiter } from './pending.ts';

/** What an open call needs of the table that holds it. */
export interface CallOwner {
  now(): number;
  /** The call is over. `cancel`: the callee does not know, and is told with this reason. */
  release(call: OpenCall, cancel?: string): void;
  /** A stream waits for items anew: its deadline moved. */
  deadlineMoved(call: OpenCall): void;
}

export interface CallRequest {
  readonly target: CallTarget;
  readonly method: string;
  params: unknown;
  readonly options: CallOptions;
}

export const targetText = (target: CallTarget): string =>
  typeof target === 'string' ? target : `[${target.capabilities.join(', ')}]`;

export abstract class OpenCall implements Waiter, Sender {
  readonly corrId: string;
  readonly request: CallRequest;
  readonly timeoutMs: number;
  abstract readonly isStream: boolean;
  deadline: number;
  isOver = false;
  /** Where the request went; absent while it waits in the link. */
  hop: Hop | undefined;
  /** The request as sent, kept for calls that may be sent again. */
  envelope: Envelope | undefined;
  /** The request left; before, it waits for credit in its hop or for its turn in the link. */
  isSent = false;
  /** Counts against the pace. */
  isPaced = false;
  protected readonly owner: CallOwner;

  constructor(owner: CallOwner, corrId: string, request: CallRequest, timeoutMs: number) {
    this.owner = owner;
    this.corrId = corrId;
    this.request = request;
    this.timeoutMs = timeoutMs;
    this.deadline = owner.now() + timeoutMs;
    request.options.signal?.addEventListener('abort', this);
  }

  abstract onReply(reply: RpcReply, size: number, envelope: Envelope): void;
  protected abstract settle(error: unknown): void;

  /** Ends the call with an error. `cancel` tells the callee. */
  fail(error: unknown, cancel?: string): void {
    if (this.isOver) return;
    this.finish(cancel);
    this.settle(error);
  }

  protected finish(cancel?: string): void {
    this.isOver = true;
    this.request.options.signal?.removeEventListener('abort', this);
    this.owner.release(this, cancel);
  }

  /** The caller's signal aborted. */
  handleEvent(): void {
    this.fail(this.request.options.signal?.reason, 'aborted');
  }

  onSent(): void {
    this.isSent = true;
  }

  onDropped(error: Error): void {
    if (!this.envelope) this.fail(error);
  }

  onDue(): void {
    this.timeOut();
  }

  protected timeOut(): void {
    const { target, method } = this.request;
    this.fail(
      new FabricError(
        'CALL_TIMEOUT',
        `No ${this.isStream ? 'item' : 'answer'} from ${targetText(target)} to ${method} within ${this.timeoutMs} ms`,
        { details: { method, timeoutMs: this.timeoutMs } },
      ),
      'timeout',
    );
  }
}

export class UnaryCall extends OpenCall {
  readonly isStream = false;
  readonly #resolve: (result: unknown) => void;
  readonly #reject: (error: unknown) => void;

  constructor(
    owner: CallOwner,
    corrId: string,
    request: CallRequest,
    timeoutMs: number,
    resolve: (result: unknown) => void,
    reject: (error: unknown) => void,
  ) {
    super(owner, corrId, request, timeoutMs);
    this.#resolve = resolve;
    this.#reject = reject;
  }

  onReply(reply: RpcReply): void {
    if (reply.error != null) {
      this.fail(errorOfReply(reply.error));
      return;
    }
    this.finish();
    this.#resolve(reply.result ?? null);
  }

  protected settle(error: unknown): void {
    this.#reject(error);
  }
}

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
  #unpaid = 0;
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
    return envelope.flowId === this.corrId && this.hop?.mayHoldCredit === true;
  }

  onReply(reply: RpcReply, size: number, envelope: Envelope): void {
    if (this.ownsFlow(envelope)) {
      this.#unpaid++;
      if (this.#isNext(envelope.seqId)) this.#take(reply, size, STREAM_BUFFER.mostOwnBytes);
      if (!this.isOver) this.#payWhenDue();
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

  #payWhenDue(): void {
    if (this.#unpaid < LIMITS.creditReturnAfter) return;
    const { holdItems, holdBytes, trickleMs } = STREAM_BUFFER;
    if (this.#buffer.size > holdItems || this.#bufferedBytes > holdBytes) {
      if (this.deadline !== Number.POSITIVE_INFINITY) return;
      this.deadline = this.owner.now() + trickleMs;
      this.owner.deadlineMoved(this);
      return;
    }
    this.#unpaid = 0;
    this.hop?.pay(this.corrId, LIMITS.creditWindow);
  }

  /** Nothing came for too long; or, while items wait for the consumer, the held flow gets its next message. */
  override onDue(): void {
    if (this.#buffer.size === 0) {
      this.timeOut();
      return;
    }
    this.deadline = this.owner.now() + STREAM_BUFFER.trickleMs;
    this.hop?.pay(this.corrId, 1);
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
    this.#payWhenDue();
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
