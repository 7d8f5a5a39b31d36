// Link-local frames: the requests of a node to the sentinel itself. Binds, capabilities, heartbeats, credits and cancels.
// Every request gets its ack with the same corrId. Credit is added at once, so that it never waits behind messages.
import type {
  AddressBind,
  AddressBindAck,
  AddressUnbind,
  CallCancel,
  CapabilityAdvertise,
  CapabilityAdvertiseAck,
  CapabilityWithdraw,
  Envelope,
  EnvelopeHeader,
  ErrorCode,
  Frame,
} from '@fame-fabric/shared';
import { isUnder, REPLY_PREFIX, SYSTEM_PARTICIPANT, tryParseAddress } from '@fame-fabric/shared/router';
import { forbidden, type Guard } from './access/guard.ts';
import type { Excess } from './access/principal-quota.ts';
import type { Renewals } from './access/renewals.ts';
import type { AddressChallenge } from './address-challenge.ts';
import type { Bindings } from './bindings.ts';
import type { TraceTap } from './http/trace.ts';
import type { Identity } from './identity.ts';
import type { OpenCalls } from './open-calls.ts';
import { answer, nack } from './replies.ts';
import type { RateBrake } from './session/rate-brake.ts';
import { isStranger, type Session } from './session/session.ts';
import type { SessionTable } from './session/session-table.ts';
import type { SessionListener, Sessions } from './session/sessions.ts';
import type { WhoIsAnswers } from './who-is.ts';

/** A peer announces the addresses of many nodes, and gets no ack that it could act on. */
const LINK_FACTOR = 16;

export interface ControlDeps {
  guard: Guard;
  identity: Identity;
  table: SessionTable;
  sessions: Sessions;
  bindings: Bindings;
  challenge: AddressChallenge;
  /** Decides about exact addresses for all sentinels of the cluster. @default this sentinel is in no cluster */
  cluster?: ClusterOwners | undefined;
  calls: OpenCalls;
  announcer: Announcer;
  listener: SessionListener;
  renewals: Renewals;
  rateBrake: RateBrake;
  trace: TraceTap;
  whoIs: WhoIsAnswers;
}

/** The part of a request that its ack repeats. The rest of an envelope may be large, and an ack may wait for seconds. */
type Request = Pick<EnvelopeHeader, 'id' | 'corrId' | 'traceId'>;
type Advertisement = Pick<CapabilityAdvertise, 'address' | 'capabilities'>;

const requestOf = ({ id, corrId, traceId }: Envelope): Request => ({ id, corrId, traceId });

/** Claims addresses in the cluster. */
interface ClusterOwners {
  /** Calls `onClaimed` with the reason for a refusal, or with `undefined` if the node may have the address. */
  claim(address: string, from: Session, onClaimed: (refusal: string | undefined) => void): void;
  /** Returns the number of waiting claims of a node. */
  waitingCount(from: Session): number;
}

/** Announces the bindings of nodes below us to the parent and to peers. */
export interface Announcer {
  bound(address: string, session: Session): void;
  unbound(address: string): void;
  advertised(capability: string, address: string): void;
  withdrawn(capability: string): void;
  /** The parent acknowledged or refused one of these. */
  answered(ack: AddressBindAck | CapabilityAdvertiseAck): void;
}

export class Control {
  readonly #deps: ControlDeps;
  readonly #maxAddresses: number;

  constructor(deps: ControlDeps, options: { maxAddressesPerNode: number }) {
    this.#deps = deps;
    this.#maxAddresses = options.maxAddressesPerNode;
  }

