// POST /v1/responses/compact: the summary of a conversation, as one item that takes the place of its messages. The agent writes it in a
// conversation that is not kept.
import type { Conversation, ModelMessage, ToolResult } from '@fame-fabric/client';
import { newId } from '@fame-fabric/shared';
import type { DoorDeps } from '../../door.ts';
import type { Visitor } from '../../fabric/door-fabric.ts';
import type { Fields } from '../fields.ts';
import { chatAgent } from '../models.ts';
import { invalid } from '../openai-error.ts';
import { compactionOf } from './compaction.ts';
import { secondsOf } from './create.ts';
import { readItems } from './input-items.ts';
import { isUnknown } from './journal-reader.ts';
import { itemIds, type ResponseUsage } from './resource.ts';
import { usageOf } from './response-builder.ts';
import { previousNotFound, readResponseId, responseId } from './response-ids.ts';
import { MAX_HISTORY_TURNS } from './turn-place.ts';

export interface CompactionResource {
  id: string;
  object: 'response.compaction';
  created_at: number;
  output: { type: 'compaction'; id: string; encrypted_content: string }[];
  usage: ResponseUsage;
}

interface Source {
  readonly conversation: Conversation;
  /** The messages after the last one of the assistant, with which no conversation starts. */
  readonly texts: readonly string[];
  readonly results: readonly ToolResult[];
}

const REQUEST =
  'Summarize the conversation so far, so that it can go on from your summary alone. Keep names, numbers, decisions and open questions. Answer with the summary only.';

/** @throws {PARAMS_INVALID | NO_ROUTE}; and the errors of the agent */
export async function compact(deps: DoorDeps, visitor: Visitor, body: unknown): Promise<CompactionResource> {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw invalid('body', 'must be a JSON object.');
  const { model, input, previous_response_id: previousId, instructions } = body as Fields;
  if (typeof model !== 'string' || model === '') throw invalid('model', 'is required.');
  if (instructions !== undefined && instructions !== null && typeof instructions !== 'string')
    throw invalid('instructions', 'must be a text.');
  const { address } = await chatAgent(visitor, model);
  const source =
    previousId === undefined || previousId === null
      ? await fromInput(visitor, address, input)
      : await fromPrevious(visitor, address, previousId, input);
  const { conversation, texts, results } = source;
  const turnId = newId();
  try {
    const request = [...texts, ...(instructions ? [instructions] : []), REQUEST].join('\n\n');
    const done = await conversation.runTurn(request, {
      turnId,
      ...(results.length > 0 ? { toolResults: results } : {}),
    });
    const place = { agent: address, conversation: conversation.id, turn: turnId };
    const item = { type: 'compaction' as const, id: itemIds(place)('cmp', '0') };
    return {
      id: responseId({ ...place, isStored: false, isBackground: false }),
      object: 'response.compaction',
      created_at: secondsOf(deps),
      output: [{ ...item, encrypted_content: compactionOf(done.text) }],
      usage: usageOf(done.usage),
    };
  } finally {
    const release = visitor.hold();
    void conversation
      .end()
      .catch(() => {}) // the retention of the agent removes it later
      .finally(release);
  }
}

async function fromInput(visitor: Visitor, address: string, input: unknown): Promise<Source> {
  const { messages, texts, results } = splitItems(input);
  const conversation = visitor.client.conversation(address, {
    isEphemeral: true,
    ...(messages.length > 0 ? { messages } : {}),
    maxHistoryLength: MAX_HISTORY_TURNS,
  });
  return { conversation, texts, results };
}

async function fromPrevious(visitor: Visitor, address: string, id: unknown, input: unknown): Promise<Source> {
  const previous = typeof id === 'string' ? readResponseId(id) : undefined;
  if (previous?.agent !== address || !previous.isStored) throw previousNotFound(String(id));
  const { messages, texts, results } = input ? splitItems(input) : { messages: [], texts: [], results: [] };
  if (messages.length > 0) throw invalid('input', 'has messages of the assistant. Send the new items only.');
  const conversations = visitor.client.conversations(address);
  try {
    const conversation = await conversations.fork(previous.conversation, {
      at: previous.turn,
      isEphemeral: true,
    });
    return { conversation, texts, results };
  } catch (error) {
    throw isUnknown(error) ? previousNotFound(String(id)) : error;
  }
}

function splitItems(input: unknown): { messages: ModelMessage[]; texts: string[]; results: ToolResult[] } {
  if (input === undefined || input === null) throw invalid('input', 'is required.');
  if (typeof input === 'string') return { messages: [], texts: [input], results: [] };
  const items = readItems(input, 'input').filter(({ role }) => role !== 'system');
  const first = items.findLastIndex(({ role }) => role === 'assistant') + 1;
  const fresh = items.slice(first);
  return {
    messages: items.slice(0, first),
    texts: fresh.flatMap((message) => (message.role === 'user' ? [message.content] : [])),
    results: fresh.flatMap((message) =>
      message.role === 'tool' ? [{ tool_call_id: message.tool_call_id, content: message.content }] : [],
    ),
  };
}
