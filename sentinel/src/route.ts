// THE PATH. Every message of an attached node passes through `Router.receive`, in six steps: receive, read, check, look up,
// forward or refuse, write. All of it is synchronous: no await, no parsed payload, no copied table. Of a plain Data envelope
// only the header is read, and its bytes are forwarded unchanged. Any other message is decoded first and then takes the same
// path. Step 6, the write at the end of the event loop's turn, is in `door/node-socket.ts`. Link-local frames branch off to
// `control.ts`; admission is in `door/admission.ts`.
import type { DeliveryAck, Envelope, ErrorCode, FrameType, Logger } from '@fame-fabric/shared';
import { parsePartialHeader } from '@fame-fabric/shared/internal';
import {
  Credit,
  decode,
  encode,
  FabricError,
  Header,
  isFabricError,
  isUnder,
  LIMITS,
  RTYPE,
  readCredit,
  readHeader,
  tableCode,
  timeoutOf,
  traceparentIn,
  tryParseAddress,
} from '@fame-fabric/shared/router';
import { forbidden, type Guard } from './access/guard.ts';
import { ALL_ROUTES, ROUTE, routeTo } from './access/permissions.ts';
import type { Excess, PrincipalQuota } from './access/principal-quota.ts';
import type { Bindings } from './bindings.ts';
import { CLOSE } from './close-codes.ts';
import type { Outcome } from './cluster/remote-routes.ts';
import type { Control } from './control.ts';
import type { Counters } from './counters.ts';
import type { TraceTap } from './http/trace.ts';
import { type Destination, DestinationCache, type Identity, LOGICAL, SidCache } from './identity.ts';
import type { HopLatency } from './observe/hop-latency.ts';
import type { HopSpans } from './observe/hop-spans.ts';
import { endsStream, type OpenCall, type OpenCalls, type OpenState } from './open-calls.ts';
import { nack, type Refused } from './replies.ts';
import type { Brake } from './session/brake.ts';
import type { CoarseClock } from './session/coarse-clock.ts';
import type { OutboundQueue } from './session/outbound-queue.ts';
import type { RateBrake } from './session/rate-brake.ts';
import type { Session } from './session/session.ts';
import type { SessionTable } from './session/session-table.ts';
import type { Sessions } from './session/sessions.ts';
import type { WhoIsAnswers } from './who-is.ts';

/** Bad frames within a minute that close a connection. */
const BAD_FRAMES_LIMIT = 5;
/** Characters of a path in a log line about a bad frame, which has at most 200 bytes. A path of generated ids fits. */
const MAX_LOGGED_PATH = 34;
/** A message with one of these bits is a request: a call starts with it. */
const REQUEST_RTYPES = RTYPE.reply | RTYPE.stream;

/** The other sentinels of the cluster, as the router sees them. */
interface RemoteSentinels {
  /** Returns the session of the sentinel that serves an address, if it is known. */
  find(address: string, except: Session, messageId: string): Session | undefined;
  /** Returns the key of the nodes that have all of these capabilities, for `find` and `ask`. */
  keyOf(capabilities: readonly string[]): string;
  /** Keeps a message until the sentinel of its address is known. Returns the outcome if it is known at once. */
  ask(from: Session, address: string, bytes: Buffer): Outcome | undefined;
  /** Forgets the route to an address after its sentinel refused a call, because the node is gone. */
  refused(address: string, session: Session): void;
}

export interface RouterDeps {
  guard: Guard;
  identity: Identity;
  time: CoarseClock;
  table: SessionTable;
  sessions: Sessions;
  bindings: Bindings;
  calls: OpenCalls;
  control: Control;
  brake: Brake;
  rateBrake: RateBrake;
  counters: Counters;
  hops: HopLatency;
  trace: TraceTap;
  whoIs: Pick<WhoIsAnswers, 'stateAhead'>;
  /** @default this sentinel is in no cluster */
  cluster?: RemoteSentinels | undefined;
  /** Spans of forwarded requests. @default this process does not trace */
  hopSpans?: HopSpans | undefined;
  log: Logger;
}

export class Router {
  readonly #deps: RouterDeps;
  readonly #header = new Header();
  readonly #credit = new Credit();
  readonly #destinations = new DestinationCache();
  readonly #sids = new SidCache();
  /** Destination of the message at hand. */
  #destination: Destination = LOGICAL;
  /** The ways that the message at hand may take, as bits of `ROUTE`. An answer needs a grant instead. */
  #routes = ALL_ROUTES;
  /** The address of the receiver that forbids the message at hand, if it is not the one that the message names. */
  #forbidden = '';
  /** True if the message at hand was charged to the quota of its sender. */
  #isCharged = false;
  /** The quota of the sender, if credit for the message at hand must wait for its rate. */
  #holder: PrincipalQuota | undefined;
  /** Key of the capabilities that the message at hand is routed by, for the cluster. */
  #capabilityKey = '';
  /** Answer of the cluster about the address of the message at hand, if the message waited for it. */
  #outcome: Outcome | undefined;
  #isDraining = false;

