// The context of every request handler.
import type { Clock, Logger } from '@fame-fabric/shared';
import type { Visitor } from '../fabric/door-fabric.ts';
import type { ServerContext } from './sdk.ts';

export interface ServerDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly version: string;
  /** The agent that `ask_agent` calls by default. */
  readonly chatAddress: string;
}

/** The authentication of a request, as the library passes it on: it carries the visitor. */
export const authOf = (visitor: Visitor) => ({ token: '', clientId: '', scopes: [], extra: { visitor } });

/** The caller of a request. */
export function visitorOf({ http }: ServerContext): Visitor {
  const visitor = http?.authInfo?.extra?.visitor;
  if (!visitor) throw new Error('The request has no visitor');
  return visitor as Visitor;
}
