// Asks a person when a turn has used up a budget, in conversations with `on_budget: 'ask'`. Each approval adds the limit once more.
import { isFabricError } from '@fame-fabric/shared';
import type { Approver } from '../../turn/approval.ts';
import type { ModelJournal } from '../../turn/journaled-model.ts';
import { callId } from '../../turn/steps.ts';

/** Records the model calls of a turn, and asks before each call that exceeds a budget. */
export class BudgetQuestions implements ModelJournal {
  readonly #journal: ModelJournal;
  readonly #approver: Approver;
  readonly #turnId: string;

  constructor(deps: { journal: ModelJournal; approver: Approver; turnId: string }) {
    this.#journal = deps.journal;
    this.#approver = deps.approver;
    this.#turnId = deps.turnId;
  }

  /** @throws {BUDGET_EXCEEDED} when the person refuses */
  async modelCalled(call: Parameters<ModelJournal['modelCalled']>[0]): Promise<unknown> {
    // A question that was approved before a crash is not asked again.
    for (let index = 0; ; index++) {
      try {
        return await this.#journal.modelCalled(call);
      } catch (error) {
        if (!isFabricError(error, 'BUDGET_EXCEEDED')) throw error;
        const { step } = call;
        const { approve } = await this.#approver.decide({
          kind: 'budget',
          id: callId(`${this.#turnId}/budget`, step, index),
          name: 'budget',
          args: error.details,
          step,
          index,
        });
        if (!approve) throw error;
      }
    }
  }

  modelReplied(reply: Parameters<ModelJournal['modelReplied']>[0]): Promise<unknown> {
    return this.#journal.modelReplied(reply);
  }

  tokenReceived(): void {
    this.#journal.tokenReceived();
  }

  recordDropped(drop: Parameters<ModelJournal['recordDropped']>[0]): Promise<unknown> {
    return this.#journal.recordDropped(drop);
  }
}
