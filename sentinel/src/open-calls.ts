// Open calls and response grants. Each forwarded request is an open call, with its caller and callee, until the reply or the end
// of the stream. The router uses open calls to notify callers whose callee left, to forward cancels, and to notify callees whose
// caller left. The same table decides who may write to a mailbox: a message to a mailbox needs an entry with its address and
// corrId, and must come from the callee. Messages that request an ack, and plain messages with a replyTo, have an entry too.
//
// Invariants: I1 an entry is in the chain of its corrId, in one list of its caller, and in the list of its callee. I2 an entry that
// has ended is in no list. I3 no entry lasts longer than its time limit. I4 the number of entries is bounded for each
// caller, and for all nodes without a key together.
import { LIMITS, RTYPE } from '@fame-fabric/shared/router';
import type { PrincipalQuota } from './access/principal-quota.ts';
import { isStranger, type Session } from './session/session.ts';

/** Time for which a settled grant still admits repeated answers and acks, in ms. */
export const SETTLED_MS = 60_000;
/** Time without an item after which an open call may be ended to make room for another one of its caller, in ms. */
export const REPLACEABLE_MS = 30_000;
/** Longest time that a call may carry, in ms. */
const MAX_TIMEOUT_MS = 86_400_000;
/** Time for the caller to end its call first: its cancel must arrive, and the coarse clock is up to 2 s late. */
const GRACE_MS = 5_000;
/** A parent or peer carries the calls of many nodes, each of which has the limit of one caller at its own sentinel. */
const LINK_FACTOR = 16;
/**
 * Minimum of the common limit on entries of nodes without a key, each of up to 1.3 KB. One node may use as much of the limit as the
 * others leave.
 */
const MAX_ANONYMOUS = 131_072;

/**
 * - `awaited`: the caller waits for an answer.
 * - `granted`: an answer is allowed and not awaited: of a plain message, or of a cancelled call whose callee ignores cancels.
 * - `settled`: answered; repeated answers and acks are admitted for `SETTLED_MS`.
 */
export type OpenState = 'awaited' | 'granted' | 'settled';
export type CallState = OpenState | 'closed';

/**
 * Maximum number of calls of nodes without a key that one node, or one other sentinel of the cluster, serves. Our links serve 32,768 calls; a
 * quarter of them is for nodes with a key.
 */
const MAX_SERVED_ANONYMOUS = 24_576;

/** The header fields of a forwarded message that open an entry. */
export interface CallHeader {
  readonly corrId: string;
  /** Id of the envelope. */
  readonly id: string;
  /** Destination; empty if the message was routed by capabilities. */
  readonly to: string;
  /** The mailbox that the entry opens. */
  readonly replyTo: string;
  readonly rtype: number;
  /** Remaining time of the call in ms; 0 if it carries none. */
  readonly timeoutMs: number;
}

export class OpenCall implements Omit<CallHeader, 'rtype' | 'timeoutMs'> {
  readonly caller: Session;
  readonly callee: Session;
  readonly corrId: string;
  readonly id: string;
  readonly to: string;
  readonly replyTo: string;
  readonly isStream: boolean;
  /** True if the message requests an ack: the grant outlives the answer then. */
  readonly wantsAck: boolean;
  /** Time at which the call ends, by the deadline that it carries; 0 if it carries none. */
  readonly deadline: number;
  /** First bytes of the frame of an item in the usual formatting, for streams. */
  readonly itemHead: Buffer;
  state: CallState;
  /** Time of the request, of the last item, or of the answer. */
  touchedAt: number;
  /** The tables that hold the call, so that closing it needs no lookup. */
  readonly ofCaller: NodeCalls;
  readonly ofCallee: NodeCalls;
  /** Next entry of the same caller and corrId, with another mailbox. */
  next: OpenCall | undefined;
  /** Neighbors in the list of the caller. */
  older: OpenCall | undefined;
  newer: OpenCall | undefined;
  /** Neighbors in the list of the callee. */
  olderServed: OpenCall | undefined;
  newerServed: OpenCall | undefined;

