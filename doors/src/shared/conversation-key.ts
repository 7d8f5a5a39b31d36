// The conversation that a request of a chat client belongs to, if the client names one.
import type { IncomingHttpHeaders } from 'node:http';
import { FabricError } from '@fame-fabric/shared';

export interface ConversationKey {
  /** The id that the client uses. */
  readonly id: string;
  /** True if the client is known to send the whole history with each request, so that a lone message is the first one. */
  readonly sendsHistory: boolean;
}

/** The limit of an agent. */
const MAX_ID_CHARS = 256;

/** Headers with an id; the first one present counts. Open WebUI sends its own header. */
const HEADERS = [
  ['x-conversation-id', false],
  ['x-openwebui-chat-id', true],
  ['x-session-id', false],
] as const;

const FIELDS = [
  ['conversation_id', false],
  ['chat_id', true],
] as const;

/** Reads the id of the conversation from the headers, or else from `metadata`. @throws {PARAMS_INVALID} for an id that no agent takes */
export function conversationKey(
  headers: IncomingHttpHeaders,
  metadata: Readonly<Record<string, unknown>> = {},
): ConversationKey | undefined {
  for (const [name, sendsHistory] of HEADERS) {
    const id = headers[name];
    if (typeof id === 'string' && id.trim() !== '') return keyOf(id.trim(), sendsHistory, name);
  }
  for (const [field, sendsHistory] of FIELDS) {
    const id = metadata[field];
    if (typeof id === 'string' && id.trim() !== '')
      return keyOf(id.trim(), sendsHistory, `metadata.${field}`);
  }
  return undefined;
}

function keyOf(id: string, sendsHistory: boolean, source: string): ConversationKey {
  // The response has the id in a header.
  if (id.length > MAX_ID_CHARS || !/^[\x20-\x7e]+$/.test(id)) {
    throw new FabricError(
      'PARAMS_INVALID',
      `${source}: An id of a conversation has at most ${MAX_ID_CHARS} printable ASCII characters.`,
      { details: { param: source } },
    );
  }
  return { id, sendsHistory };
}

/**
 * True if the request is a helper prompt of a chat UI, such as one for a title or for tags. It must leave the conversation as it is.
 * Open WebUI names the task in a header if its administrator configured that. Otherwise it sends a lone prompt that begins with
 * "### Task:".
 */
export function isHelperPrompt(
  headers: IncomingHttpHeaders,
  metadata: Readonly<Record<string, unknown>> = {},
  loneMessage?: string,
): boolean {
  const named = headers['x-openwebui-task'] ?? metadata.task;
  // A placeholder that the client did not replace is not a task.
  if (typeof named === 'string' && named.trim() !== '' && !named.includes('{{')) return true;
  return headers['x-openwebui-chat-id'] !== undefined && /^\s*### Task:/.test(loneMessage ?? '');
}
