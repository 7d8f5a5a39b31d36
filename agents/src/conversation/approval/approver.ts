// Asks people for approval on behalf of a running turn, and tracks whether the turn is idle: it waits for an answer, and none of its
// calls runs. An idle turn has no time limit and takes no slot of the running turns.
import { untilAborted } from '@fame-fabric/shared/internal';
import type { ApprovalAnswer, ApprovalRequest, Approver } from '../../turn/approval.ts';
import type { LiveTurn } from '../live-turn.ts';

export interface ApproverDeps {
  readonly turn: LiveTurn;
  /** Resolves when the question is durable. */
  ask(request: ApprovalRequest): Promise<unknown>;
  /** Called when the turn becomes idle. */
  onIdle(): void;
  /** Called before an idle turn continues. It waits for the promise. */
  onBusy(): Promise<void>;
}

export class TurnApprover implements Approver {
  readonly #deps: ApproverDeps;
  #waiting = 0;
  #running = 0;
  /** Settles when the turn may continue. */
  #resumed: Promise<void> = Promise.resolve();

  constructor(deps: ApproverDeps) {
    this.#deps = deps;
  }

  hasAsked(request: Pick<ApprovalRequest, 'kind' | 'step' | 'index'>): boolean {
    return this.#deps.turn.approvals.at(request) !== undefined;
  }

  async decide(request: ApprovalRequest): Promise<ApprovalAnswer> {
    const { turn, ask } = this.#deps;
    const { signal, approvals } = turn;
    signal.throwIfAborted();
    let id = approvals.at(request)?.request.id;
    if (id === undefined) {
      id = approvals.freeId(request.id);
      await ask({ ...request, id });
    }
    if (approvals.get(id)?.answered) return untilAborted(approvals.whenAnswered(id), signal);
    this.#waiting += 1;
    try {
      void this.#update();
      return await untilAborted(approvals.whenAnswered(id), signal);
    } finally {
      this.#waiting -= 1;
      await this.#update();
    }
  }

  async running<T>(work: () => Promise<T>): Promise<T> {
    this.#running += 1;
    try {
      await this.#update();
      return await work();
    } finally {
      this.#running -= 1;
      void this.#update();
    }
  }

  #update(): Promise<void> {
    const { turn, onIdle, onBusy } = this.#deps;
    const isIdle = this.#waiting > 0 && this.#running === 0;
    // An aborted turn only has to end.
    if (isIdle === turn.isIdle || turn.signal.aborted) return this.#resumed;
    turn.isIdle = isIdle;
    if (isIdle) onIdle();
    else this.#resumed = onBusy();
    return this.#resumed;
  }
}