  constructor(deps: RouterDeps) {
    this.#deps = deps;
  }

  /** Refuses new calls from now on; replies to open calls are still forwarded. */
  drain(): void {
    this.#isDraining = true;
  }

  /** Routes one message of an attached node. Never throws. */
  receive(from: Session, bytes: Buffer): void {
    // 1. Receive. Ignore frames that arrive after the session ended but before its socket closed.
    if (from.state === 'gone') return;
    from.markReceived();
    const { counters, hops } = this.#deps;
    counters.received++;
    counters.receivedBytes += bytes.length;
    from.received++;
    from.receivedBytes += bytes.length;
    hops.begin();
    this.#read(from, bytes);
  }

  /** Routes a message again after it waited for the answer of the cluster about its address. Never throws. */
  routeAgain(from: Session, bytes: Buffer, outcome: Outcome): void {
    if (from.state === 'gone') return;
    this.#outcome = outcome;
    this.#read(from, bytes);
    this.#outcome = undefined;
  }

  #read(from: Session, bytes: Buffer): void {
    // 2. Read the header of a plain envelope, or decode anything else.
    const header = this.#header;
    const isPlain = readHeader(bytes, header);
    if (isPlain && header.flowId !== '' && (header.to !== '' || header.replyTo !== '')) {
      this.#route(from, header, bytes, undefined);
    } else if (
      !isPlain &&
      header.frameAt > 0 &&
      header.to === '' &&
      readCredit(bytes, header.frameAt, this.#credit)
    ) {
      this.#addCredit(from, bytes.length);
    } else {
      this.#receiveDecoded(from, bytes);
    }
  }

  /**
   * Counts a ping or pong of `size` bytes, which the transport handles itself. Returns `false` if the node is so far above its rate that
   * a ping must not be answered.
   */
  receivePing(from: Session, size: number): boolean {
    if (from.state === 'gone') return false;
    from.markAlive();
    return this.#deps.rateBrake.admits(from, size);
  }

