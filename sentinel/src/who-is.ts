// WhoIs: the callee of an open call learns who made it. The call and not its path identifies the caller, because a path may be given
// to another node while messages of its last one still wait. The sentinel of the caller answers. A sentinel between passes the
// question on to the neighbor that the call came from, and passes the answer back.
//
// Invariants: W1 only the callee of an open call gets an answer about it. W2 a principal that only one sentinel knows, such as a key,
// is anonymous at every other one. W3 no right and no role of an operator passes from one sentinel to another. Sentinels of one cluster
// are one fabric with common keys, so W2 and W3 do not apply between them (docs/decisions/0067).
import type { Clock, Envelope, Principal, WhoIs, WhoIsAck } from '@fame-fabric/shared';
import { ANONYMOUS, readPrincipal } from '@fame-fabric/shared/internal';
import { locationOf, newId, tryParseAddress } from '@fame-fabric/shared/router';
import { agentView } from './access/access.ts';
import type { Permissions } from './access/permissions.ts';
import type { Bindings } from './bindings.ts';
import type { Identity } from './identity.ts';
import type { OpenCall, OpenCalls } from './open-calls.ts';
import { answer, request } from './replies.ts';
import type { Session } from './session/session.ts';
import type { SessionTable } from './session/session-table.ts';

/** Questions that wait for a neighbor. Beyond it the oldest is answered as unknown. */
const MAX_PENDING = 4_096;
/** Longest wait for a neighbor, in ms. */
const MAX_WAIT_MS = 5_000;
/** Maximum number of next calls whose callers this sentinel states for one node. */
const MAX_AHEAD = 64;
/** Role that has a meaning at its own sentinel only. */
const LOCAL_ROLES: ReadonlySet<string> = new Set(['admin', 'sentinel']);

export interface WhoIsDeps {
  identity: Identity;
  table: SessionTable;
  calls: OpenCalls;
  bindings: Bindings;
  permissions: Permissions;
  clock: Clock;
}

/** The part of a question that its answer repeats. */
type Question = Pick<Envelope, 'id' | 'corrId' | 'traceId'> & Pick<WhoIs, 'serves' | 'onBehalf'>;

/** The part of a request that a statement about its caller repeats. */
type RequestHeader = Pick<OpenCall, 'corrId' | 'replyTo' | 'to'>;

interface Pending {
  readonly asker: Session;
  /** The address of the call, at which the asker was called. */
  readonly to: string;
  readonly question: Question;
  readonly via: Session;
  readonly until: number;
}

export class WhoIsAnswers {
  readonly #deps: WhoIsDeps;
  /** By the corrId of the question to the neighbor, oldest first. */
  readonly #pending = new Map<string, Pending>();

  constructor(deps: WhoIsDeps) {
    this.#deps = deps;
  }

  /** Answers the question of a callee, now or when a neighbor has answered. */
  receive(asker: Session, { id, corrId, traceId }: Envelope, frame: WhoIs): void {
    const { address, corrId: ofCall, serves, onBehalf, ahead } = frame;
    if (ahead !== undefined && asker.kind === 'node') asker.statementsAhead = Math.min(ahead, MAX_AHEAD);
    const question = { id, corrId, traceId, serves };
    this.#dropExpired();
    const call = this.#callOf(asker, address, ofCall);
    const counts = call && isOrigin(call) ? this.#madeFor(frame, call) : call;
    // The sentinel of a caller behind another one knows the call that it was made for.
    this.#state(asker, counts === call ? { ...question, onBehalf } : question, counts, call?.to ?? '');
  }

  /**
   * States the caller of a request that is sent to `callee` next, if the callee asked for it and `from` is the origin of the request. The
   * callee takes the statement for the next message on its connection, so call it only if the request is sent at once (W1).
   */
  stateAhead(callee: Session, from: Session, { corrId, replyTo, to }: RequestHeader): void {
    if (from.kind !== 'node' || from.path !== locationOf(replyTo)) return;
    callee.statementsAhead--;
    const principal = this.#principalOf(from.terms.principal, callee, to);
    const frame: WhoIsAck = { type: 'WhoIsAck', ok: true, address: replyTo, ofCall: corrId, principal };
    callee.outbound.sendControl(answer(this.#deps.identity, undefined, frame));
  }

  /** Answers who made a call; `to` is the address that the asker was called at. Without a call its caller is unknown. */
  #state(asker: Session, question: Question, call: OpenCall | undefined, to: string): void {
    if (call === undefined) this.#answer(asker, question, undefined);
    else if (isOrigin(call))
      this.#answer(
        asker,
        question,
        this.#principalOf(call.caller.terms.principal, asker, to),
        this.#serves(call.caller, question.serves),
      );
    else if (!call.caller.terms.answersWhoIs) this.#answer(asker, question, ANONYMOUS);
    else this.#passOn(asker, question, call);
  }

