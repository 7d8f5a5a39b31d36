// Admission: turns a new connection into a session. Its first message must be NodeAttach, and its credential must be verified,
// both within 5 s. The sentinel assigns the path. A returning node resumes its session. A second copy of a running script (a twin)
// gets a path of its own and never evicts the first. Messages of an attached connection go straight to the router.
import type {
  Clock,
  Envelope,
  ErrorCode,
  Logger,
  NodeAttach,
  NodeAttachAck,
  Timer,
} from '@fame-fabric/shared';
import {
  BYTE_CREDIT_CAPABILITY,
  CANCEL_CAPABILITY,
  cutText,
  PAIR_FLOWS_CAPABILITY,
  STREAM_FLOWS_CAPABILITY,
  WHO_IS_CAPABILITY,
} from '@fame-fabric/shared/internal';
import {
  decode,
  FabricError,
  FLOW,
  isFabricError,
  LIMITS,
  newId,
  tableCode,
} from '@fame-fabric/shared/router';
import {
  type Authentication,
  expiresInMs,
  type Granted,
  isKeyed,
  type MaybePending,
} from '../access/access.ts';
import type { Guard } from '../access/guard.ts';
import type { PolicyChange } from '../access/policy-change.ts';
import type { AttachExcess } from '../access/principal-quota.ts';
import type { Quotas } from '../access/quotas.ts';
import { rightsOf } from '../access/renewals.ts';
import { CLOSE, closeCodeOfRefusal } from '../close-codes.ts';
import type { Counters } from '../counters.ts';
import { assignPath, type Identity, isSystemId } from '../identity.ts';
import type { MemoryCeiling } from '../memory-ceiling.ts';
import type { Overlay } from '../overlay/overlay.ts';
import { answer } from '../replies.ts';
import type { Router } from '../route.ts';
import type { NodeTransport } from '../session/node-transport.ts';
import { tokenDigest } from '../session/resume-token.ts';
import type { AttachTerms, Session, SessionKind } from '../session/session.ts';
import type { SessionTable } from '../session/session-table.ts';
import type { Sessions } from '../session/sessions.ts';
import type { PeerIds } from '../uplink/peer-ids.ts';
import { type LostPaths, lostSession, otherConnections } from './lost-paths.ts';

/** Time in which a connection must attach, in ms. The promise is 5 s at the node; the rest is for latency and a busy event loop. */
const ATTACH_WITHIN_MS = 4_800;

/** Connections that may be open without having attached. Beyond this number the oldest is closed for each new one. */
const MAX_UNATTACHED = 1_024;

/** Share of the unattached connections and of the sessions that is reserved for holders of the key. */
const KEYED_SHARE = 0.25;
/** The part of a limit that nodes without a key may use. */
const openShare = (limit: number): number => limit - Math.floor(limit * KEYED_SHARE);
const MAX_UNATTACHED_ANONYMOUS = openShare(MAX_UNATTACHED);

/** Origin, system id and credential of a connection's upgrade request. Its NodeAttach must have the same system id. */
export interface Claim {
  readonly authentication: MaybePending;
  readonly origin: 'downstream' | 'peer';
  readonly systemId: string;
  /** Called when the node is attached. */
  readonly onAttached?: (() => void) | undefined;
}

/** A connection that has not attached. */
interface Candidate {
  readonly transport: NodeTransport;
  readonly claim: Claim;
  /** Monotonic, in ms. */
  readonly openedAt: number;
  /** Undefined while the credential is being verified. */
  authentication: Authentication | undefined;
  /** Its first message arrived; further ones are ignored until it is attached. */
  receivedFirstFrame: boolean;
  /** The first message, while the credential is being verified. */
  firstFrame: Uint8Array | undefined;
  /** Path of the session that the node lost, once the attach has waited for it. */
  lostPath: string | undefined;
}

export interface AdmissionDeps {
  guard: Guard;
  identity: Identity;
  clock: Clock;
  lostPaths: LostPaths;
  table: SessionTable;
  sessions: Sessions;
  router: Router;
  announcer: PeerAnnouncer;
  peerIds: PeerIds;
  policyChange: PolicyChange;
  quotas: Quotas;
  counters: Counters;
  memory: MemoryCeiling;
  /** Set if envelopes are signed. */
  overlay: Overlay | undefined;
  log: Logger;
}

