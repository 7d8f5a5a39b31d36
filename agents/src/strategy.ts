// Public exports for prompt strategies: messages, functions, prompts, budgets, and the refining dialogue.
export { Budget, type BudgetOptions, type Price, type PriceTable } from './model/budget.ts';
export { type ModelClass, type ModelClasses, modelOf } from './model/model-classes.ts';
export type { Spent, UsageReport } from './model/usage.ts';
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
} from './refine/refine.ts';
export { RefineAgent, type RefineAgentOptions } from './refine/refine-agent.ts';
export { refineStrategy } from './refine/refine-strategy.ts';
export {
  type Asked,
  type AskOptions,
  askWithRepair,
  type FunctionCall,
  type FunctionCallOf,
  type RetryPolicy,
} from './strategy/ask-with-repair.ts';
export { ChatMessage, type MessageInput, Role } from './strategy/chat-message.ts';
export { ChatPrompt, type ChatPromptInit } from './strategy/chat-prompt.ts';
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
export { PromptTemplate } from './strategy/prompt-template.ts';
export { type Attempt, StrategyError } from './strategy/strategy-error.ts';
export {
  type ArgumentsError,
  type CompletionFunction,
  defineFunction,
  functionFromJsonSchema,
  type ParsedArguments,
} from './tools/schema/completion-function.ts';
export type { JsonObject, JsonSchemaObject, JsonValue, PropertyDef } from './tools/schema/json-schema.ts';
