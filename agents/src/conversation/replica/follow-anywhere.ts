// A reader that follows a conversation at any replica. It reads the feed of the process that holds the conversation, and changes over when
// another process acquires it.

import { onAbort } from '@fame-fabric/shared/internal';
import type { OperationContext } from '../../agent/operation.ts';
import type { ConversationHost } from '../host.ts';
import type { RecordedEvent } from '../reading/recorded-event.ts';
import { HolderWatch } from './holder-watch.ts';
import { CallNotPassed, type PassDeps, passCall } from './pass.ts';
import { RepeatedCall } from './repeated-call.ts';

export interface FollowDeps extends PassDeps {
  readonly host: ConversationHost;
}

export interface FollowRequest {
  /** Id in the store. */
  readonly id: string;
  /** Cursor of the last event that the reader has. */
  readonly after: number;
  /** Parameters of the call. */
  readonly args: unknown;
  readonly context: OperationContext;
}

/** Yields the events after a cursor, past and future, until the conversation ends or the caller leaves. */
export async function* followAnywhere(
  deps: FollowDeps,
  { id, after, args, context }: FollowRequest,
): AsyncGenerator<RecordedEvent, void> {
  const { placement } = deps;
  const holder = placement.isHere(id) ? undefined : await placement.elsewhere(id);
  const repeated = new RepeatedCall(deps, { context, conversation: id, holder });
  let cursor = after;
  for (;;) {
    try {
      const params = { ...(args as object), after: cursor };
      const events =
        repeated.holder === undefined
          ? followHere(deps, id, cursor, context)
          : (passCall(deps, {
              holder: repeated.holder,
              conversation: id,
              method: 'read_events',
              params,
              context,
              callId: repeated.callId,
              startedAt: repeated.startedAt,
              isReader: true,
            }) as AsyncGenerator<RecordedEvent, void>);
      for await (const event of events) {
        repeated.received();
        cursor = event.seq;
        yield event;
      }
      return;
    } catch (error) {
      await repeated.next(error);
    }
  }
}

/** Follows in this process. @throws {CallNotPassed} when another replica holds the conversation */
async function* followHere(
  { host, placement, clock }: FollowDeps,
  id: string,
  after: number,
  { signal }: OperationContext,
): AsyncGenerator<RecordedEvent, void> {
  const leaving = new AbortController();
  const stopListening = onAbort(signal, () => leaving.abort(signal.reason));
  let lost: CallNotPassed | undefined;
  const onLost = (current: string | undefined): void => {
    lost = new CallNotPassed({ holder: current });
    leaving.abort(lost);
  };
  const watched = { conversation: id, holder: placement.own, isReader: true };
  const watch = new HolderWatch({ placement, clock, onLost }, watched);
  try {
    for await (const event of host.reads.follow(id, after, leaving.signal)) {
      watch.received();
      yield event;
    }
    if (lost) throw lost;
  } finally {
    watch.stop();
    stopListening();
  }
}
