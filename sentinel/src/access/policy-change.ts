// Enforces a changed policy: ends sessions, bindings, advertisements and open calls that it no longer allows. A node that lost a
// binding loses its connection too: it attaches again, binds its allowed addresses, and keeps its other calls. A peer some of whose
// announcements were refused is disconnected in the same way.
import { locationOf } from '@fame-fabric/shared/router';
import type { Bindings, RemovedBindings } from '../bindings.ts';
import { CLOSE } from '../close-codes.ts';
import type { Identity } from '../identity.ts';
import type { OpenCalls } from '../open-calls.ts';
import { nack } from '../replies.ts';
import type { Session } from '../session/session.ts';
import type { SessionTable } from '../session/session-table.ts';
import type { SessionListener, Sessions } from '../session/sessions.ts';
import { forbidden, type Guard } from './guard.ts';
import { originOf, principalOf, routeTo } from './permissions.ts';

export interface PolicyChangeDeps {
  guard: Guard;
  identity: Identity;
  table: SessionTable;
  sessions: Sessions;
  bindings: Bindings;
  calls: OpenCalls;
  listener: SessionListener;
}

export class PolicyChange {
  readonly #deps: PolicyChangeDeps;

  constructor(deps: PolicyChangeDeps) {
    this.#deps = deps;
  }

  /** Reads the policy again if it changed, or in any case with `isForced`, and enforces it. */
  check(isForced = false): void {
    const { guard, table } = this.#deps;
    if (!guard.permissions.refresh(isForced)) return;
    guard.changed();
    for (const session of [...table.all()]) this.enforce(session);
  }

  /** Ends the session, or its bindings and calls that are no longer allowed. */
  enforce(session: Session): void {
    const { guard, sessions } = this.#deps;
    if (session.state === 'gone') return;
    const principal = principalOf(session);
    const origin = originOf(session);
    // Connect is decided about nodes that attach here, not about the sentinels that this one attaches to.
    const attached = principal === session.terms.principal;
    if (attached && !guard.permissions.decide(principal, 'Connect', undefined, origin).isAllowed) {
      guard.ended(session, 'Connect');
      sessions.end(session, CLOSE.credentialRevoked, 'the policy of this sentinel changed');
      return;
    }
    this.#endCalls(session);
    const { transport } = session;
    const hasLost = this.#removeBindings(session);
    // A peer announces its addresses only when it attaches, also those that were refused before.
    const mustReturn = hasLost || session.missesAnnouncements;
    if (!mustReturn || transport === undefined) return;
    if (session.kind === 'parent' || session.kind === 'member') return;
    sessions.detach(session, transport, false, 'credential');
    transport.onMessage = undefined;
    transport.close(CLOSE.credentialRevoked, 'the policy of this sentinel changed');
  }

  #endCalls(session: Session): void {
    const { bindings, calls, guard, identity, sessions } = this.#deps;
    for (const call of calls.madeBy(session)) {
      const { callee, to } = call;
      const isAllowed = (address: string): boolean =>
        (guard.permissions.routes(session, address) & routeTo(callee)) !== 0;
      // A call without an address was routed by a capability of one of these addresses.
      const addresses = to === '' ? [...(bindings.addressesOf(callee) ?? [])] : [to];
      const atPath = locationOf(to) === callee.path ? [...bindings.servedAtPath(to, callee)] : [];
      const isEnded = addresses.length > 0 && !addresses.some(isAllowed);
      const forbiddenAtPath = atPath.find((address) => !isAllowed(address));
      if (!isEnded && forbiddenAtPath === undefined) continue;
      guard.ended(session, 'Call', forbiddenAtPath ?? addresses[0]);
      calls.close(call);
      const { code, reason } = forbidden(session, 'call', addresses[0]!);
      session.outbound.sendControl(nack(identity, call, code, reason));
      sessions.cancelAtCallee(call, 'forbidden');
    }
  }

  // Returns true if the session lost an address or an advertisement.
  #removeBindings(session: Session): boolean {
    const { bindings, guard, listener } = this.#deps;
    const principal = principalOf(session);
    const isForbidden = (action: 'Bind' | 'Advertise', address: string): boolean => {
      if (guard.permissions.decide(principal, action, address, originOf(session)).isAllowed) return false;
      guard.ended(session, action, address);
      return true;
    };
    const addresses = [...(bindings.addressesOf(session) ?? [])].filter((one) => isForbidden('Bind', one));
    const lost = new Set(addresses);
    const capabilities: string[] = [];
    let hasLost = addresses.length > 0;
    for (const [capability, of] of bindings.advertisementsOf(session)) {
      for (const address of of) {
        if (!lost.has(address) && !isForbidden('Advertise', address)) continue;
        hasLost = bindings.withdraw(capability, address, session) || hasLost;
      }
      if (!bindings.hasProvider(capability)) capabilities.push(capability);
    }
    for (const address of addresses) bindings.remove(address, session);
    const removed: RemovedBindings = {
      addresses: addresses.filter((address) => !bindings.isOwn(address)),
      capabilities,
    };
    if (hasLost) listener.removed(session, removed, true);
    return hasLost;
  }
}
