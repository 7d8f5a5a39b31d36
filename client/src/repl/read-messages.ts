// The messages of a conversation for `/history` and `/save`, read from its events. `get_history` has only the
// messages that the model still sees: it lacks earlier turns, and turns that were stopped or failed.
import { isFabricError } from '@fame-fabric/shared';
import type { Conversations } from '../conversations.ts';
import type { ConversationEvent } from '../turn-event.ts';
import { finishText, type ShownMessage } from './texts.ts';

/** Events in one request. */
const PAGE = 500;
/** Messages in memory; the oldest are dropped. */
const MAX_MESSAGES = 10_000;

/** Reads the messages. Returns `undefined` if the agent cannot read its events, as those of version 0.1. */
export async function readMessages(
  conversations: Pick<Conversations, 'readEvents'>,
  id: string,
): Promise<ShownMessage[] | undefined> {
  const log = new MessageLog();
  let after = 0;
  try {
    for (;;) {
      const { events, next } = await conversations.readEvents(id, { after, limit: PAGE });
      for (const event of events) log.add(event);
      if (events.length === 0 || next <= after) return log.finish();
      after = next;
    }
  } catch (error) {
    if (isFabricError(error, 'METHOD_NOT_FOUND')) return undefined;
    throw error;
  }
}

class MessageLog {
  readonly #messages: ShownMessage[] = [];
  /** Text of the turn that has not ended; `undefined` between turns. */
  #text: string | undefined;

  add(event: ConversationEvent): void {
    switch (event.type) {
      case 'started':
        for (const { role, content } of event.messages ?? []) {
          if ((role === 'user' || role === 'assistant') && content) this.#push({ role, text: content });
        }
        break;
      case 'turn':
        this.#endOpen();
        if (event.user_message !== '') this.#push({ role: 'user', text: event.user_message });
        this.#text = '';
        break;
      case 'text':
        this.#text = (this.#text ?? '') + event.text;
        break;
      case 'restart':
        this.#text = this.#text?.slice(0, event.keep);
        break;
      case 'done':
        this.#end(finishText(event), event.text);
        break;
      case 'error':
        this.#end(event.code === 'TURN_CANCELLED' ? '(stopped)' : `(failed: ${event.code})`, event.text);
    }
  }

  finish(): ShownMessage[] {
    this.#endOpen();
    return this.#messages;
  }

  /** Ends a turn that still runs. */
  #endOpen(): void {
    if (this.#text !== undefined) this.#end('(not finished)');
  }

  #end(note: string | undefined, whole = ''): void {
    // The last event cuts very long texts, so the pieces count.
    this.#push({ role: 'assistant', text: this.#text || whole, note });
    this.#text = undefined;
  }

  #push(message: ShownMessage): void {
    this.#messages.push(message);
    if (this.#messages.length > MAX_MESSAGES) this.#messages.shift();
  }
}
