// The text that a client has after the events of a turn.
import type { ConversationEvent } from '@fame-fabric/agents/internal';
import type { TurnEvent } from '@fame-fabric/client';

/** The text of a turn, put together from its events as a client does. */
export const textOf = (events: readonly (TurnEvent | ConversationEvent)[]): string =>
  events.reduce((text, event) => {
    if (event.type === 'text') return text + event.text;
    return event.type === 'restart' ? text.slice(0, event.keep) : text;
  }, '');
