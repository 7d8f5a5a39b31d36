// Reads responses and items from the journal of a conversation, in the same way at every door.
import type { ConversationEvent, Conversations, TurnReport } from '@fame-fabric/client';
import { FabricError, isFabricError } from '@fame-fabric/shared';
import type { Visitor } from '../../fabric/door-fabric.ts';
import { echoOf, hasStepsOf } from './echo.ts';
import type { ResponseHead } from './resource.ts';
import { ResponseBuilder } from './response-builder.ts';
import { type ResponseRef, responseId, responseNotFound } from './response-ids.ts';
import { type BuildEvent, eventsOfTurn, isEnd, type SettledEvents, settled } from './turn-events.ts';

type AcceptedEvent = Extract<ConversationEvent, { type: 'turn' }>;

/** The current state of a turn in the journal. */
export interface RecordedTurn {
  readonly report: TurnReport;
  readonly accepted: AcceptedEvent;
  readonly settled: SettledEvents;
  /** Cursor after which further events of the turn come. */
  readonly next: number;
  readonly hasEnded: boolean;
}

const PAGE = 500;

/** Reads a turn. @throws {TURN_UNKNOWN} also for one of another principal @throws {OPERATION_UNSUPPORTED} */
export async function readTurn(visitor: Visitor, ref: ResponseRef): Promise<RecordedTurn> {
  const { agent, conversation, turn } = ref;
  const conversations = visitor.client.conversations(agent);
  try {
    const report = await conversations.turn(conversation, turn);
    const events = await eventsFrom(conversations, conversation, report);
    const own = eventsOfTurn(events, turn);
    const accepted = events.find((event) => event.type === 'turn' && event.turn_id === turn);
    return {
      report,
      accepted: accepted as AcceptedEvent,
      settled: settled(own),
      next: events.at(-1)?.seq ?? 0,
      hasEnded: own.some(isEnd),
    };
  } catch (error) {
    throw isUnknown(error) ? responseNotFound(responseId(ref)) : error;
  }
}

const UNKNOWN: readonly string[] = ['CONVERSATION_UNKNOWN', 'TURN_UNKNOWN', 'NO_ROUTE', 'AUTH_FORBIDDEN'];

/** True for the errors of an agent, a conversation or a turn that does not exist for the caller. */
export const isUnknown = (error: unknown): boolean => isFabricError(error) && UNKNOWN.includes(error.code);

async function eventsFrom(
  conversations: Conversations,
  conversation: string,
  { accepted_seq: first, turn_id: turn }: TurnReport,
): Promise<ConversationEvent[]> {
  if (typeof first !== 'number') {
    throw new FabricError(
      'OPERATION_UNSUPPORTED',
      `The agent ${conversations.address} does not show its responses: its reports have no cursors. Update the agent.`,
    );
  }
  const events: ConversationEvent[] = [];
  for await (const event of recorded(conversations, conversation, first - 1)) {
    events.push(event);
    if ('turn_id' in event && event.turn_id === turn && isEnd(event)) break;
  }
  return events;
}

/** Yields the events that the journal has now. */
export async function* recorded(
  conversations: Conversations,
  conversation: string,
  after = 0,
): AsyncGenerator<ConversationEvent, void> {
  for (let cursor = after; ; ) {
    const { events, next } = await conversations.readEvents(conversation, { after: cursor, limit: PAGE });
    yield* events;
    if (events.length === 0 || next <= cursor) return;
    cursor = next;
  }
}

export const headOf = (ref: ResponseRef, { report, accepted }: RecordedTurn): ResponseHead => ({
  id: responseId(ref),
  model: ref.agent,
  createdAt: seconds(report.accepted_at),
  echo: echoOf(accepted.options, ref),
  hasSteps: hasStepsOf(accepted.options),
});

/** Time of the end of a turn, or of now while it runs. In seconds since the epoch. */
export const endOfTurn = ({ report }: RecordedTurn, now: () => number): number =>
  report.ended_at === null ? now() : seconds(report.ended_at);

const seconds = (isoTime: string): number => Math.floor(Date.parse(isoTime) / 1_000);

/** Builds a response from the journal. @throws the errors of `readTurn` */
export async function storedResponse(
  visitor: Visitor,
  ref: ResponseRef,
  now: () => number,
): Promise<ResponseBuilder> {
  const turn = await readTurn(visitor, ref);
  return builderOf(ref, turn, turn.settled.events, now);
}

function builderOf(
  ref: ResponseRef,
  turn: RecordedTurn,
  events: readonly BuildEvent[],
  now: () => number,
): ResponseBuilder {
  const builder = new ResponseBuilder(headOf(ref, turn), ref, { now: () => endOfTurn(turn, now) });
  for (const event of events) builder.add(event);
  return builder;
}
