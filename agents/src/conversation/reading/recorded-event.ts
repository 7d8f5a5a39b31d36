// The events of a conversation for its readers: the events that followers of its turns receive, the start of the conversation, the
// messages of the user, and the end. Each fits one envelope.
import type { Cost } from '../../model/cost.ts';
import type { FinishReason, ModelMessage, Usage } from '../../model/model.ts';
import type { JournalEvent, StoredState } from '../../store/store.ts';
import { newestThatFit } from '../../turn/newest-that-fit.ts';
import type { ToolResult, TurnOptions } from '../../turn/turn-options.ts';
import { CONVERSATION_LIMITS, type ConversationEvent } from '../conversation.ts';
import { bodyOf, turnEvent } from '../journal/journal.ts';

/** An event of `read_events`. `seq` is its cursor, `at` is ISO 8601. */
export type RecordedEvent = { at: string } & ReaderEvent;

type ReaderEvent =
  | (ConversationEvent & EventDetails)
  | StartedEvent
  | TurnEvent
  | ModelCallEvent
  | ModelReplyEvent
  | EndedEvent;

/** Fields of the events of turns that only `read_events` has. Journals of earlier versions lack the times. */
interface EventDetails {
  /** Of `tool_result`: the result that the model receives, cut after 4,096 characters. */
  content?: string;
  /** Of `tool_result`: number of characters that were cut. */
  left_out?: number;
  /** Of `restart`: number of resumes without progress, from 1; 0 if the turn differed from its record. */
  attempt?: number;
  /** Of `done` and `error`: from the acceptance of the turn to its start, in ms. */
  waited_ms?: number;
  /** Of `done` and `error`: time that the journal took for the entries of the turn, in ms. */
  journal_ms?: number;
}

interface StartedEvent {
  type: 'started';
  seq: number;
  system_prompt: string;
  max_history_length: number;
  turn_policy: string;
  payload?: Readonly<Record<string, unknown>>;
  /** Messages that the history began with; the oldest are left out if they are too long. */
  messages?: readonly ModelMessage[];
  left_out?: number;
  forked_from?: { conversation_id: string; turn_id: string };
}
interface TurnEvent {
  type: 'turn';
  seq: number;
  turn_id: string;
  /** Id of the call that started the turn, by which a trace of the sentinel shows its messages. */
  corr_id: string;
  user_message: string;
  tool_results?: readonly ToolResult[];
  options?: TurnOptions;
}
/** A model was called. */
interface ModelCallEvent {
  type: 'model_call';
  seq: number;
  turn_id: string;
  /** From 1. A call that failed is repeated with the same number. */
  step: number;
  model: string;
  /** Member of a team that called; absent for a chat agent. */
  agent?: string;
  /** Number of messages in the request. */
  messages: number;
  /** From the acceptance of the turn to its start, in ms; in the first call only. */
  waited_ms?: number;
}
/** A model replied. `read_events` has the text of the reply in events before this one. */
interface ModelReplyEvent {
  type: 'model_reply';
  seq: number;
  turn_id: string;
  step: number;
  model: string;
  finish: FinishReason;
  usage: Usage | null;
  cost: Cost;
  /** From the request to its first text or call, in ms. */
  first_token_ms?: number;
  /** Duration of the write before the request, in ms. */
  journal_ms?: number;
}
interface EndedEvent {
  type: 'ended';
  seq: number;
  state: StoredState;
}

/** Maximum bytes of the start messages and of a whole event, which must fit one envelope. */
const MAX_MESSAGES_BYTES = 131_072;
const MAX_EVENT_BYTES = 229_376;
/** Maximum characters of a tool's result in its event. */
const MAX_RESULT_CHARS = 4_096;

/** Converts an event of the journal; `undefined` for internal ones. */
export function recordedEvent(event: JournalEvent): RecordedEvent | undefined {
  const shown = unboundedEvent(event);
  return shown && bounded({ ...shown, at: isoTime(event.at) } as RecordedEvent);
}

