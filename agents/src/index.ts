// The public list of the agent room, by name; `index.test.ts` pins it. `strategy.ts` and `team.ts` list all of their parts,
// this file what most programs use of them. Running a process stands in `main.ts`, the test kit in `testing.ts`.
export { FabricError, isFabricError } from '@fame-fabric/shared';
export { defineAgent } from './agent/agent.ts';
export type {
  Agent,
  AgentContext,
  AgentLink,
  AgentOptions,
  ServeOptions,
  Serving,
} from './agent/agent-types.ts';
export {
  type Operation,
  type OperationContext,
  type OperationOptions,
  type Outbound,
  operation,
  type ParamsSchema,
} from './agent/operation.ts';
export { taskQueryParams, taskSendParams } from './agent/tasks/task-methods.ts';
export type { TaskHandle, TaskHandler } from './agent/tasks/task-types.ts';
export { AgentWorker, type WorkerDeps } from './agent/worker.ts';
export { echoAgent } from './builtin/echo-agent.ts';
export { mathAgent } from './builtin/math-agent.ts';
export { ChatAgent, type ChatAgentOptions } from './conversation/chat-agent.ts';
export type { BudgetLimits } from './conversation/spending.ts';
export type {
  AssistantMessage,
  ChatModel,
  FinishReason,
  ModelChunk,
  ModelMessage,
  ModelRequest,
  ToolCall,
  ToolMessage,
  ToolSpec,
  Usage,
} from './model/model.ts';
export { type OfflineModelOptions, offlineModel } from './model/offline/offline-model.ts';
export { type OpenAIModelOptions, openaiModel } from './model/openai/openai-model.ts';
export { type ReceivingStages, withReceivingStages } from './model/stream/receiving-stages.ts';
export {
  type ParsedToolCall,
  type Reply,
  type SplitOptions,
  splitToolStream,
  type ToolStream,
  type UserText,
} from './model/stream/split-tool-stream.ts';
export { roughTokens, type TokenCounter } from './model/tokens.ts';
export {
  createSafeFetch,
  type SafeFetch,
  type SafeFetchOptions,
  type SafeFetchRequest,
  type SafeFetchResponse,
} from './net/safe-fetch.ts';
export {
  AGENT_VARIABLES,
  type AgentConfig,
  type AgentVariable,
  type ModelConfig,
  readAgentConfig,
} from './process/config.ts';
export {
  type AgentSource,
  type NamedAgent,
  type ProcessContext,
  type RunOptions,
  runAgents,
} from './process/run-agents.ts';
export { MemoryStore, type MemoryStoreOptions } from './store/memory-store.ts';
export { type OpenedStore, openStore, type StoreConfig } from './store/open-store.ts';
export { SqliteStore, type SqliteStoreOptions } from './store/sqlite/sqlite-store.ts';
export type { ConversationStore } from './store/store.ts';
export { PromptTemplate } from './strategy/prompt-template.ts';
export {
  Budget,
  type BudgetOptions,
  ChatMessage,
  type ChatModelResponse,
  ChatPrompt,
  type CompletionFunction,
  defineFunction,
  defineStrategies,
  defineStrategy,
  functionFromJsonSchema,
  type JsonObject,
  type JsonSchemaObject,
  type JsonValue,
  type ModelClass,
  type ModelClasses,
  type MoveOf,
  type PriceTable,
  type PromptStrategy,
  RefineAgent,
  type RefineAgentOptions,
  type RefinedGoals,
  type RetryPolicy,
  refineUserContext,
  type StrategyEnv,
  StrategyRegistry,
  type UsageReport,
} from './strategy.ts';
export {
  type AbilityContext,
  type AbilityFn,
  type AbilityModule,
  type AbilityReturn,
  analyzeTeam,
  choose,
  type Diagnostic,
  dedupe,
  type Interpolations,
  type LoadTeamOptions,
  list,
  loadTeam,
  type ModelResolver,
  reply,
  Team,
  TeamAgent,
  type TeamAgentOptions,
  TeamConfigError,
  type TeamConfigInput,
  type TeamEvent,
  type TeamResult,
  type TeamTurn,
} from './team.ts';
export { standardTools } from './tools/standard/standard-tools.ts';
export { type TaggedToolOptions, taggedToolModel } from './tools/tagged/tagged-tool-model.ts';
export {
  type AnyTool,
  type ToolContext,
  type ToolDef,
  ToolError,
  type ToolOptions,
  tool,
} from './tools/tool.ts';
export { outcomeContent, type ToolOutcome, toolMessage } from './tools/tool-outcome.ts';
export { type ExecuteOptions, ToolSet, type ToolSetOptions } from './tools/tool-set.ts';
export { ContextWindow, type ContextWindowOptions, type Pin } from './turn/context-window.ts';
export {
  History,
  type HistoryOptions,
  type TurnDraft,
} from './turn/history.ts';
export {
  ChatTurns,
  type ChatTurnsOptions,
  type TurnEvent,
  type TurnInput,
  type TurnResult,
  type TurnRunner,
} from './turn/turn.ts';
export { Commander, type CommanderOptions } from './workflow/commander.ts';
export {
  defineHandler,
  defineJob,
  type ErrorMode,
  type HandlerCall,
  type HandlerHandle,
  type JobHandle,
  type JobRef,
  type NodeRef,
  type Self,
} from './workflow/define.ts';
export { addConditionalEdge, addEdge, type EdgeOptions } from './workflow/edges.ts';
export { renderTree } from './workflow/render-tree.ts';
export type {
  ExitReport,
  NodeEvent,
  NodeOutcome,
  NodeState,
  Stage,
  StageEvent,
  TaskNode,
} from './workflow/task-node.ts';
export { workflowToMermaid } from './workflow/workflow-diagram.ts';
