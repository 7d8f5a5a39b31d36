// Names of tools. Model APIs accept 1 to 64 characters of [A-Za-z0-9_-], and clients put a prefix in front, such as `mcp__fabric__`.
//
// Invariants: I1 the names of a set of operations do not depend on its order. I2 the long name of an operation, with a hash, never
// changes and is always accepted, so a client with an old list calls the right operation.
import { createHash } from 'node:crypto';

/** An operation of an agent. */
export interface OperationRef {
  /** Address of the agent. */
  readonly address: string;
  /** Name of the operation. */
  readonly operation: string;
}

/** Maximum characters of a name. Model APIs accept 64, of which 16 are for the prefix of the client. */
export const MAX_TOOL_NAME_CHARS = 48;
const HASH_CHARS = 6;

const slug = (text: string): string => text.replace(/[^A-Za-z0-9_-]+/g, '_').replace(/^_+|_+$/g, '');

/** `chat` of `chat@fame.fabric`; of `@/node/x` the path. */
const agentPart = (address: string): string => {
  const at = address.indexOf('@');
  return slug(at > 0 ? address.slice(0, at) : address) || 'agent';
};

function plainName({ address, operation }: OperationRef): string {
  const agent = agentPart(address);
  const name = slug(operation) || 'operation';
  return agent === name ? agent : `${agent}_${name}`;
}

const hashOf = ({ address, operation }: OperationRef): string => {
  const digest = createHash('sha256').update(`${address}\n${operation}`).digest();
  return BigInt(`0x${digest.toString('hex')}`)
    .toString(36)
    .slice(-HASH_CHARS);
};

/** The name of an operation with its hash, which is unique. */
export function longToolName(ref: OperationRef): string {
  return `${plainName(ref).slice(0, MAX_TOOL_NAME_CHARS - HASH_CHARS - 1)}_${hashOf(ref)}`;
}

/**
 * Names each operation: `chat_run_turn` for `run_turn` of `chat@fame.fabric`, and `echo` for `echo` of `echo@fame.fabric`. Operations
 * whose names would be equal, taken, or too long have their long names.
 * @param taken names of other tools
 */
export function toolNames<T extends OperationRef>(
  operations: Iterable<T>,
  taken: readonly string[] = [],
): Map<string, T> {
  const plain = Map.groupBy(operations, plainName);
  const names: [string, T][] = [];
  for (const [name, refs] of plain) {
    const isFree = refs.length === 1 && name.length <= MAX_TOOL_NAME_CHARS && !taken.includes(name);
    for (const ref of refs) names.push([isFree ? name : longToolName(ref), ref]);
  }
  return new Map(names.sort(([a], [b]) => (a < b ? -1 : 1)));
}
