// The call of a tool: finds its operation, reads the arguments, and runs it.

import type { ModelOptions, ToolResult } from '@fame-fabric/client';
import { FabricError, isFabricError, newId } from '@fame-fabric/shared';
import { ATTRIBUTE, errorTypeOf, traceparentIn, tracing } from '@fame-fabric/shared/internal';
import type { AgentCard } from '../fabric/agent-card.ts';
import type { Visitor } from '../fabric/door-fabric.ts';
import { callAgentTask, type TaskCaller } from './agent-task.ts';
import { type CallState, idsOfKey } from './ids.ts';
import { type ClientSide, callOperation } from './operation-call.ts';
import { ProgressReporter } from './progress.ts';
import { type ServerDeps, visitorOf } from './request-context.ts';
import { errorResult, META } from './results.ts';
import {
  canElicit,
  canPoll,
  capabilitiesOf,
  ProtocolError,
  ProtocolErrorCode,
  type ServerContext,
  type TaskServer,
  type ToolReply,
} from './sdk.ts';
import { ASK_AGENT, ToolTable } from './tool-table.ts';
import { callTurn, type TurnRequest } from './turn-call.ts';

type Arguments = Record<string, unknown>;

interface Call {
  readonly server: TaskServer;
  readonly deps: ServerDeps;
  readonly context: ServerContext;
  readonly visitor: Visitor;
  /** Lists the agents, and requests the descriptions of new ones. */
  table(): Promise<ToolTable>;
  readonly tool: string;
  readonly args: Arguments;
}

interface ToolRequest {
  readonly name: string;
  readonly arguments?: Arguments | undefined;
}

/** Runs a tool. @throws {ProtocolError} for an unknown tool */
export async function callTool(
  server: TaskServer,
  deps: ServerDeps,
  request: ToolRequest,
  context: ServerContext,
): Promise<ToolReply> {
  if (!tracing) return runTool(server, deps, request, context);
  const span = tracing.start('tools/call', {
    kind: 'server',
    // A client sends its trace context with the call, because one HTTP request may carry the calls of several traces.
    parent: traceparentIn(context.mcpReq._meta),
    attributes: { [ATTRIBUTE.rpcSystem]: 'jsonrpc', [ATTRIBUTE.rpcMethod]: 'tools/call' },
  });
  try {
    const reply = await span.run(() => runTool(server, deps, request, context));
    span.end('isError' in reply && reply.isError ? 'TOOL_FAILED' : undefined);
    return reply;
  } catch (error) {
    span.end(errorTypeOf(error));
    throw error;
  }
}

async function runTool(
  server: TaskServer,
  deps: ServerDeps,
  { name, arguments: args = {} }: ToolRequest,
  context: ServerContext,
): Promise<ToolReply> {
  const visitor = visitorOf(context);
  const letGo = visitor.hold();
  try {
    const table = async () => new ToolTable(await visitor.agents(), deps.chatAddress);
    const call: Call = { server, deps, context, visitor, table, tool: name, args };
    if (name === ASK_AGENT) return await askAgent(call);
    const target = (await table()).target(name);
    if (!target)
      throw new ProtocolError(ProtocolErrorCode.InvalidParams, `Unknown tool: ${name}`, {
        code: 'METHOD_NOT_FOUND',
      });
    if (target.kind === 'turn') return await turn(call, target.card, textArgument(args, 'user_message'));
    const key = keyOf(context);
    const shared = {
      client: visitor.client,
      signal: context.mcpReq.signal,
      progress: progressOf(call),
      callId: key === undefined ? undefined : idsOfKey(visitor.principal, name, key).callId,
    };
    if (target.kind === 'task')
      return await callAgentTask(target.address, args, { ...shared, ...taskSideOf(call, target.address) });
    return await callOperation(target, args, { ...shared, side: clientSideOf(call) });
  } catch (error) {
    if (context.mcpReq.signal.aborted || error instanceof ProtocolError || !isFabricError(error)) throw error;
    return errorResult(error);
  } finally {
    letGo();
  }
}

async function askAgent(call: Call): Promise<ToolReply> {
  const name = textArgument(call.args, 'agent') ?? call.deps.chatAddress;
  const message = textArgument(call.args, 'message');
  const card = await call.visitor.agent(name);
  if (!card) throw new FabricError('NO_ROUTE', `There is no agent ${name}, or you may not call it.`);
  if (card.isDescribed && !card.isChat)
    throw new FabricError(
      'OPERATION_UNSUPPORTED',
      `${card.address} has no conversations. Use its own tools.`,
    );
  if (message === undefined) throw new FabricError('PARAMS_INVALID', 'message: a text is required');
  return turn(call, card, message);
}

