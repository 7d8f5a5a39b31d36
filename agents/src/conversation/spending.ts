// Spending limits of turns and conversations. An estimate is reserved before a model call and replaced by the real cost after it.
// The reservation of a call that got no reply stays spent, because the call may have been billed.
import { FabricError } from '@fame-fabric/shared';
import { costOf, type Price, type PriceTable, priceOf } from '../model/budget.ts';
import type { Cost } from '../model/cost.ts';
import type { ModelMessage, Usage } from '../model/model.ts';
import { roughTokens } from '../model/tokens.ts';

/** Cost of model calls. */
export interface Spending {
  calls: number;
  tokens: number;
  usd: number;
}

interface SpendingLimits {
  /** Prompt and completion tokens together. */
  maxTokens?: number | undefined;
  maxModelCalls?: number | undefined;
  maxUsd?: number | undefined;
}

export interface BudgetLimits {
  turn?: SpendingLimits | undefined;
  conversation?: SpendingLimits | undefined;
  /** Prices of models, in `currency`. A model that is not listed does not count towards `maxUsd`, and its cost is unknown. @default none */
  prices?: PriceTable | undefined;
  /** ISO 4217. @default 'USD' */
  currency?: string | undefined;
  /** Expected tokens of a reply, for the estimate. @default 1_000 */
  answerTokens?: number | undefined;
}

/** Number of times that a person has extended a limit by its full amount, by the unit of the limit. */
export type Extensions = Partial<Record<BudgetUnit, number>>;

/** Units of limits, as they appear in error messages and questions. */
export type BudgetUnit = 'model calls' | 'tokens' | 'USD';

export const noSpending = (): Spending => ({ calls: 0, tokens: 0, usd: 0 });

/** Adds `more` to `sum`. */
export function addSpending(sum: Spending, more: Spending): void {
  sum.calls += more.calls;
  sum.tokens += more.tokens;
  sum.usd += more.usd;
}

/** Spending of a turn or a conversation, and the extensions of its limits. */
export interface Account {
  readonly spent: Spending;
  readonly extensions: Extensions;
}

export class ConversationBudget {
  readonly #limits: BudgetLimits;
  readonly #currency: string;

  /** @throws {CONFIG_INVALID} for a limit in USD with prices in another currency */
  constructor(limits: BudgetLimits = {}) {
    this.#limits = limits;
    this.#currency = limits.currency ?? 'USD';
    const hasUsdLimit = limits.turn?.maxUsd !== undefined || limits.conversation?.maxUsd !== undefined;
    if (hasUsdLimit && this.#currency !== 'USD') {
      throw new FabricError(
        'CONFIG_INVALID',
        `The budget has a limit in USD, and the prices are in ${this.#currency}. Give prices in USD.`,
      );
    }
  }

  /**
   * Estimates the cost of a call.
   * @throws {BUDGET_EXCEEDED} when the turn or the conversation has reached a limit, or this call would exceed it
   */
  reserve(model: string, messages: readonly ModelMessage[], turn: Account, conversation: Account): Spending {
    let prompt = 0;
    for (const message of messages) prompt += roughTokens(message);
    const answer = this.#limits.answerTokens ?? 1_000;
    const usage = { prompt_tokens: prompt, completion_tokens: answer, total_tokens: prompt + answer };
    const reserved = this.spent(model, usage);
    // The length of the reply is a guess, so it never refuses a call by itself: at most one call exceeds a limit.
    const least = this.spent(model, { ...usage, completion_tokens: 0, total_tokens: prompt });
    check('turn', this.#limits.turn, turn, least);
    check('conversation', this.#limits.conversation, conversation, least);
    return reserved;
  }

  /** Computes the spending that a call counts towards the limits. */
  spent(model: string, usage: Usage): Spending {
    const price = this.#priceOf(model);
    const usd = price && this.#currency === 'USD' ? costOf(usage, price) : 0;
    return { calls: 1, tokens: usage.total_tokens, usd };
  }

  /** The cost before the first call. */
  get noCost(): Cost {
    return this.#limits.prices ? { amount: 0, currency: this.#currency } : 'unknown';
  }

  /** Computes the cost of an answered call. */
  cost(model: string, usage: Usage | undefined): Cost {
    const price = this.#priceOf(model);
    return price && usage ? { amount: costOf(usage, price), currency: this.#currency } : 'unknown';
  }

  #priceOf(model: string): Price | undefined {
    return priceOf(this.#limits.prices ?? {}, model);
  }
}

function check(of: string, limits: SpendingLimits | undefined, account: Account, next: Spending): void {
  const { spent, extensions } = account;
  const checkUnit = (unit: BudgetUnit, limit: number | undefined, used: number, more: number): void => {
    if (limit === undefined) return;
    const extended = limit * (1 + (extensions[unit] ?? 0));
    if (used < extended && used + more <= extended) return;
    throw new FabricError(
      'BUDGET_EXCEEDED',
      `The ${of} has reached its budget of ${extended} ${unit}. Raise the budget or shorten the ${of}.`,
      { details: { of, limit: extended, unit, spent: used } },
    );
  };
  checkUnit('model calls', limits?.maxModelCalls, spent.calls, next.calls);
  checkUnit('tokens', limits?.maxTokens, spent.tokens, next.tokens);
  checkUnit('USD', limits?.maxUsd, spent.usd, next.usd);
}
