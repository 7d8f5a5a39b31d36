// Public list of task trees, by name: jobs and handlers, the commander that runs them, and their edges.
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
