// Position of a turn in its steps. A step is one model call and the calls of its reply. The first steps may have been recorded
// by a process that died: `advance` replays them in order, until the record ends or no longer matches.
import { hash } from 'node:crypto';
import type { AssistantMessage, FinishReason, ModelMessage, Usage } from '../model/model.ts';
import type { CallResult } from '../tools/make-call.ts';

/** A call of a recorded step, started or finished. */
export interface RecordedCall {
  readonly index: number | undefined;
  /** `undefined` if the call was started and did not finish. */
  readonly result: CallResult | undefined;
  /** Text of the function after its step's reply was recorded. */
  readonly text: string;
}

/** A model call of an unfinished turn whose reply is known. */
export interface RecordedStep {
  readonly message: AssistantMessage;
  readonly finish: FinishReason;
  readonly model: string;
  readonly usage: Usage | undefined;
  /** Text that came after the arguments of a call, by its id. */
  readonly trailing: ReadonlyMap<string, string> | undefined;
  /** Identity of the question. `undefined` in journals of 0.1.0, whose questions are not compared. */
  readonly question: Question | undefined;
  /** Length of the turn's text at the end of the reply. */
  readonly textEnd: number;
  /** Calls of the reply, by id. */
  readonly calls: ReadonlyMap<string, RecordedCall>;
  /** True if the record after this step was dropped once. The later steps were recorded without some of its results. */
  readonly isDivergent?: boolean | undefined;
}

/** Identity of a question: a replayed one must equal the recorded one. */
export interface Question {
  readonly scope: string;
  /** SHA-256 of the turn's messages after the user's, without system messages: a prompt may hold a date. */
  readonly digest: string;
}

export function questionOf(scope: string | undefined, messages: readonly ModelMessage[]): Question {
  const from = messages.findLastIndex(({ role }) => role === 'user') + 1;
  const own = messages.slice(from).filter(({ role }) => role !== 'system');
  return { scope: scope ?? '', digest: hash('sha256', JSON.stringify(own)) };
}

/** Derives the id of a call from its position in the turn: nine letters and digits, which every model server accepts. */
export function callId(turnId: string, step: number, index: number): string {
  const id = hash('sha256', `${turnId}/${step}/${index}`, 'base64').replace(/[^A-Za-z0-9]/g, '');
  return id.slice(0, 9).padEnd(9, '0');
}

export class Steps {
  readonly turnId: string;
  #recorded: readonly RecordedStep[];
  #number = 0;
  /** Ids of all requested calls; each is unique in its turn. */
  readonly #requested = new Set<string>();
  #replied: Promise<void> = Promise.resolve();

  constructor(turnId: string, recorded: readonly RecordedStep[] = []) {
    this.turnId = turnId;
    this.#recorded = recorded;
  }

  /** The current step, from 1; 0 before the first. */
  get number(): number {
    return this.#number;
  }

  /** True while recorded steps remain. Text that is emitted now is already in the record. */
  get isReplaying(): boolean {
    return this.#number < this.#recorded.length;
  }

  /** The current step, if it was recorded. */
  get current(): RecordedStep | undefined {
    return this.#recorded[this.#number - 1];
  }

  /** Recorded steps that have not been replayed. */
  get remaining(): readonly RecordedStep[] {
    return this.#recorded.slice(this.#number);
  }

  /** Marks a call as requested and returns its record, if it has one. */
  request(id: string): RecordedCall | undefined {
    this.#requested.add(id);
    return this.current?.calls.get(id);
  }

  /**
   * Returns the reason why the record does not match the next action of the runner: `question`, or the end of the turn without
   * one. Returns `undefined` if it matches.
   */
  divergence(question: Question | undefined): string | undefined {
    const { current } = this;
    if (current?.question && !current.isDivergent) {
      for (const [id, { result }] of current.calls) {
        if (result && !this.#requested.has(id)) return `the result of call ${id} was not requested`;
      }
    }
    const next = this.#recorded[this.#number];
    if (!next) return undefined;
    if (!question) return 'the turn ends before its recorded steps';
    if (!next.question) return undefined;
    if (next.question.scope !== question.scope)
      return `"${question.scope}" asked, and the record has "${next.question.scope}"`;
    return next.question.digest === question.digest ? undefined : 'the messages of the question differ';
  }

  /** Sets the promise that settles when the reply of the current step is recorded. */
  awaitReply(replied: Promise<void>): void {
    this.#replied = replied;
    // Only results of eager tools wait for it.
    replied.catch(() => {});
  }

  /** Settles when the reply of the current step is recorded. */
  whenReplied(): Promise<void> {
    return this.#replied;
  }

  /** Drops the recorded steps that have not been replayed. */
  drop(): void {
    this.#recorded = this.#recorded.slice(0, this.#number);
  }

  /** Enters the next step; returns it if it was recorded. */
  advance(): RecordedStep | undefined {
    this.#number += 1;
    return this.current;
  }

  /** Leaves a step whose model call failed. A runner that asks again enters it anew, because a recorded step has a reply. */
  retreat(): void {
    this.#number -= 1;
  }
}
