// Who serves what: exact addresses, pools (`w@*.fame.fabric`) and capabilities, each kept as a long-lived table that only
// changes when a node binds, unbinds or leaves. Reading is what the router does for every message; it copies nothing.
import { poolMatches, tryParseAddress } from '@fame-fabric/shared';
import type { Session } from './session/session.ts';

/** Picks one member of a pool for a message: the same message id always gives the same member. */
function pick(members: Iterable<Session>, except: Session, messageId: string): Session | undefined {
  let best: Session | undefined;
  let highest = -1;
  for (const member of members) {
    if (member === except || member.state !== 'attached') continue;
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
}

export class Bindings {
  /** Exact addresses of nodes below us. */
  readonly #own = new Map<string, Session>();
  /** Exact addresses that peers told us of. */
  readonly #peers = new Map<string, Session>();
  /** Pools by participant. */
  readonly #pools = new Map<string, Pool[]>();
  readonly #capabilities = new Map<string, Set<Session>>();

  /** Who has the exact address; nodes below us come before peers. */
  owner(address: string): Session | undefined {
    return this.#own.get(address) ?? this.#peers.get(address);
  }

  /** Who has it among the nodes below us. */
  ownOwner(address: string): Session | undefined {
    return this.#own.get(address);
  }

  get hasPools(): boolean {
    return this.#pools.size > 0;
  }

  /** One living member of a pool that takes `address`. */
  poolMember(address: string, except: Session, messageId: string): Session | undefined {
    const at = address.lastIndexOf('@');
    const pools = this.#pools.get(address.slice(0, at));
    if (pools === undefined) return undefined;
    const host = address.slice(at + 1);
    for (const pool of pools) {
      if (!poolMatches(pool.pattern, host)) continue;
      const member = pick(pool.members, except, messageId);
      if (member) return member;
    }
    return undefined;
  }

  /** One living node that has all of these capabilities. */
  provider(capabilities: readonly string[], except: Session, messageId: string): Session | undefined {
    const [first, ...rest] = capabilities;
    const providers = first === undefined ? undefined : this.#capabilities.get(first);
    if (providers === undefined) return undefined;
    if (rest.length === 0) return pick(providers, except, messageId);
    const all = [...providers].filter((node) => rest.every((name) => node.capabilities?.has(name)));
    return pick(all, except, messageId);
  }

  hasProvider(capability: string): boolean {
    return this.#capabilities.has(capability);
  }

  /** Every exact or pool address of the nodes below us, with its owner; for telling a new parent or peer. */
  *ownAddresses(): Iterable<{ address: string; session: Session }> {
    for (const [address, session] of this.#own) yield { address, session };
    for (const [participant, pools] of this.#pools) {
      for (const { pattern, members } of pools) {
        for (const session of members) {
          if (session.kind === 'node') yield { address: `${participant}@${pattern}`, session };
        }
      }
    }
  }

  *ownCapabilities(): Iterable<{ capability: string; address: string }> {
    for (const [capability, providers] of this.#capabilities) {
      for (const provider of providers) {
        const [address] = provider.capabilities?.get(capability) ?? [];
        if (provider.kind === 'node' && address !== undefined) yield { capability, address };
      }
    }
  }

  /** Gives `address` to `session`. Exclusive addresses go to whoever is named here; the caller has asked the owner. */
  add(address: string, session: Session): void {
    session.addresses ??= new Set();
    session.addresses.add(address);
    const { participant, host } = tryParseAddress(address)!;
    if (host?.startsWith('*.')) {
      const pools = this.#pools.get(participant) ?? [];
      if (pools.length === 0) this.#pools.set(participant, pools);
      let pool = pools.find((candidate) => candidate.pattern === host);
      if (pool === undefined) {
        pool = { pattern: host, members: new Set() };
        pools.push(pool);
      }
      pool.members.add(session);
      return;
    }
    const table = session.kind === 'peer' ? this.#peers : this.#own;
    const earlier = table.get(address);
    if (earlier !== undefined && earlier !== session) earlier.addresses?.delete(address);
    table.set(address, session);
  }

  /** Takes `address` from `session`; `false` when it did not have it. */
  remove(address: string, session: Session): boolean {
    if (!session.addresses?.delete(address)) return false;
    const { participant, host } = tryParseAddress(address)!;
    if (host?.startsWith('*.')) {
      const pools = this.#pools.get(participant);
      const pool = pools?.find((candidate) => candidate.pattern === host);
      pool?.members.delete(session);
      if (pool?.members.size === 0) pools!.splice(pools!.indexOf(pool), 1);
      if (pools?.length === 0) this.#pools.delete(participant);
      return true;
    }
    const table = session.kind === 'peer' ? this.#peers : this.#own;
    if (table.get(address) === session) table.delete(address);
    return true;
  }

  /** Whether a node below us serves this exact address or pool. */
  isOwn(address: string): boolean {
    if (this.#own.has(address)) return true;
    const { participant, host } = tryParseAddress(address)!;
    const pool = this.#pools.get(participant)?.find(({ pattern }) => pattern === host);
    return pool !== undefined && [...pool.members].some(({ kind }) => kind === 'node');
  }

  advertise(capability: string, address: string, session: Session): void {
    session.capabilities ??= new Map();
    const addresses = session.capabilities.get(capability);
    if (addresses) addresses.add(address);
    else session.capabilities.set(capability, new Set([address]));
    const providers = this.#capabilities.get(capability);
    if (providers) providers.add(session);
    else this.#capabilities.set(capability, new Set([session]));
  }

  withdraw(capability: string, address: string, session: Session): boolean {
    const addresses = session.capabilities?.get(capability);
    if (!addresses?.delete(address)) return false;
    if (addresses.size === 0) {
      session.capabilities!.delete(capability);
      const providers = this.#capabilities.get(capability);
      providers?.delete(session);
      if (providers?.size === 0) this.#capabilities.delete(capability);
    }
    return true;
  }

  /** Takes away all that a session has; returns the addresses and the capabilities that nobody has any more. */
  removeAll(session: Session): { addresses: string[]; capabilities: string[] } {
    const removed = [...(session.addresses ?? [])];
    for (const address of removed) this.remove(address, session);
    const addresses = removed.filter((address) => !this.isOwn(address));
    const capabilities: string[] = [];
    for (const [capability, names] of [...(session.capabilities ?? [])]) {
      for (const address of [...names]) this.withdraw(capability, address, session);
      if (!this.#capabilities.has(capability)) capabilities.push(capability);
    }
    return { addresses, capabilities };
  }
}
