// Reaches an agent on another node as any client does: start a conversation, say one thing, listen, end the conversation. So a
// team can hand over to any conversation agent, and another team gets the counters and what was said before on top. Every id
// is made from that of the turn: should this node die and take the turn up again, the other one gives the same answer.
import { createHash } from 'node:crypto';
import { FabricError, isErrorCode } from '@fame-fabric/shared';
import type { Outbound } from '../agent/operation.ts';
import type { ConversationEvent } from '../conversation/conversation.ts';
import type { ModelMessage } from '../model/model.ts';
import {
  CAPABILITY_PREFIX,
  HAND_OVER,
  metaOf,
  type RemoteCall,
  type RemoteEvent,
  type RemoteRequest,
} from './hand-over.ts';

export interface FabricCallOptions {
  /** How long to wait for the next event of the other agent, in ms. @default 600_000 */
  timeoutMs?: number;
}

/** Most bytes of what was said before; with the message it fits one envelope. */
const MAX_HISTORY_BYTES = 98_304;
/** How long to wait for what is not the turn itself, in ms. */
const SHORT_MS = 30_000;

/** The way to other nodes over `link`. */
export function fabricCall(link: Outbound, options: FabricCallOptions = {}): RemoteCall {
  return (request) => converse(link, request, options.timeoutMs ?? 600_000);
}

async function* converse(
  link: Outbound,
  request: RemoteRequest,
  timeoutMs: number,
): AsyncGenerator<RemoteEvent, void, void> {
  const { signal, extras, userMessage } = request;
  const id = `handover-${createHash('sha256').update(request.id).digest('hex').slice(0, 40)}`;
  const meta = metaOf(request.meta);
  const address = await addressOf(link, request.target, signal);
  const payload = { [HAND_OVER]: { history: recentHistory(request.history), extras } };
  await link.call(
    address,
    'start_task',
    { id, payload },
    {
      id: `${id}-start`,
      timeoutMs: SHORT_MS,
      resend: true,
      signal,
      meta,
    },
  );
  try {
    const params = { conversation_id: id, user_message: userMessage, turn_id: `${id}-turn` };
    const events = link.stream(address, 'run_turn_stream', params, { timeoutMs, signal, meta });
    for await (const event of events as AsyncIterable<ConversationEvent>) {
      if (event.type === 'text') yield { type: 'text', text: event.text };
      else if (event.type === 'error') throw errorOf(event);
      else if (event.type === 'done') {
        const { text, usage, model } = event;
        yield { type: 'done', text, usage, model };
      }
    }
  } finally {
    // The answer is here, or nobody wants it any more; a conversation that cannot be ended ends by its age.
    link.call(address, 'end_conversation', { conversation_id: id }, { timeoutMs: SHORT_MS }).catch(() => {});
  }
}

/** Where the conversation takes place: all of its calls have to reach the same agent. */
async function addressOf(link: Outbound, target: string, signal: AbortSignal): Promise<string> {
  if (!target.startsWith(CAPABILITY_PREFIX)) return target;
  const capabilities = [target.slice(CAPABILITY_PREFIX.length)];
  const card = await link.call({ capabilities }, 'agent.get_card', {}, { timeoutMs: SHORT_MS, signal });
  const url = (card as { url?: unknown } | null)?.url;
  if (typeof url === 'string' && url !== '') return url;
  throw new FabricError('ROUTE_UNKNOWN', `The agent for ${target} does not say where it is reached`);
}

const errorOf = ({ code, message, retryable }: ConversationEvent & { type: 'error' }): FabricError =>
  new FabricError(isErrorCode(code) ? code : 'INTERNAL', message, { retryable });

/** Whole turns from the end, so that no call stands without its answer. */
function recentHistory(history: readonly ModelMessage[]): ModelMessage[] {
  let left = MAX_HISTORY_BYTES;
  let from = history.length;
  for (let at = history.length - 1; at >= 0; at--) {
    left -= Buffer.byteLength(JSON.stringify(history[at]));
    if (left < 0) break;
    if (history[at]!.role === 'user') from = at;
  }
  return history.slice(from);
}
