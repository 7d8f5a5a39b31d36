// THE PATH of what arrives at a node: read, book credit, then to the calls that we made, the calls that we serve, or the
// control plane. No message harms the link: what cannot be read is logged now and then, and its sender is told if possible.
import type { Clock } from '../async/clock.ts';
import { FabricError, isFabricError } from '../errors/error.ts';
import type { Logger } from '../log.ts';
import { decode } from '../protocol/codec.ts';
import { type DataFrame, type DeliveryAck, type Envelope, RTYPE } from '../protocol/envelope.ts';
import { parsePartialHeader } from '../protocol/partial-header.ts';
import { isRpcReply } from '../protocol/rpc.ts';
import type { Calls } from './calls.ts';
import type { Control } from './control.ts';
import type { Deliveries } from './deliveries.ts';
import type { LinkOptions } from './link-types.ts';
import type { Neighbor } from './neighbor.ts';
import type { Serving } from './serving.ts';

/** Bad messages are logged at most so often, in ms. */
const BAD_MESSAGE_LOG_MS = 10_000;

export interface ReceiverDeps {
  clock: Clock;
  log: Logger;
  trace: LinkOptions['trace'];
  calls: Calls;
  serving: Serving;
  control: Control;
  deliveries?: Deliveries | undefined;
}

export class Receiver {
  readonly #deps: ReceiverDeps;
  #badMessages = 0;
  #badLoggedAt = Number.NEGATIVE_INFINITY;

  constructor(deps: ReceiverDeps) {
    this.#deps = deps;
  }

  onMessage(neighbor: Neighbor, bytes: Uint8Array): void {
    let envelope: Envelope;
    try {
      envelope = decode(bytes);
    } catch (error) {
      this.#onBadMessage(neighbor, bytes, error);
      return;
    }
    try {
      this.#deps.trace?.('received', envelope);
      this.#dispatch(neighbor, envelope, bytes.byteLength);
    } catch (error) {
      // Nothing that a stranger sends may end the process, not even what we did not foresee.
      this.#deps.log.error('a message could not be handled', { type: envelope.frame.type, error });
    }
  }

  #dispatch(neighbor: Neighbor, envelope: Envelope, size: number): void {
    const { calls, serving, control } = this.#deps;
    const { frame, flowId } = envelope;
    // Credit is booked before anything else: it must never wait behind messages that themselves need credit.
    if (frame.type === 'CreditUpdate') {
      neighbor.addCredit(frame.flowId, frame.credits);
      return;
    }
    // A stream that owns its flow returns the credit itself, as its consumer takes the items.
    if (flowId !== undefined && !calls.streamOwning(envelope)) neighbor.received.count(flowId);
    switch (frame.type) {
      case 'Data':
        this.#onData(neighbor, envelope as Envelope<DataFrame>, size);
        break;
      case 'DeliveryAck':
        this.#deps.deliveries?.acknowledged(frame.refId);
        calls.onDeliveryAck(envelope as Envelope<DeliveryAck>);
        break;
      case 'CallCancel':
        serving.onCancel(frame.corrId, envelope.replyTo, frame.reason ?? 'aborted');
        break;
      case 'AddressBindAck':
      case 'AddressUnbindAck':
      case 'CapabilityAdvertiseAck':
      case 'CapabilityWithdrawAck':
        control.onAck(envelope);
        break;
      default:
        // Heartbeat acks only had to arrive; other frames are not a node's business.
        break;
    }
  }

  #onData(neighbor: Neighbor, envelope: Envelope<DataFrame>, size: number): void {
    const { calls, serving } = this.#deps;
    if (!isRpcReply(envelope.frame.payload)) {
      serving.onData(neighbor, envelope);
      return;
    }
    if (((envelope.rtype ?? 0) & RTYPE.ack) !== 0 && envelope.replyTo !== undefined) {
      if (!serving.acknowledge(neighbor, envelope)) return;
    }
    calls.onReply(envelope, size);
  }

  #onBadMessage(neighbor: Neighbor, bytes: Uint8Array, error: unknown): void {
    const { calls, serving } = this.#deps;
    const fault = isFabricError(error)
      ? error
      : new FabricError('PROTO_MALFORMED', 'The message cannot be read', { cause: error });
    this.#logBadMessage(fault, bytes.byteLength);
    const header = parsePartialHeader(bytes);
    if (header?.frameType !== 'Data') return;
    // It used its sender's credit, whatever it was.
    if (header.flowId !== undefined) neighbor.received.count(header.flowId);
    if (header.isReply) {
      if (header.corrId !== undefined) calls.onBadReply(header.corrId, fault);
    } else serving.refuse(neighbor, header, fault.code, fault.message);
  }

  #logBadMessage({ code, message: because }: FabricError, size: number): void {
    const { clock, log } = this.#deps;
    this.#badMessages++;
    const now = clock.now();
    if (now - this.#badLoggedAt < BAD_MESSAGE_LOG_MS) return;
    log.warn('a message cannot be read', { code, because, size, count: this.#badMessages });
    this.#badLoggedAt = now;
    this.#badMessages = 0;
  }
}
