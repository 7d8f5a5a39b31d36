// The account of one turn: the usage and cost of its model calls, which count towards its conversation too.
import { addCost, type Cost } from '../model/cost.ts';
import type { ModelMessage, Usage } from '../model/model.ts';
import { addUsage, noUsage } from '../model/usage.ts';
import type { Approvals } from './approval/approvals.ts';
import type { RecordedTurn } from './journal/recorded-turn.ts';
import type { LiveTurn } from './live-turn.ts';
import type { Totals } from './loaded-conversation.ts';
import { addSpending, type ConversationBudget, noSpending, type Spending } from './spending.ts';

export class TurnAccount {
  readonly #budget: ConversationBudget;
  readonly #totals: Totals;
  readonly #recorded: RecordedTurn | undefined;
  readonly #approvals: Approvals;
  readonly #spent: Spending = noSpending();
  /** Set while a model call is in flight. */
  #reserved: Spending | undefined;
  readonly usage = noUsage();
  #cost: Cost;

  /** `recorded` is the record of earlier processes; the totals include the cost of its replies. */
  constructor(
    budget: ConversationBudget,
    totals: Totals,
    { recorded, approvals }: Pick<LiveTurn, 'recorded' | 'approvals'>,
  ) {
    this.#budget = budget;
    this.#approvals = approvals;
    this.#totals = totals;
    this.#recorded = recorded;
    this.#cost = budget.noCost;
    for (const { model, usage, reserved, cost } of recorded?.replies ?? []) {
      this.#cost = addCost(this.#cost, cost);
      if (usage) addUsage(this.usage, usage);
      addSpending(this.#spent, usage ? budget.spent(model, usage) : reserved);
    }
  }

  /** Cost of the answered calls. */
  get cost(): Cost {
    return this.#cost;
  }

  /** Charges the reservations of earlier processes for calls that got no reply: they may have been billed. */
  chargeLostCalls(): void {
    if (!this.#recorded) return;
    addSpending(this.#totals.spent, this.#recorded.unsettled);
    addSpending(this.#spent, this.#recorded.lost);
  }

  /** Reserves the estimated cost of a model call. @throws {BUDGET_EXCEEDED} */
  reserve(model: string, messages: readonly ModelMessage[]): Spending {
    const { spent, extensions = {} } = this.#totals;
    const turn = { spent: this.#spent, extensions: this.#approvals.extensions };
    this.#reserved = this.#budget.reserve(model, messages, turn, { spent, extensions });
    return this.#reserved;
  }

  /** Charges a call that was answered: its real cost, or its reservation if the server reported no usage. Returns the real cost. */
  chargeAnswered(model: string, usage: Usage | undefined): Cost {
    const cost = this.#budget.cost(model, usage);
    this.#cost = addCost(this.#cost, cost);
    this.#totals.cost = addCost(this.#totals.cost ?? 'unknown', cost);
    this.#charge(usage ? this.#budget.spent(model, usage) : (this.#reserved ?? noSpending()));
    if (usage) {
      addUsage(this.usage, usage);
      addUsage(this.#totals.usage, usage);
    }
    return cost;
  }

  /** Charges the call in flight as failed: one call, or its reservation if a part of the answer arrived and was most likely billed. */
  chargeFailedCall({ hasAnswer }: { hasAnswer: boolean }): void {
    if (this.#reserved) this.#charge(hasAnswer ? this.#reserved : { calls: 1, tokens: 0, usd: 0 });
  }

  #charge(spent: Spending): void {
    this.#reserved = undefined;
    addSpending(this.#spent, spent);
    addSpending(this.#totals.spent, spent);
  }
}
