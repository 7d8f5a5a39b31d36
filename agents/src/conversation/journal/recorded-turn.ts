// Reads the record of a turn from its events: the steps that a resumed turn replays, the text that is kept, and the cost of model
// calls that got no reply. Reads journals of 0.1.0 too: their rows have no source of a text, and call ids are those of the model
// server.
import type { Cost } from '../../model/cost.ts';
import type { Usage } from '../../model/model.ts';
import type { JournalEvent } from '../../store/store.ts';
import type { History, TurnDraft } from '../../turn/history.ts';
import type { RecordedCall, RecordedStep } from '../../turn/steps.ts';
import { addSpending, noSpending, type Spending } from '../spending.ts';
import { acceptedOf, bodyOf, partialOf } from './journal.ts';

/** Record of an unfinished turn. */
export interface RecordedTurn {
  readonly steps: readonly RecordedStep[];
  /** The text up to the end of the last whole reply. */
  readonly text: string;
  /** Resumes since the turn last made progress. */
  readonly fruitlessResumes: number;
  /** Every recorded reply, including those of dropped steps: they were paid for. */
  readonly replies: readonly {
    readonly model: string;
    readonly usage: Usage | undefined;
    /** Cost of the reply if the server reported no usage. */
    readonly reserved: Spending;
    readonly cost: Cost;
  }[];
  /** From the acceptance of the turn to the first text or call of a recorded reply, in ms. */
  readonly firstTokenMs: number | undefined;
  /** Ids of the calls that were started, finished or not. */
  readonly startedCalls: ReadonlySet<string>;
  /** Turns that its further requests leave out, in the form of `History.leaveOut`. */
  readonly leftOut: readonly number[];
  /** Reservations of model calls that got no reply. */
  readonly lost: Spending;
  /** The part of `lost` that the totals of the conversation do not include yet. */
  readonly unsettled: Spending;
}

type Call = { -readonly [K in keyof RecordedCall]: RecordedCall[K] } & { hasTextOfEarlierProcess: boolean };
type Step = Omit<RecordedStep, 'calls'> & { readonly calls: Map<string, Call> };

export function recordedTurn(events: readonly JournalEvent[]): RecordedTurn {
  const reader = new RecordReader();
  for (const event of events) reader.read(event);
  return reader.result();
}

class RecordReader {
  #steps: Step[] = [];
  #text = '';
  #textEnd = 0;
  #fruitlessResumes = 0;
  #question: RecordedStep['question'];
  /** Calls of eager tools, which start before the reply they belong to is recorded. */
  #early = new Map<string, Call>();
  /** Questions to people without an answer, with their steps. A turn that waits may be interrupted any number of times. */
  readonly #pendingApprovals = new Map<string, number>();
  #reserved: Spending | undefined;
  #askedWithout: readonly number[] = [];
  #leftOut: readonly number[] = [];
  readonly #lost = noSpending();
  readonly #replies: RecordedTurn['replies'][number][] = [];
  #firstTokenMs: number | undefined;
  readonly #startedCalls = new Set<string>();

  read(event: JournalEvent): void {
    switch (event.kind) {
      case 'turn_resumed':
        this.#readResume(event);
        break;
      case 'approval_requested':
        this.#readApprovalRequest(event);
        break;
      case 'approval_answered':
        this.#pendingApprovals.delete(bodyOf(event, 'approval_answered').call_id);
        this.#fruitlessResumes = 0;
        break;
      case 'model_called':
        this.#readModelCall(event);
        break;
      case 'text':
        this.#readText(event);
        break;
      case 'model_replied':
        this.#readReply(event);
        break;
      case 'tool_started': {
        const body = bodyOf(event, 'tool_started');
        this.#startedCalls.add(body.call_id);
        this.#callsOf(body).set(body.call_id, newCall(body.index));
        break;
      }
      case 'tool_finished': {
        const body = bodyOf(event, 'tool_finished');
        const { call_id, ok, content } = body;
        const calls = this.#callsOf(body);
        const call = calls.get(call_id) ?? newCall(body.index);
        calls.set(call_id, { ...call, result: { ok, content } });
        this.#fruitlessResumes = 0;
      }
    }
  }

  result(): RecordedTurn {
    const unsettled = this.#reserved ?? noSpending();
    this.#loseReservation();
    return {
      steps: this.#steps,
      text: this.#text.slice(0, this.#textEnd),
      fruitlessResumes: this.#fruitlessResumes,
      replies: this.#replies,
      firstTokenMs: this.#firstTokenMs,
      startedCalls: this.#startedCalls,
      leftOut: this.#leftOut,
      lost: this.#lost,
      unsettled,
    };
  }

