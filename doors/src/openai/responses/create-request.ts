// The body of a request for a response. Unknown fields are ignored, as in the API of OpenAI. Fields that the door cannot support are
// refused, because a client that sets them relies on them.
import type { ModelOptions, ToolSpec } from '@fame-fabric/client';
import { type Fields, flagOf, isFields, isGiven, numberOf } from '../fields.ts';
import { invalid } from '../openai-error.ts';
import { type ResponseInput, readInput } from './input-items.ts';

/** The settings of a request, without its input and its place. */
export interface Settings {
  readonly instructions: string | undefined;
  /** Options for the model, without `instructions` and `metadata`. */
  readonly options: ModelOptions;
  readonly metadata: Readonly<Record<string, string>>;
  /** True if the response has the agent's own steps as items. */
  readonly hasSteps: boolean;
}

export interface CreateRequest extends Settings {
  /** The agent. Undefined if the request continues a response or a conversation and names none. */
  readonly model: string | undefined;
  readonly input: ResponseInput;
  readonly previousId: string | undefined;
  readonly conversation: string | undefined;
  readonly isStream: boolean;
  readonly isBackground: boolean;
  readonly isStored: boolean;
}

/** Value of `include` for the agent's own steps. Validators of other clients refuse unknown items. */
const STEPS = 'fame:steps';

/** Reads a body. @throws {PARAMS_INVALID} with the `param` that is at fault */
export function readCreateRequest(body: unknown): CreateRequest {
  if (!isFields(body)) throw invalid('body', 'must be a JSON object.');
  const previousId = textOf(body.previous_response_id, 'previous_response_id');
  const conversation = conversationOf(body.conversation);
  const model = textOf(body.model, 'model');
  if (previousId !== undefined && conversation !== undefined) {
    throw invalid('previous_response_id', 'cannot be combined with conversation.');
  }
  if (model === undefined && previousId === undefined && conversation === undefined) {
    throw invalid('model', 'is required.');
  }
  const isStored = flagOf(body.store, 'store', true);
  const isBackground = flagOf(body.background, 'background', false);
  if (isBackground && !isStored) throw invalid('store', 'must be true for a response in the background.');
  if (conversation !== undefined && !isStored) throw invalid('store', 'must be true in a conversation.');
  refuseUnsupported(body);
  return {
    model,
    input: readInput(body.input),
    previousId,
    conversation,
    isStream: flagOf(body.stream, 'stream', false),
    isBackground,
    isStored,
    instructions: textOf(body.instructions, 'instructions', { mayBeEmpty: true }),
    options: optionsOf(body),
    metadata: metadataOf(body.metadata),
    hasSteps: Array.isArray(body.include) && body.include.includes(STEPS),
  };
}

function refuseUnsupported({ top_logprobs, include, prompt }: Fields): void {
  if (isGiven(top_logprobs) && top_logprobs !== 0) throw invalid('top_logprobs', 'is not supported.');
  if (Array.isArray(include) && include.includes('message.output_text.logprobs'))
    throw invalid('include', 'message.output_text.logprobs is not supported.');
  if (isGiven(prompt)) throw invalid('prompt', 'is not supported. Send instructions and input.');
}

function optionsOf(body: Fields): ModelOptions {
  const { temperature, max_output_tokens: maxTokens, truncation, text } = body;
  const options: ModelOptions = {};
  const tools = toolsOf(body.tools);
  const choice = isGiven(body.tool_choice) ? choiceOf(body.tool_choice, tools) : undefined;
  if (choice?.tools ?? tools) options.tools = choice?.tools ?? tools;
  if (choice && choice.choice !== 'auto') options.tool_choice = choice.choice;
  if (isGiven(temperature)) options.temperature = numberOf(temperature, 'temperature');
  if (isGiven(maxTokens)) options.max_tokens = numberOf(maxTokens, 'max_output_tokens');
  // The default needs no option, which some agents do not support.
  if (isGiven(truncation) && truncationOf(truncation) === 'disabled') options.truncation = 'disabled';
  const format = isFields(text) && isGiven(text.format) ? formatOf(text.format) : undefined;
  if (format) options.response_format = format;
  return options;
}

function truncationOf(value: unknown): 'auto' | 'disabled' {
  if (value === 'auto' || value === 'disabled') return value;
  throw invalid('truncation', 'must be auto or disabled.');
}

