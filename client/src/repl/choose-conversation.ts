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
  for (const [index, one] of list.entries()) {
    const state = one.open ? ', answer pending' : '';
    const text = `${one.title} (${ago(now - one.changedAt)}${state}) ${one.id}`;
    writeNote(`${String(index + 1).padStart(3)}  ${escapeLine(text)}\n`);
  }
  for (;;) {
    const reply = (await prompt('Which one? (Enter: 1) ')).trim();
    const chosen = reply === '' ? latest : (list[Number(reply) - 1] ?? list.find((one) => one.id === reply));
    if (chosen) return chosen;
    writeNote(`${escapeLine(`"${reply}" is not in the list: 1 to ${list.length}, or an id.`)}\n`);
  }
}

function ago(ms: number): string {
  const minutes = Math.round(ms / 60_000);
  if (minutes < 1) return 'just now';
  if (minutes < 60) return `${minutes} min ago`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h ago` : `${Math.round(hours / 24)} days ago`;
}
