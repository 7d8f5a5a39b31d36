// The sending end of a passed call: sends it to the replica that holds the conversation, and yields the events of the answer. It ends with
// `CallNotPassed` if that replica is gone or no longer holds the conversation: the caller then looks for the conversation again.
import { type CallOptions, type Clock, isFabricError } from '@fame-fabric/shared';
import { errorOfReply, onAbort, timeoutOf } from '@fame-fabric/shared/internal';
import { isCancelledByCaller } from '../../agent/cancelled-by-caller.ts';
import { identifiedCaller } from '../../agent/identified-caller.ts';
import type { OperationContext, Outbound } from '../../agent/operation.ts';
import { HolderWatch } from './holder-watch.ts';
import { PASS, type PassedCall, type PassItem, signedCall } from './passed-call.ts';
import type { Placement } from './placement.ts';
import { replicaAddressOf } from './replica-address.ts';

/** The answer to a passed call is incomplete, and its effect is unknown. */
export class CallNotPassed extends Error {
  /** Id of the writer that holds the conversation now, if the replica named one. */
  readonly holder: string | undefined;
  /** Error of the link, if the replica did not answer. */
  readonly reason: unknown;

  constructor({ holder, reason }: { holder?: string | undefined; reason?: unknown } = {}) {
    super('The replica does not hold the conversation, or has left.');
    this.holder = holder;
    this.reason = reason;
  }
}

export interface PassDeps {
  /** Address that callers use. */
  readonly agent: string;
  readonly link: Outbound;
  readonly placement: Placement;
  readonly clock: Clock;
}

export interface PassRequest {
  readonly holder: string;
  readonly conversation: string | undefined;
  readonly method: string;
  readonly params: unknown;
  readonly context: OperationContext;
  readonly callId: string;
  /** Monotonic time at which the call arrived, in ms. */
  readonly startedAt: number;
  /** True if a conversation that no process holds counts as held by the replica: a reader may follow an idle one. @default false */
  readonly isReader?: boolean | undefined;
}

/** Codes of a link or a sentinel for a request or an answer that did not arrive. Any other error of a passed call is a fault. */
const LOST: ReadonlySet<string> = new Set([
  'NO_ROUTE',
  'NODE_GONE',
  'NODE_BUSY',
  'LINK_CLOSED',
  'LINK_DRAINING',
  'CALL_TIMEOUT',
  'CALL_CANCELLED',
  'READER_TOO_SLOW',
]);

/**
 * Passes a call to the replica `holder`. Yields the events of its answer, and returns its result.
 * @throws {CallNotPassed} @throws the error of the call itself
 */
export async function* passCall(
  deps: PassDeps,
  request: PassRequest,
): AsyncGenerator<unknown, unknown, void> {
  const { agent, link, placement, clock } = deps;
  const { holder, conversation, context } = request;
  const params = signedCall(await callOf(request), await placement.replicaKey());
  const leaving = new AbortController();
  const options: CallOptions = {
    signal: leaving.signal,
    // The holder of a lease may be silent as long as its turn. The watch notices one that has lost its lease.
    timeoutMs: conversation === undefined ? START_TIMEOUT_MS : Number.POSITIVE_INFINITY,
    onLeave: 'continue',
    traceId: context.traceId,
    ...remainingTime(deps, request),
  };
  // A caller that cancels its call cancels it at the holder. The holder counts the time limit by itself.
  const leave = (): void => {
    const { reason } = context.signal;
    const isCancelled = isCancelledByCaller(reason) && !isFabricError(reason, 'CALL_TIMEOUT');
    options.onLeave = isCancelled ? 'cancel' : 'continue';
    leaving.abort(reason);
  };
  const stopListening = onAbort(context.signal, leave);
  const watch =
    conversation === undefined
      ? undefined
      : new HolderWatch(
          { placement, clock, onLost: (current) => leaving.abort(new CallNotPassed({ holder: current })) },
          { conversation, holder, isReader: request.isReader ?? false },
        );
  const items = link
    .stream(replicaAddressOf(agent, holder), PASS, params, options)
    [Symbol.asyncIterator]() as AsyncIterator<PassItem>;
  try {
    for (;;) {
      const { done, value: item } = await nextItem(items, context.signal);
      if (done) return undefined;
      watch?.received();
      if (item.kind === 'event') yield item.event;
      else if (item.kind === 'result') return item.result;
      else if (item.kind === 'error') throw errorOfReply(item.error);
      else if (item.kind === 'moved') throw new CallNotPassed({ holder: item.holder });
      else context.acknowledge?.();
    }
  } finally {
    if (context.signal.aborted) leave();
    stopListening();
    watch?.stop();
    await items.return?.();
  }
}

/** Longest wait for the answer to a call that starts a conversation, in ms. It is repeated afterwards. */
const START_TIMEOUT_MS = 60_000;

async function nextItem(
  items: AsyncIterator<PassItem>,
  signal: AbortSignal,
): Promise<IteratorResult<PassItem, unknown>> {
  try {
    return await items.next();
  } catch (error) {
    if (signal.aborted || error instanceof CallNotPassed) throw error;
    const isLost = isFabricError(error) && LOST.has(error.code);
    throw isLost ? new CallNotPassed({ reason: error }) : error;
  }
}

async function callOf({
  holder,
  conversation,
  method,
  params,
  context,
  callId,
}: PassRequest): Promise<PassedCall> {
  const { replyTo, isStream, traceId, ttl, meta } = context;
  const caller = await identifiedCaller(context);
  return { to: holder, conversation, method, params, caller, callId, replyTo, isStream, traceId, ttl, meta };
}

function remainingTime({ clock }: PassDeps, { context, startedAt }: PassRequest): { deadlineMs?: number } {
  const timeoutMs = timeoutOf(context.meta);
  if (timeoutMs === undefined) return {};
  return { deadlineMs: Math.max(1, timeoutMs - (clock.monotonic() - startedAt)) };
}
