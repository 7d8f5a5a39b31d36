// The only file that imports the MCP server library, so that another library or version changes one file.
import {
  type CallToolResult,
  type InputRequests,
  type InputRequiredResult,
  isSpecType,
  MissingRequiredClientCapabilityError,
  type Result,
  Server,
  type ServerContext,
} from '@modelcontextprotocol/server';

export {
  type CallToolResult,
  createMcpHandler,
  type GetPromptResult,
  type InputRequiredResult,
  isInputRequiredResult,
  isLegacyRequest,
  type McpHttpHandler,
  MissingRequiredClientCapabilityError,
  type Prompt,
  ProtocolError,
  ProtocolErrorCode,
  type Resource,
  ResourceNotFoundError,
  type ServerContext,
  type ServerEventBus,
  type StandardSchemaV1,
  type Tool,
  WebStandardStreamableHTTPServerTransport,
} from '@modelcontextprotocol/server';

export const TASKS_EXTENSION = 'io.modelcontextprotocol/tasks';
const CLIENT_CAPABILITIES = 'io.modelcontextprotocol/clientCapabilities';

/** The answer to a tool call that continues as a task of the Tasks extension. */
export interface CreateTaskResult extends Result {
  resultType: 'task';
  taskId: string;
  status: string;
  createdAt: string;
  lastUpdatedAt: string;
  ttlMs: number | null;
  pollIntervalMs?: number;
  statusMessage?: string;
}

/** Any answer to a tool call. */
export type ToolReply = CallToolResult | InputRequiredResult | CreateTaskResult;

const isTask = (result: unknown): result is CreateTaskResult =>
  (result as { resultType?: unknown } | null)?.resultType === 'task';

/**
 * A server whose tools may answer with a task. The library would check the task as an ordinary result and add an empty `content`.
 */
export class TaskServer extends Server {
  /** Sets the function that runs the tools. */
  onToolCall(
    handler: (
      call: { name: string; arguments?: Record<string, unknown> | undefined },
      context: ServerContext,
    ) => Promise<ToolReply>,
  ): void {
    // The library has no type for a task yet. `_wrapHandler` takes it.
    this.setRequestHandler(
      'tools/call',
      ({ params }, context) => handler(params, context) as Promise<CallToolResult>,
    );
  }

  protected override _wrapHandler(
    method: string,
    handler: Parameters<Server['_wrapHandler']>[1],
  ): Parameters<Server['_wrapHandler']>[1] {
    if (method !== 'tools/call') return super._wrapHandler(method, handler);
    return async (request, context) => {
      let task: CreateTaskResult | undefined;
      const checked = super._wrapHandler(method, async (...call) => {
        const result = await handler(...call);
        task = isTask(result) ? result : undefined;
        return task ? { content: [] } : result;
      });
      const result = await checked(request, context);
      return task ?? result;
    };
  }
}

/** Capabilities that the client declared: with the request since 2026-07-28, before with `initialize`. */
export interface DeclaredCapabilities {
  readonly elicitation?: { readonly form?: unknown; readonly url?: unknown } | undefined;
  readonly extensions?: Readonly<Record<string, unknown>> | undefined;
}

export function capabilitiesOf(server: Server, { mcpReq }: ServerContext): DeclaredCapabilities {
  const envelope = mcpReq.envelope as Record<string, unknown> | undefined;
  return (envelope?.[CLIENT_CAPABILITIES] ?? server.getClientCapabilities() ?? {}) as DeclaredCapabilities;
}

/** The capabilities in the parameters of a request of 2026-07-28. */
export const declaredBy = (params: Record<string, unknown> | undefined): DeclaredCapabilities =>
  ((params?._meta as Record<string, unknown> | undefined)?.[CLIENT_CAPABILITIES] ??
    {}) as DeclaredCapabilities;

/** True if the client shows forms. An empty declaration means forms. */
export const canElicit = ({ elicitation }: DeclaredCapabilities): boolean =>
  elicitation !== undefined && (elicitation.form !== undefined || elicitation.url === undefined);

export const canPoll = ({ extensions }: DeclaredCapabilities): boolean =>
  extensions?.[TASKS_EXTENSION] !== undefined;

/** Builds the error for a request that needs the Tasks extension. */
export const tasksMissing = (): MissingRequiredClientCapabilityError =>
  new MissingRequiredClientCapabilityError({
    requiredCapabilities: { extensions: { [TASKS_EXTENSION]: {} } },
  });

/** Requests to the client, by a key that the response repeats. */
export type PendingInputs = InputRequests;

export const isContentBlock = (value: unknown): boolean => isSpecType.ContentBlock(value);

/** An error of JSON-RPC as a response of HTTP. */
export const rpcError = (
  status: number,
  code: number,
  message: string,
  { id, data }: { id?: unknown; data?: unknown } = {},
): Response =>
  Response.json(
    {
      jsonrpc: '2.0',
      ...(id === undefined ? {} : { id }),
      error: { code, message, ...(data === undefined ? {} : { data }) },
    },
    { status },
  );
