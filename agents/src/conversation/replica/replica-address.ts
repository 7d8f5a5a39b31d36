// Addresses of replicas: processes that serve one agent over one store. Callers use the address of the agent, `chat@fame.fabric`, which
// the replicas bind as a pool, `chat@*.fame.fabric`. Each replica also serves an address of its own, for calls that others pass to it. That
// one is derived from the id of its writer, so the lease of a conversation names the address.
import { REPLICA_MARK } from '@fame-fabric/shared/internal';

const POOL = '@*.';

/** True for the address of a pool. An agent with conversations and such an address is a replica. */
export const isPoolAddress = (address: string): boolean => address.includes(POOL);

/** Returns the address that callers of an agent use, which is also its name in the store. */
export const callersAddressOf = (address: string): string => address.replace(POOL, '@');

/** Returns the address of one replica, from the address that callers use and the id of its writer. */
export function replicaAddressOf(agent: string, holder: string): string {
  const at = agent.lastIndexOf('@');
  return `${agent.slice(0, at)}${REPLICA_MARK}${holder}${agent.slice(at)}`;
}
