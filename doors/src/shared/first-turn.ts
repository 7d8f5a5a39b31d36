// The first turn of a conversation. An agent checks a turn before it looks for the conversation, so the turn is sent before the
// conversation is started: a turn that the agent refuses leaves no empty conversation.
import type { TurnEvent } from '@fame-fabric/client';
import { isFabricError } from '@fame-fabric/shared';
import type { AgentCard } from '../fabric/agent-card.ts';

/** True if the agent refuses a turn in an unknown conversation with CONVERSATION_UNKNOWN. Agents of other implementations may not. */
export const refusesUnknown = ({ raw }: Pick<AgentCard, 'raw'>): boolean => Array.isArray(raw.options);

/**
 * Yields the events of a turn whose conversation may not exist. In that case it starts the conversation and sends the turn again.
 * @param turn Sends the turn, and yields its events.
 * @throws the errors of the agent
 */
export async function* firstTurn(
  turn: () => AsyncIterable<TurnEvent>,
  start: () => Promise<unknown>,
): AsyncGenerator<TurnEvent, void, undefined> {
  try {
    yield* turn();
    return;
  } catch (error) {
    if (!isFabricError(error, 'CONVERSATION_UNKNOWN')) throw error;
  }
  try {
    await start();
  } catch (error) {
    // Another request has started it in the meantime, or it has ended.
    if (!isFabricError(error, 'CONVERSATION_EXISTS')) throw error;
  }
  yield* turn();
}
