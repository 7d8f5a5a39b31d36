// An agent in this process, for tests of the client: computes its answers from the parameters and records its calls.
import { type CallOptions, FabricError } from '@fame-fabric/shared';
import type { Caller } from '../chat-operations.ts';

interface Request {
  method: string;
  params: unknown;
  options: CallOptions | undefined;
}

/** `answers` has the operations besides those of every chat agent. */
export function scriptedAgent(answers: Record<string, (params: unknown, options?: CallOptions) => unknown>) {
  const requests: Request[] = [];
  const answer = (method: string, params: unknown, options?: CallOptions): unknown => {
    requests.push({ method, params, options });
    const known: typeof answers = {
      'tasks/send': () => ({}),
      end_conversation: () => null,
      cancel_turn: () => true,
      ...answers,
    };
    const operation = known[method];
    if (!operation) throw new FabricError('METHOD_NOT_FOUND', `There is no operation ${method}`);
    return operation(params, options);
  };
  const caller: Caller = {
    call: async (_address, method, params, options) => answer(method, params, options),
    async *stream(_address, method, params, options) {
      yield* answer(method, params, options) as AsyncIterable<unknown>;
    },
  };
  return { caller, requests, methods: () => requests.map(({ method }) => method) };
}

export async function* items(...list: unknown[]): AsyncGenerator<unknown> {
  yield* list;
}
