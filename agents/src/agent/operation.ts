// One operation of an agent: its declared parameters and its function. A caller may write a call in several forms (`args`,
// `kwargs`, one object, a JSON-RPC array, or mixed); `read` turns each into the same typed arguments, or names the faulty
// parameter. Calls are scheduled and answered in `served-agent.ts`.
import {
  type AgentHandle,
  type Caller,
  type CallOptions,
  type CallTarget,
  FabricError,
  type Logger,
  type OperationTypes,
  readParams,
  type Send,
  type TaskMethods,
} from '@fame-fabric/shared';
import { cutText } from '@fame-fabric/shared/internal';
import { z } from 'zod';
import type { AgentState } from './state/agent-state.ts';

/** Declares parameters: an object, whose order of properties is the positional order, or a tuple. */
type ParamsSchema = z.ZodObject | z.ZodTuple;

/** The part of a link through which an agent sends. `Link` of shared implements it. */
export interface Outbound {
  call(target: CallTarget, method: string, params?: unknown, options?: CallOptions): Promise<unknown>;
  stream(target: CallTarget, method: string, params?: unknown, options?: CallOptions): AsyncIterable<unknown>;
  /** Sends a message that is not a call: once, or with `{ ack: true }` until its receiver has accepted it. */
  readonly send: Send;
}

/** The link in the context of an operation. Its calls carry the remaining hops and time of the call that they serve. */
export interface ContextLink extends Outbound, TaskMethods {
  /** Returns a handle for the agent at `address`; `agent<typeof shopAgent>(address)` has a method for each of its operations. */
  agent<A = unknown>(address: string): AgentHandle<A>;
}

/** A request of a durable operation, or a durable message. */
export interface Delivery {
  /** Idempotency id, the same in each run: pass it to services that must have an effect only once. */
  readonly id: string;
  /** 1 in the first run. A later one follows a crash or a failure. */
  readonly attempt: number;
}

/** Context of one call of an operation. */
export interface OperationContext {
  /** Aborts when the caller cancels the call or the agent closes; the reason is a FabricError or a short text. */
  readonly signal: AbortSignal;
  /** The JSON-RPC id. A repeated id means the same call. */
  readonly callId: string;
  readonly traceId: string | undefined;
  /** Remaining hops of the call; undefined if it does not count them. */
  readonly ttl?: number | undefined;
  /** Metadata of the request's envelope. */
  readonly meta: Readonly<Record<string, unknown>> | undefined;
  /** The address that was called. */
  readonly address: string;
  /** Address that receives the answer. */
  readonly replyTo: string;
  /**
   * The caller: `(await context.caller)?.principal` is the id of its principal, such as `local` or the name of its key, and `anonymous`
   * without a credential. Asked for when this is first read, so read it before the call is answered. Undefined if the call expects no
   * answer. Never rejects: if the sentinel did not answer, the caller is anonymous with `isUnknown`.
   */
  readonly caller: Promise<Caller | undefined>;
  /**
   * True if a node of the caller's principal serves `address`. Also true at a sentinel of other software, which cannot tell. Never
   * rejects.
   */
  callerServes(address: string): Promise<boolean>;
  /** True if the caller requested a stream. */
  readonly isStream: boolean;
  /** State of the agent. Its declaration needs `state`; without it the first use throws CONFIG_INVALID. */
  readonly state: AgentState;
  /** The request of a durable operation; undefined in other operations. */
  readonly delivery?: Delivery | undefined;
  /** Acknowledges the request of an operation with `journals`, if the sender asks for an acknowledgement. */
  acknowledge?(): void;
  readonly log: Logger;
  /**
   * Calls other agents. The calls carry the trace id, the remaining hops and the remaining time of this one, and are cancelled when
   * `signal` aborts.
   */
  readonly link: ContextLink;
}

export interface OperationOptions<P extends ParamsSchema, R = unknown> {
  /** @default no parameters */
  params?: P | undefined;
  /** One sentence for the agent's card. */
  description?: string | undefined;
  /** Calls with the same key run strictly in order of arrival; calls without a key in no order. */
  key?: ((args: z.output<P>) => string | undefined) | undefined;
  /**
   * Exempt from the limit on concurrent calls. For reads, cancellations and ends. Immediate calls have limits of their own: only
   * a few short calls of one caller run at once, and the others are queued.
   * @default false
   */
  immediate?: boolean | undefined;
  /**
   * True if a call may wait long, for example for a turn, an event or another agent. Such an immediate call is never queued, and
   * takes no slot from short calls.
   * @default true for a stream
   */
  mayTakeLong?: boolean | undefined;
  /** True if `run` returns an async iterable. @default true for an async generator */
  streams?: boolean | undefined;
  /**
   * True to journal each request before it is acknowledged, and to run it again after a crash, at most three times. Its outcome is
   * kept for 24 hours: a call with the same id gets it, and no second run. `context.delivery` has the id and the number of the run.
   * @default false
   */
  durable?: boolean | undefined;
  /**
   * True if the operation stores its requests itself and recognizes repeated ones. A sender that asks for an acknowledgement gets it when
   * the operation calls `context.acknowledge()`, or with the answer.
   * @default false, requests are acknowledged when they arrive
   */
  journals?: boolean | undefined;
  /**
   * Returns the result, or yields items if it is an async generator. On the wire null ends a stream, so an item is never
   * null. A FabricError travels to the caller with its code; any other error becomes INTERNAL with a log id.
   */
  run(args: z.output<P>, context: OperationContext): R;
}

