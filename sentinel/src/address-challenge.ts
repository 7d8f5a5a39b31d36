// Decides about binds of an address, and advertisements of a capability, that another node has. An address belongs to its node
// while the node is attached and during its resume window. After that it belongs to the node's key for a while. A rival is not
// refused during the window, because it may be the same agent in a new process: its ack waits. An attached holder that does not
// answer is evicted here only for a rival with the same key. For other rivals the sweeper closes the holder after the limit of
// silence.
import type { Clock, Logger, Timer } from '@fame-fabric/shared';
import { AGENT_CAPABILITY } from '@fame-fabric/shared/internal';
import { haveSameKey, isKeyed } from './access/access.ts';
import type { Bindings, RemovedBindings } from './bindings.ts';
import { CLOSE } from './close-codes.ts';
import type { Session } from './session/session.ts';
import type { Sessions } from './session/sessions.ts';
import { type Attempt, type Requester, WaitingRequests } from './waiting-requests.ts';

/** Time in which a holder must answer, and time until it is challenged again, in ms. */
const CHALLENGE_MS = 2_000;
/** Longest wait of an ack, in ms. Nodes of other implementations wait 20 s for it. */
const MAX_WAIT_MS = 18_000;
/** Addresses that are held for a key while no node serves them. Beyond this number the oldest of the key with most becomes free. */
const MAX_HELD = 4_096;

/** Keys of advertisements that wait. */
const bindKey = (address: string, { path }: Requester): string => `bind ${address} ${path}`;
const capabilityKey = (capability: string): string => `capability ${capability}`;

export interface ChallengeDeps {
  bindings: Bindings;
  sessions: Sessions;
  clock: Clock;
  log: Logger;
}

export interface ChallengeOptions {
  readonly resumeWindowMs: number;
  /** Time for which an address without a node belongs to the key of its last holder. */
  readonly addressHoldMs: number;
}

/** Receives the decision about a bind: the reason for a refusal, or `undefined` if it is granted. */
export type OnDecision = (refusal: string | undefined) => void;

export class AddressChallenge {
  readonly #deps: ChallengeDeps;
  readonly #options: ChallengeOptions;
  /** Binds, by address. */
  readonly #binds: WaitingRequests;
  /** Advertisements, by the bind or the capability that they wait for. */
  readonly #advertisements: WaitingRequests;
  /** Addresses whose holder has been pinged for a rival. */
  readonly #challenged = new Set<string>();
  /** Ends of holds, by key and address, oldest first. */
  readonly #holds = new Map<string, Map<string, Timer>>();
  #holdCount = 0;

  constructor(deps: ChallengeDeps, options: ChallengeOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#binds = new WaitingRequests(deps.clock);
    this.#advertisements = new WaitingRequests(deps.clock);
  }

  /** Addresses that binds of this node wait for. */
  waitingCount(session: Session): number {
    return this.#binds.countOf(session);
  }

  /**
   * Decides whether `rival` may have `address`, and calls `onDecision`: at once if that is known, else when the holder answers,
   * returns or leaves, within 18 s. The call is synchronous with the decision, so no other bind comes between the two. It is not
   * called if the rival loses its connection before.
   */
  decide(address: string, rival: Requester, onDecision: OnDecision): void {
    const attempt: Attempt = (isLast) => {
      const verdict = this.#verdict(address, rival);
      if (verdict === 'wait' && !isLast) return false;
      if (verdict === 'grant') onDecision(undefined);
      else onDecision(verdict === 'wait' ? this.#inUse(address) : verdict.refusal);
      this.#advertisements.retry(bindKey(address, rival));
      return true;
    };
    if (attempt(false)) return;
    const { bindings } = this.#deps;
    const isAtPeer = bindings.owner(address)?.kind === 'peer';
    this.#binds.add(address, rival, attempt, isAtPeer ? this.#options.resumeWindowMs : MAX_WAIT_MS);
    this.#challenge(address);
  }

  #verdict(address: string, rival: Requester): 'grant' | 'wait' | { readonly refusal: string } {
    const { bindings } = this.#deps;
    const { principal } = rival.terms;
    const key = bindings.keyOf(address);
    if (key !== undefined && key !== principal.id) {
      const { addressHoldMs } = this.#options;
      return {
        refusal: `${address} belongs to the key "${key}". Attach with that key, or wait until ${addressHoldMs / 1_000} s after its node has left (FAME_ADDRESS_HOLD_MS).`,
      };
    }
    const pool = isKeyed(principal) ? undefined : bindings.closedPool(address);
    if (pool !== undefined) {
      return {
        refusal: `${address} belongs to ${pool}, a pool of nodes with a key. Attach with that key, or bind another address.`,
      };
    }
    const holder = bindings.owner(address);
    if (holder === undefined || holder === rival) return 'grant';
    // Nodes below this sentinel come before peers, but a stranger must not divert the calls to a peer.
    if (holder.kind === 'peer') return isKeyed(principal) ? 'grant' : 'wait';
    const isSameOwner = haveSameKey(holder.terms.principal, principal);
    return isSameOwner && (holder.isDraining || bindings.isReserved(address)) ? 'grant' : 'wait';
  }

