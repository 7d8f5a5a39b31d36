// A limit on the cost of model calls. `check` runs before each call and `charge` after it, also for replies that were discarded.
// A child spends from its parent too, so a turn, a conversation and a user can each have a budget.
import { FabricError } from '@fame-fabric/shared';
import type { Usage } from './model.ts';
import { type Spent, spentOf, UsageLedger, type UsageReport } from './usage.ts';

/** Price of a million tokens. */
export interface Price {
  input: number;
  output: number;
  /** For prompt tokens that the provider had in its cache. @default input */
  cached_input?: number | undefined;
}
/** Prices in USD by the name of the model. A name may contain `*` for any characters; the first that matches counts. */
export type PriceTable = Readonly<Record<string, Price>>;

export interface BudgetOptions {
  /** @default no limit */
  limitUsd?: number | undefined;
  /** Prompt and completion tokens together. @default no limit */
  limitTokens?: number | undefined;
  /** Fraction of a limit at which `onWarn` is called, once. @default 0.8 */
  warnAt?: number | undefined;
  prices: PriceTable;
  /** A model without a price under a limit in USD: refuse it, or let it through at no cost. @default error */
  withoutPrice?: 'error' | 'unpriced' | undefined;
  parent?: Budget | undefined;
  onWarn?(budget: Budget): void;
}

const MILLION = 1_000_000;

/** Returns the first price that matches the name of a model. */
export function priceOf(prices: PriceTable, model: string): Price | undefined {
  for (const [pattern, price] of Object.entries(prices)) if (matches(pattern, model)) return price;
  return undefined;
}

function matches(pattern: string, model: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  const last = rest.pop();
  if (last === undefined) return pattern === model;
  if (!model.startsWith(first)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = model.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return model.length - last.length >= at && model.endsWith(last);
}

/** Returns the cost of `usage` in the currency of the price. Cached tokens are part of the prompt tokens. */
export function costOf(usage: Usage, price: Price): number {
  const cached = Math.min(usage.cached_tokens ?? 0, usage.prompt_tokens);
  const input = (usage.prompt_tokens - cached) * price.input + cached * (price.cached_input ?? price.input);
  return (input + usage.completion_tokens * price.output) / MILLION;
}

export class Budget {
  readonly #options: BudgetOptions;
  readonly #ledger = new UsageLedger();
  #hasWarned = false;

  constructor(options: BudgetOptions) {
    this.#options = options;
  }

  get spent(): UsageReport {
    return this.#ledger.report();
  }

  /** USD that may still be spent, here and in every parent; Infinity without a limit. Never below 0. */
  get remaining(): number {
    const own = (this.#options.limitUsd ?? Number.POSITIVE_INFINITY) - this.#ledger.report().total.usd;
    return Math.max(0, Math.min(own, this.#options.parent?.remaining ?? Number.POSITIVE_INFINITY));
  }

  /** Makes a budget inside this one, with the same prices. */
  child(options: Omit<Partial<BudgetOptions>, 'parent'> = {}): Budget {
    const { prices, withoutPrice } = this.#options;
    return new Budget({ prices, withoutPrice, ...options, parent: this });
  }

  /** Checks the limits before a call. @throws {BUDGET_EXCEEDED} @throws {PRICE_UNKNOWN} for a model without a price */
  check(model?: string): void {
    const { limitUsd, limitTokens, parent } = this.#options;
    const { usd, total_tokens } = this.#ledger.report().total;
    if (limitUsd !== undefined && usd >= limitUsd) {
      throw new FabricError('BUDGET_EXCEEDED', `The budget of ${limitUsd} USD is used up`, {
        details: { limit_usd: limitUsd, spent_usd: usd },
      });
    }
    if (limitTokens !== undefined && total_tokens >= limitTokens) {
      throw new FabricError('BUDGET_EXCEEDED', `The budget of ${limitTokens} tokens is used up`, {
        details: { limit_tokens: limitTokens, spent_tokens: total_tokens },
      });
    }
    if (model !== undefined && limitUsd !== undefined && !priceOf(this.#options.prices, model)) {
      if ((this.#options.withoutPrice ?? 'error') === 'error') {
        throw new FabricError(
          'PRICE_UNKNOWN',
          `The model "${model}" has no price, and a budget in USD is set`,
        );
      }
    }
    parent?.check(model);
  }

  /** Charges a call that was made. Returns its tokens and cost. */
  charge(model: string, usage: Usage, agent?: string): Spent {
    const price = priceOf(this.#options.prices, model);
    const spent = spentOf(usage, price ? costOf(usage, price) : 0);
    this.#record((ledger) => ledger.add(spent, model, agent));
    return spent;
  }

  /** Adds spending that was reported from elsewhere, such as a team on another node. */
  absorb(report: UsageReport): void {
    this.#record((ledger) => ledger.absorb(report));
  }

  #record(write: (ledger: UsageLedger) => void): void {
    write(this.#ledger);
    const { parent } = this.#options;
    if (parent) parent.#record(write);
    const { limitUsd, limitTokens, warnAt = 0.8, onWarn } = this.#options;
    const { usd, total_tokens } = this.#ledger.report().total;
    const isNear =
      (limitUsd !== undefined && usd >= limitUsd * warnAt) ||
      (limitTokens !== undefined && total_tokens >= limitTokens * warnAt);
    if (!isNear || this.#hasWarned) return;
    this.#hasWarned = true;
    onWarn?.(this);
  }
}
