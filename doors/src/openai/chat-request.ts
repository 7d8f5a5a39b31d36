// The body of a Chat Completions request. Unknown fields are ignored, as in the API of OpenAI. Fields that the door cannot support are
// refused, because a client that sets them relies on them.
import type { ModelOptions, ToolSpec } from '@fame-fabric/client';
import { readMessages, type SentMessages } from './chat-messages.ts';
import { type Fields, flagOf, isFields, isGiven, numberOf } from './fields.ts';
import { invalid } from './openai-error.ts';

export interface ChatRequest {
  readonly model: string;
  readonly messages: SentMessages;
  readonly isStream: boolean;
  /** True if a stream ends with a chunk that has the usage. */
  readonly hasUsageChunk: boolean;
  /** Settings for the model; undefined if there are none. */
  readonly options: ModelOptions | undefined;
  readonly metadata: Fields;
}

/** Reads a body. @throws {PARAMS_INVALID} with the `param` that is at fault */
export function readChatRequest(body: unknown): ChatRequest {
  if (!isFields(body)) throw invalid('body', 'must be a JSON object.');
  const { model, stream, stream_options: streamOptions, metadata } = body;
  if (typeof model !== 'string' || model === '') throw invalid('model', 'is required.');
  refuseUnsupported(body);
  const options = optionsOf(body);
  return {
    model,
    messages: readMessages(body.messages),
    isStream: flagOf(stream, 'stream', false),
    hasUsageChunk: isFields(streamOptions) && streamOptions.include_usage === true,
    options: Object.keys(options).length > 0 ? options : undefined,
    metadata: isFields(metadata) ? metadata : {},
  };
}

function refuseUnsupported(body: Fields): void {
  const { n, logprobs, top_logprobs, modalities, audio, functions, function_call } = body;
  if (isGiven(n) && n !== 1) throw invalid('n', 'must be 1: an agent gives one answer.');
  if (isGiven(logprobs) && logprobs !== false) throw invalid('logprobs', 'is not supported.');
  if (isGiven(top_logprobs) && top_logprobs !== 0) throw invalid('top_logprobs', 'is not supported.');
  if (Array.isArray(modalities) && modalities.some((kind) => kind !== 'text'))
    throw invalid('modalities', 'must be ["text"]: agents answer with text.');
  if (isGiven(audio)) throw invalid('audio', 'is not supported: agents answer with text.');
  if (isGiven(functions)) throw invalid('functions', 'is deprecated and not supported. Send tools.');
  if (isGiven(function_call))
    throw invalid('function_call', 'is deprecated and not supported. Send tool_choice.');
}

function optionsOf(body: Fields): ModelOptions {
  const { temperature, max_tokens, max_completion_tokens, stop, response_format, tool_choice } = body;
  const options: ModelOptions = {};
  const tools = toolsOf(body.tools);
  if (tools) options.tools = tools;
  if (isGiven(tool_choice)) options.tool_choice = choiceOf(tool_choice);
  if (isGiven(response_format)) options.response_format = formatOf(response_format);
  if (isGiven(temperature)) options.temperature = numberOf(temperature, 'temperature');
  if (isGiven(max_completion_tokens))
    options.max_tokens = numberOf(max_completion_tokens, 'max_completion_tokens');
  else if (isGiven(max_tokens)) options.max_tokens = numberOf(max_tokens, 'max_tokens');
  if (isGiven(stop) && !(Array.isArray(stop) && stop.length === 0)) options.stop = stopOf(stop);
  return options;
}

function toolsOf(value: unknown): ToolSpec[] | undefined {
  if (!isGiven(value)) return undefined;
  if (!Array.isArray(value)) throw invalid('tools', 'must be an array.');
  return value.length === 0 ? undefined : value.map((tool, i) => toolOf(tool, `tools[${i}]`));
}

function toolOf(value: unknown, at: string): ToolSpec {
  const { type, function: given } = (value ?? {}) as Fields;
  if (type !== 'function') throw invalid(`${at}.type`, 'must be function.');
  if (!isFields(given) || typeof given.name !== 'string')
    throw invalid(`${at}.function.name`, 'is required.');
  const { name, description, parameters, strict } = given;
  if (isGiven(parameters) && !isFields(parameters))
    throw invalid(`${at}.function.parameters`, 'must be a JSON schema.');
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

function choiceOf(value: unknown): ModelOptions['tool_choice'] {
  if (value === 'auto' || value === 'none' || value === 'required') return value;
  const { type, function: called } = (value ?? {}) as Fields;
  const name = isFields(called) ? called.name : undefined;
  if (type === 'function' && typeof name === 'string') return { type, function: { name } };
  throw invalid('tool_choice', 'must be none, auto, required or a function.');
}

function formatOf(value: unknown): Fields {
  const { type, json_schema: given } = (value ?? {}) as Fields;
  if (type === 'text' || type === 'json_object') return { type };
  if (type !== 'json_schema')
    throw invalid('response_format.type', 'must be text, json_object or json_schema.');
  if (!isFields(given)) throw invalid('response_format.json_schema', 'is required.');
  const { name, description, schema, strict } = given;
  return {
    type,
    json_schema: {
      name,
      ...(isGiven(description) ? { description } : {}),
      ...(isGiven(schema) ? { schema } : {}),
      ...(isGiven(strict) ? { strict } : {}),
    },
  };
}

function stopOf(value: unknown): string | string[] {
  if (typeof value === 'string') return value;
  if (Array.isArray(value) && value.every((one) => typeof one === 'string')) return value;
  throw invalid('stop', 'must be a text or an array of texts.');
}
