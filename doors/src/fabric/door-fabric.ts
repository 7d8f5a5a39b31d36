// Interface of the doors to the fabric: each caller of a door is a principal with its own link, which sees the agents that it may call.
import type { IncomingMessage } from 'node:http';
import type { Client } from '@fame-fabric/client';
import type { AgentCard } from './agent-card.ts';

/** The part of a request with its credential. */
export type VisitRequest = Pick<IncomingMessage, 'method' | 'headers' | 'socket'>;

export interface DoorFabric {
  /**
   * Resolves the credential of a request to the link of its principal. Requests of one principal share a link.
   * @throws {AUTH_MISSING | AUTH_INVALID | AUTH_EXPIRED | AUTH_FORBIDDEN | AUTH_UNAVAILABLE | LINK_TIMEOUT | LINK_REFUSED | QUOTA_EXCEEDED}
   */
  visit(request: VisitRequest): Promise<Visitor>;
  /** Closes all links. Calls in flight fail with LINK_CLOSED. */
  close(): Promise<void>;
}

/** A caller for the time of one request. Release it at the end of the request. */
export interface Visitor extends Disposable {
  /** Distinguishes principals, for hashes and comparisons. Never sent to a client. */
  readonly principal: string;
  /** Attached as the principal. Shared with other requests: do not close it. */
  readonly client: Client;
  /** Returns the agents that the principal may call, by address in code point order. Requests the descriptions of new agents. */
  agents(): Promise<readonly AgentCard[]>;
  /**
   * Finds an agent by its address, or by the part before `@` if only one agent has it. Undefined if the agent does not exist or the principal
   * may not call it.
   */
  agent(name: string): Promise<AgentCard | undefined>;
  /** Keeps the link for work that outlives the request. Returns a function that releases it. */
  hold(): () => void;
  /**
   * Calls `run` once the credential of the request or the link has ended, after a moment in which the response may report it. Returns a
   * function that stops this.
   */
  onEnd(run: () => void): () => void;
  /** Releases the link. Further calls have no effect. */
  release(): void;
}
