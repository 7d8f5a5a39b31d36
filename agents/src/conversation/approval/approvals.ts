// The approvals of one turn: the questions in its journal and their answers. An answer may come before the turn runs again after a
// restart, so answers are kept here and not by the code that waits for them (`approver.ts`).
import type { JournalEvent } from '../../store/store.ts';
import type { ApprovalAnswer, ApprovalRequest } from '../../turn/approval.ts';
import { bodyOf } from '../journal/journal.ts';
import type { BudgetUnit, Extensions } from '../spending.ts';

type Place = Pick<ApprovalRequest, 'kind' | 'step' | 'index'>;

/** A question and its answer. */
export interface Approval {
  readonly request: ApprovalRequest;
  /** The answer, and its write to the journal. */
  readonly answered: { readonly answer: ApprovalAnswer; readonly written: Promise<unknown> } | undefined;
}

interface Entry extends Approval {
  answered: Approval['answered'];
  /** True if the record of its step was dropped, so nothing waits for the answer. */
  isDropped: boolean;
  isDurable: boolean;
  readonly settled: PromiseWithResolvers<ApprovalAnswer>;
}

/** Returns the unit of the limit that a question would extend, if it is a limit of that kind. */
export function extendedUnit(
  { kind, args }: ApprovalRequest,
  of: 'turn' | 'conversation',
): BudgetUnit | undefined {
  return kind === 'budget' && args?.of === of ? (args.unit as BudgetUnit) : undefined;
}

export class Approvals {
  /** By id, in the order of the questions. */
  readonly #entries = new Map<string, Entry>();

  /** `events` are those of the turn so far. */
  constructor(events: readonly JournalEvent[] = []) {
    for (const event of events) {
      if (event.kind === 'approval_requested') {
        const { call_id: id, ...request } = bodyOf(event, 'approval_requested');
        this.add({ id, ...request });
      } else if (event.kind === 'approval_answered') {
        const { call_id: id, approve, note } = bodyOf(event, 'approval_answered');
        this.answer(id, { approve, note }, DURABLE);
      } else if (event.kind === 'turn_resumed') {
        const { from_step: fromStep } = bodyOf(event, 'turn_resumed');
        if (fromStep !== undefined) this.drop(fromStep);
      }
    }
  }

  /** Questions of the turn so far, answered or not. */
  get size(): number {
    return this.#entries.size;
  }

  /** Questions without an answer. */
  get pending(): readonly Approval[] {
    return [...this.#entries.values()].filter((entry) => !entry.answered && !entry.isDropped);
  }

  /** The approved extensions of the turn's own limits. */
  get extensions(): Extensions {
    const extensions: Extensions = {};
    for (const { request, answered } of this.#entries.values()) {
      const unit = answered?.answer.approve ? extendedUnit(request, 'turn') : undefined;
      if (unit) extensions[unit] = (extensions[unit] ?? 0) + 1;
    }
    return extensions;
  }

  /** True while an answer is being written. */
  get isWriting(): boolean {
    return this.#entries.values().some(({ answered, isDurable }) => answered && !isDurable);
  }

  get(id: string): Approval | undefined {
    return this.#entries.get(id);
  }

  /** Returns the question that was asked at this place of the turn. */
  at({ kind, step, index }: Place): Approval | undefined {
    return this.#entries
      .values()
      .find(
        ({ request, isDropped }) =>
          !isDropped && request.kind === kind && request.step === step && request.index === index,
      );
  }

  /** Returns `id`, with a suffix if the turn has asked with it before: an answer to that question must not count for another. */
  freeId(id: string): string {
    let free = id;
    for (let n = 2; this.#entries.has(free); n++) free = `${id}-${n}`;
    return free;
  }

  add(request: ApprovalRequest): void {
    const settled = Promise.withResolvers<ApprovalAnswer>();
    this.#entries.set(request.id, {
      request,
      answered: undefined,
      isDropped: false,
      isDurable: false,
      settled,
    });
  }

  /** Records the answer to a question. The code that waits for it continues when it is written. */
  answer(id: string, answer: ApprovalAnswer, written: Promise<unknown>): void {
    const entry = this.#entries.get(id);
    if (!entry || entry.answered) return;
    entry.answered = { answer, written };
    // A failed write fails the turn, because its journal accepts no more entries.
    written.then(
      () => {
        entry.isDurable = true;
        entry.settled.resolve(answer);
      },
      () => undefined,
    );
  }

  /** Resolves with the answer to a question when it is durable. */
  whenAnswered(id: string): Promise<ApprovalAnswer> {
    return this.#entries.get(id)!.settled.promise;
  }

  /** Drops the questions of the steps from `fromStep` on. */
  drop(fromStep: number): void {
    for (const entry of this.#entries.values()) if (entry.request.step >= fromStep) entry.isDropped = true;
  }
}

const DURABLE = Promise.resolve();
