// Announces the bindings of nodes below this sentinel: addresses to the parent and to all peers, capabilities to the parent
// only. A new parent or peer receives all current bindings. Announcements that the parent refused for now are retried with
// every heartbeat.
import type { AddressBindAck, CapabilityAdvertiseAck, Frame, Logger } from '@fame-fabric/shared';
import { ERRORS, isErrorCode } from '@fame-fabric/shared/router';
import type { Bindings, RemovedBindings } from '../bindings.ts';
import type { Announcer } from '../control.ts';
import type { Identity } from '../identity.ts';
import { announcement } from '../replies.ts';
import type { Session } from '../session/session.ts';
import type { SessionTable } from '../session/session-table.ts';

/** Maximum refused announcements retried per heartbeat. */
const MAX_RETRIES = 64;

export interface AnnouncementDeps {
  identity: Identity;
  table: SessionTable;
  bindings: Bindings;
  log: Logger;
  /** The other sentinels of the cluster. @default none */
  cluster?: ClusterAnnouncer | undefined;
}

/** Learns the addresses of the nodes below this sentinel. */
interface ClusterAnnouncer {
  bound(address: string): void;
  unbound(address: string): void;
  advertised(capability: string): void;
  withdrawn(capability: string): void;
}

/** Key of an announcement. The parent's answer has the same fields. */
const keyOf = (address: string, capability = ''): string => `${address} ${capability}`;

export class Announcements implements Announcer {
  readonly #deps: AnnouncementDeps;
  /** Keys of announcements that the parent refused and may accept later, least recently retried first. */
  readonly #refused = new Set<string>();
  /** Capabilities announced to the parent, each with the address that it was announced with: a withdrawal names both. */
  readonly #advertised = new Map<string, string>();

  constructor(deps: AnnouncementDeps) {
    this.#deps = deps;
  }

  /** Announces all current bindings to a parent or peer that has just attached. */
  announceTo(neighbor: Session): void {
    const { bindings } = this.#deps;
    for (const { address, session } of bindings.ownAddresses()) {
      this.#send(neighbor, bindOf(address, session));
    }
    if (neighbor.kind !== 'parent') return;
    this.#refused.clear();
    this.#advertised.clear();
    for (const { capability, address } of bindings.ownCapabilities()) {
      if (!this.#advertised.has(capability)) this.advertised(capability, address);
    }
  }

  bound(address: string, session: Session): void {
    this.#deps.cluster?.bound(address);
    this.#sendToAll(bindOf(address, session));
  }

  unbound(address: string): void {
    this.#deps.cluster?.unbound(address);
    this.#sendToAll({ type: 'AddressUnbind', address });
  }

  advertised(capability: string, address: string): void {
    this.#deps.cluster?.advertised(capability);
    const { parent } = this.#deps.table;
    if (parent === undefined) return;
    this.#advertised.set(capability, address);
    this.#send(parent, { type: 'CapabilityAdvertise', capabilities: [capability], address });
  }

  withdrawn(capability: string): void {
    this.#deps.cluster?.withdrawn(capability);
    const address = this.#advertised.get(capability);
    if (address === undefined) return;
    this.#advertised.delete(capability);
    const { parent } = this.#deps.table;
    if (parent) this.#send(parent, { type: 'CapabilityWithdraw', capabilities: [capability], address });
  }

  /** These addresses and capabilities left with their node. */
  removed(session: Session, { addresses, capabilities }: RemovedBindings): void {
    if (session.kind !== 'node') return;
    for (const address of addresses) this.unbound(address);
    for (const capability of capabilities) this.withdrawn(capability);
  }

  answered({ ok, address, code, ...ack }: AddressBindAck | CapabilityAdvertiseAck): void {
    const { log, table } = this.#deps;
    const [capability] = ack.type === 'CapabilityAdvertiseAck' ? (ack.capabilities ?? []) : [];
    if (address === undefined) return;
    const key = keyOf(address, capability);
    const wasRefused = this.#refused.delete(key);
    const fields = { address, capability, url: table.parent?.transport?.remote };
    if (ok) {
      if (wasRefused) log.info('the parent accepted an announcement that it had refused', fields);
      return;
    }
    if (!wasRefused) log.warn('the parent refused an announcement', { ...fields, code });
    // A refusal without a code of ours may be temporary. A capability is refused while the bind of its address is.
    if (capability !== undefined || !isErrorCode(code) || ERRORS[code].retryable) this.#refused.add(key);
  }

  /** Retries refused announcements: a parent does not notify us when it has room. Drops those that are out of date. */
  retryRefused(): void {
    if (this.#refused.size === 0) return;
    const { bindings, table } = this.#deps;
    const { parent } = table;
    if (parent === undefined) return;
    const current = new Map<string, () => void>();
    for (const { address, session } of bindings.ownAddresses()) {
      current.set(keyOf(address), () => this.#send(parent, bindOf(address, session)));
    }
    for (const [capability, address] of this.#advertised) {
      current.set(keyOf(address, capability), () => this.advertised(capability, address));
    }
    let left = MAX_RETRIES;
    for (const key of this.#refused) {
      const announce = current.get(key);
      if (announce === undefined) this.#refused.delete(key);
      else if (left-- > 0) announce();
    }
  }

  // Encodes the announcement once for all of them.
  #sendToAll(frame: Frame): void {
    const { identity, table } = this.#deps;
    const { parent, peers } = table;
    if (parent === undefined && peers.size === 0) return;
    const bytes = announcement(identity, frame);
    parent?.outbound.sendControl(bytes);
    for (const { outbound } of peers) outbound.sendControl(bytes);
  }

  #send(neighbor: Session, frame: Frame): void {
    neighbor.outbound.sendControl(announcement(this.#deps.identity, frame));
  }
}

const bindOf = (address: string, { path }: Session): Frame => ({
  type: 'AddressBind',
  address,
  physicalPath: path,
});
