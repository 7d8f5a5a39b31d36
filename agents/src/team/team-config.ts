// Schema of the team files. Strict: an unknown key is a fault, because a misspelt key would be ignored
// silently. `load-team.ts` reads the files, `analyze-team.ts` checks the team as a whole.
import { z } from 'zod';
import { responseFormat } from '../model/response-format.ts';
import type { JsonSchemaObject, PropertyDef } from '../tools/schema/json-schema.ts';
import { schemaOfList } from '../tools/schema/json-schema.ts';
import type { ConfigPath } from '../yaml/diagnostic.ts';

const name = z.string().min(1).max(128);
const functionName = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/, 'must be 1 to 64 letters, digits, "_" and "-"');

const routeShape = {
  agent: name.optional(),
  function: functionName.optional(),
  ignore: z.string().min(1).optional(),
  with: z.array(name).optional(),
};
const route = z.strictObject(routeShape).superRefine((value, context) => {
  const targets = [value.agent, value.function, value.ignore].filter((target) => target !== undefined);
  if (targets.length !== 1) {
    context.addIssue({ code: 'custom', message: 'must name one of agent, function and ignore' });
  }
});

const PARAMETERS = 'must be a JSON Schema of type object, or a list of { name, type }';
/** `properties` may be missing or empty, as in the schemas of MCP tools without arguments. */
const schemaObject = z
  .looseObject({
    type: z.literal('object'),
    properties: z.record(z.string(), z.record(z.string(), z.unknown())).nullish(),
  })
  .transform((schema): JsonSchemaObject => ({ ...schema, properties: schema.properties ?? {} }));
const propertyList = z
  .array(z.looseObject({ name, type: z.string() }))
  .transform((list) => schemaOfList(list as unknown as PropertyDef[]));

const functionShape = {
  name: functionName,
  description: z.string().optional(),
  parameters: z.union([propertyList, schemaObject], { error: PARAMETERS }).optional(),
  timeout_ms: z.int().min(1).optional(),
  /** Every call needs the approval of a person. */
  approval: z.literal('always').optional(),
};

const forcedShape = { name: functionName };
const choiceWords = z.enum(['auto', 'none', 'required']);
/** A function in the form of the API's `tools`. */
const toolShape = { type: z.literal('function'), function: z.strictObject(functionShape) };
const forcedToolShape = { type: z.literal('function'), function: z.strictObject(forcedShape) };
const stateMapShape = {
  function_name: functionName,
  argument_name: name,
  values_map: z.record(z.string(), route),
  otherwise: route.optional(),
};

const penalty = z.number().min(-2).max(2).optional();

/** Parameters of requests to a model, by their names in the Chat Completions API. */
const requestShape = {
  temperature: z.number().min(0).max(2).optional(),
  top_p: z.number().min(0).max(1).optional(),
  max_tokens: z.int().min(1).optional(),
  stop: z
    .union([z.string().min(1), z.array(z.string().min(1)).min(1).max(4)], {
      error: 'must be a text, or a list of up to 4 texts',
    })
    .optional(),
  seed: z.int().optional(),
  presence_penalty: penalty,
  frequency_penalty: penalty,
  response_format: responseFormat.optional(),
};
const modelShape = {
  /** A class of the team's `models`, or the name of a model. */
  model: name.optional(),
  ...requestShape,
};
const modelSettings = z.strictObject(modelShape);
/** Settings of the requests of an agent. */
export type ModelSettings = Readonly<z.output<typeof modelSettings>>;
/** Keys of the settings that are sent with a request as they are. */
export const REQUEST_SETTINGS = Object.keys(requestShape) as readonly (keyof typeof requestShape)[];

const agentShape = {
  ...modelShape,
  system_directives: z.string().optional(),
  functions: z.array(z.strictObject(functionShape)).optional(),
  function_call: z
    .union([choiceWords, z.strictObject(forcedShape)], {
      error: 'must be auto, none, required or { name: a function }',
    })
    .optional(),
  /** Newer form of `functions`. */
  tools: z.array(z.strictObject(toolShape)).optional(),
  /** Newer form of `function_call`. */
  tool_choice: z
    .union([choiceWords, z.strictObject(forcedToolShape)], {
      error: 'must be auto, none, required or { type: function, function: { name: a function } }',
    })
    .optional(),
  state_map: z.strictObject(stateMapShape).optional(),
  /** Tokens that may have no value; they become the empty text. */
  optional_tokens: z.array(name).optional(),
  /** Receiver of a failure of an ability: the model, the user, or the caller, whose turn fails. @default model */
  on_ability_error: z.enum(['model', 'reply', 'throw']).optional(),
  /** True if the next agent sees the call that handed over to it. @default true */
  record_routing: z.boolean().optional(),
};

/** Keys with the same meaning: the older form, which the rest of the code uses, and the newer form. */
const FORMS = [
  ['functions', 'tools'],
  ['function_call', 'tool_choice'],
] as const;