  // Credit is free, since the reader of a fast stream sends many updates. One that adds no credit is charged.
  #addCredit(from: Session, size: number): void {
    const { flowId, credits } = this.#credit;
    if (!from.outbound.addCredit(flowId, credits)) this.#deps.rateBrake.admits(from, size);
  }

  // Decodes a message that is not a plain Data envelope. The sentinel handles link-local frames; all others are routed.
  #receiveDecoded(from: Session, bytes: Buffer): void {
    const { counters, control } = this.#deps;
    counters.decoded++;
    let envelope: Envelope;
    try {
      envelope = decode(bytes);
      if ('reply_to' in envelope) {
        throw new FabricError('PROTO_MALFORMED', 'Envelope keys are camelCase: replyTo, not reply_to');
      }
    } catch (error) {
      this.#refuseBadFrame(from, bytes, error);
      return;
    }
    if (isRouted(envelope)) {
      this.#route(from, headerOf(envelope), bytes, envelope);
      return;
    }
    if (envelope.frame.type !== 'CreditUpdate' && envelope.flowId !== undefined) {
      from.outbound.countLinkLocal(envelope.flowId, bytes.length);
    }
    control.receive(from, envelope, bytes.length);
  }

  // `envelope` is present if the message had to be decoded.
  #route(from: Session, header: Header, bytes: Buffer, envelope: Envelope | undefined): void {
    // 3. Check.
    this.#destination = header.to === '' ? LOGICAL : this.#destinations.of(header.to);
    this.#routes = ALL_ROUTES;
    this.#forbidden = '';
    this.#capabilityKey = '';
    // A message that waited was charged when it arrived.
    this.#isCharged = this.#outcome !== undefined;
    this.#holder = undefined;
    if (from.quota !== undefined && this.#isRequest(header) && !this.#mayUse(from, header, bytes.length))
      return;
    if (bytes.length > LIMITS.maxEnvelopeBytes) {
      this.#refuseLarge(from, header, bytes.length);
      return;
    }
    if (header.ttl === 0) {
      const reason = 'The ttl of the envelope is 0: agents call each other in a circle or a long chain';
      this.#refuse(from, header, 'HOPS_EXCEEDED', reason, bytes.length);
      return;
    }
    if (header.replyTo !== '' && !from.mayReplyTo(header.replyTo)) {
      const reason = `replyTo ${header.replyTo} does not lie under the path of the sender, ${from.path}`;
      this.#refuse(from, header, 'REPLY_TO_FORGED', reason, bytes.length);
      return;
    }
    if (header.sid !== '' && !from.mayHaveSid(header.sid, header.replyTo, this.#sids.of)) {
      const reason = `The sid ${header.sid} is not that of the sender: leave it out, or hash the path ${from.path}`;
      this.#refuse(from, header, 'SID_FORGED', reason, bytes.length);
      return;
    }
    if (header.to !== '' && this.#needsPermission(header)) {
      this.#routes = this.#deps.guard.permissions.routes(from, header.to);
      // Refuse before the look-up, so that the refusal does not depend on it. Any other message may be an answer or an ack.
      const isAnswer = header.corrId !== '' && !this.#isRequest(header);
      if (this.#routes === 0 && !isAnswer && envelope?.frame.type !== 'DeliveryAck') {
        this.#refuseForbidden(from, header, bytes.length);
        return;
      }
    }
    if (envelope === undefined) {
      // 4. Look up.
      const target = this.#checkPath(from, this.#find(from, header), header);
      // 5. Forward or refuse.
      this.#forward(from, target, header, bytes);
    } else {
      this.#routeDecoded(from, header, bytes, envelope);
    }
  }

  // The parts of steps 3 to 5 that only a decoded envelope needs: capabilities, a missing flow id, delivery acks.
  #routeDecoded(from: Session, header: Header, bytes: Buffer, envelope: Envelope): void {
    const { capabilities, frame } = envelope;
    if (header.to === '' && capabilities === undefined) {
      const reason = 'The message has neither an address nor capabilities';
      this.#refuse(from, header, 'NO_ROUTE', reason, bytes.length);
      return;
    }
    if (header.to === '') this.#capabilityKey = this.#deps.cluster?.keyOf(capabilities!) ?? '';
    let forwarded = bytes;
    if (header.flowId === '') {
      header.flowId = `${this.#deps.identity.flowId}-${from.systemId}`;
      envelope.flowId = header.flowId;
      try {
        forwarded = Buffer.from(encode(envelope));
      } catch (error) {
        // Encoding again can push an envelope over the size limit.
        const { code, message } = error as FabricError;
        this.#refuse(from, header, tableCode(code), message, bytes.length);
        return;
      }
    }
    const target =
      header.to === ''
        ? this.#provider(from, capabilities!, header.id)
        : this.#checkPath(from, this.#find(from, header), header);
    if (frame.type === 'DeliveryAck') this.#forwardAck(from, target, header, frame, forwarded);
    else if (frame.type === 'Data') {
      header.frameAt = Math.max(0, forwarded.indexOf('"frame"'));
      header.traceparentAt = this.#deps.hopSpans ? traceparentAt(envelope, forwarded) : 0;
      this.#forward(from, target, header, forwarded);
    } else this.#forwardSecure(from, target, header, frame.type, forwarded);
  }

  // Mailboxes are protected by grants, except that anyone may send a request to the system mailbox of a node.
  #needsPermission(header: Header): boolean {
    const { mailbox } = this.#destination;
    return mailbox === 'none' || (mailbox === 'system' && this.#isRequest(header));
  }

  #isRequest({ rtype }: Header): boolean {
    return (rtype & REQUEST_RTYPES) !== 0 && this.#destination.mailbox !== 'reply';
  }

  #isPermitted(target: Session): boolean {
    return this.#routes === ALL_ROUTES || (this.#routes & routeTo(target)) !== 0;
  }

  // A message to the path of a node needs the permission for each address that may serve it there. Returns the target, and notes a
  // refusal.
  #checkPath(from: Session, target: Session | undefined, header: Header): Session | undefined {
    const { path } = this.#destination;
    const { bindings, guard } = this.#deps;
    const { permissions } = guard;
    if (path === '' || target?.path !== path || !this.#needsPermission(header)) return target;
    if (this.#routes === 0 || !permissions.restricts(from)) return target;
    for (const address of bindings.servedAtPath(header.to, target)) {
      if ((permissions.routes(from, address) & routeTo(target)) === 0) {
        this.#routes = 0;
        this.#forbidden = address;
        break;
      }
    }
    return target;
  }

  // Finds a node for a message that is routed by capabilities: one that the sender may call.
  #provider(from: Session, capabilities: readonly string[], messageId: string): Session | undefined {
    const { bindings, guard, table } = this.#deps;
    const { permissions } = guard;
    if (!permissions.restricts(from)) {
      return (
        bindings.provider(capabilities, from, messageId) ??
        this.#remoteProvider(from, messageId) ??
        table.parent
      );
    }
    const mayCall = (address: string, provider: Session): boolean =>
      (permissions.routes(from, address) & routeTo(provider)) !== 0;
    const provider = bindings.provider(capabilities, from, messageId, mayCall);
    if (provider !== undefined) return provider;
    const remote = this.#remoteProvider(from, messageId);
    if (remote !== undefined) return remote;
    return (permissions.routes(from, '') & ROUTE.up) !== 0 ? table.parent : undefined;
  }

  // Finds the sentinel of a node with the capabilities, if it is known and the sender may call nodes at other sentinels.
  #remoteProvider(from: Session, messageId: string): Session | undefined {
    const { cluster, guard } = this.#deps;
    if (cluster === undefined || from.kind === 'member' || this.#capabilityKey === '') return undefined;
    if ((guard.permissions.routes(from, '') & ROUTE.peer) === 0) return undefined;
    return cluster.find(this.#capabilityKey, from, messageId);
  }

  // Finds the receiver. A path decides first: an attached node, a child sentinel, or a peer. Any other address goes to the node
  // that bound it, else to a pool member, else to the sentinel of the cluster that serves it. All other messages go to the parent.
  #find(from: Session, header: Header): Session | undefined {
    const { bindings, table, identity } = this.#deps;
    const { to } = header;
    const { path } = this.#destination;
    if (path !== '') {
      const exact = table.byPath(path);
      if (exact !== undefined) return exact;
      // Below a child sentinel: the segment behind our own path names it.
      if (isUnder(path, identity.path)) {
        const next = path.indexOf('/', identity.path.length + 1);
        return next < 0 ? undefined : table.byPath(path.slice(0, next));
      }
      return table.peerOf(path) ?? table.parent;
    }
    const owner = bindings.owner(to);
    if (owner !== undefined && owner !== from) return owner;
    // Neither a pool nor another sentinel serves an address that belongs to a key.
    // A sentinel of the cluster has looked up the address before it sent the message here.
    const cluster = from.kind === 'member' ? undefined : this.#deps.cluster;
    if (bindings.isHeld(to)) return cluster?.find(to, from, header.id);
    return (
      (bindings.hasPools ? bindings.poolMember(to, from, header.id) : undefined) ??
      owner ??
      cluster?.find(to, from, header.id) ??
      table.parent
    );
  }

  #forward(from: Session, target: Session | undefined, header: Header, bytes: Buffer): void {
    const { counters, calls, hops, hopSpans, time, trace, whoIs } = this.#deps;
    const isRequest = this.#isRequest(header);
    if (target === undefined && this.#waitsForCluster(from, header, bytes)) return;
    if (target === undefined || target === from) {
      if (!isRequest && this.#destination.mailbox !== 'none') this.#drop(from, header, bytes.length);
      else this.#refuseUnroutable(from, header, bytes.length);
      return;
    }
    if (isRequest && !this.#isPermitted(target)) {
      this.#refuseUnroutable(from, header, bytes.length);
      return;
    }
    if (isRequest && header.corrId === '') {
      // Its callee could not be notified when its caller leaves, and a stream would never end.
      const reason = 'A message that requests an answer needs a corrId';
      this.#refuse(from, header, 'REQUEST_INVALID', reason, bytes.length);
      return;
    }
    const { outbound } = target;
    let call: OpenCall | undefined;
    let isAnswer = false;
    let opens: OpenState | undefined;
    if (isRequest) {
      if (!this.#mayCall(from, target, header, bytes.length)) return;
      opens = 'awaited';
    } else {
      const found = this.#callOf(from, target, header);
      if (!found && !this.#isPermitted(target)) {
        this.#refuseUnroutable(from, header, bytes.length);
        return;
      }
      if (found === null) {
        this.#drop(from, header, bytes.length);
        return;
      }
      call = found;
      if (call === undefined && !this.#mayUse(from, header, bytes.length)) return;
      isAnswer = call !== undefined && (!call.isStream || endsStream(bytes, header.frameAt, call));
      opens = this.#stateOf(header, call);
    }
    if (opens !== undefined && !calls.hasRoom(from) && !this.#makeRoom(from)) {
      if (this.#destination.mailbox === 'none') {
        this.#refuseCall(from, header, bytes.length);
        return;
      }
      // Forward the answer even if there is no room for the grant of its ack.
      opens = undefined;
    }

    if (isRequest && target.statementsAhead > 0 && outbound.sendsAtOnce(header.flowId))
      whoIs.stateAhead(target, from, header);
    if (!outbound.enqueue(bytes, header.flowId, call !== undefined)) {
      this.#refuseFull(from, target, header, call, bytes.length);
      return;
    }
    // A late answer may arrive on a pair flow, which does not end with the stream.
    const endsFlow =
      isAnswer && call!.isStream && from.terms.hasStreamFlows && header.flowId === header.corrId;
    // A node without pair flows would stop all of its calls and answers.
    const mayWithhold = from.terms.hasPairFlows ? !endsFlow : !isRequest && !isAnswer;
    this.#count(from, header.flowId, bytes.length, mayWithhold ? outbound : undefined, this.#holder);
    if (call !== undefined) {
      if (isAnswer) calls.settle(call, header.rtype, time.now);
      else calls.touch(call, time.now);
    }
    if (opens !== undefined) this.#open(from, target, header, opens);
    if (endsFlow) {
      from.outbound.endFlow(header.flowId);
      outbound.endFlow(header.flowId);
    }
    counters.forwarded++;
    counters.forwardedBytes += bytes.length;
    if (hops.startedAt > 0) hops.follow(outbound, header.flowId);
    if (trace.isActive) this.#trace('forward', from, header, bytes.length, { via: target.path });
    if (header.traceparentAt > 0 && isRequest && hopSpans !== undefined)
      hopSpans.record(bytes, header.traceparentAt, { from: from.path, to: target.path, address: header.to });
  }

  // Asks the cluster for the sentinel of a message without a receiver. Returns `true` if the message waits or was refused.
  #waitsForCluster(from: Session, header: Header, bytes: Buffer): boolean {
    const { cluster, guard } = this.#deps;
    const { to } = header;
    // Another sentinel asked before it sent the message here, and a path names its sentinel.
    if (cluster === undefined || from.kind === 'member' || this.#destination.path !== '') return false;
    const key = to === '' ? this.#capabilityKey : to;
    const routes = to === '' ? guard.permissions.routes(from, '') : this.#routes;
    if (key === '' || (routes & ROUTE.peer) === 0) return false;
    const outcome = this.#outcome ?? cluster.ask(from, key, bytes);
    if (outcome === undefined) return true;
    if (outcome === 'none') return false;
    if (outcome === 'away') {
      const reason = `The sentinel of the node that serves ${to || 'these capabilities'} is gone`;
      this.#refuse(from, header, 'NODE_GONE', reason, bytes.length);
    } else {
      const reason = `The cluster did not answer which sentinel serves ${to || 'these capabilities'}. Try again.`;
      this.#refuse(from, header, 'NODE_BUSY', reason, bytes.length);
    }
    return true;
  }

  #open(from: Session, target: Session, header: Header, state: OpenState): void {
    const { calls, sessions, time } = this.#deps;
    const replaced = calls.open(from, target, header, state, time.now);
    if (replaced !== undefined) sessions.cancelAtCallee(replaced, 'replaced');
  }

  // Returns `false` after it refused a request that the receiver cannot take now.
  #mayCall(from: Session, target: Session, header: Header, size: number): boolean {
    if (target.state !== 'attached') {
      const reason = `The node that serves ${header.to} is disconnected`;
      this.#refuse(from, header, 'NODE_GONE', reason, size);
      return false;
    }
    if (this.#isDraining || target.isDraining) {
      const reason = this.#isDraining
        ? 'The sentinel is shutting down'
        : `The node that serves ${header.to} is being drained`;
      this.#refuse(from, header, 'NODE_BUSY', reason, size);
      return false;
    }
    const fault = from.quota?.callFault((header.rtype & RTYPE.stream) !== 0);
    // A repeated request takes the place of its call.
    if (fault !== undefined && !this.#deps.calls.findMade(from, header.corrId, header.replyTo)) {
      this.#refuse(from, header, 'QUOTA_EXCEEDED', fault, size);
      return false;
    }
    if (!this.#deps.calls.mayServe(target, from)) {
      const reason = `The node that serves ${header.to} serves too many open calls of nodes without the local key. Try again, or attach with the key.`;
      this.#refuse(from, header, 'NODE_BUSY', reason, size);
      return false;
    }
    // Other nodes are slowed by their credit, which is withheld from here on.
    if (!from.terms.hasPairFlows && target.outbound.isBusy) {
      this.#refuseFull(from, target, header, undefined, size);
      return false;
    }
    return true;
  }

  // Handles a message for which the receiver's queue has no room. A request or message is refused: it was not handled, and may
  // be sent again. An answer ends its call with an error, because nothing can repeat it.
  #refuseFull(
    from: Session,
    target: Session,
    header: Header,
    call: OpenCall | undefined,
    size: number,
  ): void {
    const { calls, counters, identity, sessions, time, trace } = this.#deps;
    if (call === undefined) {
      const reason = `The outbound queue of the node that serves ${header.to} is full`;
      this.#refuse(from, header, 'NODE_BUSY', reason, size, target);
      return;
    }
    const { outbound } = target;
    const code = 'READER_TOO_SLOW';
    counters.refuse(code);
    // The caller of a settled call has its answer.
    if (call.state !== 'settled') {
      const reason = `An answer of ${size} bytes was dropped: the outbound queue of its caller has ${outbound.bytes} bytes and no room. Read answers as they arrive, or raise FAME_QUEUE_BYTES.`;
      outbound.sendControl(nack(identity, call, code, reason));
    }
    this.#count(from, header.flowId, size, from.terms.hasPairFlows ? outbound : undefined);
    if (call.isStream) {
      calls.close(call);
      sessions.cancelAtCallee(call, 'slow-reader');
      if (from.terms.hasStreamFlows && header.flowId === header.corrId) {
        from.outbound.endFlow(header.flowId);
        outbound.endFlow(header.flowId);
      }
    } else calls.settle(call, header.rtype, time.now);
    if (trace.isActive) this.#trace('refuse', from, header, size, { code });
  }

  // Counts a received message. A node that ignores its credit is paused.
  #count(
    from: Session,
    flowId: string,
    size: number,
    receiver: OutboundQueue | undefined,
    holder?: PrincipalQuota,
  ): void {
    if (from.outbound.countReceived(flowId, size, receiver, holder)) this.#deps.brake.apply(from);
  }

  // Charges a request or message to the quota of its sender. Returns `false` after it refused one above the rate.
  #mayUse(from: Session, header: Header, size: number): boolean {
    const excess = this.#charge(from, size);
    if (excess === undefined) return true;
    this.#refuse(from, header, 'QUOTA_EXCEEDED', excess.reason, size, undefined, excess.retryAfterMs);
    this.#deps.rateBrake.refused(from, size);
    return false;
  }

  #charge({ quota, terms }: Session, size: number): Excess | undefined {
    if (quota === undefined || this.#isCharged) return undefined;
    this.#isCharged = true;
    const excess = quota.charge(size, terms.hasPairFlows);
    if (terms.hasPairFlows && quota.isSlowed) this.#holder = quota;
    return excess;
  }

  // Charges a message that gets no answer, or another refusal.
  #chargeUnanswered(from: Session, size: number): void {
    if (this.#charge(from, size) !== undefined) this.#deps.rateBrake.refused(from, size);
  }

  // The grant that a message opens if it is no request: one for its ack, or one for the answer to a plain message.
  #stateOf({ corrId, replyTo, rtype }: Header, call: OpenCall | undefined): OpenState | undefined {
    if (replyTo === '' || corrId === '') return undefined;
    if ((rtype & RTYPE.ack) !== 0) return 'settled';
    return call === undefined && this.#destination.mailbox === 'none' ? 'granted' : undefined;
  }

  // The call that a message to `target` answers; `undefined` if it answers none and needs no grant, `null` if it may not be
  // forwarded. A node's grants are enforced by its own sentinel: sentinels pass the answers of other sentinels on.
  #callOf(from: Session, target: Session, { corrId, to }: Header): OpenCall | undefined | null {
    const { calls } = this.#deps;
    const { mailbox, path } = this.#destination;
    if (corrId === '' && mailbox === 'none') return undefined;
    const call = calls.find(target, corrId, to);
    if (call !== undefined && call.replyTo === to) return this.#admits(call, from) ? call : null;
    if (mailbox === 'none') {
      // A node matches answers by their corrId, so an answer to another of its addresses is forged as well.
      return call?.state === 'awaited' && !this.#admits(call, from) ? null : undefined;
    }
    if (from.kind !== 'node') return path === target.path ? null : undefined;
    return this.#callOfOtherLink(from, target, corrId, to) ?? null;
  }

  // An answer may return by another link than its request: by the parent instead of a peer, or the reverse.
  #callOfOtherLink(from: Session, target: Session, corrId: string, to: string): OpenCall | undefined {
    if (target.kind === 'node') return undefined;
    const { calls, table } = this.#deps;
    const { parent, peers } = table;
    for (const link of parent === undefined ? peers : [parent, ...peers]) {
      const call = calls.find(link, corrId, to);
      if (call !== undefined && call.replyTo === to && this.#admits(call, from)) return call;
    }
    return undefined;
  }

  // True if `from` may answer a call: its callee, or a node of the same owner that has taken over the address since the callee lost
  // its connection.
  #admits({ callee, to }: OpenCall, from: Session): boolean {
    if (callee === from) return true;
    if (from.kind !== 'node') return callee.kind !== 'node';
    const isSuccessor = callee.state !== 'attached' && callee.terms.principal.id === from.terms.principal.id;
    return isSuccessor && to !== '' && this.#deps.bindings.serves(to, from);
  }

  // Drops a message to a mailbox that has no grant, or whose node does not exist. A refusal would tell a stranger which calls are open,
  // and which nodes there are.
  #drop(from: Session, header: Header, size: number): void {
    const { counters, trace } = this.#deps;
    counters.ungranted++;
    this.#chargeUnanswered(from, size);
    if (header.flowId !== '') from.outbound.countReceived(header.flowId, size, undefined);
    if (trace.isActive) this.#trace('drop', from, header, size, {});
  }

  // Ends an entry of a full caller, if one may end. Returns `false` if none may.
  #makeRoom(from: Session): boolean {
    const { calls, sessions, time } = this.#deps;
    const call = calls.replaceable(from, time.now);
    if (call === undefined) return false;
    sessions.replaceCall(call);
    return true;
  }

  #refuseCall(from: Session, header: Header, size: number): void {
    const reason = `Open call limit of the node reached (${this.#deps.calls.maxOf(from)}). Wait for answers, cancel calls, attach with the local key or raise FAME_MAX_OPEN_CALLS_PER_NODE.`;
    this.#refuse(from, header, 'QUOTA_EXCEEDED', reason, size);
  }

  // Forwards a frame of an encrypted channel. A SecureOpen opens its mailbox, until a SecureClose or as long as a call may be idle.
  #forwardSecure(
    from: Session,
    target: Session | undefined,
    header: Header,
    type: FrameType,
    bytes: Buffer,
  ): void {
    const { calls, counters, hops, time, trace } = this.#deps;
    if (target === undefined && this.#waitsForCluster(from, header, bytes)) return;
    if (target === undefined || target === from) {
      const { mailbox } = this.#destination;
      const isOpening = type === 'SecureOpen' && mailbox !== 'reply';
      if (!isOpening && mailbox !== 'none') this.#drop(from, header, bytes.length);
      else this.#refuseUnroutable(from, header, bytes.length);
      return;
    }
    const opens = type === 'SecureOpen' && header.replyTo !== '';
    let call: OpenCall | undefined;
    if (type === 'SecureOpen' && this.#destination.mailbox !== 'reply') {
      if (!this.#isPermitted(target)) {
        this.#refuseUnroutable(from, header, bytes.length);
        return;
      }
      if (opens && !calls.hasRoom(from) && !this.#makeRoom(from)) {
        this.#refuseCall(from, header, bytes.length);
        return;
      }
    } else {
      const found = this.#callOf(from, target, header);
      if (!found && !this.#isPermitted(target)) {
        this.#refuseUnroutable(from, header, bytes.length);
        return;
      }
      if (found === null) {
        this.#drop(from, header, bytes.length);
        return;
      }
      call = found;
    }
    if (call === undefined && !this.#mayUse(from, header, bytes.length)) return;
    if (!target.outbound.enqueue(bytes, header.flowId, call !== undefined)) {
      this.#refuseFull(from, target, header, call, bytes.length);
      return;
    }
    const receiver = from.terms.hasPairFlows ? target.outbound : undefined;
    this.#count(from, header.flowId, bytes.length, receiver, this.#holder);
    if (call !== undefined) {
      if (type === 'SecureClose') calls.close(call);
      else calls.touch(call, time.now);
    }
    if (opens) this.#open(from, target, header, 'granted');
    counters.forwarded++;
    counters.forwardedBytes += bytes.length;
    if (hops.startedAt > 0) hops.follow(target.outbound, header.flowId);
    if (trace.isActive) this.#trace('forward', from, header, bytes.length, { via: target.path });
  }

  // Forwards a delivery ack, or drops it: an ack is never refused. A negative one ends the call that it names.
  #forwardAck(
    from: Session,
    target: Session | undefined,
    header: Header,
    { ok, code }: DeliveryAck,
    bytes: Buffer,
  ): void {
    const { calls, cluster, identity, time } = this.#deps;
    if (target === undefined || target === from || header.to.endsWith(`@${identity.path}`)) {
      from.outbound.countReceived(header.flowId, bytes.length, undefined);
      return;
    }
    const call = this.#callOf(from, target, header);
    if (from.kind === 'member' && call && (code === 'NODE_GONE' || code === 'NO_ROUTE'))
      cluster?.refused(call.to, from);
    if (call === undefined) this.#chargeUnanswered(from, bytes.length);
    if (call === null || (call === undefined && !this.#isPermitted(target))) {
      this.#drop(from, header, bytes.length);
      return;
    }
    if (!target.outbound.enqueue(bytes, header.flowId, call !== undefined)) {
      // A negative ack is the answer to a call, so the caller must receive it.
      if (!ok && call !== undefined) this.#refuseFull(from, target, header, call, bytes.length);
      else from.outbound.countReceived(header.flowId, bytes.length, undefined);
      return;
    }
    from.outbound.countReceived(header.flowId, bytes.length, undefined);
    if (!ok && call !== undefined) calls.settle(call, header.rtype, time.now);
  }

  /** Refuses a message that failed a check before the router. It gets no NACK if `isAnswered`. */
  refuse(from: Session, bytes: Buffer, code: ErrorCode, reason: string, isAnswered: boolean): void {
    const { counters, identity } = this.#deps;
    from.markReceived();
    counters.refuse(code);
    this.#isCharged = false;
    this.#chargeUnanswered(from, bytes.length);
    const refused = refusedOf(bytes);
    if (refused.flowId) this.#count(from, refused.flowId, bytes.length, undefined);
    if (!isAnswered) from.outbound.sendControl(nack(identity, refused, code, reason));
  }

  // Refuses a message that no node can receive, or whose route the sender may not use: the same refusal for both.
  #refuseUnroutable(from: Session, header: Header, size: number): void {
    const { to } = header;
    if (this.#routes === 0) this.#refuseForbidden(from, header, size);
    else if (to !== '' && tryParseAddress(to) === undefined) {
      this.#refuse(from, header, 'ADDRESS_INVALID', `"${to}" is not an address`, size);
    } else {
      const reason = to === '' ? 'No node has these capabilities' : `No node serves ${to}`;
      this.#refuse(from, header, 'NO_ROUTE', reason, size);
    }
  }

  #refuseForbidden(from: Session, header: Header, size: number): void {
    this.#deps.guard.may(from, 'Call', this.#forbidden || header.to);
    const { code, reason } = forbidden(from, 'call', header.to);
    this.#refuse(from, header, code, reason, size);
  }

  // Refuses an envelope above the size limit. If it was a reply, its caller is notified too.
  #refuseLarge(from: Session, header: Header, size: number): void {
    const { calls, identity } = this.#deps;
    const reason = `The envelope has ${size} bytes; the limit is ${LIMITS.maxEnvelopeBytes}`;
    this.#refuse(from, header, 'MESSAGE_TOO_LARGE', reason, size);
    const caller = header.corrId === '' ? undefined : this.#find(from, header);
    const call = caller && this.#callOf(from, caller, header);
    if (call?.state !== 'awaited') return;
    calls.close(call);
    call.caller.outbound.sendControl(nack(identity, call, 'MESSAGE_TOO_LARGE', reason));
  }

  // Sends a NACK: to the caller's mailbox if the message names one, else as a note to the sender.
  // With `full`, the receiver that has no room, the credit of the sender is withheld as if the message were queued there.
  #refuse(
    from: Session,
    header: Header,
    code: ErrorCode,
    reason: string,
    size: number,
    full?: Session,
    retryAfterMs?: number,
  ): void {
    const { counters, identity, rateBrake, time, trace } = this.#deps;
    counters.refuse(code);
    from.refusal = { code, at: time.now };
    const isOverRate = this.#charge(from, size) !== undefined;
    const isRequest = (header.rtype & REQUEST_RTYPES) !== 0;
    const receiver = isRequest && !from.terms.hasPairFlows ? undefined : full?.outbound;
    if (header.flowId !== '') this.#count(from, header.flowId, size, receiver, this.#holder);
    // Other software does not know the field.
    const delay = from.terms.acceptsCancel ? retryAfterMs : undefined;
    from.outbound.sendControl(nack(identity, header, code, reason, delay));
    if (isOverRate) rateBrake.refused(from, size);
    if (trace.isActive) this.#trace('refuse', from, header, size, { code });
  }

  // Refuses and counts a message that is not a valid envelope; the fifth within a minute closes the connection.
  #refuseBadFrame(from: Session, bytes: Buffer, error: unknown): void {
    const { counters, identity, log, sessions } = this.#deps;
    const { path, transport } = from;
    const code = isFabricError(error) ? tableCode(error.code) : 'PROTO_MALFORMED';
    const reason = isFabricError(error) ? error.message : 'The message cannot be read';
    counters.badFrames++;
    this.#isCharged = false;
    this.#chargeUnanswered(from, bytes.length);
    const refused = refusedOf(bytes);
    // The sender spent credit for it.
    if (refused.flowId) this.#count(from, refused.flowId, bytes.length, undefined);
    from.outbound.sendControl(nack(identity, refused, code, reason));
    // Neither of these counts as an attack: a newer node may send unknown frames, and any node a large message.
    if (code === 'PROTO_UNKNOWN_FRAME' || code === 'MESSAGE_TOO_LARGE') return;
    const count = from.countBadFrame();
    if (count === 1) {
      const head = bytes.subarray(0, 8).toString('hex');
      log.warn('bad frame', { path: pathEnd(path), code, head });
    }
    if (count >= BAD_FRAMES_LIMIT) {
      log.warn('closed a node that keeps sending bad frames', { path: pathEnd(path), code });
      from.quota?.chargeBadFrames();
      sessions.end(from, CLOSE.badFrames, `${BAD_FRAMES_LIMIT} bad frames within a minute`);
      // Its frames are not read during the closing handshake.
      transport?.pause?.();
    }
  }

  #trace(
    dir: 'forward' | 'refuse' | 'drop',
    { path }: Session,
    { to, corrId, id }: Header,
    bytes: number,
    more: { via?: string; code?: ErrorCode },
  ): void {
    const { trace } = this.#deps;
    if (trace.admit()) trace.add({ dir, type: 'Data', from: path, to, corrId, id, bytes, ...more });
  }
}

