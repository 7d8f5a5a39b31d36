// The path of one message through agents and nodes, and its limits. Across nodes, agents are named by the address of their team, so
// that the limits also apply to a message that returns.
import type { HandoffMeta } from '../handoff/handoff.ts';
import { isRemote } from './team-graph.ts';

export interface TeamLimits {
  /** Maximum handoffs of one message. */
  readonly maxHandoffs: number;
  /** Maximum visits of one message to the same agent. */
  readonly maxVisits: number;
  readonly maxModelCalls: number;
}

export interface PathExceeded {
  readonly message: string;
  /** As `visited`, with the agent that the message must not reach. */
  readonly path: readonly string[];
  /** Visits of each agent, this one included. */
  readonly counts: Readonly<Record<string, number>>;
}

export class MessagePath {
  /** The agents of this team that had the message, in order. A remote agent ends the list. */
  readonly here: string[] = [];
  /** As `here`, named across nodes, after the agents of earlier nodes. */
  readonly visited: string[];
  handoffs: number;
  readonly #limits: TeamLimits;
  readonly #start: string;
  readonly #address: string | undefined;

  constructor(
    limits: TeamLimits,
    team: { start: string; address: string | undefined },
    before: Pick<HandoffMeta, 'handoffs' | 'visited'> | undefined,
  ) {
    this.#limits = limits;
    this.#start = team.start;
    this.#address = team.address;
    this.visited = [...(before?.visited ?? [])];
    this.handoffs = before?.handoffs ?? 0;
  }

  enter(target: string): void {
    this.here.push(target);
    // A remote agent is counted by its own node.
    if (!isRemote(target)) this.visited.push(this.#nameOf(target));
  }

  /** Checks the limits for the next agent; `undefined` if `target` may receive the message. */
  limitBefore(target: string): PathExceeded | undefined {
    const { maxHandoffs, maxVisits } = this.#limits;
    const name = this.#nameOf(target);
    const visits = this.visited.filter((one) => one === name).length;
    if (this.handoffs > maxHandoffs)
      return this.#exceeded(`The team exceeded its limit of ${maxHandoffs} handoffs`, name);
    if (visits >= maxVisits) return this.#exceeded(`"${name}" had the message ${visits} times already`, name);
    return undefined;
  }

  /** Returns the fault of an agent that received the message because of a limit and hands it over again. */
  afterLimit(target: string): PathExceeded {
    return this.#exceeded('The message was handed over again after its limit', this.#nameOf(target));
  }

  #exceeded(what: string, name: string): PathExceeded {
    const path = [...this.visited, name];
    const counts = new Map<string, number>();
    for (const one of path) counts.set(one, (counts.get(one) ?? 0) + 1);
    return { message: `${what}: ${path.join(' → ')}`, path, counts: Object.fromEntries(counts) };
  }

  #nameOf(target: string): string {
    if (this.#address === undefined || isRemote(target)) return target;
    return target === this.#start ? this.#address : `${target}:${this.#address}`;
  }
}
