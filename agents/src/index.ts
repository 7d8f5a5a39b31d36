// The public list of the agent room, by name; `index.test.ts` pins it. Running a process stands in `main.ts`, the test kit
// in `testing.ts`.
export { FabricError, isFabricError } from '@fame-fabric/shared';
export { defineAgent } from './agent.ts';
export type { Agent, AgentContext, AgentLink, AgentOptions, ServeOptions, Serving } from './agent-types.ts';
export { ChatAgent, type ChatAgentOptions } from './chat-agent.ts';
export {
  AGENT_VARIABLES,
  type AgentConfig,
  type AgentVariable,
  type ModelConfig,
  readAgentConfig,
} from './config.ts';
export type { BudgetLimits } from './conversation-budget.ts';
export { echoAgent } from './examples/echo-agent.ts';
export { mathAgent } from './examples/math-agent.ts';
export type { ChatModel, ModelChunk, ModelMessage, ModelRequest, Usage } from './model.ts';
export { type OfflineModelOptions, offlineModel } from './offline-model.ts';
export { type OpenAIModelOptions, openaiModel } from './openai-model.ts';
export {
  type Operation,
  type OperationContext,
  type OperationOptions,
  type Outbound,
  operation,
  type ParamsSchema,
} from './operation.ts';
export {
  type AgentSource,
  type NamedAgent,
  type ProcessContext,
  type RunOptions,
  runAgents,
} from './run-agents.ts';
export {
  createSafeFetch,
  type SafeFetch,
  type SafeFetchOptions,
  type SafeFetchRequest,
  type SafeFetchResponse,
} from './safe-fetch.ts';
export { MemoryStore, type MemoryStoreOptions } from './store/memory-store.ts';
export { type OpenedStore, openStore, type StoreConfig } from './store/open-store.ts';
export { SqliteStore, type SqliteStoreOptions } from './store/sqlite-store.ts';
export type { ConversationStore } from './store/store.ts';
export { taskQueryParams, taskSendParams } from './task-methods.ts';
export type { TaskHandle, TaskHandler } from './task-types.ts';
export { type AnyTool, type ToolContext, type ToolOptions, tool } from './tools/tool.ts';
export { ToolSet, type ToolSetOptions } from './tools/tool-set.ts';
export {
  ChatTurns,
  type ChatTurnsOptions,
  type TurnEvent,
  type TurnInput,
  type TurnResult,
  type TurnRunner,
} from './turn.ts';
export { AgentWorker, type WorkerDeps } from './worker.ts';
