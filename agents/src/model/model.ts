// The port to a language model. Shapes are those of the OpenAI Chat Completions API, so that adapters stay thin and what
// a person knows from there holds here. `openai-model.ts`, `offline-model.ts` and the scripted model implement it.

export interface ToolCall {
  id: string;
  type: 'function';
  /** `arguments` is the raw JSON text as the model wrote it. */
  function: { name: string; arguments: string };
}
export type SystemMessage = { role: 'system'; content: string };
export type UserMessage = { role: 'user'; content: string };
export type AssistantMessage = { role: 'assistant'; content: string | null; tool_calls?: ToolCall[] };
export type ToolMessage = { role: 'tool'; tool_call_id: string; content: string };
export type ModelMessage = SystemMessage | UserMessage | AssistantMessage | ToolMessage;

export interface ToolSpec {
  type: 'function';
  function: { name: string; description?: string; parameters: Record<string, unknown> };
}
export type ToolChoice = 'auto' | 'none' | 'required' | { type: 'function'; function: { name: string } };

export interface ModelRequest {
  messages: readonly ModelMessage[];
  tools?: readonly ToolSpec[];
  tool_choice?: ToolChoice;
  temperature?: number;
  /** Most tokens of the answer. */
  max_tokens?: number;
  /** Overrides the model's own name. */
  model?: string;
}

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  cached_tokens?: number;
}
export type FinishReason = 'stop' | 'length' | 'tool_calls' | 'content_filter' | 'function_call';

export interface ToolCallDelta {
  index?: number;
  id?: string;
  function?: { name?: string; arguments?: string };
}
/** One piece of a streamed answer: a `chat.completion.chunk`, or the part of one that we read. */
export interface ModelChunk {
  choices: readonly {
    index?: number;
    delta: { content?: string | null; tool_calls?: readonly ToolCallDelta[] };
    finish_reason?: FinishReason | null;
  }[];
  usage?: Usage | null;
  model?: string;
}

export interface ChatModel {
  /** What answers and the `usage` report call it; `offline` for the built-in one. */
  readonly name: string;
  /**
   * Streams one answer. Aborting `signal`, or leaving the iteration, closes the request to the model server.
   * @throws {MODEL_UNAVAILABLE | MODEL_TIMEOUT | MODEL_AUTH | MODEL_NOT_FOUND | MODEL_RATE_LIMITED | MODEL_REFUSED}
   */
  stream(request: ModelRequest, options?: { signal?: AbortSignal }): AsyncIterable<ModelChunk>;
}
