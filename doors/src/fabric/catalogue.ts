// The agents that one principal may call. Each agent is asked for its description once per attach, over the link of the principal, so
// that the permissions of the sentinel decide which agents are listed.
import { type Clock, isFabricError } from '@fame-fabric/shared';
import type { ServedAddress } from '@fame-fabric/shared/router';
import { type AgentCard, agentCard, nameOf, plainCard } from './agent-card.ts';

/** Time in which an agent must describe itself, in ms. Without an answer it is listed by its address alone. */
const DESCRIBE_MS = 2_000;
/** Descriptions that are requested at the same time. */
const PARALLEL = 64;
/** Time after which a list requests no further descriptions, in ms. It leaves out the agents that it has not asked. */
const LIST_MS = 5_000;
/** Maximum number of listed agents. */
const MAX_AGENTS = 1_024;
/** Time after which an agent that was refused or did not answer is asked again, in ms. */
const RETRY_MS = 10_000;
/** Codes of an answer that hides the agent: it does not exist, or the principal may not call it. */
const HIDDEN: ReadonlySet<string> = new Set(['NO_ROUTE', 'AUTH_FORBIDDEN', 'ADDRESS_INVALID', 'NODE_GONE']);

export interface CatalogueDeps {
  /** Calls `describe` at an address. */
  describe: (address: string, timeoutMs: number) => Promise<unknown>;
  /** The addresses that nodes serve now. */
  addresses: () => Iterable<ServedAddress> | Promise<Iterable<ServedAddress>>;
  /** Reads an answer. @default a card of its own for each answer */
  readCard?: ((address: string, answer: unknown) => AgentCard) | undefined;
  clock: Clock;
}

interface Known {
  readonly attach: string;
  /** Undefined if the principal may not call it. */
  readonly card: Promise<AgentCard | undefined>;
  /** Monotonic time at which it is asked again, in ms. */
  askAgainAt: number;
}

export class Catalogue {
  readonly #deps: CatalogueDeps;
  readonly #known = new Map<string, Known>();

  constructor(deps: CatalogueDeps) {
    this.#deps = deps;
  }

  /** Returns the agents by address in code point order. */
  async list(): Promise<readonly AgentCard[]> {
    const served = await this.#served();
    for (const address of this.#known.keys()) if (!served.has(address)) this.#known.delete(address);
    const addresses = [...served.keys()].sort().slice(0, MAX_AGENTS);
    return (await this.#cards(addresses, served)).filter((card) => card !== undefined);
  }

  /** Finds an agent by its address, or by the part before `@` if only one agent has it. */
  async find(name: string): Promise<AgentCard | undefined> {
    const served = await this.#served();
    if (name.includes('@')) return this.#card(name, served.get(name));
    const addresses = [...served.keys()].filter((address) => nameOf(address) === name).slice(0, MAX_AGENTS);
    const cards = (await this.#cards(addresses, served)).filter((card) => card !== undefined);
    return cards.length === 1 ? cards[0] : undefined;
  }

  // An address that several nodes serve, such as one that peers announced, counts once.
  async #served(): Promise<ReadonlyMap<string, string>> {
    const served = await this.#deps.addresses();
    return new Map([...served].map(({ address, attach }) => [address, attach]));
  }

  async #cards(
    addresses: readonly string[],
    served: ReadonlyMap<string, string>,
  ): Promise<(AgentCard | undefined)[]> {
    const cards: (AgentCard | undefined)[] = new Array(addresses.length).fill(undefined);
    let next = 0;
    const { clock } = this.#deps;
    const deadline = clock.monotonic() + LIST_MS;
    const work = async (): Promise<void> => {
      for (let i = next++; i < addresses.length && clock.monotonic() < deadline; i = next++) {
        const address = addresses[i]!;
        cards[i] = await this.#card(address, served.get(address));
      }
    };
    await Promise.all(Array.from({ length: Math.min(PARALLEL, addresses.length) }, work));
    return cards;
  }

  // An address that is not in the table may be served behind another sentinel. It is asked each time.
  #card(address: string, attach: string | undefined): Promise<AgentCard | undefined> {
    if (attach === undefined) return this.#ask(address);
    const known = this.#known.get(address);
    const now = this.#deps.clock.monotonic();
    if (known?.attach === attach && now < known.askAgainAt) return known.card;
    const entry: Known = {
      attach,
      card: this.#ask(address, () => {
        entry.askAgainAt = this.#deps.clock.monotonic() + RETRY_MS;
      }),
      askAgainAt: Number.POSITIVE_INFINITY,
    };
    this.#known.set(address, entry);
    return entry.card;
  }

  /** @param onUnsure called if another attempt may have another result */
  async #ask(address: string, onUnsure?: () => void): Promise<AgentCard | undefined> {
    const { describe, readCard = agentCard } = this.#deps;
    try {
      return readCard(address, await describe(address, DESCRIBE_MS));
    } catch (error) {
      if (!isFabricError(error, 'METHOD_NOT_FOUND')) onUnsure?.();
      if (!isFabricError(error)) throw error;
      return HIDDEN.has(error.code) ? undefined : plainCard(address);
    }
  }
}
