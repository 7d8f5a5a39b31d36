// A connection that this sentinel opens: to its parent or to a peer. It attaches like any node, and is then a session like
// any other, so the router does not know uplinks. Dialing and heartbeats are those of every link (`shared/src/link`).
import type {
  Clock,
  Dial,
  Envelope,
  Logger,
  NodeAttach,
  NodeAttachAck,
  TokenSource,
  Transport,
} from '@fame-fabric/shared';
import {
  ANONYMOUS,
  cutText,
  errorMessage,
  isOwnSoftware,
  NODE_CAPABILITIES,
  PAIR_FLOWS_CAPABILITY,
  redactUrl,
  WHO_IS_CAPABILITY,
} from '@fame-fabric/shared/internal';
import { Dialer, Heartbeat, TokenRenewal } from '@fame-fabric/shared/link';
import { encode, FabricError, FLOW, makeEnvelope, newId } from '@fame-fabric/shared/router';
import { CLOSE } from '../close-codes.ts';
import type { Identity } from '../identity.ts';
import type { OpenCall, OpenCalls } from '../open-calls.ts';
import type { Overlay } from '../overlay/overlay.ts';
import { announcement, nack } from '../replies.ts';
import type { Router } from '../route.ts';
import type { Session } from '../session/session.ts';
import type { Sessions } from '../session/sessions.ts';
import type { Announcements } from './announcements.ts';
import type { PeerIds } from './peer-ids.ts';
import { UplinkTransport } from './uplink-transport.ts';

const HEARTBEAT_MS = 15_000;
/** Time limit of the ack of a renewal, in ms. */
const RENEWAL_TIMEOUT_MS = 20_000;
const MAX_REASON_CHARS = 300;

// The message of an error repeats the URL, which may contain credentials.
const redactedMessage = (error: unknown, url: string): string =>
  errorMessage(error).replaceAll(url, redactUrl(url));

export interface UplinkDeps {
  identity: Identity;
  clock: Clock;
  sessions: Sessions;
  calls: OpenCalls;
  router: Router;
  announcer: Announcements;
  peerIds: PeerIds;
  /** Set if envelopes are signed. */
  overlay: Overlay | undefined;
  dial: Dial;
  log: Logger;
}

export interface UplinkOptions {
  /** Admission URL without its last segment. */
  readonly url: string;
  readonly kind: 'parent' | 'peer';
  /** Credential to send. @default none */
  readonly token?: TokenSource | undefined;
  /** Resume token of the earlier process's session at the parent. */
  readonly resumeToken?: string | undefined;
  /** Called with each new resume token, for a later process. */
  readonly onResumeToken?: ((token: string) => void) | undefined;
}

/** State of an uplink, for people. */
export interface UplinkStatus {
  readonly kind: 'parent' | 'peer';
  /** Without credentials. */
  readonly url: string;
  readonly state: 'attached' | 'connecting';
  /** Why the last attempt failed; absent while attached and before the first failure. */
  readonly reason?: string | undefined;
}

export class Uplink {
  readonly #deps: UplinkDeps;
  readonly #url: string;
  readonly #kind: 'parent' | 'peer';
  readonly #instanceId = newId();
  readonly #dialer: Dialer;
  readonly #heartbeat: Heartbeat;
  readonly #renewal: TokenRenewal;
  readonly #closing = new AbortController();
  readonly #onResumeToken: ((token: string) => void) | undefined;
  #resumeToken: string | undefined;
  #session: Session | undefined;
  /** Why the last attempt failed. */
  #reason: string | undefined;
  /** Calls of the other side that were open when the connection was lost. Their callers are notified after the reattach. */
  #lostCalls: readonly OpenCall[] = [];

