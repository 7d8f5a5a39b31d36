// The public list of prompt strategies, by name: messages, functions, prompts, budgets, and the refining dialogue.
export { Budget, type BudgetOptions, type Price, type PriceTable } from './strategy/budget.ts';
export { ChatMessage, type MessageInput } from './strategy/chat-message.ts';
export { ChatPrompt, type ChatPromptInit } from './strategy/chat-prompt.ts';
export {
  type ArgumentsError,
  type CompletionFunction,
  defineFunction,
  functionFromJsonSchema,
  type ParsedArguments,
} from './strategy/completion-function.ts';
export type { JsonObject, JsonSchemaObject, JsonValue, PropertyDef } from './strategy/json-schema.ts';
export { type ModelClass, type ModelClasses, modelOf } from './strategy/model-classes.ts';
export {
  type ChatModelResponse,
  defineStrategies,
  defineStrategy,
  type ExecuteHooks,
  type ExecuteOptions,
  type PromptStrategy,
  type StrategyEnv,
  StrategyRegistry,
} from './strategy/prompt-strategy.ts';
export {
  type RefinedGoals,
  type RefineEntry,
  RefineLimitError,
  type RefineOptions,
  type RefineState,
  type RefineStep,
  type RefineTurn,
  refineStep,
  refineUserContext,
  textOfRefine,
} from './strategy/refine.ts';
export { RefineAgent, type RefineAgentOptions } from './strategy/refine-agent.ts';
export {
  type Asked,
  type AskOptions,
  ask,
  type Move,
  type MoveOf,
  type RetryPolicy,
} from './strategy/response-ladder.ts';
export { type Attempt, StrategyError } from './strategy/strategy-error.ts';
export type { Spent, UsageReport } from './strategy/usage-report.ts';