const isRouted = ({ frame: { type }, to }: Envelope): boolean =>
  type === 'Data' ||
  type === 'SecureOpen' ||
  type === 'SecureAccept' ||
  type === 'SecureClose' ||
  (type === 'DeliveryAck' && to !== undefined);

// The offset of the trace context in an envelope that was decoded, or 0.
function traceparentAt({ meta }: Envelope, bytes: Buffer): number {
  const context = traceparentIn(meta);
  const at = context === undefined ? -1 : bytes.indexOf(`"${context}"`);
  return at + 1;
}

const pathEnd = (path: string): string =>
  path.length <= MAX_LOGGED_PATH ? path : `…${path.slice(3 - MAX_LOGGED_PATH)}`;

function headerOf(envelope: Envelope): Header {
  const header = new Header();
  header.id = envelope.id;
  header.to = envelope.to ?? '';
  header.replyTo = envelope.replyTo ?? '';
  header.corrId = envelope.corrId ?? '';
  header.flowId = envelope.flowId ?? '';
  header.sid = envelope.sid ?? '';
  header.rtype = envelope.rtype ?? 0;
  header.ttl = envelope.ttl ?? -1;
  header.timeoutMs = timeoutOf(envelope.meta) ?? 0;
  return header;
}

// Finds the fields that a NACK needs in a message that cannot be decoded; missing fields are empty.
function refusedOf(bytes: Buffer): Refused & { readonly flowId: string } {
  // The fields before the frame are filled even when the frame itself is broken.
  const header = new Header();
  if (readHeader(bytes, header) || header.frameAt > 0) return header;
  const {
    id = '',
    replyTo = '',
    corrId = '',
    flowId = '',
  } = parsePartialHeader(bytes, LIMITS.maxEnvelopeBytes) ?? {};
  return { id, replyTo, corrId, flowId };
}