  /**
   * The call whose caller counts: the one that this call was made for, if its caller has the right and was called by that one. Undefined
   * if that call has ended. A principal with the right to all conversations of an agent gains none by it.
   */
  #madeFor({ onBehalf }: WhoIs, call: OpenCall): OpenCall | undefined {
    if (onBehalf === undefined) return call;
    const [address = '', corrId = ''] = onBehalf.split(' ', 2);
    return this.#mayUseAny(call.caller.terms.principal, call.to, call.callee)
      ? this.#callOf(call.caller, address, corrId)
      : call;
  }

  #mayUseAny(principal: Principal, to: string, callee: Session): boolean {
    const { bindings, permissions } = this.#deps;
    const may = (address: string | undefined): boolean =>
      permissions.decide(principal, 'Conversations', address).isAllowed;
    const address = tryParseAddress(to);
    if (!may(to || undefined)) return false;
    if (callee.isSentinel || address?.host !== undefined) return true;
    // At its path, and by a capability, the callee chooses which of its addresses serves the call.
    const served = to === '' ? bindings.addressesOf(callee) : bindings.servedAtPath(to, callee);
    return [...(served ?? [])].every(may);
  }

  /** Passes the answer of a neighbor back to the callee. */
  answered(via: Session, refId: string | undefined, { ok, code, principal, serves }: WhoIsAck): void {
    const pending = refId === undefined ? undefined : this.#pending.get(refId);
    if (pending?.via !== via) return;
    this.#pending.delete(refId!);
    const isUnknown = !ok && code === CALL_UNKNOWN;
    const named = ok && mayState(via) ? readPrincipal(principal) : undefined;
    const stated = isUnknown ? undefined : named ? this.#statedBy(via, named, pending) : ANONYMOUS;
    this.#answer(pending.asker, pending.question, stated, serves === true && mayState(via));
  }

  #statedBy(via: Session, named: Principal, { asker, to }: Pending): Principal {
    return via.kind === 'member' ? this.#principalOf(named, asker, to) : abroad(named);
  }

  // The replyTo of a call is below the path of the session that it came from, unless that is a parent or a peer.
  #callOf(callee: Session, address: string, corrId: string): OpenCall | undefined {
    const { calls, table } = this.#deps;
    const from = table.closest(locationOf(address));
    for (const caller of from ? [from, ...table.uplinks()] : table.uplinks()) {
      const call = calls.findMade(caller, corrId, address);
      if (call?.callee === callee) return call;
    }
    return undefined;
  }

  #principalOf(principal: Principal, asker: Session, to: string): Principal {
    if (asker.kind === 'member') return agentView(principal);
    if (asker.kind !== 'node') return abroad(principal);
    const { permissions } = this.#deps;
    const mayUseAny = this.#mayUseAny(principal, to, asker);
    const { turnsPerMinute, tokensPerDay, moneyPerDay } = permissions.limitsOf(principal);
    const limits = { turnsPerMinute, tokensPerDay, moneyPerDay };
    const isLimited = Object.values(limits).some((limit) => limit !== undefined);
    const rights = {
      ...principal.rights,
      conversations: mayUseAny ? 'any' : 'own',
      ...(isLimited ? { limits } : {}),
    } as const;
    return agentView({ ...principal, rights });
  }

  #serves(caller: Session, address: string | undefined): boolean {
    // Bindings take whole addresses only.
    const isAddress = address !== undefined && tryParseAddress(address)?.host !== undefined;
    if (!isAddress) return false;
    const { bindings } = this.#deps;
    return (
      bindings.serves(address, caller) ||
      bindings.ownOwner(address)?.terms.principal.id === caller.terms.principal.id
    );
  }

  #passOn(asker: Session, question: Question, { caller, corrId, replyTo, to }: OpenCall): void {
    const { clock, identity } = this.#deps;
    const [oldest] = this.#pending;
    if (oldest !== undefined && this.#pending.size >= MAX_PENDING) this.#giveUp(...oldest);
    const id = newId();
    const until = clock.monotonic() + MAX_WAIT_MS;
    this.#pending.set(id, { asker, to, question, via: caller, until });
    const { serves, onBehalf } = question;
    const frame: WhoIs = { type: 'WhoIs', address: replyTo, corrId, serves, onBehalf };
    caller.outbound.sendControl(request(identity, frame, id));
  }

  #dropExpired(): void {
    const now = this.#deps.clock.monotonic();
    for (const [id, pending] of this.#pending) {
      if (pending.until > now) return;
      this.#giveUp(id, pending);
    }
  }

  #giveUp(id: string, { asker, question }: Pending): void {
    this.#pending.delete(id);
    this.#answer(asker, question, undefined);
  }

  /** Without a principal the call is unknown: its caller must not seem to be anonymous. */
  #answer(to: Session, question: Question, principal: Principal | undefined, serves = false): void {
    const frame: WhoIsAck = {
      type: 'WhoIsAck',
      ok: principal !== undefined,
      refId: question.id,
      ...(principal && question.serves !== undefined ? { serves } : {}),
      ...(principal ? { principal } : { code: CALL_UNKNOWN, reason: 'No open call of this caller is known' }),
    };
    to.outbound.sendControl(answer(this.#deps.identity, question, frame));
  }
}

const CALL_UNKNOWN = 'NODE_GONE';

/** True if the node of the session made the call, not one behind it. */
const isOrigin = ({ caller, replyTo }: OpenCall): boolean =>
  caller.kind === 'node' && caller.path === locationOf(replyTo);

/** True if a neighbor may name principals: this sentinel dialed it, or it has a credential of a sentinel. */
const mayState = ({ kind, terms }: Session): boolean =>
  kind === 'parent' ||
  kind === 'member' ||
  (kind === 'peer' && terms.instanceId === '') ||
  terms.principal.roles.some((role) => role === 'sentinel' || role === 'admin');

/** A principal as another sentinel sees it (W2, W3). Only ids with a colon mean the same at every sentinel. */
function abroad({ id, roles, claims }: Principal): Principal {
  if (!id.includes(':')) return ANONYMOUS;
  return agentView({
    id,
    roles: roles.filter((role) => !LOCAL_ROLES.has(role)),
    ...(claims ? { claims } : {}),
    rights: { conversations: 'own' },
  });
}
