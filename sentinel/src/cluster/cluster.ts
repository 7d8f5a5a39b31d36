// This sentinel as a member of a cluster: it discovers the other sentinels on the bus, keeps a link and a session for each, and finds the
// addresses that they serve. The router handles the session of another sentinel like any other, and does not depend on links and the bus.
// While the bus is not connected, the sentinel serves its own nodes only. Links end after 3 s without a frame, and open again later.
import { randomInt } from 'node:crypto';
import type { Clock, Logger, Timer } from '@fame-fabric/shared';
import { ANONYMOUS, configInvalid, errorMessage } from '@fame-fabric/shared/internal';
import { agentAddressOf, isUnder, newId, type ServedAddress } from '@fame-fabric/shared/router';
import type { Guard } from '../access/guard.ts';
import type { AddressChallenge } from '../address-challenge.ts';
import type { Bindings } from '../bindings.ts';
import { CLOSE } from '../close-codes.ts';
import { NodeViews } from '../http/node-views.ts';
import type { TraceListener, TraceTap } from '../http/trace.ts';
import type { Identity } from '../identity.ts';
import type { OpenCalls } from '../open-calls.ts';
import { type NodeAction, NodeActions } from '../session/node-actions.ts';
import type { QueueBudget } from '../session/queue-budget.ts';
import type { Session } from '../session/session.ts';
import type { SessionTable } from '../session/session-table.ts';
import type { SessionListener, Sessions } from '../session/sessions.ts';
import { AddressClaims, isPool, type OnClaimed } from './address-claims.ts';
import type { Bus } from './bus.ts';
import { Epochs } from './epochs.ts';
import { Inbox } from './inbox.ts';
import { MemberActions, type RemoteOutcome } from './member-actions.ts';
import { MemberAddresses } from './member-addresses.ts';
import { MemberLists, PAGE_BYTES } from './member-lists.ts';
import { MemberTraces } from './member-traces.ts';
import type { OwnerTable } from './owner-table.ts';
import { BEAT_MS, type Member, Pair, type PairListener, SILENT_MS } from './pair.ts';
import type { PairTransport } from './pair-transport.ts';
import { type Changes, type Outcome, RemoteRoutes } from './remote-routes.ts';
import { readChanges, ServedAddresses } from './served-addresses.ts';
import { SharedRules, type SharedRulesDeps, type SharedTexts } from './shared-rules.ts';
import type { ClusterStatus, ClusterView, LostMember, MemberNodes } from './status.ts';
import { capabilityKey, Subjects } from './subjects.ts';

/** Beats between two announcements of this sentinel. */
const PRESENCE_BEATS = 5;
/** Beats between two renewals of the lease of this sentinel. */
const LEASE_BEATS = 2;
/** Longest time for the release of the lease, and for that of the addresses, when the sentinel leaves, in ms. */
const LEAVE_MS = 2_000;
/** Other sentinels of one cluster. Each has a link to every other one. */
const MAX_MEMBERS = 64;
/** Time for which the status names a lost sentinel, in ms. */
const LOST_SHOWN_MS = 600_000;
/** Largest number of a first link. Later ones count up from it. */
const MAX_FIRST_LINK = 0x7fff_ffff;

export interface ClusterDeps {
  guard: Guard;
  identity: Identity;
  clock: Clock;
  sessions: Sessions;
  table: SessionTable;
  calls: OpenCalls;
  trace: TraceTap;
  bindings: Bindings;
  challenge: AddressChallenge;
  listener: SessionListener;
  budget: QueueBudget;
  log: Logger;
  /** @default the rules of this sentinel are its own */
  rules?: Pick<SharedRulesDeps, 'policy' | 'revokedKeys' | 'enforce'> | undefined;
  /** Routes a message of another sentinel. */
  receive: (from: Session, bytes: Buffer) => void;
  /** Routes a message again after it waited for an answer of the cluster. */
  routeAgain: (from: Session, bytes: Buffer, outcome: Outcome) => void;
}

