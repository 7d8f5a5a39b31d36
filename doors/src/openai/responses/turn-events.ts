// The events of a turn for the response builder: live from the agent, or from its journal, where restarts have withdrawn text.
import type { ConversationEvent, DoneEvent, TurnEvent } from '@fame-fabric/client';
import { FabricError, isFabricError } from '@fame-fabric/shared';

/** An event with its cursor. Agents of other implementations send no cursors. */
export type BuildEvent = TurnEvent | ErrorEvent;

export interface ErrorEvent {
  type: 'error';
  code: string;
  message: string;
  /** The text of the turn before the error. */
  text?: string;
  seq?: number;
}

export const errorEvent = (error: unknown): ErrorEvent => {
  const { code, message } = isFabricError(error) ? error : new FabricError('INTERNAL', 'The door failed.');
  return { type: 'error', code, message };
};

/** Returns the events of one turn from those of a conversation, without the message of the user. */
export const eventsOfTurn = (events: readonly ConversationEvent[], turn: string): BuildEvent[] =>
  events.filter(
    (event) => 'turn_id' in event && event.turn_id === turn && event.type !== 'turn',
  ) as unknown as BuildEvent[];

export const isEnd = ({ type }: { type: string }): boolean => type === 'done' || type === 'error';

/** Cursors of text that a restart withdrew: those above `from`, up to `until`. */
interface Withdrawn {
  readonly from: number;
  readonly until: number;
}

export interface SettledEvents {
  /** The events without restarts, and without the text and the calls that were repeated after them. */
  readonly events: BuildEvent[];
  /** Length of their text. */
  readonly chars: number;
  readonly withdrawn: readonly Withdrawn[];
}

/** Applies the restarts of a turn to the events before them. */
export function settled(given: readonly BuildEvent[]): SettledEvents {
  const events: BuildEvent[] = [];
  const withdrawn: Withdrawn[] = [];
  const calls = new Set<string>();
  let chars = 0;
  for (const event of given) {
    if (event.type === 'restart') {
      const cut = chars - event.keep;
      // Text that was never in the journal is withdrawn too: it has the cursors after the last event.
      const from = cut > 0 ? withdraw(events, cut) : (events.at(-1)?.seq ?? 0);
      withdrawn.push({ from, until: event.seq ?? 0 });
      chars = Math.min(chars, event.keep);
      continue;
    }
    if (event.type === 'tool_call') {
      const { id = '' } = event;
      if (calls.has(id)) continue;
      calls.add(id);
    }
    if (event.type === 'text') chars += event.text.length;
    events.push(event);
  }
  return { events, chars, withdrawn };
}

/** Removes the last `count` characters of the text. Returns the cursor of the last one that stays, or one before the text. */
function withdraw(events: BuildEvent[], count: number): number {
  let left = count;
  let cursor = 0;
  for (let i = events.length - 1; i >= 0 && left > 0; i--) {
    const event = events[i]!;
    if (event.type !== 'text') continue;
    const { text, seq = 0 } = event;
    const cut = Math.min(left, text.length);
    left -= cut;
    cursor = seq - cut;
    if (cut === text.length) events.splice(i, 1);
    else events[i] = { ...event, text: text.slice(0, -cut), seq: cursor };
  }
  return cursor;
}

/** True if a reader at a cursor has text that was withdrawn later. */
export const hasWithdrawnText = ({ withdrawn }: SettledEvents, cursor: number): boolean =>
  withdrawn.some(({ from, until }) => cursor > from && cursor < until);

/** The text of `done` that no event had: agents without streams send the whole text at the end. */
export const restOf = ({ text }: DoneEvent, shown: string): string =>
  text.startsWith(shown) ? text.slice(shown.length) : '';
