// Usage of model calls: token counts, and the ledger that budgets, strategies and teams keep of tokens and cost.
import type { ModelMessage, ModelRequest, Usage } from './model.ts';

export const noUsage = (): Usage => ({ prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 });

/** Adds `more` to `sum`. */
export function addUsage(sum: Usage, more: Usage): void {
  sum.prompt_tokens += more.prompt_tokens;
  sum.completion_tokens += more.completion_tokens;
  sum.total_tokens += more.total_tokens;
  if (more.cached_tokens !== undefined) sum.cached_tokens = (sum.cached_tokens ?? 0) + more.cached_tokens;
}

const tokensOf = (value: unknown): number => Math.ceil(JSON.stringify(value).length / 4);

/** Estimates the usage of a reply without a usage report, at four characters a token, so that budgets count every call. */
export function roughUsage(
  { messages, tools = [] }: Pick<ModelRequest, 'messages' | 'tools'>,
  reply: ModelMessage,
): Usage {
  const prompt_tokens = tokensOf([messages, tools]);
  const completion_tokens = tokensOf(reply);
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
}

/** Tokens and cost of one or more model calls. `usd` is 0 for models without a price. */
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
  /** By the calling agent; empty without agents. */
  readonly byAgent: Readonly<Record<string, Readonly<Spent>>>;
}

const nothingSpent = (): Spent => ({
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

/** Sums by model and by agent. The names come from outside, so the sums are kept in maps and not in objects. */
export class UsageLedger {
  readonly #total = nothingSpent();
  readonly #byModel = new Map<string, Spent>();
  readonly #byAgent = new Map<string, Spent>();

  add(spent: Spent, model: string, agent?: string): void {
    addTo(this.#total, spent);
    this.#addByName(this.#byModel, model, spent);
    if (agent !== undefined) this.#addByName(this.#byAgent, agent, spent);
  }

  /** Adds another ledger's report, such as the one of a team on another node. */
  absorb(report: UsageReport): void {
    addTo(this.#total, report.total);
    for (const [name, spent] of Object.entries(report.byModel)) this.#addByName(this.#byModel, name, spent);
    for (const [name, spent] of Object.entries(report.byAgent)) this.#addByName(this.#byAgent, name, spent);
  }

  /** Returns a snapshot that does not change. */
  report(): UsageReport {
    const copy = (map: ReadonlyMap<string, Spent>): Record<string, Spent> =>
      Object.fromEntries([...map].map(([name, spent]) => [name, { ...spent }]));
    return { total: { ...this.#total }, byModel: copy(this.#byModel), byAgent: copy(this.#byAgent) };
  }

  #addByName(map: Map<string, Spent>, name: string, spent: Readonly<Spent>): void {
    const sum = map.get(name) ?? nothingSpent();
    addTo(sum, spent);
    map.set(name, sum);
  }
}
