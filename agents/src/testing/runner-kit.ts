// A turn for tests of runners: the context that a conversation provides, and a journal that records its entries as short lines.
import { silentLog } from '@fame-fabric/shared';
import { noLink } from '../agent/scoped-link.ts';
import type { ApprovalAnswer, Approver } from '../turn/approval.ts';
import { History, type TurnDraft } from '../turn/history.ts';
import { JournaledModel, type ModelJournal } from '../turn/journaled-model.ts';
import { JournaledTools, type ToolJournal } from '../turn/journaled-tools.ts';
import { type RecordedStep, Steps } from '../turn/steps.ts';
import type { TurnContext } from '../turn/turn.ts';
import type { TurnOptions } from '../turn/turn-options.ts';
import { TurnText } from '../turn/turn-text.ts';

export interface RunnerKitOptions {
  history?: History;
  userMessage?: string;
  recorded?: readonly RecordedStep[];
  /** The text of the recorded steps. */
  text?: string;
  state?: unknown;
  payload?: Readonly<Record<string, unknown>>;
  /** @default 0 */
  acceptedAt?: number;
  options?: TurnOptions;
  signal?: AbortSignal;
  /** Answer to every question. @default approved */
  approval?: ApprovalAnswer;
}

export interface RunnerKit {
  readonly turn: TurnContext;
  readonly history: History;
  readonly draft: TurnDraft;
  readonly controller: AbortController;
  /** The entries of the journal and the texts, as short lines in order. Calls are named by step and index: `1.0`. */
  readonly seen: string[];
  /** Ends the turn, as the conversation does after its runner. */
  finish(): Promise<void>;
}

/** Makes a turn and records the actions of its runner. */
export function runnerKit(options: RunnerKitOptions = {}): RunnerKit {
  const { history = new History({ system: 'Be brief.' }), userMessage = 'hi', payload = {}, state } = options;
  const controller = new AbortController();
  const signal = options.signal ?? controller.signal;
  const draft = history.begin(userMessage);
  const seen: string[] = [];
  const note = (line: string): Promise<void> => {
    seen.push(line);
    return new Promise((resolve) => setImmediate(resolve));
  };
  const journal: ModelJournal & ToolJournal = {
    modelCalled: ({ step }) => note(`model_called ${step}`),
    modelReplied: ({ step }) => note(`model_replied ${step}`),
    tokenReceived: () => {},
    recordDropped: ({ fromStep, keep }) => note(`dropped from ${fromStep}, keep ${keep}`),
    toolStarted: ({ step, index }) => note(`start ${step}.${index}`),
    toolFinished: ({ step, index }, { ok }) => note(`finish ${step}.${index} ${ok}`),
  };
  const steps = new Steps('t', options.recorded);
  const text = new TurnText(steps, options.text);
  const emitText: TurnContext['emitText'] = (more, source) => {
    const from = text.length;
    if (text.add(more, source).length > 0) seen.push(`text ${text.value.slice(from)}`);
    return undefined;
  };
  const model = new JournaledModel({ steps, journal, draft, text, emitText, log: silentLog });
  const approver: Approver = {
    hasAsked: () => false,
    async decide({ name }) {
      await note(`ask ${name}`);
      return options.approval ?? { approve: true };
    },
    running: (work) => work(),
  };
  const tools = new JournaledTools({ steps, journal, draft, emitText, approver });
  const turn: TurnContext = {
    conversationId: 'c',
    turnId: 't',
    userMessage,
    messages: draft.request(),
    state,
    options: options.options ?? {},
    payload,
    acceptedAt: options.acceptedAt ?? 0,
    signal,
    ask: model.ask,
    makeCall: tools.makeCall,
    emitText,
    assertLive() {},
    link: noLink,
    get text() {
      return text.value;
    },
  };
  return { turn, history, draft, controller, seen, finish: () => model.finish() };
}
