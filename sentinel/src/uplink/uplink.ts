// A connection that this sentinel opens itself: to its parent, or to a peer. It attaches like any node, then is a session
// like any other, so the router knows nothing of uplinks. What is new here: it reconnects, and it tells the other side
// which addresses and capabilities live below us, also those that were bound before the link existed.
import {
  type AddressBindAck,
  type CapabilityAdvertiseAck,
  type Clock,
  type Dial,
  decode,
  ERRORS,
  encode,
  FabricError,
  type Frame,
  isErrorCode,
  type Logger,
  makeEnvelope,
  type NodeAttachAck,
  newId,
  type Timer,
  type Transport,
} from '@fame-fabric/shared';
import type { Bindings } from '../bindings.ts';
import type { Announcer } from '../control.ts';
import { CANCEL_CAPABILITY, STREAM_FLOWS_CAPABILITY } from '../door/admission.ts';
import type { OpenCall } from '../open-calls.ts';
import { announcement, type Identity, nack } from '../replies.ts';
import type { Router } from '../route.ts';
import { Session, type Ticker } from '../session/session.ts';
import type { Sessions } from '../session/sessions.ts';
import type { Wire } from '../session/wire.ts';

const ATTACH_TIMEOUT_MS = 10_000;
const HEARTBEAT_MS = 15_000;
const BACKOFF_MIN_MS = 200;
const BACKOFF_MAX_MS = 10_000;
/** Of what the parent refused, so much is asked for again with each heartbeat. */
const ASKED_AGAIN = 64;

export interface UplinkParts {
  self: Identity;
  clock: Clock;
  ticker: Ticker;
  sessions: Sessions;
  bindings: Bindings;
  router: Router;
  dial: Dial;
  log: Logger;
}

/** A transport as a session uses it. Uplinks have no WebSocket ping: heartbeats tell whether the other side lives. */
class UplinkWire implements Wire {
  readonly #transport: Transport;
  readonly remote: string;

  constructor(transport: Transport, url: string) {
    this.#transport = transport;
    this.remote = url;
  }

  send(bytes: Uint8Array): void {
    // A transport may keep what it sends until it can.
    this.#transport.send(Buffer.from(bytes));
  }
  close(code: number, reason: string): void {
    this.#transport.close(code, reason);
  }
  terminate(): void {
    this.#transport.terminate();
  }
  get bufferedBytes(): number {
    return this.#transport.bufferedBytes;
  }
  // What is heard from it, heartbeat acks at the least, is its only sign of life.
  ping(): Promise<boolean> {
    return Promise.resolve(false);
  }
}

export class Uplink {
  readonly #parts: UplinkParts;
  readonly #url: string;
  readonly #kind: 'parent' | 'peer';
  readonly #instanceId = newId();
  /** Told when the parent gave us another path than before: paths below us are no longer true. */
  onPathChanged: () => void = () => {};
  session: Session | undefined;
  /** Calls from the other side that were open when the connection was lost: their callers still wait. */
  #lost: readonly OpenCall[] = [];
  /** What the parent refused and may take later, by `keyOf`; the longest not asked for first. */
  readonly #refused = new Set<string>();
  /** Capabilities that the parent knows of, with the address that it was told: it takes them back by both. */
  readonly #advertised = new Map<string, string>();
  #retry: Timer | undefined;
  #attempt = 0;
  #closed = false;

  constructor(parts: UplinkParts, options: { url: string; kind: 'parent' | 'peer' }) {
    this.#parts = parts;
    this.#url = options.url;
    this.#kind = options.kind;
  }

  get isParent(): boolean {
    return this.#kind === 'parent';
  }