  #readResume(event: JournalEvent): void {
    const { from_step: fromStep, keep } = bodyOf(event, 'turn_resumed');
    this.#early = new Map();
    this.#loseReservation();
    if (fromStep === undefined) {
      if (this.#pendingApprovals.size === 0) this.#fruitlessResumes += 1;
      this.#text = this.#text.slice(0, this.#textEnd);
      for (const { calls } of this.#steps)
        for (const call of calls.values()) call.hasTextOfEarlierProcess = true;
      return;
    }
    for (const [id, step] of this.#pendingApprovals) if (step >= fromStep) this.#pendingApprovals.delete(id);
    this.#steps = this.#steps.slice(0, fromStep - 1);
    const last = this.#steps.pop();
    if (last) this.#steps.push({ ...last, isDivergent: true });
    this.#text = this.#text.slice(0, keep);
    this.#textEnd = Math.min(this.#textEnd, this.#steps.at(-1)?.textEnd ?? 0);
  }

  #readApprovalRequest(event: JournalEvent): void {
    const { call_id, step } = bodyOf(event, 'approval_requested');
    this.#pendingApprovals.set(call_id, step);
    this.#fruitlessResumes = 0;
  }

  #readModelCall(event: JournalEvent): void {
    const { scope, turn_digest: digest, reserved, left_out: leftOut = [] } = bodyOf(event, 'model_called');
    this.#askedWithout = leftOut;
    this.#loseReservation();
    this.#reserved = reserved;
    this.#question = digest === undefined ? undefined : { scope: scope ?? '', digest };
  }

  #readText(event: JournalEvent): void {
    const { text, step, index } = bodyOf(event, 'text');
    this.#text += text;
    if (step === undefined) return;
    const calls = this.#steps[step - 1]?.calls.values() ?? [];
    const call = [...calls].find((one) => one.index === index);
    // A resumed turn repeats the text of a finished call.
    if (!call || call.result) return;
    if (call.hasTextOfEarlierProcess) call.text = '';
    call.hasTextOfEarlierProcess = false;
    call.text += text;
  }

  #readReply(event: JournalEvent): void {
    const body = bodyOf(event, 'model_replied');
    const { message, finish, model, usage, trailing, cost = 'unknown' } = body;
    this.#firstTokenMs ??= body.first_token_ms;
    this.#textEnd = this.#text.length;
    if (this.#askedWithout.length > 0) this.#leftOut = this.#askedWithout;
    this.#steps.push({
      message,
      finish,
      model,
      usage: usage ?? undefined,
      trailing: trailing && new Map(Object.entries(trailing)),
      question: this.#question,
      textEnd: this.#textEnd,
      calls: this.#early,
    });
    const reserved = this.#reserved ?? noSpending();
    this.#replies.push({ model, usage: usage ?? undefined, reserved, cost });
    this.#early = new Map();
    this.#question = undefined;
    this.#reserved = undefined;
    this.#fruitlessResumes = 0;
  }

  #callsOf({ call_id, step }: { call_id: string; step?: number }): Map<string, Call> {
    const last = this.#steps.at(-1);
    if (step !== undefined) return this.#steps[step - 1]?.calls ?? this.#early;
    const isOfLast = last?.message.tool_calls?.some((call) => call.id === call_id);
    return last && isOfLast ? last.calls : this.#early;
  }

  #loseReservation(): void {
    if (this.#reserved) addSpending(this.#lost, this.#reserved);
    this.#reserved = undefined;
  }
}

const newCall = (index: number | undefined): Call => ({
  index,
  result: undefined,
  text: '',
  hasTextOfEarlierProcess: false,
});

/** Adds recorded steps to the draft of a turn. */
export function addSteps(draft: TurnDraft, steps: readonly RecordedStep[]): void {
  for (const { message, calls } of steps) {
    draft.assistant(message);
    for (const [id, { result }] of calls) if (result) draft.tool(id, result.content);
  }
}

/** Adds a turn that has ended to the history, from its events. */
export function addToHistory(history: History, events: readonly JournalEvent[]): void {
  const { user_message, tool_results } = acceptedOf(events);
  const last = events.at(-1)!;
  const { lead, tool_calls: handedOut } = bodyOf(last, 'turn_completed');
  const { steps, startedCalls, leftOut } = recordedTurn(events);
  history.leaveOut(leftOut);
  const draft = history.begin(user_message, tool_results, { lead });
  addSteps(draft, steps);
  if (last.kind === 'turn_completed') {
    const { messages } = bodyOf(last, 'turn_completed');
    draft.commit(
      messages,
      handedOut?.map(({ id }) => id),
    );
  } else draft.interrupt(partialOf(bodyOf(last, 'turn_failed')), startedCalls, 'keep');
}
