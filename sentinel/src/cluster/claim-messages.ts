// The messages of claims: the question of a sentinel that is about to bind an address for a node, and the answers of the others.
import type { Principal } from '@fame-fabric/shared';
import { readPrincipal } from '@fame-fabric/shared/internal';

/** A claim on the bus. */
export interface ClaimMessage {
  /** Id of the sentinel, and path of its node. */
  readonly id: string;
  readonly path: string;
  readonly epoch: number;
  readonly principal: Principal;
}

export interface Verdict {
  /** Id of the sentinel that answers. */
  readonly id: string;
  /**
   * - `clear`: the sentinel has no owner, and does not object.
   * - `granted`: its owner gave the address up.
   * - `wait`: its owner, or a claim that came first, is not decided yet. Another verdict follows.
   */
  readonly verdict: 'wait' | 'clear' | 'granted' | 'refused';
  /** True for a `wait` for an owner. */
  readonly hasOwner?: boolean | undefined;
  readonly reason?: string | undefined;
}

const VERDICTS: ReadonlySet<unknown> = new Set(['wait', 'clear', 'granted', 'refused']);

/** Reads a claim. Undefined if the payload is none. */
export function readClaim(payload: Uint8Array): ClaimMessage | undefined {
  const { id, path, epoch, principal: stated } = readObject(payload);
  const principal = readPrincipal(stated);
  if (typeof id !== 'string' || typeof path !== 'string' || typeof epoch !== 'number') return undefined;
  return principal && { id, path, epoch, principal };
}

/** Reads a verdict. Undefined if the payload is none. */
export function readVerdict(payload: Uint8Array): Verdict | undefined {
  const { id, verdict, hasOwner, reason } = readObject(payload);
  if (typeof id !== 'string' || !VERDICTS.has(verdict)) return undefined;
  return {
    id,
    verdict: verdict as Verdict['verdict'],
    hasOwner: hasOwner === true,
    reason: typeof reason === 'string' ? reason : undefined,
  };
}

function readObject(payload: Uint8Array): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(Buffer.from(payload).toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    // Not a message of this protocol. The claim expires.
    return {};
  }
}