async function turn(call: Call, card: AgentCard, message: string | undefined): Promise<ToolReply> {
  const { context, visitor, table, server, deps } = call;
  const declared = capabilitiesOf(server, context);
  const request = turnRequest(call, card, message ?? '');
  return callTurn(request, {
    client: visitor.client,
    clock: deps.clock,
    signal: context.mcpReq.signal,
    progress: progressOf(call),
    canElicit: canElicit(declared),
    canPoll: canPoll(declared),
    responses: context.mcpReq.inputResponses,
    answerTool: async () => (await table()).nameOf(card.address, 'answer_approval') ?? 'answer_approval',
  });
}

function turnRequest(call: Call, card: AgentCard, message: string): TurnRequest {
  const { address } = card;
  const { args, context, visitor, tool } = call;
  const options = {
    options: args.options as ModelOptions | undefined,
    toolResults: args.tool_results as ToolResult[] | undefined,
    retryKey: textArgument(args, 'retry_key'),
    retryCount: args.retry_count as number | undefined,
  };
  const state = context.mcpReq.requestState<CallState>();
  if (state) {
    if (!('turn' in state) || state.turn.address !== address) throw otherState();
    return { ...state.turn, message, isFirst: false, card, options };
  }
  const key = keyOf(context);
  const derived = key === undefined ? undefined : idsOfKey(visitor.principal, tool, key);
  const given = textArgument(args, 'conversation_id');
  const conversationId = given ?? derived?.conversationId ?? newId();
  const turnId = textArgument(args, 'turn_id') ?? derived?.callId ?? newId();
  return { address, conversationId, turnId, message, isFirst: given === undefined, card, options };
}

/** The client's side of the call, for operations that ask its user or its model. */
function clientSideOf({ server, context }: Call): ClientSide {
  const state = context.mcpReq.requestState<CallState>();
  if (state && !('operation' in state)) throw otherState();
  const { inputResponses } = context.mcpReq;
  return {
    capabilities: capabilitiesOf(server, context),
    ...(inputResponses ? { inputResponses } : {}),
    ...(state ? { requestState: state.operation } : {}),
  };
}

/** The client's side of the call of an agent's task. */
function taskSideOf(
  { server, context }: Call,
  address: string,
): Pick<TaskCaller, 'canElicit' | 'canPoll' | 'asked'> {
  const declared = capabilitiesOf(server, context);
  const state = context.mcpReq.requestState<CallState>();
  if (state && (!('task' in state) || state.task.address !== address)) throw otherState();
  return {
    canElicit: canElicit(declared),
    canPoll: canPoll(declared),
    asked: state && { taskId: state.task.taskId, responses: context.mcpReq.inputResponses ?? {} },
  };
}

const otherState = (): ProtocolError =>
  new ProtocolError(ProtocolErrorCode.InvalidParams, 'The requestState belongs to another call.');

/** Treats an empty text as missing. */
function textArgument(args: Arguments, name: string): string | undefined {
  const value = args[name] ?? '';
  if (typeof value === 'string') return value === '' ? undefined : value;
  throw new FabricError('PARAMS_INVALID', `${name}: a text is required`);
}

const MAX_KEY_CHARS = 256;

/** The idempotency key of a call: `_meta['fame/idempotency_key']`, or the header Idempotency-Key. */
function keyOf({ mcpReq, http }: ServerContext): string | undefined {
  const meta = mcpReq._meta as Record<string, unknown> | undefined;
  const key = meta?.[META.idempotencyKey] ?? http?.req?.headers.get('idempotency-key') ?? undefined;
  if (key === undefined || (typeof key === 'string' && key !== '' && key.length <= MAX_KEY_CHARS)) return key;
  throw new FabricError(
    'PARAMS_INVALID',
    `The idempotency key must be a text of 1 to ${MAX_KEY_CHARS} characters.`,
  );
}

function progressOf({ context, deps }: Call): ProgressReporter | undefined {
  const progressToken = context.mcpReq._meta?.progressToken;
  if (progressToken === undefined) return undefined;
  return new ProgressReporter(
    (progress) =>
      context.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, ...progress } }),
    deps.clock,
  );
}