  receive(from: Session, envelope: Envelope, size: number): void {
    const { frame } = envelope;
    if (frame.type === 'CreditUpdate') {
      if (!from.outbound.addCredit(frame.flowId, frame.credits)) this.#deps.rateBrake.admits(from, size);
      return;
    }
    const excess = from.quota?.charge(size, from.terms.hasPairFlows);
    if (excess !== undefined && this.#refuseExcess(from, envelope, excess, size)) return;
    switch (frame.type) {
      case 'NodeHeartbeat': {
        const routingEpoch = from.terms.epoch;
        this.#answer(from, envelope, {
          type: 'NodeHeartbeatAck',
          ok: true,
          refId: envelope.id,
          routingEpoch,
        });
        return;
      }
      case 'CallCancel':
        this.#cancel(from, envelope, frame);
        break;
      case 'AddressBind':
        from.learnPath(frame.physicalPath);
        this.#bind(from, requestOf(envelope), frame);
        break;
      case 'AddressUnbind':
        this.#unbind(from, envelope, frame);
        break;
      case 'CapabilityAdvertise':
        this.#advertise(from, requestOf(envelope), frame);
        break;
      case 'CapabilityWithdraw':
        this.#withdraw(from, envelope, frame);
        break;
      case 'NodeAttach': {
        if (frame.authorization !== undefined && from.kind !== 'parent') {
          this.#deps.renewals.receive(from, envelope, frame);
          break;
        }
        const refused = { id: envelope.id, replyTo: '', corrId: envelope.corrId ?? '' };
        const reason = 'The node is already attached';
        from.outbound.sendControl(nack(this.#deps.identity, refused, 'PROTO_OUT_OF_ORDER', reason));
        break;
      }
      case 'KeyRequest': {
        const { id, corrId, replyTo = '' } = envelope;
        // Without a corrId no answer could be matched to it.
        if (corrId === undefined) return;
        const refused = { id, corrId, replyTo: from.mayReplyTo(replyTo) ? replyTo : '' };
        const reason = 'This sentinel keeps no keys';
        from.outbound.sendControl(nack(this.#deps.identity, refused, 'OPERATION_UNSUPPORTED', reason));
        break;
      }
      case 'NodeAttachAck':
        from.onAttachAck?.(frame);
        return;
      case 'WhoIs':
        this.#deps.whoIs.receive(from, envelope, frame);
        break;
      case 'WhoIsAck':
        this.#deps.whoIs.answered(from, envelope.corrId, frame);
        return;
      case 'AddressBindAck':
      case 'CapabilityAdvertiseAck':
        if (from.kind === 'parent') this.#deps.announcer.answered(frame);
        return;
      default:
        // Ignore other acks of our announcements, and end-to-end frames without an address.
        return;
    }
    const { trace } = this.#deps;
    if (trace.isActive) {
      trace.add({
        dir: 'control',
        type: frame.type,
        from: from.path,
        to: 'address' in frame && typeof frame.address === 'string' ? frame.address : '',
        corrId: envelope.corrId,
        id: envelope.id,
        bytes: size,
      });
    }
  }

  // Handles a frame above the rate of its sender. Returns `true` if it must not be processed. Only binds and advertisements are
  // refused: a heartbeat keeps the session, and the other frames release something or cost little.
  #refuseExcess(from: Session, envelope: Envelope, { reason }: Excess, size: number): boolean {
    const { frame } = envelope;
    const refusal = { ok: false, refId: envelope.id, code: 'QUOTA_EXCEEDED', reason } as const;
    if (frame.type === 'AddressBind') {
      this.#answer(from, envelope, { type: 'AddressBindAck', address: frame.address, ...refusal });
    } else if (frame.type === 'CapabilityAdvertise') {
      const { address, capabilities } = frame;
      this.#answer(from, envelope, { type: 'CapabilityAdvertiseAck', address, capabilities, ...refusal });
    }
    this.#deps.rateBrake.refused(from, size);
    return from.state === 'gone' || frame.type === 'AddressBind' || frame.type === 'CapabilityAdvertise';
  }

  #answer(to: Session, request: Request, frame: Frame): void {
    to.outbound.sendControl(answer(this.#deps.identity, request, frame));
  }

  #bind(from: Session, request: Request, { address }: AddressBind): void {
    const ack = (refusal?: { code: ErrorCode; reason: string }): void => {
      // A peer announces its addresses and expects no ack.
      if (from.kind === 'peer') return;
      const ok = refusal === undefined;
      const refId = request.id;
      this.#answer(from, request, { type: 'AddressBindAck', ok, refId, address, ...refusal });
    };
    const refuse = (code: ErrorCode, reason: string): void => ack({ code, reason });
    const parsed = tryParseAddress(address);
    if (parsed === undefined) {
      refuse('ADDRESS_INVALID', `"${address}" is not an address: expected participant@host`);
      return;
    }
    const isSystem = parsed.participant === SYSTEM_PARTICIPANT || parsed.participant.startsWith(REPLY_PREFIX);
    if (isSystem || parsed.path !== undefined) {
      // A node's own physical addresses are routed by its path; binding them changes nothing.
      const isOwn = parsed.host === undefined && parsed.path !== undefined && isUnder(parsed.path, from.path);
      if (isOwn) ack();
      else refuse('ADDRESS_FORBIDDEN', `${address} does not belong to ${from.path}`);
      return;
    }
    const { announcer, bindings, challenge, cluster, guard } = this.#deps;
    // Ask first: neither a limit nor a holder of the address may show that it exists.
    const isAllowed = (): boolean => {
      if (guard.may(from, 'Bind', address)) return true;
      from.missesAnnouncements = from.kind === 'peer';
      const { code, reason } = forbidden(from, 'bind', address);
      refuse(code, reason);
      return false;
    };
    if (!isAllowed()) return;
    const { version } = guard.permissions;
    const bound = bindings.addressesOf(from);
    const waiting = challenge.waitingCount(from) + (cluster?.waitingCount(from) ?? 0);
    const count = (bound?.size ?? 0) + waiting;
    const limit = this.#limitOf(from);
    if (count >= limit && !bound?.has(address) && !challenge.isWaiting(address, from)) {
      refuse(
        'QUOTA_EXCEEDED',
        `Address limit of the node reached (${limit}). ${this.#fixOf(limit, 'Unbind one')}`,
      );
      return;
    }
    const isAdded = !bound?.has(address) && !challenge.isWaiting(address, from);
    const fault = isAdded ? from.quota?.addressFault(waiting) : undefined;
    if (fault !== undefined) {
      refuse('QUOTA_EXCEEDED', fault);
      return;
    }
    const onDecision = (refusal: string | undefined): void => {
      if (refusal !== undefined) {
        refuse('ADDRESS_IN_USE', refusal);
        return;
      }
      // The node may have bound other addresses while the cluster decided.
      const ofNode = bindings.addressesOf(from);
      if (isAdded && ofNode !== undefined && ofNode.size >= limit && !ofNode.has(address)) {
        refuse('QUOTA_EXCEEDED', `Address limit of the node reached (${limit}).`);
        return;
      }
      // Other sessions of its principal may have bound addresses meanwhile.
      const late = bindings.addressesOf(from)?.has(address) ? undefined : from.quota?.addressFault(0);
      if (late !== undefined) {
        refuse('QUOTA_EXCEEDED', late);
        return;
      }
      // The policy may have changed while the bind waited.
      if (guard.permissions.version !== version && !isAllowed()) return;
      const isNew = bindings.ownOwner(address) !== from || bindings.isReserved(address);
      bindings.add(address, from);
      ack();
      if (from.kind === 'node') announcer.bound(address, from);
      if (from.kind !== 'peer' && isNew) challenge.bound(address);
    };
    const isShared = parsed.host?.startsWith('*.') || from.kind === 'peer';
    // A pool of nodes with a key is closed to strangers in the whole cluster.
    const isOpenPool = cluster === undefined || !isStranger(from);
    if (isShared && (isOpenPool || from.kind === 'peer')) onDecision(undefined);
    else if (isShared) this.#claim(address, from, onDecision);
    else if (cluster === undefined) challenge.decide(address, from, onDecision);
    else {
      challenge.decide(address, from, (refusal) => {
        if (refusal !== undefined) onDecision(refusal);
        else this.#claim(address, from, onDecision);
      });
    }
  }

  // Asks the cluster about an address that this sentinel would grant. Another node of this sentinel may bind it before the answer.
  #claim(address: string, from: Session, onDecision: (refusal: string | undefined) => void): void {
    const { challenge, cluster } = this.#deps;
    const { transport } = from;
    cluster?.claim(address, from, (refusal) => {
      if (from.transport !== transport || from.state !== 'attached') return;
      if (refusal !== undefined) onDecision(refusal);
      else if (address.includes('@*.')) onDecision(undefined);
      else challenge.decide(address, from, onDecision);
    });
  }

  // Addresses, and capabilities, that a node may have now.
  #limitOf(from: Session): number {
    if (from.kind !== 'node') return this.#maxAddresses * LINK_FACTOR;
    return Math.min(this.#maxAddresses, this.#deps.bindings.roomFor(from));
  }

  #fixOf(limit: number, fix: string): string {
    return limit < this.#maxAddresses
      ? 'The common limit of nodes without a key is reached: attach with the local key.'
      : `${fix} or raise FAME_MAX_ADDRESSES_PER_NODE.`;
  }

