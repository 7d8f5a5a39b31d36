// The first message of a conversation that this page opens next: an edited message, or another answer to the same one.
import { newId } from '@fame-fabric/shared';
import { client } from '../../fabric/connection.ts';
import type { ConversationFeed, FeedView } from '../../fabric/conversation/feed.ts';
import type { Turn } from '../../fabric/conversation/turns.ts';

interface FirstMessage {
  readonly text: string;
  /** System prompt of a conversation that the message starts. */
  readonly systemPrompt?: string | undefined;
}

const waiting = new Map<string, FirstMessage>();

/** Returns the message for a conversation that was just opened, once. */
export function takeFirstMessage(id: string): FirstMessage | undefined {
  const message = waiting.get(id);
  waiting.delete(id);
  return message;
}

/**
 * Prepares a conversation with the turns before `turn`, and `text` in place of its message. Returns its id. A fork keeps the turns; before
 * the first turn of a conversation that is no fork itself, a new one starts.
 */
export async function continueElsewhere(
  feed: ConversationFeed,
  { turns, start }: FeedView,
  turn: Turn,
  text: string,
): Promise<string> {
  const before = turns[turns.findIndex(({ id }) => id === turn.id) - 1];
  if (before) {
    const id = await feed.fork(before.id);
    waiting.set(id, { text });
    return id;
  }
  const origin = start?.forkedFrom;
  if (origin && client.value) {
    const conversations = client.value.conversations(feed.address);
    const { id } = await conversations.fork(origin.conversation_id, { at: origin.turn_id });
    waiting.set(id, { text });
    return id;
  }
  const id = newId();
  waiting.set(id, { text, systemPrompt: start?.systemPrompt });
  return id;
}
