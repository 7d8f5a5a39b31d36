// The messages that this node sends and that are not calls. A plain message is sent once. An acknowledged one is resent until its
// receiver has accepted it.
import { onAbort } from '../async/abort.ts';
import { FabricError } from '../errors/error.ts';
import { newId } from '../ids.ts';
import { decode } from '../protocol/codec.ts';
import { type DataFrame, type Envelope, makeEnvelope } from '../protocol/envelope.ts';
import { Deliveries } from './deliveries.ts';
import type { AcknowledgedSendOptions, CallTarget, SendOptions } from './link-types.ts';
import type { Neighbor } from './neighbor.ts';
import type { NodeIdentity } from './node-identity.ts';
import { checkMs, checkTarget, targetText } from './target.ts';

/** Default time limit for an acknowledgement, in ms. */
const ACK_TIMEOUT_MS = 30_000;
/** Limit of the messages without an acknowledgement. Receivers recognize at least as many repeated ids. */
const MAX_UNACKNOWLEDGED = 10_000;

export interface MessagesDeps {
  identity: NodeIdentity;
  deliveries: Deliveries;
  neighborOf: (target: CallTarget) => Neighbor;
}

export class Messages {
  readonly #deps: MessagesDeps;
  #unacknowledged = 0;

  constructor(deps: MessagesDeps) {
    this.#deps = deps;
  }

  send(to: CallTarget, payload: unknown, options: SendOptions): void {
    check(to, options.ttl);
    const { neighbor, envelope, flow } = this.#message(to, payload, options);
    neighbor.send(flow, envelope);
  }

  async sendAcknowledged(to: CallTarget, payload: unknown, options: AcknowledgedSendOptions): Promise<void> {
    const { signal, timeoutMs = ACK_TIMEOUT_MS, ttl } = options;
    check(to, ttl);
    checkMs('timeoutMs', timeoutMs);
    signal?.throwIfAborted();
    if (this.#unacknowledged >= MAX_UNACKNOWLEDGED) {
      const text = `${MAX_UNACKNOWLEDGED} messages of this node are not acknowledged yet; wait for some of them`;
      throw new FabricError('NODE_BUSY', text);
    }
    const { deliveries, identity } = this.#deps;
    const { neighbor, envelope, flow } = this.#message(to, payload, { corrId: newId(), ttl });
    envelope.rtype = Deliveries.mark(0);
    envelope.replyTo = identity.replyAddress;
    const bytes = neighbor.encode(envelope);
    neighbor.sendEncoded(flow, envelope, bytes);
    this.#unacknowledged++;
    // A copy, because the caller may change its payload before a resend.
    const acknowledged = deliveries.watch(neighbor, decode(bytes), {
      timeoutMs,
      rejectsRefusal: true,
      onResend: (sent) => {
        sent.replyTo = identity.replyAddress;
        if (identity.sid !== undefined) sent.sid = identity.sid;
      },
    });
    const stopListening = onAbort(signal, () => deliveries.abandon(envelope.id, signal?.reason));
    try {
      await acknowledged;
    } finally {
      this.#unacknowledged--;
      stopListening();
    }
  }

  #message(to: CallTarget, payload: unknown, { corrId, ttl }: SendOptions) {
    const neighbor = this.#deps.neighborOf(to);
    const flow = neighbor.flowTo(targetText(to));
    const isAddress = typeof to === 'string';
    const header = this.#deps.identity.header({
      traceId: newId(),
      to: isAddress ? to : undefined,
      capabilities: isAddress ? undefined : [...to.capabilities],
      corrId,
      flowId: flow.id,
      ttl,
    });
    const envelope: Envelope<DataFrame> = makeEnvelope<DataFrame>({ type: 'Data', payload }, header);
    return { neighbor, flow, envelope };
  }
}

function check(to: CallTarget, ttl: number | undefined): void {
  checkTarget(to);
  if (ttl !== undefined && ttl <= 0) {
    throw new FabricError(
      'HOPS_EXCEEDED',
      `The message to ${targetText(to)} was not sent: agents message each other in a circle or a long chain`,
    );
  }
}