export interface ClusterOptions {
  /** Name of the cluster. */
  readonly name: string;
  readonly resumeWindowMs: number;
  readonly addressHoldMs: number;
  /** @default ownership is checked by asking the other sentinels only, and rules are not shared */
  readonly owners?: (OwnerTable & SharedTexts) | undefined;
}

interface Presence {
  readonly id: string;
  /** Random for each process. */
  readonly process: string;
  /** Highest known epoch of an address. */
  readonly epoch: number;
}

export class Cluster implements ClusterView {
  readonly #deps: ClusterDeps;
  readonly #bus: Bus;
  readonly #name: string;
  readonly #process = newId();
  readonly #subjects: Subjects;
  readonly #pairs = new Map<string, Pair>();
  readonly #sessions = new Map<Pair, Session>();
  readonly #epochs = new Epochs();
  readonly #claims: AddressClaims;
  readonly #served: ServedAddresses;
  readonly #routes: RemoteRoutes;
  readonly #nodes: MemberLists;
  readonly #addresses: MemberAddresses;
  readonly #actions: MemberActions;
  readonly #traces: MemberTraces;
  readonly #rules: SharedRules | undefined;
  /** Settled after the first attempt to reach JetStream. */
  readonly #firstRenewal = Promise.withResolvers<void>();
  readonly #timer: Timer;
  readonly #owners: OwnerTable | undefined;
  /** True while the table of owners is available. Undefined before the first attempt. */
  #hasOwners: boolean | undefined;
  #isRenewing = false;
  #beats = 0;
  #wasConnected = false;
  #isDraining = false;
  #isClosed = false;
  #hasLoggedSameId = false;
  #hasLoggedLimit = false;

