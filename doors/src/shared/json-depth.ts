// The depth of JSON that clients send. The sentinel closes the link of a node that keeps sending messages that are nested too deeply, and
// a link of the doors is shared by all callers of its principal.
import { FabricError } from '@fame-fabric/shared';

/** Levels of a body. A message has 64, and the envelope and the parameters around the parts of a body take some of them. */
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
