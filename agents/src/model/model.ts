// The port to a language model. Its shapes are those of the OpenAI Chat Completions API, which keeps adapters thin and
// familiar. Implementations: `openai/openai-model.ts`, `offline/offline-model.ts` and the scripted model of the tests.

/**
 * Fields that a model server added to a message with calls. Some servers refuse the next request without them. They go back to
 * the model that sent them, and to no other.
 */
export interface ProviderFields {
  /** The model of the request. */
  model?: string;
  /** Fields of the message, such as its reasoning. They go back within the same turn only. */
  message?: Record<string, unknown>;
  /** Fields of the calls. `sentId` is the server's id of the call, where it has a meaning for the model. */
  calls?: { id: string; sentId?: string; fields?: Record<string, unknown> }[];
}
export interface ToolCall {
  id: string;
  type: 'function';
  /** `arguments` is the raw JSON text from the model. */
  function: { name: string; arguments: string };
}
export type SystemMessage = { role: 'system'; content: string };
export type UserMessage = { role: 'user'; content: string };
export type AssistantMessage = {
  role: 'assistant';
  content: string | null;
  tool_calls?: ToolCall[];
  /** Present if the server sent fields that the API does not have. */
  provider?: ProviderFields;
};
export type ToolMessage = { role: 'tool'; tool_call_id: string; content: string };
export type ModelMessage = SystemMessage | UserMessage | AssistantMessage | ToolMessage;

export interface ToolSpec {
  type: 'function';
  function: {
    name: string;
    description?: string | undefined;
    parameters: Record<string, unknown>;
    strict?: boolean | null | undefined;
  };
}
export type ToolChoice = 'auto' | 'none' | 'required' | { type: 'function'; function: { name: string } };

/** Format of an answer. */
export type ResponseFormat =
  | { type: 'text' }
  | { type: 'json_object' }
  | {
      type: 'json_schema';
      json_schema: {
        name: string;
        description?: string | undefined;
        schema?: Record<string, unknown> | undefined;
        strict?: boolean | null | undefined;
      };
    };

export interface ModelRequest {
  messages: readonly ModelMessage[];
  tools?: readonly ToolSpec[] | undefined;
  tool_choice?: ToolChoice | undefined;
  response_format?: ResponseFormat | undefined;
  temperature?: number | undefined;
  top_p?: number | undefined;
  presence_penalty?: number | undefined;
  frequency_penalty?: number | undefined;
  /** Asks the server for the same answer to the same request, as far as it can. */
  seed?: number | undefined;
  /** Maximum tokens of the answer. */
  max_tokens?: number | undefined;
  /** Texts that end the answer. They are not part of it. */
  stop?: string | readonly string[] | undefined;
  /** Overrides the model's own name. */
  model?: string | undefined;
}

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  cached_tokens?: number | undefined;
}
/** `refusal`: the model declined to answer, and its text says so. */
export type FinishReason = 'stop' | 'length' | 'tool_calls' | 'content_filter' | 'function_call' | 'refusal';

export interface ToolCallDelta {
  index?: number | undefined;
  id?: string | undefined;
  function?: { name?: string | undefined; arguments?: string | undefined } | undefined;
  /** Fields of the call that the API does not have. */
  extra?: Record<string, unknown> | undefined;
}
/** One piece of a streamed answer: the fields of a `chat.completion.chunk` that we read. */
export interface ModelChunk {
  choices: readonly {
    index?: number | undefined;
    delta: {
      content?: string | null | undefined;
      /** Text of a model that declines to answer, in place of `content`. */
      refusal?: string | null | undefined;
      /** Reasoning of the model before its answer. It is not part of the answer. */
      reasoning?: string | undefined;
      /** Fields of the message that the API does not have. Reasoning texts continue those of earlier chunks. */
      extra?: Record<string, unknown> | undefined;
      tool_calls?: readonly ToolCallDelta[] | undefined;
    };
    finish_reason?: FinishReason | null | undefined;
  }[];
  usage?: Usage | null | undefined;
  model?: string | undefined;
}

/** Reason for a wait before a request to a model server is repeated. */
export type WaitReason = 'rate_limited' | 'server_failed' | 'timed_out' | 'unreachable';

/** A wait before a failed request is sent again. */
export interface ModelWait {
  readonly reason: WaitReason;
  /** Duration of the wait, in ms. */
  readonly waitMs: number;
  /** Number of the next attempt, from 2. */
  readonly attempt: number;
  /** Maximum number of attempts. */
  readonly attempts: number;
  /** The server's own reason in one line, without keys and texts of the conversation. */
  readonly message?: string | undefined;
}

/** Options of one request. */
export interface ModelStreamOptions {
  /** Closes the request. */
  readonly signal?: AbortSignal | undefined;
  /** Called at the start of each wait before the request is sent again. */
  readonly onWait?: ((wait: ModelWait) => void) | undefined;
}

export interface ChatModel {
  /** The name in replies and usage reports; `offline` for the built-in model. */
  readonly name: string;
  /** Provider in traces and metrics, such as `openai`: a value of `gen_ai.provider.name`. @default unknown */
  readonly provider?: string | undefined;
  /**
   * Streams one answer. Aborting `signal`, or leaving the iteration, closes the request to the model server.
   * @throws {MODEL_UNAVAILABLE | MODEL_TIMEOUT | MODEL_AUTH | MODEL_NOT_FOUND | MODEL_RATE_LIMITED | MODEL_REFUSED}
   */
  stream(request: ModelRequest, options?: ModelStreamOptions): AsyncIterable<ModelChunk>;
}