  constructor(
    caller: Session,
    callee: Session,
    { corrId, id, to, replyTo, rtype, timeoutMs }: CallHeader,
    state: OpenState,
    now: number,
    ofCaller: NodeCalls,
    ofCallee: NodeCalls,
  ) {
    this.caller = caller;
    this.callee = callee;
    this.corrId = corrId;
    this.id = id;
    this.to = to;
    this.replyTo = replyTo;
    this.isStream = (rtype & RTYPE.stream) !== 0;
    this.wantsAck = (rtype & RTYPE.ack) !== 0;
    this.deadline = timeoutMs > 0 ? now + Math.min(timeoutMs, MAX_TIMEOUT_MS) + GRACE_MS : 0;
    this.itemHead = this.isStream ? itemHeadOf(corrId) : NO_HEAD;
    this.state = state;
    this.touchedAt = now;
    this.ofCaller = ofCaller;
    this.ofCallee = ofCallee;
    this.next = undefined;
    this.older = undefined;
    this.newer = undefined;
    this.olderServed = undefined;
    this.newerServed = undefined;
  }

  /** Time at which the entry ends if nothing happens. */
  get endsAt(): number {
    if (this.state === 'settled') return this.touchedAt + SETTLED_MS;
    return this.deadline > 0 ? this.deadline : this.touchedAt + LIMITS.idleCallMs;
  }
}

/** Entries of one caller in the order in which they were added. */
class CallList {
  oldest: OpenCall | undefined;
  newest: OpenCall | undefined;

  add(call: OpenCall): void {
    call.older = this.newest;
    call.newer = undefined;
    if (this.newest === undefined) this.oldest = call;
    else this.newest.newer = call;
    this.newest = call;
  }

  remove(call: OpenCall): void {
    if (call.older === undefined) this.oldest = call.newer;
    else call.older.newer = call.newer;
    if (call.newer === undefined) this.newest = call.older;
    else call.newer.older = call.older;
  }
}

/** The entries of one node. */
class NodeCalls {
  /** True if its entries count towards `MAX_ANONYMOUS`. */
  readonly isAnonymous: boolean;
  /** Entries that it opened, by corrId; those with equal corrIds form a chain. */
  readonly byCorrId = new Map<string, OpenCall>();
  /** Entries that it opened and that are not settled. */
  readonly open = new CallList();
  readonly settled = new CallList();
  size = 0;
  /** Count of calls that it made and waits for. */
  awaited = 0;
  /** No entry ends before this time. */
  checkAt = Number.POSITIVE_INFINITY;
  /** No open call can be replaced before this time. */
  replaceableAt = 0;
  /** Count of calls that it serves. */
  serving = 0;
  /** Count of those whose callers have no key. */
  servingAnonymous = 0;
  newestServed: OpenCall | undefined;
  /** Usage of its principal. */
  readonly quota: PrincipalQuota | undefined;

  constructor(isAnonymous: boolean, quota: PrincipalQuota | undefined) {
    this.isAnonymous = isAnonymous;
    this.quota = quota;
  }
}

const NO_HEAD = Buffer.alloc(0);

export class OpenCalls {
  readonly #maxPerCaller: number;
  readonly #maxAnonymous: number;
  readonly #maxServedAnonymous: number;
  readonly #byNode = new Map<Session, NodeCalls>();
  #count = 0;
  /** Entries of all nodes without a key. */
  #anonymous = 0;
  #onNone: (() => void) | undefined;

  constructor(
    maxPerCaller: number,
    maxAnonymous = Math.max(MAX_ANONYMOUS, 2 * maxPerCaller),
    maxServedAnonymous = Math.max(MAX_SERVED_ANONYMOUS, 2 * maxPerCaller),
  ) {
    this.#maxServedAnonymous = maxServedAnonymous;
    this.#maxPerCaller = maxPerCaller;
    this.#maxAnonymous = maxAnonymous;
  }

