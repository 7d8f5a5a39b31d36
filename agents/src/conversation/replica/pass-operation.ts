// The receiving end of a passed call: verifies it, runs the operation with the identity of the caller, and streams the answer back.
import { FabricError, isFabricError, rpcError } from '@fame-fabric/shared';
import { ANONYMOUS, callerOf } from '@fame-fabric/shared/internal';
import { z } from 'zod';
import { CallerUnknown } from '../../agent/identified-caller.ts';
import { type Operation, type OperationContext, operation } from '../../agent/operation.ts';
import { derivedContext } from './derived-context.ts';
import { type PassedCall, type PassItem, verifiedCall } from './passed-call.ts';
import type { Placement } from './placement.ts';

export interface PassOperationDeps {
  /** Address that callers use. */
  readonly agent: string;
  readonly placement: Placement;
  /** The operations by name, as this replica runs them itself. */
  readonly operations: Readonly<Record<string, Operation>>;
  /** Id of the principal of this process, as its sentinel stated it. */
  ownPrincipal(): string | undefined;
}

const params = z.object({ call: z.unknown(), code: z.string().max(64) });

/** Builds the operation that runs the calls of other replicas. */
export const passOperation = (deps: PassOperationDeps): Operation =>
  operation({
    immediate: true,
    description: 'Runs a call that another replica of the agent passes on.',
    params,
    async *run(given, context): AsyncGenerator<PassItem, void> {
      const { placement, operations } = deps;
      await checkPrincipal(context, deps.ownPrincipal());
      const call = verifiedCall(given, await placement.replicaKey(), placement.own);
      const called = operations[call.method];
      if (!called) {
        throw new FabricError('METHOD_NOT_FOUND', `This version of the agent cannot run ${call.method}.`);
      }
      // A replica that stops finishes its turns and takes no new ones.
      const { conversation: id } = call;
      if (placement.isStopping && (id === undefined || (await placement.handOver(id)))) {
        yield { kind: 'moved' };
        return;
      }
      const accepted = Promise.withResolvers<PassItem>();
      const items = itemsOf(called, call, contextOf(deps, call, context, accepted.resolve));
      try {
        yield* withAcceptance(items, accepted.promise);
      } catch (error) {
        yield faultOf(error);
      }
    },
  });

/** @throws {AUTH_FORBIDDEN} for a caller of another principal, if the sentinel states both */
async function checkPrincipal({ caller }: OperationContext, own: string | undefined): Promise<void> {
  const known = await caller;
  if (known?.isUnknown) throw new CallerUnknown();
  const isStated = known !== undefined && known.principal !== ANONYMOUS.id && own !== undefined;
  if (!isStated || known.principal === own) return;
  throw new FabricError('AUTH_FORBIDDEN', 'Only the other replicas of this agent may pass calls to it.');
}

function contextOf(
  { agent }: PassOperationDeps,
  call: PassedCall,
  context: OperationContext,
  accepted: (item: PassItem) => void,
): OperationContext {
  const { callId, replyTo, isStream, traceId, ttl, meta } = call;
  const { principal, mayUseAny, limits } = call.caller;
  const rights = { conversations: mayUseAny ? 'any' : 'own', ...(limits ? { limits } : {}) } as const;
  const path = replyTo.slice(replyTo.lastIndexOf('@') + 1);
  return derivedContext(context, {
    callId,
    replyTo,
    isStream,
    traceId,
    ttl,
    meta,
    address: agent,
    caller: Promise.resolve(callerOf({ id: principal, roles: [], rights }, path)),
    acknowledge: () => accepted({ kind: 'accepted' }),
  });
}

async function* itemsOf(
  called: Operation,
  call: PassedCall,
  context: OperationContext,
): AsyncGenerator<PassItem, void> {
  const result: unknown = await called.run(called.read(call.params), context);
  if (!isAsyncIterable(result)) {
    yield { kind: 'result', result: result ?? null };
    return;
  }
  for await (const event of result) yield { kind: 'event', event };
}

/** The items, with that of the acceptance before the first one that follows it. */
async function* withAcceptance(
  items: AsyncGenerator<PassItem, void>,
  accepted: Promise<PassItem>,
): AsyncGenerator<PassItem, void> {
  try {
    const first = items.next();
    // A turn may last long after its acceptance.
    const early = await Promise.race([accepted, first]);
    if ('kind' in early) yield early;
    const { done, value } = await first;
    if (done) return;
    yield value;
    yield* items;
  } finally {
    await items.return();
  }
}

function faultOf(error: unknown): PassItem {
  if (!isFabricError(error)) throw error;
  if (error.code !== 'STORE_CONFLICT') return { kind: 'error', error: rpcError('', error).error! };
  const holder = error.details?.holder;
  return { kind: 'moved', ...(typeof holder === 'string' ? { holder } : {}) };
}

const isAsyncIterable = (value: unknown): value is AsyncIterable<unknown> =>
  typeof value === 'object' && value !== null && Symbol.asyncIterator in value;
