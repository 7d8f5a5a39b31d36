// The bindings: exact addresses, pools (`w@*.fame.fabric`) and capabilities, each with the nodes that serve it. The tables
// change only when a node binds, unbinds or leaves. The router reads them for every message, and copies nothing.
import { LIMITS, poolMatches, SYSTEM_PARTICIPANT } from '@fame-fabric/shared/router';
import { isKeyed } from './access/access.ts';
import type { PrincipalQuota } from './access/principal-quota.ts';
import { isStranger, type Session } from './session/session.ts';
import { addTo, removeFrom } from './set-map.ts';

/** Picks one attached member that is not being drained for a message: the same message id always gives the same member. */
export function pick(
  members: Iterable<Session>,
  except: Session | undefined,
  messageId: string,
): Session | undefined {
  let best: Session | undefined;
  let highest = -1;
  for (const member of members) {
    if (member === except || member.state !== 'attached' || member.isDraining) continue;
    const weight = hash(member.path, messageId);
    if (weight > highest) {
      highest = weight;
      best = member;
    }
  }
  return best;
}

// FNV-1a with a final mix: rendezvous hashing needs spread, not secrecy.
function hash(member: string, messageId: string): number {
  let h = 2_166_136_261;
  for (let i = 0; i < member.length; i++) h = Math.imul(h ^ member.charCodeAt(i), 16_777_619);
  for (let i = 0; i < messageId.length; i++) h = Math.imul(h ^ messageId.charCodeAt(i), 16_777_619);
  h = Math.imul(h ^ (h >>> 15), 2_246_822_519);
  return (h ^ (h >>> 13)) >>> 0;
}

interface Pool {
  readonly pattern: string;
  readonly members: Set<Session>;
  /** The members without strangers: nodes with a key, and peers. */
  readonly trusted: Set<Session>;
  /** Number of nodes with a key. */
  keyed: number;
  /** Members that are nodes below us. */
  nodes: number;
  /** Pools of one participant are ordered by rank, as they were bound. */
  readonly rank: number;
}

/** The members that may get a message; `isClosed` is true if a pool of nodes with a key has the address. */
const membersOf = ({ trusted, members }: Pool, isClosed: boolean): Iterable<Session> =>
  isClosed ? trusted : members;

/** Start of the address of a system mailbox. */
const SYSTEM_START = `${SYSTEM_PARTICIPANT}@`;
/** Prefix of the host of a pool. */
const POOL_PREFIX = '*.';
const DOT = 46;
/** Up to this number of pools, trying each one is faster than looking up the hosts that could match. */
const FEW_POOLS = 8;

// A pool matches its own host and every host below it (`poolMatches`), so this looks up the host of the address and what follows
// each of its dots. A pool with a longer host cannot be bound.
function* poolsOf(pools: ReadonlyMap<string, Pool>, address: string, at: number): Generator<Pool, void> {
  const first = address.length - LIMITS.maxAddressBytes;
  for (let before = address.length; before > at; ) {
    before = Math.max(at, address.lastIndexOf('.', before - 1));
    if (before < first) return;
    if (address.charCodeAt(before + 1) === DOT) continue;
    const pool = pools.get(address.slice(before + 1));
    if (pool !== undefined) yield pool;
  }
}

function memberOfMany(
  pools: ReadonlyMap<string, Pool>,
  address: string,
  at: number,
  except: Session | undefined,
  messageId: string,
  isClosed: boolean,
): Session | undefined {
  let best: Session | undefined;
  let rank = Number.POSITIVE_INFINITY;
  for (const pool of poolsOf(pools, address, at)) {
    if (pool.rank > rank) continue;
    const member = pick(membersOf(pool, isClosed), except, messageId);
    if (member === undefined) continue;
    best = member;
    rank = pool.rank;
  }
  return best;
}

/** Addresses and capabilities of one node. */
interface Served {
  readonly addresses: Set<string>;
  /** Capabilities, each with the addresses that have it. */
  readonly capabilities: Map<string, Set<string>>;
}

/** The bindings and advertisements of one node. */
interface NodeBindings extends Served {
  /** Count of capabilities, each once for each of its addresses. */
  advertisements: number;
  /** True if its bindings count towards `MAX_ANONYMOUS`. */
  readonly isAnonymous: boolean;
  /** Usage of its principal. */
  readonly quota: PrincipalQuota | undefined;
  /** Those from before the loss of the connection that the node has not repeated yet. */
  reserved: Served | undefined;
}