  /** Calls of all callers that wait for an answer. */
  get count(): number {
    return this.#count;
  }

  /** Calls of this node that wait for an answer, oldest first. */
  madeBy(caller: Session): OpenCall[] {
    const made: OpenCall[] = [];
    let call = this.#byNode.get(caller)?.open.oldest;
    for (; call !== undefined; call = call.newer) if (call.state === 'awaited') made.push(call);
    return made;
  }

  madeCount(caller: Session): number {
    return this.#byNode.get(caller)?.awaited ?? 0;
  }

  servingCount(callee: Session): number {
    return this.#byNode.get(callee)?.serving ?? 0;
  }

  /**
   * Finds the entry of a mailbox. If the node has an entry with this corrId and only for other mailboxes, finds that one: its
   * `replyTo` differs from `address`.
   */
  find(caller: Session, corrId: string, address: string): OpenCall | undefined {
    const first = this.#byNode.get(caller)?.byCorrId.get(corrId);
    for (let call = first; call !== undefined; call = call.next) if (call.replyTo === address) return call;
    return first;
  }

  /** The call of `caller` with this corrId that waits for an answer. */
  findMade(caller: Session, corrId: string, replyTo: string | undefined): OpenCall | undefined {
    let call = this.#byNode.get(caller)?.byCorrId.get(corrId);
    while (call !== undefined) {
      if (call.state === 'awaited' && (replyTo === undefined || call.replyTo === replyTo)) return call;
      call = call.next;
    }
    return undefined;
  }

