// The questions of the prompt about approvals that a turn waits for: one at a time, in order. A question is withdrawn when someone
// else answers it, or when the turn ends.
import { type Clock, FabricError, isFabricError } from '@fame-fabric/shared';
import { cutText, escapeLine, pause, printableJson } from '@fame-fabric/shared/internal';
import type { Conversation } from '../conversation.ts';
import type { ApprovalAnswerEvent, ApprovalEvent } from '../turn-event.ts';
import type { ReplInput } from './repl-input.ts';

export interface ApprovalQuestionsDeps {
  input: Pick<ReplInput, 'question'>;
  conversation: Pick<Conversation, 'answerApproval'>;
  isInteractive: boolean;
  clock: Clock;
  /** Prints a note beside the answer. */
  note: (text: string) => void;
  /** Reports that an answer did not arrive. */
  fail: (error: unknown) => void;
  /** Called around each question: no text may be written meanwhile. */
  hold: () => void;
  resume: () => void;
  /** Cancels the turn. */
  cancel: () => void;
}

/** A resumed turn repeats its events: an answer that was given earlier follows within this time. */
const REPLAY_MS = 50;
/** Our agents send only shorter arguments for approval. */
const MAX_ARGS_CHARS = 65_536;
/** `n`, `no`, `n because of this`, `y` and `yes`. */
const REPLY = /^\s*(?:(y|yes)|(?:n|no)(?:\s+(\S.*))?)\s*$/i;

/** One approval that the turn waits for. */
interface Question {
  readonly event: ApprovalEvent;
  /** Aborts when no answer is needed any more. */
  readonly withdrawal: AbortController;
  /** True while the answer of this user travels to the agent. */
  isSending: boolean;
}

export class ApprovalQuestions {
  readonly #deps: ApprovalQuestionsDeps;
  readonly #open = new Map<string, Question>();
  #isAsking = false;

  constructor(deps: ApprovalQuestionsDeps) {
    this.#deps = deps;
  }

  /** Asks the user, after the questions that are open already. */
  ask(event: ApprovalEvent): void {
    const question = { event, withdrawal: new AbortController(), isSending: false };
    this.#open.set(event.id, question);
    if (!this.#isAsking) void this.#askAll();
  }

  /** Withdraws the question, because the approval was answered here or elsewhere. */
  answered({ id, approve }: ApprovalAnswerEvent): void {
    const question = this.#open.get(id);
    if (!question) return;
    this.#withdraw(question);
    if (!question.isSending)
      this.#deps.note(approve ? 'Approved by someone else.' : 'Refused by someone else.');
  }

  /** Withdraws all questions. */
  close(): void {
    for (const question of [...this.#open.values()]) this.#withdraw(question);
  }

  #withdraw({ event, withdrawal }: Question): void {
    this.#open.delete(event.id);
    withdrawal.abort(new FabricError('CALL_CANCELLED', 'The question was withdrawn'));
  }

  async #askAll(): Promise<void> {
    this.#isAsking = true;
    for (let next = this.#first; next; next = this.#first) await this.#askUntilWithdrawn(next);
    this.#isAsking = false;
  }

  get #first(): Question | undefined {
    return this.#open.values().next().value;
  }

  async #askUntilWithdrawn(question: Question): Promise<void> {
    const { clock, hold, resume, note } = this.#deps;
    const { signal } = question.withdrawal;
    try {
      await pause(clock, REPLAY_MS, signal);
    } catch {
      return; // withdrawn
    }
    hold();
    note(approvalText(question.event));
    while (!signal.aborted) await this.#askOnce(question);
    resume();
  }

  async #askOnce(question: Question): Promise<void> {
    const { input, conversation, isInteractive, note, fail, cancel } = this.#deps;
    const { signal } = question.withdrawal;
    const reply = await input.question('Approve? (y/n) ', { isReply: (text) => REPLY.test(text), signal });
    if (signal.aborted) return;
    if (reply === undefined) {
      if (isInteractive) {
        cancel(); // the user leaves
        this.#withdraw(question);
        return;
      }
      note(
        'Refused: the input does not answer y or n. Approve calls at the prompt of a terminal, or with --lines.',
      );
    }
    const [, yes, reason] = REPLY.exec(reply ?? 'n')!;
    question.isSending = true;
    try {
      await conversation.answerApproval(question.event.id, { approve: yes !== undefined, note: reason });
      this.#withdraw(question);
    } catch (error) {
      fail(error);
      if (!isInteractive || !isFabricError(error) || !error.retryable) this.#withdraw(question);
    } finally {
      question.isSending = false;
    }
  }
}

/** Describes the request that waits for approval. A model wrote its text, so it is escaped. */
function approvalText({ kind, name, args }: ApprovalEvent): string {
  if (kind === 'budget') {
    const { limit, unit, spent } = args ?? {};
    return escapeLine(
      `The budget is used up: ${spent} of ${limit} ${unit}. If you approve, the same amount is added.`,
    );
  }
  if (!args) return escapeLine(`${name} asks for approval. Its arguments are too long to be shown here.`);
  const json = printableJson(args, 2);
  const shown = cutText(json, MAX_ARGS_CHARS).replaceAll('\n', '\n  ');
  const cut = json.length > MAX_ARGS_CHARS ? `\n  (cut: the arguments have ${json.length} characters)` : '';
  return `${escapeLine(name)} asks for approval:\n  ${shown}${cut}`;
}
