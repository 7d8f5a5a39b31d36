// An agent that is served as a replica: at the address that all replicas share, and at an address of its own for passed calls.
//
// It starts with its own address, because a lease names it, and stops with it: while the calls at the shared address end, other replicas
// may still pass calls for the conversations that this one holds. When the time limit of the drain is over, the turns that still run
// are released, and the other replicas continue them.
import { type Clock, systemClock } from '@fame-fabric/shared';
import { defineAgent } from '../../agent/agent.ts';
import type { Agent, AgentLink, Operations, ServeOptions, Serving } from '../../agent/agent-types.ts';
import type { ConversationHost } from '../host.ts';
import { passOperation } from './pass-operation.ts';
import { PASS } from './passed-call.ts';
import type { Placement } from './placement.ts';
import { replicaAddressOf } from './replica-address.ts';
import { replicaOperations } from './replica-operations.ts';

/** The part of a replica in the declaration of its agent. */
export interface ReplicaHooks {
  /** Returns the operations at the shared address. `own` are those of this process. */
  operations(own: Operations): Operations;
  /** Ends the passed calls. Runs before the host releases its conversations. */
  beforeStop(): Promise<void>;
}

export interface ReplicaServingDeps {
  /** Address that callers use. */
  readonly agent: string;
  readonly host: ConversationHost;
  readonly placement: Placement;
  readonly link: AgentLink;
  readonly options: ServeOptions;
  declare(replica: ReplicaHooks): Agent;
}

export class ReplicaServing implements Serving {
  readonly #shared: Serving;
  readonly #clock: Clock;
  readonly #drain: DrainDeadline;

  private constructor(shared: Serving, clock: Clock, drain: DrainDeadline) {
    this.#shared = shared;
    this.#clock = clock;
    this.#drain = drain;
  }

  /** @throws the errors of `Agent.serve` */
  static async open(deps: ReplicaServingDeps): Promise<ReplicaServing> {
    const { agent, host, placement, link, options, declare } = deps;
    const { clock = systemClock } = options;
    const drain: DrainDeadline = { until: 0 };
    let passed: Serving | undefined;
    let runsHere: Operations = {};
    const declared = declare({
      operations(own) {
        runsHere = own;
        return replicaOperations(own, { agent, host, placement, link, clock });
      },
      beforeStop: async () => passed?.drain(Math.max(0, drain.until - clock.monotonic())),
    });
    const operations = {
      [PASS]: passOperation({
        agent,
        placement,
        operations: runsHere,
        ownPrincipal: () => link.principal?.id,
      }),
    };
    const address = replicaAddressOf(agent, placement.own);
    const description = `Runs the calls that the other replicas of ${agent} pass on.`;
    passed = await defineAgent({ address, description, operations }).serve(link, options);
    try {
      return new ReplicaServing(await declared.serve(link, options), clock, drain);
    } catch (error) {
      await passed.close();
      throw error;
    }
  }

  get agent(): Agent {
    return this.#shared.agent;
  }

  drain(timeoutMs: number): Promise<void> {
    this.#drain.until = this.#clock.monotonic() + timeoutMs;
    return this.#shared.drain(timeoutMs);
  }

  close(): Promise<void> {
    return this.#shared.close();
  }
}

/** Monotonic time up to which passed calls may run, in ms; 0 if the agent closes at once. */
interface DrainDeadline {
  until: number;
}
