// The events of a conversation for its readers: the events that followers of its turns receive, the start of the conversation, the
// messages of the user, and the end. Each fits one envelope.
import type { ModelMessage } from '../../model/model.ts';
import type { JournalEvent, StoredState } from '../../store/store.ts';
import { newestThatFit } from '../../turn/newest-that-fit.ts';
import type { ToolResult, TurnOptions } from '../../turn/turn-options.ts';
import { CONVERSATION_LIMITS, type ConversationEvent } from '../conversation.ts';
import { bodyOf, turnEvent } from '../journal/journal.ts';

/** An event of `read_events`. `seq` is its cursor, `at` is ISO 8601. */
export type RecordedEvent = { at: string } & (ConversationEvent | StartedEvent | TurnEvent | EndedEvent);

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
  user_message: string;
  tool_results?: readonly ToolResult[];
  options?: TurnOptions;
}
interface EndedEvent {
  type: 'ended';
  seq: number;
  state: StoredState;
}

/** Maximum bytes of the start messages and of a whole event, which must fit one envelope. */
const MAX_MESSAGES_BYTES = 131_072;
const MAX_EVENT_BYTES = 229_376;

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

function unboundedEvent(
  event: JournalEvent,
): ConversationEvent | StartedEvent | TurnEvent | EndedEvent | undefined {
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
      const { user_message, tool_results, options } = bodyOf(event, 'turn_accepted');
      return {
        type: 'turn',
        seq,
        turn_id,
        user_message,
        ...(tool_results ? { tool_results } : {}),
        ...(options ? { options } : {}),
      };
    }
    case 'conversation_ended':
      return { type: 'ended', seq, state: bodyOf(event, 'conversation_ended').state };
    default:
      return turnEvent(event);
  }
}

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
