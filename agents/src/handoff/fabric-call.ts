// Calls an agent on another node as any client does: start a conversation, send one message, read the answer, end the conversation. A
// team can hand over to any conversation agent; another team also gets the counters and the history. Every id is derived from the
// turn, so a resumed turn joins the same remote turn.
import { createHash } from 'node:crypto';
import { FabricError } from '@fame-fabric/shared';
import {
  ATTRIBUTE,
  errorOfCode,
  errorTypeOf,
  OPERATION,
  onAbort,
  spanned,
  type Tracing,
  tracing,
} from '@fame-fabric/shared/internal';
import type { Outbound } from '../agent/operation.ts';
import type { ConversationEvent } from '../conversation/conversation.ts';
import { TurnReleased } from '../conversation/live-turn.ts';
import type { ModelMessage } from '../model/model.ts';
import { newestThatFit } from '../turn/newest-that-fit.ts';
import {
  CAPABILITY_PREFIX,
  HANDOFF,
  metaOf,
  type RemoteCall,
  type RemoteEvent,
  type RemoteRequest,
} from './handoff.ts';

export interface FabricCallOptions {
  /** Longest wait for the next event of the other agent, in ms. @default 600_000 */
  timeoutMs?: number;
}

/** Maximum bytes of history; with the message it fits one envelope. */
const MAX_HISTORY_BYTES = 98_304;
/** Time limit of the calls other than the turn itself, in ms. */
const SHORT_MS = 30_000;

/** Calls agents on other nodes over `link`. */
export function fabricCall(link: Outbound, options: FabricCallOptions = {}): RemoteCall {
  const timeoutMs = options.timeoutMs ?? 600_000;
  return (request) =>
    tracing ? traced(tracing, link, request, timeoutMs) : converse(link, request, timeoutMs);
}

async function* traced(
  tracer: Tracing,
  link: Outbound,
  request: RemoteRequest,
  timeoutMs: number,
): AsyncGenerator<RemoteEvent, void, void> {
  const span = tracer.start(`${OPERATION.invokeAgent} ${request.target}`, {
    kind: 'client',
    attributes: {
      [ATTRIBUTE.operation]: OPERATION.invokeAgent,
      [ATTRIBUTE.agentName]: request.target,
      [ATTRIBUTE.isHandover]: true,
    },
  });
  try {
    yield* spanned(span, converse(link, request, timeoutMs));
    span.end();
  } catch (error) {
    span.end(errorTypeOf(error));
    throw error;
  } finally {
    // A reader that leaves early reaches neither of the two above.
    span.end('CALL_CANCELLED');
  }
}

async function* converse(
  link: Outbound,
  request: RemoteRequest,
  timeoutMs: number,
): AsyncGenerator<RemoteEvent, void, void> {
  const { extras, userMessage } = request;
  const id = `handover-${createHash('sha256').update(request.id).digest('hex').slice(0, 40)}`;
  const meta = metaOf(request.meta);
  const cancel = new AbortController();
  // Another process continues a released turn and joins the same remote turn, so the remote turn must not be cancelled.
  const isReleased = (): boolean => request.signal.reason instanceof TurnReleased;
  const stopListening = onAbort(request.signal, () => {
    if (!isReleased()) cancel.abort(request.signal.reason);
  });
  const { signal } = cancel;
  const address = await addressOf(link, request.target, signal);
  const payload = { [HANDOFF]: { history: recentHistory(request.history), extras } };
  await link.call(
    address,
    'start_task',
    { id, payload },
    { id: `${id}-start`, timeoutMs: SHORT_MS, resend: true, signal, meta },
  );
  // A conversation that cannot be ended expires.
  const end = (): void =>
    void link
      .call(address, 'end_conversation', { conversation_id: id }, { timeoutMs: SHORT_MS })
      .catch(() => {});
  const params = { conversation_id: id, user_message: userMessage, turn_id: `${id}-turn` };
  const stream = link.stream(address, 'run_turn_stream', params, { timeoutMs, signal, meta });
  const events = (stream as AsyncIterable<ConversationEvent>)[Symbol.asyncIterator]();
  let state = 'open' as 'open' | 'ended' | 'broken';
  try {
    for (;;) {
      const { done, value: event } = await events.next().catch((error: unknown) => {
        state = 'broken';
        throw error;
      });
      if (done) {
        state = 'ended';
        return;
      }
      if (event.type === 'text') yield { type: 'text', text: event.text };
      else if (event.type === 'error') {
        state = 'ended';
        throw errorOf(event);
      } else if (event.type === 'done') {
        state = 'ended';
        const { text, usage, model } = event;
        yield { type: 'done', text, usage, model };
      }
    }
  } finally {
    stopListening();
    if (state === 'open' && !signal.aborted) void readToEnd(events).then(end, () => {});
    else if (state !== 'broken' || !isReleased()) {
      events.return?.().catch(() => {});
      end();
    }
  }
}

/** Reads the rest of a stream. Leaving the stream would cancel the remote turn, and this turn may need its answer later. */
async function readToEnd(events: AsyncIterator<unknown>): Promise<void> {
  while (!(await events.next()).done);
}

/** Resolves a capability to one address: all calls of a conversation have to reach the same agent. */
async function addressOf(link: Outbound, target: string, signal: AbortSignal): Promise<string> {
  if (!target.startsWith(CAPABILITY_PREFIX)) return target;
  const capabilities = [target.slice(CAPABILITY_PREFIX.length)];
  const card = await link.call({ capabilities }, 'agent.get_card', {}, { timeoutMs: SHORT_MS, signal });
  const url = (card as { url?: unknown } | null)?.url;
  if (typeof url === 'string' && url !== '') return url;
  throw new FabricError(
    'ROUTE_UNKNOWN',
    `The card of the agent for ${target} has no address. Call the agent by its address instead.`,
  );
}

const errorOf = ({ code, message, retryable }: ConversationEvent & { type: 'error' }): FabricError =>
  errorOfCode(code, message, { retryable });

/** Returns the last whole turns that fit, so that every call keeps its result. */
function recentHistory(history: readonly ModelMessage[]): ModelMessage[] {
  const fitting = newestThatFit(history, MAX_HISTORY_BYTES);
  const from = fitting.findIndex(({ role }) => role === 'user');
  return from < 0 ? [] : fitting.slice(from);
}