  /** Attaches, trying until `timeoutMs` is over. @throws {LINK_TIMEOUT} */
  async connect(timeoutMs: number): Promise<void> {
    const { clock, log } = this.#parts;
    const deadline = clock.now() + timeoutMs;
    log.info(`waiting for the ${this.#kind} sentinel`, { url: this.#url });
    for (;;) {
      try {
        await this.#attach();
        return;
      } catch (cause) {
        if (this.#closed) return;
        if (clock.now() >= deadline) {
          throw new FabricError(
            'LINK_TIMEOUT',
            `The ${this.#kind} sentinel at ${this.#url} could not be reached within ${timeoutMs} ms`,
            { cause },
          );
        }
        await this.#pause();
      }
    }
  }

  #pause(): Promise<void> {
    const longest = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** this.#attempt++);
    const { promise, resolve } = Promise.withResolvers<void>();
    // Until the parent is found no port is open, and nothing else keeps the process alive.
    this.#retry = this.#parts.clock.after(longest * (0.5 + Math.random() / 2), resolve, { keepAlive: true });
    return promise;
  }

  async #attach(): Promise<void> {
    const { self, dial, clock } = this.#parts;
    const transport = await dial(`${this.#url}/${self.id}`, { timeoutMs: 5_000 });
    if (this.#closed) {
      transport.terminate();
      throw new FabricError('LINK_CLOSED', 'The sentinel stops');
    }
    const corrId = newId();
    const { promise, resolve, reject } = Promise.withResolvers<NodeAttachAck>();
    const deadline = clock.after(ATTACH_TIMEOUT_MS, () => {
      reject(new FabricError('LINK_TIMEOUT', 'No NodeAttachAck came in time'));
      transport.terminate();
    });
    // What comes in one packet with the ack, such as the addresses that a peer tells us, waits until the session stands.
    const early: Uint8Array[] = [];
    let isAnswered = false;
    transport.onMessage = (bytes) => {
      if (isAnswered) {
        early.push(bytes);
        return;
      }
      try {
        const { frame, corrId: answered } = decode(bytes);
        if (frame.type !== 'NodeAttachAck' || (answered !== corrId && frame.ok)) return;
        isAnswered = true;
        resolve(frame);
      } catch (error) {
        reject(error);
      }
    };
    transport.onClose = (code, reason) =>
      reject(new FabricError('LINK_CLOSED', `The connection was closed: ${code} ${reason}`));
    transport.send(
      encode(
        makeEnvelope(
          {
            type: 'NodeAttach',
            originType: this.#kind === 'parent' ? 'downstream' : 'peer',
            systemId: self.id,
            instanceId: this.#instanceId,
            acceptedLogicals: [this.#kind === 'parent' ? 'fame.fabric' : '*'],
            capabilities: [CANCEL_CAPABILITY, STREAM_FLOWS_CAPABILITY],
          },
          { corrId, flowId: self.flowId, seqId: 0, flowFlags: 1 },
        ),
      ),
    );
    let ack: NodeAttachAck;
    try {
      ack = await promise;
      if (this.#closed) throw new FabricError('LINK_CLOSED', 'The sentinel stops');
      if (!ack.ok || !ack.targetPhysicalPath || !ack.assignedPath) {
        throw new FabricError(
          'LINK_REFUSED',
          `The ${this.#kind} sentinel refused: ${ack.reason ?? 'incomplete ack'}`,
        );
      }
    } catch (error) {
      transport.close(1000, 'not attached');
      throw error;
    } finally {
      deadline.stop();
    }
    this.#attempt = 0;
    this.#open(transport, ack);
    for (const bytes of early) transport.onMessage?.(bytes);
  }

  #open(transport: Transport, ack: NodeAttachAck): void {
    const { self, sessions, router, ticker, clock, log } = this.#parts;
    if (this.#kind === 'parent' && ack.assignedPath !== self.path) {
      self.path = ack.assignedPath!;
      this.onPathChanged();
    }
    const wire = new UplinkWire(transport, this.#url);
    const session = new Session({
      path: ack.targetPhysicalPath!,
      systemId: ack.targetSystemId ?? ack.targetPhysicalPath!.slice(1),
      instanceId: '',
      kind: this.#kind,
      ticker,
    });
    session.wire = wire;
    session.takesCancel = ack.software?.startsWith('fame-fabric/') ?? false;
    session.hasStreamFlows = session.takesCancel;
    sessions.add(session);
    this.session = session;
    const beat = clock.every(HEARTBEAT_MS, () => {
      this.#say({ type: 'NodeHeartbeat' });
      this.#askAgain();
    });
    transport.onMessage = (bytes) => router.receive(session, bytes as Buffer);
    transport.onDrain = () => session.drained();
    transport.onClose = (code) => {
      beat.stop();
      log.warn(`lost the ${this.#kind} sentinel`, { url: this.#url, closeCode: code });
      this.#lost = [...(session.calls?.values() ?? [])];
      sessions.detach(session, wire);
      this.session = undefined;
      if (!this.#closed) void this.connect(Number.POSITIVE_INFINITY);
    };
    log.info(`attached to the ${this.#kind} sentinel`, { url: this.#url, path: self.path });
    this.#announceAll();
    // The other side has kept its half of these calls for us to come back; ours was given up with the connection.
    for (const call of this.#lost) {
      session.sendControl(
        nack(self, call, 'NODE_GONE', 'The way to the node that was handling the call broke'),
      );
    }
    this.#lost = [];
  }

  #announceAll(): void {
    const { bindings } = this.#parts;
    this.#refused.clear();
    this.#advertised.clear();
    for (const { address, session } of bindings.ownAddresses()) this.bound(address, session);
    for (const { capability, address } of bindings.ownCapabilities()) {
      if (!this.#advertised.has(capability)) this.advertised(capability, address);
    }
  }

  bound(address: string, session: Session): void {
    this.#say({ type: 'AddressBind', address, physicalPath: session.path });
  }
  unbound(address: string): void {
    this.#say({ type: 'AddressUnbind', address });
  }
  advertised(capability: string, address: string): void {
    if (this.#kind !== 'parent') return;
    this.#advertised.set(capability, address);
    this.#say({ type: 'CapabilityAdvertise', capabilities: [capability], address });
  }
  withdrawn(capability: string): void {
    const address = this.#advertised.get(capability);
    if (address === undefined) return;
    this.#advertised.delete(capability);
    this.#say({ type: 'CapabilityWithdraw', capabilities: [capability], address });
  }

  /** The parent answered what we announced. What it refused cannot be reached from there, for the time being. */
  answered(ack: AddressBindAck | CapabilityAdvertiseAck): void {
    const { ok, address, code } = ack;
    const [capability] = ack.type === 'CapabilityAdvertiseAck' ? (ack.capabilities ?? []) : [];
    if (address === undefined) return;
    const key = keyOf(address, capability);
    const wasRefused = this.#refused.delete(key);
    const fields = { address, ...(capability === undefined ? {} : { capability }), url: this.#url };
    if (ok) {
      if (wasRefused) this.#parts.log.info('an address below us that was refused is taken now', fields);
      return;
    }
    if (!wasRefused) this.#parts.log.warn('an address below us was refused above', { ...fields, code });
    // A refusal without a code of ours may mean anything.
    if (!isErrorCode(code) || ERRORS[code].retryable) this.#refused.add(key);
  }

  // The parent does not tell when it has room, so it is asked. What nobody below serves any more is forgotten.
  #askAgain(): void {
    if (this.#refused.size === 0) return;
    const { bindings } = this.#parts;
    const below = new Map<string, () => void>();
    for (const { address, session } of bindings.ownAddresses()) {
      below.set(keyOf(address), () => this.bound(address, session));
    }
    for (const [capability, address] of this.#advertised) {
      below.set(keyOf(address, capability), () => this.advertised(capability, address));
    }
    let left = ASKED_AGAIN;
    for (const key of this.#refused) {
      const ask = below.get(key);
      if (ask === undefined) this.#refused.delete(key);
      else if (left-- > 0) ask();
    }
  }

  #say(frame: Frame): void {
    const { self } = this.#parts;
    this.session?.sendControl(announcement(self, frame));
  }

  close(): void {
    this.#closed = true;
    this.#retry?.stop();
    this.session?.wire?.close(1000, 'the sentinel stops');
  }
}

/** An announcement, as the parent's answer names it. */
const keyOf = (address: string, capability = ''): string => `${address} ${capability}`;

/** Tells all uplinks, and peers that attached to us, what is bound below us. */
export class Uplinks implements Announcer {
  readonly #uplinks: readonly Uplink[];
  readonly #sessions: Sessions;
  readonly #parts: UplinkParts;

  constructor(uplinks: readonly Uplink[], parts: UplinkParts) {
    this.#uplinks = uplinks;
    this.#sessions = parts.sessions;
    this.#parts = parts;
  }

  bound(address: string, session: Session): void {
    for (const uplink of this.#uplinks) uplink.bound(address, session);
    this.#tellPeers({ type: 'AddressBind', address, physicalPath: session.path });
  }
  unbound(address: string): void {
    for (const uplink of this.#uplinks) uplink.unbound(address);
    this.#tellPeers({ type: 'AddressUnbind', address });
  }
  advertised(capability: string, address: string): void {
    for (const uplink of this.#uplinks) uplink.advertised(capability, address);
  }
  withdrawn(capability: string): void {
    for (const uplink of this.#uplinks) uplink.withdrawn(capability);
  }
  answered(ack: AddressBindAck | CapabilityAdvertiseAck): void {
    for (const uplink of this.#uplinks) if (uplink.isParent) uplink.answered(ack);
  }

  /** A peer attached to us: it learns what is bound already. */
  greet(peer: Session): void {
    for (const { address, session } of this.#parts.bindings.ownAddresses()) {
      this.#tell(peer, { type: 'AddressBind', address, physicalPath: session.path });
    }
  }

  #tellPeers(frame: Frame): void {
    const opened = new Set(this.#uplinks.map((uplink) => uplink.session));
    for (const peer of this.#sessions.peers) if (!opened.has(peer)) this.#tell(peer, frame);
  }

  #tell(peer: Session, frame: Frame): void {
    const { self } = this.#parts;
    peer.sendControl(announcement(self, frame));
  }

  close(): void {
    for (const uplink of this.#uplinks) uplink.close();
  }
}
