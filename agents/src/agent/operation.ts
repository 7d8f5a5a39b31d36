// One operation of an agent: its parameters, declared once, and the function that runs. However a caller writes the
// call (`args`, `kwargs`, one object, a JSON-RPC array, or mixed), `read` turns it into the same typed arguments or says
// which parameter is at fault. Who may run when is `scheduler.ts`; how the answer travels is `agent.ts`.
import { type CallOptions, type CallTarget, FabricError, type Logger, readParams } from '@fame-fabric/shared';
import { z } from 'zod';

/** How parameters are declared: an object, whose order of properties is the positional order, or a tuple. */
export type ParamsSchema = z.ZodObject | z.ZodTuple;

/** What an agent may do through the link it is served on. A `Link` is one. */
export interface Outbound {
  call(target: CallTarget, method: string, params?: unknown, options?: CallOptions): Promise<unknown>;
  stream(target: CallTarget, method: string, params?: unknown, options?: CallOptions): AsyncIterable<unknown>;
  /** Sends a plain message; nobody confirms it. With `corrId` it answers the call of that id. */
  send(to: string, payload: unknown, options?: { corrId?: string }): void;
}

/** What a running operation knows about its call. */
export interface OperationContext {
  /** Aborts when the caller gave the call up or the agent closes; the reason is a FabricError or a short text. */
  readonly signal: AbortSignal;
  /** The JSON-RPC id; the same id again is the same call. */
  readonly callId: string;
  readonly traceId: string | undefined;
  /** Metadata of the request's envelope. */
  readonly meta: Readonly<Record<string, unknown>> | undefined;
  /** The address that was called. */
  readonly address: string;
  /** Where the answer goes. */
  readonly replyTo: string;
  /** Whether the caller wants many items. */
  readonly isStream: boolean;
  readonly log: Logger;
  /** Calls other agents; give it `signal` and `traceId` so that a cancel and a trace reach them. */
  readonly link: Outbound;
}

export interface OperationOptions<P extends ParamsSchema> {
  /** @default no parameters */
  params?: P;
  /** One sentence; it stands in the agent's card. */
  description?: string;
  /** Calls with the same key run strictly in the order they came. `undefined`: in no order. */
  key?: (args: z.output<P>) => string | undefined;
  /** Runs at once, beside the limit on concurrent calls: for what looks, cancels or ends. @default false */
  immediate?: boolean;
  /**
   * Returns the result, or yields items when it is an async generator; the end of a stream is a null on the wire, so an
   * item is never null. A FabricError travels to the caller with its code; any other error becomes INTERNAL with a log id.
   */
  run(args: z.output<P>, context: OperationContext): unknown;
}

/** An operation, ready to be named in `defineAgent({ operations })`. */
export interface Operation {
  readonly description: string | undefined;
  /** Whether `run` is an async generator. */
  readonly streams: boolean;
  readonly immediate: boolean;
  readonly params: ParamsSchema;
  /** The arguments that `params` stand for. @throws {PARAMS_INVALID} naming the parameter and what is wrong with it */
  read(params: unknown): unknown;
  keyOf(args: unknown): string | undefined;
  run(args: unknown, context: OperationContext): unknown;
}

const isPlainObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Declares an operation. */
export function operation<P extends ParamsSchema = z.ZodObject<Record<never, never>>>(
  options: OperationOptions<P>,
): Operation {
  const params: ParamsSchema = options.params ?? z.object({});
  const read = params instanceof z.ZodTuple ? tupleReader(params) : objectReader(params);
  return {
    description: options.description,
    streams: Object.prototype.toString.call(options.run) === '[object AsyncGeneratorFunction]',
    immediate: options.immediate ?? false,
    params,
    read,
    keyOf: (args) => options.key?.(args as z.output<P>),
    run: (args, context) => options.run(args as z.output<P>, context),
  };
}

type Reading = { value: unknown } | { fault: string };

const invalid = (fault: string): FabricError => new FabricError('PARAMS_INVALID', fault);

// zod words a fault well; the path in front is what a caller looks for first.
function faultOf(error: z.ZodError, nameOf: (path: readonly PropertyKey[]) => string): string {
  const issue = error.issues[0]!;
  const where = nameOf(issue.path);
  const more = error.issues.length > 1 ? ` (and ${error.issues.length - 1} more)` : '';
  return `${where ? `${where}: ` : ''}${issue.message}${more}`.slice(0, 500);
}

const dotted = (path: readonly PropertyKey[]): string => path.map(String).join('.');

function tupleReader(schema: z.ZodTuple): (params: unknown) => unknown {
  return (params) => {
    const { args, named } = readParams(params);
    const values = Object.keys(named).length > 0 ? [...args, named] : args;
    const result = schema.safeParse(values);
    if (result.success) return result.data;
    throw invalid(faultOf(result.error, (path) => (path.length > 0 ? `params.${dotted(path)}` : 'params')));
  };
}

// An object schema takes arguments by name and by position at once. Where a call can be read in more than one way, the
// readings are tried in this order and the first that fits wins; when none fits, the fault of the first is told.
//   1. positions fill the properties in order, names fill the rest
//   2. the last positional argument is an object of named arguments: op(1, 2, {k: 3}), op({a: 1, b: 2}) from Python
//   3. the named arguments are themselves one object argument: op({any: 'thing'}) for a parameter that takes an object
//   4. the whole of params by name, for an operation with a parameter that is called `args` or `kwargs`
function objectReader(schema: z.ZodObject): (params: unknown) => unknown {
  const names = Object.keys(schema.shape);
  const known = new Set(names);
  const catchall = schema.def.catchall;
  const takesMore = catchall !== undefined && !(catchall instanceof z.ZodNever);
  // A caller that writes null for a parameter it leaves out is understood, unless the parameter knows null itself.
  const takesNull = new Set(
    names.filter((name) => z.safeParse(schema.shape[name] as z.ZodType, null).success),
  );
  const expected = names.length > 0 ? `expected ${names.join(', ')}` : 'expected no parameters';

  const read = (args: readonly unknown[], named: Record<string, unknown>): Reading => {
    if (args.length > names.length) {
      return {
        fault: `params: ${args.length} arguments for ${names.length} parameters; ${expected}`.slice(0, 500),
      };
    }
    const values: [string, unknown][] = [];
    for (const [i, value] of args.entries()) values.push([names[i]!, value]);
    for (const [name, value] of Object.entries(named)) {
      const position = names.indexOf(name);
      if (position >= 0 && position < args.length) return { fault: `${name}: given by position and by name` };
      if (!known.has(name) && !takesMore) {
        return { fault: `${name.slice(0, 64)}: no such parameter; ${expected}`.slice(0, 500) };
      }
      values.push([name, value]);
    }
    const given = values.filter(([name, value]) => value !== null || takesNull.has(name) || !known.has(name));
    const result = schema.safeParse(Object.fromEntries(given));
    return result.success ? { value: result.data } : { fault: faultOf(result.error, dotted) };
  };

  return (params) => {
    const { args, named } = readParams(params);
    const first = read(args, named);
    if ('value' in first) return first.value;
    const last = args.at(-1);
    const readings = [
      isPlainObject(last) ? () => read(args.slice(0, -1), { ...last, ...named }) : undefined,
      Object.keys(named).length > 0 ? () => read([...args, named], {}) : undefined,
      isPlainObject(params) && (known.has('args') || known.has('kwargs'))
        ? () => read([], params)
        : undefined,
    ];
    for (const other of readings) {
      const reading = other?.();
      if (reading && 'value' in reading) return reading.value;
    }
    throw invalid(first.fault);
  };
}
