// POST /v1/responses: runs a turn, and answers with the whole response, with its events, or at once in the background.
import { isUndecided, type TurnEvent } from '@fame-fabric/client';
import { isFabricError } from '@fame-fabric/shared';
import type { DoorDeps } from '../../door.ts';
import { visitorOf } from '../../fabric/visitor-of.ts';
import type { FastifyReply, FastifyRequest } from '../../fastify.ts';
import { GRACE_MS, readWithGrace } from '../../shared/grace.ts';
import { idHeader } from '../../shared/id-header.ts';
import { leftSignal } from '../../shared/left-signal.ts';
import { retryOf } from '../../shared/retry-key.ts';
import type { Continuations } from './continuations.ts';
import { readCreateRequest } from './create-request.ts';
import { EventWriter } from './event-writer.ts';
import { storedResponse } from './journal-reader.ts';
import type { ResponseResource } from './resource.ts';
import { ResponseBuilder } from './response-builder.ts';
import { RunningTurn } from './running-turn.ts';
import { type BuildEvent, errorEvent, settled } from './turn-events.ts';

export interface CreateDeps extends DoorDeps {
  readonly continuations: Continuations;
}

/** Time in which an agent refuses a turn, in ms. Later the stream begins, and an error is an event of it. */
const BEGIN_MS = 250;
/** Interval of the checks whether a turn was accepted, in ms. */
const ACCEPTED_MS = 20;

export async function createResponse(
  deps: CreateDeps,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<ResponseResource | FastifyReply> {
  const { continuations } = deps;
  const create = readCreateRequest(request.body);
  const visitor = await visitorOf(deps.fabric, request, reply);
  const { headers, body } = request;
  const retry = retryOf({ headers, principal: visitor.principal, path: '/v1/responses', body });
  const turn = await RunningTurn.start(visitor, create, { retry, now: secondsOf(deps), continuations });
  if (create.isBackground) await accepted(deps, turn);
  if (create.isStream) return streamed(deps, turn, reply);
  if (create.isBackground) {
    turn.leave();
    named(reply, turn);
    return (await storedResponse(visitor, turn.ref, () => secondsOf(deps))).response;
  }
  return whole(deps, turn, reply);
}

export const secondsOf = ({ clock }: Pick<DoorDeps, 'clock'>): number => Math.floor(clock.now() / 1_000);

/** Names the conversation and the turn in the headers, as every door does. */
function named(reply: FastifyReply, { ref }: RunningTurn): void {
  reply.header('x-conversation-id', idHeader(ref.conversation)).header('x-turn-id', idHeader(ref.turn));
}

async function whole(deps: DoorDeps, turn: RunningTurn, reply: FastifyReply): Promise<ResponseResource> {
  const events: BuildEvent[] = [];
  const onEvent = (event: TurnEvent): void => void events.push(event);
  try {
    await readWithGrace(turn.events(), { ...leaving(deps, turn), left: leftSignal(reply), onEvent });
  } catch (error) {
    // A cancelled response is a response. Other errors have a status of their own.
    if (!isFabricError(error, 'TURN_CANCELLED')) throw error;
    events.push(errorEvent(error));
  } finally {
    void turn.dispose();
  }
  named(reply, turn);
  const builder = new ResponseBuilder(turn.head, turn.ref, { now: () => secondsOf(deps) });
  for (const event of settled(events).events) builder.add(event);
  return builder.response;
}

/** A turn in the background continues. Another turn is cancelled after the grace period, unless another call follows it. */
const leaving = ({ clock }: DoorDeps, turn: RunningTurn) => ({
  cancel: (): void => turn.leave(),
  graceMs: turn.request.isBackground ? 0 : GRACE_MS,
  clock,
});

async function streamed(deps: DoorDeps, turn: RunningTurn, reply: FastifyReply): Promise<FastifyReply> {
  const first = turn.first();
  first.catch(() => {}); // read again below
  // The id of a repeated request is known with its first event.
  if (turn.isRepeated) await first;
  else await begun(deps, first);
  named(reply, turn);
  const writer = new EventWriter(reply, deps);
  const builder = new ResponseBuilder(turn.head, turn.ref, { now: () => secondsOf(deps) });
  const release = turn.visitor.hold();
  let isWithdrawn = false;
  const onEvent = async (event: TurnEvent): Promise<void> => {
    if (isWithdrawn) return; // the turn is read to its end, so that it does not end with this stream
    isWithdrawn = isWithdrawal(event, builder);
    if (isWithdrawn) await writer.endWith(builder.streamError(RESTARTED));
    else await writer.send(builder.add(event));
  };
  try {
    await writer.send(builder.begin());
    await readWithGrace(turn.events(), { ...leaving(deps, turn), left: writer.signal, onEvent });
    writer.done();
  } catch (error) {
    if (isUndecided(error)) await writer.endWith(builder.streamError(errorEvent(error)));
    else {
      await writer.send(builder.add(errorEvent(error)));
      writer.done();
    }
  } finally {
    release();
    void turn.dispose();
  }
  return reply;
}

/** True for a restart that withdraws text which the reader has received. Sent events cannot be withdrawn. */
export const isWithdrawal = (event: TurnEvent | BuildEvent, { chars }: ResponseBuilder): boolean =>
  event.type === 'restart' && event.keep < chars;

export const RESTARTED = Object.freeze({
  code: 'NODE_GONE',
  message:
    'The agent was restarted and writes the end of its answer again. Retrieve the response to get the whole answer.',
});

/** Waits until a turn has begun, or until the time limit for its refusal. @throws the refusal */
async function begun({ clock }: DoorDeps, first: Promise<void>): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = clock.after(BEGIN_MS, resolve);
  try {
    await Promise.race([first, late]);
  } finally {
    timer.stop();
  }
}

/** Waits until a turn is in the journal: from then on, it continues without this request. @throws the refusal of the turn */
async function accepted({ clock }: DoorDeps, turn: RunningTurn): Promise<void> {
  let isDecided = false;
  let refusal: unknown;
  const first = turn.first().then(
    () => {
      isDecided = true;
    },
    (error: unknown) => {
      isDecided = true;
      refusal = error;
    },
  );
  const conversations = turn.visitor.client.conversations(turn.ref.agent);
  for (;;) {
    try {
      await conversations.turn(turn.ref.conversation, turn.ref.turn);
      return;
    } catch (error) {
      // The turn starts its conversation.
      if (!isFabricError(error, 'TURN_UNKNOWN') && !isFabricError(error, 'CONVERSATION_UNKNOWN')) throw error;
      if (isDecided && refusal !== undefined) throw refusal;
      if (isDecided) return;
    }
    const { promise: later, resolve } = Promise.withResolvers<void>();
    const timer = clock.after(ACCEPTED_MS, resolve);
    await Promise.race([first, later]);
    timer.stop();
  }
}