function toolsOf(value: unknown): ToolSpec[] | undefined {
  if (!isGiven(value)) return undefined;
  if (!Array.isArray(value)) throw invalid('tools', 'must be an array.');
  return value.length === 0 ? undefined : value.map((tool, i) => toolOf(tool, `tools[${i}]`));
}

function toolOf(value: unknown, at: string): ToolSpec {
  const { type, name, description, parameters, strict } = (value ?? {}) as Fields;
  if (type !== 'function') {
    const kind = typeof type === 'string' ? JSON.stringify(type.slice(0, 40)) : 'A tool without a type';
    throw invalid(`${at}.type`, `${kind} is not supported: the agent has its own tools. Send functions.`);
  }
  if (typeof name !== 'string') throw invalid(`${at}.name`, 'is required.');
  if (isGiven(parameters) && !isFields(parameters))
    throw invalid(`${at}.parameters`, 'must be a JSON schema.');
  return {
    type,
    function: {
      name,
      ...(typeof description === 'string' ? { description } : {}),
      // OpenAI treats a schema without a type as the schema of an object.
      parameters: { type: 'object', ...((parameters as Fields | null | undefined) ?? { properties: {} }) },
      ...(typeof strict === 'boolean' ? { strict } : {}),
    },
  };
}

type Choice = NonNullable<ModelOptions['tool_choice']>;

function choiceOf(
  value: unknown,
  tools: readonly ToolSpec[] | undefined,
): { choice: Choice; tools?: readonly ToolSpec[] } {
  if (isMode(value)) return { choice: value };
  const { type, name, mode = 'auto', tools: allowed } = (value ?? {}) as Fields;
  if (type === 'function' && typeof name === 'string') return { choice: { type, function: { name } } };
  if (type !== 'allowed_tools' || !isMode(mode) || !Array.isArray(allowed)) {
    throw invalid(
      'tool_choice',
      'must be none, auto, required, a function, or allowed_tools with functions.',
    );
  }
  const names = new Set(allowed.map((tool) => (tool as Fields | null)?.name));
  return { choice: mode, tools: tools?.filter((tool) => names.has(tool.function.name)) ?? [] };
}

const isMode = (value: unknown): value is 'none' | 'auto' | 'required' =>
  value === 'none' || value === 'auto' || value === 'required';

function formatOf(value: unknown): Fields | undefined {
  const { type, name, description, schema, strict } = (value ?? {}) as Fields;
  if (type === 'text') return undefined;
  if (type === 'json_object') return { type };
  if (type !== 'json_schema') throw invalid('text.format.type', 'must be text, json_object or json_schema.');
  if (typeof name !== 'string') throw invalid('text.format.name', 'is required.');
  if (!isFields(schema)) throw invalid('text.format.schema', 'is required.');
  return {
    type,
    json_schema: {
      name,
      ...(isGiven(description) ? { description } : {}),
      schema,
      ...(isGiven(strict) ? { strict } : {}),
    },
  };
}

function conversationOf(value: unknown): string | undefined {
  if (!isFields(value)) return textOf(value, 'conversation');
  return textOf(value.id ?? '', 'conversation.id');
}

/** Limits of OpenAI, which agents have as well. */
const MAX_PAIRS = 16;

/** Reads `metadata`. @throws {PARAMS_INVALID} */
export function metadataOf(value: unknown): Record<string, string> {
  if (!isGiven(value)) return {};
  if (!isFields(value)) throw invalid('metadata', 'must be an object of texts.');
  const pairs = Object.entries(value);
  if (pairs.length > MAX_PAIRS) throw invalid('metadata', `has more than ${MAX_PAIRS} pairs.`);
  for (const [key, text] of pairs) {
    if (key.startsWith('fame:'))
      throw invalid('metadata', 'has a key with the prefix fame:, which is reserved.');
    if (key === '' || key.length > 64)
      throw invalid('metadata', 'has a key that is empty or longer than 64 characters.');
    if (typeof text !== 'string' || text.length > 512)
      throw invalid(`metadata.${key}`, 'must be a text of at most 512 characters.');
  }
  return value as Record<string, string>;
}

function textOf(value: unknown, param: string, { mayBeEmpty = false } = {}): string | undefined {
  if (!isGiven(value)) return undefined;
  if (typeof value === 'string' && (mayBeEmpty || value !== '')) return value;
  throw invalid(param, mayBeEmpty ? 'must be a text.' : 'must be a text that is not empty.');
}
