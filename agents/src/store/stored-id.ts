// Ids of conversations and durable requests in a store. The first conversation with a public id has it as its id in the store, so that programs of
// version 0.1.0 find it. One of another owner or agent gets a suffix that is computed from them.
import { createHash } from 'node:crypto';
import type { ReachRequest } from './store.ts';

/** Characters of the suffix after `~`: 128 bits, because principals may choose their ids to collide. */
const HASH_CHARS = 32;

/** Id in the store of the conversation or request `id` of a principal. */
export function suffixedId(id: string, agent: string, principal: string): string {
  const hash = createHash('sha256')
    .update(JSON.stringify([agent, principal]))
    .digest('hex');
  return `${id}~${hash.slice(0, HASH_CHARS)}`;
}

/** Wildcard of a share: all principals. */
const EVERYONE = '*';

interface Owned {
  readonly principal: string;
  readonly sharedWith: readonly string[];
}

/**
 * The order in which a principal reaches conversations with one public id: 0 for its own, 1 for one that is shared with it, 2 for
 * another one that it may use. `undefined` if it may not use it.
 */
export function reachOf(
  { principal, sharedWith }: Owned,
  request: Pick<ReachRequest, 'principal' | 'mayUseAny'>,
): 0 | 1 | 2 | undefined {
  if (principal === request.principal) return 0;
  if (sharedWith.includes(request.principal) || sharedWith.includes(EVERYONE)) return 1;
  return request.mayUseAny ? 2 : undefined;
}
