// Public exports for programs that run agents as a process: configuration, signals, exit codes. Importing this file loads no
// model, store or agent; `runAgentProcess` loads those that the configuration selects.
export { OPENAI_BASE_URL } from './model/openai/base-url.ts';
export {
  AGENT_VARIABLES,
  type AgentConfig,
  type ModelConfig,
  readAgentConfig,
} from './process/config.ts';
export { modelsOf, runAgentProcess } from './process/main.ts';
export { readPricesFile } from './process/prices-file.ts';
export {
  type AgentSource,
  type NamedAgent,
  type ProcessContext,
  type RunOptions,
  runAgents,
} from './process/run-agents.ts';
