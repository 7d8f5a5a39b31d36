// Link-local frames: what a node says to the sentinel itself. Binds, capabilities, heartbeats, credits, cancels. Every
// request gets its ack with the same corrId; credits are taken at once, so that they never wait behind messages.
import {
  type AddressBind,
  type AddressBindAck,
  type AddressUnbind,
  type CapabilityAdvertise,
  type CapabilityAdvertiseAck,
  type CapabilityWithdraw,
  type Envelope,
  type ErrorCode,
  type Frame,
  isUnder,
  type Logger,
  REPLY_PREFIX,
  SYSTEM_PARTICIPANT,
  tryParseAddress,
} from '@fame-fabric/shared';
import type { Bindings } from './bindings.ts';
import { CLOSE } from './close-codes.ts';
import type { TraceTap } from './http/trace.ts';
import type { OpenCalls } from './open-calls.ts';
import { answer, type Identity, nack } from './replies.ts';
import type { Session } from './session/session.ts';
import type { Sessions } from './session/sessions.ts';

/** How long the holder of an address has to answer when somebody else binds it, in ms. */
const CHALLENGE_MS = 2_000;

export interface ControlParts {
  self: Identity;
  sessions: Sessions;
  bindings: Bindings;
  calls: OpenCalls;
  trace: TraceTap;
  log: Logger;
}

/** Told of binds and unbinds of nodes below us, so that parents and peers learn of them. */
export interface Announcer {
  bound(address: string, session: Session): void;
  unbound(address: string): void;
  advertised(capability: string, address: string): void;
  withdrawn(capability: string): void;
  /** The parent has answered one of these. */
  answered(ack: AddressBindAck | CapabilityAdvertiseAck): void;
}

/** Capabilities of a node, each as often as it has addresses. */
const advertisedBy = ({ capabilities }: Session): number => {
  let count = 0;
  for (const addresses of capabilities?.values() ?? []) count += addresses.size;
  return count;
};

export class Control {
  readonly #parts: ControlParts;
  readonly #maxAddresses: number;
  announcer: Announcer | undefined;

  constructor(parts: ControlParts, options: { maxAddressesPerNode: number }) {
    this.#parts = parts;
    this.#maxAddresses = options.maxAddressesPerNode;
  }

