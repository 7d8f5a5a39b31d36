// Decides about requests of sessions and HTTP clients with `Permissions`, and reports each refusal to the log and to the audit log, with
// the rule that decided. The node receives only the refusal.
import type { ErrorCode, Logger, Principal } from '@fame-fabric/shared';
import type { Session } from '../session/session.ts';
import type { Audit } from './audit-log.ts';
import { type Asker, originOf, type Permissions, principalOf } from './permissions.ts';
import type { Action } from './policy/actions.ts';

/** The session or request that asks. */
export interface Origin {
  readonly principal: Principal;
  readonly action: Action;
  readonly address?: string | undefined;
  readonly path?: string | undefined;
  readonly remote?: string | undefined;
}

export interface GuardDeps {
  permissions: Permissions;
  audit: Audit;
  log: Logger;
}

/** The refusal that a node receives. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly reason: string;
}

export class Guard {
  readonly permissions: Permissions;
  readonly #audit: Audit;
  readonly #log: Logger;

  constructor({ permissions, audit, log }: GuardDeps) {
    this.permissions = permissions;
    this.#audit = audit;
    this.#log = log;
  }

  /** True if the session may bind, advertise or call; reports a refusal. */
  may(session: Session, action: Action, address: string): boolean {
    const principal = principalOf(session);
    const { isAllowed, rule } = this.permissions.decide(principal, action, address, originOf(session));
    if (isAllowed) return true;
    const { path, transport } = session;
    this.#report({ principal, action, address, path, remote: transport?.remote }, 'refused', rule);
    return false;
  }

  /** Decides about an attach or a page, and records both outcomes. */
  admits(origin: Origin, direction: 'downstream' | 'peer' = 'downstream'): boolean {
    const { principal, action, address } = origin;
    const { isAllowed, rule } = this.permissions.decide(principal, action, address, direction);
    this.#report(origin, isAllowed ? 'allowed' : 'refused', rule);
    return isAllowed;
  }

  /** Reports that a policy change ended a session, a binding or a call. */
  ended(session: Session, action: Action, address?: string): void {
    const principal = principalOf(session);
    const { rule } = this.permissions.decide(principal, action, address, originOf(session));
    this.#report({ principal, action, address, path: session.path }, 'ended', rule);
  }

  /** Records a sign-in of a page. */
  signIn(outcome: 'allowed' | 'refused', event: { principal?: string; remote: string }): void {
    if (outcome === 'refused') this.#log.warn('refused a sign-in', event);
    this.#audit.record({ outcome, action: 'SignIn', ...event });
  }

  /** Records an action of an administrator on a node. `principal` is its id. */
  acted({ name, principal, path, remote }: Record<'name' | 'principal' | 'path' | 'remote', string>): void {
    this.#log.info('an administrator acted on a node', { action: name, path, principal });
    this.#audit.record({ outcome: 'allowed', action: name, principal, path, remote });
  }

  changed(): void {
    this.#audit.record({ outcome: 'changed', action: 'Policy' });
  }

  #report(
    { principal: { id }, ...event }: Origin,
    outcome: 'allowed' | 'refused' | 'ended',
    rule: string,
  ): void {
    const fields = { ...event, principal: id, rule };
    if (outcome !== 'allowed') this.#log.warn(`the policy ${MESSAGE[outcome]}`, { ...fields });
    this.#audit.record({ outcome, ...fields });
  }
}

const MESSAGE = Object.freeze({ refused: 'refused a request', ended: 'ended what it no longer allows' });

/**
 * The refusal of a call, a bind or an advertisement. It is the same whether the address exists or not. Nodes of other software receive
 * the code that naylence sends.
 */
export const forbidden = ({ terms }: Asker, verb: 'call' | 'bind' | 'advertise', address: string): Refusal =>
  terms.acceptsCancel
    ? {
        code: 'AUTH_FORBIDDEN',
        reason: `This node may not ${verb} ${address}. The log of the sentinel has the rule.`,
      }
    : {
        code: 'NO_ROUTE',
        reason: verb === 'call' ? `No node serves ${address}` : `${address} is not available`,
      };
