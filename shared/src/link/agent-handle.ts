// A caller's handle for one agent. `agentHandle<typeof shopAgent>` has a method for each declared operation: the types come from the
// declaration, and at run time the name of the method is the name of the operation, so a caller imports no code of the agent.
import type { CallOptions, CallTarget } from './link-types.ts';
import { OperationCall } from './operation-call.ts';

/** Types of an operation. `Operation` of the agents has them, for the compiler only. */
export interface OperationTypes<Input = unknown, Result = unknown> {
  readonly '~types'?: { readonly input: Input; readonly result: Result } | undefined;
}

/** A handle of any agent. */
interface UntypedAgentHandle {
  readonly address: string;
  /**
   * `agent.call('add', { x: 1, y: 2 })`. `T` is the type that the caller expects; it is not checked.
   * @throws {NO_ROUTE | METHOD_NOT_FOUND | PARAMS_INVALID | CALL_TIMEOUT | ...}
   */
  call<T = unknown>(method: string, params?: unknown, options?: CallOptions): Promise<T>;
  /** Yields the items of a streaming operation. Leaving the loop cancels it. */
  stream<T = unknown>(method: string, params?: unknown, options?: CallOptions): AsyncIterable<T>;
}

/**
 * A handle with the operations of the declared agent `A`: `shop.order({ item: 'tea' }, { timeoutMs: 5_000 })`. A streaming operation
 * returns an async iterable. Results have the types that JSON gives them: a `Date` is a string, `undefined` is null. The types are those
 * of the declaration, not checked against the agent that answers. Operations named `call`, `stream`, `address`, `then` and `toJSON` have
 * no method.
 */
export type AgentHandle<A = unknown> = UntypedAgentHandle &
  Omit<MethodsOf<A>, keyof UntypedAgentHandle | Reserved>;

type MethodsOf<A> = A extends { readonly '~operations'?: infer Operations }
  ? { readonly [Name in keyof NonNullable<Operations>]: MethodOf<NonNullable<Operations>[Name]> }
  : unknown;

type MethodOf<O> =
  O extends OperationTypes<infer Input, infer Result> ? Method<Input, Returned<Result>> : never;

type Method<Input, Result> =
  Record<never, never> extends Input
    ? (params?: Input, options?: CallOptions) => Result
    : (params: Input, options?: CallOptions) => Result;

type IsAny<T> = 0 extends 1 & T ? true : false;

type Returned<Result> =
  IsAny<Result> extends true
    ? Promise<Result>
    : [Result] extends [never]
      ? Promise<never>
      : [Awaited<Result>] extends [AsyncIterable<infer Item>]
        ? AsyncIterable<Received<Item>>
        : Promise<Received<Awaited<Result>>>;

/** A value after its way through JSON. */
type Received<T> = unknown extends T
  ? T
  : // biome-ignore lint/suspicious/noConfusingVoidType: an operation may return nothing.
    T extends undefined | void
    ? null
    : T extends string | number | boolean | null
      ? T
      : T extends { toJSON(): infer Json }
        ? Received<Json>
        : T extends object
          ? { [Key in keyof T]: ReceivedField<T[Key]> }
          : never;

type ReceivedField<T> = T extends undefined ? undefined : Received<T>;

/** The part of a link or a client that a handle uses. */
interface Requests {
  call(target: CallTarget, method: string, params?: unknown, options?: CallOptions): Promise<unknown>;
  stream(target: CallTarget, method: string, params?: unknown, options?: CallOptions): AsyncIterable<unknown>;
}

/** Names that the language itself reads from a value. A promise of a handle must not call `then` of the agent. */
type Reserved = 'then' | 'toJSON';
const RESERVED: ReadonlySet<string> = new Set<Reserved>(['then', 'toJSON']);

/** Returns a handle for the agent at `address`. Sends nothing. */
export function agentHandle<A = unknown>(requests: Requests, address: string): AgentHandle<A> {
  const own: UntypedAgentHandle = {
    address,
    call: <T>(method: string, params?: unknown, options?: CallOptions) =>
      requests.call(address, method, params, options) as Promise<T>,
    stream: <T>(method: string, params?: unknown, options?: CallOptions) =>
      requests.stream(address, method, params, options) as AsyncIterable<T>,
  };
  return new Proxy(own, {
    get(target, name) {
      if (typeof name === 'symbol' || name in target || RESERVED.has(name)) return Reflect.get(target, name);
      return (params?: unknown, options?: CallOptions) => {
        const sent = Array.isArray(params) ? { args: params } : params;
        return new OperationCall({
          call: () => requests.call(address, name, sent, options),
          stream: () => requests.stream(address, name, sent, options),
        });
      };
    },
  }) as AgentHandle<A>;
}
