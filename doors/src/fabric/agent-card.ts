// An agent as doors show it, from its answer to `describe`. The answer comes from the agent, so every field is checked.
import { cutText } from '@fame-fabric/shared/internal';

export type JsonSchema = Readonly<Record<string, unknown>>;

export interface AgentOperation {
  readonly name: string;
  readonly description?: string | undefined;
  /** True if the operation yields items. */
  readonly isStreaming: boolean;
  /** True if a call with the same id gets the outcome of the first one. */
  readonly isDurable: boolean;
  /** JSON Schema of the parameters, if the agent provides one. */
  readonly params?: JsonSchema | undefined;
  /** JSON Schema of the result, or of an item, if the agent provides one. */
  readonly result?: JsonSchema | undefined;
}

export interface AgentCard {
  readonly address: string;
  /** The part of the address before `@`. */
  readonly name: string;
  readonly description?: string | undefined;
  readonly version?: string | undefined;
  /** True if it has conversations: `run_turn_stream` and the operations beside it. */
  readonly isChat: boolean;
  /** True if it runs tasks: `tasks/send` and the other task methods. */
  readonly hasTasks: boolean;
  /** Empty if the agent cannot describe itself. */
  readonly operations: readonly AgentOperation[];
  /** False if the agent did not describe itself: its operations are then unknown. */
  readonly isDescribed: boolean;
  /** The answer to `describe`, for fields of chat agents such as `models`. */
  readonly raw: Readonly<Record<string, unknown>>;
}

const MAX_OPERATIONS = 512;
const MAX_NAME_CHARS = 256;
const MAX_TEXT = 8_192;

/** The card of an agent that did not describe itself. */
export const plainCard = (address: string): AgentCard => ({
  address,
  name: nameOf(address),
  isChat: false,
  hasTasks: false,
  operations: [],
  isDescribed: false,
  raw: {},
});

/** Reads the answer to `describe`. */
export function agentCard(address: string, answer: unknown): AgentCard {
  if (!isRecord(answer) || !Array.isArray(answer.operations)) return plainCard(address);
  const operations = answer.operations.slice(0, MAX_OPERATIONS).flatMap(operationOf);
  return {
    address,
    name: nameOf(address),
    description: textOf(answer.description),
    version: textOf(answer.version),
    isChat: operations.some(({ name }) => name === 'run_turn' || name === 'run_turn_stream'),
    hasTasks: answer.tasks === true,
    operations,
    isDescribed: true,
    raw: answer,
  };
}

function operationOf(value: unknown): AgentOperation[] {
  if (!isRecord(value) || !isName(value.name)) return [];
  const { name, description, streams, durable, params, result } = value;
  return [
    {
      name,
      description: textOf(description),
      isStreaming: streams === true,
      isDurable: durable === true,
      params: schemaOf(params),
      result: schemaOf(result),
    },
  ];
}

/** True for a name that doors can use in paths, tool names and commands. */
const isName = (value: unknown): value is string =>
  typeof value === 'string' &&
  value !== '' &&
  value.length <= MAX_NAME_CHARS &&
  value.isWellFormed() &&
  !/\p{Cc}/u.test(value);

/** Returns a valid schema, or undefined. Clients refuse a whole list of tools or paths because of one malformed schema. */
function schemaOf(value: unknown): JsonSchema | undefined {
  if (!isRecord(value)) return undefined;
  const { properties = {}, required = [], anyOf = [{}] } = value;
  const isSchema = (one: unknown): boolean => isRecord(one) || typeof one === 'boolean';
  const isValid =
    isRecord(properties) &&
    Object.values(properties).every(isSchema) &&
    Array.isArray(required) &&
    required.every((name) => typeof name === 'string') &&
    Array.isArray(anyOf) &&
    anyOf.length > 0 &&
    anyOf.every(isSchema);
  return isValid ? value : undefined;
}

/** The part of an address before `@`. */
export const nameOf = (address: string): string => address.slice(0, Math.max(0, address.indexOf('@')));

const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? cutText(value, MAX_TEXT) : undefined;

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
