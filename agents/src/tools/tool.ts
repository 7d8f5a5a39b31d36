// A tool: a function that a model may call, with its parameters as a zod object. The schema is made, and found fault with,
// when the tool is declared; `tool-set.ts` runs it.
import type { Logger } from '@fame-fabric/shared';
import type { z } from 'zod';
import type { Budget } from '../model/budget.ts';
import type { ToolSpec } from '../model/model.ts';
import { type JsonSchemaObject, type JsonValue, schemaOfZod } from './schema/json-schema.ts';

/** What a tool is given beside its arguments. */
export interface ToolContext {
  /** Aborts when the turn is cancelled or the tool has run too long. */
  readonly signal: AbortSignal;
  readonly callId: string;
  /** Place of the call in the reply, from 0. */
  readonly index: number;
  readonly conversationId?: string;
  readonly budget?: Budget;
  readonly logger: Logger;
  /** Shows a text to the user while the tool runs; the model does not see it. */
  emit(text: string): void;
}

export interface ToolOptions {
  /** How long one call may run, in milliseconds. @default the tool set's `defaultTimeoutMs` */
  readonly timeoutMs?: number;
  /** Longest result in characters; the rest is cut off and marked. @default 65_536 */
  readonly maxResultChars?: number;
  /**
   * Start as soon as the arguments are complete, while the model still writes. Only for tools without side effects: the model's
   * answer may still fail, and then nobody knows of the call. @default false
   */
  readonly eager?: boolean;
  /** Adds an optional text for the user to the parameters; it is streamed while the arguments arrive. @default false */
  readonly toUser?: boolean;
  /** False if a call that a crash interrupted must not be made again. @default true */
  readonly idempotent?: boolean;
  /** Groups tools, for `ToolSet.kit`. */
  readonly kit?: string;
}

export interface ToolDef<S extends z.ZodObject = z.ZodObject, R = unknown> extends ToolOptions {
  readonly name: string;
  readonly description: string;
  readonly parameters: S;
  /** The parameters as JSON Schema, without the text for the user. */
  readonly schema: JsonSchemaObject;
  execute(args: z.output<S>, ctx: ToolContext): Promise<R> | R;
}

/** A tool of any parameters and result, as lists of tools hold it. */
// biome-ignore lint/suspicious/noExplicitAny: `execute` takes its own arguments, so no other type fits all tools.
export type AnyTool = ToolDef<any, any>;

/** An error with a hint for the model: what it should do differently. */
export class ToolError extends Error {
  override readonly name = 'ToolError';
  readonly hint?: string;

  constructor(message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    if (options.hint !== undefined) this.hint = options.hint;
  }
}

const NAME = /^[A-Za-z0-9_-]{1,64}$/;

/** Declares a tool. @throws {TypeError} when the name is none that model servers take, or the schema cannot be sent */
// biome-ignore lint/suspicious/noConfusingVoidType: a tool may return nothing, also from an async function.
export function tool<S extends z.ZodObject, R extends JsonValue | string | null | void>(
  d: ToolOptions & {
    name: string;
    description: string;
    parameters: S;
    execute(args: z.output<S>, ctx: ToolContext): Promise<R> | R;
  },
): ToolDef<S, R> {
  if (!NAME.test(d.name)) {
    throw new TypeError(`"${d.name}" is not a name of a tool: 1 to 64 letters, digits, "_" and "-"`);
  }
  return Object.freeze({ ...d, schema: schemaOfZod(d.name, d.parameters) });
}

const TO_USER = {
  type: 'string',
  description:
    'Optional. What to tell the user right now, while the tool runs: what you are about to do, or why. Write it first.',
};

/** The tool as it is sent to the model. `toUserKey` names the text for the user, for tools that have one. */
export function specOf(def: AnyTool, toUserKey = 'to_user'): ToolSpec {
  const schema = def.toUser
    ? { ...def.schema, properties: { [toUserKey]: TO_USER, ...def.schema.properties } }
    : def.schema;
  return {
    type: 'function',
    function: { name: def.name, description: def.description, parameters: schema },
  };
}
