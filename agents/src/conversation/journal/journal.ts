// The journal of a conversation: the bodies of its events, and the conversion of events into outcomes and caller events.
// `journal-writer.ts` appends them. `recorded-turn.ts` reads the events of an unfinished turn.

import type { Cost } from '../../model/cost.ts';
import type { AssistantMessage, FinishReason, ModelMessage, ToolCall, Usage } from '../../model/model.ts';
import type { EventBody, EventKind, JournalEvent, StoredState } from '../../store/store.ts';
import type { RecordedTrace } from '../../telemetry/turn-observer.ts';
import type { ApprovalRequest } from '../../turn/approval.ts';
import type { TextSource } from '../../turn/turn.ts';
import type { ToolResult, TurnFinish, TurnOptions } from '../../turn/turn-options.ts';
import {
  type CompletedFigures,
  type ConversationEvent,
  type ConversationOptions,
  errorOfFault,
  type OutcomeFault,
  type TurnFigures,
  type TurnOutcome,
} from '../conversation.ts';
import type { Spending } from '../spending.ts';

/** Bodies of the events. Keys are never renamed; optional ones are absent in journals of 0.1.0. */
export interface Bodies {
  conversation_started: {
    system_prompt: string;
    max_history_length: number;
    turn_policy: ConversationOptions['turnPolicy'];
    on_budget?: 'ask';
    /** Further start parameters. */
    payload?: EventBody;
    /** Model of the turns that name none. */
    model?: string;
    /** Messages before the first turn; they begin the history. */
    messages?: readonly ModelMessage[];
    /** State of the runner for the first turn. */
    state?: unknown;
    /** The last turn whose history a fork took over. */
    forked_from?: { conversation_id: string; turn_id: string };
  };
  turn_accepted: {
    user_message: string;
    reply_to: string;
    corr_id: string;
    /** True if the caller asked for a stream. */
    stream: boolean;
    /** Form of the answer to a caller of `run_turn`. @default 'text' */
    answer?: 'outcome';
    /** Time at which the turn times out, in ms since the epoch. */
    deadline: number;
    options?: TurnOptions;
    /** Results of the calls that the previous turn handed to the caller. */
    tool_results?: readonly ToolResult[];
    retry_key?: string;
    /** Trace id and remaining hops of the call. */
    trace_id?: string;
    /** Trace context of the turn, if the process that accepted it traced it. */
    trace?: RecordedTrace;
    ttl?: number;
    /** Id of the principal that called. @default the owner of the conversation */
    principal?: string;
  };
  /** The turn waited behind one that asked a person, so its time limit starts when it runs. */
  turn_extended: Record<string, never>;
  turn_resumed: {
    /** 0 when no process died: the turn diverged from its record. */
    attempt: number;
    /** Length of the kept text, in characters. */
    keep: number;
    /** The first dropped step, after a divergence. */
    from_step?: number | undefined;
  };
  model_called: {
    step: number;
    model: string;
    /** Number of messages in the request. */
    messages: number;
    /** SHA-256 of the messages as JSON, in hex. */
    digest: string;
    /** Name of the asker; digest of the turn's own messages. */
    scope?: string;
    turn_digest?: string;
    /** Reserved from the budget until the reply reports its cost. */
    reserved: Spending;
    /** Turns that this request and all later ones leave out, if it is answered: 1 is the previous turn. */
    left_out?: readonly number[];
    /** From the acceptance of the turn to its start, in ms; only in the first call of the process that started the turn. */
    waited_ms?: number;
  };
  text: {
    text: string;
    offset: number;
    from?: TextSource['from'];
    /** Step and index of the call whose function emitted the text. */
    step?: number;
    index?: number;
  };
  model_replied: {
    step: number;
    model: string;
    message: AssistantMessage;
    finish: FinishReason;
    usage: Usage | null;
    cost?: Cost;
    /** `first_token_ms` of the turn; only in the first reply that has a text or a call. */
    first_token_ms?: number | undefined;
    /** From the request to its first text or call, in ms. */
    token_ms?: number | undefined;
    /** Duration of the write of `model_called`, in ms. */
    journal_ms?: number | undefined;
    /** Text that came after the arguments of calls, by call id. */
    trailing?: Readonly<Record<string, string>>;
  };
  tool_started: CallBody & { args?: EventBody };
  tool_finished: CallBody & { ok: boolean; content: string };
  approval_requested: {
    /** Id for the answer. */
    call_id: string;
    name: string;
    kind: ApprovalRequest['kind'];
    args?: EventBody | undefined;
    step: number;
    index: number;
  };
  approval_answered: {
    call_id: string;
    approve: boolean;
    note?: string | undefined;
    /** Id of the principal that answered. */
    principal: string;
  };
  turn_completed: OutcomeBody & {
    model: string;
    messages?: readonly ModelMessage[];
    finish?: TurnFinish;
    tool_calls?: readonly ToolCall[];
    ignored?: string;
  };
  turn_failed: OutcomeBody & { error: OutcomeFault };
  turn_cancelled: OutcomeBody & { error: OutcomeFault };
  conversation_ended: { state: StoredState };
}

interface CallBody {
  call_id: string;
  name: string;
  step?: number;
  /** Place of the call in the reply of its step, from 0. */
  index?: number;
}

