// The path of an incoming message: decode, book credit, then dispatch to outgoing calls, incoming calls or control requests. No
// message can break the link. Unreadable messages are logged at a limited rate, and refused if their header can be read.
import type { Clock } from '../async/clock.ts';
import { tableCode } from '../errors/codes.ts';
import { FabricError, isFabricError } from '../errors/error.ts';
import type { Logger } from '../log.ts';
import { decode } from '../protocol/codec.ts';
import { type DataFrame, type DeliveryAck, type Envelope, expects, RTYPE } from '../protocol/envelope.ts';
import { parsePartialHeader } from '../protocol/partial-header.ts';
import { isRpcAnswer, isRpcReply } from '../protocol/rpc.ts';
import type { Callers } from './callers.ts';
import type { Calls } from './calls.ts';
import type { Control } from './control.ts';
import type { Deliveries } from './deliveries.ts';
import type { LinkOptions } from './link-types.ts';
import type { Neighbor } from './neighbor.ts';
import type { Serving } from './serving.ts';
import type { Verifier } from './verifier.ts';

/** Minimum time between two log lines about bad messages, in ms. */
const BAD_MESSAGE_LOG_MS = 10_000;

export interface ReceiverDeps {
  clock: Clock;
  log: Logger;
  trace: LinkOptions['trace'];
  callers: Callers;
  calls: Calls;
  serving: Serving;
  control: Control;
  deliveries: Deliveries;
  /** Set if messages of the sentinel must be signed. */
  verifier?: Verifier | undefined;
}

export class Receiver {
  readonly #deps: ReceiverDeps;
  #badMessages = 0;
  #badLoggedAt = Number.NEGATIVE_INFINITY;

  constructor(deps: ReceiverDeps) {
    this.#deps = deps;
  }

  onMessage(neighbor: Neighbor, bytes: Uint8Array): void {
    this.#deps.callers.messageReceived();
    let envelope: Envelope;
    try {
      envelope = decode(bytes);
    } catch (error) {
      this.#onBadMessage(neighbor, bytes, error);
      return;
    }
    this.#deps.trace?.('received', envelope);
    if (neighbor.isSigned) this.#verify(neighbor, envelope, bytes);
    else this.#handle(neighbor, envelope, bytes.byteLength);
  }