  /**
   * True if the callee may serve one more call of the caller. A parent or peer carries calls to many nodes. So does another sentinel of the
   * cluster, but all of these calls may be to one node, and the nodes without a key at this sentinel must not fill it.
   */
  mayServe(callee: Session, caller: Session): boolean {
    if (callee.kind === 'parent' || callee.kind === 'peer' || !isStranger(caller)) return true;
    return (this.#byNode.get(callee)?.servingAnonymous ?? 0) < this.#maxServedAnonymous;
  }

  /** True if the caller can open one more entry. */
  hasRoom(caller: Session): boolean {
    return (this.#byNode.get(caller)?.size ?? 0) < this.maxOf(caller);
  }

  /** Number of entries that this caller may have now, also below its present number. */
  maxOf(caller: Session): number {
    if (caller.kind !== 'node') return this.#maxPerCaller * LINK_FACTOR;
    const left = isStranger(caller) ? this.#maxAnonymous - this.#anonymous : Number.POSITIVE_INFINITY;
    return Math.min(this.#maxPerCaller, left);
  }

  /** The entry of a full caller that ends first to make room: a settled one, else the oldest without an item for 30 s. */
  replaceable(caller: Session, now: number): OpenCall | undefined {
    const calls = this.#byNode.get(caller);
    if (calls === undefined) return undefined;
    if (calls.settled.oldest !== undefined) return calls.settled.oldest;
    if (now < calls.replaceableAt) return undefined;
    let earliest = now;
    for (let call = calls.open.oldest; call !== undefined; call = call.newer) {
      if (call.touchedAt + REPLACEABLE_MS <= now) return call;
      if (call.touchedAt < earliest) earliest = call.touchedAt;
    }
    calls.replaceableAt = earliest + REPLACEABLE_MS;
    return undefined;
  }

  /**
   * Adds the entry of a forwarded message. A repeated message renews its entry. Returns the open call that the entry replaces,
   * unless the message repeats it at the same callee: the caller no longer waits for that call, and its callee must be notified.
   */
  open(
    caller: Session,
    callee: Session,
    header: CallHeader,
    state: OpenState,
    now: number,
  ): OpenCall | undefined {
    const { corrId, replyTo } = header;
    const ofCaller = this.#callsOf(caller);
    let replaced: OpenCall | undefined;
    let earlier = ofCaller.byCorrId.get(corrId);
    while (earlier !== undefined && earlier.replyTo !== replyTo) earlier = earlier.next;
    if (earlier !== undefined) {
      if (earlier.callee === callee && earlier.state === 'settled' && state === 'settled') {
        this.#renew(earlier, now);
        return undefined;
      }
      const isRepeated = earlier.callee === callee && state === 'awaited';
      if (earlier.state === 'awaited' && !isRepeated) replaced = earlier;
      this.close(earlier);
    }
    const ofCallee = this.#callsOf(callee);
    const opened = new OpenCall(caller, callee, header, state, now, ofCaller, ofCallee);
    opened.next = ofCaller.byCorrId.get(corrId);
    ofCaller.byCorrId.set(corrId, opened);
    ofCaller.size++;
    if (ofCaller.isAnonymous) this.#anonymous++;
    (state === 'settled' ? ofCaller.settled : ofCaller.open).add(opened);
    if (opened.endsAt < ofCaller.checkAt) ofCaller.checkAt = opened.endsAt;
    opened.olderServed = ofCallee.newestServed;
    if (ofCallee.newestServed !== undefined) ofCallee.newestServed.newerServed = opened;
    ofCallee.newestServed = opened;
    if (state === 'awaited') this.#countAwaited(opened, 1);
    return replaced;
  }

  #renew(call: OpenCall, now: number): void {
    call.touchedAt = now;
    call.ofCaller.settled.remove(call);
    call.ofCaller.settled.add(call);
  }

  /** Records an answer that leaves the entry as it is, such as an item of a stream. */
  touch(call: OpenCall, now: number): void {
    if (call.state !== 'settled') call.touchedAt = now;
  }

  /** Ends a call. If it or its answer (`rtype`) requests an ack, the mailbox stays open for repeated answers and acks. */
  settle(call: OpenCall, rtype: number, now: number): void {
    if (!call.wantsAck && (rtype & RTYPE.ack) === 0) {
      this.close(call);
      return;
    }
    if (call.state === 'settled') return;
    if (call.state === 'awaited') this.#countAwaited(call, -1);
    call.state = 'settled';
    call.touchedAt = now;
    const { ofCaller } = call;
    ofCaller.open.remove(call);
    ofCaller.settled.add(call);
    if (call.endsAt < ofCaller.checkAt) ofCaller.checkAt = call.endsAt;
  }

  /** Ends a call that its caller gave up. Its callee ignores cancels, so the mailbox stays open for the answer. */
  abandon(call: OpenCall): void {
    if (call.state !== 'awaited') return;
    this.#countAwaited(call, -1);
    call.state = 'granted';
  }

  close(call: OpenCall): void {
    if (call.state === 'closed') return;
    const { ofCaller, ofCallee, corrId } = call;
    if (call.state === 'awaited') this.#countAwaited(call, -1);
    (call.state === 'settled' ? ofCaller.settled : ofCaller.open).remove(call);
    call.state = 'closed';
    ofCaller.size--;
    if (ofCaller.isAnonymous) this.#anonymous--;
    let at = ofCaller.byCorrId.get(corrId);
    if (at !== call) {
      while (at!.next !== call) at = at!.next;
      at!.next = call.next;
    } else if (call.next === undefined) ofCaller.byCorrId.delete(corrId);
    else ofCaller.byCorrId.set(corrId, call.next);
    if (call.newerServed === undefined) ofCallee.newestServed = call.olderServed;
    else call.newerServed.olderServed = call.olderServed;
    if (call.olderServed !== undefined) call.olderServed.newerServed = call.newerServed;
  }

  #countAwaited(call: OpenCall, change: 1 | -1): void {
    call.ofCaller.awaited += change;
    call.ofCallee.serving += change;
    if (call.ofCaller.isAnonymous) call.ofCallee.servingAnonymous += change;
    const { quota } = call.ofCaller;
    if (quota !== undefined) {
      quota.openCalls += change;
      if (call.isStream) quota.streams += change;
    }
    this.#count += change;
    if (this.#count === 0) this.#onNone?.();
  }

  /** Resolves as soon as no call is open. For one waiter, the drain. */
  async whenNone(): Promise<void> {
    if (this.#count === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onNone = resolve;
    await promise;
    this.#onNone = undefined;
  }

  /** All entries that `callee` serves, oldest first. */
  servedBy(callee: Session): OpenCall[] {
    const served: OpenCall[] = [];
    let call = this.#byNode.get(callee)?.newestServed;
    for (; call !== undefined; call = call.olderServed) served.push(call);
    return served.reverse();
  }

  /** Closes all entries of `caller` and returns the calls that it waited for. */
  takeMadeBy(caller: Session): OpenCall[] {
    const calls = this.#byNode.get(caller);
    if (calls === undefined) return [];
    const taken = this.madeBy(caller);
    for (const list of [calls.open, calls.settled]) {
      while (list.oldest !== undefined) this.close(list.oldest);
    }
    return taken;
  }

  /** Closes the expired entries and returns those that a caller still waited for. */
  takeExpired(now: number): OpenCall[] {
    const expired: OpenCall[] = [];
    for (const calls of this.#byNode.values()) if (calls.checkAt <= now) this.#expire(calls, now, expired);
    return expired;
  }

  #expire(calls: NodeCalls, now: number, expired: OpenCall[]): void {
    let checkAt = Number.POSITIVE_INFINITY;
    for (const list of [calls.open, calls.settled]) {
      for (let call = list.oldest; call !== undefined; ) {
        const { endsAt, newer, state } = call;
        if (endsAt <= now) {
          this.close(call);
          if (state === 'awaited') expired.push(call);
        } else if (endsAt < checkAt) checkAt = endsAt;
        call = newer;
      }
    }
    calls.checkAt = checkAt;
  }

  /** Removes a node that has left, once its entries are closed. */
  forget(node: Session): void {
    this.#byNode.delete(node);
  }

  #callsOf(node: Session): NodeCalls {
    let calls = this.#byNode.get(node);
    if (calls === undefined) {
      calls = new NodeCalls(isStranger(node), node.quota);
      this.#byNode.set(node, calls);
    }
    return calls;
  }
}

const RESULT_NULL = Buffer.from('"result":null');
const ERROR = Buffer.from('"error"');
const RESULT = Buffer.from('"result":');
const N_OF_NULL = 110;

/**
 * True if this message ends a stream: it has an error, a null result or no result. A usual item is recognized by its
 * first bytes; others are searched, and parsed only when the search is inconclusive.
 */
export function endsStream(bytes: Buffer, frameAt: number, call: OpenCall): boolean {
  const head = call.itemHead;
  const valueAt = frameAt + head.length;
  if (bytes[valueAt] !== N_OF_NULL && startsAt(bytes, frameAt, head)) return false;
  const mayEnd =
    bytes.indexOf(RESULT_NULL, frameAt) !== -1 ||
    bytes.indexOf(ERROR, frameAt) !== -1 ||
    bytes.indexOf(RESULT, frameAt) === -1;
  if (!mayEnd) return false;
  try {
    const { payload } = JSON.parse(bytes.toString('utf8')).frame;
    if (payload?.jsonrpc !== '2.0') return false;
    return payload.error != null || payload.result == null;
  } catch {
    // The frame is not JSON: the caller's codec rejects it, and no further item can repair the stream.
    return true;
  }
}

/** First bytes of the frame of an item of this call, in the usual formatting. */
export const itemHeadOf = (corrId: string): Buffer =>
  Buffer.from(`{"type":"Data","payload":{"jsonrpc":"2.0","id":${JSON.stringify(corrId)},"result":`);

function startsAt(bytes: Buffer, at: number, head: Buffer): boolean {
  for (let i = 0; i < head.length; i++) if (bytes[at + i] !== head[i]) return false;
  return head.length > 0;
}
