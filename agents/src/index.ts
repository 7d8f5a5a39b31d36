// Public exports: the names that most programs need to define an agent, give it a model, tools and a store, and serve it. It
// includes a type only if users must name it, to implement a model, a store or an agent, or to annotate their own functions.
// Teams, strategies, task trees, processes and the test kit have their own lists: `team.ts`,
// `strategy.ts`, `workflow.ts`, `process.ts`, `testing.ts`. `surface.test.ts` pins them all.
export { AgentError, FabricError, isFabricError } from '@fame-fabric/shared';
export { defineAgent } from './agent/agent.ts';
export type { Agent, AgentContext, AgentOptions, Serving } from './agent/agent-types.ts';
export { type Delivery, type Operation, type OperationContext, operation } from './agent/operation.ts';
export type { AgentState } from './agent/state/agent-state.ts';
export { StateKeys } from './agent/state/state-keys.ts';
export type { TaskHandler } from './agent/tasks/task-types.ts';
export { AgentWorker } from './agent/worker.ts';
export { ChatAgent, type ChatAgentOptions } from './conversation/chat-agent.ts';
export type { ChatModel, ModelChunk, ModelMessage, ModelRequest } from './model/model.ts';
export { offlineModel } from './model/offline/offline-model.ts';
export { openaiModel } from './model/openai/openai-model.ts';
export { createSafeFetch } from './net/safe-fetch.ts';
export { isMain } from './process/is-main.ts';
export { type ModelFromEnvOptions, modelFromEnv } from './process/model-from-env.ts';
export { runAgents } from './process/run-agents.ts';
export type { AgentStore } from './store/agent-store.ts';
export { MemoryStore } from './store/memory-store.ts';
export { SqliteStore } from './store/sqlite/sqlite-store.ts';
export type { ConversationStore } from './store/store.ts';
export type { ApprovalRule } from './tools/approval-rule.ts';
export type { McpToolsOptions } from './tools/mcp/mcp-options.ts';
export { type McpToolSet, mcpTools } from './tools/mcp/mcp-tools.ts';
export { standardTools } from './tools/standard/standard-tools.ts';
export { taggedToolModel } from './tools/tagged/tagged-tool-model.ts';
export { type ToolContext, ToolError, tool } from './tools/tool.ts';
export { ToolSet } from './tools/tool-set.ts';
