// What model calls took: tokens and USD, in sum and by name. One small ledger for budgets, strategies and teams.
import type { Usage } from './model.ts';

/** Tokens and cost of some model calls. `usd` is 0 for models without a price. */
export interface Spent {
  calls: number;
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  cached_tokens: number;
  usd: number;
}

export interface UsageReport {
  readonly total: Readonly<Spent>;
  readonly byModel: Readonly<Record<string, Readonly<Spent>>>;
  /** By the agent that asked; empty where there are no agents. */
  readonly byAgent: Readonly<Record<string, Readonly<Spent>>>;
}

export const nothingSpent = (): Spent => ({
  calls: 0,
  prompt_tokens: 0,
  completion_tokens: 0,
  total_tokens: 0,
  cached_tokens: 0,
  usd: 0,
});

const addTo = (sum: Spent, more: Readonly<Spent>): void => {
  for (const key of Object.keys(sum) as (keyof Spent)[]) sum[key] += more[key];
};

export const spentOf = (usage: Usage, usd: number): Spent => ({
  calls: 1,
  prompt_tokens: usage.prompt_tokens,
  completion_tokens: usage.completion_tokens,
  total_tokens: usage.total_tokens,
  cached_tokens: usage.cached_tokens ?? 0,
  usd,
});

/** Adds up. Names come from outside, so they live in maps. */
export class UsageLedger {
  readonly #total = nothingSpent();
  readonly #byModel = new Map<string, Spent>();
  readonly #byAgent = new Map<string, Spent>();

  add(spent: Spent, model: string, agent?: string): void {
    addTo(this.#total, spent);
    this.#note(this.#byModel, model, spent);
    if (agent !== undefined) this.#note(this.#byAgent, agent, spent);
  }

  /** Adds what somebody else reports. */
  absorb(report: UsageReport): void {
    addTo(this.#total, report.total);
    for (const [name, spent] of Object.entries(report.byModel)) this.#note(this.#byModel, name, spent);
    for (const [name, spent] of Object.entries(report.byAgent)) this.#note(this.#byAgent, name, spent);
  }

  /** A copy that no longer changes. */
  report(): UsageReport {
    const copy = (map: ReadonlyMap<string, Spent>): Record<string, Spent> =>
      Object.fromEntries([...map].map(([name, spent]) => [name, { ...spent }]));
    return { total: { ...this.#total }, byModel: copy(this.#byModel), byAgent: copy(this.#byAgent) };
  }

  #note(map: Map<string, Spent>, name: string, spent: Readonly<Spent>): void {
    const sum = map.get(name) ?? nothingSpent();
    addTo(sum, spent);
    map.set(name, sum);
  }
}
