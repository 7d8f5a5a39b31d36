// The data of conversations as agents send it: records, reports and events. Field names are those of the wire. Agents of other
// versions may leave out optional fields, and may send event types that are not listed here.

/** A function call of a model. `arguments` is the raw JSON text. */
export interface ToolCall {
  id: string;
  type: 'function';
  function: { name: string; arguments: string };
}

/** A function that the model may call. `parameters` is a JSON schema. */
export interface ToolSpec {
  type: 'function';
  function: { name: string; description?: string | undefined; parameters: Record<string, unknown> };
}

/** A message in the format of the OpenAI Chat Completions API. */
export type ModelMessage =
  | { role: 'system'; content: string }
  | { role: 'user'; content: string }
  | { role: 'assistant'; content: string | null; tool_calls?: ToolCall[] }
  | { role: 'tool'; tool_call_id: string; content: string };

/** The result of a function call that the agent returned to its caller. */
export interface ToolResult {
  tool_call_id: string;
  content: string;
}

/** Settings of the model for one turn. The agent refuses those outside of its bounds with PARAMS_INVALID. */
export interface ModelOptions {
  /** Functions of the caller. The agent returns their calls instead of running them. At most 128. */
  tools?: readonly ToolSpec[] | undefined;
  tool_choice?: 'auto' | 'none' | 'required' | { type: 'function'; function: { name: string } } | undefined;
  response_format?: Readonly<Record<string, unknown>> | undefined;
  temperature?: number | undefined;
  /** Maximum tokens of one reply. */
  max_tokens?: number | undefined;
  stop?: string | readonly string[] | undefined;
  /** One of the models that the agent allows. */
  model?: string | undefined;
  /** System message of this turn, in place of the conversation's system prompt. At most 65_536 characters. */
  instructions?: string | undefined;
  /** With `disabled`, the turn fails with PARAMS_INVALID if the model would not receive the whole history. @default 'auto' */
  truncation?: 'auto' | 'disabled' | undefined;
  /** Labels, recorded with the turn: at most 16, with names of up to 64 and texts of up to 512 characters. */
  metadata?: Readonly<Record<string, string>> | undefined;
}

export interface TurnUsage {
  prompt_tokens?: number;
  completion_tokens?: number;
  total_tokens?: number;
  cached_tokens?: number;
}

/** `unknown` without a price for the model. */
export type Cost = { amount: number; currency: string } | 'unknown';

/** Why the model ended its last reply. With `tool_calls` the caller must bring results in the next turn. */
export type FinishReason = 'stop' | 'length' | 'content_filter' | 'tool_calls' | 'refusal';

/** State of a conversation. It is `input-required` while a turn waits for an approval or for results of the caller. */
export type ConversationState = 'working' | 'input-required' | 'completed' | 'canceled' | 'failed';

export type TurnState = 'open' | 'input-required' | 'completed' | 'failed' | 'cancelled';

/** The conversation and the turn that a fork continues. */
export interface ForkOrigin {
  conversation_id: string;
  turn_id: string;
}

/** One conversation in a list. Times are ISO 8601. */
export interface ConversationSummary {
  id: string;
  state: ConversationState;
  /** Id of the principal that started it. */
  owner: string;
  /** Number of turns. */
  turns: number;
  created_at: string;
  changed_at: string;
  usage: TurnUsage;
  cost: Cost;
  /** State of the last turn that ended. */
  last_outcome: string | null;
  forked_from?: ForkOrigin;
}

/** A page of a list. `next` is the `before` of the following page; null at the end. A page may be short. */
export interface ConversationPage {
  conversations: ConversationSummary[];
  next: string | null;
}

/** A request that waits for a person: the call of a tool, or more budget. */
export interface PendingApproval {
  call_id: string;
  kind: 'tool' | 'budget';
  name: string;
  args?: Record<string, unknown>;
  asked_at: string;
}

/** One model call of a turn, with the tool calls of its reply. */
export interface TurnStep {
  step: number;
  model: string;
  finish: string | null;
  usage: TurnUsage | null;
  cost: Cost;
  /** SHA-256 of the messages that the model received, in hex. */
  digest: string;
  calls: { id: string; name: string; ok: boolean | null }[];
}

/** The record of one turn. Times are ISO 8601. */
export interface TurnReport {
  conversation_id: string;
  turn_id: string;
  state: TurnState;
  accepted_at: string;
  ended_at: string | null;
  /** Cursor of the first event of the turn. Agents of version 0.1 leave it out. */
  accepted_seq?: number;
  /** Cursor of the last event in this report. `follow` after it continues the report. */
  seq?: number;
  duration_ms: number | null;
  /** From the acceptance of the turn to the first text or call of a model. */
  first_token_ms: number | null;
  text: string;
  finish: FinishReason | null;
  /** Calls of the caller's tools, which wait for results. */
  tool_calls?: ToolCall[];
  usage: TurnUsage;
  cost: Cost;
  model: string | null;
  error?: { code: string; message: string; retryable: boolean };
  approvals?: PendingApproval[];
  steps: TurnStep[];
  /** True if parts of the report are left out, because the whole would not fit in one envelope. */
  is_cut?: true;
}

/** The messages of one model call, rebuilt from the journal. */
export interface PromptReport {
  /** Null if the agent has changed since and no longer makes that call. */
  messages: ModelMessage[] | null;
  /** SHA-256 that was recorded with the call, in hex. */
  digest: string;
  /** True if the rebuilt messages have that digest. */
  verified: boolean;
  /** Number of messages that are left out after the system message, because all would not fit in one envelope. */
  left_out?: number;
}
