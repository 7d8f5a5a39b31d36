// In-band renewal: a node sends a NodeAttach with a fresh token on its open connection. The session keeps its path, addresses and
// calls, and gets the expiry of the new token. The principal must be the same.
import type { Clock, Envelope, NodeAttach, NodeAttachAck, Principal } from '@fame-fabric/shared';
import { FabricError } from '@fame-fabric/shared/router';
import type { Identity } from '../identity.ts';
import { answer } from '../replies.ts';
import type { Session } from '../session/session.ts';
import type { Sessions } from '../session/sessions.ts';
import { type Access, type Authentication, expiresInMs, type Granted } from './access.ts';
import type { Guard } from './guard.ts';
import type { PolicyChange } from './policy-change.ts';

export interface RenewalsDeps {
  access: Access;
  clock: Clock;
  guard: Guard;
  identity: Identity;
  policyChange: PolicyChange;
  sessions: Sessions;
}

export class Renewals {
  readonly #deps: RenewalsDeps;
  /** Sessions whose token is being verified. */
  readonly #pending = new Set<Session>();

  constructor(deps: RenewalsDeps) {
    this.#deps = deps;
  }

  /** Verifies the token in `authorization`, and answers with a NodeAttachAck on the same connection. */
  receive(from: Session, envelope: Envelope, { authorization = '' }: NodeAttach): void {
    const { transport } = from;
    const request = { id: envelope.id, corrId: envelope.corrId, traceId: envelope.traceId };
    // Only one check at a time, because each one verifies a signature.
    if (this.#pending.has(from)) {
      this.#send(from, request, refusal(new FabricError('NODE_BUSY', 'Another renewal is running')));
      return;
    }
    const settle = (result: Authentication): void => {
      this.#pending.delete(from);
      // The node may have lost its connection, and attached again with the new token.
      if (from.transport !== transport || transport === undefined) return;
      const before = from.terms.principal;
      this.#send(from, request, this.#apply(from, result));
      if (rightsOf(before) !== rightsOf(from.terms.principal)) this.#deps.policyChange.enforce(from);
    };
    const result = this.#deps.access.authenticate({ headers: { authorization: `Bearer ${authorization}` } });
    if (!(result instanceof Promise)) {
      settle(result);
      return;
    }
    this.#pending.add(from);
    void result.then(settle);
  }

  #apply(from: Session, result: Authentication): NodeAttachAck {
    if (!result.ok) return refusal(result.fault);
    const fault = this.#faultOf(from, result);
    if (fault !== undefined) return refusal(fault);
    const { clock, guard, sessions } = this.#deps;
    const { expiresAt, principal } = result;
    sessions.renew(from, { principal, expiresAt, mayForward: guard.permissions.mayForward(principal) });
    const { id, roles } = principal;
    return {
      type: 'NodeAttachAck',
      ok: true,
      assignedPath: from.path,
      principal: { id, roles },
      expiresInMs: expiresInMs(result, clock.now()),
    };
  }

  #faultOf({ kind, path, systemId, terms, transport }: Session, granted: Granted): FabricError | undefined {
    const { nodeFault, principal } = granted;
    if (principal.id !== terms.principal.id) {
      return forbidden('The token is of another principal. Attach again to change the principal');
    }
    const fault = nodeFault?.(systemId);
    if (fault !== undefined) return fault;
    const origin = { principal, action: 'Connect', path, remote: transport?.remote } as const;
    return this.#deps.guard.admits(origin, kind === 'peer' ? 'peer' : 'downstream')
      ? undefined
      : forbidden('This node may not attach. The log of the sentinel has the rule.');
  }

  #send(to: Session, request: Pick<Envelope, 'id' | 'corrId' | 'traceId'>, ack: NodeAttachAck): void {
    const frame = { ...ack, refId: request.id };
    to.outbound.sendControl(answer(this.#deps.identity, request, frame));
  }
}

const forbidden = (reason: string): FabricError => new FabricError('AUTH_FORBIDDEN', reason);

/** The fields of a principal that decisions depend on, besides its id. */
export const rightsOf = ({ roles, scopes, allow }: Principal): string =>
  JSON.stringify([roles, scopes, allow]);

const refusal = ({ code, message }: FabricError): NodeAttachAck => ({
  type: 'NodeAttachAck',
  ok: false,
  code,
  reason: message,
});