/**
 * Minimum of the common limit on addresses and advertisements of nodes without a key, each of up to 1.5 KB. One node may use
 * as much of the limit as the others leave.
 */
const MAX_ANONYMOUS = 131_072;

/** Addresses and capabilities that no node serves any more. */
export interface RemovedBindings {
  readonly addresses: readonly string[];
  readonly capabilities: readonly string[];
}

const NO_BINDINGS: RemovedBindings = Object.freeze({ addresses: [], capabilities: [] });

export class Bindings {
  /** Exact addresses of nodes below us. */
  readonly #own = new Map<string, Session>();
  /** Exact addresses that peers announced, each with these peers. The first one that announced an address serves it. */
  readonly #peers = new Map<string, Session[]>();
  /** Pools by participant, then by the host behind their `*.`. */
  readonly #pools = new Map<string, Map<string, Pool>>();
  #nextRank = 0;
  /** Memberships of nodes with a key in pools. */
  #keyedMembers = 0;
  /** Providers of each capability. */
  readonly #capabilities = new Map<string, Set<Session>>();
  readonly #byNode = new Map<Session, NodeBindings>();
  /** Addresses without a node that belong to the key of their last holder, each with the id of that key. */
  readonly #held = new Map<string, string>();
  /** Addresses and advertisements of nodes without a key. */
  #anonymous = 0;
  readonly #maxAnonymous: number;

  constructor(maxPerNode: number, maxAnonymous = Math.max(MAX_ANONYMOUS, 2 * maxPerNode)) {
    this.#maxAnonymous = maxAnonymous;
  }