  constructor(bus: Bus, deps: ClusterDeps, options: ClusterOptions) {
    const { name, owners, resumeWindowMs } = options;
    const { bindings, clock, identity } = deps;
    this.#deps = deps;
    this.#bus = bus;
    this.#name = name;
    this.#owners = owners;
    const subjects = new Subjects(name);
    this.#subjects = subjects;
    const inbox = new Inbox(bus, subjects, this.#process);
    this.#claims = new AddressClaims(
      {
        ...deps,
        bus,
        subjects,
        inbox,
        epochs: this.#epochs,
        owners: () => (this.#hasOwners ? owners : undefined),
        lastFrameAt: (id) => this.#pairs.get(id)?.lastFrameAt,
      },
      options,
    );
    this.#served = new ServedAddresses({
      bus,
      subjects,
      identity,
      bindings,
      epochOf: (address) => this.#claims.epochOf(address),
    });
    this.#routes = new RemoteRoutes(
      { ...deps, bus, subjects, inbox, sessionOf: (id) => this.#sessionOf(id) },
      { resumeWindowMs },
    );
    const views = new NodeViews({ ...deps, startedAt: 0, uplinks: [] });
    const listDeps = { ...deps, bus, inbox };
    this.#nodes = new MemberLists(listDeps, {
      subjectOf: (id) => subjects.nodesOf(id),
      itemsOf: (session) => [[session.path, nodeText(views.nodeOf(session))]],
    });
    const lists = new MemberLists(listDeps, {
      subjectOf: (id) => subjects.addressesOf(id),
      *itemsOf(session) {
        for (const address of bindings.addressesOf(session) ?? []) {
          const agent = agentAddressOf(address);
          if (agent !== undefined) yield [agent, session.terms.epoch];
        }
      },
    });
    this.#addresses = new MemberAddresses({ clock, lists, linked: () => this.#memberIds() });
    this.#actions = new MemberActions({ ...deps, bus, subjects, inbox, actions: new NodeActions(deps) });
    this.#traces = new MemberTraces({ ...deps, bus, subjects });
    this.#rules = this.#makeRules(owners);
    bus.subscribe(subjects.rules, () => void this.#syncRules());
    bus.subscribe(subjects.pairsOf(identity.id), ({ subject, payload }) => {
      this.#pairOf(subjects.senderOf(subject))?.receive(bufferOf(payload));
    });
    bus.subscribe(subjects.presence, ({ payload }) => this.#meet(payload));
    bus.subscribe(subjects.changes, ({ payload }) => {
      const changes = readChanges(payload);
      if (changes !== undefined) this.#apply(changes);
    });
    bus.onChange = () => this.#changed();
    this.#timer = clock.every(BEAT_MS, () => this.#beat());
    this.#changed();
  }

  get status(): ClusterStatus {
    const members = [...this.#pairs.values()].flatMap(({ member }) => member ?? []);
    const { isConnected, reason } = this.#bus;
    const status = { name: this.#name, recordsOwners: this.#hasOwners === true, members, lost: this.#lost() };
    return isConnected ? { ...status, state: 'connected' } : { ...status, state: 'alone', reason };
  }

  /**
   * Resolves once the owners and rules of the cluster are known, or while NATS or JetStream is not available.
   * @throws {CONFIG_INVALID} if the cluster has a policy that this sentinel cannot read, and it has none of its own
   */
  async whenReady(): Promise<void> {
    if (this.#bus.isConnected) await this.#firstRenewal.promise;
    const fault = this.#deps.rules?.policy.fault;
    if (fault === undefined) return;
    throw configInvalid([
      `This sentinel cannot read the policy of the cluster, and has no policy file: ${fault}. Update it to the version of the other sentinels, or set FAME_AUTH_POLICY_PATH.`,
    ]);
  }

  /**
   * Claims an exact address for a node of this sentinel. Calls `onClaimed` with the reason for a refusal, or with `undefined` if the node may
   * have the address, within 18 s.
   */
  claim(address: string, from: Session, onClaimed: OnClaimed): void {
    this.#claims.claim(address, from, onClaimed);
  }

  #memberIds(): string[] {
    return [...this.#pairs.values()].flatMap(({ member }) => member?.id ?? []);
  }

  #lost(): LostMember[] {
    return [...this.#pairs.values()].flatMap(({ lost, silentMs }) =>
      lost && silentMs < LOST_SHOWN_MS ? lost : [],
    );
  }

  /** Requests the nodes of the other sentinels, for at most 2 s. */
  async nodes(): Promise<MemberNodes> {
    const ids = this.#memberIds();
    const lists = await this.#nodes.of(ids);
    return {
      lists: new Map(ids.flatMap((id, at) => (lists[at] === undefined ? [] : [[id, lists[at]] as const]))),
      missing: ids.filter((_, at) => lists[at] === undefined),
    };
  }

  /** The addresses that nodes at the other sentinels serve. */
  addresses(): Promise<readonly ServedAddress[]> {
    return this.#addresses.read();
  }

  /** Runs an action on a node at another sentinel. Returns `undefined` if no linked sentinel has its path. */
  act(action: NodeAction): Promise<RemoteOutcome> | undefined {
    const { path } = action;
    const member = this.status.members.find((one) => path !== one.path && isUnder(path, one.path));
    return member && this.#actions.run(member.id, action);
  }

  /** Adds a reader of the live traces of the other sentinels; returns a function that removes it. */
  watch(listener: TraceListener): () => void {
    return this.#traces.listen(listener);
  }

  /** Returns the key of the nodes that have all of these capabilities. */
  keyOf(capabilities: readonly string[]): string {
    return capabilityKey(capabilities);
  }

  /** Announces a capability of which a node of this sentinel is the first provider. */
  advertised(capability: string): void {
    const key = capabilityKey([capability]);
    if (key !== '') this.#served.bound(key);
  }

  /** Ends the announcement of a capability whose last node at this sentinel has withdrawn it. */
  withdrawn(capability: string): void {
    this.#served.unbound(capabilityKey([capability]));
  }

  /** Returns the number of waiting claims of a node. */
  waitingCount(from: Session): number {
    return this.#claims.waitingCount(from);
  }

  /** Announces an address that a node below this sentinel has bound. */
  bound(address: string): void {
    if (!isPool(address)) this.#claims.bound(address);
    else if (this.#deps.bindings.hasKeyedMember(address)) this.#claims.closedPool(address);
    this.#served.bound(address);
  }

  /** Withdraws an address that no node below this sentinel serves any more. */
  unbound(address: string): void {
    this.#claims.unbound(address);
    this.#served.unbound(address);
  }

  /** Returns the session of the sentinel that serves an address, or has a node with the capabilities of a key, if it is known. */
  find(address: string, except: Session, messageId: string): Session | undefined {
    return this.#routes.find(address, except, messageId);
  }

  /** Keeps a message until the sentinel of its address is known. Returns the outcome if it is known at once. */
  ask(from: Session, address: string, bytes: Buffer): Outcome | undefined {
    return this.#routes.ask(from, address, bytes);
  }

  /** Forgets the route to an address after its sentinel refused a call, because the node is gone. */
  refused(address: string, session: Session): void {
    this.#routes.refused(address, session);
  }

  /** States that this sentinel takes no new calls. */
  drain(): void {
    this.#isDraining = true;
    for (const pair of this.#pairs.values()) pair.beat();
  }

  /** Leaves the cluster and closes the connection to the bus. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer.stop();
    const owners = this.#hasOwners && this.#bus.isConnected ? this.#owners : undefined;
    // Before the claims are unsubscribed: a claim without an answer must find that this sentinel has left, and must not wait for its silence.
    await this.#release(owners?.leave());
    this.#claims.close();
    this.#traces.close();
    this.#served.close();
    for (const pair of this.#pairs.values()) pair.close();
    this.#routes.close();
    await this.#release(owners && this.#claims.leave(owners));
    await this.#bus.close();
  }

  // Waits for a release in JetStream, for at most `LEAVE_MS`. Never rejects.
  async #release(released: Promise<void> | undefined): Promise<void> {
    if (released === undefined) return;
    const { clock, log } = this.#deps;
    const { promise: timeout, resolve } = Promise.withResolvers<void>();
    const timer = clock.after(LEAVE_MS, resolve, { keepAlive: true });
    const settled = released.catch((error: unknown) => {
      log.warn('could not release the addresses in JetStream; they stay reserved for the resume window', {
        reason: errorMessage(error),
      });
    });
    await Promise.race([settled, timeout]);
    timer.stop();
  }

  #changed(): void {
    const { log } = this.#deps;
    const { isConnected, reason } = this.#bus;
    if (isConnected === this.#wasConnected || this.#isClosed) return;
    this.#wasConnected = isConnected;
    if (!isConnected) {
      log.warn('lost the connection to NATS; only nodes of this sentinel can be reached', { reason });
      return;
    }
    log.info('connected to the cluster', { cluster: this.#name });
    void this.#renewLease();
    this.#announce();
    this.#served.announceAll();
    for (const pair of this.#pairs.values()) pair.reconnected();
  }

  #apply(changes: Changes): void {
    this.#routes.changed(changes);
    for (const pool of changes.closed) this.#closePool(pool);
    for (const [address, epoch] of changes.bound) {
      if (epoch === null) continue;
      this.#epochs.receive(epoch);
      const outcome = this.#claims.conflict(address, changes.id, epoch);
      if (outcome === 'own') this.#served.announce(address);
      else if (outcome === 'theirs') this.#yield(address, changes.id);
    }
  }

  // A node with a key at another sentinel has joined the pool, so strangers leave it, and its addresses.
  #closePool(pool: string): void {
    const { bindings, listener } = this.#deps;
    for (const { session, address } of [...bindings.strangersIn(pool)]) {
      bindings.remove(address, session);
      const addresses = bindings.isOwn(address) ? [] : [address];
      listener.removed(session, { addresses, capabilities: [] }, true);
    }
  }

  // Two nodes got the address while NATS was not connected. The node that must give it up attaches again, and its bind is refused.
  #yield(address: string, sentinel: string): void {
    const { bindings, log, sessions } = this.#deps;
    const holder = bindings.ownOwner(address);
    if (holder === undefined) return;
    log.warn('ended a node: a node at another sentinel of the cluster has its address', {
      address,
      path: holder.path,
      sentinel,
    });
    sessions.end(holder, CLOSE.serviceRestart, `${address} is bound by a node at another sentinel`);
  }

  #beat(): void {
    for (const pair of this.#pairs.values()) pair.tick();
    this.#routes.sweep();
    this.#traces.beat();
    this.#claims.sweep();
    if (++this.#beats % PRESENCE_BEATS === 0) this.#announce();
    if (this.#beats % LEASE_BEATS === 0) void this.#renewLease();
  }

  #makeRules(texts: SharedTexts | undefined): SharedRules | undefined {
    const { identity, log, rules } = this.#deps;
    if (texts === undefined || rules === undefined) return undefined;
    const sync = (): void => void this.#syncRules();
    rules.policy.onChange = sync;
    rules.revokedKeys.onChange = sync;
    const announce = (): void => this.#bus.publish(this.#subjects.rules, Buffer.alloc(0));
    return new SharedRules({ ...rules, id: identity.id, texts, announce, log });
  }

  // Never rejects.
  async #syncRules(): Promise<void> {
    if (this.#hasOwners !== true || !this.#bus.isConnected || this.#isClosed) return;
    await this.#rules?.sync().catch((error: unknown) => this.#rules?.failed(error));
  }

  // Never rejects.
  async #renewLease(): Promise<void> {
    const owners = this.#owners;
    if (owners === undefined || !this.#bus.isConnected || this.#isRenewing || this.#isClosed) return;
    const { log } = this.#deps;
    this.#isRenewing = true;
    try {
      const isNew = await owners.renew();
      // The table lacks the addresses that were bound while it was not available.
      const isIncomplete = isNew || this.#hasOwners === false;
      if (this.#hasOwners !== true) log.info('owners of addresses are recorded in JetStream');
      this.#hasOwners = true;
      await this.#syncRules();
      if (!isIncomplete) return;
      for (const [address, sentinel] of await this.#claims.restore(owners)) this.#yield(address, sentinel);
    } catch (error) {
      if (this.#hasOwners !== false && !this.#isClosed) {
        log.warn(
          'JetStream is not available: owners of addresses are checked only by asking the other sentinels, the addresses of a lost sentinel are free at once, and changes of the policy and of keys do not reach the other sentinels',
          { reason: errorMessage(error) },
        );
      }
      this.#hasOwners = false;
    } finally {
      this.#isRenewing = false;
      this.#firstRenewal.resolve();
    }
  }

  #announce(): void {
    if (!this.#bus.isConnected) return;
    const { id } = this.#deps.identity;
    const presence: Presence = { id, process: this.#process, epoch: this.#epochs.last };
    this.#bus.publish(this.#subjects.presence, Buffer.from(JSON.stringify(presence)));
  }

  #meet(payload: Uint8Array): void {
    const presence = readPresence(payload);
    if (presence === undefined) return;
    const { identity, log } = this.#deps;
    this.#epochs.receive(presence.epoch);
    if (presence.id !== identity.id) {
      this.#pairOf(presence.id)?.meet();
    } else if (presence.process !== this.#process && !this.#hasLoggedSameId) {
      this.#hasLoggedSameId = true;
      log.error('another sentinel of the cluster has the same id; give each its own FAME_NODE_ID', {
        id: identity.id,
      });
    }
  }

  #pairOf(id: string): Pair | undefined {
    const known = this.#pairs.get(id);
    if (known !== undefined || this.#isClosed || id === this.#deps.identity.id) return known;
    const { clock, identity, log } = this.#deps;
    if (this.#pairs.size >= MAX_MEMBERS && !this.#forgetOne()) {
      if (!this.#hasLoggedLimit)
        log.error('the cluster has more sentinels than this one can have links to', { limit: MAX_MEMBERS });
      this.#hasLoggedLimit = true;
      return undefined;
    }
    const pair = new Pair(
      { bus: this.#bus, clock, identity, log, isDraining: () => this.#isDraining, listener: this.#listener },
      {
        id,
        subject: this.#subjects.pair(id, identity.id),
        firstLink: randomInt(1, MAX_FIRST_LINK),
      },
    );
    this.#pairs.set(id, pair);
    return pair;
  }

  // Removes the pair of a sentinel that is gone: sentinels with generated ids come and go. Returns false if there is none.
  #forgetOne(): boolean {
    const gone = [...this.#pairs.values()].find(({ isUp, silentMs }) => !isUp && silentMs >= SILENT_MS);
    return gone !== undefined && this.#pairs.delete(gone.id);
  }

  #sessionOf(id: string): Session | undefined {
    const pair = this.#pairOf(id);
    if (pair === undefined) return undefined;
    if (!pair.isUp) pair.meet();
    return this.#sessions.get(pair);
  }

  readonly #listener: PairListener = {
    up: (pair, member, transport) => this.#up(pair, member, transport),
    down: (pair, transport, reason) => this.#down(pair, transport, reason),
    alive: (pair) => {
      const session = this.#sessions.get(pair);
      if (session === undefined) return;
      session.markAlive();
      session.isDraining = pair.isDraining;
    },
  };

  #up(pair: Pair, member: Member, transport: PairTransport): void {
    const { log, receive, sessions } = this.#deps;
    const { id: systemId, path } = member;
    const session = sessions.open({ path, systemId, kind: 'member' }, transport, {
      principal: ANONYMOUS,
      instanceId: '',
      epoch: '',
      mayForward: true,
      acceptsCancel: true,
      hasStreamFlows: true,
      hasPairFlows: true,
      hasByteCredit: false,
      answersWhoIs: true,
    });
    this.#sessions.set(pair, session);
    transport.onMessage = (bytes) => receive(session, bytes as Buffer);
    transport.onDrain = () => session.outbound.flush();
    log.info('linked to a sentinel of the cluster', { sentinel: systemId, path });
    this.#routes.up(pair.id);
    // A new sentinel counts its epochs on from those of the others.
    this.#announce();
  }

  #down(pair: Pair, transport: PairTransport, reason: string): void {
    const { log, sessions } = this.#deps;
    const session = this.#sessions.get(pair);
    if (session === undefined) return;
    this.#sessions.delete(pair);
    this.#routes.down(session);
    this.#claims.lost(pair.id);
    if (session.transport === transport) sessions.end(session, CLOSE.goingAway, reason);
    if (!this.#isClosed) log.warn('lost a sentinel of the cluster', { sentinel: pair.id, reason });
  }
}

/** The text of a node in a list. Its addresses and capabilities, which the node chooses, are left out if they do not fit into a page. */
function nodeText(node: ReturnType<NodeViews['nodeOf']>): string {
  const text = JSON.stringify(node);
  if (Buffer.byteLength(text) + Buffer.byteLength(node.path) + 2 <= PAGE_BYTES) return text;
  return JSON.stringify({ ...node, addresses: [], capabilities: [] });
}

const bufferOf = (bytes: Uint8Array): Buffer =>
  bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function readPresence(payload: Uint8Array): Presence | undefined {
  try {
    const presence = JSON.parse(Buffer.from(payload).toString('utf8')) as Partial<Presence> | null;
    const { id, process, epoch = 0 } = presence ?? {};
    const isValid = typeof id === 'string' && typeof process === 'string' && typeof epoch === 'number';
    return isValid ? { id, process, epoch } : undefined;
  } catch {
    // Not an announcement of this protocol.
    return undefined;
  }
}