/** The end of a conversation that a turn ended, which has no row of its own. */
export const endedEvent = (seq: number, at: number, state: StoredState): RecordedEvent => ({
  type: 'ended',
  seq,
  state,
  at: isoTime(at),
});

export const isoTime = (at: number): string => new Date(at).toISOString();

function unboundedEvent(event: JournalEvent): ReaderEvent | undefined {
  const { cursor: seq, turnId: turn_id = '' } = event;
  switch (event.kind) {
    case 'conversation_started': {
      const { state: _, messages = [], ...start } = bodyOf(event, 'conversation_started');
      const shown = newestThatFit(messages, MAX_MESSAGES_BYTES);
      const leftOut = messages.length - shown.length;
      return {
        type: 'started',
        seq,
        ...start,
        ...(messages.length > 0 ? { messages: shown } : {}),
        ...(leftOut > 0 ? { left_out: leftOut } : {}),
      };
    }
    case 'turn_accepted': {
      const { corr_id, user_message, tool_results, options } = bodyOf(event, 'turn_accepted');
      return {
        type: 'turn',
        seq,
        turn_id,
        corr_id,
        user_message,
        ...(tool_results ? { tool_results } : {}),
        ...(options ? { options } : {}),
      };
    }
    case 'model_called': {
      const { step, model, scope: agent, messages, waited_ms } = bodyOf(event, 'model_called');
      return { type: 'model_call', seq, turn_id, step, model, ...given({ agent, waited_ms }), messages };
    }
    case 'model_replied': {
      const { step, model, finish, usage, cost = 'unknown', ...times } = bodyOf(event, 'model_replied');
      const { token_ms: first_token_ms, journal_ms } = times;
      const figures = { step, model, finish, usage, cost, ...given({ first_token_ms, journal_ms }) };
      return { type: 'model_reply', seq, turn_id, ...figures };
    }
    case 'tool_finished': {
      const { content } = bodyOf(event, 'tool_finished');
      const left_out = Math.max(0, content.length - MAX_RESULT_CHARS);
      return {
        ...turnEvent(event)!,
        content: content.slice(0, MAX_RESULT_CHARS),
        ...(left_out > 0 ? { left_out } : {}),
      };
    }
    case 'turn_resumed': {
      const { attempt } = bodyOf(event, 'turn_resumed');
      return { ...turnEvent(event)!, attempt };
    }
    case 'turn_completed':
    case 'turn_failed':
    case 'turn_cancelled': {
      const { waited_ms, journal_ms } = bodyOf(event, event.kind);
      return { ...turnEvent(event)!, ...given({ waited_ms, journal_ms }) };
    }
    case 'conversation_ended':
      return { type: 'ended', seq, state: bodyOf(event, 'conversation_ended').state };
    default:
      return turnEvent(event);
  }
}

/** Returns the fields that have a value. Journals of earlier versions lack some. */
const given = <T extends Record<string, unknown>>(fields: T): Given<T> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Given<T>;

type Given<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Cuts the texts of an event that does not fit one envelope, and marks it. Only texts full of escapes are that long. */
function bounded(event: RecordedEvent): RecordedEvent {
  // An escape takes six bytes.
  if (roughChars(event) * 6 <= MAX_EVENT_BYTES) return event;
  if (Buffer.byteLength(JSON.stringify(event)) <= MAX_EVENT_BYTES) return event;
  const short = Object.entries(event).map(([key, value]) => {
    if (typeof value === 'string') return [key, value.slice(0, CONVERSATION_LIMITS.maxTextEventChars)];
    const isLong = JSON.stringify(value).length > CONVERSATION_LIMITS.maxTextEventChars;
    return [key, isLong ? undefined : value];
  });
  return { ...Object.fromEntries(short.filter(([, value]) => value !== undefined)), is_cut: true };
}

const roughChars = (event: RecordedEvent): number => {
  if (event.type === 'text') return event.text.length + 1_024;
  return JSON.stringify(event).length;
};
