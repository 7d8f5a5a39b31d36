// A call with many answers, as its consumer sees it: items in order, without gaps, then the end or an error. Keeps unread
// items within bounds, and returns the credit of its own flow as the consumer reads.
import { Channel } from '../async/channel.ts';
import { FabricError } from '../errors/error.ts';
import type { Envelope } from '../protocol/envelope.ts';
import { LIMITS } from '../protocol/limits.ts';
import { errorOfReply, type RpcReply } from '../protocol/rpc.ts';
import { OpenCall } from './open-call.ts';

/**
 * Bounds on the unread items of one stream. Above `hold...`, credit of the stream's own flow is withheld until the consumer
 * reads; such a flow still gets credit for one message every `trickleMs`, because a sentinel closes a node whose queue does
 * not move. Above `max...`, the stream fails.
 */
export const STREAM_BUFFER = Object.freeze({
  holdItems: 256,
  holdBytes: 1_048_576,
  maxItems: 10_000,
  /** For items on a flow that other calls share, where withheld credit would slow those too. */
  maxSharedBytes: 8_388_608,
  /** For items on the stream's own flow: a whole window of the largest items may arrive after credit is withheld. */
  maxOwnBytes: 16_777_216,
  trickleMs: 4_000,
});

export class StreamCall extends OpenCall {
  readonly isStream = true;
  readonly #items = new Channel<unknown>({ name: 'the stream' });
  /** Messages on the stream's own flow since the last credit grant. */
  #sinceGrant = 0;
  #nextSeq = 0;

  /**
   * True if the envelope's flow carries the items of this call alone, so that this stream decides when its credit is granted:
   * withholding it slows the sender of this stream and no other.
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
      this.fail(errorOfReply(reply.error));
      return;
    }
    if (reply.result == null) {
      this.finish();
      this.#items.end();
      return;
    }
    const isAwaited = this.#items.isAwaited;
    this.#items.push(reply.result, size);
    if (isAwaited) {
      this.deadline = this.owner.now() + this.timeoutMs;
      return;
    }
    // While items are unread, the consumer is late and not the callee.
    if (this.#items.length === 1) this.deadline = Number.POSITIVE_INFINITY;
    this.#checkBounds(maxBytes);
  }

  // Items on an own flow are numbered. A gap shows items that were lost with a connection; a lower number is a repetition
  // after a reconnect.
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
        'NODE_BUSY',
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
      this.deadline = this.owner.now() + trickleMs;
      this.owner.deadlineMoved(this);
      return;
    }
    this.#sinceGrant = 0;
    this.neighbor?.grantCredit(this.corrId, LIMITS.creditWindow);
  }

  /** The callee is late; or, while items are unread, it is time to grant credit for one more message. */
  override onDue(): void {
    if (this.#items.length === 0) {
      this.timeOut();
      return;
    }
    this.deadline = this.owner.now() + STREAM_BUFFER.trickleMs;
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
    this.deadline = this.owner.now() + this.timeoutMs;
    this.owner.deadlineMoved(this);
  }

  /** Ends the call because the consumer left its loop. */
  leave(): void {
    void this.#items.return();
    if (!this.isOver) this.finish('left');
  }

  protected settle(error: unknown): void {
    this.#items.fail(error);
  }
}
