// A tool: a function that a model may call, with its parameters as a zod object. The schema is built and checked when the tool is
// declared; `tool-set.ts` runs it.
import type { Logger } from '@fame-fabric/shared';
import type { z } from 'zod';
import type { ContextLink } from '../agent/operation.ts';
import type { Budget } from '../model/budget.ts';
import type { ToolSpec } from '../model/model.ts';
import type { ApprovalRule } from './approval-rule.ts';
import { type JsonSchemaObject, type JsonValue, schemaOfZod } from './schema/json-schema.ts';

/** Context of one call. */
export interface ToolContext {
  /** Aborts when the turn is cancelled or the call reaches its time limit. */
  readonly signal: AbortSignal;
  readonly callId: string;
  /** Place of the call in the reply, from 0. */
  readonly index: number;
  readonly conversationId?: string | undefined;
  readonly budget?: Budget | undefined;
  /**
   * Calls other agents over the link of this agent. The calls carry the trace id, the remaining hops and the remaining time of the
   * turn, and are cancelled when `signal` aborts. Without an agent on a link, each use fails with LINK_MISSING.
   */
  readonly link: ContextLink;
  readonly logger: Logger;
  /** Shows a text to the user while the tool runs; the model does not see it. */
  emit(text: string): void;
}

export interface ToolOptions {
  /** Time limit of one call, in ms. @default the tool set's `defaultTimeoutMs` */
  readonly timeoutMs?: number | undefined;
  /** Longest result in characters; the rest is cut off and marked. @default 65_536 */
  readonly maxResultChars?: number | undefined;
  /**
   * Starts the tool as soon as its arguments are complete, while the model still writes. Only for tools without side effects: the
   * reply may still fail, and then the call is in no history. @default false
   */
  readonly eager?: boolean | undefined;
  /**
   * Adds an optional text for the user, `to_user`, to the parameters; it is streamed while the arguments arrive. Without it the
   * tool may have a parameter of that name. @default false
   */
  readonly toUser?: boolean | undefined;
  /** False if a call that was interrupted by a crash must not be repeated. @default true */
  readonly idempotent?: boolean | undefined;
  /** Groups tools, for `ToolSet.kit`. */
  readonly kit?: string | undefined;
}

export interface ToolDef<S extends z.ZodObject = z.ZodObject, R = unknown> extends ToolOptions {
  readonly name: string;
  readonly description: string;
  readonly parameters: S;
  /** The parameters as JSON Schema, without the text for the user. */
  readonly schema: JsonSchemaObject;
  /** @default no call needs approval */
  readonly approval?: ApprovalRule<z.output<S>> | undefined;
  execute(args: z.output<S>, ctx: ToolContext): Promise<R> | R;
}

/** A tool with any parameters and result, for lists of tools. */
// biome-ignore lint/suspicious/noExplicitAny: `execute` takes its own arguments, so no other type fits all tools.
export type AnyTool = ToolDef<any, any>;

/** An error with advice for the model. */
export class ToolError extends Error {
  override readonly name = 'ToolError';
  readonly hint?: string | undefined;

  constructor(message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    if (options.hint !== undefined) this.hint = options.hint;
  }
}

const NAME = /^[A-Za-z0-9_-]{1,64}$/;

/**
 * Refuses a tool with `toUser` that declares the parameter itself: its value would be shown to the user and removed from the arguments.
 * @throws {TypeError}
 */
export function checkToUser({ name, toUser, schema }: AnyTool, toUserKey: string): void {
  if (!toUser || !Object.hasOwn(schema.properties, toUserKey)) return;
  throw new TypeError(
    `"${name}" has a parameter "${toUserKey}", which \`toUser\` adds by itself. Rename the parameter, or leave \`toUser\` out.`,
  );
}

/**
 * Declares a tool.
 * @throws {TypeError} when model servers would refuse the name, the schema cannot be sent, or a tool with `toUser` has a parameter
 * `to_user`
 */
// biome-ignore lint/suspicious/noConfusingVoidType: a tool may return nothing, also from an async function.
export function tool<S extends z.ZodObject, R extends JsonValue | string | null | void>(
  d: ToolOptions & {
    name: string;
    description: string;
    parameters: S;
    approval?: ApprovalRule<z.output<S>> | undefined;
    execute(args: z.output<S>, ctx: ToolContext): Promise<R> | R;
  },
): ToolDef<S, R> {
  if (!NAME.test(d.name)) {
    throw new TypeError(`"${d.name}" is not a valid tool name. Use 1 to 64 letters, digits, "_" and "-".`);
  }
  const def = { ...d, schema: schemaOfZod(d.name, d.parameters) };
  checkToUser(def, 'to_user');
  return Object.freeze(def);
}

const TO_USER = {
  type: 'string',
  description:
    'Optional. What to tell the user right now, while the tool runs: what you are about to do, or why. Write it first.',
};

/** Builds the definition that is sent to the model. `toUserKey` names the text for the user, for tools that have one. */
export function specOf(def: AnyTool, toUserKey = 'to_user'): ToolSpec {
  const schema = def.toUser
    ? { ...def.schema, properties: { [toUserKey]: TO_USER, ...def.schema.properties } }
    : def.schema;
  return {
    type: 'function',
    function: { name: def.name, description: def.description, parameters: schema },
  };
}
