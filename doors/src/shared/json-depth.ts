// Limits the depth of JSON from clients. The sentinel closes the link of a node that repeatedly sends too deeply nested messages, and all
// requests of a principal share one link.
import { FabricError } from '@fame-fabric/shared';

/** Maximum levels of a body. A message may have 64, some of which the envelope and the parameters need. */
const MAX_DEPTH = 56;

/** @throws {PROTO_TOO_DEEP} */
export function checkDepth(value: unknown): void {
  if (exceeds(value, MAX_DEPTH)) {
    throw new FabricError('PROTO_TOO_DEEP', `The body is nested deeper than ${MAX_DEPTH} levels`);
  }
}

function exceeds(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  if (levels === 0) return true;
  if (Array.isArray(value)) return value.some((item) => exceeds(item, levels - 1));
  for (const key in value) {
    if (exceeds((value as Record<string, unknown>)[key], levels - 1)) return true;
  }
  return false;
}