  #inUse(address: string): string {
    const { bindings, log } = this.#deps;
    log.warn('refused a bind: the address is in use', { address, holder: bindings.owner(address)?.path });
    return `${address} is bound by another node. Stop that node, or bind another address.`;
  }

  // Pings the holder of an address for which rivals wait. A holder that answers keeps the address.
  #challenge(address: string): void {
    const { bindings, clock, log, sessions } = this.#deps;
    const holder = bindings.ownOwner(address);
    if (holder === undefined || bindings.isReserved(address) || this.#challenged.has(address)) return;
    this.#challenged.add(address);
    void holder.ping(CHALLENGE_MS).then((isAlive) => {
      this.#challenged.delete(address);
      if (bindings.ownOwner(address) !== holder || bindings.isReserved(address)) this.#retry(address);
      else if (isAlive) this.#binds.retry(address, true);
      else if (this.#isAwaitedByKeyOf(holder, address)) {
        log.warn('evicted a node that did not answer', { address, path: holder.path });
        sessions.end(holder, CLOSE.goingAway, 'no answer to the challenge for an address');
      } else {
        this.#challenged.add(address);
        clock.after(CHALLENGE_MS, () => {
          this.#challenged.delete(address);
          this.#retry(address);
        });
      }
    });
  }

  #isAwaitedByKeyOf({ terms }: Session, address: string): boolean {
    for (const session of this.#binds.sessionsAt(address)) {
      if (haveSameKey(session.terms.principal, terms.principal)) return true;
    }
    return false;
  }

  #retry(address: string): void {
    this.#binds.retry(address);
    if (this.#binds.hasKey(address)) this.#challenge(address);
  }

  /** True if a bind of this address by this node waits. */
  isWaiting(address: string, session: Session): boolean {
    return this.#binds.isWaiting(address, session);
  }

  /**
   * Calls `advertise` once the node's bind of the address is decided, if it waits, and none of the capabilities is reserved: at
   * once, or within 18 s. It is not called if the node loses its connection before.
   */
  whenFree(
    { address, capabilities }: { readonly address: string; readonly capabilities: readonly string[] },
    session: Session,
    advertise: () => void,
  ): void {
    const { clock } = this.#deps;
    const began = clock.monotonic();
    const attempt: Attempt = (isLast) => {
      const key = isLast ? undefined : this.#obstacle(address, capabilities, session);
      if (key === undefined) advertise();
      else
        this.#advertisements.add(key, session, attempt, Math.max(0, began + MAX_WAIT_MS - clock.monotonic()));
      return true;
    };
    attempt(false);
  }

  #obstacle(address: string, capabilities: readonly string[], session: Session): string | undefined {
    if (this.#binds.isWaiting(address, session)) return bindKey(address, session);
    const reserved = capabilities.find((capability) => this.#isReserved(capability, session));
    return reserved === undefined ? undefined : capabilityKey(reserved);
  }

  // True if all providers of the capability lost their connection, and none of them is the node or has its key. Every agent has
  // AGENT_CAPABILITY, so it distinguishes none.
  #isReserved(capability: string, session: Session): boolean {
    const { bindings } = this.#deps;
    if (capability === AGENT_CAPABILITY || !bindings.isCapabilityReserved(capability)) return false;
    for (const provider of bindings.providersOf(capability)) {
      if (provider === session || haveSameKey(provider.terms.principal, session.terms.principal))
        return false;
    }
    return true;
  }

  /** An address has a new holder, or one that returned. */
  bound(address: string): void {
    this.endHold(address);
    this.#retry(address);
  }

  /** A node advertised a capability. */
  advertised(capability: string): void {
    this.#advertisements.retry(capabilityKey(capability));
  }

  /** A node unbinds an address. A bind of it that waits is refused. */
  unbinds(address: string, session: Session): void {
    this.#binds.end(address, session);
  }

  /** A node lost its connection. */
  lost(session: Session): void {
    this.#binds.drop(session);
    this.#advertisements.drop(session);
  }

  /** A node has left, or lost these addresses and capabilities. With `isFree` its key does not keep them. */
  removed({ kind, terms }: Session, { addresses, capabilities }: RemovedBindings, isFree = false): void {
    for (const address of addresses) {
      if (!isFree && kind === 'node' && isKeyed(terms.principal)) this.#hold(address, terms.principal.id);
      this.#retry(address);
    }
    for (const capability of capabilities) this.#advertisements.retry(capabilityKey(capability));
  }

  #hold(address: string, key: string): void {
    const { bindings, clock } = this.#deps;
    const { addressHoldMs } = this.#options;
    this.endHold(address);
    if (addressHoldMs === 0 || !bindings.hold(address, key)) return;
    let ofKey = this.#holds.get(key);
    if (ofKey === undefined) {
      ofKey = new Map();
      this.#holds.set(key, ofKey);
    }
    ofKey.set(
      address,
      clock.after(addressHoldMs, () => this.endHold(address)),
    );
    if (++this.#holdCount > MAX_HELD) this.#endOneHold();
  }

  // A key with many addresses must not free those of others.
  #endOneHold(): void {
    let most: Map<string, Timer> | undefined;
    for (const ofKey of this.#holds.values()) if (ofKey.size > (most?.size ?? 0)) most = ofKey;
    for (const address of most?.keys() ?? []) {
      this.endHold(address);
      return;
    }
  }

  /** Ends the hold of an address for its key. */
  endHold(address: string): void {
    const key = this.#deps.bindings.keyOf(address);
    const ofKey = key === undefined ? undefined : this.#holds.get(key);
    const timer = ofKey?.get(address);
    if (timer === undefined) return;
    timer.stop();
    ofKey!.delete(address);
    if (ofKey!.size === 0) this.#holds.delete(key!);
    this.#holdCount--;
    this.#deps.bindings.endHold(address);
  }
}
