// The agents that one principal may call. The catalogue requests the description of each agent once per attach, over the link of the
// principal, so that the permissions of the sentinel decide which agents are listed.
import { type Clock, type FabricError, isFabricError } from '@fame-fabric/shared';
import type { ServedAddress } from '@fame-fabric/shared/router';
import { type AgentCard, agentCard, nameOf, plainCard } from './agent-card.ts';

/** Time limit of a description, in ms. An agent that does not answer is listed with its address only. */
const DESCRIBE_MS = 2_000;
/** Descriptions that are requested at the same time. */
const PARALLEL = 64;
/** Time after which a list requests no further descriptions, in ms. The remaining agents are left out. */
const LIST_MS = 5_000;
/** Maximum number of listed agents. */
const MAX_AGENTS = 1_024;
/** Time after which a refused or unanswered request for a description is repeated, in ms. */
const RETRY_MS = 10_000;
/** Codes of an answer that hides the agent: it does not exist, or the principal may not call it. */
const HIDDEN: ReadonlySet<string> = new Set(['NO_ROUTE', 'AUTH_FORBIDDEN', 'ADDRESS_INVALID', 'NODE_GONE']);
/** Codes of agents that are temporarily unavailable, so that their operations are unknown. */
const AWAY: ReadonlySet<string> = new Set([
  'NODE_GONE',
  'NODE_BUSY',
  'CALL_TIMEOUT',
  'LINK_CLOSED',
  'LINK_TIMEOUT',
  'LINK_DRAINING',
]);

export interface CatalogueDeps {
  /** Calls `describe` at an address. */
  describe: (address: string, timeoutMs: number) => Promise<unknown>;
  /** The addresses that nodes serve now. */
  addresses: () => Iterable<ServedAddress> | Promise<Iterable<ServedAddress>>;
  /** Reads an answer. @default a card of its own for each answer */
  readCard?: ((address: string, answer: unknown) => AgentCard) | undefined;
  clock: Clock;
}

interface Asked {
  /** Undefined if the principal may not call it. */
  readonly card: AgentCard | undefined;
  /** Set if the agent is temporarily unavailable. */
  readonly fault?: FabricError | undefined;
}

interface Known {
  readonly attach: string;
  readonly asked: Promise<Asked>;
  /** Monotonic time of the next request for the description, in ms. */
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
    return (await this.#askAll(addresses, served)).flatMap(({ card }) => card ?? []);
  }

  /**
   * Finds an agent by its address, or by the part before `@` if only one agent has it. An unavailable agent is queried again. It must not
   * count as an agent that cannot describe itself, because doors send turns without retry keys to those.
   * @throws {NODE_GONE | NODE_BUSY | CALL_TIMEOUT | LINK_CLOSED | LINK_TIMEOUT | LINK_DRAINING} if it is still unavailable
   */
  async find(name: string): Promise<AgentCard | undefined> {
    const served = await this.#served();
    const addresses = name.includes('@')
      ? [name]
      : [...served.keys()].filter((address) => nameOf(address) === name).slice(0, MAX_AGENTS);
    const asked = await this.#askAll(addresses, served, true);
    const known = asked.filter(({ card }) => card !== undefined);
    const [one = asked.find(({ fault }) => fault !== undefined), another] = known;
    if (one === undefined || another !== undefined) return undefined;
    if (one.fault) throw one.fault;
    return one.card;
  }

  // An address that several nodes serve, such as one that peers announced, counts once.
  async #served(): Promise<ReadonlyMap<string, string>> {
    const served = await this.#deps.addresses();
    return new Map([...served].map(({ address, attach }) => [address, attach]));
  }

  async #askAll(
    addresses: readonly string[],
    served: ReadonlyMap<string, string>,
    asksAgain = false,
  ): Promise<Asked[]> {
    const asked: Asked[] = Array.from(addresses, () => ({ card: undefined }));
    let next = 0;
    const { clock } = this.#deps;
    const deadline = clock.monotonic() + LIST_MS;
    const work = async (): Promise<void> => {
      for (let i = next++; i < addresses.length && clock.monotonic() < deadline; i = next++) {
        const address = addresses[i]!;
        asked[i] = await this.#askOnce(address, served.get(address));
        if (!asksAgain || !asked[i]!.fault) continue;
        this.#known.delete(address);
        asked[i] = await this.#askOnce(address, served.get(address));
      }
    };
    await Promise.all(Array.from({ length: Math.min(PARALLEL, addresses.length) }, work));
    return asked;
  }

  // Another sentinel may serve an address that is not in the table. Its description is requested each time.
  #askOnce(address: string, attach: string | undefined): Promise<Asked> {
    if (attach === undefined) return this.#ask(address);
    const known = this.#known.get(address);
    const now = this.#deps.clock.monotonic();
    if (known?.attach === attach && now < known.askAgainAt) return known.asked;
    const entry: Known = {
      attach,
      asked: this.#ask(address, () => {
        entry.askAgainAt = this.#deps.clock.monotonic() + RETRY_MS;
      }),
      askAgainAt: Number.POSITIVE_INFINITY,
    };
    this.#known.set(address, entry);
    return entry.asked;
  }

  /** @param onUnsure called if another attempt may have another result */
  async #ask(address: string, onUnsure?: () => void): Promise<Asked> {
    const { describe, readCard = agentCard } = this.#deps;
    try {
      return { card: readCard(address, await describe(address, DESCRIBE_MS)) };
    } catch (error) {
      if (!isFabricError(error, 'METHOD_NOT_FOUND')) onUnsure?.();
      if (!isFabricError(error)) throw error;
      const card = HIDDEN.has(error.code) ? undefined : plainCard(address);
      return AWAY.has(error.code) ? { card, fault: error } : { card };
    }
  }
}
