// Names of the attributes and operations of spans. The names `gen_ai.*` are those of the OpenTelemetry semantic conventions for
// generative AI (repository open-telemetry/semantic-conventions-genai, schema 0.1.0), `rpc.*`, `http.*` and `error.*` those of the
// general conventions (1.45.0), and `fame.*` our own. `test/integration/traces.test.ts` compares the types of the values.

/** Attributes by the part of a trace that has them. */
export const ATTRIBUTE = Object.freeze({
  operation: 'gen_ai.operation.name',
  provider: 'gen_ai.provider.name',
  conversation: 'gen_ai.conversation.id',
  agentName: 'gen_ai.agent.name',
  agentId: 'gen_ai.agent.id',
  requestModel: 'gen_ai.request.model',
  maxTokens: 'gen_ai.request.max_tokens',
  temperature: 'gen_ai.request.temperature',
  topP: 'gen_ai.request.top_p',
  seed: 'gen_ai.request.seed',
  frequencyPenalty: 'gen_ai.request.frequency_penalty',
  presencePenalty: 'gen_ai.request.presence_penalty',
  stream: 'gen_ai.request.stream',
  responseModel: 'gen_ai.response.model',
  finishReasons: 'gen_ai.response.finish_reasons',
  timeToFirstChunk: 'gen_ai.response.time_to_first_chunk',
  inputTokens: 'gen_ai.usage.input_tokens',
  cachedTokens: 'gen_ai.usage.cache_read.input_tokens',
  outputTokens: 'gen_ai.usage.output_tokens',
  toolName: 'gen_ai.tool.name',
  toolCallId: 'gen_ai.tool.call.id',
  toolType: 'gen_ai.tool.type',
  systemInstructions: 'gen_ai.system_instructions',
  inputMessages: 'gen_ai.input.messages',
  outputMessages: 'gen_ai.output.messages',
  toolArguments: 'gen_ai.tool.call.arguments',
  toolResult: 'gen_ai.tool.call.result',
  errorType: 'error.type',
  rpcSystem: 'rpc.system.name',
  rpcMethod: 'rpc.method',
  httpMethod: 'http.request.method',
  httpRoute: 'http.route',
  httpStatus: 'http.response.status_code',
  address: 'fame.address',
  /** `traceId` of the envelope, which nodes of other software may have set. */
  traceId: 'fame.trace_id',
  turn: 'fame.turn.id',
  isResumed: 'fame.turn.resumed',
  isHandover: 'fame.hand_over',
  step: 'fame.step',
  retries: 'fame.model.retries',
  hopSource: 'fame.hop.source',
  hopTarget: 'fame.hop.target',
  bytes: 'fame.message.size',
  cost: 'fame.cost.amount',
  currency: 'fame.cost.currency',
});

/** Values of `gen_ai.operation.name`. */
export const OPERATION = Object.freeze({
  invokeAgent: 'invoke_agent',
  chat: 'chat',
  executeTool: 'execute_tool',
});