  #unbind(from: Session, envelope: Envelope, { address }: AddressUnbind): void {
    const { bindings, challenge, listener } = this.#deps;
    challenge.unbinds(address, from);
    const isRemoved = tryParseAddress(address) !== undefined && bindings.remove(address, from);
    if (isRemoved && !bindings.isOwn(address)) {
      listener.removed(from, { addresses: [address], capabilities: [] });
    }
    if (from.kind === 'peer') return;
    this.#answer(from, envelope, { type: 'AddressUnbindAck', ok: true, refId: envelope.id, address });
  }

  #advertise(from: Session, request: Request, { address, capabilities }: CapabilityAdvertise): void {
    const advertisement = { address, capabilities };
    const { challenge, guard } = this.#deps;
    // Ask before the wait, which shows that other nodes have the capabilities.
    if (!this.#mayAdvertise(from, request, advertisement)) return;
    const { version } = guard.permissions;
    challenge.whenFree(advertisement, from, () => {
      const hasChanged = guard.permissions.version !== version;
      if (hasChanged && !this.#mayAdvertise(from, request, advertisement)) return;
      this.#advertiseNow(from, request, advertisement);
    });
  }

  // Returns `false` after it refused an advertisement that the policy does not allow.
  #mayAdvertise(from: Session, request: Request, { address, capabilities }: Advertisement): boolean {
    if (this.#deps.guard.may(from, 'Advertise', address)) return true;
    from.missesAnnouncements = from.kind === 'peer';
    const refusal = forbidden(from, 'advertise', address);
    const ack = { type: 'CapabilityAdvertiseAck', refId: request.id, capabilities, address } as const;
    this.#answer(from, request, { ...ack, ok: false, ...refusal });
    return false;
  }

  #advertiseNow(from: Session, request: Request, { address, capabilities }: Advertisement): void {
    const { announcer, bindings, challenge } = this.#deps;
    const ack = { type: 'CapabilityAdvertiseAck', refId: request.id, capabilities, address } as const;
    const refuse = (code: ErrorCode, reason: string): void =>
      this.#answer(from, request, { ...ack, ok: false, code, reason });
    const parsed = tryParseAddress(address);
    if (parsed === undefined) {
      refuse('ADDRESS_INVALID', `"${address}" is not an address`);
      return;
    }
    // An address at the node's own path is never bound.
    const isOwn =
      parsed.path === undefined ? bindings.serves(address, from) : isUnder(parsed.path, from.path);
    if (!isOwn) {
      const reason = `${from.path} does not serve ${address}. Bind the address before you advertise its capabilities.`;
      refuse('ADDRESS_FORBIDDEN', reason);
      return;
    }
    const limit = this.#limitOf(from);
    if (bindings.advertisementCount(from) + capabilities.length > limit) {
      const reason = `Capability limit of the node reached (${limit}; each address of a capability counts). ${this.#fixOf(limit, 'Withdraw one')}`;
      refuse('QUOTA_EXCEEDED', reason);
      return;
    }
    for (const capability of capabilities) {
      const isFirst = !bindings.hasProvider(capability);
      bindings.advertise(capability, address, from);
      if (isFirst && from.kind === 'node') announcer.advertised(capability, address);
      challenge.advertised(capability);
    }
    this.#answer(from, request, { ...ack, ok: true });
  }

  #withdraw(from: Session, envelope: Envelope, { capabilities, address }: CapabilityWithdraw): void {
    const { announcer, bindings } = this.#deps;
    for (const capability of capabilities) {
      const isWithdrawn = bindings.withdraw(capability, address, from);
      if (isWithdrawn && from.kind === 'node' && !bindings.hasProvider(capability)) {
        announcer.withdrawn(capability);
      }
    }
    const refId = envelope.id;
    this.#answer(from, envelope, { type: 'CapabilityWithdrawAck', ok: true, refId, capabilities, address });
  }

  // Ends a call that its caller cancelled, and notifies the callee. A callee that ignores cancels will still answer.
  #cancel(from: Session, { replyTo }: Envelope, { corrId, reason = 'cancelled' }: CallCancel): void {
    const { calls, sessions } = this.#deps;
    const call = calls.findMade(from, corrId, replyTo);
    if (call === undefined) return;
    if (!call.callee.terms.acceptsCancel) {
      calls.abandon(call);
      return;
    }
    calls.close(call);
    sessions.cancelAtCallee(call, reason);
  }
}