  /**
   * The node that serves this exact address; nodes below us come before peers. A node without a connection keeps its addresses
   * during its resume window, and no node serves an address that is held for a key. A stranger that bound an address before a pool of
   * nodes with a key had it does not serve it.
   */
  owner(address: string): Session | undefined {
    const own = this.#own.get(address);
    const mayBeClosed = this.#keyedMembers > 0 && own !== undefined && isStranger(own);
    if (mayBeClosed && this.closedPool(address) !== undefined) return undefined;
    return own ?? (this.isHeld(address) ? undefined : this.#peers.get(address)?.[0]);
  }

  /** The pool of nodes with a key that has this address, if there is one. Strangers get no message to the address. */
  closedPool(address: string): string | undefined {
    if (this.#keyedMembers === 0) return undefined;
    const at = address.lastIndexOf('@');
    const pools = at < 0 ? undefined : this.#pools.get(address.slice(0, at));
    if (pools === undefined) return undefined;
    for (const { keyed, pattern } of poolsOf(pools, address, at)) {
      if (keyed > 0) return address.slice(0, at + 1) + pattern;
    }
    return undefined;
  }

  /** True if no node serves this address and it belongs to a key. */
  isHeld(address: string): boolean {
    return this.#held.size > 0 && this.#held.has(address);
  }

  /** Id of the key that an address without a node belongs to. */
  keyOf(address: string): string | undefined {
    return this.#held.get(address);
  }

  /** Keeps an exact address for a key; `false` if it is that of a pool. */
  hold(address: string, key: string): boolean {
    if (poolName(address) !== undefined) return false;
    this.#held.set(address, key);
    return true;
  }

  endHold(address: string): void {
    this.#held.delete(address);
  }

  /** The node below us that serves this exact address. */
  ownOwner(address: string): Session | undefined {
    return this.#own.get(address);
  }

  get hasPools(): boolean {
    return this.#pools.size > 0;
  }

  /** One attached member of a pool that matches `address`; of several pools, of the one that was bound first. */
  poolMember(address: string, except: Session | undefined, messageId: string): Session | undefined {
    const at = address.lastIndexOf('@');
    const pools = at < 0 ? undefined : this.#pools.get(address.slice(0, at));
    if (pools === undefined) return undefined;
    const isClosed = this.closedPool(address) !== undefined;
    if (pools.size > FEW_POOLS) return memberOfMany(pools, address, at, except, messageId, isClosed);
    const host = address.slice(at + 1);
    for (const pool of pools.values()) {
      if (!poolMatches(pool.pattern, host)) continue;
      const member = pick(membersOf(pool, isClosed), except, messageId);
      if (member) return member;
    }
    return undefined;
  }

  /**
   * One attached node that has all of these capabilities. While a node with a key has them, even a disconnected one, only
   * nodes with a key are chosen. So a stranger that advertises the same capabilities takes no calls from them. With `mayCall`,
   * only nodes are chosen for which it is true at every address that has the capabilities: the node decides which of them serves
   * the message.
   */
  provider(
    capabilities: readonly string[],
    except: Session | undefined,
    messageId: string,
    mayCall?: (address: string, provider: Session) => boolean,
  ): Session | undefined {
    const [first, ...rest] = capabilities;
    const providers = first === undefined ? undefined : this.#capabilities.get(first);
    if (providers === undefined) return undefined;
    let all: Iterable<Session> = providers;
    if (rest.length > 0) {
      all = [...providers].filter((node) =>
        rest.every((name) => this.#byNode.get(node)?.capabilities.has(name)),
      );
    }
    if (mayCall !== undefined) {
      all = [...all].filter((node) => {
        const own = this.#byNode.get(node)?.capabilities;
        const able = [...(own?.get(first!) ?? [])].filter((address) =>
          rest.every((name) => own?.get(name)?.has(address)),
        );
        return able.length > 0 && able.every((address) => mayCall(address, node));
      });
    }
    const keyed = [...all].filter((node) => node !== except && isKeyed(node.terms.principal));
    return keyed.length > 0 ? (pick(keyed, except, messageId) ?? keyed[0]) : pick(all, except, messageId);
  }

  /** True if only nodes that lost their connection have this capability, and have not advertised it again. */
  isCapabilityReserved(capability: string): boolean {
    const providers = this.#capabilities.get(capability);
    if (providers === undefined) return false;
    for (const node of providers) {
      if (!this.#byNode.get(node)?.reserved?.capabilities.has(capability)) return false;
    }
    return true;
  }

  providersOf(capability: string): Iterable<Session> {
    return this.#capabilities.get(capability) ?? [];
  }

  /** True if the node that serves this exact address lost its connection and has not bound the address again. */
  isReserved(address: string): boolean {
    const owner = this.#own.get(address);
    return (owner && this.#byNode.get(owner)?.reserved?.addresses.has(address)) ?? false;
  }

  /**
   * Keeps the bindings of a node that lost its connection. When it returns, it binds again what it still serves. Returns `false`
   * if it has none.
   */
  reserve(session: Session): boolean {
    const node = this.#byNode.get(session);
    if (node === undefined) return false;
    const capabilities = new Map<string, Set<string>>();
    for (const [capability, addresses] of node.capabilities) capabilities.set(capability, new Set(addresses));
    node.reserved = { addresses: new Set(node.addresses), capabilities };
    return true;
  }

  /** Removes the bindings that a returned node has not repeated. Returns those that no other node serves. */
  removeReserved(session: Session): RemovedBindings {
    const node = this.#byNode.get(session);
    const reserved = node?.reserved;
    if (node === undefined || reserved === undefined) return NO_BINDINGS;
    node.reserved = undefined;
    const addresses: string[] = [];
    for (const address of reserved.addresses) {
      if (this.#forget(node, address) && this.#release(address, session)) addresses.push(address);
    }
    const capabilities: string[] = [];
    for (const [capability, of] of reserved.capabilities) {
      for (const address of of) this.withdraw(capability, address, session);
      if (!this.hasProvider(capability)) capabilities.push(capability);
    }
    return { addresses, capabilities };
  }

  hasProvider(capability: string): boolean {
    return this.#capabilities.has(capability);
  }

  addressesOf(node: Session): ReadonlySet<string> | undefined {
    return this.#byNode.get(node)?.addresses;
  }

  /**
   * The addresses of a node that serve a message to `to`, which is an address at its path. A node serves `vault@fame.fabric` as
   * `vault@/S/node`, too, and its system mailbox is any of its addresses.
   */
  *servedAtPath(to: string, node: Session): Iterable<string> {
    const start = to.slice(0, to.lastIndexOf('@') + 1);
    const isAny = start === SYSTEM_START;
    for (const address of this.addressesOf(node) ?? []) if (isAny || address.startsWith(start)) yield address;
  }

  capabilitiesOf(node: Session): Iterable<string> {
    return this.#byNode.get(node)?.capabilities.keys() ?? [];
  }

  /** Capabilities of a node, each with the addresses that have it. */
  advertisementsOf(node: Session): ReadonlyMap<string, ReadonlySet<string>> {
    return new Map(this.#byNode.get(node)?.capabilities);
  }

  /** Advertisements of a node: each capability counts once for each of its addresses. */
  advertisementCount(node: Session): number {
    return this.#byNode.get(node)?.advertisements ?? 0;
  }

  /** Number of bindings that the common limit leaves to this node. The node's own limit also applies. */
  roomFor(node: Session): number {
    return isStranger(node) ? this.#maxAnonymous - this.#anonymous : Number.POSITIVE_INFINITY;
  }

  #count(node: NodeBindings, change: number): void {
    if (node.isAnonymous) this.#anonymous += change;
  }

  #countAddresses(node: NodeBindings, change: number): void {
    this.#count(node, change);
    if (node.quota !== undefined) node.quota.addresses += change;
  }

  // Takes an address out of the list of a node; `false` if it is not there.
  #forget(node: NodeBindings, address: string): boolean {
    const had = node.addresses.delete(address);
    if (had) this.#countAddresses(node, -1);
    return had;
  }

  /** Every exact or pool address of the nodes below us, with a node that serves it. */
  *ownAddresses(): Iterable<{ address: string; session: Session }> {
    for (const [address, session] of this.#own) yield { address, session };
    for (const [participant, pools] of this.#pools) {
      for (const { pattern, members } of pools.values()) {
        for (const session of members) {
          if (session.kind === 'node') yield { address: `${participant}@${pattern}`, session };
        }
      }
    }
  }

  /** Every capability of the nodes below us, with one address of each provider. */
  *ownCapabilities(): Iterable<{ capability: string; address: string }> {
    for (const [capability, providers] of this.#capabilities) {
      for (const provider of providers) {
        const [address] = this.#byNode.get(provider)?.capabilities.get(capability) ?? [];
        if (provider.kind === 'node' && address !== undefined) yield { capability, address };
      }
    }
  }

  /** True if a node below us serves this exact address or pool. */
  isOwn(address: string): boolean {
    if (this.#own.has(address)) return true;
    return (this.#poolOf(address)?.nodes ?? 0) > 0;
  }

  /** True if a node with a key is a member of this pool. */
  hasKeyedMember(pool: string): boolean {
    return (this.#poolOf(pool)?.keyed ?? 0) > 0;
  }

  /** The nodes without a key in a pool, and those that bound an exact address of it, each with that address. */
  *strangersIn(pool: string): Iterable<{ readonly session: Session; readonly address: string }> {
    for (const session of this.#poolOf(pool)?.members ?? [])
      if (isStranger(session)) yield { session, address: pool };
    const name = poolName(pool);
    if (name === undefined) return;
    const start = `${name.participant}@`;
    for (const [address, session] of this.#own) {
      if (!isStranger(session) || !address.startsWith(start)) continue;
      if (poolMatches(POOL_PREFIX + name.host, address.slice(start.length))) yield { session, address };
    }
  }

  #countKeyed(pool: Pool, change: number): void {
    pool.keyed += change;
    this.#keyedMembers += change;
  }

  #poolOf(address: string): Pool | undefined {
    const name = poolName(address);
    return name && this.#pools.get(name.participant)?.get(name.host);
  }

  /**
   * Binds `address` to `session`. A node replaces the owner, which the caller has challenged. A peer replaces nothing: it
   * serves the address once the peers that announced it earlier have left.
   */
  add(address: string, session: Session): void {
    const node = this.#ofNode(session);
    if (!node.addresses.has(address)) this.#countAddresses(node, 1);
    node.addresses.add(address);
    node.reserved?.addresses.delete(address);
    const name = poolName(address);
    if (name !== undefined) {
      const { participant, host } = name;
      let pools = this.#pools.get(participant);
      if (pools === undefined) {
        pools = new Map();
        this.#pools.set(participant, pools);
      }
      let pool = pools.get(host);
      if (pool === undefined) {
        pool = {
          pattern: POOL_PREFIX + host,
          members: new Set(),
          trusted: new Set(),
          keyed: 0,
          nodes: 0,
          rank: this.#nextRank++,
        };
        pools.set(host, pool);
      }
      if (pool.members.has(session)) return;
      if (session.kind === 'node') pool.nodes++;
      pool.members.add(session);
      if (!isStranger(session)) {
        pool.trusted.add(session);
        if (session.kind === 'node') this.#countKeyed(pool, 1);
      }
      return;
    }
    if (session.kind === 'peer') {
      const peers = this.#peers.get(address);
      if (peers === undefined) this.#peers.set(address, [session]);
      else if (!peers.includes(session)) peers.push(session);
      return;
    }
    const earlier = this.#own.get(address);
    if (earlier !== undefined && earlier !== session) this.#forget(this.#ofNode(earlier), address);
    this.#own.set(address, session);
  }

  /** Unbinds `address` from `session`; `false` if it was not bound to it. */
  remove(address: string, session: Session): boolean {
    const node = this.#byNode.get(session);
    if (node === undefined || !this.#forget(node, address)) return false;
    this.#release(address, session);
    return true;
  }

  // Takes an address from a session; returns `true` if no node below us serves it any more.
  #release(address: string, session: Session): boolean {
    const name = poolName(address);
    if (name === undefined) {
      if (session.kind === 'peer') this.#releasePeer(address, session);
      else if (this.#own.get(address) === session) this.#own.delete(address);
      return !this.#own.has(address);
    }
    const { participant, host } = name;
    const pools = this.#pools.get(participant);
    const pool = pools?.get(host);
    if (pools === undefined || pool === undefined) return true;
    if (pool.members.delete(session) && session.kind === 'node') pool.nodes--;
    if (pool.trusted.delete(session) && session.kind === 'node') this.#countKeyed(pool, -1);
    if (pool.members.size === 0) {
      pools.delete(host);
      if (pools.size === 0) this.#pools.delete(participant);
    }
    return pool.nodes === 0;
  }

  #releasePeer(address: string, peer: Session): void {
    const peers = this.#peers.get(address);
    const at = peers?.indexOf(peer) ?? -1;
    if (at < 0) return;
    if (peers!.length === 1) this.#peers.delete(address);
    else peers!.splice(at, 1);
  }

  /** True if the node bound this address, or a pool that matches it. An address of another node is not in its pool. */
  serves(address: string, session: Session): boolean {
    const addresses = this.#byNode.get(session)?.addresses;
    if (addresses === undefined) return false;
    if (addresses.has(address)) return true;
    if (this.#own.has(address)) return false;
    const at = address.lastIndexOf('@');
    const pool = address.slice(0, at + 1) + POOL_PREFIX;
    // The pools that match are those of the host and of what follows each of its dots.
    for (let before = at; before >= at; before = address.indexOf('.', before + 1)) {
      if (addresses.has(pool + address.slice(before + 1))) return true;
    }
    return false;
  }

  advertise(capability: string, address: string, session: Session): void {
    const node = this.#ofNode(session);
    const { capabilities, reserved } = node;
    if (reserved !== undefined) removeFrom(reserved.capabilities, capability, address);
    if (capabilities.get(capability)?.has(address)) return;
    node.advertisements++;
    this.#count(node, 1);
    addTo(capabilities, capability, address);
    addTo(this.#capabilities, capability, session);
  }

  /** Withdraws a capability of an address; `false` if it was not advertised. */
  withdraw(capability: string, address: string, session: Session): boolean {
    const node = this.#byNode.get(session);
    if (node === undefined || !removeFrom(node.capabilities, capability, address)) return false;
    node.advertisements--;
    this.#count(node, -1);
    if (!node.capabilities.has(capability)) removeFrom(this.#capabilities, capability, session);
    return true;
  }

  /** Removes all bindings of a session; returns those that no other node serves. */
  removeAll(session: Session): RemovedBindings {
    const node = this.#byNode.get(session);
    if (node === undefined) return NO_BINDINGS;
    this.#byNode.delete(session);
    this.#countAddresses(node, -node.addresses.size);
    this.#count(node, -node.advertisements);
    const addresses: string[] = [];
    for (const address of node.addresses) if (this.#release(address, session)) addresses.push(address);
    const capabilities: string[] = [];
    for (const capability of node.capabilities.keys()) {
      removeFrom(this.#capabilities, capability, session);
      if (!this.hasProvider(capability)) capabilities.push(capability);
    }
    return { addresses, capabilities };
  }

  #ofNode(session: Session): NodeBindings {
    let node = this.#byNode.get(session);
    if (node === undefined) {
      node = {
        addresses: new Set(),
        capabilities: new Map(),
        advertisements: 0,
        isAnonymous: isStranger(session),
        quota: session.quota,
        reserved: undefined,
      };
      this.#byNode.set(session, node);
    }
    return node;
  }
}

/** Participant and host of a pool, the host without its `*.`; `undefined` for any other address. */
function poolName(address: string): { participant: string; host: string } | undefined {
  const at = address.lastIndexOf('@');
  if (!address.startsWith(POOL_PREFIX, at + 1)) return undefined;
  return { participant: address.slice(0, at), host: address.slice(at + 1 + POOL_PREFIX.length) };
}
