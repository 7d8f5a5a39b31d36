// Exclusive addresses have one owner in the cluster. A sentinel asks the others before it binds an address for a node: without
// responders the address is free. The sentinel of the owner decides as it does between its own nodes (`address-challenge.ts`): a live owner
// keeps the address, and a node with the same key takes it over from one that is gone or drained. The table of owners (`owner-table.ts`)
// decides for sentinels that are gone: their addresses are reserved for the resume window, and then for their keys. Of two claims at the
// same time, and of two owners after a loss of NATS, the older one wins (`epochs.ts`).
//
// Invariants: C1 a sentinel answers claims for each address that one of its nodes has, is about to bind, or holds for its key. C2 a claim is
// decided within `MAX_WAIT_MS`. C3 a claim blocks younger ones only until it is known that an owner or the table of owners decides: a node
// with the key of the owner must not be refused because of a claim that will be refused itself.
import type { Clock, Logger, Timer } from '@fame-fabric/shared';
import { haveSameKey, isKeyed } from '../access/access.ts';
import type { AddressChallenge } from '../address-challenge.ts';
import type { Bindings } from '../bindings.ts';
import type { Identity } from '../identity.ts';
import type { Session } from '../session/session.ts';
import type { SessionListener } from '../session/sessions.ts';
import type { Bus, BusMessage, BusSubscription } from './bus.ts';
import { type ClaimMessage, readClaim, readVerdict, type Verdict } from './claim-messages.ts';
import type { Epochs } from './epochs.ts';
import type { Inbox } from './inbox.ts';
import type { OwnerRecord, OwnerTable } from './owner-table.ts';
import { SILENT_MS } from './pair.ts';
import type { Subjects } from './subjects.ts';

/** Longest wait for a decision, in ms. Nodes of other implementations wait 20 s for the ack of a bind. */
const MAX_WAIT_MS = 18_000;
/** Time in which other sentinels may object after the first answer without an objection, in ms. */
const OBJECTION_MS = 50;
/** Pause before a claim is repeated that must wait, in ms. */
const RETRY_MS = 1_000;
/** Binds of one node that wait for one claim. Some nodes send each bind twice; beyond this number the oldest is refused. */
const MAX_PER_NODE = 4;
/** Time limit for the bind of a node at another sentinel that was granted an address, in ms. */
const GIVEN_UP_MS = 1_000;
/** Maximum number of claims of other sentinels that wait for one claim. Further ones are refused. */
const MAX_BLOCKED = 256;
/** Maximum number of records that are written or removed at the same time. */
const RECORDS_AT_ONCE = 64;
/** Epoch of an address that was taken over from a sentinel that did not answer. It wins against that sentinel. */
const TAKEN_OVER = 0;

export interface AddressClaimsDeps {
  bus: Bus;
  clock: Clock;
  subjects: Subjects;
  inbox: Inbox;
  epochs: Epochs;
  identity: Identity;
  bindings: Bindings;
  challenge: AddressChallenge;
  listener: SessionListener;
  /** The table of owners while it is available. */
  owners: () => OwnerTable | undefined;
  /** Monotonic time in ms of the last frame of a sentinel; undefined without a link to it. */
  lastFrameAt: (id: string) => number | undefined;
  log: Logger;
}

export interface AddressClaimsOptions {
  readonly resumeWindowMs: number;
  /** Time for which an address without a node belongs to the key of its last holder. */
  readonly addressHoldMs: number;
}

/** Receives the decision: the reason for a refusal, or `undefined` if the claim is granted. */
export type OnClaimed = (refusal: string | undefined) => void;

interface Claim {
  readonly from: Session;
  readonly epoch: number;
  /** Monotonic time of the first question, in ms. */
  readonly askedAt: number;
  readonly waiting: { readonly node: Session; readonly onClaimed: OnClaimed }[];
  /** Timer of the decision, and timers of the present question. */
  limit: Timer | undefined;
  readonly timers: Timer[];
  /** Ids of sentinels that answered `wait` to the present question. */
  readonly awaited: Set<string>;
  /** Claims of other sentinels that wait for this one, by sentinel and principal. */
  readonly blocked: Map<string, AskedClaim>;
  /** True while the claim is written into the table of owners. */
  isRegistering: boolean;
  /** True if the sentinel of an owner or the table of owners decides. This claim then objects to no other one (C3). */
  hasOwner: boolean;
  /** True if an owner gave the address up for this claim. */
  isGivenUp: boolean;
  end: () => void;
}

