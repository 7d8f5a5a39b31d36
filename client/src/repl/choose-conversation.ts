// Which earlier conversation `fame chat --resume` goes on with: the one that was named, the one that a person picks from the
// list, or the latest where nobody can be asked.
import { FabricError } from '@fame-fabric/shared';
import { inert } from '../inert-text.ts';
import type { LeftConversation } from './left-conversations.ts';

export interface Choice {
  /** The latest first. */
  all: readonly LeftConversation[];
  /** The id that was given. */
  id: string | undefined;
  /** The address that was given. */
  address: string | undefined;
  /** Used for an id that is not in the list. */
  defaultAddress: string;
  now: number;
  note(text: string): void;
  /** Asks the person; absent where nobody can be asked. */
  ask?(question: string): Promise<string>;
}

/** @throws {CONVERSATION_UNKNOWN} when nothing was left, or the answer is not in the list */
export async function chooseConversation(
  choice: Choice,
): Promise<Pick<LeftConversation, 'id' | 'address' | 'open'>> {
  const { id, address, defaultAddress, now, note, ask } = choice;
  const all = choice.all.filter((one) => address === undefined || one.address === address);
  // One that this machine does not know of may still be known to the agent.
  if (id !== undefined) return all.find((one) => one.id === id) ?? { id, address: address ?? defaultAddress };
  const latest = all[0];
  if (!latest) {
    throw new FabricError('CONVERSATION_UNKNOWN', 'No conversation was left here');
  }
  if (!ask) return latest;
  for (const [index, one] of all.entries()) {
    const waits = one.open ? ', an answer is waiting' : '';
    note(
      `${String(index + 1).padStart(3)}  ${inert(one.title)} (${ago(now - one.changedAt)}${waits}) ${one.id}\n`,
    );
  }
  const answer = (await ask(`Which one? (Enter: 1) `)).trim();
  const chosen = answer === '' ? latest : (all[Number(answer) - 1] ?? all.find((one) => one.id === answer));
  if (!chosen) throw new FabricError('CONVERSATION_UNKNOWN', `"${inert(answer)}" is not in the list`);
  return chosen;
}

function ago(ms: number): string {
  const minutes = Math.round(ms / 60_000);
  if (minutes < 1) return 'just now';
  if (minutes < 60) return `${minutes} min ago`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h ago` : `${Math.round(hours / 24)} days ago`;
}
