// Public exports for custom control flow: task trees, the splitter of a model's stream, and the window that keeps a
// conversation within a token limit.
export { type ReceivingStages, withReceivingStages } from './model/stream/receiving-stages.ts';
export {
  type ParsedToolCall,
  splitToolStream,
  type ToolStream,
  type UserText,
} from './model/stream/split-tool-stream.ts';
export { toolMessage } from './tools/tool-outcome.ts';
export { ContextWindow, type ContextWindowOptions, type Pin } from './turn/context-window.ts';
export { Commander, type CommanderOptions } from './workflow/commander.ts';
export { defineHandler, defineJob } from './workflow/define.ts';
export { addConditionalEdge, addEdge, type EdgeOptions } from './workflow/edges.ts';
export { renderTree } from './workflow/render-tree.ts';
export type {
  ErrorMode,
  ExitReport,
  HandlerCall,
  HandlerHandle,
  JobHandle,
  JobRef,
  NodeEvent,
  NodeOutcome,
  NodeState,
  Self,
  Stage,
  StageEvent,
  TaskNode,
  TreeCommander,
  WorkRef,
} from './workflow/task-node.ts';
export { workflowToMermaid } from './workflow/workflow-diagram.ts';