  receive(from: Session, envelope: Envelope, size: number): void {
    const { frame } = envelope;
    switch (frame.type) {
      case 'CreditUpdate':
        from.addCredit(frame.flowId, frame.credits);
        return;
      case 'NodeHeartbeat':
        this.#answer(from, envelope, {
          type: 'NodeHeartbeatAck',
          ok: true,
          refId: envelope.id,
          // The epoch of its attach: another one would make the node bind again in the middle of its work.
          routingEpoch: from.epoch,
        });
        return;
      case 'CallCancel':
        this.#cancel(from, frame.corrId, frame.reason);
        break;
      case 'AddressBind':
        this.#bind(from, envelope, frame);
        break;
      case 'AddressUnbind':
        this.#unbind(from, envelope, frame);
        break;
      case 'CapabilityAdvertise':
        this.#advertise(from, envelope, frame);
        break;
      case 'CapabilityWithdraw':
        this.#withdraw(from, envelope, frame);
        break;
      case 'NodeAttach':
        from.sendControl(
          nack(
            this.#parts.self,
            { id: envelope.id, replyTo: '', corrId: envelope.corrId ?? '' },
            'PROTO_OUT_OF_ORDER',
            'The node is attached already',
          ),
        );
        break;
      case 'AddressBindAck':
      case 'CapabilityAdvertiseAck':
        if (from.kind === 'parent') this.announcer?.answered(frame);
        return;
      default:
        // Other acks of what we announced, and frames between others' ends: nothing here waits for them.
        return;
    }
    const { trace } = this.#parts;
    if (trace.active) {
      trace.add({
        t: Date.now(),
        dir: 'control',
        type: frame.type,
        from: from.path,
        to: 'address' in frame && typeof frame.address === 'string' ? frame.address : '',
        ...(envelope.corrId === undefined ? {} : { corrId: envelope.corrId }),
        id: envelope.id,
        bytes: size,
      });
    }
  }

  #answer(to: Session, request: Envelope, frame: Frame): void {
    to.sendControl(answer(this.#parts.self, request, frame));
  }

  #bind(from: Session, envelope: Envelope, { address }: AddressBind): void {
    const ack = (ok: boolean, code?: ErrorCode, reason?: string): void => {
      // A peer tells us of its addresses and waits for nothing.
      if (from.kind === 'peer') return;
      this.#answer(from, envelope, {
        type: 'AddressBindAck',
        ok,
        refId: envelope.id,
        address,
        ...(code ? { code, reason: reason ?? code } : {}),
      });
    };
    const parsed = tryParseAddress(address);
    if (parsed === undefined) {
      ack(false, 'ADDRESS_INVALID', `"${address}" is not an address: expected participant@host`);
      return;
    }
    const isSystem = parsed.participant === SYSTEM_PARTICIPANT || parsed.participant.startsWith(REPLY_PREFIX);
    if (isSystem || parsed.path !== undefined) {
      // A node's own physical addresses are routed by its path; binding them changes nothing.
      const own = parsed.host === undefined && parsed.path !== undefined && isUnder(parsed.path, from.path);
      if (own) ack(true);
      else ack(false, 'ADDRESS_FORBIDDEN', `${address} does not belong to ${from.path}`);
      return;
    }
    const { bindings, sessions, log } = this.#parts;
    if ((from.addresses?.size ?? 0) >= this.#maxAddresses && !from.addresses?.has(address)) {
      ack(false, 'QUOTA_EXCEEDED', `A node may bind ${this.#maxAddresses} addresses`);
      return;
    }
    const give = (): void => {
      bindings.add(address, from);
      ack(true);
      if (from.kind === 'node') this.announcer?.bound(address, from);
    };
    const challenge = (holder: Session | undefined): void => {
      if (holder === undefined || holder === from) {
        give();
        return;
      }
      void holder.ping(CHALLENGE_MS).then((isAlive) => {
        if (from.state !== 'attached') return;
        const current = bindings.ownOwner(address);
        if (current !== holder) {
          // Somebody else was faster, or the holder let go: whoever has it now is asked in its turn.
          challenge(current);
        } else if (isAlive) {
          log.warn('refused a bind: the address is in use', {
            address,
            path: from.path,
            holder: holder.path,
          });
          ack(false, 'ADDRESS_IN_USE', `${address} is bound by another node that is alive`);
        } else {
          log.warn('evicted a node that did not answer', { address, path: holder.path });
          sessions.end(holder, CLOSE.goingAway, 'no sign of life');
          give();
        }
      });
    };
    const isShared = parsed.host?.startsWith('*.') || from.kind === 'peer';
    challenge(isShared ? undefined : bindings.ownOwner(address));
  }

  #unbind(from: Session, envelope: Envelope, { address }: AddressUnbind): void {
    if (
      tryParseAddress(address) !== undefined &&
      this.#parts.bindings.remove(address, from) &&
      from.kind === 'node' &&
      !this.#parts.bindings.isOwn(address)
    ) {
      this.announcer?.unbound(address);
    }
    if (from.kind !== 'peer') {
      this.#answer(from, envelope, { type: 'AddressUnbindAck', ok: true, refId: envelope.id, address });
    }
  }

  #advertise(from: Session, envelope: Envelope, { capabilities, address }: CapabilityAdvertise): void {
    const { bindings } = this.#parts;
    const ack = { type: 'CapabilityAdvertiseAck', refId: envelope.id, capabilities, address } as const;
    if (tryParseAddress(address) === undefined) {
      const reason = `"${address}" is not an address`;
      this.#answer(from, envelope, { ...ack, ok: false, code: 'ADDRESS_INVALID', reason });
      return;
    }
    if (advertisedBy(from) + capabilities.length > this.#maxAddresses) {
      const reason = `A node may advertise ${this.#maxAddresses} capabilities, each address of one counted`;
      this.#answer(from, envelope, { ...ack, ok: false, code: 'QUOTA_EXCEEDED', reason });
      return;
    }
    for (const capability of capabilities) {
      const isFirst = !bindings.hasProvider(capability);
      bindings.advertise(capability, address, from);
      if (isFirst && from.kind === 'node') this.announcer?.advertised(capability, address);
    }
    this.#answer(from, envelope, { ...ack, ok: true });
  }

  #withdraw(from: Session, envelope: Envelope, { capabilities, address }: CapabilityWithdraw): void {
    const { bindings } = this.#parts;
    for (const capability of capabilities) {
      const had = bindings.withdraw(capability, address, from);
      if (had && from.kind === 'node' && !bindings.hasProvider(capability)) {
        this.announcer?.withdrawn(capability);
      }
    }
    this.#answer(from, envelope, {
      type: 'CapabilityWithdrawAck',
      ok: true,
      refId: envelope.id,
      capabilities,
      address,
    });
  }

  // The caller gave a call up: it is forgotten here and its callee is told, if it wants to know.
  #cancel(from: Session, corrId: string, reason = 'cancelled'): void {
    const { calls, sessions } = this.#parts;
    const call = from.calls?.get(corrId);
    if (call === undefined) return;
    calls.close(call);
    sessions.tellCallee(call, reason);
    sessions.onEnded();
  }
}
