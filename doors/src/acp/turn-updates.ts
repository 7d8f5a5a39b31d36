// Converts the events of one turn to updates of a session. The protocol cannot withdraw text, so a restarted answer becomes a new message
// with the whole valid text.
import type { ConversationEvent, TurnEvent } from '@fame-fabric/client';
import { cutText } from '@fame-fabric/shared/internal';
import type { SessionUpdate } from './sdk.ts';

/** The first text of a message that replaces one. */
export const RESTART_NOTE =
  '\n\n---\n\n*The agent started this answer again. It is repeated here; the text above does not count.*\n\n';

const MAX_TITLE_CHARS = 256;

export const agentText = (text: string, messageId: string): SessionUpdate => ({
  sessionUpdate: 'agent_message_chunk',
  messageId,
  content: { type: 'text', text },
});

export class TurnUpdates {
  readonly #turnId: string;
  /** The valid text so far. */
  #text = '';
  #message = 1;
  /** Ids of the calls that have been shown. */
  readonly #calls = new Set<string>();

  constructor(turnId: string) {
    this.#turnId = turnId;
  }

  /** Returns the updates for an event. Events that the end of the turn reports have no updates. */
  of(event: TurnEvent | ConversationEvent): SessionUpdate[] {
    switch (event.type) {
      case 'text':
        this.#text += event.text;
        return event.text === '' ? [] : [this.#answer(event.text)];
      case 'restart': {
        if (event.keep >= this.#text.length) return [];
        this.#text = this.#text.slice(0, event.keep);
        this.#message += 1;
        return [this.#answer(RESTART_NOTE + this.#text)];
      }
      case 'reasoning':
        return event.text === '' ? [] : [this.#thought(event.text)];
      case 'waiting': {
        const seconds = Math.ceil(event.retry_in_ms / 1_000);
        const reason = event.message === undefined ? '' : `: ${event.message}`;
        return [
          this.#thought(
            `The model server did not answer (${event.reason}${reason}). Attempt ${event.attempt} of ${event.attempts} in ${seconds} s.\n`,
          ),
        ];
      }
      case 'approval':
        if (event.kind === 'budget') return [];
        return [this.#call(event.id, event.name, event.args, 'pending')];
      case 'tool_call':
        if (event.id === undefined) return [];
        return [this.#call(event.id, event.name ?? 'tool', event.args, 'in_progress')];
      case 'tool_result': {
        if (event.id === undefined) return [];
        const status = event.ok === false ? 'failed' : 'completed';
        const before = this.#calls.has(event.id)
          ? []
          : [this.#call(event.id, event.name ?? 'tool', undefined, 'in_progress')];
        return [...before, { sessionUpdate: 'tool_call_update', toolCallId: event.id, status }];
      }
      case 'done':
        return this.#rest(event.text);
      default:
        return [];
    }
  }

  /** Returns a note of the door as a separate message. */
  note(text: string): SessionUpdate {
    this.#message += 1;
    return this.#answer(text);
  }

  /** The part of the whole answer that has not been shown, for agents that do not stream. */
  #rest(whole: string): SessionUpdate[] {
    if (whole === this.#text || !whole.startsWith(this.#text)) return [];
    const text = whole.slice(this.#text.length);
    this.#text = whole;
    return [this.#answer(text)];
  }

  #answer(text: string): SessionUpdate {
    return agentText(text, `${this.#turnId}:${this.#message}`);
  }

  #thought(text: string): SessionUpdate {
    return { sessionUpdate: 'agent_thought_chunk', content: { type: 'text', text } };
  }

  #call(id: string, name: string, args: unknown, status: 'pending' | 'in_progress'): SessionUpdate {
    const rawInput = args === undefined ? {} : { rawInput: args };
    if (this.#calls.has(id))
      return { sessionUpdate: 'tool_call_update', toolCallId: id, status, ...rawInput };
    this.#calls.add(id);
    const title = cutText(name, MAX_TITLE_CHARS);
    return { sessionUpdate: 'tool_call', toolCallId: id, title, kind: 'other', status, ...rawInput };
  }
}