interface OutcomeBody {
  text: string;
  /** Characters of `text` that belong to whole replies; the rest was cut short. */
  whole_chars: number;
  usage: Usage;
  cost?: Cost;
  model?: string | null;
  first_token_ms?: number | null;
  duration_ms?: number | null;
  /** From the acceptance of the turn to its start, in ms; absent if another process started it. */
  waited_ms?: number;
  /** Time during which at least one of the earlier entries was not durable yet, in ms. */
  journal_ms?: number;
  in_history: boolean;
  /** For a turn that brought results of calls: the question and the calls that they answer. */
  lead?: readonly ModelMessage[];
  /** State of the runner for the next turn. */
  state?: unknown;
}

/** An entry to append. `at` is in ms since the epoch; by default the time of the append. */
export type Entry = {
  [K in EventKind]: { kind: K; turnId?: string; at?: number; body: Bodies[K] };
}[EventKind];

export const bodyOf = <K extends EventKind>(event: JournalEvent, _kind: K): Bodies[K] =>
  event.body as unknown as Bodies[K];

export const optionsOfStart = (started: JournalEvent): ConversationOptions => {
  const body = bodyOf(started, 'conversation_started');
  return {
    systemPrompt: body.system_prompt,
    maxHistoryLength: body.max_history_length,
    turnPolicy: body.turn_policy,
    ...(body.on_budget ? { onBudget: body.on_budget } : {}),
    ...(body.payload ? { payload: body.payload } : {}),
    ...(body.model === undefined ? {} : { model: body.model }),
  };
};

export const partialOf = (end: Pick<OutcomeBody, 'text' | 'whole_chars'>): string =>
  end.text.slice(end.whole_chars);

export const acceptedOf = (events: readonly JournalEvent[]): Bodies['turn_accepted'] =>
  bodyOf(events[0]!, 'turn_accepted');

/** Reads the outcome of a turn from its last event. */
export function outcomeOf(last: JournalEvent): TurnOutcome | undefined {
  if (last.kind === 'turn_completed') {
    const body = bodyOf(last, 'turn_completed');
    return { state: 'completed', text: body.text, ...completedFiguresOf(body) };
  }
  if (last.kind !== 'turn_failed' && last.kind !== 'turn_cancelled') return undefined;
  const body = bodyOf(last, 'turn_failed');
  const state = last.kind === 'turn_failed' ? 'failed' : 'cancelled';
  return { state, error: body.error, text: body.text, ...figuresOf(body) };
}

const figuresOf = ({ usage, cost, model, first_token_ms, duration_ms }: OutcomeBody): TurnFigures => ({
  usage,
  cost: cost ?? 'unknown',
  model: model ?? null,
  first_token_ms: first_token_ms ?? null,
  duration_ms: duration_ms ?? null,
});

const completedFiguresOf = (body: Bodies['turn_completed']): CompletedFigures => ({
  ...figuresOf(body),
  model: body.model,
  finish: body.finish ?? 'stop',
  ...(body.tool_calls ? { tool_calls: body.tool_calls } : {}),
  ...(body.ignored === undefined ? {} : { ignored: body.ignored }),
});

/** Converts the outcome of a turn to its last event. */
export function lastEvent(outcome: TurnOutcome, seq: number, turnId: string): ConversationEvent {
  if (outcome.state === 'completed') {
    const { state: _, ...done } = outcome;
    return { type: 'done', seq, turn_id: turnId, ...done };
  }
  const { state: _, error, ...figures } = outcome;
  const { code, message, retryable } = errorOfFault(error);
  return { type: 'error', seq, turn_id: turnId, code, message, retryable, ...figures };
}

/** Converts an event for followers of the turn; `undefined` for internal ones. */
export function turnEvent(event: JournalEvent): ConversationEvent | undefined {
  const { cursor: seq, turnId: turn_id = '' } = event;
  switch (event.kind) {
    case 'text':
      return { type: 'text', seq, turn_id, text: bodyOf(event, 'text').text };
    case 'turn_resumed':
      return { type: 'restart', seq, turn_id, keep: bodyOf(event, 'turn_resumed').keep };
    case 'tool_started': {
      const { call_id: id, name, args } = bodyOf(event, 'tool_started');
      return { type: 'tool_call', seq, turn_id, id, name, ...(args ? { args } : {}) };
    }
    case 'tool_finished': {
      const { call_id: id, name, ok } = bodyOf(event, 'tool_finished');
      return { type: 'tool_result', seq, turn_id, id, name, ok };
    }
    case 'approval_requested': {
      const { call_id: id, kind, name, args } = bodyOf(event, 'approval_requested');
      return { type: 'approval', seq, turn_id, id, kind, name, ...(args ? { args } : {}) };
    }
    case 'approval_answered': {
      const { call_id: id, approve, note } = bodyOf(event, 'approval_answered');
      return { type: 'approval_answer', seq, turn_id, id, approve, ...(note === undefined ? {} : { note }) };
    }
    default: {
      const outcome = outcomeOf(event);
      return outcome && lastEvent(outcome, seq, turn_id);
    }
  }
}

/** The runner's `state` after the last turn of the history, or the one that the conversation started with. */
export function runnerStateOf(started: JournalEvent, history: readonly (readonly JournalEvent[])[]): unknown {
  const last = history.at(-1)?.at(-1);
  return last ? bodyOf(last, 'turn_completed').state : bodyOf(started, 'conversation_started').state;
}