/** A claim of another sentinel, with the subject of its answers. */
interface AskedClaim {
  readonly message: ClaimMessage;
  readonly reply: string;
}

export class AddressClaims {
  readonly #deps: AddressClaimsDeps;
  readonly #options: AddressClaimsOptions;
  /** Claims that wait, by address and principal: a node with the key of an owner must not wait behind another one. */
  readonly #pending = new Map<string, Map<string, Claim>>();
  /** Number of claims that wait, by node. */
  readonly #counts = new Map<Session, number>();
  /** Epochs of the addresses that nodes of this sentinel have. */
  readonly #epochs = new Map<string, number>();
  readonly #subscriptions = new Map<string, readonly BusSubscription[]>();
  /** Addresses that were unbound, and may be held for a key. */
  readonly #lingering = new Set<string>();
  /** Addresses that were given up to a claim, with the monotonic deadline of its bind, in ms. */
  readonly #givenUp = new Map<string, { readonly to: string; readonly until: number }>();

  constructor(deps: AddressClaimsDeps, options: AddressClaimsOptions) {
    this.#deps = deps;
    this.#options = options;
  }

  /**
   * Claims an address for a node, and calls `onClaimed`: at once for an address that a node of this sentinel has and while NATS is not connected,
   * else when the other sentinels have decided, within 18 s.
   */
  claim(address: string, from: Session, onClaimed: OnClaimed): void {
    const { bus, clock, epochs } = this.#deps;
    const principal = from.terms.principal.id;
    const ofAddress = this.#pending.get(address);
    const earlier = ofAddress?.get(principal);
    if (earlier !== undefined) {
      this.#wait(address, earlier, from, onClaimed);
      return;
    }
    if (this.#epochs.has(address) || !bus.isConnected) {
      onClaimed(undefined);
      return;
    }
    const claim: Claim = {
      from,
      epoch: epochs.next(true),
      askedAt: clock.monotonic(),
      waiting: [{ node: from, onClaimed }],
      limit: undefined,
      timers: [],
      awaited: new Set(),
      blocked: new Map(),
      isRegistering: false,
      hasOwner: false,
      isGivenUp: false,
      end: () => {},
    };
    if (ofAddress === undefined) this.#pending.set(address, new Map([[principal, claim]]));
    else ofAddress.set(principal, claim);
    this.#counts.set(from, this.waitingCount(from) + 1);
    // Subscribe before the question: of two sentinels that claim at the same time, at least one learns of the other.
    if (!isPool(address)) this.#listen(address);
    claim.limit = clock.after(MAX_WAIT_MS, () =>
      this.#decide(address, claim, `${address} belongs to a sentinel of the cluster that does not answer`),
    );
    this.#ask(address, claim);
  }

