// From a fresh connection to a session: the first message must be NodeAttach, within 5 s. Identity is given out here: the
// path is ours to choose, a node that comes back gets its session again, and a second copy of a running script gets a
// path of its own instead of evicting the first.
import {
  decode,
  type Envelope,
  type ErrorCode,
  encode,
  FabricError,
  FLOW,
  isFabricError,
  type Logger,
  makeEnvelope,
  type NodeAttach,
  type NodeAttachAck,
  newId,
} from '@fame-fabric/shared';
import { CLOSE, closeCodeOfRefusal } from '../close-codes.ts';
import type { Counters } from '../http/metrics.ts';
import type { Identity } from '../replies.ts';
import { Session, type SessionKind, type Ticker } from '../session/session.ts';
import type { Sessions } from '../session/sessions.ts';
import type { Wire } from '../session/wire.ts';

/** Nodes that want CallCancel frames say so with this capability when they attach. */
export const CANCEL_CAPABILITY = 'fame.capability.cancel';
/** Nodes that give each stream they send a flow of its own say so with this one. */
export const STREAM_FLOWS_CAPABILITY = 'fame.capability.stream-flows';

const SEGMENT = /^[A-Za-z0-9._-]{1,128}$/;

/** What the URL of a connection says. */
export interface Claim {
  readonly origin: 'downstream' | 'peer';
  readonly systemId: string;
}

export interface AdmissionParts {
  self: Identity;
  ticker: Ticker;
  sessions: Sessions;
  counters: Counters;
  log: Logger;
}

export class Admission {
  readonly #parts: AdmissionParts;
  readonly #maxSessions: number;
  /** While draining, nobody is let in. */
  draining = false;
  /** Told of a peer that attached, so that it learns our addresses. */
  onPeer: (session: Session) => void = () => {};

  constructor(parts: AdmissionParts, options: { maxSessions: number }) {
    this.#parts = parts;
    this.#maxSessions = options.maxSessions;
  }

  /** Takes the first message of a connection. Answers and returns the session, or answers, closes and returns nothing. */
  admit(wire: Wire, claim: Claim, bytes: Uint8Array): Session | undefined {
    let envelope: Envelope | undefined;
    try {
      envelope = decode(bytes);
      if (envelope.frame.type !== 'NodeAttach') {
        throw new FabricError(
          'PROTO_OUT_OF_ORDER',
          `The first frame must be NodeAttach, not ${envelope.frame.type}`,
        );
      }
      return this.#attach(wire, claim, envelope, envelope.frame);
    } catch (error) {
      const code = isFabricError(error) ? error.code : 'ADMIT_REFUSED';
      const reason = isFabricError(error) ? error.message : 'The attach could not be handled';
      this.refuse(wire, envelope, code, reason);
      if (!isFabricError(error)) this.#parts.log.error('an attach failed', { error });
      return undefined;
    }
  }

  /** Says no and closes; with the request's corrId when there is one, so that the node can tell its user why. */
  refuse(wire: Wire, request: Envelope | undefined, code: ErrorCode, reason: string): void {
    const { self, log, counters } = this.#parts;
    const frame: NodeAttachAck = {
      type: 'NodeAttachAck',
      ok: false,
      code,
      reason,
      refId: request?.id || 'unknown',
    };
    const header = { sid: self.sid, flowId: self.flowId, seqId: 0, flowFlags: FLOW.syn };
    wire.send(
      encode(
        makeEnvelope(frame, request?.corrId === undefined ? header : { ...header, corrId: request.corrId }),
      ),
    );
    counters.refuse(code);
    log.warn('refused an attach', { code, reason, remote: wire.remote });
    wire.close(closeCodeOfRefusal(code), reason.slice(0, 120));
  }

  #attach(wire: Wire, claim: Claim, envelope: Envelope, frame: NodeAttach): Session {
    const { self, counters, log } = this.#parts;
    const { systemId, instanceId, originType } = frame;
    if (originType !== 'downstream' && originType !== 'peer') {
      throw new FabricError('ADMIT_REFUSED', 'originType must be downstream or peer');
    }
    if (!SEGMENT.test(systemId)) {
      throw new FabricError(
        'ADMIT_REFUSED',
        'systemId may have 1 to 128 letters, digits, dots, underscores and hyphens',
      );
    }
    if (systemId !== claim.systemId)
      throw new FabricError('ADMIT_REFUSED', 'systemId is not the one in the URL');
    if (systemId === self.id) throw new FabricError('ADMIT_REFUSED', 'systemId is that of this sentinel');
    if (this.draining) throw new FabricError('ADMIT_FULL', 'The sentinel is shutting down');
    const kind: SessionKind = originType === 'peer' ? 'peer' : 'node';
    const { session, isResumed } = this.#sessionFor(wire, systemId, instanceId, kind);
    session.takesCancel = frame.capabilities?.includes(CANCEL_CAPABILITY) ?? false;
    session.hasStreamFlows = frame.capabilities?.includes(STREAM_FLOWS_CAPABILITY) ?? false;
    // A new epoch with every attach: the node binds again, whatever we may have forgotten of it.
    session.epoch = newId();
    counters.attached++;

    const ack: NodeAttachAck = {
      type: 'NodeAttachAck',
      ok: true,
      refId: envelope.id || 'unknown',
      targetSystemId: self.id,
      targetPhysicalPath: self.path,
      assignedPath: session.path,
      routingEpoch: session.epoch,
      software: self.software,
      resumed: isResumed,
    };
    const header = {
      sid: self.sid,
      ...(envelope.traceId === undefined ? {} : { traceId: envelope.traceId }),
      ...(envelope.corrId === undefined ? {} : { corrId: envelope.corrId }),
      flowId: self.flowId,
      seqId: 0,
      flowFlags: FLOW.syn,
    };
    wire.send(encode(makeEnvelope(ack, header)));
    log.debug('a node attached', { path: session.path, kind });
    session.drained();
    if (kind === 'peer') this.onPeer(session);
    return session;
  }

  // The session that this node had, or a new one. A live session of another instance is never touched.
  #sessionFor(
    wire: Wire,
    systemId: string,
    instanceId: string,
    kind: SessionKind,
  ): { session: Session; isResumed: boolean } {
    const { self, sessions, ticker } = this.#parts;
    const root = kind === 'peer' ? '' : self.path;
    const copies = [...sessions.ofSystem(systemId)].filter((session) => session.kind === kind);
    const own =
      copies.find((session) => session.instanceId === instanceId) ??
      copies.find((session) => session.state === 'detached');
    if (own !== undefined) {
      const older = own.wire;
      const isResumed = own.instanceId === instanceId;
      // The one in the map first: the close of the older connection must find itself displaced.
      sessions.resume(own, wire, instanceId);
      own.heardAt = ticker.now;
      older?.close(CLOSE.normal, 'replaced by a newer connection of the same node');
      return { session: own, isResumed };
    }
    if (sessions.size >= this.#maxSessions) {
      throw new FabricError(
        'ADMIT_FULL',
        `The sentinel has ${this.#maxSessions} nodes, as many as it may have`,
      );
    }
    let path = `${root}/${systemId}`;
    for (let copy = 2; sessions.byPath(path) !== undefined; copy++) path = `${root}/${systemId}-${copy}`;
    const session = new Session({ path, systemId, instanceId, kind, ticker });
    session.wire = wire;
    sessions.add(session);
    return { session, isResumed: false };
  }
}
