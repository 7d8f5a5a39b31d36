// Quotas of principals: turns a minute, tokens and cost a day. The principal that calls pays for its turns, in every conversation. A
// model call reserves the most that it may use, and its real use replaces the reservation. So a flood of calls exceeds a limit by one
// call at most. The store has the counters. Periods are those of the UTC clock.
import { type Clock, FabricError } from '@fame-fabric/shared';
import type { SpendingLimits } from '@fame-fabric/shared/internal';
import type { ModelMessage, Usage } from '../model/model.ts';
import { roughTokens } from '../model/tokens.ts';
import type { QuotaChange, QuotaRefusal, QuotaUnit } from '../store/quota.ts';
import type { ConversationStore } from '../store/store.ts';
import type { ConversationBudget } from './spending.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** Wait after which a caller may try again if calls in flight reserve the rest of a limit, in ms. */
const RESERVED_RETRY_MS = 1_000;
/** Principal of the operator, which the limits of the environment do not apply to. */
const OPERATOR = 'local';
const NONE: SpendingLimits = Object.freeze({});

const UNITS: Readonly<Record<QuotaUnit, { periodMs: number; text: string; variable: string }>> =
  Object.freeze({
    turns: { periodMs: MINUTE_MS, text: 'turns per minute', variable: 'FAME_MAX_TURNS_PER_MINUTE' },
    tokens: { periodMs: DAY_MS, text: 'tokens per day', variable: 'FAME_MAX_TOKENS_PER_DAY' },
    cost: { periodMs: DAY_MS, text: 'in cost per day', variable: 'FAME_MAX_COST_PER_DAY' },
  });

export interface QuotaDeps {
  readonly store: ConversationStore;
  readonly clock: Clock;
  readonly budget: ConversationBudget;
  /** Limits of principals that have none of their own. @default none */
  readonly limits?: SpendingLimits | undefined;
  /** Most tokens of one reply. */
  readonly answerTokens: number;
}

export class PrincipalQuotas {
  readonly #deps: QuotaDeps;

  constructor(deps: QuotaDeps) {
    this.#deps = deps;
  }