  #handle(neighbor: Neighbor, envelope: Envelope, size: number): void {
    try {
      this.#dispatch(neighbor, envelope, size);
    } catch (error) {
      // No message may end the process, even if it triggers a bug of ours.
      this.#deps.log.error('could not handle a message', { type: envelope.frame.type, error });
    }
  }

  #verify(neighbor: Neighbor, envelope: Envelope, bytes: Uint8Array): void {
    const { serving, verifier } = this.#deps;
    const { flowId, frame, replyTo, to } = envelope;
    verifier!.receive({
      envelope,
      bytes,
      onVerified: () => this.#handle(neighbor, envelope, bytes.byteLength),
      onRepeated: () => {
        if (flowId !== undefined) neighbor.received.count(flowId);
        // The acknowledgement of the first one may have been lost.
        if (frame.type !== 'Data' || replyTo === undefined || !expects(envelope, RTYPE.ack)) return;
        serving.acknowledge(neighbor, envelope);
      },
      onRefused: (code, reason) => {
        if (flowId !== undefined) neighbor.received.count(flowId);
        // An answer or a control frame is dropped: a forged one must not end a call.
        if (frame.type !== 'Data' || to === serving.identity.replyAddress) return;
        serving.refuse(neighbor, envelope, code, reason);
      },
    });
  }

  #dispatch(neighbor: Neighbor, envelope: Envelope, size: number): void {
    const { callers, calls, serving, control } = this.#deps;
    const { frame, flowId } = envelope;
    // Credit is booked first: it must not wait behind messages that need credit themselves.
    if (frame.type === 'CreditUpdate') {
      neighbor.addCredit(frame.flowId, frame.credits);
      return;
    }
    // A stream with its own flow grants the credit of that flow itself, as its consumer reads.
    if (flowId !== undefined && !calls.isOnStreamFlow(envelope)) neighbor.received.count(flowId);
    switch (frame.type) {
      case 'Data':
        this.#onData(neighbor, envelope as Envelope<DataFrame>, size);
        break;
      case 'DeliveryAck':
        this.#onDeliveryAck(envelope as Envelope<DeliveryAck>);
        break;
      case 'CallCancel':
        serving.onCancel(frame.corrId, envelope.replyTo, frame.reason ?? 'aborted');
        break;
      case 'AddressBindAck':
      case 'AddressUnbindAck':
      case 'CapabilityAdvertiseAck':
      case 'CapabilityWithdrawAck':
      case 'NodeAttachAck':
        control.onAck(envelope);
        break;
      case 'WhoIsAck':
        if (envelope.corrId === undefined) callers.keep(frame);
        else control.onAck(envelope);
        break;
      case 'KeyAnnounce':
        this.#deps.verifier?.onAnnounce(frame);
        break;
      case 'KeyRequest':
      case 'SecureOpen':
        serving.refuse(
          neighbor,
          envelope,
          'OPERATION_UNSUPPORTED',
          `This node does not support ${frame.type}`,
        );
        break;
      default:
        // The arrival of a heartbeat ack is enough. Other frames are not meant for nodes.
        break;
    }
  }

  // The sentinel checks who writes to a mailbox. Its refusal of a message without replyTo has no `to`.
  #onDeliveryAck(envelope: Envelope<DeliveryAck>): void {
    const { calls, deliveries, serving } = this.#deps;
    const { to } = envelope;
    const { replyAddress, systemAddress } = serving.identity;
    const isAnswer = to === undefined || to === replyAddress;
    const { ok, refId } = envelope.frame;
    if (isAnswer || to === systemAddress) {
      if (ok) deliveries.acknowledged(refId);
      else deliveries.refused(refId, envelope.frame);
    }
    if (isAnswer) calls.onDeliveryAck(envelope);
  }

  #onData(neighbor: Neighbor, envelope: Envelope<DataFrame>, size: number): void {
    const { calls, serving } = this.#deps;
    const { payload } = envelope.frame;
    // Without a result and an error a reply is the end of a stream, unless its sender waits for an answer: then it is a
    // request that lacks its method.
    const isToMailbox = envelope.to === serving.identity.replyAddress;
    const isReply =
      isRpcReply(payload) &&
      (isRpcAnswer(payload) || isToMailbox || !expects(envelope, RTYPE.reply | RTYPE.stream));
    if (!isReply) {
      serving.onData(neighbor, envelope, size);
      return;
    }
    const wantsAck = expects(envelope, RTYPE.ack) && envelope.replyTo !== undefined;
    if (wantsAck && !serving.acknowledge(neighbor, envelope)) return;
    // The sentinel checks who writes to a mailbox. A reply to any other address answers no call of this node.
    if (isToMailbox) calls.onReply(envelope, size);
  }

  #onBadMessage(neighbor: Neighbor, bytes: Uint8Array, error: unknown): void {
    const { calls, serving } = this.#deps;
    const fault = isFabricError(error)
      ? error
      : new FabricError('PROTO_MALFORMED', 'The message is unreadable', { cause: error });
    this.#logBadMessage(fault, bytes.byteLength);
    const header = parsePartialHeader(bytes);
    if (header?.frameType !== 'Data') return;
    // A bad message uses credit like any other.
    if (header.flowId !== undefined) neighbor.received.count(header.flowId);
    // Its signature cannot be verified, so it may be forged.
    if (neighbor.isSigned) return;
    if (header.to === serving.identity.replyAddress) {
      if (header.corrId !== undefined) calls.onBadReply(header.corrId, fault);
    } else if (!header.isReply) serving.refuse(neighbor, header, tableCode(fault.code), fault.message);
  }

  #logBadMessage({ code, message: reason }: FabricError, size: number): void {
    const { clock, log } = this.#deps;
    this.#badMessages++;
    const now = clock.monotonic();
    if (now - this.#badLoggedAt < BAD_MESSAGE_LOG_MS) return;
    log.warn('received an unreadable message', { code, reason, size, count: this.#badMessages });
    this.#badLoggedAt = now;
    this.#badMessages = 0;
  }
}
