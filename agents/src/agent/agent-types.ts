// Types of an agent: its declaration, and the state of serving it on a link.
import type {
  AgentCard,
  BindOptions,
  Clock,
  Envelope,
  Logger,
  Principal,
  Service,
} from '@fame-fabric/shared';
import type { SpendingLimits } from '@fame-fabric/shared/internal';
import type { SafeFetch } from '../net/safe-fetch.ts';
import type { AgentStore } from '../store/agent-store.ts';
import type { ConversationStore } from '../store/store.ts';
import type { TurnObserver } from '../telemetry/turn-observer.ts';
import type { ImmediateLimits } from './immediate-calls.ts';
import type { ContextLink, Delivery, Operation, Outbound } from './operation.ts';
import type { AgentState, StateLimits } from './state/agent-state.ts';
import type { StateKeys } from './state/state-keys.ts';
import type { TaskHandler } from './tasks/task-types.ts';

/** Link that an agent is served on. `Link` of shared implements it. */
export interface AgentLink extends Outbound {
  /** Principal of the node, as its sentinel stated it. @default unknown */
  readonly principal?: Pick<Principal, 'id'> | undefined;
  bind(address: string, service: Service, options?: BindOptions): Promise<void>;
  unbind(address: string): Promise<void>;
}

/** Passed to the hooks of an agent. */
export interface AgentContext {
  readonly address: string;
  readonly link: ContextLink;
  readonly log: Logger;
  readonly clock: Clock;
  /** Aborts when the agent closes. */
  readonly signal: AbortSignal;
  /** State of the agent. Its declaration needs `state`; without it the first use throws CONFIG_INVALID. */
  readonly state: AgentState;
  /** The message of `onMessage` with `durableMessages`; otherwise undefined. */
  readonly delivery?: Delivery | undefined;
}

/** Operations by name. */
export type Operations = Readonly<Record<string, Operation>>;

export interface AgentOptions<O extends Operations = Operations> {
  /** Such as `math@fame.fabric`. */
  address: string;
  /** @default the participant of the address */
  name?: string | undefined;
  description?: string | undefined;
  version?: string | undefined;
  /** Advertised in addition to `fame.capability.agent`. Callers may use them instead of the address. */
  capabilities?: readonly string[] | undefined;
  /** Operations by name. An operation with the name of a task method (`tasks/send`) replaces it. */
  operations?: O | undefined;
  /** Runs background tasks behind the task methods. */
  tasks?: TaskHandler | undefined;
  /** Receives messages that are not calls. Its result is sent to the message's replyTo, if it has one. */
  onMessage?(payload: unknown, envelope: Envelope, context: AgentContext): unknown;
  /**
   * True to journal messages before they are acknowledged, and to run `onMessage` for each of them as a durable operation runs.
   * @default false
   */
  durableMessages?: boolean | undefined;
  /** Gives the agent a key-value state that survives its process, in `context.state`. @default none */
  state?: boolean | StateLimits | undefined;
  /** Store of the state and of durable requests. @default that of the process; in memory if there is none */
  store?: AgentStore | undefined;
  /** Runs before the address is bound. If it throws, the agent is not served. */
  onStart?(context: AgentContext): void | Promise<void>;
  /** Runs when the agent stops accepting calls and waits for the running ones. Ends those that might last for days. */
  onDrain?(): void;
  /** Runs once, after the address was released and every call ended. Closes the resources that `onStart` opened. */
  onStop?(): void | Promise<void>;
  /** Limit of running calls; others wait in order. The runs of durable requests have the same limit of their own. @default 64 */
  maxConcurrent?: number | undefined;
  /** Limit of waiting calls; more are refused with NODE_BUSY. @default 1_024 */
  maxWaiting?: number | undefined;
  /** Limits of immediate calls, which do not count towards the two limits above. */
  immediateLimits?: ImmediateLimits | undefined;
  /** Overrides fields of the card that is derived from this declaration. */
  card?: Partial<AgentCard> | undefined;
}

export interface ServeOptions {
  log?: Logger | undefined;
  clock?: Clock | undefined;
  /** For agents without a `maxConcurrent` of their own. @default 64 */
  maxConcurrent?: number | undefined;
  /** Delivers push notifications to https URLs. @default one that reaches public addresses only */
  safeFetch?: SafeFetch | undefined;
  /** Opens the store of agents with conversations, state or durable requests that were given none. @default in memory */
  openStore?: (() => Promise<ConversationStore & AgentStore>) | undefined;
  /** Limits of each principal at agents with conversations that have none of their own. @default none */
  quotas?: SpendingLimits | undefined;
  /** Observes the turns of agents with conversations. @default none */
  observer?: TurnObserver | undefined;
  /** Keys that encrypt state and durable requests. @default none, they are not encrypted */
  stateKeys?: StateKeys | undefined;
}

/** An agent, ready to be served on a link. `O` has the types of its operations, for callers that use `client.agent<typeof agent>()`. */
export interface Agent<O = unknown> {
  /** For the compiler only; never set. */
  readonly '~operations'?: O | undefined;
  readonly address: string;
  readonly name: string;
  readonly description: string | undefined;
  readonly capabilities: readonly string[];
  readonly card: AgentCard;
  /** True if `serve` opens a store with `openStore`, because the agent was given none. @default false */
  readonly needsStore?: boolean;
  /** Binds the address and serves it until closed. Rejects if it cannot be bound. */
  serve(link: AgentLink, options?: ServeOptions): Promise<Serving>;
}

/** An agent that is served on a link. */
export interface Serving {
  readonly agent: Agent;
  /** Refuses new calls, waits at most `timeoutMs` for running calls and tasks, then closes. */
  drain(timeoutMs: number): Promise<void>;
  /** Aborts running calls and tasks, releases the address and runs `onStop`. Idempotent. */
  close(): Promise<void>;
}