/** An operation for `defineAgent({ operations })`. `Input` and `Result` are the types that its callers see. */
export interface Operation<Input = unknown, Result = unknown> extends OperationTypes<Input, Result> {
  readonly description: string | undefined;
  /** True if `run` returns an async iterable. */
  readonly streams: boolean;
  readonly immediate: boolean;
  readonly mayTakeLong: boolean;
  readonly durable: boolean;
  readonly journals: boolean;
  readonly params: ParamsSchema;
  /** Returns the arguments in `params`. @throws {PARAMS_INVALID} with the parameter and its fault */
  read(params: unknown): unknown;
  keyOf(args: unknown): string | undefined;
  run(args: unknown, context: OperationContext): unknown;
}

const isPlainObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Declares an operation. @throws {TypeError} if a durable operation is a stream or immediate */
export function operation<P extends ParamsSchema = z.ZodObject<Record<never, never>>, R = unknown>(
  options: OperationOptions<P, R>,
): Operation<z.input<P>, R> {
  const params: ParamsSchema = options.params ?? z.object({});
  const read = params instanceof z.ZodTuple ? tupleReader(params) : objectReader(params);
  const { streams = isAsyncGenerator(options.run) } = options;
  if (options.durable && (streams || options.immediate)) {
    const other = streams ? 'a stream' : 'immediate';
    throw new TypeError(
      `A durable operation returns one result and waits in a queue; it cannot be ${other}.`,
    );
  }
  return {
    description: options.description,
    streams,
    immediate: options.immediate ?? false,
    mayTakeLong: options.mayTakeLong ?? streams,
    durable: options.durable ?? false,
    journals: options.journals ?? false,
    params,
    read,
    keyOf: (args) => options.key?.(args as z.output<P>),
    run: (args, context) => options.run(args as z.output<P>, context),
  };
}

const isAsyncGenerator = (run: unknown): boolean =>
  Object.prototype.toString.call(run) === '[object AsyncGeneratorFunction]';

type Reading = { value: unknown } | { fault: string };

const invalid = (fault: string): FabricError => new FabricError('PARAMS_INVALID', fault);

/** Longest fault that a caller receives. */
const MAX_FAULT_CHARS = 500;

// zod describes the fault. The path in front locates it.
function faultOf(error: z.ZodError, nameOf: (path: readonly PropertyKey[]) => string): string {
  const issue = error.issues[0]!;
  const where = nameOf(issue.path);
  const more = error.issues.length > 1 ? ` (and ${error.issues.length - 1} more)` : '';
  return cutText(`${where ? `${where}: ` : ''}${issue.message}${more}`, MAX_FAULT_CHARS);
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

// An object schema takes arguments by name and by position at once. If a call can be read in more than one way, the
// readings are tried in this order and the first that fits wins; if none fits, the fault of the first is reported.
//   1. positions fill the properties in order, names fill the rest
//   2. the last positional argument is an object of named arguments: op(1, 2, {k: 3}), op({a: 1, b: 2}) from Python
//   3. the named arguments are themselves one object argument: op({any: 'thing'}) for a parameter that takes an object
//   4. the whole of params by name, for an operation with a parameter that is called `args` or `kwargs`
function objectReader(schema: z.ZodObject): (params: unknown) => unknown {
  const names = Object.keys(schema.shape);
  const known = new Set(names);
  const catchall = schema.def.catchall;
  const acceptsUnknown = catchall !== undefined && !(catchall instanceof z.ZodNever);
  // Callers may write null for a parameter they leave out, unless the parameter itself accepts null.
  const acceptsNull = new Set(
    names.filter((name) => z.safeParse(schema.shape[name] as z.ZodType, null).success),
  );
  const expected = names.length > 0 ? `expected ${names.join(', ')}` : 'expected no parameters';

  const read = (args: readonly unknown[], named: Record<string, unknown>): Reading => {
    if (args.length > names.length) {
      return {
        fault: cutText(
          `params: ${args.length} arguments for ${names.length} parameters; ${expected}`,
          MAX_FAULT_CHARS,
        ),
      };
    }
    const values: [string, unknown][] = [];
    for (const [i, value] of args.entries()) values.push([names[i]!, value]);
    for (const [name, value] of Object.entries(named)) {
      const position = names.indexOf(name);
      if (position >= 0 && position < args.length) return { fault: `${name}: given by position and by name` };
      if (!known.has(name) && !acceptsUnknown) {
        return { fault: cutText(`${cutText(name, 64)}: no such parameter; ${expected}`, MAX_FAULT_CHARS) };
      }
      values.push([name, value]);
    }
    const given = values.filter(
      ([name, value]) => value !== null || acceptsNull.has(name) || !known.has(name),
    );
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
