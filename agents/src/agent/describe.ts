// The answer to `describe`: the operations of an agent with their parameters as JSON Schema. Its size is bounded, so that it fits one
// envelope.
import type { AgentDescription, OperationDescription } from '@fame-fabric/shared';
import { cutText } from '@fame-fabric/shared/internal';
import { z } from 'zod';
import type { AgentOptions } from './agent-types.ts';
import { type Operation, operation } from './operation.ts';

const MAX_TEXT_CHARS = 1_000;
const MAX_SCHEMA_BYTES = 16_384;
/** Limit on all operations together. The answer has other fields beside them. */
const MAX_BYTES = 65_536;

const bytesOf = (value: unknown): number => Buffer.byteLength(JSON.stringify(value));

type Described = Pick<AgentOptions, 'address' | 'description' | 'operations' | 'tasks'>;

/** Makes the operation `describe`. The fields of `settings` are added to its answer. */
export function describeMethod(agent: Described, settings?: () => Record<string, unknown>): Operation {
  let description: AgentDescription | undefined;
  return operation({
    immediate: true,
    description:
      'Returns the operations with their parameters, and the settings of an agent with conversations.',
    params: z.looseObject({}),
    run() {
      description ??= describeAgent(agent);
      return { ...description, ...settings?.() };
    },
  });
}

/**
 * Describes an agent with its operations, in the order of their declaration. The task methods, whose names have a slash, are not
 * listed. Long texts are cut, large schemas are reduced, and operations for which there is no room are left out.
 */
function describeAgent({ address, description, operations = {}, tasks }: Described): AgentDescription {
  const listed: OperationDescription[] = [];
  let left = MAX_BYTES;
  for (const [name, one] of Object.entries(operations)) {
    if (name.includes('/')) continue;
    const described = describeOperation(name, one);
    left -= bytesOf(described);
    if (left < 0) break;
    listed.push(described);
  }
  return {
    address,
    ...(description ? { description: cutText(description, MAX_TEXT_CHARS) } : {}),
    operations: listed,
    ...(left < 0 ? { truncated: true } : {}),
    ...(tasks || Object.hasOwn(operations, 'tasks/send') ? { tasks: true } : {}),
    ...(tasks ? { a2aPush: true } : {}),
  };
}

function describeOperation(name: string, one: Operation): OperationDescription {
  const schema = schemaOf(one.params);
  const isLarge = schema !== undefined && bytesOf(schema) > MAX_SCHEMA_BYTES;
  return {
    name,
    ...(one.description ? { description: cutText(one.description, MAX_TEXT_CHARS) } : {}),
    params: isLarge ? namesOf(schema) : (schema ?? {}),
    streams: one.streams,
    ...(one.immediate ? { immediate: true } : {}),
    ...(one.durable ? { durable: true } : {}),
    ...(isLarge || !schema ? { truncated: true } : {}),
  };
}

/** Returns `undefined` for parameters that have no JSON Schema, such as two with the same id, or a default that throws. */
function schemaOf(params: z.ZodType): z.core.JSONSchema.BaseSchema | undefined {
  try {
    const { $schema: _, ...schema } = z.toJSONSchema(params, { io: 'input', unrepresentable: 'any' });
    return schema;
  } catch {
    return undefined;
  }
}

/** The type of a schema with the names of its parameters, as far as they fit. */
function namesOf({ type, properties = {}, required }: z.core.JSONSchema.BaseSchema): Record<string, unknown> {
  const names = {
    type,
    properties: Object.fromEntries(Object.keys(properties).map((name) => [name, {}])),
    required,
  };
  return bytesOf(names) > MAX_SCHEMA_BYTES ? { type } : names;
}
