// Attributes of the OpenTelemetry conventions for generative AI with the types of their values, as far as we use them. Written by hand
// from the registry of the repository open-telemetry/semantic-conventions-genai, commit 002c8a6e, schema 0.1.0: no package has the types.

export type RegistryType = 'string' | 'int' | 'double' | 'boolean' | 'string[]' | 'any';

export const GENAI_REGISTRY: Readonly<Record<string, RegistryType>> = {
  'gen_ai.agent.id': 'string',
  'gen_ai.agent.name': 'string',
  'gen_ai.conversation.id': 'string',
  'gen_ai.input.messages': 'any',
  'gen_ai.operation.name': 'string',
  'gen_ai.output.messages': 'any',
  'gen_ai.provider.name': 'string',
  'gen_ai.request.frequency_penalty': 'double',
  'gen_ai.request.max_tokens': 'int',
  'gen_ai.request.model': 'string',
  'gen_ai.request.presence_penalty': 'double',
  'gen_ai.request.seed': 'int',
  'gen_ai.request.stream': 'boolean',
  'gen_ai.request.temperature': 'double',
  'gen_ai.request.top_p': 'double',
  'gen_ai.response.finish_reasons': 'string[]',
  'gen_ai.response.model': 'string',
  'gen_ai.response.time_to_first_chunk': 'double',
  'gen_ai.system_instructions': 'any',
  'gen_ai.tool.call.arguments': 'any',
  'gen_ai.tool.call.id': 'string',
  'gen_ai.tool.call.result': 'any',
  'gen_ai.tool.name': 'string',
  'gen_ai.tool.type': 'string',
  'gen_ai.usage.cache_read.input_tokens': 'int',
  'gen_ai.usage.input_tokens': 'int',
  'gen_ai.usage.output_tokens': 'int',
};

/** Types of OTLP in JSON. JavaScript has one type of numbers, so a double may have the form of a whole number. */
const FORMS: Readonly<Record<RegistryType, readonly string[]>> = {
  string: ['stringValue'],
  int: ['intValue'],
  double: ['doubleValue', 'intValue'],
  boolean: ['boolValue'],
  'string[]': ['arrayValue'],
  any: ['stringValue'],
};

/** Returns the faults of the attributes `gen_ai.*` of a span. `types` has the OTLP type of each value. */
export const registryFaults = (types: Readonly<Record<string, string>>): string[] =>
  Object.entries(types)
    .filter(([name]) => name.startsWith('gen_ai.'))
    .flatMap(([name, type]) => {
      const expected = GENAI_REGISTRY[name];
      if (expected === undefined) return [`${name} is not in the registry`];
      return FORMS[expected].includes(type) ? [] : [`${name} is ${type}, not ${expected}`];
    });

/** Attributes that each span of an operation has from its start. */
export const REQUIRED: Readonly<Record<string, readonly string[]>> = {
  chat: ['gen_ai.provider.name', 'gen_ai.request.model', 'gen_ai.conversation.id', 'gen_ai.agent.name'],
  invoke_agent: ['gen_ai.agent.name'],
  execute_tool: ['gen_ai.tool.name', 'gen_ai.tool.call.id', 'gen_ai.conversation.id', 'gen_ai.agent.name'],
};
