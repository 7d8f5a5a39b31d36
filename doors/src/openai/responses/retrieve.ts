// GET /v1/responses/{id}: the response from the journal, or its events after a sequence number, past and future.

import type { DoorDeps } from '../../door.ts';
import type { Visitor } from '../../fabric/door-fabric.ts';
import type { FastifyReply } from '../../fastify.ts';
import { invalid } from '../openai-error.ts';
import { isWithdrawal, RESTARTED, secondsOf } from './create.ts';
import { EventWriter } from './event-writer.ts';
import { endOfTurn, headOf, readTurn } from './journal-reader.ts';
import { cursorOf, ResponseBuilder } from './response-builder.ts';
import type { ResponseRef } from './response-ids.ts';
import { type BuildEvent, errorEvent, eventsOfTurn, hasWithdrawnText, isEnd } from './turn-events.ts';

/** Reads `starting_after`. @throws {PARAMS_INVALID} */
export function startingAfter(value: unknown): number | undefined {
  if (value === undefined || value === '') return undefined;
  const number = Number(value);
  if (Number.isSafeInteger(number) && number >= 0) return number;
  throw invalid('starting_after', 'must be the sequence number of an event.');
}

/** Streams the events of a response that follow `after`. @throws the errors of `readTurn` before the stream begins */
export async function streamStored(
  deps: DoorDeps,
  {
    visitor,
    ref,
    after,
    reply,
  }: { visitor: Visitor; ref: ResponseRef; after: number | undefined; reply: FastifyReply },
): Promise<FastifyReply> {
  const turn = await readTurn(visitor, ref);
  const writer = new EventWriter(reply, deps);
  const builder = new ResponseBuilder(headOf(ref, turn), ref, {
    after,
    now: () => endOfTurn(turn, () => secondsOf(deps)),
  });
  if (after !== undefined && hasWithdrawnText(turn.settled, cursorOf(after))) {
    await writer.endWith(builder.streamError(RESTARTED));
    return reply;
  }
  try {
    await writer.send(builder.begin());
    for (const event of turn.settled.events) await writer.send(builder.add(event));
    if (turn.hasEnded) writer.done();
    else await follow(visitor, ref, turn.next, builder, writer);
  } catch (error) {
    await writer.endWith(builder.streamError(errorEvent(error)));
  }
  return reply;
}

async function follow(
  visitor: Visitor,
  { agent, conversation, turn }: ResponseRef,
  after: number,
  builder: ResponseBuilder,
  writer: EventWriter,
): Promise<void> {
  const conversations = visitor.client.conversations(agent);
  try {
    for await (const event of conversations.follow(conversation, { after, signal: writer.signal })) {
      const [own] = eventsOfTurn([event], turn);
      if (!own) continue;
      if (isWithdrawal(own, builder)) {
        await writer.endWith(builder.streamError(RESTARTED));
        return;
      }
      await writer.send(builder.add(own as BuildEvent));
      if (isEnd(own)) break;
    }
  } catch (error) {
    if (writer.signal.aborted) return; // the reader has left
    throw error;
  }
  writer.done();
}
