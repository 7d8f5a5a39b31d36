// Builds the start of a fork: the settings of its origin, with the history and the runner's state that the origin had after one of
// its turns. It reads the start and the window of the origin, so its work does not grow with the origin.
import { FabricError } from '@fame-fabric/shared';
import type { ConversationStore, TurnRecord } from '../../store/store.ts';
import { type Bodies, bodyOf, runnerStateOf } from '../journal/journal.ts';
import { historyOf } from '../loaded-conversation.ts';
import { unknownConversation, unknownTurn } from '../loaded-conversations.ts';

/** @throws {TURN_UNKNOWN} @throws {PARAMS_INVALID} while the turn is open @throws {CONVERSATION_UNKNOWN} */
export async function startOfFork(
  store: ConversationStore,
  { id: conversationId, publicId, turn }: { id: string; publicId: string; turn: TurnRecord | undefined },
): Promise<Bodies['conversation_started']> {
  if (!turn) throw unknownTurn();
  if (turn.state === 'open') {
    throw new FabricError('PARAMS_INVALID', 'at: The turn has not ended. Wait for its end, or cancel it.');
  }
  const [started] = await store.read(conversationId, { limit: 1 });
  if (!started) throw unknownConversation();
  const turns = await store.history(conversationId, { until: turn.endedSeq });
  // A conversation that was removed in between has no history.
  if (!(await store.peek(conversationId))) throw unknownConversation();
  const state = runnerStateOf(started, turns);
  const { messages: _messages, state: _state, ...settings } = bodyOf(started, 'conversation_started');
  return {
    ...settings,
    messages: historyOf(started, turns).messages,
    ...(state === undefined ? {} : { state }),
    forked_from: { conversation_id: publicId, turn_id: turn.turnId },
  };
}
