// The two ends of an agent: what its author declares, and what serving it on a link takes and gives.
import type { AgentCard, BindOptions, Clock, Envelope, Logger, Service } from '@fame-fabric/shared';
import type { SafeFetch } from '../net/safe-fetch.ts';
import type { Operation, Outbound } from './operation.ts';
import type { TaskHandler } from './tasks/task-types.ts';

/** What an agent is served on. A `Link` is one. */
export interface AgentLink extends Outbound {
  bind(address: string, service: Service, options?: BindOptions): Promise<void>;
  unbind(address: string): Promise<void>;
}

/** What the hooks of an agent may use. */
export interface AgentContext {
  readonly address: string;
  readonly link: Outbound;
  readonly log: Logger;
  readonly clock: Clock;
  /** Aborts when the agent closes. */
  readonly signal: AbortSignal;
}

export interface AgentOptions {
  /** Where it is reached, such as `math@fame.fabric`. */
  address: string;
  /** @default the participant of the address */
  name?: string;
  description?: string;
  version?: string;
  /** Advertised beside `fame.capability.agent`, so that callers find it by what it can do. */
  capabilities?: readonly string[];
  /** By the name that callers use. One that is called like a task method (`tasks/send`) takes its place. */
  operations?: Readonly<Record<string, Operation>>;
  /** Runs background tasks behind the task methods. */
  tasks?: TaskHandler;
  /** Gets messages that are not calls; what it returns is sent to their replyTo, if there is one. */
  onMessage?(payload: unknown, envelope: Envelope, context: AgentContext): unknown;
  /** Runs before the address is bound; throwing keeps the agent from being served. */
  onStart?(context: AgentContext): void | Promise<void>;
  /** Runs last, once, after the address was released and every call ended: closes what `onStart` opened. */
  onStop?(): void | Promise<void>;
  /** Calls that run at once; others wait in order. @default 64 */
  maxConcurrent?: number;
  /** Calls that may wait; more are refused with NODE_BUSY. @default 1024 */
  maxWaiting?: number;
  /** Overrides fields of the card that is made from this declaration. */
  card?: Partial<AgentCard>;
}

export interface ServeOptions {
  log?: Logger;
  clock?: Clock;
  /** Used when the agent does not say `maxConcurrent` itself. @default 64 */
  maxConcurrent?: number;
  /** Delivers push notifications to https URLs. @default one that reaches public addresses only */
  safeFetch?: SafeFetch;
}

/** An agent: something that can be served on a link. */
export interface Agent {
  readonly address: string;
  readonly name: string;
  readonly description: string | undefined;
  readonly capabilities: readonly string[];
  readonly card: AgentCard;
  /** Binds the address and serves it until closed. Rejects when it cannot be bound. */
  serve(link: AgentLink, options?: ServeOptions): Promise<Serving>;
}

/** An agent being served. */
export interface Serving {
  readonly agent: Agent;
  /** Refuses new calls, lets running calls and tasks end, for at most `timeoutMs`, then closes. */
  drain(timeoutMs: number): Promise<void>;
  /** Aborts what runs, releases the address, runs `onStop`. Twice is harmless. */
  close(): Promise<void>;
}
