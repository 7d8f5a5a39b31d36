// Exports for our own command, tests and benchmarks. Nothing here is promised to users.
export { type ConversationEvent, textOf } from './conversation/conversation.ts';
export { ConversationHost } from './conversation/host.ts';
export {
  exportConversation,
  type ListedConversation,
  listConversations,
  removeConversation,
  restoreConversation,
  type ShownConversation,
  type ShownTurn,
  showConversation,
  sweepConversations,
  trashConversation,
} from './conversation/reading/inspect.ts';
export { signedCall, verifiedCall } from './conversation/replica/passed-call.ts';
export { replicaAddressOf } from './conversation/replica/replica-address.ts';
export { startOfflineServer } from './model/offline/offline-server.ts';
export { ReplySplitter } from './model/stream/reply-splitter.ts';
export { noUsage } from './model/usage.ts';
export { addressesOf } from './process/config.ts';
export {
  confirmMcpServer,
  inspectMcpServer,
  type McpInspection,
  type NamedMcpServer,
  readMcpServersFile,
} from './process/mcp-servers-file.ts';
export { ProcessStore } from './process/process-store.ts';
export { loadRefineAgent, readRefineFile, refineKeysAt } from './refine/refine-file.ts';
export type { AgentStore, RequestState, StoredRequest } from './store/agent-store.ts';
export { MemoryStore } from './store/memory-store.ts';
export { type OpenedStore, openDatabaseStore, openStore, storePath } from './store/open-store.ts';
export { type BackupReport, backUpStore, restoreStore } from './store/sqlite/backup.ts';
export { SqliteStore } from './store/sqlite/sqlite-store.ts';
export type { ConversationStore } from './store/store.ts';
export { Sweeper } from './store/sweeper.ts';
export { agentKeysAt, teamKeysAt } from './team/team-config.ts';
export { teamDiagram } from './team/team-diagram.ts';
export { digestOf as digestOfMcpTool } from './tools/mcp/mcp-definitions.ts';
export { changesText as mcpChangesText } from './tools/mcp/mcp-tools.ts';
export { ChatTurns } from './turn/chat-turns.ts';
export type { TurnRunner } from './turn/turn.ts';
export { UnrecordedActions } from './turn/unrecorded-actions.ts';
export { YamlFile } from './yaml/yaml-file.ts';