/** An attach whose fields are checked. */
interface AttachRequest {
  readonly systemId: string;
  readonly kind: SessionKind;
  readonly terms: AttachTerms;
  readonly tokenDigest: string | undefined;
  readonly lostPath: string | undefined;
}

/** Announces our bindings to a peer that has just attached. */
interface PeerAnnouncer {
  announceTo(peer: Session): void;
}

export class Admission {
  readonly #deps: AdmissionDeps;
  readonly #maxSessions: number;
  readonly #maxOpenCalls: number;
  /** Oldest first. */
  readonly #candidates = new Set<Candidate>();
  /** Those without a key, oldest first. */
  readonly #anonymous = new Set<Candidate>();
  /** Fires when the oldest candidate is due. There is none while there are no candidates, so an idle sentinel pays nothing. */
  #timer: Timer | undefined;
  #isStopped = false;
  /** True if the node at hand resumed its session with a credential that has other rights than the last one. */
  #hasOtherRights = false;

  constructor(deps: AdmissionDeps, options: { maxSessions: number; maxOpenCallsPerNode: number }) {
    this.#deps = deps;
    this.#maxSessions = options.maxSessions;
    this.#maxOpenCalls = options.maxOpenCallsPerNode;
  }

  /** True if a new connection may be opened. */
  get isOpen(): boolean {
    return !this.#isStopped && !this.#deps.memory.isExceeded;
  }

  /** Refuses every attach from now on. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Waits for the NodeAttach of a new connection. */
  open(transport: NodeTransport, claim: Claim): void {
    const { clock } = this.#deps;
    const openedAt = clock.monotonic();
    const pending = claim.authentication instanceof Promise ? claim.authentication : undefined;
    const authentication = claim.authentication instanceof Promise ? undefined : claim.authentication;
    const candidate: Candidate = {
      transport,
      claim,
      openedAt,
      authentication,
      receivedFirstFrame: false,
      firstFrame: undefined,
      lostPath: undefined,
    };
    const isAnonymous = !hasCredential(authentication);
    this.#makeRoom(isAnonymous);
    this.#candidates.add(candidate);
    if (isAnonymous) this.#anonymous.add(candidate);
    void pending?.then((result) => this.#authenticated(candidate, result));
    this.#timer ??= clock.after(ATTACH_WITHIN_MS, this.#closeOverdue);
    transport.onMessage = (bytes) => this.#receiveFirst(candidate, bytes);
    transport.onClose = () => this.#forget(candidate);
  }

  // A node attaches within milliseconds, so the oldest connection is the one that most likely never will.
  #makeRoom(forAnonymous: boolean): void {
    const isFull =
      this.#candidates.size >= MAX_UNATTACHED ||
      (forAnonymous && this.#anonymous.size >= MAX_UNATTACHED_ANONYMOUS);
    if (!isFull) return;
    const { counters, log } = this.#deps;
    const oldest: Candidate = (this.#anonymous.values().next().value ??
      this.#candidates.values().next().value)!;
    this.#forget(oldest);
    counters.refuse('ADMIT_FULL');
    log.warn('closed the oldest connection that has not attached, to make room', {
      remote: oldest.transport.remote,
    });
    oldest.transport.terminate();
  }

  /** Counts a new connection of a principal that is known. Returns why it must be refused, or undefined. */
  attachFault(authentication: MaybePending): AttachExcess | undefined {
    if (authentication instanceof Promise || !authentication.ok) return undefined;
    return this.#deps.quotas.of(authentication.principal)?.attach();
  }

  #forget(candidate: Candidate): void {
    this.#candidates.delete(candidate);
    this.#anonymous.delete(candidate);
  }

  // Closes the connections that have not attached in time, and waits for the next one that becomes due.
  readonly #closeOverdue = (): void => {
    const { clock } = this.#deps;
    const openedBefore = clock.monotonic() - ATTACH_WITHIN_MS;
    this.#timer = undefined;
    for (const candidate of this.#candidates) {
      const { authentication, openedAt, receivedFirstFrame, transport } = candidate;
      if (openedAt > openedBefore) {
        this.#timer = clock.after(openedAt - openedBefore, this.#closeOverdue);
        return;
      }
      this.#forget(candidate);
      if (authentication === undefined)
        this.#refuse(transport, undefined, 'ADMIT_TIMEOUT', 'The credential was not verified within 5 s');
      else if (receivedFirstFrame) transport.terminate();
      else this.#refuse(transport, undefined, 'ADMIT_TIMEOUT', 'No NodeAttach arrived within 5 s');
    }
  };

