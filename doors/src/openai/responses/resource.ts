// The objects of the Responses API that this door sends: the response, its items, and their ids. Written from the Open Responses
// specification of 2026-04-24; conversations, `background` and `cancelled` are those of OpenAI.
import { hash } from '../../shared/retry-key.ts';

type ItemStatus = 'in_progress' | 'completed' | 'incomplete';

export interface OutputText {
  type: 'output_text';
  text: string;
  annotations: [];
  logprobs: [];
}

interface InputText {
  type: 'input_text';
  text: string;
}

export interface MessageItem {
  type: 'message';
  id: string;
  status: ItemStatus;
  role: 'user' | 'assistant' | 'system';
  content: (OutputText | InputText)[];
}

export interface FunctionCallItem {
  type: 'function_call';
  id: string;
  status: ItemStatus;
  call_id: string;
  name: string;
  /** JSON as a text. */
  arguments: string;
}

export interface FunctionCallOutputItem {
  type: 'function_call_output';
  id: string;
  status: ItemStatus;
  call_id: string;
  output: string;
}

/**
 * One of the agent's own steps: the call of one of its tools, or a question to a person. The client need not react. `arguments` is absent
 * if the agent does not reveal them.
 */
export interface AgentStepItem {
  type: 'fame:tool_call' | 'fame:approval_request';
  id: string;
  status: ItemStatus;
  call_id: string;
  name: string;
  arguments?: string;
}

export type OutputItem = MessageItem | FunctionCallItem | AgentStepItem;
export type Item = OutputItem | FunctionCallOutputItem;

type ResponseStatus = 'queued' | 'in_progress' | 'completed' | 'incomplete' | 'failed' | 'cancelled';

export interface ResponseUsage {
  input_tokens: number;
  input_tokens_details: { cached_tokens: number };
  output_tokens: number;
  output_tokens_details: { reasoning_tokens: number };
  total_tokens: number;
}

export interface FunctionTool {
  type: 'function';
  name: string;
  description: string | null;
  parameters: Readonly<Record<string, unknown>> | null;
  strict: boolean | null;
}

export type ToolChoice = 'none' | 'auto' | 'required' | { type: 'function'; name: string };

export type TextFormat =
  | { type: 'text' }
  | { type: 'json_object' }
  | {
      type: 'json_schema';
      name: string;
      description: string | null;
      schema: Readonly<Record<string, unknown>> | null;
      strict: boolean;
    };

/** The settings of a request as its response shows them. */
export interface Echo {
  previous_response_id: string | null;
  instructions: string | null;
  tools: FunctionTool[];
  tool_choice: ToolChoice;
  truncation: 'auto' | 'disabled';
  text: { format: TextFormat };
  temperature: number;
  max_output_tokens: number | null;
  store: boolean;
  background: boolean;
  metadata: Readonly<Record<string, string>>;
  conversation: { id: string } | null;
}

/** A response. Times are seconds since the epoch. */
export interface ResponseResource extends Echo {
  id: string;
  object: 'response';
  created_at: number;
  completed_at: number | null;
  status: ResponseStatus;
  incomplete_details: { reason: string } | null;
  model: string;
  output: OutputItem[];
  error: { code: string; message: string } | null;
  parallel_tool_calls: boolean;
  top_p: number;
  presence_penalty: number;
  frequency_penalty: number;
  top_logprobs: number;
  reasoning: { effort: null; summary: null };
  usage: ResponseUsage | null;
  max_tool_calls: null;
  service_tier: string;
  safety_identifier: null;
  prompt_cache_key: null;
}

export interface ResponseHead {
  readonly id: string;
  /** Address of the agent. */
  readonly model: string;
  /** Seconds since the epoch. */
  readonly createdAt: number;
  readonly echo: Echo;
  /** True if the agent's own steps are items. @default false */
  readonly hasSteps?: boolean | undefined;
}

/** A response that has just begun. Settings that agents do not support have the value for "none". */
export const newResponse = ({ id, model, createdAt, echo }: ResponseHead): ResponseResource => ({
  id,
  object: 'response',
  created_at: createdAt,
  completed_at: null,
  status: 'in_progress',
  incomplete_details: null,
  model,
  output: [],
  error: null,
  ...echo,
  parallel_tool_calls: true,
  top_p: 1,
  presence_penalty: 0,
  frequency_penalty: 0,
  top_logprobs: 0,
  reasoning: { effort: null, summary: null },
  usage: null,
  max_tool_calls: null,
  service_tier: 'default',
  safety_identifier: null,
  prompt_cache_key: null,
});

export const outputText = (text: string): OutputText => ({
  type: 'output_text',
  text,
  annotations: [],
  logprobs: [],
});

/** The turn to which items belong. */
export interface TurnPlace {
  readonly agent: string;
  readonly conversation: string;
  readonly turn: string;
}

/** Returns the ids of the items of a turn. They are the same at every door, because each is derived from its place. */
export function itemIds({ agent, conversation, turn }: TurnPlace): (prefix: string, place: string) => string {
  const base = hash('items', agent, conversation, turn);
  return (prefix, place) => `${prefix}_${base}_${place}`;
}