  constructor(deps: UplinkDeps, { url, kind, token, resumeToken, onResumeToken }: UplinkOptions) {
    const { clock, dial, identity, log } = deps;
    this.#deps = deps;
    this.#url = url;
    this.#kind = kind;
    this.#resumeToken = resumeToken;
    this.#onResumeToken = onResumeToken;
    this.#dialer = new Dialer(
      {
        dial,
        clock,
        log,
        makeAttach: () => this.#makeAttach(),
        onAttached: (transport, ack) => this.#onAttached(transport, ack),
        onRefused: (ack) => this.#learnPeer(ack),
        onFailed: (error) => {
          this.#reason = cutText(redactedMessage(error, url), MAX_REASON_CHARS);
        },
      },
      {
        url: `${url}/${identity.id}`,
        token,
        retriesRefusal: true,
        peer: `${kind} sentinel`,
        advice: `Start it or check ${kind === 'parent' ? 'FAME_PARENT_URL' : 'FAME_PEER_URLS'}`,
      },
    );
    // The sweeper detects silence in all sessions, this one included.
    this.#heartbeat = new Heartbeat(
      { clock, beat: () => this.#beat(), onSilence: () => {} },
      { intervalMs: HEARTBEAT_MS, silentAfterMs: Number.POSITIVE_INFINITY },
    );
    this.#renewal = new TokenRenewal({ clock, log, token, send: (fresh) => this.#sendRenewal(fresh) });
  }

  get status(): UplinkStatus {
    const uplink = { kind: this.#kind, url: redactUrl(this.#url) };
    return this.#session
      ? { ...uplink, state: 'attached' }
      : { ...uplink, state: 'connecting', reason: this.#reason };
  }

  /**
   * Attaches, retrying for `timeoutMs`; afterwards the uplink reconnects until it is closed.
   * @throws {LINK_TIMEOUT} when the other sentinel was not reached or refused. @throws {LINK_CLOSED} when closed meanwhile
   */
  async connect(timeoutMs: number): Promise<void> {
    await this.#dialer.attach(timeoutMs, this.#closing.signal);
  }

  /** Attaches, retrying until it succeeds or the uplink is closed. */
  connectInBackground(): void {
    void this.#untilClosed(this.#dialer.attach(Number.POSITIVE_INFINITY, this.#closing.signal));
  }

  close(): void {
    this.#closing.abort(new FabricError('LINK_CLOSED', 'The sentinel is shutting down'));
    this.#heartbeat.stop();
    this.#renewal.stop();
    this.#session?.transport?.close(CLOSE.normal, 'the sentinel is shutting down');
  }

  #makeAttach(): Envelope<NodeAttach> {
    const { identity, overlay } = this.#deps;
    const { id, flowId } = identity;
    const isParent = this.#kind === 'parent';
    return makeEnvelope<NodeAttach>(
      {
        type: 'NodeAttach',
        originType: isParent ? 'downstream' : 'peer',
        systemId: id,
        instanceId: this.#instanceId,
        acceptedLogicals: [isParent ? 'fame.fabric' : '*'],
        // A sentinel keeps the flows of its nodes apart, so their credit may be withheld.
        capabilities: [...NODE_CAPABILITIES, PAIR_FLOWS_CAPABILITY, WHO_IS_CAPABILITY],
        keys: overlay?.jwks,
        resumeToken: this.#resumeToken,
      },
      { corrId: newId(), flowId, seqId: 0, flowFlags: FLOW.syn },
    );
  }

  // The other side reads the token only: the connection is attached already.
  #sendRenewal(authorization: string): Promise<NodeAttachAck> {
    const session = this.#session;
    const { promise, resolve, reject } = Promise.withResolvers<NodeAttachAck>();
    if (session === undefined) throw new FabricError('LINK_CLOSED', 'The connection was lost');
    const timer = this.#deps.clock.after(RENEWAL_TIMEOUT_MS, () =>
      reject(new FabricError('LINK_TIMEOUT', `The ${this.#kind} sentinel did not answer the renewal`)),
    );
    session.onAttachAck = (ack) => {
      timer.stop();
      session.onAttachAck = undefined;
      resolve(ack);
    };
    const { frame, ...header } = this.#makeAttach();
    const renewal = makeEnvelope({ ...frame, resumeToken: undefined, authorization }, header);
    session.outbound.sendControl(encode(renewal));
    return promise;
  }

  #learnPeer({ targetSystemId }: NodeAttachAck): void {
    if (this.#kind === 'peer' && targetSystemId) this.#deps.peerIds.learn(this.#url, targetSystemId);
  }

  #onAttached(inner: Transport, ack: NodeAttachAck): void {
    const { announcer, identity, log, overlay, router, sessions } = this.#deps;
    const { assignedPath, keys, software, targetPhysicalPath: path, targetSystemId: systemId } = ack;
    if (!assignedPath || !path) {
      throw new FabricError('LINK_REFUSED', `The ${this.#kind} sentinel sent an incomplete NodeAttachAck`);
    }
    const jwks = overlay?.readKeys(keys, path);
    if (this.#kind === 'parent' && identity.adoptPath(assignedPath)) {
      sessions.endNodes(CLOSE.serviceRestart, 'the path of this sentinel changed');
    }
    this.#learnPeer(ack);
    const transport = new UplinkTransport(inner, this.#url);
    const isOurs = isOwnSoftware(software);
    const session = sessions.open(
      { path, systemId: systemId ?? path.slice(1), kind: this.#kind },
      transport,
      {
        principal: ANONYMOUS,
        instanceId: '',
        epoch: '',
        mayForward: true,
        acceptsCancel: isOurs,
        hasStreamFlows: isOurs,
        hasPairFlows: isOurs,
        hasByteCredit: false,
        answersWhoIs: isOurs && ack.principal !== undefined,
      },
    );
    this.#session = session;
    this.#reason = undefined;
    if (jwks !== undefined) overlay?.attached(session, jwks);
    const receiver = overlay ?? router;
    transport.onMessage = (bytes) => receiver.receive(session, bytes as Buffer);
    transport.onDrain = () => session.outbound.flush();
    transport.onClose = (code) => this.#onLost(session, transport, code);
    this.#heartbeat.start();
    this.#renewal.start(ack.expiresInMs);
    log.info(`attached to the ${this.#kind} sentinel`, { url: this.#url, path: identity.path });
    overlay?.announceTo(session);
    announcer.announceTo(session);
    // The other side kept its half of these calls for us to resume; our half was dropped with the connection.
    for (const call of this.#lostCalls) {
      const reason = 'The connection to the node that was handling the call was lost';
      session.outbound.sendControl(nack(identity, call, 'NODE_GONE', reason));
    }
    this.#lostCalls = [];
    if (ack.resumeToken === undefined) return;
    this.#resumeToken = ack.resumeToken;
    this.#onResumeToken?.(ack.resumeToken);
  }

  #onLost(session: Session, transport: UplinkTransport, closeCode: number): void {
    const { calls, log, sessions } = this.#deps;
    this.#heartbeat.stop();
    this.#renewal.stop();
    this.#session = undefined;
    this.#lostCalls = calls.madeBy(session);
    sessions.detach(session, transport);
    if (this.#closing.signal.aborted) return;
    log.warn(`lost the ${this.#kind} sentinel`, { url: this.#url, closeCode });
    void this.#untilClosed(this.#dialer.reattach(this.#closing.signal));
  }

  // Only `close` ends these attempts.
  async #untilClosed(attaching: Promise<void>): Promise<void> {
    try {
      await attaching;
    } catch (error) {
      if (!this.#closing.signal.aborted) throw error;
    }
  }

  #beat(): void {
    this.#session?.outbound.sendControl(announcement(this.#deps.identity, { type: 'NodeHeartbeat' }));
    if (this.#kind === 'parent') this.#deps.announcer.retryRefused();
  }
}