  #receiveFirst(candidate: Candidate, bytes: Uint8Array): void {
    if (candidate.receivedFirstFrame) return;
    candidate.receivedFirstFrame = true;
    if (candidate.authentication !== undefined) this.#begin(candidate, candidate.authentication, bytes);
    // The bytes belong to the transport again when this returns.
    else candidate.firstFrame = Buffer.from(bytes);
  }

  #authenticated(candidate: Candidate, authentication: Authentication): void {
    if (!this.#candidates.has(candidate)) return;
    candidate.authentication = authentication;
    const excess = this.attachFault(authentication);
    if (excess !== undefined) {
      const fault = new FabricError('QUOTA_EXCEEDED', excess.reason);
      candidate.authentication = { ok: false, fault };
    }
    if (hasCredential(authentication)) this.#anonymous.delete(candidate);
    const { firstFrame } = candidate;
    candidate.firstFrame = undefined;
    if (firstFrame !== undefined) this.#begin(candidate, candidate.authentication, firstFrame);
  }

  #begin(candidate: Candidate, authentication: Authentication, bytes: Uint8Array): void {
    const { overlay, router, sessions } = this.#deps;
    const { transport } = candidate;
    this.#hasOtherRights = false;
    const session = this.#admit(candidate, authentication, bytes);
    // A refused connection counts among the candidates until it is closed.
    if (session === undefined) return;
    this.#forget(candidate);
    candidate.claim.onAttached?.();
    transport.raiseLimits?.();
    const receiver = overlay ?? router;
    transport.onMessage = (message) => receiver.receive(session, message as Buffer);
    transport.onDrain = () => session.outbound.flush();
    transport.onPing = (size) => router.receivePing(session, size);
    transport.onPong = (size) => void router.receivePing(session, size);
    transport.onClose = (code) => sessions.detach(session, transport, code === CLOSE.normal);
    session.outbound.flush();
    if (this.#hasOtherRights) this.#deps.policyChange.enforce(session);
    if (session.kind !== 'peer' || session.transport !== transport) return;
    overlay?.announceTo(session);
    this.#deps.announcer.announceTo(session);
  }

  #admit(candidate: Candidate, authentication: Authentication, bytes: Uint8Array): Session | undefined {
    const { transport } = candidate;
    let envelope: Envelope | undefined;
    try {
      envelope = decode(bytes);
      if (envelope.frame.type !== 'NodeAttach') {
        throw new FabricError(
          'PROTO_OUT_OF_ORDER',
          `The first frame must be NodeAttach, not ${envelope.frame.type}`,
        );
      }
      if (!authentication.ok) throw authentication.fault;
      const attach = envelope as Envelope<NodeAttach>;
      if (this.#waitsForPath(candidate, authentication, attach.frame, bytes)) return undefined;
      return this.#attach(candidate, authentication, attach);
    } catch (error) {
      const code = isFabricError(error) ? tableCode(error.code) : 'ADMIT_REFUSED';
      const reason = isFabricError(error) ? error.message : 'The attach could not be handled';
      this.#refuse(transport, envelope, code, reason);
      if (!isFabricError(error)) this.#deps.log.error('an attach failed', { error });
      return undefined;
    }
  }

  // Sends the refusal and closes; with the request's corrId if there is one, so that the node can report the reason.
  #refuse(transport: NodeTransport, request: Envelope | undefined, code: ErrorCode, reason: string): void {
    const { counters, identity, log } = this.#deps;
    const refId = request?.id || 'unknown';
    const ack: NodeAttachAck = {
      type: 'NodeAttachAck',
      ok: false,
      code,
      reason,
      refId,
      targetSystemId: identity.id,
    };
    transport.send(answer(identity, request, ack, FLOW.syn));
    counters.refuse(code);
    // The code says enough about a message that is no envelope; other reasons are our texts.
    const shown = code.startsWith('PROTO_') ? undefined : cutText(reason, 120);
    log.warn('refused an attach', { code, reason: shown, remote: transport.remote });
    transport.close(closeCodeOfRefusal(code), reason);
  }

  // Lets the attach wait if the path of its node belongs to a lost session.
  #waitsForPath(candidate: Candidate, granted: Granted, attach: NodeAttach, bytes: Uint8Array): boolean {
    const { lostPaths, table } = this.#deps;
    if (candidate.lostPath !== undefined) return false;
    const { claim, transport } = candidate;
    const lost = lostSession(attach, granted.principal.id, table.ofSystem(claim.systemId));
    if (lost === undefined) return false;
    // The bytes belong to the transport again when this returns.
    const copy = Buffer.from(bytes);
    const waits = lostPaths.wait(lost, () => {
      candidate.lostPath = lost.path;
      this.#begin(candidate, granted, copy);
    });
    if (!waits) return false;
    this.#forget(candidate);
    transport.onClose = () => lostPaths.cancel(lost);
    return true;
  }

  #attach(
    { transport, claim, lostPath }: Candidate,
    { principal, expiresAt, nodeFault }: Granted,
    envelope: Envelope<NodeAttach>,
  ): Session {
    const { clock, counters, identity, log, overlay } = this.#deps;
    const { systemId, instanceId, originType, capabilities, keys, resumeToken } = envelope.frame;
    if (originType !== 'downstream' && originType !== 'peer') {
      throw refused('originType must be downstream or peer');
    }
    if (!isSystemId(systemId)) {
      throw refused('systemId may have 1 to 128 letters, digits, dots, underscores and hyphens');
    }
    if (systemId !== claim.systemId) throw refused('systemId differs from the one in the URL');
    if (originType !== claim.origin) {
      throw refused(
        `originType is ${originType}, and the URL is that of ${claim.origin} nodes; use the same in both`,
      );
    }
    if (systemId === identity.id) throw refused('systemId is that of this sentinel');
    const fault = nodeFault?.(systemId);
    if (fault !== undefined) throw fault;
    const origin = { principal, action: 'Connect', remote: transport.remote } as const;
    if (!this.#deps.guard.admits(origin, originType)) {
      throw new FabricError(
        'AUTH_FORBIDDEN',
        'This node may not attach. The log of the sentinel has the rule.',
      );
    }
    if (originType === 'peer') this.#checkPeer(systemId, instanceId);
    if (this.#isStopped) throw new FabricError('ADMIT_FULL', 'The sentinel is shutting down');
    const kind: SessionKind = originType === 'peer' ? 'peer' : 'node';
    const terms: AttachTerms = {
      principal,
      expiresAt,
      instanceId,
      // A new epoch with every attach makes the node bind its addresses again; the detach removed them.
      epoch: newId(),
      mayForward: this.#deps.guard.permissions.mayForward(principal),
      acceptsCancel: capabilities?.includes(CANCEL_CAPABILITY) ?? false,
      hasStreamFlows: capabilities?.includes(STREAM_FLOWS_CAPABILITY) ?? false,
      hasPairFlows: capabilities?.includes(PAIR_FLOWS_CAPABILITY) ?? false,
      hasByteCredit: capabilities?.includes(BYTE_CREDIT_CAPABILITY) ?? false,
      answersWhoIs: capabilities?.includes(WHO_IS_CAPABILITY) ?? false,
    };
    const digest = resumeToken ? tokenDigest(resumeToken) : undefined;
    const request: AttachRequest = { systemId, kind, terms, tokenDigest: digest, lostPath };
    const jwks = overlay?.readKeys(keys, this.#sessionOf(request)?.path);
    const { session, isResumed } = this.#openOrResume(transport, request);
    if (jwks !== undefined) overlay?.attached(session, jwks);
    counters.attached++;
    if (isResumed) counters.resumed++;
    const ack: NodeAttachAck = {
      type: 'NodeAttachAck',
      ok: true,
      refId: envelope.id || 'unknown',
      targetSystemId: identity.id,
      targetPhysicalPath: identity.path,
      assignedPath: session.path,
      routingEpoch: session.terms.epoch,
      keys: overlay?.jwks,
      software: identity.software,
      resumed: isResumed,
      // Only sessions of nodes outlive their connection.
      resumeToken: kind === 'node' ? session.rotateToken(digest) : undefined,
      principal: { id: principal.id, roles: principal.roles },
      expiresInMs: expiresInMs({ expiresAt }, clock.now()),
      maxOpenCalls: Math.max(1, Math.min(this.#maxOpenCalls, session.quota?.limits.openCalls ?? Infinity)),
      creditBytes: terms.hasByteCredit ? LIMITS.creditReturnBytes : undefined,
    };
    transport.send(answer(identity, envelope, ack, FLOW.syn));
    log.debug('a node attached', { path: session.path, kind });
    return session;
  }

  // Only configured sentinels may be peers, and each of them once: a peer receives every address.
  #checkPeer(systemId: string, instanceId: string): void {
    const { peerIds, table } = this.#deps;
    if (!peerIds.has(systemId)) {
      throw refused(
        `"${systemId}" is not a peer of this sentinel. Add it to FAME_PEER_IDS here, or its URL to FAME_PEER_URLS.`,
      );
    }
    for (const { kind, terms } of table.ofSystem(systemId)) {
      // A session without an instance is our own connection to that peer.
      if (kind !== 'peer' || terms.instanceId === '' || terms.instanceId === instanceId) continue;
      throw refused(`Peer "${systemId}" is attached already. Give each sentinel its own FAME_NODE_ID.`);
    }
  }

  // Finds the session that this node had. The instance is known to its own process alone. The token proves that another process
  // is the successor; it resumes a session without a connection, and never a live one. Any other node with this system id gets
  // a path of its own: the queue and the calls of the session belong to its node.
  #sessionOf({ systemId, kind, terms, tokenDigest: digest }: AttachRequest): Session | undefined {
    let succeeded: Session | undefined;
    for (const session of this.#deps.table.ofSystem(systemId)) {
      // A session belongs to the principal that opened it.
      if (session.kind !== kind || session.terms.principal.id !== terms.principal.id) continue;
      if (session.terms.instanceId === terms.instanceId) return session;
      const isSucceeded =
        digest !== undefined && session.state === 'detached' && session.acceptsToken(digest);
      if (isSucceeded) succeeded ??= session;
    }
    return succeeded;
  }

  #openOrResume(transport: NodeTransport, request: AttachRequest): { session: Session; isResumed: boolean } {
    const { identity, lostPaths, sessions, table } = this.#deps;
    const { systemId, kind, terms, lostPath } = request;
    const own = this.#sessionOf(request);
    if (own !== undefined) {
      const isResumed = own.terms.instanceId === terms.instanceId;
      this.#hasOtherRights = rightsOf(own.terms.principal) !== rightsOf(terms.principal);
      sessions.resume(own, transport, terms);
      lostPaths.settled(own);
      return { session: own, isResumed };
    }
    const quota = kind === 'node' ? this.#deps.quotas.of(terms.principal) : undefined;
    if (quota?.hasAllSessions && !sessions.endOldestDetached((session) => session.quota === quota)) {
      throw new FabricError('QUOTA_EXCEEDED', quota.refuseSession());
    }
    const limit = isKeyed(terms.principal) ? this.#maxSessions : openShare(this.#maxSessions);
    // A session without a connection must not lock out a new node.
    if (table.size >= limit && !sessions.endOldestDetached((session) => !isKeyed(session.terms.principal))) {
      const rest = this.#maxSessions - limit;
      const forKeys = rest > 0 ? `; ${rest} more are reserved for nodes with a key` : '';
      throw new FabricError(
        'ADMIT_FULL',
        `Session limit reached (${limit}${forKeys}). Raise FAME_MAX_SESSIONS or add a sentinel.`,
      );
    }
    const root = kind === 'peer' ? '' : identity.path;
    const isTaken = (path: string): boolean => table.byPath(path) !== undefined;
    const path = lostPath === undefined || isTaken(lostPath) ? assignPath(root, systemId, isTaken) : lostPath;
    const session = sessions.open({ path, systemId, kind }, transport, terms);
    for (const holder of otherConnections(session, table.ofSystem(systemId)))
      lostPaths.watch(holder, session);
    return { session, isResumed: false };
  }
}

const hasCredential = (authentication: Authentication | undefined): boolean =>
  authentication?.ok === true && isKeyed(authentication.principal);

const refused = (reason: string): FabricError => new FabricError('ADMIT_REFUSED', reason);
