// The account of one turn: the usage and cost of its model calls, which count towards its conversation too.
import type { ModelMessage, Usage } from '../model/model.ts';
import { addUsage, noUsage } from '../model/usage.ts';
import type { Totals } from './loaded-conversation.ts';
import type { RecordedTurn } from './recorded-turn.ts';
import { addSpending, type ConversationBudget, noSpending, type Spending } from './spending.ts';

export class TurnAccount {
  readonly #budget: ConversationBudget;
  readonly #totals: Totals;
  readonly #recorded: RecordedTurn | undefined;
  readonly #spent: Spending = noSpending();
  /** Set while a model call is in flight. */
  #reserved: Spending | undefined;
  readonly usage = noUsage();

  /** `recorded` is the record of earlier processes; the totals include the cost of its replies. */
  constructor(budget: ConversationBudget, totals: Totals, recorded: RecordedTurn | undefined) {
    this.#budget = budget;
    this.#totals = totals;
    this.#recorded = recorded;
    for (const { model, usage, reserved } of recorded?.replies ?? []) {
      if (usage) addUsage(this.usage, usage);
      addSpending(this.#spent, usage ? budget.spent(model, usage) : reserved);
    }
  }

  /** Charges the reservations of earlier processes for calls that got no reply: they may have been billed. */
  chargeLostCalls(): void {
    if (!this.#recorded) return;
    addSpending(this.#totals.spent, this.#recorded.unsettled);
    addSpending(this.#spent, this.#recorded.lost);
  }

  /** Reserves the estimated cost of a model call. @throws {BUDGET_EXCEEDED} */
  reserve(model: string, messages: readonly ModelMessage[]): Spending {
    this.#reserved = this.#budget.reserve(model, messages, this.#spent, this.#totals.spent);
    return this.#reserved;
  }

  /** Charges a call that was answered: its real cost, or its reservation if the server reported no usage. */
  chargeAnswered(model: string, usage: Usage | undefined): void {
    this.#charge(usage ? this.#budget.spent(model, usage) : (this.#reserved ?? noSpending()));
    if (!usage) return;
    addUsage(this.usage, usage);
    addUsage(this.#totals.usage, usage);
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
