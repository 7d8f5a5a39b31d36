// The MCP server of one request or session. Both eras have the same handlers; only clients of 2026-07-28 have tasks.
import type { AgentCard } from '../fabric/agent-card.ts';
import { type CallState, decodeState } from './ids.ts';
import { getPrompt, listPrompts } from './prompts.ts';
import { type ServerDeps, visitorOf } from './request-context.ts';
import { CONVERSATION_TEMPLATE, listConversations, readConversation } from './resources.ts';
import { ProtocolError, ProtocolErrorCode, TASKS_EXTENSION, TaskServer } from './sdk.ts';
import { addTaskMethods } from './task-methods.ts';
import { callTool } from './tool-call.ts';
import { ToolTable } from './tool-table.ts';

/** Lists of tools may be reused for this time, in ms. */
const TOOLS_TTL_MS = 10_000;
const TEMPLATES_TTL_MS = 3_600_000;
const PAGE = 200;
/** Maximum of the protocol. */
const MAX_SUGGESTIONS = 100;

const INSTRUCTIONS =
  'Each tool calls an operation of an agent on the fabric. Use ask_agent to talk to a chat agent: its result has a conversation_id, with which the next call continues the conversation. Conversations are resources.';

/** Builds the server. @param hasTasks true for clients of 2026-07-28 */
export function mcpServer(deps: ServerDeps, { hasTasks }: { hasTasks: boolean }): TaskServer {
  const server = new TaskServer(
    { name: 'fame-fabric', title: 'Fame Fabric', version: deps.version },
    {
      capabilities: {
        tools: { listChanged: true },
        resources: {},
        prompts: { listChanged: true },
        completions: {},
        ...(hasTasks ? { extensions: { [TASKS_EXTENSION]: {} } } : {}),
      },
      instructions: INSTRUCTIONS,
      cacheHints: {
        'tools/list': { ttlMs: TOOLS_TTL_MS, cacheScope: 'private' },
        'prompts/list': { ttlMs: TOOLS_TTL_MS, cacheScope: 'private' },
        'resources/templates/list': { ttlMs: TEMPLATES_TTL_MS, cacheScope: 'public' },
        'server/discover': { ttlMs: TEMPLATES_TTL_MS, cacheScope: 'public' },
      },
      requestState: { verify: readState },
    },
  );
  server.setRequestHandler('tools/list', async ({ params }, context) => {
    const table = new ToolTable(await visitorOf(context).agents(), deps.chatAddress);
    return pageOf(table.list(), params?.cursor);
  });
  server.onToolCall((call, context) => callTool(server, deps, call, context));
  server.setRequestHandler('resources/list', async ({ params }, context) => {
    const visitor = visitorOf(context);
    return listConversations(visitor.client, await visitor.agents(), params?.cursor);
  });
  server.setRequestHandler('resources/templates/list', () => ({
    resourceTemplates: [CONVERSATION_TEMPLATE],
  }));
  server.setRequestHandler('resources/read', async ({ params: { uri } }, context) => {
    const text = await readConversation(visitorOf(context).client, uri);
    return { contents: [{ uri, mimeType: CONVERSATION_TEMPLATE.mimeType, text }] };
  });
  server.setRequestHandler('prompts/list', async (_, context) => ({
    prompts: listPrompts(await visitorOf(context).agents()),
  }));
  server.setRequestHandler('prompts/get', async ({ params }, context) =>
    getPrompt(await visitorOf(context).agents(), params),
  );
  server.setRequestHandler('completion/complete', async ({ params }, context) => ({
    completion: completionOf(await visitorOf(context).agents(), params),
  }));
  if (hasTasks) addTaskMethods(server);
  server.onerror = (error) => deps.log.debug('a message of MCP was refused', { error });
  return server;
}

/** Completes the agent of the URI of a conversation. Other arguments have no suggestions. */
function completionOf(
  cards: readonly AgentCard[],
  { ref, argument }: { ref: { type: string }; argument: { name: string; value: string } },
): { values: string[]; hasMore: boolean } {
  if (ref.type !== 'ref/resource' || argument.name !== 'agent') return { values: [], hasMore: false };
  const agents = cards.filter(({ isChat, address }) => isChat && address.startsWith(argument.value));
  const values = agents.slice(0, MAX_SUGGESTIONS).map(({ address }) => address);
  return { values, hasMore: agents.length > values.length };
}

/** Returns a page of a list that may change between two requests: the cursor is the name of the last tool. */
function pageOf<T extends { name: string }>(
  all: T[],
  cursor: string | undefined,
): { tools: T[]; nextCursor?: string } {
  const start = cursor === undefined ? 0 : all.findIndex(({ name }) => name === cursor) + 1;
  if (cursor !== undefined && start === 0)
    throw new ProtocolError(
      ProtocolErrorCode.InvalidParams,
      'The cursor is unknown. List the tools from the start.',
    );
  const tools = all.slice(start, start + PAGE);
  const last = tools.at(-1);
  return { tools, ...(last && start + PAGE < all.length ? { nextCursor: last.name } : {}) };
}

function readState(text: string): CallState {
  const state = decodeState(text);
  if (!state) throw new Error('malformed');
  return state;
}
