// Makes the calls of a turn through its journal. A finished call is not made again: its result and its text come from the
// record. A call that was started and not finished is made again, unless its function is not idempotent: then its result is the
// fault `aborted`. A call that needs approval waits for it before it is recorded as started.
import type { ParsedToolCall } from '../model/stream/parse-arguments.ts';
import { NO_OBSERVATION, type TurnObservation } from '../telemetry/turn-observer.ts';
import type { CallResult, CallToMake, MakeCall } from '../tools/make-call.ts';
import { faultContent, INTERRUPTED, refused, type ToolFault } from '../tools/tool-outcome.ts';
import { type Approver, MAX_APPROVABLE_BYTES } from './approval.ts';
import type { TurnDraft } from './history.ts';
import type { Steps } from './steps.ts';
import type { RunnerActions, TextSource } from './turn.ts';

/** Maximum length of the arguments in the entry of a started call, in characters. Longer ones are left out. */
export const MAX_SHOWN_ARGUMENT_CHARS = 1_024;

/** A call in the journal. */
export interface CallEntry {
  readonly step: number;
  readonly index: number;
  readonly callId: string;
  readonly name: string;
}

/** Journal of the tool calls of a turn. Each method resolves when its entry is durable. */
export interface ToolJournal {
  toolStarted(call: CallEntry, args: Readonly<Record<string, unknown>> | undefined): Promise<unknown>;
  toolFinished(call: CallEntry, result: CallResult): Promise<unknown>;
}

export interface JournaledToolsDeps {
  steps: Steps;
  journal: ToolJournal;
  draft: TurnDraft;
  emitText: RunnerActions['emitText'];
  approver: Approver;
  /** @default none */
  observation?: TurnObservation | undefined;
}

export class JournaledTools {
  readonly #deps: JournaledToolsDeps;

  constructor(deps: JournaledToolsDeps) {
    this.#deps = deps;
  }

  readonly makeCall: MakeCall = async (given: CallToMake) => {
    const { call, willRun, isIdempotent, speaker } = given;
    const { steps, journal, emitText, approver } = this.#deps;
    const recorded = steps.request(call.id);
    const step = steps.number;
    const entry: CallEntry = { step, index: call.index, callId: call.id, name: call.name };
    const source: TextSource = { from: 'tool', step, index: call.index, speaker };
    if (recorded?.result) {
      await emitText(recorded.text, source);
      return recorded.result;
    }
    if (recorded && isIdempotent === false) {
      await emitText(recorded.text, source);
      return this.#finished(entry, { ok: false, content: faultContent(INTERRUPTED) });
    }
    const refusal = willRun && !recorded ? await this.#refusal(given, entry) : undefined;
    if (refusal) return this.#finished(entry, { ok: false, content: faultContent(refusal) });
    return approver.running(async () => {
      if (willRun) await journal.toolStarted(entry, shownArguments(call));
      let written: Promise<void> | undefined;
      const result = await this.#observed(entry, given, (text) => {
        written = emitText(text, source) ?? written;
      });
      await written;
      // An eager tool may finish before its reply is recorded.
      await steps.whenReplied();
      return this.#finished(entry, result);
    });
  };

  /** Runs the call. A call that is refused without a run is not observed. */
  async #observed(
    entry: CallEntry,
    { call, willRun, execute }: CallToMake,
    emit: (text: string) => void,
  ): Promise<CallResult> {
    if (!willRun) return execute(emit);
    const observed = (this.#deps.observation ?? NO_OBSERVATION).toolStarted(
      entry,
      call.ok ? call.args : undefined,
    );
    try {
      const result = await observed.run(() => execute(emit));
      observed.finished(result);
      return result;
    } catch (error) {
      observed.failed(error);
      throw error;
    }
  }

  /** Asks for approval if the call needs it. Returns the fault if it must not run. */
  async #refusal(
    { call, needsApproval, runs }: CallToMake,
    entry: CallEntry,
  ): Promise<ToolFault | undefined> {
    const { steps, approver } = this.#deps;
    const { step, index, callId: id, name } = entry;
    const place = { kind: 'tool', step, index } as const;
    if (!approver.hasAsked(place) && !needsApproval?.()) return undefined;
    if (!call.ok || Buffer.byteLength(JSON.stringify(call.args)) > MAX_APPROVABLE_BYTES) return TOO_LONG;
    // A person is not asked about a reply that may still fail.
    await steps.whenReplied();
    const { approve, note } = await approver.decide({ ...place, id, name: runs ?? name, args: call.args });
    return approve ? undefined : refused(note);
  }

  async #finished(entry: CallEntry, result: CallResult): Promise<CallResult> {
    const { journal, draft } = this.#deps;
    draft.tool(entry.callId, result.content);
    await journal.toolFinished(entry, result);
    return result;
  }
}

const TOO_LONG: ToolFault = Object.freeze({
  code: 'too_large',
  message: `The call needs approval, and its arguments are longer than the ${MAX_APPROVABLE_BYTES} bytes that can be shown for it.`,
});

const shownArguments = (call: ParsedToolCall): Readonly<Record<string, unknown>> | undefined =>
  call.ok && call.rawArguments.length <= MAX_SHOWN_ARGUMENT_CHARS ? call.args : undefined;