  #wait(address: string, { waiting }: Claim, node: Session, onClaimed: OnClaimed): void {
    waiting.push({ node, onClaimed });
    const ofNode = waiting.filter((one) => one.node === node);
    if (ofNode.length <= MAX_PER_NODE) return;
    const [oldest] = ofNode;
    waiting.splice(waiting.indexOf(oldest!), 1);
    oldest!.onClaimed(inUse(address));
  }

  /** Returns the number of waiting claims of a node. */
  waitingCount(from: Session): number {
    return this.#counts.get(from) ?? 0;
  }

  #isPending(address: string, claim: Claim): boolean {
    return this.#pending.get(address)?.get(claim.from.terms.principal.id) === claim;
  }

  #ask(address: string, claim: Claim): void {
    this.#endQuestion(claim);
    const { bus, clock, identity, inbox, subjects } = this.#deps;
    const { epoch, from } = claim;
    const { path, terms } = from;
    const { id, roles } = terms.principal;
    const message: ClaimMessage = { id: identity.id, path, epoch, principal: { id, roles } };
    let isAnswered = false;
    let objectionTime: Timer | undefined;
    let isObjectionTimeOver = false;
    const registerIfClear = (): void => {
      if (isObjectionTimeOver && claim.awaited.size === 0) this.#register(address, claim);
    };
    claim.end = inbox.ask(subjects.claim(address), Buffer.from(JSON.stringify(message)), (answer) => {
      isAnswered = true;
      if (answer === undefined) {
        this.#register(address, claim);
        return;
      }
      const verdict = readVerdict(answer);
      if (verdict === undefined) return;
      if (verdict.verdict === 'refused') {
        this.#decide(address, claim, verdict.reason ?? 'It is in use');
      } else if (verdict.verdict === 'wait') {
        claim.awaited.add(verdict.id);
        if (verdict.hasOwner) this.#yieldToOwner(address, claim);
      } else {
        claim.awaited.delete(verdict.id);
        claim.isGivenUp ||= verdict.verdict === 'granted';
        objectionTime ??= clock.after(OBJECTION_MS, () => {
          isObjectionTimeOver = true;
          registerIfClear();
        });
        claim.timers.push(objectionTime);
        registerIfClear();
      }
    });
    claim.timers.push(
      clock.after(SILENT_MS + this.#options.resumeWindowMs, () => {
        if (isAnswered) return;
        if (bus.isConnected) this.#register(address, claim, TAKEN_OVER);
        else this.#decide(address, claim, undefined);
      }),
    );
  }

  #endQuestion(claim: Claim): void {
    claim.end();
    for (const timer of claim.timers.splice(0)) timer.stop();
    claim.awaited.clear();
  }

  // An owner or the table of owners decides about the claim, so it blocks no other one.
  #yieldToOwner(address: string, claim: Claim): void {
    claim.hasOwner = true;
    this.#unblock(address, claim);
  }

  #unblock(address: string, { blocked }: Claim): void {
    const claims = [...blocked.values()];
    blocked.clear();
    for (const asked of claims) this.#answer(address, asked);
  }

  // Writes a claim to which no sentinel objects into the table of owners.
  #register(address: string, claim: Claim, epoch = claim.epoch): void {
    const owners = isPool(address) ? undefined : this.#deps.owners();
    this.#endQuestion(claim);
    if (owners === undefined) {
      this.#decide(address, claim, undefined, epoch);
      return;
    }
    const { identity } = this.#deps;
    const record = { sentinel: identity.id, principal: claim.from.terms.principal.id, epoch };
    const isTaken = claim.isGivenUp || epoch === TAKEN_OVER;
    claim.isRegistering = true;
    this.#write(owners, address, record, { isTaken, askedAt: claim.askedAt }).then(
      (outcome) => {
        claim.isRegistering = false;
        if (outcome === 'written') this.#decide(address, claim, undefined, epoch);
        else if (outcome !== 'wait') this.#decide(address, claim, outcome.refusal);
        else if (this.#isPending(address, claim)) {
          this.#yieldToOwner(address, claim);
          this.#askLater(address, claim);
        }
      },
      // Without the table the answers of the living sentinels decide.
      () => this.#decide(address, claim, undefined, epoch),
    );
  }

  #askLater(address: string, claim: Claim): void {
    this.#endQuestion(claim);
    claim.timers.push(
      this.#deps.clock.after(RETRY_MS, () => {
        // Another node of this sentinel got the address in the meantime: the sentinel decides between the two.
        if (this.#epochs.has(address)) this.#decide(address, claim, undefined);
        else this.#ask(address, claim);
      }),
    );
  }

  /** Repeats the claims that waited for a sentinel that is gone. */
  lost(sentinel: string): void {
    for (const [address, claims] of this.#pending)
      for (const claim of claims.values()) if (claim.awaited.has(sentinel)) this.#askLater(address, claim);
  }

  async #write(
    owners: OwnerTable,
    address: string,
    record: OwnerRecord,
    { isTaken, askedAt }: { readonly isTaken: boolean; readonly askedAt: number },
  ): Promise<'written' | 'wait' | { readonly refusal: string }> {
    const { epochs, lastFrameAt, identity } = this.#deps;
    const { record: owner, revision } = await owners.get(address);
    if (owner !== undefined) epochs.receive(owner.epoch);
    // If the sentinel sent something after it did not answer for the address, its record is out of date.
    const isGone =
      owner !== undefined && owner.sentinel !== identity.id && (lastFrameAt(owner.sentinel) ?? -1) <= askedAt;
    if (isGone && !isTaken && !haveSameKey({ id: owner.principal }, { id: record.principal })) {
      const { addressHoldMs, resumeWindowMs } = this.#options;
      const { ageMs, hasLeft } = await owners.leaseOf(owner.sentinel);
      const goneMs = hasLeft ? ageMs : ageMs - SILENT_MS;
      if (!hasLeft && goneMs < resumeWindowMs) return 'wait';
      if (goneMs < addressHoldMs && isKeyed({ id: owner.principal })) {
        return {
          refusal: `${address} belongs to the key "${owner.principal}". Attach with that key, or wait until ${addressHoldMs / 1_000} s after its node has left (FAME_ADDRESS_HOLD_MS).`,
        };
      }
    }
    return (await owners.put(address, record, revision)) ? 'written' : 'wait';
  }

  /** Writes all addresses of this sentinel into a new table of owners. Returns those with an older owner, and the sentinel of that one. */
  async restore(owners: OwnerTable): Promise<ReadonlyMap<string, string>> {
    const lost = new Map<string, string>();
    // The lease of this sentinel is not renewed until all are written, so they do not wait for each other.
    await inParts([...this.#epochs], async ([address, epoch]) => {
      const winner = await this.#restoreOne(owners, address, epoch);
      if (winner !== undefined) lost.set(address, winner);
    });
    return lost;
  }

  // Returns the sentinel of an older owner.
  async #restoreOne(owners: OwnerTable, address: string, epoch: number): Promise<string | undefined> {
    const { bindings, identity, lastFrameAt } = this.#deps;
    const principal = bindings.ownOwner(address)?.terms.principal.id;
    if (principal === undefined) return undefined;
    const { record, revision } = await owners.get(address);
    const { id } = identity;
    const isTheirs =
      record !== undefined && record.sentinel !== id && lastFrameAt(record.sentinel) !== undefined;
    if (isTheirs && isOlder({ epoch: record.epoch, id: record.sentinel }, { epoch, id }))
      return record.sentinel;
    await owners.put(address, { sentinel: id, principal, epoch }, revision);
    return undefined;
  }

  /**
   * Removes the records of the addresses that belong to no key, because this sentinel leaves. Those of a key stay, so that they are reserved
   * for it as after the loss of a node.
   */
  async leave(owners: OwnerTable): Promise<void> {
    const { bindings } = this.#deps;
    const free = [...new Set([...this.#epochs.keys(), ...this.#lingering])].filter((address) => {
      const principal = bindings.ownOwner(address)?.terms.principal;
      return principal === undefined ? !bindings.isHeld(address) : !isKeyed(principal);
    });
    this.#epochs.clear();
    await inParts(free, (address) => this.#removeFrom(owners, address));
  }

  async #removeFrom(owners: OwnerTable, address: string): Promise<void> {
    const { record, revision } = await owners.get(address);
    const isOurs = record?.sentinel === this.#deps.identity.id && !this.#epochs.has(address);
    if (isOurs) await owners.remove(address, revision);
  }

  #decide(address: string, claim: Claim, refusal: string | undefined, epoch = claim.epoch): void {
    if (!this.#isPending(address, claim)) return;
    this.#endQuestion(claim);
    claim.limit?.stop();
    if (refusal === undefined && !isPool(address) && !this.#epochs.has(address))
      this.#epochs.set(address, epoch);
    this.#removePending(address, claim);
    for (const { onClaimed } of claim.waiting) onClaimed(refusal);
    // The node may have lost its connection in the meantime, or may be refused for another reason.
    if (this.#deps.bindings.ownOwner(address) === undefined) this.#release(address);
    this.#unblock(address, claim);
  }

  #removePending(address: string, { from }: Claim): void {
    const ofAddress = this.#pending.get(address);
    ofAddress?.delete(from.terms.principal.id);
    if (ofAddress?.size === 0) this.#pending.delete(address);
    const count = this.waitingCount(from) - 1;
    if (count > 0) this.#counts.set(from, count);
    else this.#counts.delete(from);
  }

  /** Closes a pool to strangers at all sentinels, because a node with a key has bound it. */
  closedPool(pool: string): void {
    this.#lingering.delete(pool);
    this.#listen(pool);
  }

  /** Records that a node of this sentinel has bound an exact address. */
  bound(address: string): void {
    this.#givenUp.delete(address);
    if (!this.#epochs.has(address)) {
      const { bus, epochs } = this.#deps;
      this.#epochs.set(address, epochs.next(bus.isConnected));
    }
    this.#lingering.delete(address);
    this.#listen(address);
  }

  /** Records that no node of this sentinel has the address any more. Its key may hold it. */
  unbound(address: string): void {
    this.#release(address);
  }

  /** Epoch of an address of this sentinel. */
  epochOf(address: string): number | undefined {
    return this.#epochs.get(address);
  }

  /**
   * Decides about an address that a node at another sentinel has, too. Returns `own` if the node of this sentinel keeps it, `theirs` if it
   * must give it up, and `none` if no node of this sentinel has it.
   */
  conflict(address: string, id: string, epoch: number): 'own' | 'theirs' | 'none' {
    const own = this.#epochs.get(address);
    if (own === undefined || this.#deps.bindings.ownOwner(address) === undefined) return 'none';
    return isOlder({ epoch, id }, { epoch: own, id: this.#deps.identity.id }) ? 'theirs' : 'own';
  }

  #release(address: string): void {
    this.#epochs.delete(address);
    if (this.#subscriptions.has(address)) this.#lingering.add(address);
  }

  #listen(address: string): void {
    const { bus, subjects } = this.#deps;
    if (this.#subscriptions.has(address)) return;
    const answer = (message: BusMessage): void => this.#receive(address, message);
    this.#subscriptions.set(
      address,
      subjects.claimsOf(address).map((subject) => bus.subscribe(subject, answer)),
    );
  }

  #receive(address: string, { payload, reply }: BusMessage): void {
    const message = readClaim(payload);
    if (message === undefined || reply === '') return;
    this.#deps.epochs.receive(message.epoch);
    this.#answer(address, { message, reply });
  }

  #answer(address: string, asked: AskedClaim): void {
    const { message, reply } = asked;
    const { bindings, bus, challenge, identity } = this.#deps;
    const answer = (verdict: Omit<Verdict, 'id'>): void =>
      bus.publish(reply, Buffer.from(JSON.stringify({ id: identity.id, ...verdict })));
    if (isPool(address)) {
      // The claim of the pool, or of an address of it.
      const isClosed = bindings.hasKeyedMember(address) && !isKeyed(message.principal);
      answer(isClosed ? { verdict: 'refused', reason: closed(address) } : { verdict: 'clear' });
      return;
    }
    const isFree = bindings.ownOwner(address) === undefined && !bindings.isHeld(address);
    const isOfHolder = bindings.isHeld(address) && bindings.keyOf(address) === message.principal.id;
    if (this.#pending.has(address) && (isFree || isOfHolder)) {
      answer(this.#block(address, asked));
      return;
    }
    if (isFree) {
      answer({ verdict: 'clear' });
      return;
    }
    const claimant = claimantOf(message);
    let isDecided = false;
    challenge.decide(address, { path: message.path, terms: { principal: message.principal } }, (refusal) => {
      isDecided = true;
      // Only one of the waiting claims gets the address. It may have asked twice.
      const { to = claimant } = this.#givenUp.get(address) ?? {};
      const reason = refusal ?? (to === claimant ? undefined : inUse(address));
      if (reason === undefined) this.#giveUp(address, claimant);
      answer(reason === undefined ? { verdict: 'granted' } : { verdict: 'refused', reason });
    });
    if (!isDecided) answer({ verdict: 'wait', hasOwner: true });
  }

  // Lets a claim of another sentinel wait for one of this sentinel that came first.
  #block(address: string, asked: AskedClaim): Omit<Verdict, 'id'> {
    const { message } = asked;
    const { id } = this.#deps.identity;
    const claims = [...this.#pending.get(address)!.values()].filter(({ hasOwner }) => !hasOwner);
    const first = claims.find(({ epoch, isRegistering }) => isRegistering || isOlder({ epoch, id }, message));
    if (first === undefined) {
      // The other sentinel had not subscribed when this one asked, and its claim comes first.
      for (const claim of claims) this.#ask(address, claim);
      return { verdict: 'clear' };
    }
    const claimant = claimantOf(message);
    if (first.blocked.size >= MAX_BLOCKED && !first.blocked.has(claimant))
      return { verdict: 'refused', reason: inUse(address) };
    first.blocked.set(claimant, asked);
    return { verdict: 'wait' };
  }

  // Ends the binding of an address that was granted to a node at another sentinel.
  #giveUp(address: string, claimant: string): void {
    const { bindings, challenge, clock, listener } = this.#deps;
    this.#givenUp.set(address, { to: claimant, until: clock.monotonic() + GIVEN_UP_MS });
    challenge.endHold(address);
    const holder = bindings.ownOwner(address);
    if (holder === undefined) return;
    const capabilities: string[] = [];
    for (const [capability, addresses] of bindings.advertisementsOf(holder)) {
      if (!addresses.has(address)) continue;
      bindings.withdraw(capability, address, holder);
      if (!bindings.hasProvider(capability)) capabilities.push(capability);
    }
    bindings.remove(address, holder);
    listener.removed(holder, { addresses: [address], capabilities }, true);
  }

  /** Unsubscribes from the claims of addresses that are free now. */
  sweep(): void {
    const { bindings, clock } = this.#deps;
    const now = clock.monotonic();
    for (const [address, { until }] of this.#givenUp) if (until <= now) this.#givenUp.delete(address);
    for (const address of this.#lingering) {
      if (bindings.isHeld(address) || this.#pending.has(address)) continue;
      this.#lingering.delete(address);
      for (const subscription of this.#subscriptions.get(address) ?? []) subscription.unsubscribe();
      this.#subscriptions.delete(address);
      const owners = this.#deps.owners();
      // A record that stays is out of date, and the next owner replaces it.
      if (owners !== undefined) void this.#removeFrom(owners, address).catch(() => {});
    }
  }

  /** Refuses all waiting claims. */
  close(): void {
    for (const [address, claims] of [...this.#pending])
      for (const claim of [...claims.values()]) this.#decide(address, claim, 'The sentinel is shutting down');
    for (const subscription of [...this.#subscriptions.values()].flat()) subscription.unsubscribe();
    this.#subscriptions.clear();
  }
}

/** Calls `run` for all items, for `RECORDS_AT_ONCE` of them at the same time. */
async function inParts<T>(items: readonly T[], run: (item: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += RECORDS_AT_ONCE)
    await Promise.all(items.slice(at, at + RECORDS_AT_ONCE).map(run));
}

const inUse = (address: string): string =>
  `${address} is bound by another node. Stop that node, or bind another address.`;

const closed = (pool: string): string =>
  `${pool} is a pool of nodes with a key. Attach with a key, or bind another address.`;

/** A claim of another sentinel has one claimant for each principal. */
const claimantOf = ({ id, principal }: ClaimMessage): string => `${id} ${principal.id}`;

/** True for the address of a pool. */
export const isPool = (address: string): boolean => address.includes('@*.');

interface Age {
  readonly epoch: number;
  readonly id: string;
}

const isOlder = (a: Age, b: Age): boolean => a.epoch < b.epoch || (a.epoch === b.epoch && a.id < b.id);
