// The caller of an operation that checks whose conversation or task it may use.
import { FabricError } from '@fame-fabric/shared';
import { ANONYMOUS, type SpendingLimits } from '@fame-fabric/shared/internal';
import type { OperationContext } from './operation.ts';

export interface IdentifiedCaller {
  /** Id of its principal. */
  readonly principal: string;
  /** True if it may use the conversations and tasks of all owners. */
  readonly mayUseAny: boolean;
  /** Limits of its turns, as its sentinel stated them. */
  readonly limits?: SpendingLimits | undefined;
}

/**
 * The sentinel did not state who the caller is, because a connection was lost or the call has ended. The caller's link repeats the
 * call, because nothing was executed.
 */
export class CallerUnknown extends FabricError {
  constructor() {
    super('NODE_BUSY', 'The sentinel did not state who makes this call. Nothing was executed; call again.');
  }
}

/**
 * Returns the caller of an operation. A call that expects no answer is anonymous. Call it before anything is executed.
 * @throws {CallerUnknown} for a caller that would only seem to be anonymous
 */
export async function identifiedCaller({
  caller,
}: Pick<OperationContext, 'caller'>): Promise<IdentifiedCaller> {
  const known = await caller;
  if (known?.isUnknown) throw new CallerUnknown();
  const { principal = ANONYMOUS.id, rights } = known ?? {};
  return { principal, mayUseAny: rights?.conversations === 'any', limits: rights?.limits };
}
