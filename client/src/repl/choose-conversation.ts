// Chooses the conversation that `fame chat --resume` continues: by id, from a list on a terminal, or the latest one without a
// terminal.
import { FabricError } from '@fame-fabric/shared';
import { escapeLine } from '@fame-fabric/shared/internal';
import type { SavedConversation } from './saved-conversations.ts';

export interface ChooseOptions {
  /** Saved conversations, the latest first. */
  saved: readonly SavedConversation[];
  /** The id from the command line. */
  id: string | undefined;
  /** The address from the command line. */
  address: string | undefined;
  /** Address for an id that is not in the list. */
  defaultAddress: string;
  /** ms since the epoch. */
  now: number;
  writeNote(text: string): void;
  /** Asks the user a question; `undefined` without a terminal. */
  prompt?: ((question: string) => Promise<string>) | undefined;
}

/** Chooses a conversation. @throws {CONVERSATION_UNKNOWN} if none was saved */
export async function chooseConversation(
  options: ChooseOptions,
): Promise<Pick<SavedConversation, 'id' | 'address' | 'open'>> {
  const { id, address, defaultAddress, now, writeNote, prompt } = options;
  const list = options.saved.filter((one) => address === undefined || one.address === address);
  if (id !== undefined) {
    // The agent may have a conversation that this machine did not save.
    return list.find((one) => one.id === id) ?? { id, address: address ?? defaultAddress };
  }
  const latest = list[0];
  if (!latest) throw new FabricError('CONVERSATION_UNKNOWN', 'There is no conversation to resume');
  if (!prompt) return latest;
  writeNote(`${listText(list, now)}\n`);
  for (;;) {
    const reply = (await prompt('Which one? (Enter: 1) ')).trim();
    const chosen = reply === '' ? latest : pick(list, reply);
    if (chosen) return chosen;
    writeNote(`${notInList(list, reply)}\n`);
  }
}

/** Lists conversations with their numbers, titles, times and ids. `now` is in ms since the epoch. */
export const listText = (list: readonly SavedConversation[], now: number): string =>
  list
    .map(({ id, title, changedAt, open }, index) => {
      const text = `${title} (${ago(now - changedAt)}${open ? ', answer pending' : ''}) ${id}`;
      return `${String(index + 1).padStart(3)}  ${escapeLine(text)}`;
    })
    .join('\n');

/** Finds a conversation by its number in the list, from 1, or by its id. */
export const pick = (list: readonly SavedConversation[], reply: string): SavedConversation | undefined =>
  list[Number(reply) - 1] ?? list.find(({ id }) => id === reply);

export const notInList = (list: readonly SavedConversation[], reply: string): string =>
  escapeLine(`"${reply}" is not in the list: 1 to ${list.length}, or an id.`);

function ago(ms: number): string {
  const minutes = Math.round(ms / 60_000);
  if (minutes < 1) return 'just now';
  if (minutes < 60) return `${minutes} min ago`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h ago` : `${Math.round(hours / 24)} days ago`;
}
