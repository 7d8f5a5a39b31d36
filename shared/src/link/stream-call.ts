// A call with many answers, as its consumer sees it: items in order, without gaps, then the end or an error. Bounds the unread
// items, and grants the credit of its own flow as the consumer reads.
import { Channel } from '../async/channel.ts';
import { FabricError } from '../errors/error.ts';
import type { Envelope } from '../protocol/envelope.ts';
import { LIMITS } from '../protocol/limits.ts';
import { errorOfReply, isRefusal, type RpcReply } from '../protocol/rpc.ts';
import { OpenCall } from './open-call.ts';

/**
 * Bounds on the unread items of one stream. Above `hold...`, the credit of the stream's own flow is withheld until the
 * consumer reads. Such a flow still gets credit for one message every `trickleMs`, because a sentinel closes a node whose
 * queue makes no progress. Above `max...`, the stream fails.
 */
const STREAM_BUFFER = Object.freeze({
  holdItems: 256,
  holdBytes: 1_048_576,
  maxItems: 10_000,
  /** For items on a shared flow, whose credit is never withheld, because that would slow other calls. */
  maxSharedBytes: 8_388_608,
  /** For items on the stream's own flow. A whole window of the largest items may arrive after credit is withheld. */
  maxOwnBytes: 16_777_216,
  trickleMs: 4_000,
});

export class StreamCall extends OpenCall {
  readonly isStream = true;
  readonly #items = new Channel<unknown>({ name: 'the stream' });
  /** Messages on the stream's own flow since the last credit grant. */
  #sinceGrant = 0;
  #nextSeq = 0;
  hasReceived = false;

  /**
   * True if the envelope's flow carries only items of this call. This stream then grants the credit itself: withholding it
   * slows down the sender of this stream and no other.
   */
  ownsFlow(envelope: Envelope): boolean {
    return envelope.flowId === this.corrId && this.neighbor?.mayWithholdCredit === true;
  }

  onReply(reply: RpcReply, size: number, envelope: Envelope): void {
    if (!this.ownsFlow(envelope)) {
      this.#receive(reply, size, STREAM_BUFFER.maxSharedBytes);
      return;
    }
    this.#sinceGrant++;
    if (this.#isNext(envelope.seqId)) this.#receive(reply, size, STREAM_BUFFER.maxOwnBytes);
    if (!this.isOver) this.#grantWhenDue();
  }

  #receive(reply: RpcReply, size: number, maxBytes: number): void {
    if (reply.error != null) {
      const error = errorOfReply(reply.error);
      if (!isRefusal(reply.error)) this.fail(error);
      else {
        // The next attempt is a new stream.
        this.#nextSeq = this.#sinceGrant = 0;
        this.refused(error, true);
      }
      return;
    }
    this.hasReceived = true;
    if (reply.result == null) {
      this.finish();
      this.#items.end();
      return;
    }
    const isAwaited = this.#items.isAwaited;
    this.#items.push(reply.result, size);
    if (isAwaited) {
      this.deadline = this.owner.monotonic() + this.timeoutMs;
      return;
    }
    // While items are unread, the consumer is the slow side, not the callee.
    if (this.#items.length === 1) this.deadline = Number.POSITIVE_INFINITY;
    this.#checkBounds(maxBytes);
  }

  // Items on the stream's own flow are numbered. A gap means that items were lost with a connection; a lower number is a
  // repetition after a reconnect.
  #isNext(seqId: number | undefined): boolean {
    if (seqId === undefined) return true;
    if (seqId === this.#nextSeq) {
      this.#nextSeq++;
      return true;
    }
    if (seqId > this.#nextSeq) {
      const lost = seqId - this.#nextSeq;
      this.fail(
        new FabricError('LINK_CLOSED', `${lost} items of the stream were lost with the connection`),
        'items-lost',
      );
    }
    return false;
  }

  #checkBounds(maxBytes: number): void {
    const { length, unread } = this.#items;
    if (length <= STREAM_BUFFER.maxItems && unread <= maxBytes) return;
    this.fail(
      new FabricError(
        'READER_TOO_SLOW',
        `The stream is read too slowly: ${length} items (${unread} bytes) are unread`,
      ),
      'slow-reader',
    );
  }

  #grantWhenDue(): void {
    if (this.#sinceGrant < LIMITS.creditReturnAfter) return;
    const { holdItems, holdBytes, trickleMs } = STREAM_BUFFER;
    if (this.#items.length > holdItems || this.#items.unread > holdBytes) {
      if (this.deadline !== Number.POSITIVE_INFINITY) return;
      this.deadline = this.owner.monotonic() + trickleMs;
      this.owner.deadlineMoved(this);
      return;
    }
    this.#sinceGrant = 0;
    this.neighbor?.grantCredit(this.corrId, LIMITS.creditWindow);
  }

  /** Times out; while items are unread, grants credit for one more message instead. */
  override onDue(): void {
    if (this.#items.length === 0) {
      this.timeOut();
      return;
    }
    this.deadline = this.owner.monotonic() + STREAM_BUFFER.trickleMs;
    this.neighbor?.grantCredit(this.corrId, 1);
  }

  next(): Promise<IteratorResult<unknown, undefined>> {
    const hadItems = this.#items.length > 0;
    const result = this.#items.next();
    if (hadItems && !this.isOver) this.#onRead();
    return result;
  }

  #onRead(): void {
    this.#grantWhenDue();
    if (this.#items.length > 0) return;
    this.deadline = this.owner.monotonic() + this.timeoutMs;
    this.owner.deadlineMoved(this);
  }

  /** Ends the call because the consumer left its loop. */
  leave(): void {
    void this.#items.return();
    if (!this.isOver) this.finish(this.leaveReason('left'));
  }

  protected settle(error: unknown): void {
    this.#items.fail(error);
  }
}
