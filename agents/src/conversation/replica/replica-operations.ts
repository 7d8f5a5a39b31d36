// The operations of a replica. Operations that write a conversation, and readers that follow one, run in the process that holds it: here,
// or by a passed call at another replica. All other operations read the store, and run here.
import { FabricError, isFabricError } from '@fame-fabric/shared';
import type { Operation, OperationContext } from '../../agent/operation.ts';
import { CONVERSATION_LIMITS } from '../conversation.ts';
import type { ConversationHost } from '../host.ts';
import { reached } from '../operations/turn-calls.ts';
import { followAnywhere } from './follow-anywhere.ts';
import { type PassDeps, passCall } from './pass.ts';
import { RepeatedCall } from './repeated-call.ts';

type Operations = Readonly<Record<string, Operation>>;
type Args = Record<string, unknown>;

export interface ReplicaOperationsDeps extends PassDeps {
  readonly host: ConversationHost;
}

/** Operations with one answer on a conversation that exists. */
const CALLS = ['run_turn', 'cancel_turn', 'answer_approval', 'end_conversation', 'tasks/cancel'] as const;
/** Operations that start a conversation, and may have its first turn. */
const STARTS = ['start_task', 'tasks/send'] as const;

/** Returns the operations with those that write conversations passed to the replica that holds them. */
export function replicaOperations(operations: Operations, deps: ReplicaOperationsDeps): Operations {
  const passed: Record<string, Operation> = {};
  const wrap = (name: string, run: (own: Operation) => Operation['run']): void => {
    const own = operations[name];
    if (own) passed[name] = { ...own, run: run(own) };
  };
  for (const name of [...CALLS, ...STARTS]) {
    wrap(name, (own) => (args, context) => call(deps, name, own, args as Args, context));
  }
  for (const name of ['run_turn_stream', 'tasks/sendSubscribe']) {
    wrap(name, (own) => (args, context) => stream(deps, name, own, args as Args, context));
  }
  wrap('read_events', (own) => async (args, context) => {
    const { follow, after } = args as { follow: boolean; after: number };
    if (!follow || !context.isStream) return own.run(args, context);
    const id = await conversationOf(deps, args as Args, context);
    return id === undefined ? own.run(args, context) : followAnywhere(deps, { id, after, args, context });
  });
  return { ...operations, ...passed };
}

async function repeatedCallOf(
  deps: ReplicaOperationsDeps,
  name: string,
  args: Args,
  context: OperationContext,
) {
  const { placement } = deps;
  const isStart = (STARTS as readonly string[]).includes(name) || name === 'tasks/sendSubscribe';
  const conversation = isStart ? undefined : await conversationOf(deps, args, context);
  const isElsewhere = conversation !== undefined && !placement.isHere(conversation);
  const holder = isElsewhere ? await placement.elsewhere(conversation) : undefined;
  return new RepeatedCall(deps, { context, conversation, holder });
}

/** Returns the id in the store; undefined for a conversation that the caller cannot reach, which the operation itself reports. */
async function conversationOf(
  { host }: ReplicaOperationsDeps,
  { conversation_id, id, owner }: Args,
  context: OperationContext,
): Promise<string | undefined> {
  const named = { conversation_id: (conversation_id ?? id) as string, owner: owner as string | undefined };
  try {
    return await reached(host, named, context);
  } catch (error) {
    if (isFabricError(error, 'CONVERSATION_UNKNOWN') || isFabricError(error, 'PARAMS_INVALID'))
      return undefined;
    throw error;
  }
}

async function call(
  deps: ReplicaOperationsDeps,
  method: string,
  own: Operation,
  args: Args,
  context: OperationContext,
): Promise<unknown> {
  const repeated = await repeatedCallOf(deps, method, args, context);
  const params = withTurnId(method, args, context);
  for (;;) {
    try {
      if (repeated.holder === undefined) return await own.run(params, repeated.here);
      return await resultOf(passCall(deps, requestOf(repeated, method, params)));
    } catch (error) {
      await repeated.next(error);
    }
  }
}

async function* stream(
  deps: ReplicaOperationsDeps,
  method: string,
  own: Operation,
  args: Args,
  context: OperationContext,
): AsyncGenerator<unknown, void> {
  const repeated = await repeatedCallOf(deps, method, args, context);
  let params = withTurnId(method, args, context);
  for (;;) {
    try {
      const events =
        repeated.holder === undefined
          ? ((await own.run(params, repeated.here)) as AsyncIterable<unknown>)
          : passCall(deps, requestOf(repeated, method, params));
      for await (const event of events) {
        repeated.received();
        const { seq, type } = event as { seq?: number; type?: string };
        if (method === 'run_turn_stream' && typeof seq === 'number') params = { ...params, after: seq };
        yield event;
        if (method === 'run_turn_stream' && (type === 'done' || type === 'error')) return;
      }
      return;
    } catch (error) {
      await repeated.next(error);
    }
  }
}

/** Gives a turn the id that it has without one, because the id of the call differs between the attempts. */
function withTurnId(method: string, args: Args, { callId }: OperationContext): Args {
  if (!method.startsWith('run_turn') || args.turn_id !== undefined) return args;
  if (callId.length > CONVERSATION_LIMITS.maxIdChars) {
    throw new FabricError(
      'PARAMS_INVALID',
      `turn_id: The id of the call has more than ${CONVERSATION_LIMITS.maxIdChars} characters, so the turn needs an id of its own.`,
    );
  }
  return { ...args, turn_id: callId };
}

const requestOf = (repeated: RepeatedCall, method: string, params: Args) => ({
  holder: repeated.holder!,
  conversation: repeated.conversation,
  method,
  params,
  context: repeated.context,
  callId: repeated.callId,
  startedAt: repeated.startedAt,
});

async function resultOf(items: AsyncGenerator<unknown, unknown, void>): Promise<unknown> {
  const { value } = await items.next();
  return value;
}