/** Content of an agent file. Its output has `functions` and `function_call`, even if the file has the newer form. */
export const AgentConfig = z
  .strictObject(agentShape)
  .superRefine((agent, context) => {
    for (const [older, newer] of FORMS) {
      if (agent[older] === undefined || agent[newer] === undefined) continue;
      context.addIssue({ code: 'custom', path: [newer], message: `${older} is set too; keep one of them` });
    }
  })
  .transform(({ tools, tool_choice: choice, ...agent }) => ({
    ...agent,
    ...(tools ? { functions: tools.map((tool) => tool.function) } : {}),
    ...(choice ? { function_call: typeof choice === 'string' ? choice : choice.function } : {}),
  }));
type AgentFile = z.output<typeof AgentConfig>;
/** An agent with its name, which is the name of its file. */
export type AgentConfigT = AgentFile & { name: string };
export type RouteConfig = z.output<typeof route>;
export type FunctionConfig = NonNullable<AgentFile['functions']>[number];

const limitsShape = {
  max_hops: z.int().min(0).optional(),
  max_visits: z.int().min(1).optional(),
  max_model_calls: z.int().min(1).optional(),
  max_usd: z.number().positive().optional(),
};
const priceShape = {
  input: z.number().min(0),
  output: z.number().min(0),
  cached_input: z.number().min(0).optional(),
};
const teamShape = {
  kind: z.literal('team').optional(),
  /** Address of the team on the fabric. */
  address: name.optional(),
  description: z.string().optional(),
  start: name,
  /** A folder of agent files beside the team file; in code also the agents themselves. */
  agents: z.union([z.string().min(1), z.record(name, AgentConfig)], { error: 'must be a folder' }),
  /** Names of models by class. */
  models: z.record(name, name).optional(),
  /** Settings of agents that set none. */
  defaults: modelSettings.optional(),
  limits: z.strictObject(limitsShape).optional(),
  on_limit: z
    .union([z.enum(['error', 'ignore']), z.strictObject({ agent: name })], {
      error: 'must be error, ignore or { agent: a name }',
    })
    .optional(),
  allow_cycles: z.array(z.array(name).min(1)).optional(),
  interpolations: z.record(name, z.union([z.string(), z.number(), z.boolean()])).optional(),
  /** Modules beside the team file whose exports are abilities. */
  abilities: z.array(z.string().min(1)).optional(),
  /** USD for a million tokens, by the name of the model. */
  prices: z.record(name, z.strictObject(priceShape)).optional(),
};

/** Content of a team file. */
export const TeamConfig = z.strictObject(teamShape);
export type TeamConfigT = z.output<typeof TeamConfig>;
export type TeamConfigInput = z.input<typeof TeamConfig>;

/** Limits of a team that sets none. */
export const DEFAULT_LIMITS = Object.freeze({ max_hops: 8, max_visits: 2, max_model_calls: 16 });

const isIn = (path: ConfigPath, ...pattern: (string | undefined)[]): boolean =>
  path.length === pattern.length && pattern.every((part, i) => part === undefined || part === path[i]);

/** Returns the known keys at a path of an agent file. */
export const agentKeysAt = (path: ConfigPath): readonly string[] => {
  if (path.length === 0) return Object.keys(agentShape);
  if (isIn(path, 'functions', undefined) || isIn(path, 'tools', undefined, 'function')) {
    return Object.keys(functionShape);
  }
  if (isIn(path, 'tools', undefined)) return Object.keys(toolShape);
  if (isIn(path, 'state_map')) return Object.keys(stateMapShape);
  if (isIn(path, 'function_call')) return Object.keys(forcedShape);
  if (isIn(path, 'state_map', 'otherwise') || isIn(path, 'state_map', 'values_map', undefined)) {
    return Object.keys(routeShape);
  }
  return [];
};

/** Converts a path in the config to the path in its file, whose `data` may have the newer form of the functions and the choice. */
export function writtenPath([key, ...rest]: ConfigPath, data: unknown): ConfigPath {
  const has = (form: string): boolean =>
    typeof data === 'object' && data !== null && Object.hasOwn(data, form);
  const [index, ...inner] = rest;
  if (key === 'functions' && index !== undefined && has('tools'))
    return ['tools', index, 'function', ...inner];
  if (key === 'function_call' && has('tool_choice')) return ['tool_choice', 'function', ...rest];
  return key === undefined ? [] : [key, ...rest];
}

/** Returns the known keys at a path of a team file. */
export const teamKeysAt = (path: ConfigPath): readonly string[] => {
  if (path.length === 0) return Object.keys(teamShape);
  if (isIn(path, 'limits')) return Object.keys(limitsShape);
  if (isIn(path, 'defaults')) return Object.keys(modelShape);
  if (isIn(path, 'on_limit')) return ['agent'];
  if (isIn(path, 'prices', undefined)) return Object.keys(priceShape);
  if (path[0] === 'agents' && path.length >= 2) return agentKeysAt(path.slice(2));
  return [];
};
