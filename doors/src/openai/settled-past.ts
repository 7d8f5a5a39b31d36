// The recorded part of a turn that a repeated request has joined. The journal contains text that a restart took back, which a client of an
// append-only protocol must not receive: its stream would break with every repetition of the request.
import type { TurnEvent } from '@fame-fabric/client';
import { settled } from './responses/turn-events.ts';

/**
 * Yields the events up to the cursor `until` with their restarts applied, and later ones as they come. `until` is read with the first
 * event that names the turn.
 */
export async function* settledPast(
  events: AsyncIterable<TurnEvent>,
  until: (turnId: string) => Promise<number>,
): AsyncGenerator<TurnEvent, void> {
  let past: TurnEvent[] = [];
  let end: number | undefined;
  const release = (): TurnEvent[] => {
    const { events } = settled(past);
    past = [];
    return events as TurnEvent[];
  };
  for await (const event of events) {
    const { seq = Number.POSITIVE_INFINITY, turn_id: turnId } = event as { seq?: number; turn_id?: unknown };
    const isDone = event.type === 'done';
    if (end === undefined && !isDone && typeof turnId === 'string') end = await until(turnId);
    const isPast = !isDone && seq <= (end ?? 0);
    if (isPast) past.push(event);
    if (!isPast || seq === end) yield* release();
    if (!isPast) yield event;
  }
  yield* release();
}
