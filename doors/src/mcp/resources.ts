// Conversations as resources: the list of the caller's conversations, and the transcript of each.
import type { Client, ConversationEvent, ConversationSummary } from '@fame-fabric/client';
import { isFabricError } from '@fame-fabric/shared';
import type { AgentCard } from '../fabric/agent-card.ts';
import { type Resource, ResourceNotFoundError } from './sdk.ts';

const SCHEME = 'fame://conversations/';
export const CONVERSATION_TEMPLATE = {
  uriTemplate: `${SCHEME}{agent}/{conversation_id}`,
  name: 'conversation',
  title: 'Conversation with an agent',
  description: 'The messages of a conversation. The agent is its address.',
  mimeType: 'text/markdown',
};
const PAGE = 50;
const EVENTS_PAGE = 500;
/** Maximum characters of a transcript. Older messages are left out. */
const MAX_TRANSCRIPT_CHARS = 1_048_576;
/** Codes of an agent that does not list conversations for this caller. */
const UNLISTED: ReadonlySet<string> = new Set([
  'AUTH_MISSING',
  'AUTH_FORBIDDEN',
  'METHOD_NOT_FOUND',
  'NO_ROUTE',
  'NODE_GONE',
  'CALL_TIMEOUT',
]);
/** Codes of a conversation that does not exist for this caller. */
const UNKNOWN: ReadonlySet<string> = new Set([
  ...UNLISTED,
  'CONVERSATION_UNKNOWN',
  'PARAMS_INVALID',
  'ADDRESS_INVALID',
]);

const has = (codes: ReadonlySet<string>, error: unknown): boolean =>
  isFabricError(error) && codes.has(error.code);

const uriOf = (address: string, conversationId: string): string =>
  `${SCHEME}${encodeURIComponent(address)}/${encodeURIComponent(conversationId)}`;

/** Reads the URI of a conversation. Undefined for any other URI. */
function readUri(uri: string): { address: string; conversationId: string } | undefined {
  const [address, id, ...rest] = uri.startsWith(SCHEME) ? uri.slice(SCHEME.length).split('/') : [];
  if (!address || !id || rest.length > 0) return undefined;
  try {
    return { address: decodeURIComponent(address), conversationId: decodeURIComponent(id) };
  } catch {
    return undefined;
  }
}

/**
 * Lists a page of conversations: agent by agent in the order of the cards, each with the latest change first.
 * @param cursor of the previous page. An unknown cursor starts at the first agent.
 */
export async function listConversations(
  client: Client,
  cards: readonly AgentCard[],
  cursor: string | undefined,
): Promise<{ resources: Resource[]; nextCursor?: string }> {
  const chats = cards.filter(({ isChat }) => isChat);
  const [from = '', before] = readCursor(cursor);
  const rest = chats.filter(({ address }) => address >= from);
  for (const [i, { address }] of rest.entries()) {
    const page = await pageOf(client, address, address === from ? before : undefined);
    const next = page.next ? [address, page.next] : rest[i + 1] && [rest[i + 1]!.address];
    const nextCursor = next && Buffer.from(JSON.stringify(next)).toString('base64url');
    const resources = page.conversations.map((summary) => resourceOf(address, summary));
    if (resources.length > 0 || page.next) return { resources, ...(nextCursor ? { nextCursor } : {}) };
  }
  return { resources: [] };
}

async function pageOf(
  client: Client,
  address: string,
  before: string | undefined,
): Promise<{ conversations: readonly ConversationSummary[]; next: string | null }> {
  try {
    return await client.conversations(address).list({ limit: PAGE, before });
  } catch (error) {
    if (!has(UNLISTED, error)) throw error;
    return { conversations: [], next: null };
  }
}

function readCursor(cursor: string | undefined): string[] {
  try {
    const value: unknown = JSON.parse(Buffer.from(cursor ?? '', 'base64url').toString());
    return Array.isArray(value) && value.every((part) => typeof part === 'string') ? value : [];
  } catch {
    return [];
  }
}

const resourceOf = (address: string, { id, state, turns, changed_at }: ConversationSummary): Resource => ({
  uri: uriOf(address, id),
  name: id,
  title: `Conversation ${id} with ${address}`,
  description: `${turns} ${turns === 1 ? 'turn' : 'turns'}, ${state}`,
  mimeType: CONVERSATION_TEMPLATE.mimeType,
  annotations: { lastModified: changed_at },
});

/** Reads the transcript of a conversation. @throws {ResourceNotFoundError} if it does not exist for this caller */
export async function readConversation(client: Client, uri: string): Promise<string> {
  const named = readUri(uri);
  if (!named) throw new ResourceNotFoundError(uri);
  const conversations = client.conversations(named.address);
  let text = '';
  let after = 0;
  try {
    for (;;) {
      const { events, next } = await conversations.readEvents(named.conversationId, {
        after,
        limit: EVENTS_PAGE,
      });
      text = (text + events.map(paragraphOf).join('')).slice(-MAX_TRANSCRIPT_CHARS);
      if (events.length === 0 || next <= after) return text.trim();
      after = next;
    }
  } catch (error) {
    throw has(UNKNOWN, error) ? new ResourceNotFoundError(uri) : error;
  }
}

function paragraphOf(event: ConversationEvent): string {
  switch (event.type) {
    case 'turn':
      return paragraph('user', event.user_message);
    case 'done':
      return paragraph('assistant', event.text);
    case 'error':
      return paragraph('error', `${event.code}: ${event.message}`);
    case 'approval':
      return paragraph('waits for a person', `${event.name} ${JSON.stringify(event.args ?? {})}`);
    default:
      return '';
  }
}

const paragraph = (role: string, text: string): string => (text === '' ? '' : `**${role}**: ${text}\n\n`);