  /** The limits of a principal. `own` are those that its sentinel stated. Undefined if it has none, so that nothing is counted. */
  limitsOf(principal: string, own: SpendingLimits = NONE): SpendingLimits | undefined {
    const common = principal === OPERATOR ? NONE : (this.#deps.limits ?? NONE);
    const limits = { ...common, ...own };
    return Object.values(limits).some((limit) => limit !== undefined) ? limits : undefined;
  }

  /** Counts a turn. @throws {QUOTA_EXCEEDED} also if the tokens or the cost of the day are used up */
  async admit(principal: string, limits: SpendingLimits): Promise<void> {
    const { turnsPerMinute, tokensPerDay, moneyPerDay } = limits;
    await this.#change(principal, [
      ...this.#changeOf('turns', turnsPerMinute, 1, 0),
      ...this.#changeOf('tokens', tokensPerDay, 0, 0),
      ...this.#changeOf('cost', moneyPerDay, 0, 0),
    ]);
  }

  /** The quota that the model calls of one turn use; undefined without limits. */
  ofTurn(principal: string, own: SpendingLimits | undefined): TurnQuota | undefined {
    const limits = this.limitsOf(principal, own);
    if (limits?.tokensPerDay === undefined && limits?.moneyPerDay === undefined) return undefined;
    const { tokensPerDay, moneyPerDay } = limits;
    return new TurnQuota({
      estimate: (model, messages) => {
        const usage = this.#mostOf(messages);
        return [
          ...this.#changeOf('tokens', tokensPerDay, 0, usage.total_tokens),
          ...this.#changeOf('cost', moneyPerDay, 0, this.#costOf(model, usage)),
        ];
      },
      real: (model, usage) => ({ tokens: usage.total_tokens, cost: this.#costOf(model, usage), turns: 0 }),
      change: (changes) => this.#change(principal, changes),
    });
  }

  #mostOf(messages: readonly ModelMessage[]): Usage {
    let prompt = 0;
    for (const message of messages) prompt += roughTokens(message);
    const answer = this.#deps.answerTokens;
    return { prompt_tokens: prompt, completion_tokens: answer, total_tokens: prompt + answer };
  }

  /** A model without a price costs nothing here. */
  #costOf(model: string, usage: Usage): number {
    const cost = this.#deps.budget.cost(model, usage);
    return cost === 'unknown' ? 0 : cost.amount;
  }

  #changeOf(unit: QuotaUnit, limit: number | undefined, used: number, reserved: number): QuotaChange[] {
    if (limit === undefined) return [];
    const { periodMs } = UNITS[unit];
    const endsAt = (Math.floor(this.#deps.clock.now() / periodMs) + 1) * periodMs;
    return [{ unit, endsAt, used, reserved, limit }];
  }

  async #change(principal: string, changes: readonly QuotaChange[]): Promise<void> {
    const refusal = await this.#deps.store.changeQuota(principal, changes);
    if (refusal) throw this.#exceeded(principal, refusal, changes);
  }

  #exceeded(
    principal: string,
    { unit, isUsedUp }: QuotaRefusal,
    changes: readonly QuotaChange[],
  ): FabricError {
    const { endsAt = 0, limit } = changes.find((change) => change.unit === unit) ?? {};
    const { text, variable } = UNITS[unit];
    const retryAfterMs = isUsedUp ? Math.max(1, endsAt - this.#deps.clock.now()) : RESERVED_RETRY_MS;
    const why = isUsedUp ? 'is used up' : 'is reserved by model calls in flight';
    return new FabricError(
      'QUOTA_EXCEEDED',
      `The limit of ${limit} ${text} of the principal ${principal} ${why}. Try again in ${Math.ceil(retryAfterMs / 1_000)} s, or raise ${variable} or the limit in the policy.`,
      { details: { unit, limit, retryAfterMs } },
    );
  }
}

interface TurnQuotaDeps {
  estimate(model: string, messages: readonly ModelMessage[]): readonly QuotaChange[];
  real(model: string, usage: Usage): Readonly<Record<QuotaUnit, number>>;
  /** @throws {QUOTA_EXCEEDED} */
  change(changes: readonly QuotaChange[]): Promise<void>;
}

/** The quota of the principal that a turn runs for. A turn makes one model call at a time. */
export class TurnQuota {
  readonly #deps: TurnQuotaDeps;
  /** The reservation of the call in flight. */
  #reserved: readonly QuotaChange[] = [];

  constructor(deps: TurnQuotaDeps) {
    this.#deps = deps;
  }

  /** Reserves the most that a model call may use. @throws {QUOTA_EXCEEDED} */
  async reserve(model: string, messages: readonly ModelMessage[]): Promise<void> {
    const changes = this.#deps.estimate(model, messages);
    await this.#deps.change(changes);
    this.#reserved = changes;
  }

  /** Replaces the reservation by the use of an answered call. Without usage the reservation counts as used. */
  settle(model: string, usage: Usage | undefined): Promise<void> {
    const real = usage && this.#deps.real(model, usage);
    return this.#release((change) => real?.[change.unit] ?? change.reserved);
  }

  /** Ends the reservation of a call that failed. A part of an answer was most likely billed. */
  settleFailed({ hasAnswer }: { hasAnswer: boolean }): Promise<void> {
    return this.#release((change) => (hasAnswer ? change.reserved : 0));
  }

  async #release(usedOf: (change: QuotaChange) => number): Promise<void> {
    const reserved = this.#reserved;
    if (reserved.length === 0) return;
    this.#reserved = [];
    await this.#deps.change(
      reserved.map((change) => ({
        ...change,
        used: usedOf(change),
        reserved: -change.reserved,
        limit: undefined,
      })),
    );
  }
}
